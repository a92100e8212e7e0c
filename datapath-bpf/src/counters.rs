//! Counters: per CPU, so plain additions.

use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns};
use packet::DropReason;

use crate::SHOT;
use crate::maps;

/// Counts the packet as dropped; returns the verdict that drops it.
#[inline(always)]
pub fn drop_packet(reason: DropReason) -> i32 {
    drop_numbered(reason as u32)
}

/// As [`drop_packet`], for a reason that comes as a number; an unknown one counts as
/// [`DropReason::ActionFailed`].
#[inline(always)]
pub fn drop_numbered(reason: u32) -> i32 {
    let reason = if reason < packet::abi::DROP_SLOTS && reason != 0 {
        reason
    } else {
        DropReason::ActionFailed as u32
    };
    if let Some(n) = maps::drops(reason) {
        *n += 1;
    }
    SHOT
}

/// As [`drop_packet`], and counts it on the port that it came in on.
#[inline(always)]
pub fn drop_received(port_no: u32, reason: DropReason) -> i32 {
    if let Some(c) = maps::port_counters(port_no) {
        c.rx_dropped += 1;
    }
    drop_packet(reason)
}

/// As [`drop_packet`], and counts it on the port that it should have gone to.
#[inline(always)]
pub fn drop_sent(port_no: u32, reason: DropReason) -> i32 {
    if let Some(c) = maps::port_counters(port_no) {
        c.tx_dropped += 1;
    }
    drop_packet(reason)
}

/// `CLOCK_MONOTONIC`, to the tick. Reading the clock costs as much as a table lookup, so it is read
/// once a tick; the kernel makes reading the tick a plain load.
#[inline(always)]
pub fn now_ns() -> u64 {
    let Some(c) = maps::cpu_counters() else {
        return 0;
    };
    // SAFETY: no arguments.
    let tick = unsafe { bpf_jiffies64() };
    if c.tick != tick {
        c.tick = tick;
        // SAFETY: no arguments.
        c.now_ns = unsafe { bpf_ktime_get_coarse_ns() };
    }
    c.now_ns
}

#[inline(always)]
pub fn received(port_no: u32, len_bytes: u32) {
    if let Some(c) = maps::port_counters(port_no) {
        c.rx_packets += 1;
        c.rx_bytes += u64::from(len_bytes);
    }
}

#[inline(always)]
pub fn sent(port_no: u32, len_bytes: u32) {
    if let Some(c) = maps::port_counters(port_no) {
        c.tx_packets += 1;
        c.tx_bytes += u64::from(len_bytes);
    }
}
