//! Matches as text: `tcp,in_port=1,nw_dst=10.0.0.0/8,tp_dst=80`.
//!
//! The old generic names (`nw_src`, `nw_proto`, `tp_src`, ...) stand for a different field with
//! each protocol, and the protocol may come later in the text. [`MatchBuilder`] therefore keeps
//! addresses, protocol and ports apart until all has been read. What then has no meaning for the
//! protocol is dropped, as Open vSwitch drops it ("normalization"); the caller is told, so that
//! it can tell the user.
//!
//! [`write()`] prints them.
//! Source: ovs-fields(7); ovs-ofctl(8), "Flow Syntax".

mod print;

use super::error::{Error, ErrorKind};
use super::fields;
use super::ports::Names;
use super::token::Piece;
use crate::action::Subfield;
use crate::field::{Field, Prereq};
use crate::flow_match::Match;
pub use print::{Context, write, write_with};

const IPV4: u128 = 0x0800;
const ARP: u128 = 0x0806;
const RARP: u128 = 0x8035;
const IPV6: u128 = 0x86dd;
const MPLS: u128 = 0x8847;
const MPLS_MCAST: u128 = 0x8848;
const ICMP: u128 = 1;
const TCP: u128 = 6;
const UDP: u128 = 17;
const ICMPV6: u128 = 58;
const SCTP: u128 = 132;

/// The highest priority bit alone: what a flow has that names no priority.
pub const DEFAULT_PRIORITY: u16 = 0x8000;

/// Keywords that stand for an Ethernet type and perhaps a protocol.
const PROTOCOLS: [(&str, u128, Option<u128>); 22] = [
    ("ip", IPV4, None),
    ("ipv4", IPV4, None),
    ("ip4", IPV4, None),
    ("icmp", IPV4, Some(ICMP)),
    ("icmp4", IPV4, Some(ICMP)),
    ("tcp", IPV4, Some(TCP)),
    ("tcp4", IPV4, Some(TCP)),
    ("udp", IPV4, Some(UDP)),
    ("udp4", IPV4, Some(UDP)),
    ("sctp", IPV4, Some(SCTP)),
    ("sctp4", IPV4, Some(SCTP)),
    ("ipv6", IPV6, None),
    ("ip6", IPV6, None),
    ("icmp6", IPV6, Some(ICMPV6)),
    ("tcp6", IPV6, Some(TCP)),
    ("udp6", IPV6, Some(UDP)),
    ("sctp6", IPV6, Some(SCTP)),
    ("arp", ARP, None),
    ("rarp", RARP, None),
    ("mpls", MPLS, None),
    ("mplsm", MPLS_MCAST, None),
    // What a match without a packet type says.
    ("eth", 0, None),
];

type Masked = (u128, u128);

/// A match in the making.
#[derive(Clone, Default, Debug)]
pub struct MatchBuilder {
    fields: Match,
    nw_src: Option<Masked>,
    nw_dst: Option<Masked>,
    nw_proto: Option<Masked>,
    tp_src: Option<Masked>,
    tp_dst: Option<Masked>,
}

/// A finished match.
#[derive(Clone, PartialEq, Debug)]
pub struct Built {
    pub fields: Match,
    /// What was asked for, when parts of it have no meaning and were dropped.
    pub before: Option<Match>,
}

impl MatchBuilder {
    /// Takes a protocol keyword; `false` when `word` is none.
    pub fn protocol(&mut self, word: &str) -> bool {
        let Some((_, eth_type, proto)) = PROTOCOLS.iter().find(|(name, _, _)| *name == word) else {
            return false;
        };
        self.fields.set_exact(Field::PacketType, 0);
        if *eth_type != 0 {
            self.fields.set_exact(Field::EthType, *eth_type);
        }
        if let Some(proto) = proto {
            self.nw_proto = Some((*proto, 0xff));
        }
        true
    }

    /// Takes `field=value`, replacing what was said about the field before.
    pub fn field(&mut self, field: Field, text: Piece<'_>, names: &Names) -> Result<(), Error> {
        if field.info().is_variable_len() && text.is_empty() {
            let kind = ErrorKind::KeywordNotSupported(format!("{} without a value", field.name()));
            return Err(Error::new(kind, text.at));
        }
        let (v, m) = fields::parse(field, text, names)?;
        match field {
            // The value that OpenFlow 1.0 has for "no tag".
            Field::DlVlan if v == 0xffff && m != 0 => self.fields.set_exact(Field::VlanTci, 0),
            Field::DlVlan if v > 0xfff => {
                let kind = ErrorKind::ValueTooWide {
                    value: text.text.to_owned(),
                    bits: 12,
                    field: "dl_vlan",
                };
                return Err(Error::new(kind, text.at));
            }
            _ => self.set(field, v, m),
        }
        Ok(())
    }

    /// Takes bits of a field, which add to what was said about its others.
    pub fn part(&mut self, part: Subfield, value: u128) {
        let (old, mask) = match self.generic(part.field) {
            Some(said) => *said,
            None => self.fields.get(part.field),
        }
        .unwrap_or((0, 0));
        self.set(part.field, part.insert(old, value), mask | part.mask());
    }

    fn set(&mut self, field: Field, v: u128, m: u128) {
        match self.generic(field) {
            Some(said) => *said = (m != 0).then_some((v & m, m)),
            None => self.fields.set(field, v, m),
        }
    }

    /// Where what was said about `field` waits for the protocol, if it does.
    fn generic(&mut self, field: Field) -> Option<&mut Option<Masked>> {
        match field {
            Field::Ipv4Src | Field::ArpSpa => Some(&mut self.nw_src),
            Field::Ipv4Dst | Field::ArpTpa => Some(&mut self.nw_dst),
            Field::IpProto | Field::ArpOp => Some(&mut self.nw_proto),
            Field::TcpSrc
            | Field::UdpSrc
            | Field::SctpSrc
            | Field::IcmpType
            | Field::Icmpv6Type => Some(&mut self.tp_src),
            Field::TcpDst
            | Field::UdpDst
            | Field::SctpDst
            | Field::IcmpCode
            | Field::Icmpv6Code => Some(&mut self.tp_dst),
            _ => None,
        }
    }

    /// Sorts the generic fields into those of the protocol, and drops what has no meaning.
    pub fn finish(self) -> Built {
        let mut m = self.fields.clone();
        let eth_type = m.ether_type();
        let is_arp = matches!(eth_type, Some(ARP | RARP));
        let mut dropped = false;
        let mut put =
            |m: &mut Match, field: Option<Field>, said: Option<Masked>| match (field, said) {
                (Some(field), Some((v, mask))) => {
                    // A type or code narrower than the generic port stays within its own bits.
                    m.set(field, v, mask);
                }
                (None, Some(_)) => dropped = true,
                (_, None) => {}
            };
        let by_type = |ip, arp| match eth_type {
            Some(IPV4) => Some(ip),
            _ if is_arp => Some(arp),
            _ => None,
        };
        put(&mut m, by_type(Field::Ipv4Src, Field::ArpSpa), self.nw_src);
        put(&mut m, by_type(Field::Ipv4Dst, Field::ArpTpa), self.nw_dst);
        let proto = match eth_type {
            Some(IPV4 | IPV6) => Some(Field::IpProto),
            _ if is_arp => Some(Field::ArpOp),
            _ => None,
        };
        // An exact protocol number is an exact opcode.
        let said = self.nw_proto.map(|(v, mask)| match proto {
            Some(Field::ArpOp) if mask == 0xff => (v, 0xffff),
            _ => (v, mask),
        });
        put(&mut m, proto, said);
        let ports = match (eth_type, m.get_exact(Field::IpProto)) {
            (Some(IPV4 | IPV6), Some(TCP)) => Some((Field::TcpSrc, Field::TcpDst)),
            (Some(IPV4 | IPV6), Some(UDP)) => Some((Field::UdpSrc, Field::UdpDst)),
            (Some(IPV4 | IPV6), Some(SCTP)) => Some((Field::SctpSrc, Field::SctpDst)),
            (Some(IPV4), Some(ICMP)) => Some((Field::IcmpType, Field::IcmpCode)),
            (Some(IPV6), Some(ICMPV6)) => Some((Field::Icmpv6Type, Field::Icmpv6Code)),
            _ => None,
        };
        put(&mut m, ports.map(|p| p.0), self.tp_src);
        put(&mut m, ports.map(|p| p.1), self.tp_dst);
        let unmet: Vec<Field> = m
            .iter()
            .map(|f| f.field)
            .filter(|f| is_normalized(*f) && !m.meets(f.info().prereq))
            .collect();
        for field in &unmet {
            m.set(*field, 0, 0);
        }
        let before = (dropped || !unmet.is_empty()).then(|| self.everything());
        Built { fields: m, before }
    }

    /// All that was said, for a message to the user; not a match that a switch would take.
    fn everything(&self) -> Match {
        let mut m = self.fields.clone();
        let generic = [
            (Field::Ipv4Src, self.nw_src),
            (Field::Ipv4Dst, self.nw_dst),
            (Field::IpProto, self.nw_proto),
            (Field::TcpSrc, self.tp_src),
            (Field::TcpDst, self.tp_dst),
        ];
        for (field, said) in generic {
            if let Some((v, mask)) = said {
                m.set(field, v, mask);
            }
        }
        m
    }
}

/// Is the field dropped where it has no meaning? The others are for the switch to refuse.
fn is_normalized(field: Field) -> bool {
    let by_prereq = !matches!(
        field.info().prereq,
        Prereq::Nsh | Prereq::Ct | Prereq::InPort | Prereq::Pbb
    );
    by_prereq && field != Field::EthType
}
