//! Statistics of IPFIX exporters.
//!
//! Source: `nicira-ext.h`, `struct nx_ipfix_stats_reply`.

use super::kind::Kind;
use super::writer::MessageWriter;
use crate::message::IpfixStats;
use crate::wire::{DecodeError, Reader, Writer};

/// Ten counters of 8 bytes, collector_set_id(4), pad(4).
pub(super) fn decode(r: &mut Reader) -> Result<IpfixStats, DecodeError> {
    let stats = IpfixStats {
        total_flows: r.u64()?,
        current_flows: r.u64()?,
        packets: r.u64()?,
        ipv4_packets: r.u64()?,
        ipv6_packets: r.u64()?,
        error_packets: r.u64()?,
        ipv4_error_packets: r.u64()?,
        ipv6_error_packets: r.u64()?,
        tx_packets: r.u64()?,
        tx_errors: r.u64()?,
        collector_set_id: r.u32()?,
    };
    r.skip(4)?;
    Ok(stats)
}

fn write(w: &mut Writer, stats: &IpfixStats) {
    for n in [
        stats.total_flows,
        stats.current_flows,
        stats.packets,
        stats.ipv4_packets,
        stats.ipv6_packets,
        stats.error_packets,
        stats.ipv4_error_packets,
        stats.ipv6_error_packets,
        stats.tx_packets,
        stats.tx_errors,
    ] {
        w.u64(n);
    }
    w.u32(stats.collector_set_id);
    w.zeros(4);
}

pub(super) fn encode_bridge(o: &mut MessageWriter, stats: &IpfixStats) {
    o.begin(Kind::IpfixBridgeReply);
    write(&mut o.w, stats);
    o.end_multipart();
}

pub(super) fn encode_flows(o: &mut MessageWriter, stats: &[IpfixStats]) {
    o.parts(Kind::IpfixFlowReply, stats, |o, s| write(&mut o.w, s));
}
