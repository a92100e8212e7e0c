//! Sends a packet to userspace through the ring buffer, within the port's quota.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::{
    bpf_ringbuf_discard, bpf_ringbuf_reserve, bpf_ringbuf_submit, bpf_skb_load_bytes,
};
use packet::abi::*;
use packet::{DropReason, FlowKey};

use crate::counters::{drop_packet, now_ns};

use crate::{SHOT, lookup, maps};

/// No megaflow matched.
#[inline(never)]
pub fn miss(skb: *mut __sk_buff, key: &FlowKey) -> i32 {
    if !first_packets(key) {
        return lost(DropReason::UpcallPending);
    }
    send(skb, key, upcall_kind::MISS, 0)
}

/// The flow's packets are handled in userspace one by one.
#[inline(never)]
pub fn action(skb: *mut __sk_buff, key: &FlowKey, reason: u8) -> i32 {
    send(skb, key, upcall_kind::ACTION, reason)
}

fn lost(reason: DropReason) -> i32 {
    if let Some(c) = maps::cpu_counters() {
        c.lost += 1;
    }
    drop_packet(reason)
}

/// Whether this packet is among the first few of its key that missed a short while ago.
#[inline(always)]
fn first_packets(key: &FlowKey) -> bool {
    let hash = lookup::hash_all(key);
    let (Some(config), Some(entry)) = (maps::config(), maps::pending(hash)) else {
        return true;
    };
    let now = now_ns();
    if entry.hash != hash || now >= entry.expires_ns {
        *entry = PendingEntry {
            hash,
            expires_ns: now + config.pending_ns,
            packets: 1,
        };
        return true;
    }
    entry.packets += 1;
    entry.packets <= config.pending_packets
}

/// Takes a token from the port's bucket.
#[inline(always)]
fn within_quota(port_no: u32) -> bool {
    let (Some(config), Some(bucket)) = (maps::config(), maps::quota(port_no)) else {
        return true;
    };
    let now = now_ns();
    let elapsed = now.wrapping_sub(bucket.filled_ns);
    // A full bucket is filled by one second at most, which also keeps the product small.
    if elapsed >= 1_000_000_000 {
        bucket.tokens = config.quota_burst;
        bucket.filled_ns = now;
    } else {
        let earned = elapsed * (config.quota_rate & 0xffff_ffff) / 1_000_000_000;
        if earned > 0 {
            bucket.tokens = (bucket.tokens + earned).min(config.quota_burst);
            bucket.filled_ns = now;
        }
    }
    if bucket.tokens == 0 {
        return false;
    }
    bucket.tokens -= 1;
    true
}

#[inline(always)]
fn send(skb: *mut __sk_buff, key: &FlowKey, kind: u8, reason: u8) -> i32 {
    if !within_quota(key.in_port) {
        return lost(DropReason::UpcallQuota);
    }
    // SAFETY: a read of a context field, checked by the verifier.
    let len = unsafe { (*skb).len } as usize;
    if len <= UPCALL_SMALL - size_of::<UpcallHeader>() {
        submit::<UPCALL_SMALL>(skb, key, kind, reason)
    } else if len <= UPCALL_MEDIUM - size_of::<UpcallHeader>() {
        submit::<UPCALL_MEDIUM>(skb, key, kind, reason)
    } else if len <= UPCALL_LARGE - size_of::<UpcallHeader>() {
        submit::<UPCALL_LARGE>(skb, key, kind, reason)
    } else {
        lost(DropReason::TooBig)
    }
}

/// Fills a record of `SIZE` bytes; the reserved size must be a constant.
#[inline(always)]
fn submit<const SIZE: usize>(skb: *mut __sk_buff, key: &FlowKey, kind: u8, reason: u8) -> i32 {
    // SAFETY: the record is checked for null, written within its size, and given back once; the
    // context is the program's own.
    unsafe {
        let record =
            bpf_ringbuf_reserve((&raw const maps::UPCALLS).cast_mut().cast(), SIZE as u64, 0);
        if record.is_null() {
            return lost(DropReason::UpcallRingFull);
        }
        let header = record.cast::<UpcallHeader>();
        let len = (*skb).len;
        (*header).kind = kind;
        (*header).reason = reason;
        (*header).vlan_present = ((*skb).vlan_present != 0) as u8;
        (*header).pad = 0;
        (*header).vlan_tci = (*skb).vlan_tci as u16;
        (*header).vlan_tpid = u16::from_be((*skb).vlan_proto as u16);
        (*header).data_len = len;
        (*header).gso_size = (*skb).gso_size;
        (*header).gso_segs = (*skb).gso_segs;
        (*header).pad1 = 0;
        (*header).key = *key;
        let data = record.cast::<u8>().add(size_of::<UpcallHeader>());
        let room = (SIZE - size_of::<UpcallHeader>()) as u32;
        if len == 0 || len > room || bpf_skb_load_bytes(skb.cast(), 0, data.cast(), len) != 0 {
            bpf_ringbuf_discard(record, 0);
            return lost(DropReason::Malformed);
        }
        bpf_ringbuf_submit(record, 0);
    }
    SHOT
}
