//! Prints matches in Open vSwitch's order, with the generic field names.

use std::fmt::Write;

use super::{DEFAULT_PRIORITY, Masked, PROTOCOLS};
use crate::field::Field;
use crate::flow_match::{Match, VLAN_CFI};
use crate::text::ports::Names;
use crate::text::{dp, fields, value};

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
