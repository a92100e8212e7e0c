//! Sending a packet to a port: the last copy by redirect, earlier ones by clone and redirect.

use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS};
use aya_ebpf::helpers::{bpf_clone_redirect, bpf_redirect};
use packet::DropReason;
use packet::abi::{PortEntry, port_flags};

use crate::counters::{drop_packet, drop_sent, sent};
use crate::{maps, parse};

/// Sends the packet itself; returns the program's verdict.
#[inline(always)]
pub fn last(port_no: u32, len_bytes: u32) -> i32 {
    let Some(port) = maps::port(port_no) else {
        return drop_packet(DropReason::NoSuchOutput);
    };
    if port.flags & port_flags::TRANSMIT == 0 {
        return drop_sent(port_no, DropReason::PortDown);
    }
    sent(port_no, len_bytes);
    // SAFETY: plain values.
    unsafe { bpf_redirect(port.ifindex, flags(port)) as i32 }
}

/// Sends a copy. A copy that goes nowhere is counted; the packet goes on.
#[inline(always)]
pub fn copy(skb: *mut __sk_buff, port_no: u32) {
    let Some(port) = maps::port(port_no) else {
        drop_packet(DropReason::NoSuchOutput);
        return;
    };
    if port.flags & port_flags::TRANSMIT == 0 {
        drop_sent(port_no, DropReason::PortDown);
        return;
    }
    // SAFETY: the helper takes the context that the program was given.
    let (len, refused) = unsafe {
        let len = parse::frame_len(skb);
        (len, bpf_clone_redirect(skb, port.ifindex, flags(port)) != 0)
    };
    if refused {
        drop_sent(port_no, DropReason::RedirectFailed);
    } else {
        sent(port_no, len);
    }
}

#[inline(always)]
fn flags(port: &PortEntry) -> u64 {
    if port.flags & port_flags::INTERNAL != 0 {
        u64::from(BPF_F_INGRESS)
    } else {
        0
    }
}
