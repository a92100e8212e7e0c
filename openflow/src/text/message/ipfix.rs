//! Statistics of IPFIX exporters.

use std::fmt::Write;

use crate::message::IpfixStats;

pub fn write_bridge(out: &mut String, stats: &IpfixStats) {
    out.push_str("\n  bridge ipfix: ");
    write(out, stats, 16);
}

pub fn write_flows(out: &mut String, all: &[IpfixStats]) {
    let _ = writeln!(out, " {} ids", all.len());
    for stats in all {
        let _ = write!(out, "  id {:>3}: ", stats.collector_set_id);
        write(out, stats, 10);
    }
}

/// Two lines, the second one as far in as the first one's counters.
fn write(out: &mut String, s: &IpfixStats, indent: usize) {
    let _ = writeln!(
        out,
        "flows={}, current flows={}, sampled pkts={}, ipv4 ok={}, ipv6 ok={}, tx pkts={}",
        s.total_flows, s.current_flows, s.packets, s.ipv4_packets, s.ipv6_packets, s.tx_packets
    );
    let _ = writeln!(
        out,
        "{:indent$}pkts errs={}, ipv4 errs={}, ipv6 errs={}, tx errs={}",
        "", s.error_packets, s.ipv4_error_packets, s.ipv6_error_packets, s.tx_errors
    );
}
