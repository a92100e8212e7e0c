//! Meters: `packet::meter` on the maps.

use aya_ebpf::bindings::__sk_buff;

use crate::{counters, maps, parse};

/// Counts the packet for a meter; false when it is too much. A meter that is not there lets
/// everything through.
#[inline(always)]
pub fn admits(skb: *mut __sk_buff, id: u32) -> bool {
    let Some(meter) = maps::meter(id) else {
        return true;
    };
    let bytes = parse::frame_len(skb);
    // SAFETY: a read of a context field, checked by the verifier.
    let segments = unsafe { (*skb).gso_segs };
    let packets = if segments > 1 { segments } else { 1 };
    let admitted = meter.admit(counters::now_ns(), packets, bytes);
    if let Some(c) = maps::meter_counters(id) {
        c.count(bytes, admitted);
    }
    admitted
}
