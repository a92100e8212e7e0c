//! `OFPMP_CONTROLLER_STATUS` and `OFPT_CONTROLLER_STATUS`.
//!
//! ```text
//! length(2), short id(2), role(4), reason(1), channel(1), pad(6), properties
//! ```
//!
//! Source: OpenFlow 1.5.1, 7.3.5.19 and 7.4.8.

use super::kind::Kind;
use super::property;
use super::role;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{ControllerStatus, ControllerStatusReason};
use crate::wire::{DecodeError, Reader, Writer, bad};

const CHANNEL_UP: u8 = 0;
const CHANNEL_DOWN: u8 = 1;
const URI: u16 = 0;

/// Errors: `OFPBRC_BAD_LEN`, `OFPBPC_BAD_LEN`, and `OFPBPC_BAD_VALUE` for an address that is not
/// text.
pub(super) fn decode(r: &mut Reader) -> Result<ControllerStatus, DecodeError> {
    let len = usize::from(Reader::new(r.rest(), OfError::BrcBadLen).u16()?);
    let mut entry = r.sub(len, OfError::BrcBadLen)?;
    entry.skip(2)?;
    let short_id = entry.u16()?;
    let role = role::decode_current(&mut entry)?;
    let Some(reason) = ControllerStatusReason::from_wire(entry.u8()?) else {
        return bad("reason of a controller's status", OfError::NxbrcBadReason);
    };
    let is_up = match entry.u8()? {
        CHANNEL_UP => true,
        CHANNEL_DOWN => false,
        _ => return bad("channel of a controller", OfError::NxbrcBadReason),
    };
    entry.skip(6)?;
    let mut status = ControllerStatus {
        short_id,
        role,
        reason,
        is_up,
        uri: None,
        other: Vec::new(),
    };
    while !entry.is_empty() {
        let (kind, mut value) = property::read(&mut entry)?;
        match kind {
            URI => {
                let bytes = value.bytes(value.remaining())?;
                let Ok(text) = std::str::from_utf8(bytes) else {
                    return bad("address of a controller", OfError::BpcBadValue);
                };
                status.uri = Some(text.to_owned());
            }
            _ => status.other.push(property::keep(kind, &mut value)?),
        }
    }
    Ok(status)
}

fn write(w: &mut Writer, status: &ControllerStatus) {
    let start = w.len();
    w.u16(0);
    w.u16(status.short_id);
    w.u32(role::wire(status.role));
    w.u8(status.reason.wire());
    w.u8(match status.is_up {
        true => CHANNEL_UP,
        false => CHANNEL_DOWN,
    });
    w.zeros(6);
    if let Some(uri) = &status.uri {
        property::write(w, URI, |w| w.bytes(uri.as_bytes()));
    }
    property::write_kept(w, &status.other);
    w.patch_len(start, start);
}

pub(super) fn encode_reply(o: &mut MessageWriter, statuses: &[ControllerStatus]) {
    o.parts(Kind::ControllerStatusReply, statuses, |o, status| {
        write(&mut o.w, status);
    });
}

pub(super) fn encode(o: &mut MessageWriter, status: &ControllerStatus) {
    o.begin(Kind::ControllerStatus);
    write(&mut o.w, status);
    o.end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Dialect, decode, encode};
    use crate::message::{Message, Role};
    use crate::version::Version;

    /// The bytes are laid out by hand after the specification.
    #[test]
    fn statuses() {
        let status = ControllerStatus {
            short_id: 0x1234,
            role: Role::Slave,
            reason: ControllerStatusReason::ShortId,
            is_up: false,
            uri: Some("tcp:1.2.3.4:6653".to_owned()),
            other: Vec::new(),
        };
        let entry = [
            &[0, 40, 0x12, 0x34, 0, 0, 0, 3, 5, 1, 0, 0, 0, 0, 0, 0][..],
            &[0, 0, 0, 20],
            b"tcp:1.2.3.4:6653",
            &[0; 4],
        ]
        .concat();
        let told = [&[6, 35, 0, 48, 0, 0, 0, 1][..], &entry].concat();
        let message = Message::ControllerStatus(status.clone());
        assert_eq!(encode(&message, Version::Of15, 1).unwrap(), told);
        let dialect = Dialect::from(Version::Of15);
        assert_eq!(decode(&told, &dialect).unwrap().message, message);

        let head = [6, 19, 0, 96, 0, 0, 0, 1, 0, 18, 0, 0, 0, 0, 0, 0];
        let reply = [&head[..], &entry, &entry].concat();
        let message = Message::ControllerStatusReply(vec![status; 2]);
        assert_eq!(encode(&message, Version::Of15, 1).unwrap(), reply);
        assert_eq!(decode(&reply, &dialect).unwrap().message, message);
        for len in 17..reply.len() {
            let mut bytes = reply[..len].to_vec();
            bytes[3] = len as u8;
            assert_eq!(decode(&bytes, &dialect).is_ok(), len == 56, "{len}");
        }
    }
}
