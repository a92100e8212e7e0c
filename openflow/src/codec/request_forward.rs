//! `OFPT_REQUESTFORWARD`: a group-mod or meter-mod of one controller, told to another.
//!
//! The body is the whole request, with a header of its own.
//!
//! Source: OpenFlow 1.4.1, 7.4.6; OpenFlow 1.5.1, 7.4.7.

use super::kind::Kind;
use super::writer::MessageWriter;
use super::{Dialect, Header, dispatch, encode_part};
use crate::error::OfError;
use crate::message::{Message, RequestForward};
use crate::version::Version;
use crate::wire::{DecodeError, HEADER_LEN, Reader, bad};

/// Errors: `OFPBFC_MSG_BAD_LEN`, `OFPBFC_MSG_UNSUP` for another message, as Open vSwitch has them;
/// those of the request's own body.
pub(super) fn decode(
    r: &mut Reader,
    v: Version,
    dialect: &Dialect,
) -> Result<RequestForward, DecodeError> {
    let Ok(header) = Header::decode(r.rest()) else {
        return bad("forwarded request", OfError::BfcMsgBadLen);
    };
    if header.version != v.wire() {
        return bad("version of a forwarded request", OfError::BrcBadVersion);
    }
    let len = usize::from(header.len);
    if len < HEADER_LEN || len > r.remaining() {
        return bad("length of a forwarded request", OfError::BfcMsgBadLen);
    }
    let mut body = r.sub(len, OfError::BrcBadLen)?;
    body.skip(HEADER_LEN)?;
    let kind = match Kind::by_type(header.version, header.kind) {
        Some(kind @ (Kind::GroupMod | Kind::MeterMod)) => kind,
        _ => return bad("forwarded request", OfError::BfcMsgUnsup),
    };
    let request = dispatch::decode_body(kind, &mut body, v, dialect)?;
    body.done()?;
    Ok(RequestForward {
        xid: header.xid,
        request: Box::new(request),
    })
}

pub(super) fn encode(o: &mut MessageWriter, forward: &RequestForward) {
    o.begin(Kind::RequestForward);
    if !matches!(
        *forward.request,
        Message::GroupMod(_) | Message::MeterMod(_)
    ) {
        o.not_expressible("a forwarded request that is no group-mod or meter-mod");
    }
    match encode_part(&forward.request, o.dialect, forward.xid, false) {
        Ok(bytes) => o.w.bytes(&bytes),
        Err(error) => o.fail(error),
    }
    o.end();
}
