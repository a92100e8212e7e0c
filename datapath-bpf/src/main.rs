//! The eBPF programs of the datapath.
//!
//! A packet goes `ingress` → [`parse`] → [`lookup`] → [`execute`] → redirect; a miss and a
//! slow-path flow go to [`upcall`]. Userspace puts packets back by [`inject`]. The records and maps
//! are those of `packet::abi`, the parser is `packet::extract`.
//!
//! No code here may contain a panic path: the panic handler is an undefined symbol, so that one
//! fails the build.
#![no_std]
#![no_main]

mod counters;
mod crc32c;
mod execute;
mod lookup;
mod maps;
mod meter;
mod output;
mod parse;
mod set_field;
mod upcall;

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use packet::DropReason;
use packet::abi::port_flags;

use crate::counters::drop_packet;

/// `TC_ACT_SHOT` and `TCX_DROP`.
const SHOT: i32 = 2;

/// Packets that a port receives: at ingress of a system port, at egress of an internal port.
#[classifier]
pub fn ingress(ctx: TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    // SAFETY: the kernel hands a valid context; reads of its fields are checked by the verifier.
    let ifindex = unsafe { (*skb).ifindex };
    let len = parse::frame_len(skb);
    let port_no = maps::port_of(ifindex);
    let Some(port) = maps::port(port_no) else {
        return drop_packet(DropReason::UnknownPort);
    };
    counters::received(port_no, len);
    if port.flags & port_flags::RECEIVE == 0 {
        return counters::drop_received(port_no, DropReason::PortDown);
    }
    let Some(key) = maps::key() else {
        return drop_packet(DropReason::Malformed);
    };
    let Some(layers) = parse::parse(skb, port_no, key) else {
        return counters::drop_received(port_no, DropReason::Malformed);
    };
    match lookup::lookup(key, layers, len) {
        Some(flow) if flow.fast_port != 0 => output::last(flow.fast_port, len),
        Some(flow) => execute::run(skb, flow.block, key, layers),
        None => upcall::miss(skb, key),
    }
}

/// Packets that userspace writes to the injection device. The outermost VLAN tag's TCI is the
/// number of an injection slot, which says what to do with the packet.
#[classifier]
pub fn inject(ctx: TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    let Some((_, slot_no)) = parse::metadata_vlan(skb) else {
        return drop_packet(DropReason::BadInjection);
    };
    let Some(slot) = maps::inject_slot(slot_no) else {
        return drop_packet(DropReason::BadInjection);
    };
    // SAFETY: as in `ingress`; the helper takes the context it was given.
    unsafe {
        if aya_ebpf::helpers::bpf_skb_vlan_pop(skb) != 0 {
            return drop_packet(DropReason::BadInjection);
        }
        (*skb).mark = slot.mark;
    }
    let Some(key) = maps::key() else {
        return drop_packet(DropReason::Malformed);
    };
    let Some(layers) = parse::parse(skb, slot.in_port, key) else {
        return drop_packet(DropReason::Malformed);
    };
    execute::run(skb, slot.block, key, layers)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    unsafe extern "C" {
        fn a_panic_path_is_left_in_the_ebpf_programs() -> !;
    }
    // SAFETY: never linked: see the crate documentation.
    unsafe { a_panic_path_is_left_in_the_ebpf_programs() }
}

/// The kernel lets GPL-compatible programs alone call some of the helpers used here.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
pub static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
