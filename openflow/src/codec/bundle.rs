//! Bundle control and bundle add messages.
//!
//! Source: OpenFlow 1.4.1 and 1.5.1, 7.3.9; ONF extension 230 for 1.3.

use bytes::Bytes;

use super::kind::{self, Kind, OFPT_EXPERIMENTER};
use super::writer::MessageWriter;
use super::{Dialect, Header, dispatch, encode_part};
use crate::error::OfError;
use crate::message::{BundleAdd, BundleControl, BundleControlKind, BundleFlags, Message};
use crate::version::Version;
use crate::wire::{DecodeError, HEADER_LEN, Reader, bad};

/// bundle(4), type(2), flags(2); properties may follow in 1.4 and later and are not looked at.
pub(super) fn decode_control(r: &mut Reader, v: Version) -> Result<BundleControl, DecodeError> {
    let bundle_id = r.u32()?;
    let Some(kind) = BundleControlKind::from_wire(r.u16()?) else {
        return bad("type of a bundle control message", OfError::BfcBadType);
    };
    let flags = BundleFlags(r.u16()?);
    if v >= Version::Of14 {
        r.skip(r.remaining())?;
    }
    Ok(BundleControl {
        bundle_id,
        kind,
        flags,
    })
}

pub(super) fn encode_control(o: &mut MessageWriter, control: &BundleControl) {
    o.begin(if o.version() == Version::Of13 {
        Kind::OnfBundleControl
    } else {
        Kind::BundleControl
    });
    o.w.u32(control.bundle_id);
    o.w.u16(control.kind.wire());
    o.w.u16(control.flags.0);
    o.end();
}

/// bundle(4), pad(2), flags(2), a whole message; properties may follow and are not looked at.
///
/// Errors: `OFPBFC_MSG_BAD_LEN`, `OFPBFC_BAD_VERSION`, `OFPBFC_MSG_BAD_XID`, and
/// `OFPBFC_MSG_UNSUP` for a message that may not be in a bundle; those of the message's own body.
pub(super) fn decode_add(
    r: &mut Reader,
    v: Version,
    xid: u32,
    dialect: &Dialect,
) -> Result<BundleAdd, DecodeError> {
    let bundle_id = r.u32()?;
    r.skip(2)?;
    let flags = BundleFlags(r.u16()?);
    let Ok(header) = Header::decode(r.rest()) else {
        return bad("message in a bundle", OfError::BfcMsgBadLen);
    };
    if header.version != v.wire() {
        return bad("version of a message in a bundle", OfError::BfcBadVersion);
    }
    let len = usize::from(header.len);
    if len < HEADER_LEN || len > r.remaining() {
        return bad("length of a message in a bundle", OfError::BfcMsgBadLen);
    }
    if header.xid != xid {
        return bad(
            "transaction id of a message in a bundle",
            OfError::BfcMsgBadXid,
        );
    }
    let raw = r.bytes(len)?;
    r.skip(r.remaining())?;
    let mut body = Reader::new(raw, OfError::BrcBadLen);
    body.skip(HEADER_LEN)?;
    let unsupported = bad("message in a bundle", OfError::BfcMsgUnsup);
    let kind = match header.kind {
        OFPT_EXPERIMENTER => dispatch::experimenter_kind(v, &mut body).ok(),
        _ => kind::Kind::by_type(header.version, header.kind),
    };
    let Some(kind) = kind.filter(|kind| may_be_bundled(*kind)) else {
        return unsupported;
    };
    let message = dispatch::decode_body(kind, &mut body, v, dialect)?;
    if matches!(message, Message::Refused(_)) {
        return unsupported;
    }
    body.done()?;
    Ok(BundleAdd {
        bundle_id,
        flags,
        message: Box::new(message),
        raw: Bytes::copy_from_slice(raw),
    })
}

/// Those that Open vSwitch takes.
fn may_be_bundled(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::FlowMod | Kind::NxFlowMod | Kind::PortMod | Kind::GroupMod | Kind::PacketOut
    )
}

pub(super) fn encode_add(o: &mut MessageWriter, add: &BundleAdd) {
    match encode_part(&add.message, o.dialect, o.xid(), false) {
        Ok(bytes) => encode_add_of(o, add.bundle_id, add.flags, &bytes),
        Err(error) => o.fail(error),
    }
}

/// The same of a message that is encoded already; its transaction id becomes that of the whole.
pub(super) fn encode_add_of(
    o: &mut MessageWriter,
    bundle_id: u32,
    flags: BundleFlags,
    message: &[u8],
) {
    const XID: std::ops::Range<usize> = 4..HEADER_LEN;
    o.begin(if o.version() == Version::Of13 {
        Kind::OnfBundleAddMessage
    } else {
        Kind::BundleAddMessage
    });
    o.w.u32(bundle_id);
    o.w.zeros(2);
    o.w.u16(flags.0);
    o.w.bytes(message.get(..XID.start).unwrap_or_default());
    o.w.u32(o.xid());
    o.w.bytes(message.get(XID.end..).unwrap_or_default());
    o.end();
}
