//! Runs an action list: one loop over its records.
//!
//! An output is kept back until it is known whether it is the last one: the packet itself goes to
//! the last port, copies go to the others.

use core::ffi::c_void;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{bpf_loop, bpf_skb_vlan_pop, bpf_skb_vlan_push};
use packet::abi::{BLOCK_RECORDS, MAX_STEPS};
use packet::action::{ActionRecord, OUTPUTS_MAX, kind};
use packet::extract::Layers;
use packet::key::FlowKey;
use packet::meter::BandAction;
use packet::{DropReason, addr::DpPort};

use crate::{SHOT, counters, maps, meter, output, parse, set_field, upcall};

/// A packet on its way through its actions.
///
/// It lies in memory of a map, where the verifier takes each value for unknown: on the stack it
/// would follow every combination of values from step to step.
#[repr(C)]
pub struct Execution {
    /// Where the next record is.
    block: u64,
    index: u64,
    /// Ports of the record that are done.
    part: u64,
    /// Output that is still to be done; 0: none.
    kept_port: u64,
    /// 1 when a copy was sent, or would have been but for what is counted.
    sent: u64,
    /// Why the list ended early; 0: it did not.
    drop_reason: u64,
    /// Why the packet goes to userspace, as a [`packet::action::SlowReason`]; 0: it does not.
    slow_reason: u64,
    /// [`Headers`], packed.
    layers: u64,
    kinds: u64,
}

/// What a step is given.
#[repr(C)]
struct Step {
    skb: *mut __sk_buff,
    state: *mut Execution,
}

/// What actions must know about the packet as it is now.
pub struct Headers {
    pub l3: u32,
    pub l4: u32,
    pub eth_type: u16,
    pub ip_proto: u8,
    pub ip_frag: u8,
    pub routing: u8,
}

impl Headers {
    /// As two numbers: where the headers are, and of what kind.
    #[inline(always)]
    fn pack(&self) -> (u64, u64) {
        let layers = u64::from(self.l3) | u64::from(self.l4) << 32;
        let kinds = u64::from(self.eth_type)
            | u64::from(self.ip_proto) << 16
            | u64::from(self.ip_frag) << 24
            | u64::from(self.routing) << 32;
        (layers, kinds)
    }

    #[inline(always)]
    pub fn unpack(layers: u64, kinds: u64) -> Headers {
        Headers {
            l3: layers as u32,
            l4: (layers >> 32) as u32,
            eth_type: kinds as u16,
            ip_proto: (kinds >> 16) as u8,
            ip_frag: (kinds >> 24) as u8,
            routing: (kinds >> 32) as u8,
        }
    }
}

/// Runs the list that starts in `block`; returns the program's verdict.
#[inline(never)]
pub fn run(skb: *mut __sk_buff, block: u32, key: &FlowKey, layers: Layers) -> i32 {
    if let Some(first) = maps::record(block, 0)
        && first.kind == kind::SLOW_PATH
    {
        return upcall::action(skb, key, first.arg8);
    }
    let headers = Headers {
        l3: u32::from(layers.l3),
        l4: u32::from(layers.l4),
        eth_type: key.eth_type(),
        ip_proto: key.ip_proto,
        ip_frag: key.ip_frag,
        routing: layers.routing.into(),
    };
    let (layers, kinds) = headers.pack();
    // Sending a copy may run this program again, for a device that is stacked on another: each run
    // in another has a place of its own.
    let Some(depth) = maps::depth() else {
        return SHOT;
    };
    let level = *depth;
    let Some(state) = maps::execution(level) else {
        return counters::drop_packet(DropReason::TooManyActions);
    };
    state.block = u64::from(block);
    state.index = 0;
    state.part = 0;
    state.kept_port = 0;
    state.sent = 0;
    state.drop_reason = 0;
    state.slow_reason = 0;
    state.layers = layers;
    state.kinds = kinds;
    let mut argument = Step { skb, state };
    *depth = level + 1;
    // SAFETY: `step` has the signature that the helper calls, and `argument` outlives the loop.
    let ran = unsafe {
        bpf_loop(
            MAX_STEPS,
            step as *mut c_void,
            (&raw mut argument).cast(),
            0,
        )
    };
    *depth = level;
    // SAFETY: as above; the loop is done with it.
    let state = unsafe { &mut *argument.state };
    if ran >= i64::from(MAX_STEPS) {
        state.drop_reason = DropReason::TooManyActions as u64;
    }
    if state.drop_reason != 0 {
        send_kept(skb, state);
        return counters::drop_numbered(state.drop_reason as u32);
    }
    if state.slow_reason != 0 {
        return upcall::action(skb, key, state.slow_reason as u8);
    }
    if state.kept_port == 0 {
        if state.sent != 0 {
            return SHOT;
        }
        return counters::drop_packet(DropReason::Policy);
    }
    output::last(state.kept_port as u32, parse::frame_len(skb))
}

const GO_ON: i64 = 0;
const STOP: i64 = 1;

/// One record.
unsafe extern "C" fn step(_index: u64, argument: *mut Step) -> i64 {
    // SAFETY: `run` passes its own state, and nothing else uses it during the loop.
    let (skb, state) = unsafe { ((*argument).skb, &mut *(*argument).state) };
    let Some(record) = maps::record(state.block as u32, state.index as usize) else {
        return STOP;
    };
    state.index += 1;
    match record.kind {
        kind::NEXT => {
            state.block = u64::from(record.u32());
            state.index = 0;
            return GO_ON;
        }
        kind::OUTPUT => keep(skb, state, DpPort(record.u32())),
        kind::OUTPUTS => {
            // One port a step: the verifier takes a loop in a loop hard.
            let Some(port) = one_of(record, state.part) else {
                return STOP;
            };
            keep(skb, state, port);
            state.part += 1;
            if state.part < u64::from(record.arg8) {
                state.index -= 1;
                return GO_ON;
            }
            state.part = 0;
        }
        kind::PUSH_VLAN | kind::POP_VLAN | kind::SET => {
            send_kept(skb, state);
            if !change(skb, state, record) {
                state.drop_reason = DropReason::ActionFailed as u64;
                return STOP;
            }
        }
        kind::METER => match meter::measure(skb, record.u32()) {
            None => {}
            Some(BandAction::Drop) => {
                state.drop_reason = DropReason::Policed as u64;
                return STOP;
            }
            Some(BandAction::Remark(levels)) => {
                send_kept(skb, state);
                if set_field::remark(skb, u64::from(levels), state.layers, state.kinds) != 0 {
                    state.drop_reason = DropReason::ActionFailed as u64;
                    return STOP;
                }
            }
        },
        // Behind meters; one that begins a list never gets here.
        kind::SLOW_PATH => {
            state.slow_reason = u64::from(record.arg8);
            return STOP;
        }
        kind::DROP => {
            state.drop_reason = u64::from(record.arg16);
            return STOP;
        }
        kind::END => return STOP,
        _ => {
            state.drop_reason = DropReason::ActionFailed as u64;
            return STOP;
        }
    }
    if state.index as usize >= BLOCK_RECORDS {
        STOP
    } else {
        GO_ON
    }
}

/// One of a record's ports.
#[inline(always)]
fn one_of(record: &ActionRecord, n: u64) -> Option<DpPort> {
    // Ports lie one after the other from `arg16` to the end of the record.
    const FIRST: usize = core::mem::offset_of!(ActionRecord, arg16);
    const { assert!(FIRST + 2 * OUTPUTS_MAX == size_of::<ActionRecord>()) };
    if n >= u64::from(record.arg8) || n >= OUTPUTS_MAX as u64 {
        return None;
    }
    // SAFETY: within the record, as just checked, and aligned as it is.
    let port = unsafe {
        let ports = (&raw const *record).cast::<u8>().add(FIRST).cast::<u16>();
        ports.add(n as usize).read_volatile()
    };
    Some(DpPort(u32::from(port)))
}

#[inline(always)]
fn keep(skb: *mut __sk_buff, state: &mut Execution, port: DpPort) {
    send_kept(skb, state);
    state.kept_port = u64::from(port.0);
}

#[inline(always)]
fn send_kept(skb: *mut __sk_buff, state: &mut Execution) {
    if state.kept_port != 0 {
        send_copy(skb, state.kept_port);
        state.kept_port = 0;
        state.sent = 1;
    }
}

/// Exported for the same reason as [`set_field::set_field`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send_copy(skb: *mut __sk_buff, port_no: u64) -> u64 {
    output::copy(skb, port_no as u32);
    0
}

#[inline(always)]
fn change(skb: *mut __sk_buff, state: &mut Execution, record: &ActionRecord) -> bool {
    if record.kind == kind::SET {
        let index = state.index.wrapping_sub(1);
        return set_field::set_field(skb, state.block, index, state.layers, state.kinds) == 0;
    }
    // A tag beside the data is pushed into it when another comes outside of it, and drawn out of
    // it when the one outside goes: the frame's length tells by how much its headers move.
    // SAFETY: the helpers take the context that the program was given.
    unsafe {
        let before = (*skb).len;
        let result = if record.kind == kind::PUSH_VLAN {
            let tci = u16::from_be_bytes([record.value[0], record.value[1]]) & 0xefff;
            bpf_skb_vlan_push(skb, record.arg16.to_be(), tci)
        } else {
            bpf_skb_vlan_pop(skb)
        };
        let moved = (*skb).len.wrapping_sub(before);
        let mut headers = Headers::unpack(state.layers, state.kinds);
        headers.l3 = headers.l3.wrapping_add(moved);
        if headers.l4 != 0 {
            headers.l4 = headers.l4.wrapping_add(moved);
        }
        state.layers = headers.pack().0;
        result == 0
    }
}
