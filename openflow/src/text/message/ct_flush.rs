//! Flushing of tracked connections.

use std::fmt::Write;
use std::net::Ipv6Addr;

use crate::message::{CtFlush, CtTuple};
use crate::text::value;

pub fn write(out: &mut String, flush: &CtFlush) {
    let zone = flush.zone.unwrap_or(0);
    let _ = write!(out, " zone={zone} '");
    write_tuple(out, flush, &flush.orig);
    let _ = write!(out, ",ct_nw_proto={}' '", flush.ip_proto);
    write_tuple(out, flush, &flush.reply);
    out.push('\'');
}

fn write_tuple(out: &mut String, flush: &CtFlush, tuple: &CtTuple) {
    let all = [
        flush.orig.src,
        flush.orig.dst,
        flush.reply.src,
        flush.reply.dst,
    ];
    let name = match all.iter().any(|a| as_ipv4(*a).is_some()) {
        true => "ct_nw",
        false => "ct_ipv6",
    };
    for (n, (end, addr)) in [("src", tuple.src), ("dst", tuple.dst)].iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{name}_{end}=");
        match as_ipv4(*addr) {
            Some(addr) => value::write_ipv4(out, addr),
            None => value::write_ipv6(out, *addr),
        }
    }
    let _ = match flush.is_icmp() {
        true => write!(
            out,
            ",icmp_id={},icmp_type={},icmp_code={}",
            tuple.icmp_id, tuple.icmp_type, tuple.icmp_code
        ),
        false => write!(
            out,
            ",ct_tp_src={},ct_tp_dst={}",
            tuple.src_port, tuple.dst_port
        ),
    };
}

fn as_ipv4(addr: u128) -> Option<u32> {
    Ipv6Addr::from(addr).to_ipv4_mapped().map(u32::from)
}
