//! Bundle control and bundle add messages, and what bundles a switch takes.
//!
//! Source: OpenFlow 1.4.1 and 1.5.1, 7.3.9; OpenFlow 1.5.1, 7.3.5.20; ONF extension 230
//! for 1.3.

use bytes::Bytes;

use super::kind::{self, Kind, OFPT_EXPERIMENTER};
use super::writer::MessageWriter;
use super::{Dialect, Header, dispatch, encode_part, property};
use crate::error::OfError;
use crate::message::{
    BundleAdd, BundleControl, BundleControlKind, BundleFeatures, BundleFeaturesRequest,
    BundleFlags, BundleTimes, Property, Time,
};
use crate::version::Version;
use crate::wire::{DecodeError, HEADER_LEN, Reader, Writer, bad};

const TIME_CAPABILITY: u16 = 1;

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

/// flags(4), pad(4), properties.
///
/// Errors: `OFPBPC_BAD_LEN`.
pub(super) fn decode_features_request(
    r: &mut Reader,
) -> Result<BundleFeaturesRequest, DecodeError> {
    let flags = r.u32()?;
    r.skip(4)?;
    let (time, other) = decode_properties(r)?;
    Ok(BundleFeaturesRequest { flags, time, other })
}

pub(super) fn encode_features_request(o: &mut MessageWriter, request: &BundleFeaturesRequest) {
    o.begin(Kind::BundleFeaturesRequest);
    o.w.u32(request.flags);
    o.w.zeros(4);
    write_properties(&mut o.w, request.time.as_ref(), &request.other);
    o.end();
}

/// capabilities(2), pad(6), properties.
///
/// Errors: `OFPBPC_BAD_LEN`.
pub(super) fn decode_features(r: &mut Reader) -> Result<BundleFeatures, DecodeError> {
    let capabilities = BundleFlags(r.u16()?);
    r.skip(6)?;
    let (time, other) = decode_properties(r)?;
    Ok(BundleFeatures {
        capabilities,
        time,
        other,
    })
}

pub(super) fn encode_features(o: &mut MessageWriter, features: &BundleFeatures) {
    o.begin(Kind::BundleFeaturesReply);
    o.w.u16(features.capabilities.0);
    o.w.zeros(6);
    write_properties(&mut o.w, features.time.as_ref(), &features.other);
    o.end_multipart();
}

/// The property about time: pad(4), then accuracy, furthest future, furthest past and timestamp,
/// each seconds(8), nanoseconds(4), pad(4).
fn decode_properties(r: &mut Reader) -> Result<(Option<BundleTimes>, Vec<Property>), DecodeError> {
    let mut times = None;
    let mut other = Vec::new();
    while !r.is_empty() {
        let (kind, mut value) = property::read(r)?;
        if kind != TIME_CAPABILITY {
            other.push(property::keep(kind, &mut value)?);
            continue;
        }
        value.skip(4)?;
        let mut time = || {
            let time = Time {
                seconds: value.u64()?,
                nanoseconds: value.u32()?,
            };
            value.skip(4)?;
            Ok(time)
        };
        times = Some(BundleTimes {
            accuracy: time()?,
            max_future: time()?,
            max_past: time()?,
            timestamp: time()?,
        });
        value.done()?;
    }
    Ok((times, other))
}

fn write_properties(w: &mut Writer, times: Option<&BundleTimes>, other: &[Property]) {
    if let Some(t) = times {
        property::write(w, TIME_CAPABILITY, |w| {
            w.zeros(4);
            for time in [t.accuracy, t.max_future, t.max_past, t.timestamp] {
                w.u64(time.seconds);
                w.u32(time.nanoseconds);
                w.zeros(4);
            }
        });
    }
    property::write_kept(w, other);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use crate::message::Message;

    const REPLY: [u8; 96] = {
        let mut bytes = [0; 96];
        let head = [
            // Header, OFPMP_BUNDLE_FEATURES, capabilities 7.
            6, 19, 0, 96, 0, 0, 0, 9, 0, 19, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0,
            // The property: type 1, length 72.
            0, 1, 0, 72, 0, 0, 0, 0,
        ];
        let mut at = 0;
        while at < head.len() {
            bytes[at] = head[at];
            at += 1;
        }
        // 1 ms; 2 s; 3 s; 0x5000000000.7
        bytes[32 + 9] = 0x0f;
        bytes[32 + 10] = 0x42;
        bytes[32 + 11] = 0x40;
        bytes[48 + 7] = 2;
        bytes[64 + 7] = 3;
        bytes[80 + 3] = 0x50;
        bytes[80 + 11] = 7;
        bytes
    };

    /// The bytes are laid out by hand after the specification, 7.3.5.20.
    #[test]
    fn features() {
        let seconds = |seconds| Time {
            seconds,
            nanoseconds: 0,
        };
        let times = BundleTimes {
            accuracy: Time {
                seconds: 0,
                nanoseconds: 1_000_000,
            },
            max_future: seconds(2),
            max_past: seconds(3),
            timestamp: Time {
                seconds: 0x50_0000_0000,
                nanoseconds: 7,
            },
        };
        let reply = Message::BundleFeaturesReply(BundleFeatures {
            capabilities: BundleFlags(7),
            time: Some(times),
            other: Vec::new(),
        });
        assert_eq!(encode(&reply, Version::Of15, 9).unwrap(), REPLY);
        let dialect = Dialect::from(Version::Of15);
        let decoded = decode(&REPLY, &dialect).unwrap();
        assert_eq!(decoded.message, reply);
        // Cut anywhere, it is refused.
        for len in 8..REPLY.len() {
            let mut bytes = REPLY[..len].to_vec();
            bytes[3] = len as u8;
            let decoded = decode(&bytes, &dialect);
            // 24 bytes are a reply without properties.
            assert_eq!(decoded.is_ok(), len == 24, "{len}");
        }
        for version in [Version::Of13, Version::Of14] {
            assert!(encode(&reply, version, 9).is_err());
        }
        let request = Message::BundleFeaturesRequest(BundleFeaturesRequest {
            flags: BundleFeaturesRequest::TIMESTAMP,
            time: None,
            other: Vec::new(),
        });
        let bytes = encode(&request, Version::Of15, 1).unwrap();
        assert_eq!(bytes[16..], [0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(decode(&bytes, &dialect).unwrap().message, request);
    }
}
