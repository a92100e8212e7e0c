//! Where the headers of a frame are.
//!
//! The same rules as `packet::extract`: a header that is cut short or has no place ends the walk,
//! and what is above it is not there.

use packet::key::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_QINQ, ETH_TYPE_RARP, ETH_TYPE_VLAN,
    IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP,
};

use super::read;

const ETH_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
/// Extension headers of IPv6 that are stepped over; more end the walk.
const MAX_EXTENSIONS: usize = 8;
/// Neighbour discovery options that are looked at.
const MAX_ND_OPTIONS: usize = 8;

pub const ND_OPT_SLL: u8 = 1;
pub const ND_OPT_TLL: u8 = 2;
const ND_SOLICIT: u8 = 135;
const ND_ADVERT: u8 = 136;
/// Bytes of a neighbour discovery message before its options.
const ND_HEADER: usize = 24;

/// Offset of the network header.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum L3 {
    Ipv4(usize),
    Ipv6(usize),
    Arp(usize),
}

/// Offset of the transport header.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum L4 {
    Tcp(usize),
    Udp(usize),
    Sctp(usize),
    Icmp(usize),
    Icmpv6(usize),
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Layers {
    pub l3: Option<L3>,
    /// Absent for later fragments.
    pub l4: Option<L4>,
}

pub const fn is_vlan(tpid: u16) -> bool {
    tpid == ETH_TYPE_VLAN || tpid == ETH_TYPE_QINQ
}

impl Layers {
    pub fn find(data: &[u8]) -> Layers {
        let mut layers = Layers::default();
        layers.walk(data);
        layers
    }

    fn walk(&mut self, data: &[u8]) -> Option<()> {
        let mut at = ETH_HEADER;
        let mut eth_type = u16::from_be_bytes(read(data, at - 2)?);
        for _ in 0..2 {
            if is_vlan(eth_type) {
                eth_type = u16::from_be_bytes(read(data, at + 2)?);
                at += 4;
            }
        }
        if eth_type < 0x600 {
            // IEEE 802.3 length: LLC and SNAP with an Ethernet type behind.
            let snap: [u8; 8] = read(data, at)?;
            let [0xaa, 0xaa, 0x03, 0, 0, 0, t0, t1] = snap else {
                return None;
            };
            eth_type = u16::from_be_bytes([t0, t1]);
            at += 8;
        }
        match eth_type {
            ETH_TYPE_IPV4 => self.ipv4(data, at),
            ETH_TYPE_IPV6 => self.ipv6(data, at),
            ETH_TYPE_ARP | ETH_TYPE_RARP => {
                let [0, 1, 8, 0, 6, 4] = read(data, at)? else {
                    return None;
                };
                data.get(at..at + 28)?;
                self.l3 = Some(L3::Arp(at));
                None
            }
            _ => None,
        }
    }

    fn ipv4(&mut self, data: &[u8], at: usize) -> Option<()> {
        let header: [u8; 20] = read(data, at)?;
        let len = usize::from(header[0] & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let size = data.len().checked_sub(at)?;
        if header[0] >> 4 != 4 || len < 20 || total < len || total > size {
            return None;
        }
        self.l3 = Some(L3::Ipv4(at));
        let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
        if fragment_offset == 0 {
            self.transport(data, header[9], at + len);
        }
        None
    }

    fn ipv6(&mut self, data: &[u8], at: usize) -> Option<()> {
        let header: [u8; IPV6_HEADER] = read(data, at)?;
        let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 || payload > data.len().checked_sub(at + IPV6_HEADER)? {
            return None;
        }
        self.l3 = Some(L3::Ipv6(at));
        let mut next = header[6];
        let mut at = at + IPV6_HEADER;
        for _ in 0..MAX_EXTENSIONS {
            let len = match next {
                // Hop-by-hop, routing, destination options (RFC 8200, 4).
                0 | 43 | 60 => (usize::from(read::<2>(data, at)?[1]) + 1) * 8,
                // Authentication header (RFC 4302, 2.2).
                51 => (usize::from(read::<2>(data, at)?[1]) + 2) * 4,
                // Fragment (RFC 8200, 4.5).
                44 => {
                    let [_, _, f0, f1] = read(data, at)?;
                    if u16::from_be_bytes([f0, f1]) & 0xfff8 != 0 {
                        return None;
                    }
                    8
                }
                _ => {
                    self.transport(data, next, at);
                    return None;
                }
            };
            next = read::<1>(data, at)?[0];
            data.get(at..at + len)?;
            at += len;
        }
        None
    }

    fn transport(&mut self, data: &[u8], proto: u8, at: usize) -> Option<()> {
        let size = data.len().checked_sub(at)?;
        let is_ipv6 = matches!(self.l3, Some(L3::Ipv6(_)));
        self.l4 = match proto {
            IP_PROTO_TCP if size >= 20 => Some(L4::Tcp(at)),
            IP_PROTO_UDP if size >= 8 => Some(L4::Udp(at)),
            IP_PROTO_SCTP if size >= 12 => Some(L4::Sctp(at)),
            IP_PROTO_ICMP if size >= 8 && !is_ipv6 => Some(L4::Icmp(at)),
            IP_PROTO_ICMPV6 if size >= 4 && is_ipv6 => Some(L4::Icmpv6(at)),
            _ => None,
        };
        None
    }

    /// Offset of the target address of a neighbour solicitation or advertisement.
    pub fn nd_target(&self, data: &[u8]) -> Option<usize> {
        let (at, _) = self.nd(data)?;
        Some(at + 8)
    }

    /// Offset of the address in the link-layer address option `kind`, which only the message that
    /// carries it may have: source in a solicitation, target in an advertisement.
    pub fn nd_option(&self, data: &[u8], kind: u8) -> Option<usize> {
        let (at, message) = self.nd(data)?;
        if (kind == ND_OPT_SLL) != (message == ND_SOLICIT) {
            return None;
        }
        let mut at = at + ND_HEADER;
        for _ in 0..MAX_ND_OPTIONS {
            let [option, units] = read(data, at)?;
            let len = usize::from(units) * 8;
            if len == 0 {
                return None;
            }
            data.get(at..at + len)?;
            if option == kind && units == 1 {
                return Some(at + 2);
            }
            at += len;
        }
        None
    }

    fn nd(&self, data: &[u8]) -> Option<(usize, u8)> {
        let Some(L4::Icmpv6(at)) = self.l4 else {
            return None;
        };
        let [message, code] = read(data, at)?;
        data.get(at..at + ND_HEADER)?;
        (matches!(message, ND_SOLICIT | ND_ADVERT) && code == 0).then_some((at, message))
    }
}
