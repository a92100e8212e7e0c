//! Where the headers of a frame are, as `packet::extract` finds them.

use packet::FlowKey;
use packet::extract::{
    ICMPV6_HEADER_LEN, IPV6_HEADER_LEN, MAX_ND_OPTIONS, Meta, TCP_HEADER_LEN, UDP_HEADER_LEN,
    extract,
};
use packet::key::{
    FRAG_LATER, IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP,
};

use super::read;

pub const ND_OPT_SLL: u8 = 1;
pub const ND_OPT_TLL: u8 = 2;
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
    /// Where the IP payload ends by what the IP header says.
    pub end: usize,
    /// The pseudo-header has another destination than the IPv6 header.
    pub routing: bool,
}

fn end(data: &[u8], key: &FlowKey, l3: usize) -> Option<usize> {
    let (at, before) = match key.is_ipv4() {
        true => (l3 + 2, l3),
        false => (l3 + 4, l3 + IPV6_HEADER_LEN),
    };
    Some(before + usize::from(u16::from_be_bytes(read(data, at)?)))
}

impl Layers {
    pub fn find(data: &[u8]) -> Layers {
        let mut key = FlowKey::zero();
        let Ok(found) = extract(&data, &Meta::default(), &mut key) else {
            return Layers::default();
        };
        let (l3, l4) = (usize::from(found.l3), usize::from(found.l4));
        let transport = l4 != 0 && key.ip_frag & FRAG_LATER == 0;
        Layers {
            l3: match () {
                // A header that is not in order has no place for the one above.
                _ if key.is_ipv4() && l4 != 0 => Some(L3::Ipv4(l3)),
                _ if key.is_ipv6() => Some(L3::Ipv6(l3)),
                _ if key.is_arp() => Some(L3::Arp(l3)),
                _ => None,
            },
            l4: match key.ip_proto {
                _ if !transport => None,
                IP_PROTO_TCP => Some(L4::Tcp(l4)),
                IP_PROTO_UDP => Some(L4::Udp(l4)),
                IP_PROTO_SCTP => Some(L4::Sctp(l4)),
                IP_PROTO_ICMP => Some(L4::Icmp(l4)),
                IP_PROTO_ICMPV6 => Some(L4::Icmpv6(l4)),
                _ => None,
            },
            end: end(data, &key, l3).unwrap_or(data.len()),
            routing: found.routing,
        }
    }

    /// Moves everything; a header that would leave the frame is no longer known.
    pub fn shift(&mut self, by: impl Fn(usize) -> Option<usize>) {
        self.l3 = self.l3.and_then(|l3| {
            Some(match l3 {
                L3::Ipv4(at) => L3::Ipv4(by(at)?),
                L3::Ipv6(at) => L3::Ipv6(by(at)?),
                L3::Arp(at) => L3::Arp(by(at)?),
            })
        });
        self.l4 = self.l4.and_then(|l4| {
            Some(match l4 {
                L4::Tcp(at) => L4::Tcp(by(at)?),
                L4::Udp(at) => L4::Udp(by(at)?),
                L4::Sctp(at) => L4::Sctp(by(at)?),
                L4::Icmp(at) => L4::Icmp(by(at)?),
                L4::Icmpv6(at) => L4::Icmpv6(by(at)?),
            })
        });
        self.end = by(self.end).unwrap_or(0);
    }

    /// True when the transport header with its checksum is whole, so that a change of an address
    /// has to change the checksum.
    pub fn has_pseudo_header(&self, data: &[u8]) -> bool {
        let end = match (self.l3, self.l4) {
            (_, Some(L4::Tcp(at))) => at + TCP_HEADER_LEN,
            (_, Some(L4::Udp(at))) => at + UDP_HEADER_LEN,
            (Some(L3::Ipv6(_)), Some(L4::Icmpv6(at))) => at + ICMPV6_HEADER_LEN,
            _ => return false,
        };
        end <= data.len()
    }

    /// Offset of the target address of a neighbour solicitation or advertisement.
    pub fn nd_target(&self) -> Option<usize> {
        match self.l4 {
            Some(L4::Icmpv6(at)) => Some(at + 8),
            _ => None,
        }
    }

    /// Offset of the address in the link-layer address option `kind`.
    pub fn nd_option(&self, data: &[u8], kind: u8) -> Option<usize> {
        let Some(L4::Icmpv6(at)) = self.l4 else {
            return None;
        };
        let mut at = at + ND_HEADER;
        for _ in 0..MAX_ND_OPTIONS {
            let [option, units] = read(data, at)?;
            if option == kind && units == 1 {
                return Some(at + 2);
            }
            if units == 0 {
                return None;
            }
            at += usize::from(units) * 8;
        }
        None
    }
}
