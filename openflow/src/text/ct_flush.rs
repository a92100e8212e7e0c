//! Which tracked connections to flush, from text.
//!
//! Source: ovs-ofctl(8), "ct-flush".

use std::net::Ipv4Addr;

use thiserror::Error;

use super::token::{Pairs, Piece};
use super::value;
use crate::message::{CtFlush, CtTuple};

/// Why a text is no tuple, in Open vSwitch's words.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TupleError {
    #[error("field {0} missing value")]
    NoValue(String),
    #[error("failed to parse field {0}")]
    Value(String),
    #[error("{0} is set multiple times")]
    Twice(String),
    #[error("the L3 protocol does not match {0}")]
    Family(String),
    #[error("invalid L4 fields")]
    L4,
    #[error("port is set without protocol")]
    NoProtocol,
    #[error("invalid conntrack tuple field: {0}")]
    Unknown(String),
}

/// Which direction of connections a tuple describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    Orig,
    Reply,
}

/// Adds what `text` says of one direction to `flush`.
pub fn parse_tuple(
    text: &str,
    flush: &mut CtFlush,
    direction: Direction,
) -> Result<(), TupleError> {
    let is_ipv4 = |t: &CtTuple| [t.src, t.dst].into_iter().find(|a| *a != 0);
    let mut family = is_ipv4(&flush.orig)
        .or(is_ipv4(&flush.reply))
        .map(|addr| std::net::Ipv6Addr::from(addr).to_ipv4_mapped().is_some());
    let mut tuple = CtTuple::default();
    for pair in Pairs::new(Piece::new(text)) {
        let (key, text) = (pair.key.text, pair.value.text);
        if text.is_empty() {
            return Err(TupleError::NoValue(key.to_owned()));
        }
        let failed = || TupleError::Value(key.to_owned());
        let is_icmp = flush.is_icmp();
        match key {
            "ct_nw_src" | "ct_nw_dst" | "ct_ipv6_src" | "ct_ipv6_dst" => {
                let is_ipv4 = key.starts_with("ct_nw");
                if *family.get_or_insert(is_ipv4) != is_ipv4 {
                    return Err(TupleError::Family(text.to_owned()));
                }
                let addr = match key.ends_with("src") {
                    true => &mut tuple.src,
                    false => &mut tuple.dst,
                };
                if *addr != 0 {
                    return Err(TupleError::Twice(key.to_owned()));
                }
                *addr = match is_ipv4 {
                    true => {
                        let addr = Ipv4Addr::from(value::ipv4(text).ok_or_else(failed)?);
                        addr.to_ipv6_mapped().into()
                    }
                    false => value::ipv6(text).ok_or_else(failed)?,
                };
            }
            "ct_nw_proto" => flush.ip_proto = value::u8_value(text).ok_or_else(failed)?,
            "ct_tp_src" => tuple.src_port = value::u16_value(text).ok_or_else(failed)?,
            "ct_tp_dst" => tuple.dst_port = value::u16_value(text).ok_or_else(failed)?,
            "icmp_id" | "icmp_type" | "icmp_code" if !is_icmp => return Err(TupleError::L4),
            "icmp_id" => tuple.icmp_id = value::u16_value(text).ok_or_else(failed)?,
            "icmp_type" => tuple.icmp_type = value::u8_value(text).ok_or_else(failed)?,
            "icmp_code" => tuple.icmp_code = value::u8_value(text).ok_or_else(failed)?,
            _ => return Err(TupleError::Unknown(key.to_owned())),
        }
    }
    if tuple.src_port != 0 || tuple.dst_port != 0 {
        match flush.ip_proto {
            0 => return Err(TupleError::NoProtocol),
            _ if flush.is_icmp() => return Err(TupleError::L4),
            _ => {}
        }
    }
    match direction {
        Direction::Orig => flush.orig = tuple,
        Direction::Reply => flush.reply = tuple,
    }
    Ok(())
}

/// The number of a zone: `zone=N`; `None` for anything else.
pub fn parse_zone(text: &str) -> Option<u16> {
    text.strip_prefix("zone=")?.parse().ok()
}
