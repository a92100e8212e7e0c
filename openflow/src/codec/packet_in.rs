//! Packet-ins: `OFPT_PACKET_IN`, `NXT_PACKET_IN` and `NXT_PACKET_IN2`.
//!
//! Source: OpenFlow 1.0.0, 5.4.1; OpenFlow 1.1.0, A.4.1; OpenFlow 1.3.5, 7.4.1; `nicira-ext.h`, `struct nx_packet_in`
//! and `enum nx_packet_in2_prop_type`.

use bytes::Bytes;
use packet::OfPort;

use super::action::port_32;
use super::continuation;
use super::flow::{decode_match, encode_match};
use super::kind::Kind;
use super::nxm::{self, CookieMatch, Unknown};
use super::property;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::field::Field;
use crate::flow_match::Match;
use crate::message::{NO_BUFFER, PacketIn, PacketInFormat, PacketInReason};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, bad};

const NXPINT_PACKET: u16 = 0;
const NXPINT_FULL_LEN: u16 = 1;
const NXPINT_BUFFER_ID: u16 = 2;
const NXPINT_TABLE_ID: u16 = 3;
const NXPINT_COOKIE: u16 = 4;
const NXPINT_REASON: u16 = 5;
const NXPINT_METADATA: u16 = 6;
const NXPINT_USERDATA: u16 = 7;
const NXPINT_CONTINUATION: u16 = 8;

const COOKIE_NONE: u64 = u64::MAX;

fn reason(r: &mut Reader) -> Result<PacketInReason, DecodeError> {
    match PacketInReason::from_wire(r.u8()?) {
        Some(reason) => Ok(reason),
        None => bad("reason of a packet-in", OfError::NxbrcBadReason),
    }
}

fn rest(r: &mut Reader) -> Result<Bytes, DecodeError> {
    Ok(Bytes::copy_from_slice(r.bytes(r.remaining())?))
}

/// `OFPT_PACKET_IN`.
pub(super) fn decode(r: &mut Reader, v: Version) -> Result<PacketIn, DecodeError> {
    match v {
        Version::Of10 => decode_10(r),
        Version::Of11 => decode_11(r),
        _ => decode_12(r, v),
    }
}

/// buffer(4), total_len(2), in_port(2), reason(1), pad(1), packet.
fn decode_10(r: &mut Reader) -> Result<PacketIn, DecodeError> {
    let buffer_id = r.u32()?;
    let total_len = r.u16()?;
    let in_port = r.u16()?;
    let reason = reason(r)?;
    r.skip(1)?;
    Ok(PacketIn {
        reason,
        table_id: 0,
        buffer_id,
        total_len,
        cookie: COOKIE_NONE,
        metadata: Match::new().with(Field::InPort16, in_port.into()),
        data: rest(r)?,
        userdata: Bytes::new(),
        continuation: None,
    })
}

/// buffer(4), in_port(4), in_phy_port(4), total_len(2), reason(1), table(1), packet.
fn decode_11(r: &mut Reader) -> Result<PacketIn, DecodeError> {
    let buffer_id = r.u32()?;
    let in_port = port_32(r.u32()?)?.0;
    // It differs from the other one only where there are logical ports.
    r.skip(4)?;
    let total_len = r.u16()?;
    let reason = reason(r)?;
    let table_id = r.u8()?;
    Ok(PacketIn {
        reason,
        table_id,
        buffer_id,
        total_len,
        cookie: COOKIE_NONE,
        metadata: Match::new().with(Field::InPort, in_port.into()),
        data: rest(r)?,
        userdata: Bytes::new(),
        continuation: None,
    })
}

/// buffer(4), total_len(2), reason(1), table(1), cookie(8) in 1.3 and later, match, pad(2), packet.
fn decode_12(r: &mut Reader, v: Version) -> Result<PacketIn, DecodeError> {
    let buffer_id = r.u32()?;
    let total_len = r.u16()?;
    let reason = reason(r)?;
    let table_id = r.u8()?;
    let cookie = if v >= Version::Of13 {
        r.u64()?
    } else {
        COOKIE_NONE
    };
    let metadata = decode_match(r, Unknown::Skip)?;
    r.skip(2)?;
    Ok(PacketIn {
        reason,
        table_id,
        buffer_id,
        total_len,
        cookie,
        metadata,
        data: rest(r)?,
        userdata: Bytes::new(),
        continuation: None,
    })
}

/// buffer(4), total_len(2), reason(1), table(1), cookie(8), match_len(2), pad(6), match, pad(2),
/// packet.
pub(super) fn decode_nx(r: &mut Reader) -> Result<PacketIn, DecodeError> {
    let buffer_id = r.u32()?;
    let total_len = r.u16()?;
    let reason = reason(r)?;
    let table_id = r.u8()?;
    let cookie = r.u64()?;
    let match_len = r.u16()?;
    r.skip(6)?;
    let metadata = nxm::decode_nx_match(r, match_len, Unknown::Skip, None)?;
    r.skip(2)?;
    Ok(PacketIn {
        reason,
        table_id,
        buffer_id,
        total_len,
        cookie,
        metadata,
        data: rest(r)?,
        userdata: Bytes::new(),
        continuation: None,
    })
}

/// `NXT_PACKET_IN2` and `NXT_RESUME`: properties of type(2), length(2) with this header, value,
/// padding to 8.
///
/// Errors: `OFPBPC_BAD_LEN`, and `OFPBPC_BAD_TYPE` for a property that is not known. In a
/// continuation, that is only an error when it is not `loose`: a switch has to know all of it.
pub(super) fn decode_nx2(
    r: &mut Reader,
    version: Version,
    loose: bool,
) -> Result<PacketIn, DecodeError> {
    const LEN: OfError = OfError::BpcBadLen;
    let mut pin = PacketIn {
        reason: PacketInReason::NoMatch,
        table_id: 0,
        buffer_id: NO_BUFFER,
        total_len: 0,
        cookie: COOKIE_NONE,
        metadata: Match::new(),
        data: Bytes::new(),
        userdata: Bytes::new(),
        continuation: None,
    };
    let mut has_packet = false;
    while !r.is_empty() {
        let (kind, mut p) = property::read(r)?;
        match kind {
            NXPINT_PACKET => {
                pin.data = rest(&mut p)?;
                has_packet = true;
            }
            NXPINT_FULL_LEN => pin.total_len = u16::try_from(p.u32()?).unwrap_or(u16::MAX),
            NXPINT_BUFFER_ID => pin.buffer_id = p.u32()?,
            NXPINT_TABLE_ID => pin.table_id = p.u8()?,
            NXPINT_COOKIE => {
                // 64-bit values stand on 64-bit boundaries.
                p.skip(4)?;
                pin.cookie = p.u64()?;
            }
            NXPINT_REASON => pin.reason = reason(&mut p)?,
            NXPINT_METADATA => {
                let n = p.remaining();
                let mut entries = p.sub(n, OfError::BmcBadLen)?;
                pin.metadata = nxm::decode_entries(&mut entries, Unknown::Skip, None)?;
            }
            NXPINT_USERDATA => pin.userdata = rest(&mut p)?,
            NXPINT_CONTINUATION => {
                p.skip(4)?;
                let continuation = continuation::decode(&mut p, version, loose)?;
                pin.continuation = Some(Box::new(continuation));
            }
            _ => return bad("property of a packet-in", OfError::BpcBadType),
        }
        p.done()?;
    }
    if !has_packet {
        return bad("packet-in without a packet", LEN);
    }
    if pin.total_len == 0 {
        pin.total_len = u16::try_from(pin.data.len()).unwrap_or(u16::MAX);
    }
    Ok(pin)
}

pub(super) fn encode(o: &mut MessageWriter, pin: &PacketIn) {
    let version = o.version();
    match (version, o.dialect.packet_in_format) {
        (_, PacketInFormat::Nxt) => {
            o.begin(Kind::NxPacketIn);
            head(o, pin);
            o.w.u64(pin.cookie);
            let len_at = o.w.len();
            o.w.zeros(2 + 6);
            let start = o.w.len();
            nxm::encode_entries(
                &mut o.w,
                &pin.metadata,
                Version::Of10,
                CookieMatch::default(),
            );
            o.w.patch_len(len_at, start);
            o.w.pad8(start);
            o.w.zeros(2);
            o.w.bytes(&pin.data);
        }
        (_, PacketInFormat::Nxt2) => {
            o.begin(Kind::NxPacketIn2);
            properties(o, pin);
            if !pin.userdata.is_empty() {
                property::write(&mut o.w, NXPINT_USERDATA, |w| w.bytes(&pin.userdata));
            }
        }
        (Version::Of10, PacketInFormat::Standard) => {
            o.begin(Kind::PacketIn);
            o.w.u32(pin.buffer_id);
            o.w.u16(pin.total_len);
            let port = pin
                .metadata
                .in_port()
                .and_then(|p| p.to_u16())
                .unwrap_or(u16::MAX);
            o.w.u16(port);
            o.w.u8(reason_number(pin.reason, version));
            o.w.zeros(1);
            o.w.bytes(&pin.data);
        }
        (Version::Of11, PacketInFormat::Standard) => {
            o.begin(Kind::PacketIn);
            o.w.u32(pin.buffer_id);
            let port = pin.metadata.in_port().unwrap_or(OfPort::ANY);
            o.w.u32(port.0);
            o.w.u32(port.0);
            o.w.u16(pin.total_len);
            o.w.u8(reason_number(pin.reason, version));
            o.w.u8(pin.table_id);
            o.w.bytes(&pin.data);
        }
        (_, PacketInFormat::Standard) => {
            o.begin(Kind::PacketIn);
            head(o, pin);
            if version >= Version::Of13 {
                o.w.u64(pin.cookie);
            }
            encode_match(&mut o.w, &pin.metadata, version);
            o.w.zeros(2);
            o.w.bytes(&pin.data);
        }
    }
    o.end();
}

fn head(o: &mut MessageWriter, pin: &PacketIn) {
    o.w.u32(pin.buffer_id);
    o.w.u16(pin.total_len);
    o.w.u8(reason_number(pin.reason, o.version()));
    o.w.u8(pin.table_id);
}

/// Reasons that `version` does not have become "an action said so".
fn reason_number(reason: PacketInReason, version: Version) -> u8 {
    let last = match version {
        v if v >= Version::Of14 => PacketInReason::PacketOut,
        _ => PacketInReason::InvalidTtl,
    };
    match reason.wire() {
        n if n <= last.wire() => n,
        _ => PacketInReason::Action.wire(),
    }
}

pub(super) fn encode_resume(o: &mut MessageWriter, pin: &PacketIn) {
    o.begin(Kind::Resume);
    properties(o, pin);
    o.end();
}

fn properties(o: &mut MessageWriter, pin: &PacketIn) {
    property::write(&mut o.w, NXPINT_PACKET, |w| w.bytes(&pin.data));
    // Less than there is makes no sense, and 0 would be read as if it were not there.
    if usize::from(pin.total_len) > pin.data.len() {
        property::write(&mut o.w, NXPINT_FULL_LEN, |w| w.u32(pin.total_len.into()));
    }
    if pin.buffer_id != NO_BUFFER {
        property::write(&mut o.w, NXPINT_BUFFER_ID, |w| w.u32(pin.buffer_id));
    }
    property::write(&mut o.w, NXPINT_TABLE_ID, |w| w.u8(pin.table_id));
    if pin.cookie != COOKIE_NONE {
        property::write(&mut o.w, NXPINT_COOKIE, |w| {
            w.zeros(4);
            w.u64(pin.cookie);
        });
    }
    let reason = reason_number(pin.reason, o.version());
    property::write(&mut o.w, NXPINT_REASON, |w| w.u8(reason));
    // In the identifiers of 1.3 at least, also on a 1.0 connection.
    let version = o.version().max(Version::Of13);
    property::write(&mut o.w, NXPINT_METADATA, |w| {
        nxm::encode_entries(w, &pin.metadata, version, CookieMatch::default());
    });
    if let Some(continuation) = &pin.continuation {
        let start = o.w.len();
        o.w.u16(NXPINT_CONTINUATION);
        o.w.u16(0);
        o.w.zeros(4);
        continuation::encode(o, continuation);
        o.w.patch_len(start + 2, start);
        o.w.pad8(start);
    }
}
