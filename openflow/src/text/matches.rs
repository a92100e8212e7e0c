//! Matches as text: `tcp,in_port=1,nw_dst=10.0.0.0/8,tp_dst=80`.
//!
//! The old generic names (`nw_src`, `nw_proto`, `tp_src`, ...) stand for a different field with
//! each protocol, and the protocol may come later in the text. [`MatchBuilder`] therefore keeps
//! addresses, protocol and ports apart until all has been read. What then has no meaning for the
//! protocol is dropped, as Open vSwitch drops it ("normalization"); the caller is told, so that
//! it can tell the user.
//!
//! [`write()`] prints in Open vSwitch's order, with the generic names.
//! Source: ovs-fields(7); ovs-ofctl(8), "Flow Syntax".

use std::fmt::Write;

use super::dp;
use super::error::{Error, ErrorKind};
use super::fields;
use super::ports::Names;
use super::token::Piece;
use super::value;
use crate::field::Field;
use crate::flow_match::{Match, VLAN_CFI};

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
    // Every packet is an Ethernet packet.
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
        let (v, m) = fields::parse(field, text, names)?;
        let some = (m != 0).then_some((v & m, m));
        match field {
            Field::Ipv4Src | Field::ArpSpa => self.nw_src = some,
            Field::Ipv4Dst | Field::ArpTpa => self.nw_dst = some,
            Field::IpProto | Field::ArpOp => self.nw_proto = some,
            Field::TcpSrc
            | Field::UdpSrc
            | Field::SctpSrc
            | Field::IcmpType
            | Field::Icmpv6Type => {
                self.tp_src = some;
            }
            Field::TcpDst
            | Field::UdpDst
            | Field::SctpDst
            | Field::IcmpCode
            | Field::Icmpv6Code => {
                self.tp_dst = some;
            }
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
            _ => self.fields.set(field, v, m),
        }
        Ok(())
    }

    /// Sorts the generic fields into those of the protocol, and drops what has no meaning.
    pub fn finish(self) -> Built {
        let mut m = self.fields.clone();
        let eth_type = m.get_exact(Field::EthType);
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
            .filter(|f| !m.meets(f.info().prereq))
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

/// What [`write_with`] puts around the fields.
#[derive(Clone, Copy, Default, Debug)]
pub struct Context {
    /// Printed when it is not the default one.
    pub priority: Option<u16>,
    /// The form of a megaflow: with `recirc_id` and packet type, and masks that the datapath
    /// always has whole written out.
    pub megaflow: bool,
    /// Value and mask of the inner tag, which matches do not hold.
    pub inner_tag: Option<(u16, u16)>,
}

/// Prints `fields`.
pub fn write(out: &mut String, fields: &Match, names: &Names) {
    write_with(out, fields, names, Context::default());
}

/// Prints `fields` in `context`.
pub fn write_with(out: &mut String, fields: &Match, names: &Names, context: Context) {
    let mut w = Writer {
        start: out.len(),
        out,
        fields,
        names,
        context,
    };
    w.metadata();
    let (type_named, proto_named) = w.protocol();
    w.registers();
    w.link(type_named);
    w.network(proto_named);
    w.transport();
}

struct Writer<'a> {
    out: &'a mut String,
    start: usize,
    fields: &'a Match,
    names: &'a Names,
    context: Context,
}

impl Writer<'_> {
    /// Writes `name=` behind a comma where one is needed.
    fn name(&mut self, name: &str) {
        self.word(name);
        self.out.push('=');
    }

    fn word(&mut self, word: &str) {
        if self.out.len() > self.start {
            self.out.push(',');
        }
        self.out.push_str(word);
    }

    fn exact(&self, field: Field) -> Option<u128> {
        self.fields.get_exact(field)
    }

    /// The first of `fields` that the match mentions.
    fn first(&self, fields: &[Field]) -> Option<(Field, Masked)> {
        fields
            .iter()
            .find_map(|f| self.fields.get(*f).map(|said| (*f, said)))
    }

    fn hex(&mut self, name: &str, field: Field) {
        if let Some((v, mask)) = self.fields.get(field) {
            self.name(name);
            value::write_hex(self.out, v);
            if mask != field.info().full_mask() {
                let _ = write!(self.out, "/{mask:#x}");
            }
        }
    }

    fn metadata(&mut self) {
        if let Some(priority) = self.context.priority
            && priority != DEFAULT_PRIORITY
        {
            let _ = write!(self.out, "priority={priority}");
        }
        self.hex("pkt_mark", Field::PktMark);
        if self.context.megaflow {
            self.word("recirc_id=0");
        }
        if let Some((v, _)) = self.fields.get(Field::ConjId) {
            self.name("conj_id");
            let _ = write!(self.out, "{v}");
        }
        if self.context.megaflow {
            self.word("eth");
        }
    }

    /// Writes the keyword for Ethernet type and protocol; says which of the two it covers.
    fn protocol(&mut self) -> (bool, bool) {
        let Some(eth_type) = self.exact(Field::EthType) else {
            return (false, false);
        };
        let proto = self.exact(Field::IpProto);
        // The first keyword that fits; the list has the printed spelling first.
        let fits = |proto: Option<u128>| {
            PROTOCOLS
                .iter()
                .find(|(_, t, p)| *t == eth_type && *p == proto && *t != 0)
        };
        if let Some((word, _, _)) = proto.and_then(|p| fits(Some(p))) {
            self.word(word);
            return (true, true);
        }
        match fits(None) {
            Some((word, _, _)) => {
                self.word(word);
                (true, false)
            }
            None => (false, false),
        }
    }

    fn registers(&mut self) {
        for n in 0..16 {
            if let Some(reg) = Field::reg(n) {
                self.hex(reg.name(), reg);
            }
        }
        self.hex("metadata", Field::Metadata);
        if let Some(port) = self.fields.in_port() {
            self.name("in_port");
            self.names.write_port(self.out, port);
        }
    }

    fn link(&mut self, type_named: bool) {
        self.vlan();
        for (name, field) in [("dl_src", Field::EthSrc), ("dl_dst", Field::EthDst)] {
            if let Some((v, mask)) = self.fields.get(field) {
                self.name(name);
                fields::write_eth(self.out, v, mask);
            }
        }
        if !type_named && let Some((v, mask)) = self.fields.get(Field::EthType) {
            self.name("dl_type");
            let _ = write!(self.out, "0x{v:04x}");
            if mask != 0xffff {
                let _ = write!(self.out, "/0x{mask:04x}");
            }
        }
    }

    fn vlan(&mut self) {
        let Some((tci, mask)) = self.fields.get(Field::VlanTci) else {
            return;
        };
        self.tag("", low32(tci) as u16, low32(mask) as u16);
        if let Some((tci, mask)) = self.context.inner_tag {
            self.tag("1", tci, mask);
        }
    }

    /// One tag; the names end in `suffix`.
    fn tag(&mut self, suffix: &str, tci: u16, mask: u16) {
        let (vid, pcp) = (mask & 0xfff, mask & 0xe000);
        let whole = matches!(vid, 0 | 0xfff) && matches!(pcp, 0 | 0xe000) && vid | pcp != 0;
        if tci & mask & VLAN_CFI != 0 && whole {
            if vid != 0 {
                self.name(&format!("dl_vlan{suffix}"));
                let _ = write!(self.out, "{}", tci & 0xfff);
            }
            if pcp != 0 {
                self.name(&format!("dl_vlan_pcp{suffix}"));
                let _ = write!(self.out, "{}", tci >> 13);
            }
        } else {
            self.name(&format!("vlan_tci{suffix}"));
            let _ = write!(self.out, "0x{tci:04x}");
            if mask != 0xffff {
                let _ = write!(self.out, "/0x{mask:04x}");
            }
        }
    }

    fn network(&mut self, proto_named: bool) {
        for (name, field) in [("ipv6_src", Field::Ipv6Src), ("ipv6_dst", Field::Ipv6Dst)] {
            if let Some((v, mask)) = self.fields.get(field) {
                self.name(name);
                value::write_ipv6_masked(self.out, v, mask);
            }
        }
        if let Some((v, mask)) = self.fields.get(Field::Ipv6Label) {
            self.name("ipv6_label");
            let _ = write!(self.out, "0x{v:05x}");
            if mask != 0xf_ffff || self.context.megaflow {
                let _ = write!(self.out, "/0x{mask:05x}");
            }
        }
        for (name, field) in [
            ("arp_spa", Field::ArpSpa),
            ("arp_tpa", Field::ArpTpa),
            ("nw_src", Field::Ipv4Src),
            ("nw_dst", Field::Ipv4Dst),
        ] {
            if let Some((v, mask)) = self.fields.get(field) {
                self.name(name);
                value::write_ipv4_masked(self.out, low32(v), low32(mask));
            }
        }
        for (name, field) in [("nw_proto", Field::IpProto), ("arp_op", Field::ArpOp)] {
            if proto_named && field == Field::IpProto {
                continue;
            }
            if let Some((v, _)) = self.fields.get(field) {
                self.name(name);
                let _ = write!(self.out, "{v}");
            }
        }
        for (name, field) in [("arp_sha", Field::ArpSha), ("arp_tha", Field::ArpTha)] {
            if let Some((v, mask)) = self.fields.get(field) {
                self.name(name);
                fields::write_eth(self.out, v, mask);
            }
        }
        for (name, field) in [
            ("nw_tos", Field::NwTos),
            ("nw_ecn", Field::IpEcn),
            ("nw_ttl", Field::IpTtl),
        ] {
            if let Some((v, _)) = self.fields.get(field) {
                self.name(name);
                let _ = write!(self.out, "{v}");
            }
        }
        if let Some((v, mask)) = self.fields.get(Field::IpFrag) {
            self.name("nw_frag");
            fields::write_frag(self.out, v, mask);
        }
    }

    fn transport(&mut self) {
        for (name, choices) in [
            ("icmp_type", [Field::IcmpType, Field::Icmpv6Type]),
            ("icmp_code", [Field::IcmpCode, Field::Icmpv6Code]),
        ] {
            if let Some((_, (v, mask))) = self.first(&choices) {
                self.name(name);
                if self.context.megaflow {
                    value::write_hex(self.out, v);
                    let _ = write!(self.out, "/{mask:#x}");
                } else {
                    let _ = write!(self.out, "{v}");
                }
            }
        }
        if let Some((v, mask)) = self.fields.get(Field::NdTarget) {
            self.name("nd_target");
            value::write_ipv6_masked(self.out, v, mask);
        }
        for (name, field) in [("nd_sll", Field::NdSll), ("nd_tll", Field::NdTll)] {
            if let Some((v, mask)) = self.fields.get(field) {
                self.name(name);
                fields::write_eth(self.out, v, mask);
            }
        }
        for (name, choices) in [
            ("tp_src", [Field::TcpSrc, Field::UdpSrc, Field::SctpSrc]),
            ("tp_dst", [Field::TcpDst, Field::UdpDst, Field::SctpDst]),
        ] {
            if let Some((_, (v, mask))) = self.first(&choices) {
                self.name(name);
                if mask == 0xffff {
                    let _ = write!(self.out, "{v}");
                } else {
                    let _ = write!(self.out, "{v:#x}/{mask:#x}");
                }
            }
        }
        if let Some((v, mask)) = self.fields.get(Field::TcpFlags) {
            self.name("tcp_flags");
            dp::write_tcp_flags(self.out, low32(v) as u16, low32(mask) as u16);
        }
    }
}

fn low32(v: u128) -> u32 {
    (v & u128::from(u32::MAX)) as u32
}
