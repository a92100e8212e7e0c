//! `NXT_CT_FLUSH`: flushing of tracked connections.
//!
//! ```text
//! ip_proto(1), zeros(7), properties:
//!   0, 1: pad(4), properties of the tuple in the original direction and of the reply
//!   2: zone(2)
//! ```
//!
//! Source: `nicira-ext.h`, `struct nx_ct_flush`, `enum nx_ct_flush_tlv_type` and
//! `enum nx_ct_flush_tuple_tlv_type`. Properties of other types are passed over, as Open vSwitch
//! does.

use super::kind::Kind;
use super::property;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{CtFlush, CtTuple};
use crate::wire::{DecodeError, Reader, Writer, bad};

const ORIG: u16 = 0;
const REPLY: u16 = 1;
const ZONE: u16 = 2;

const SRC: u16 = 0;
const DST: u16 = 1;
const SRC_PORT: u16 = 2;
const DST_PORT: u16 = 3;
const ICMP_ID: u16 = 4;
const ICMP_TYPE: u16 = 5;
const ICMP_CODE: u16 = 6;

const ADDR_LEN: usize = 16;
/// What the first 96 bits of a mapped IPv4 address are.
const MAPPED: u128 = 0xffff;

/// Errors: `NXBRC_MUST_BE_ZERO`, `OFPBRC_BAD_LEN`, `OFPBPC_BAD_LEN`, and `OFPBPC_BAD_VALUE` for
/// addresses of both families.
pub(super) fn decode(r: &mut Reader) -> Result<CtFlush, DecodeError> {
    let mut flush = CtFlush {
        ip_proto: r.u8()?,
        ..CtFlush::default()
    };
    let pad = r.bytes(7)?;
    if !r.remaining().is_multiple_of(8) {
        return bad("length of properties", OfError::BrcBadLen);
    }
    if pad.iter().any(|b| *b != 0) {
        return bad("padding", OfError::NxbrcMustBeZero);
    }
    let mut family = None;
    while !r.is_empty() {
        let (kind, mut value) = property::read(r)?;
        match kind {
            ORIG => decode_tuple(&mut value, &mut flush.orig, &mut family)?,
            REPLY => decode_tuple(&mut value, &mut flush.reply, &mut family)?,
            ZONE => flush.zone = Some(value.u16()?),
            _ => {}
        }
    }
    Ok(flush)
}

fn decode_tuple(
    r: &mut Reader,
    tuple: &mut CtTuple,
    family: &mut Option<bool>,
) -> Result<(), DecodeError> {
    r.skip(4)?;
    while !r.is_empty() {
        let (kind, mut value) = property::read(r)?;
        match kind {
            SRC => tuple.src = decode_addr(&mut value, family)?,
            DST => tuple.dst = decode_addr(&mut value, family)?,
            SRC_PORT => tuple.src_port = value.u16()?,
            DST_PORT => tuple.dst_port = value.u16()?,
            ICMP_ID => tuple.icmp_id = value.u16()?,
            ICMP_TYPE => tuple.icmp_type = value.u8()?,
            ICMP_CODE => tuple.icmp_code = value.u8()?,
            _ => {}
        }
    }
    Ok(())
}

/// `family` is that of the addresses before: is it IPv4?
fn decode_addr(r: &mut Reader, family: &mut Option<bool>) -> Result<u128, DecodeError> {
    let addr = r.uint(ADDR_LEN)?;
    if addr != 0 {
        let is_ipv4 = addr >> 32 == MAPPED;
        if *family.get_or_insert(is_ipv4) != is_ipv4 {
            return bad("addresses of both families", OfError::BpcBadValue);
        }
    }
    Ok(addr)
}

pub(super) fn encode(o: &mut MessageWriter, flush: &CtFlush) {
    o.begin(Kind::CtFlush);
    o.w.u8(flush.ip_proto);
    o.w.zeros(7);
    encode_tuple(&mut o.w, ORIG, &flush.orig, flush.is_icmp());
    encode_tuple(&mut o.w, REPLY, &flush.reply, flush.is_icmp());
    if let Some(zone) = flush.zone {
        u16_property(&mut o.w, ZONE, zone);
    }
    o.end();
}

/// Ports are written where they are set, ICMP's fields always, as Open vSwitch does.
fn encode_tuple(w: &mut Writer, kind: u16, tuple: &CtTuple, is_icmp: bool) {
    let start = w.len();
    property::write(w, kind, |w| {
        w.zeros(4);
        for (kind, addr) in [(SRC, tuple.src), (DST, tuple.dst)] {
            if addr != 0 {
                property::write(w, kind, |w| w.uint(addr, ADDR_LEN));
            }
        }
        if is_icmp {
            u16_property(w, ICMP_ID, tuple.icmp_id);
            property::write(w, ICMP_TYPE, |w| w.u8(tuple.icmp_type));
            property::write(w, ICMP_CODE, |w| w.u8(tuple.icmp_code));
            return;
        }
        for (kind, port) in [(SRC_PORT, tuple.src_port), (DST_PORT, tuple.dst_port)] {
            if port != 0 {
                u16_property(w, kind, port);
            }
        }
    });
    if w.len() - start == EMPTY_TUPLE_LEN {
        w.buf.truncate(start);
    }
}

/// Header and padding of a tuple that says nothing.
const EMPTY_TUPLE_LEN: usize = 8;

/// Two bytes of padding count as part of it.
fn u16_property(w: &mut Writer, kind: u16, value: u16) {
    property::write(w, kind, |w| {
        w.u16(value);
        w.zeros(2);
    });
}
