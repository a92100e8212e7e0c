//! From a frame to its [`FlowKey`]: one function for the eBPF programs and userspace.
//!
//! What is parsed and how malformed headers look in the key is written down in [`crate::key`]; the
//! rules are those of OVS `lib/flow.c`, `miniflow_extract`. The function is generic over
//! [`Reader`], so that the eBPF programs run the very code that is tested in userspace. The
//! verifier wants every loop and offset bounded: more than [`MAX_EXT_HEADERS`] IPv6 extension
//! headers, or headers beyond [`MAX_OFFSET`], count as cut short.
//!
//! The narrow part of the key is gathered in registers and written word by word, by loads as wide
//! as the header fields allow: this is the most-run code of the datapath.

use crate::key::*;

/// Bounds-checked access to a frame.
pub trait Reader {
    type Chunk<const N: usize>: Chunk;
    /// Length of the whole frame in bytes, also of what the reader cannot reach.
    fn len_bytes(&self) -> usize;
    /// `N` bytes from `offset`; `None` when the frame ends before.
    fn chunk<const N: usize>(&self, offset: usize) -> Option<Self::Chunk<N>>;
    /// False when chains of headers are to be left to another reader; the key is unfinished then.
    #[inline(always)]
    fn follows_chains(&self) -> bool {
        true
    }
}

/// Bytes that are known to be there. Numbers are as they lie in memory, not swapped; bytes beyond
/// the chunk are zero.
pub trait Chunk {
    fn u8(&self, at: usize) -> u8;
    fn u16(&self, at: usize) -> u16;
    fn u32(&self, at: usize) -> u32;
    fn u64(&self, at: usize) -> u64;

    /// A header's 16-bit number in host order.
    #[inline(always)]
    fn be16(&self, at: usize) -> u16 {
        u16::from_be(self.u16(at))
    }
}

impl Reader for &[u8] {
    type Chunk<const N: usize> = [u8; N];

    fn len_bytes(&self) -> usize {
        self.len()
    }

    fn chunk<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}

impl<const N: usize> Chunk for [u8; N] {
    fn u8(&self, at: usize) -> u8 {
        self.get(at).copied().unwrap_or(0)
    }
    fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(part(self, at))
    }
    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(part(self, at))
    }
    fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(part(self, at))
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(|b| b.first_chunk().copied())
        .unwrap_or([0; N])
}

/// What is known about a frame besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Meta {
    pub in_port: u32,
    pub recirc_id: u32,
    pub mark: u32,
    /// The outermost tag where it is not in the data (the kernel keeps it beside the frame): TPID
    /// and TCI.
    pub vlan: Option<(u16, u16)>,
}

/// Where the headers of a frame start, in bytes from the start of the data; 0: no such header.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Layers {
    pub l3: u16,
    /// The transport header, or the payload of a later fragment.
    pub l4: u16,
    /// The frame is IPv6 or ARP: only then may words [`NARROW_WORDS`].. of the key be other than zero.
    pub wide: bool,
    /// There is an IPv6 routing header: the destination in the pseudo header of transport checksums
    /// is not the one in the IPv6 header.
    pub routing: bool,
}

/// The frame is too short to be an Ethernet frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooShort;

pub const ETH_HEADER_LEN: usize = 14;
pub const VLAN_HEADER_LEN: usize = 4;
pub const IPV4_HEADER_LEN: usize = 20;
pub const IPV6_HEADER_LEN: usize = 40;
pub const TCP_HEADER_LEN: usize = 20;
pub const UDP_HEADER_LEN: usize = 8;
pub const SCTP_HEADER_LEN: usize = 12;
pub const ICMP_HEADER_LEN: usize = 8;
pub const ICMPV6_HEADER_LEN: usize = 4;
pub const ARP_LEN: usize = 28;

/// IPv6 extension headers that are looked through.
pub const MAX_EXT_HEADERS: usize = 8;
/// Neighbour discovery options that are looked at.
pub const MAX_ND_OPTIONS: usize = 8;
/// A transport header that starts later is not looked at.
pub const MAX_OFFSET: usize = 1024;

/// Below this, the two bytes behind the addresses are a length (IEEE 802.3).
const ETH_TYPE_MIN: u16 = 0x600;

/// The narrow part of the key on its way; numbers as they will lie in memory.
#[derive(Clone, Copy, Default)]
struct Narrow {
    ip_proto: u8,
    ip_tos: u8,
    ip_ttl: u8,
    ip_frag: u8,
    tp_src: u16,
    tp_dst: u16,
    addresses: u64,
    tcp_flags: u16,
    label: u32,
}

/// Parses a frame into `key`, and writes every word of it.
#[inline(always)]
pub fn extract<R: Reader>(frame: &R, meta: &Meta, key: &mut FlowKey) -> Result<Layers, TooShort> {
    let eth = frame.chunk::<ETH_HEADER_LEN>(0).ok_or(TooShort)?;
    let words = key.words_mut();
    let mut n = Narrow::default();
    let mut layers = Layers::default();
    let mut l3 = ETH_HEADER_LEN;
    let mut eth_type = eth.be16(12);

    let (mut tpid0, mut tci0, mut tpid1, mut tci1) = (0u16, 0u16, 0u16, 0u16);
    if let Some((tpid, tci)) = meta.vlan {
        (tpid0, tci0) = (tpid, tci | VLAN_PRESENT);
    } else if is_vlan(eth_type)
        && let Some(tag) = frame.chunk::<VLAN_HEADER_LEN>(l3)
    {
        (tpid0, tci0) = (eth_type, tag.be16(0) | VLAN_PRESENT);
        eth_type = tag.be16(2);
        l3 += VLAN_HEADER_LEN;
    }
    if tpid0 != 0
        && is_vlan(eth_type)
        && let Some(tag) = frame.chunk::<VLAN_HEADER_LEN>(l3)
    {
        (tpid1, tci1) = (eth_type, tag.be16(0) | VLAN_PRESENT);
        eth_type = tag.be16(2);
        l3 += VLAN_HEADER_LEN;
    }
    if eth_type < ETH_TYPE_MIN {
        eth_type = ETH_TYPE_NONE;
        // LLC and SNAP with an Ethernet type: RFC 1042.
        if let Some(llc) = frame.chunk::<8>(l3)
            && llc.u32(0) == u32::from_ne_bytes([0xaa, 0xaa, 3, 0])
            && llc.u16(4) == 0
        {
            l3 += 8;
            if llc.be16(6) >= ETH_TYPE_MIN {
                eth_type = llc.be16(6);
            }
        }
    }
    layers.l3 = l3 as u16;
    for word in words.iter_mut().skip(NARROW_WORDS) {
        // Volatile, as the compiler would call a function that clears byte by byte.
        // SAFETY: a valid reference.
        unsafe { core::ptr::write_volatile(word, 0) };
    }
    layers.wide = matches!(eth_type, ETH_TYPE_IPV6 | ETH_TYPE_ARP | ETH_TYPE_RARP);
    let l4 = match eth_type {
        ETH_TYPE_IPV4 => ipv4(frame, l3, &mut n),
        ETH_TYPE_IPV6 => ipv6(frame, l3, &mut n, words, &mut layers.routing),
        ETH_TYPE_ARP | ETH_TYPE_RARP => {
            arp(frame, l3, &mut n, words);
            None
        }
        _ => None,
    };
    layers.l4 = l4.unwrap_or(0) as u16;

    words[0] = pack_u32(meta.in_port, meta.recirc_id);
    words[1] = eth.u64(0);
    words[2] = pack_u32(eth.u32(8), pack_u16(eth_type.to_be(), tci0.to_be()));
    words[3] = pack_u32(
        u32::from_ne_bytes([n.ip_proto, n.ip_tos, n.ip_ttl, n.ip_frag]),
        pack_u16(n.tp_src, n.tp_dst),
    );
    words[4] = n.addresses;
    words[5] = pack_u32(
        pack_u16(n.tcp_flags, tpid0.to_be()),
        pack_u16(tci1.to_be(), tpid1.to_be()),
    );
    words[6] = pack_u32(meta.mark, n.label);
    Ok(layers)
}

/// Two halves as they follow each other in memory.
#[inline(always)]
const fn pack_u32(first: u32, second: u32) -> u64 {
    if cfg!(target_endian = "little") {
        first as u64 | (second as u64) << 32
    } else {
        (first as u64) << 32 | second as u64
    }
}

#[inline(always)]
const fn pack_u16(first: u16, second: u16) -> u32 {
    if cfg!(target_endian = "little") {
        first as u32 | (second as u32) << 16
    } else {
        (first as u32) << 16 | second as u32
    }
}

/// True for the TPIDs of VLAN tags that are parsed.
#[inline(always)]
pub const fn is_vlan(eth_type: u16) -> bool {
    matches!(eth_type, ETH_TYPE_VLAN | ETH_TYPE_QINQ)
}

/// Returns where the payload starts; `None` when the header is bad (nothing is written then).
#[inline(always)]
fn ipv4<R: Reader>(frame: &R, l3: usize, n: &mut Narrow) -> Option<usize> {
    let header = frame.chunk::<IPV4_HEADER_LEN>(l3)?;
    let header_len = usize::from(header.u8(0) & 0xf) * 4;
    let room = frame.len_bytes().checked_sub(l3)?;
    let mut total = usize::from(header.be16(2));
    if total == 0 && room > 0xffff {
        // A super-packet larger than the field can say.
        total = room;
    }
    if header_len < IPV4_HEADER_LEN || header_len > total || total > room {
        return None;
    }
    n.addresses = header.u64(12);
    n.ip_proto = header.u8(9);
    n.ip_tos = header.u8(1);
    n.ip_ttl = header.u8(8);
    let fragment = header.be16(6) & 0x3fff;
    let l4 = l3 + header_len;
    if fragment != 0 {
        n.ip_frag = FRAG_ANY;
        if fragment & 0x1fff != 0 {
            n.ip_frag = FRAG_ANY | FRAG_LATER;
            return Some(l4);
        }
    }
    let left = total - header_len;
    if n.ip_proto == IP_PROTO_ICMP && left >= ICMP_HEADER_LEN {
        icmp(frame, l4, n);
    } else {
        transport(frame, l4, left, n);
    }
    Some(l4)
}

/// As [`ipv4`]. A cut chain of extension headers leaves the addresses alone in the key.
#[inline(always)]
fn ipv6<R: Reader>(
    frame: &R,
    l3: usize,
    n: &mut Narrow,
    words: &mut [u64; KEY_WORDS],
    routing: &mut bool,
) -> Option<usize> {
    let header = frame.chunk::<IPV6_HEADER_LEN>(l3)?;
    let mut l4 = l3 + IPV6_HEADER_LEN;
    let room = frame.len_bytes().checked_sub(l4)?;
    let mut left = usize::from(header.be16(4));
    if left == 0 && room > 0xffff {
        left = room;
    }
    if left > room {
        return None;
    }
    words[7] = header.u64(8);
    words[8] = header.u64(16);
    words[9] = header.u64(24);
    words[10] = header.u64(32);

    let mut proto = header.u8(6);
    let mut frag = 0;
    if is_extension(proto) {
        if !frame.follows_chains() {
            return None;
        }
        for _ in 0..MAX_EXT_HEADERS {
            *routing |= proto == IP_PROTO_ROUTING;
            let skip = extension(frame, l4, left, &mut proto, &mut frag)?;
            l4 += skip;
            left -= skip;
            if l4 > MAX_OFFSET {
                return None;
            }
            if frag & FRAG_LATER != 0 || !is_extension(proto) {
                break;
            }
        }
    }
    if frag & FRAG_LATER != 0 {
        // The header behind is in another packet; the type is that of the fragment header.
        proto = IP_PROTO_FRAGMENT;
    } else if is_extension(proto) {
        return None;
    }
    n.ip_proto = proto;
    n.ip_frag = frag;
    n.ip_tos = (header.be16(0) >> 4) as u8;
    n.ip_ttl = header.u8(7);
    n.label = header.u32(0) & u32::from_ne_bytes([0, 0xf, 0xff, 0xff]);
    if frag & FRAG_LATER != 0 {
        return Some(l4);
    }
    if proto != IP_PROTO_ICMPV6 {
        transport(frame, l4, left, n);
    } else if left >= ICMPV6_HEADER_LEN {
        icmp(frame, l4, n);
        let kind = u16::from_be(n.tp_src);
        if n.tp_dst == 0 && (kind == ND_SOLICIT || kind == ND_ADVERT) {
            if !frame.follows_chains() {
                return None;
            }
            neighbour_discovery(
                frame,
                l4 + ICMPV6_HEADER_LEN,
                left - ICMPV6_HEADER_LEN,
                words,
            );
        }
    }
    Some(l4)
}

const IP_PROTO_HOP_OPTIONS: u8 = 0;
const IP_PROTO_ROUTING: u8 = 43;
pub const IP_PROTO_FRAGMENT: u8 = 44;
const IP_PROTO_AUTHENTICATION: u8 = 51;
const IP_PROTO_DESTINATION_OPTIONS: u8 = 60;

#[inline(always)]
const fn is_extension(proto: u8) -> bool {
    matches!(
        proto,
        IP_PROTO_HOP_OPTIONS
            | IP_PROTO_ROUTING
            | IP_PROTO_FRAGMENT
            | IP_PROTO_AUTHENTICATION
            | IP_PROTO_DESTINATION_OPTIONS
    )
}

/// Steps over one extension header: returns its length; `None` when it is cut short.
#[inline(always)]
fn extension<R: Reader>(
    frame: &R,
    at: usize,
    left: usize,
    proto: &mut u8,
    frag: &mut u8,
) -> Option<usize> {
    if left < 8 {
        return None;
    }
    let header = frame.chunk::<4>(at)?;
    let len = usize::from(header.u8(1));
    let skip = match *proto {
        IP_PROTO_FRAGMENT => {
            let offset = header.be16(2);
            if offset != 0 {
                *frag = FRAG_ANY;
                if offset & 0xfff8 != 0 {
                    *frag = FRAG_ANY | FRAG_LATER;
                }
            }
            8
        }
        IP_PROTO_AUTHENTICATION => (len + 2) * 4,
        _ => (len + 1) * 8,
    };
    *proto = header.u8(0);
    (skip <= left).then_some(skip)
}

/// Ports and flags. `left`: bytes of IP payload.
#[inline(always)]
fn transport<R: Reader>(frame: &R, l4: usize, left: usize, n: &mut Narrow) {
    match n.ip_proto {
        IP_PROTO_TCP => {
            let Some(header) = frame.chunk::<TCP_HEADER_LEN>(l4) else {
                return;
            };
            let header_len = usize::from(header.u8(12) >> 4) * 4;
            if header_len >= TCP_HEADER_LEN && header_len <= left {
                n.tp_src = header.u16(0);
                n.tp_dst = header.u16(2);
                n.tcp_flags = header.u16(12) & 0x0fff_u16.to_be();
            }
        }
        IP_PROTO_UDP if left >= UDP_HEADER_LEN => ports(frame, l4, n),
        IP_PROTO_SCTP if left >= SCTP_HEADER_LEN => ports(frame, l4, n),
        _ => {}
    }
}

#[inline(always)]
fn ports<R: Reader>(frame: &R, l4: usize, n: &mut Narrow) {
    if let Some(header) = frame.chunk::<4>(l4) {
        n.tp_src = header.u16(0);
        n.tp_dst = header.u16(2);
    }
}

/// Type and code.
#[inline(always)]
fn icmp<R: Reader>(frame: &R, l4: usize, n: &mut Narrow) {
    if let Some(header) = frame.chunk::<2>(l4) {
        n.tp_src = u16::from(header.u8(0)).to_be();
        n.tp_dst = u16::from(header.u8(1)).to_be();
    }
}

const ND_SOLICIT: u16 = 135;
const ND_ADVERT: u16 = 136;
const ND_OPT_SOURCE_LINK: u8 = 1;
const ND_OPT_TARGET_LINK: u8 = 2;

/// Target and link-layer address options (RFC 4861, 4.3, 4.4, 4.6.1). An address option that comes
/// twice makes all of it invalid; a bad option ends the list.
#[inline(always)]
fn neighbour_discovery<R: Reader>(frame: &R, at: usize, left: usize, words: &mut [u64; KEY_WORDS]) {
    if left < 20 {
        return;
    }
    let Some(target) = frame.chunk::<16>(at + 4) else {
        return;
    };
    let mut source_link = 0;
    let mut target_link = 0;
    let mut at = at + 20;
    let mut left = left - 20;
    for _ in 0..MAX_ND_OPTIONS {
        if left < 8 {
            break;
        }
        let Some(option) = frame.chunk::<8>(at) else {
            break;
        };
        let len = usize::from(option.u8(1)) * 8;
        if len == 0 || len > left {
            break;
        }
        if len == 8 {
            // An address, then two zero bytes, as the key has it.
            let link = pack_u32(option.u32(2), pack_u16(option.u16(6), 0));
            let known = match option.u8(0) {
                ND_OPT_SOURCE_LINK => core::mem::replace(&mut source_link, link),
                ND_OPT_TARGET_LINK => core::mem::replace(&mut target_link, link),
                _ => 0,
            };
            if known != 0 {
                return;
            }
        }
        at += len;
        left -= len;
        if at > MAX_OFFSET {
            break;
        }
    }
    words[11] = target.u64(0);
    words[12] = target.u64(8);
    words[13] = source_link;
    words[14] = target_link;
}

/// Ethernet and IPv4 alone (RFC 826).
#[inline(always)]
fn arp<R: Reader>(frame: &R, l3: usize, n: &mut Narrow, words: &mut [u64; KEY_WORDS]) {
    let Some(arp) = frame.chunk::<ARP_LEN>(l3) else {
        return;
    };
    let kinds = pack_u32(arp.u32(0), pack_u16(arp.u16(4), 0));
    if kinds != u64::from_ne_bytes([0, 1, 8, 0, 6, 4, 0, 0]) {
        return;
    }
    words[13] = pack_u32(arp.u32(8), pack_u16(arp.u16(12), 0));
    words[14] = pack_u32(arp.u32(18), pack_u16(arp.u16(22), 0));
    n.addresses = pack_u32(arp.u32(14), arp.u32(24));
    if arp.u8(6) == 0 {
        n.ip_proto = arp.u8(7);
    }
}
