//! Meters: `packet::meter` on the maps.

use aya_ebpf::bindings::__sk_buff;
use packet::meter::BandAction;

use crate::{counters, maps, parse};

const NOTHING: u64 = 0;
const DROP: u64 = 1;
/// With the levels above it.
const REMARK: u64 = 2;
const LEVELS_SHIFT: u32 = 8;

/// Counts the packet for a meter; returns what the meter does with it. A meter that is not there
/// does nothing.
#[inline(always)]
pub fn measure(skb: *mut __sk_buff, id: u32) -> Option<BandAction> {
    match measure_packed(skb, u64::from(id)) {
        NOTHING => None,
        DROP => Some(BandAction::Drop),
        packed => Some(BandAction::Remark((packed >> LEVELS_SHIFT) as u8)),
    }
}

/// As [`measure`], with the answer in one word. Exported for the same reason as
/// [`crate::set_field::set_field`]: the loop over the bands is verified once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn measure_packed(skb: *mut __sk_buff, id: u64) -> u64 {
    let Some(meter) = maps::meter(id as u32) else {
        return NOTHING;
    };
    let bytes = parse::frame_len(skb);
    // SAFETY: a read of a context field, checked by the verifier.
    let segments = unsafe { (*skb).gso_segs };
    let packets = if segments > 1 { segments } else { 1 };
    let band = meter.measure(counters::now_ns(), packets, bytes);
    if let Some(c) = maps::meter_counters(id as u32) {
        c.count(bytes, band);
    }
    match meter.action(band) {
        None => NOTHING,
        Some(BandAction::Drop) => DROP,
        Some(BandAction::Remark(levels)) => REMARK | u64::from(levels) << LEVELS_SHIFT,
    }
}
