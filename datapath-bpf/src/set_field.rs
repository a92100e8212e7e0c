//! Writes header fields and keeps checksums right.
//!
//! Each field is a *patch*: two, four or six bytes at an even offset, with the checksums that
//! cover them. Checksums are updated by difference, which also holds for super-packets and for
//! packets whose checksum is still to be computed (the helpers know: a pseudo-header change goes
//! into the unfinished sum, anything else will be summed later). A UDP checksum of zero stays zero.
//! Where no checksum in the packet offsets a change, the running sum that a receiving device may
//! have left (`CHECKSUM_COMPLETE`) is corrected by `BPF_F_RECOMPUTE_CSUM`.
//!
//! SCTP has a CRC instead: it is linear, so the CRC of the difference, carried over the rest of
//! the packet, corrects it; see [`crate::crc32c`].

use aya_ebpf::bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM};
use aya_ebpf::helpers::{
    bpf_csum_diff, bpf_l3_csum_replace, bpf_l4_csum_replace, bpf_skb_load_bytes,
    bpf_skb_store_bytes,
};
use packet::action::{ActionRecord, SetField};
use packet::key::*;
use packet::meter::remarked;

use crate::crc32c;
use crate::execute::Headers;
use crate::maps;

const OK: u64 = 0;
const REFUSED: u64 = 1;
const RECOMPUTE: u64 = BPF_F_RECOMPUTE_CSUM as u64;

/// What to write where. It lies in scratch memory: the stack is too small.
#[repr(C)]
struct Patch {
    offset: u32,
    len: u32,
    /// Where the IPv4 header checksum is that covers the bytes; 0: none.
    l3_sum: u32,
    /// As `l3_sum`, for the transport checksum.
    l4_sum: u32,
    l4_flags: u64,
    /// Nothing in the packet offsets the change.
    uncovered: u64,
    /// Where the SCTP header is whose CRC covers the bytes, and where what it covers ends; 0: none.
    sctp: u32,
    sctp_end: u32,
    value: [u8; 8],
    mask: [u8; 8],
    /// The bytes before and after.
    old: [u8; 8],
    new: [u8; 8],
}

/// Carries out record `index` of `block`, a set-field. Returns 0 when done, else the packet lacks
/// the header or cannot be written.
///
/// Exported, so that the kernel verifies it once by itself and not for every way to reach it; such
/// a function takes numbers and the context alone.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn set_field(
    skb: *mut __sk_buff,
    block: u64,
    index: u64,
    layers: u64,
    kinds: u64,
) -> u64 {
    let Some(record) = maps::record(block as u32, index as usize) else {
        return REFUSED;
    };
    set(skb, &Headers::unpack(layers, kinds), record)
}

#[inline(always)]
fn set(skb: *mut __sk_buff, headers: &Headers, record: &ActionRecord) -> u64 {
    let Some(field) = SetField::from_u8(record.arg8) else {
        return REFUSED;
    };
    match field {
        SetField::PktMark | SetField::SkbPriority => {
            set_metadata(skb, field, record);
            return OK;
        }
        _ => {}
    }
    let Some(p) = new_patch(field, record.value, record.mask) else {
        return REFUSED;
    };
    let found = match field {
        SetField::NdSll | SetField::NdTll => find_nd_option(skb, headers, field, p),
        _ => patch(skb, headers, field, p),
    };
    if found.is_none() {
        return REFUSED;
    }
    apply(skb, p)
}

#[inline(always)]
fn new_patch(field: SetField, value: [u8; 6], mask: [u8; 6]) -> Option<&'static mut Patch> {
    let memory = maps::scratch()?;
    // SAFETY: scratch memory is large and aligned enough, and any content is a patch.
    let p = unsafe { &mut *memory.cast::<Patch>() };
    let [v0, v1, v2, v3, v4, v5] = value;
    let [m0, m1, m2, m3, m4, m5] = mask;
    p.offset = 0;
    p.len = field.len_bytes() as u32;
    p.l3_sum = 0;
    p.l4_sum = 0;
    p.l4_flags = 0;
    p.uncovered = 0;
    p.sctp = 0;
    p.sctp_end = 0;
    p.value = [v0, v1, v2, v3, v4, v5, 0, 0];
    p.mask = [m0, m1, m2, m3, m4, m5, 0, 0];
    Some(p)
}

/// Raises the packet's drop precedence, if its IP header says one. Returns 0 when done, else the
/// packet cannot be written. Exported as [`set_field`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn remark(skb: *mut __sk_buff, levels: u64, layers: u64, kinds: u64) -> u64 {
    let headers = Headers::unpack(layers, kinds);
    let is_ipv4 = headers.eth_type == ETH_TYPE_IPV4;
    // An IPv4 header that is not in order has no place for the one above.
    if !(is_ipv4 && headers.l4 != 0 || headers.eth_type == ETH_TYPE_IPV6) {
        return OK;
    }
    let mut start = [0u8; 2];
    // SAFETY: the helper writes the two bytes that it is given.
    if unsafe { bpf_skb_load_bytes(skb.cast(), headers.l3, start.as_mut_ptr().cast(), 2) } != 0 {
        return OK;
    }
    let [a, b] = start;
    let tos = if is_ipv4 { b } else { a << 4 | b >> 4 };
    let new = remarked(tos, levels as u8);
    if new == tos {
        return OK;
    }
    let Some(p) = new_patch(SetField::IpTos, [new, 0, 0, 0, 0, 0], [0xff; 6]) else {
        return REFUSED;
    };
    match patch(skb, &headers, SetField::IpTos, p) {
        Some(()) => apply(skb, p),
        None => REFUSED,
    }
}

#[inline(always)]
fn set_metadata(skb: *mut __sk_buff, field: SetField, record: &ActionRecord) {
    let [v0, v1, v2, v3, ..] = record.value;
    let [m0, m1, m2, m3, ..] = record.mask;
    let value = u32::from_ne_bytes([v0, v1, v2, v3]);
    let mask = u32::from_ne_bytes([m0, m1, m2, m3]);
    // SAFETY: fields that this program type may write.
    unsafe {
        if field as u8 == SetField::PktMark as u8 {
            (*skb).mark = ((*skb).mark & !mask) | (value & mask);
        } else {
            (*skb).priority = ((*skb).priority & !mask) | (value & mask);
        }
    }
}

#[inline(always)]
fn patch(skb: *mut __sk_buff, headers: &Headers, field: SetField, p: &mut Patch) -> Option<()> {
    let Headers {
        l3,
        l4,
        eth_type,
        ip_proto,
        ip_frag,
        ..
    } = *headers;
    let later = ip_frag & FRAG_LATER != 0;
    let [v0, v1, v2, v3, ..] = p.value;
    let [m0, m1, m2, m3, ..] = p.mask;
    let n = field as u8;
    let (is_ipv4, is_ipv6) = (eth_type == ETH_TYPE_IPV4, eth_type == ETH_TYPE_IPV6);
    match field {
        SetField::EthDst => p.offset = 0,
        SetField::EthSrc => p.offset = 6,
        _ if l3 == 0 => return None,
        SetField::Ipv4Src | SetField::Ipv4Dst if is_ipv4 && l4 != 0 => {
            p.offset = l3 + if n == SetField::Ipv4Src as u8 { 12 } else { 16 };
            p.l3_sum = l3 + 10;
            pseudo_header(skb, headers, p);
        }
        SetField::IpTos if is_ipv4 && l4 != 0 => {
            // With the byte before it: version and header length.
            (p.offset, p.len, p.l3_sum) = (l3, 2, l3 + 10);
            (p.value, p.mask) = ([0, v0, 0, 0, 0, 0, 0, 0], [0, m0, 0, 0, 0, 0, 0, 0]);
        }
        SetField::IpTtl if is_ipv4 && l4 != 0 => {
            // With the byte behind it: the protocol.
            (p.offset, p.len, p.l3_sum) = (l3 + 8, 2, l3 + 10);
            (p.value, p.mask) = ([v0, 0, 0, 0, 0, 0, 0, 0], [m0, 0, 0, 0, 0, 0, 0, 0]);
        }
        SetField::IpTos if is_ipv6 => {
            (p.offset, p.len, p.uncovered) = (l3, 2, 1);
            p.value = [v0 >> 4, v0 << 4, 0, 0, 0, 0, 0, 0];
            p.mask = [m0 >> 4, m0 << 4, 0, 0, 0, 0, 0, 0];
        }
        SetField::IpTtl if is_ipv6 => {
            // With the byte before it: the next header.
            (p.offset, p.len, p.uncovered) = (l3 + 6, 2, 1);
            (p.value, p.mask) = ([0, v0, 0, 0, 0, 0, 0, 0], [0, m0, 0, 0, 0, 0, 0, 0]);
        }
        SetField::Ipv6Label if is_ipv6 => {
            (p.offset, p.uncovered) = (l3, 1);
            p.value = [0, v1 & 0xf, v2, v3, 0, 0, 0, 0];
            p.mask = [0, m1 & 0xf, m2, m3, 0, 0, 0, 0];
        }
        _ if is_ipv6 && n >= SetField::Ipv6Src0 as u8 && n <= SetField::Ipv6Dst3 as u8 => {
            p.offset = l3 + 8 + 4 * u32::from(n - SetField::Ipv6Src0 as u8);
            // The helper's correction of a running sum for a pseudo header supposes that the
            // change is offset by an IPv4 header checksum; here it is not.
            p.uncovered = 1;
            if n < SetField::Ipv6Dst0 as u8 || headers.routing == 0 {
                pseudo_header(skb, headers, p);
            }
        }
        SetField::TpSrc | SetField::TpDst if l4 != 0 && !later => {
            p.offset = l4 + if n == SetField::TpSrc as u8 { 0 } else { 2 };
            match ip_proto {
                IP_PROTO_TCP => p.l4_sum = l4 + 16,
                IP_PROTO_UDP => {
                    p.l4_sum = l4 + 6;
                    p.l4_flags = u64::from(BPF_F_MARK_MANGLED_0);
                    p.uncovered = u64::from(udp_sum_absent(skb, l4));
                }
                IP_PROTO_SCTP => {
                    p.sctp = l4;
                    p.sctp_end = payload_end(skb, l3, is_ipv4)?;
                }
                _ => return None,
            }
        }
        SetField::IcmpType | SetField::IcmpCode
            if l4 != 0 && !later && (ip_proto == IP_PROTO_ICMP || ip_proto == IP_PROTO_ICMPV6) =>
        {
            (p.offset, p.len, p.l4_sum) = (l4, 2, l4 + 2);
            (p.value, p.mask) = ([v0, 0, 0, 0, 0, 0, 0, 0], [m0, 0, 0, 0, 0, 0, 0, 0]);
            if n == SetField::IcmpCode as u8 {
                (p.value, p.mask) = ([0, v0, 0, 0, 0, 0, 0, 0], [0, m0, 0, 0, 0, 0, 0, 0]);
            }
        }
        _ if n >= SetField::ArpOp as u8 && n <= SetField::ArpTha as u8 => {
            if eth_type != ETH_TYPE_ARP && eth_type != ETH_TYPE_RARP {
                return None;
            }
            p.uncovered = 1;
            p.offset = l3
                + match field {
                    SetField::ArpOp => 6,
                    SetField::ArpSha => 8,
                    SetField::ArpSpa => 14,
                    SetField::ArpTha => 18,
                    _ => 24,
                };
        }
        _ if n >= SetField::NdTarget0 as u8 && n <= SetField::NdTarget3 as u8 => {
            if ip_proto != IP_PROTO_ICMPV6 || l4 == 0 {
                return None;
            }
            p.offset = l4 + 8 + 4 * u32::from(n - SetField::NdTarget0 as u8);
            p.l4_sum = l4 + 2;
        }
        _ => return None,
    }
    Some(())
}

/// The transport checksum covers the IP addresses, where the packet has that checksum.
#[inline(always)]
fn pseudo_header(skb: *mut __sk_buff, headers: &Headers, p: &mut Patch) {
    let l4 = headers.l4;
    if l4 == 0 || headers.ip_frag & FRAG_LATER != 0 {
        return;
    }
    let (sum, flags, header) = match headers.ip_proto {
        IP_PROTO_TCP => (l4 + 16, 0, 20),
        IP_PROTO_UDP => (l4 + 6, u64::from(BPF_F_MARK_MANGLED_0), 8),
        IP_PROTO_ICMPV6 if headers.eth_type == ETH_TYPE_IPV6 => (l4 + 2, 0, 4),
        _ => return,
    };
    // SAFETY: a read of a context field, checked by the verifier.
    if l4 + header <= unsafe { (*skb).len } {
        p.l4_sum = sum;
        p.l4_flags = flags | u64::from(BPF_F_PSEUDO_HDR);
    }
}

#[inline(always)]
fn udp_sum_absent(skb: *mut __sk_buff, l4: u32) -> bool {
    let mut sum = [0u8; 2];
    // SAFETY: the helper writes the two bytes that it is given.
    unsafe { bpf_skb_load_bytes(skb.cast(), l4 + 6, sum.as_mut_ptr().cast(), 2) };
    sum == [0; 2]
}

/// Where the IP payload ends; a short frame is padded behind.
#[inline(always)]
fn payload_end(skb: *mut __sk_buff, l3: u32, is_ipv4: bool) -> Option<u32> {
    let mut len = [0u8; 2];
    let (at, before) = if is_ipv4 {
        (l3 + 2, l3)
    } else {
        (l3 + 4, l3 + 40)
    };
    // SAFETY: the helper writes the two bytes that it is given.
    let loaded = unsafe { bpf_skb_load_bytes(skb.cast(), at, len.as_mut_ptr().cast(), 2) };
    (loaded == 0).then_some(before + u32::from(u16::from_be_bytes(len)))
}

/// Corrects the CRC of an SCTP packet for the exclusive-or of two bytes, `at` of them on. A CRC of
/// zero is still to be computed.
#[inline(always)]
fn correct_crc(skb: *mut __sk_buff, p: &Patch, difference: u64) -> u64 {
    let mut crc = [0u8; 4];
    let Some(zeros) = p.sctp_end.checked_sub(p.offset + 2) else {
        return REFUSED;
    };
    // SAFETY: the helpers get the four bytes that they are told of.
    unsafe {
        let memory = crc.as_mut_ptr().cast();
        if bpf_skb_load_bytes(skb.cast(), p.sctp + 8, memory, 4) != 0 {
            return REFUSED;
        }
        if crc == [0; 4] {
            return OK;
        }
        let change = crc32c::crc32c_change(difference, u64::from(zeros));
        crc = (u32::from_le_bytes(crc) ^ change as u32).to_le_bytes();
        if bpf_skb_store_bytes(skb.cast(), p.sctp + 8, crc.as_ptr().cast(), 4, RECOMPUTE) != 0 {
            return REFUSED;
        }
    }
    OK
}

#[inline(always)]
fn apply(skb: *mut __sk_buff, p: &mut Patch) -> u64 {
    p.old = [0; 8];
    let from: *mut core::ffi::c_void = (&raw mut p.old).cast();
    let to: *mut core::ffi::c_void = (&raw mut p.new).cast();
    // The helpers want lengths that the verifier knows: one call for each.
    // SAFETY: the helpers get buffers of at least the length they are told.
    unsafe {
        let loaded = match p.len {
            2 => bpf_skb_load_bytes(skb.cast(), p.offset, from, 2),
            4 => bpf_skb_load_bytes(skb.cast(), p.offset, from, 4),
            _ => bpf_skb_load_bytes(skb.cast(), p.offset, from, 6),
        };
        if loaded != 0 {
            return REFUSED;
        }
        let old = u64::from_ne_bytes(p.old);
        let value = u64::from_ne_bytes(p.value);
        let mask = u64::from_ne_bytes(p.mask) & u64::from_ne_bytes(width(p.len));
        let new = (old & !mask) | (value & mask);
        p.new = new.to_ne_bytes();
        if p.sctp != 0 && correct_crc(skb, p, old ^ new) != OK {
            return REFUSED;
        }
        let flags = if p.uncovered != 0 || p.sctp != 0 {
            RECOMPUTE
        } else {
            0
        };
        if p.l3_sum != 0 || p.l4_sum != 0 {
            let diff = bpf_csum_diff(from.cast(), 8, to.cast(), 8, 0);
            if diff < 0 {
                return REFUSED;
            }
            let diff = diff as u64;
            if p.l4_sum != 0 && bpf_l4_csum_replace(skb.cast(), p.l4_sum, 0, diff, p.l4_flags) != 0
            {
                return REFUSED;
            }
            if p.l3_sum != 0 && bpf_l3_csum_replace(skb.cast(), p.l3_sum, 0, diff, 0) != 0 {
                return REFUSED;
            }
        }
        let stored = match p.len {
            2 => bpf_skb_store_bytes(skb.cast(), p.offset, to, 2, flags),
            4 => bpf_skb_store_bytes(skb.cast(), p.offset, to, 4, flags),
            _ => bpf_skb_store_bytes(skb.cast(), p.offset, to, 6, flags),
        };
        if stored != 0 { REFUSED } else { OK }
    }
}

/// The first `len` bytes.
#[inline(always)]
fn width(len: u32) -> [u8; 8] {
    const F: u8 = 0xff;
    match len {
        2 => [F, F, 0, 0, 0, 0, 0, 0],
        4 => [F, F, F, F, 0, 0, 0, 0],
        _ => [F, F, F, F, F, F, 0, 0],
    }
}

const ND_OPT_SOURCE_LINK: u8 = 1;
const ND_OPT_TARGET_LINK: u8 = 2;

/// Finds the address of a link-layer address option; the packet must have the option.
#[inline(always)]
fn find_nd_option(
    skb: *mut __sk_buff,
    headers: &Headers,
    field: SetField,
    p: &mut Patch,
) -> Option<()> {
    let Headers { l4, ip_proto, .. } = *headers;
    if ip_proto != IP_PROTO_ICMPV6 || l4 == 0 {
        return None;
    }
    let wanted = if field as u8 == SetField::NdSll as u8 {
        ND_OPT_SOURCE_LINK
    } else {
        ND_OPT_TARGET_LINK
    };
    let mut at = l4 + 24;
    for _ in 0..packet::extract::MAX_ND_OPTIONS {
        let option: *mut core::ffi::c_void = (&raw mut p.old).cast();
        // SAFETY: the helper writes the two bytes that it is given.
        if unsafe { bpf_skb_load_bytes(skb.cast(), at, option, 2) } != 0 {
            return None;
        }
        let [kind, len, ..] = p.old;
        if kind == wanted && len == 1 {
            p.offset = at + 2;
            p.l4_sum = l4 + 2;
            return Some(());
        }
        if len == 0 {
            return None;
        }
        at += u32::from(len) * 8;
    }
    None
}
