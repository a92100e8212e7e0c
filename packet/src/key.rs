//! `FlowKey`: what the datapath can match on, as fifteen 64-bit words.
//!
//! Layout (word: bytes):
//!
//! ```text
//!  0  in_port:4 (host order)      recirc_id:4 (host order)
//!  1  eth_dst:6                   eth_src[0..2]
//!  2  eth_src[2..6]               eth_type:2   vlan0_tci:2
//!  3  ip_proto ip_tos ip_ttl ip_frag   tp_src:2  tp_dst:2
//!  4  ipv4_src:4                  ipv4_dst:4           (ARP: spa, tpa)
//!  5  tcp_flags:2  vlan0_tpid:2   vlan1_tci:2  vlan1_tpid:2
//!  6  pkt_mark:4 (host order)     ipv6_label:4
//!  -- the narrow part ends here: 56 bytes --
//!  7  ipv6_src:16
//!  9  ipv6_dst:16
//! 11  nd_target:16
//! 13  arp_sha:6 (ND: source link-layer address)  pad:2
//! 14  arp_tha:6 (ND: target link-layer address)  pad:2
//! ```
//!
//! Words 7 and up are zero for every packet that is neither IPv6 nor ARP, so for those the narrow
//! part is the whole key. A mask whose words 7.. are zero makes a *narrow* megaflow. Header values
//! are big-endian byte arrays; absent headers are zero.
//!
//! Conventions that the extractor and the OpenFlow layer share:
//! - `vlanN_tci` has bit 0x1000 set when tag N is there (0 is the outer tag), else it is 0.
//! - `eth_type` is the type behind the tags the key holds; frames in IEEE 802.3 length form without
//!   SNAP have 0x05ff. A third tag is not parsed: `eth_type` is then that tag's TPID.
//! - ARP: `ip_proto` is the low byte of the opcode (0 when the opcode is above 255), `ipv4_src` and
//!   `ipv4_dst` are SPA and TPA.
//! - `ip_frag`: 0 no fragment, [`FRAG_ANY`] first fragment, [`FRAG_ANY`]`|`[`FRAG_LATER`] later
//!   fragment. Later fragments have zero ports, flags and ND fields.
//! - ICMP and ICMPv6: type in `tp_src` (value 0..=255), code in `tp_dst`.
//! - `tcp_flags`: the low 12 bits of bytes 12..14 of the TCP header.
//! - A header that is cut short or lies about its length leaves the fields of that layer and all
//!   layers above at zero (source: OVS `flow.c` `miniflow_extract` behaves so).
//!
//! Pipeline state (registers, metadata, the action set) is no part of the key; see `ofproto::flow`.

use crate::addr::{DpPort, EthAddr};

/// Number of 64-bit words in a key.
pub const KEY_WORDS: usize = 15;
/// Number of leading words that hold everything for packets that are neither IPv6 nor ARP.
pub const NARROW_WORDS: usize = 7;

/// `ip_frag`: the packet is a fragment.
pub const FRAG_ANY: u8 = 1;
/// `ip_frag`: the fragment's offset is not zero.
pub const FRAG_LATER: u8 = 2;
/// "Tag present" in `vlanN_tci` (the CFI bit, as Open vSwitch uses it).
pub const VLAN_PRESENT: u16 = 0x1000;

pub const ETH_TYPE_IPV4: u16 = 0x0800;
pub const ETH_TYPE_ARP: u16 = 0x0806;
pub const ETH_TYPE_RARP: u16 = 0x8035;
pub const ETH_TYPE_IPV6: u16 = 0x86dd;
pub const ETH_TYPE_VLAN: u16 = 0x8100;
pub const ETH_TYPE_QINQ: u16 = 0x88a8;
/// 802.3 frame without an Ethernet type (OpenFlow 1.0, 3.4).
pub const ETH_TYPE_NONE: u16 = 0x05ff;

pub const IP_PROTO_ICMP: u8 = 1;
pub const IP_PROTO_IGMP: u8 = 2;
pub const IP_PROTO_TCP: u8 = 6;
pub const IP_PROTO_UDP: u8 = 17;
pub const IP_PROTO_ICMPV6: u8 = 58;
pub const IP_PROTO_SCTP: u8 = 132;

/// One packet's match fields; see the module documentation for the layout and conventions.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct FlowKey {
    pub in_port: u32,
    pub recirc_id: u32,
    pub eth_dst: [u8; 6],
    pub eth_src: [u8; 6],
    pub eth_type: [u8; 2],
    pub vlan0_tci: [u8; 2],
    pub ip_proto: u8,
    pub ip_tos: u8,
    pub ip_ttl: u8,
    pub ip_frag: u8,
    pub tp_src: [u8; 2],
    pub tp_dst: [u8; 2],
    pub ipv4_src: [u8; 4],
    pub ipv4_dst: [u8; 4],
    pub tcp_flags: [u8; 2],
    pub vlan0_tpid: [u8; 2],
    pub vlan1_tci: [u8; 2],
    pub vlan1_tpid: [u8; 2],
    pub pkt_mark: u32,
    pub ipv6_label: [u8; 4],
    pub ipv6_src: [u8; 16],
    pub ipv6_dst: [u8; 16],
    pub nd_target: [u8; 16],
    pub arp_sha: [u8; 6],
    pub pad0: [u8; 2],
    pub arp_tha: [u8; 6],
    pub pad1: [u8; 2],
}

const _: () = assert!(size_of::<FlowKey>() == KEY_WORDS * 8);
const _: () = assert!(core::mem::offset_of!(FlowKey, ipv6_src) == NARROW_WORDS * 8);
const _: () = assert!(core::mem::offset_of!(FlowKey, tp_src) == 28);
const _: () = assert!(core::mem::offset_of!(FlowKey, arp_tha) == 14 * 8);

/// A mask over [`FlowKey`]: a 1 bit means that the bit matters.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct FlowMask(pub FlowKey);

impl FlowKey {
    /// The key with every bit zero.
    pub const fn zero() -> FlowKey {
        FlowKey {
            in_port: 0,
            recirc_id: 0,
            eth_dst: [0; 6],
            eth_src: [0; 6],
            eth_type: [0; 2],
            vlan0_tci: [0; 2],
            ip_proto: 0,
            ip_tos: 0,
            ip_ttl: 0,
            ip_frag: 0,
            tp_src: [0; 2],
            tp_dst: [0; 2],
            ipv4_src: [0; 4],
            ipv4_dst: [0; 4],
            tcp_flags: [0; 2],
            vlan0_tpid: [0; 2],
            vlan1_tci: [0; 2],
            vlan1_tpid: [0; 2],
            pkt_mark: 0,
            ipv6_label: [0; 4],
            ipv6_src: [0; 16],
            ipv6_dst: [0; 16],
            nd_target: [0; 16],
            arp_sha: [0; 6],
            pad0: [0; 2],
            arp_tha: [0; 6],
            pad1: [0; 2],
        }
    }

    /// The key as words, in layout order.
    #[inline(always)]
    pub fn words(&self) -> &[u64; KEY_WORDS] {
        // SAFETY: `FlowKey` is `repr(C, align(8))`, has exactly KEY_WORDS * 8 bytes (asserted
        // above), no padding, and every bit pattern is valid for both types.
        unsafe { &*(self as *const FlowKey).cast() }
    }

    /// The key as words, to be changed in place.
    #[inline(always)]
    pub fn words_mut(&mut self) -> &mut [u64; KEY_WORDS] {
        // SAFETY: as in `words`.
        unsafe { &mut *(self as *mut FlowKey).cast() }
    }

    pub fn from_words(words: [u64; KEY_WORDS]) -> FlowKey {
        let mut key = FlowKey::zero();
        *key.words_mut() = words;
        key
    }

    /// `self` with every bit outside `mask` cleared.
    pub fn masked(&self, mask: &FlowMask) -> FlowKey {
        let mut out = *self;
        for (w, m) in out.words_mut().iter_mut().zip(mask.0.words()) {
            *w &= m;
        }
        out
    }

    /// True when `self` and `other` agree in every bit of `mask`.
    pub fn matches(&self, other: &FlowKey, mask: &FlowMask) -> bool {
        self.words()
            .iter()
            .zip(other.words())
            .zip(mask.0.words())
            .all(|((a, b), m)| (a ^ b) & m == 0)
    }

    pub fn in_port(&self) -> DpPort {
        DpPort(self.in_port)
    }
    pub fn eth_src(&self) -> EthAddr {
        EthAddr(self.eth_src)
    }
    pub fn eth_dst(&self) -> EthAddr {
        EthAddr(self.eth_dst)
    }
    pub fn eth_type(&self) -> u16 {
        u16::from_be_bytes(self.eth_type)
    }
    pub fn vlan0_tci(&self) -> u16 {
        u16::from_be_bytes(self.vlan0_tci)
    }
    pub fn vlan1_tci(&self) -> u16 {
        u16::from_be_bytes(self.vlan1_tci)
    }
    pub fn tp_src(&self) -> u16 {
        u16::from_be_bytes(self.tp_src)
    }
    pub fn tp_dst(&self) -> u16 {
        u16::from_be_bytes(self.tp_dst)
    }
    pub fn tcp_flags(&self) -> u16 {
        u16::from_be_bytes(self.tcp_flags)
    }
    pub fn is_ipv4(&self) -> bool {
        self.eth_type() == ETH_TYPE_IPV4
    }
    pub fn is_ipv6(&self) -> bool {
        self.eth_type() == ETH_TYPE_IPV6
    }
    pub fn is_arp(&self) -> bool {
        matches!(self.eth_type(), ETH_TYPE_ARP | ETH_TYPE_RARP)
    }
    /// True when words 7.. are zero, so that the narrow part is the whole key.
    pub fn is_narrow(&self) -> bool {
        self.words()[NARROW_WORDS..].iter().all(|w| *w == 0)
    }
}

impl FlowMask {
    /// Nothing matters.
    pub const fn empty() -> FlowMask {
        FlowMask(FlowKey::zero())
    }

    /// Every bit matters.
    pub fn exact() -> FlowMask {
        FlowMask(FlowKey::from_words([u64::MAX; KEY_WORDS]))
    }

    /// Adds the bits of `other`.
    pub fn widen(&mut self, other: &FlowMask) {
        for (a, b) in self.0.words_mut().iter_mut().zip(other.0.words()) {
            *a |= b;
        }
    }

    /// True when every bit of `other` is in `self`.
    pub fn covers(&self, other: &FlowMask) -> bool {
        self.0
            .words()
            .iter()
            .zip(other.0.words())
            .all(|(a, b)| b & !a == 0)
    }

    /// True when the mask touches the narrow part alone.
    pub fn is_narrow(&self) -> bool {
        self.0.is_narrow()
    }
}
