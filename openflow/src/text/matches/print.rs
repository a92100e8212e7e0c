//! Prints matches in Open vSwitch's order, with the generic field names.

use std::fmt::Write;

use super::{DEFAULT_PRIORITY, Masked, PROTOCOLS};
use packet::OfPort;

use crate::field::{Field, Prereq};
use crate::flow_match::{Match, MatchField, VLAN_CFI};
use crate::text::colors::Tone;
use crate::text::dp::TCP_FLAGS;
use crate::text::ports::Names;
use crate::text::{fields, flags, value};

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
    w.connection();
    w.packet_type();
    let (type_named, proto_named) = w.protocol();
    w.registers();
    w.tunnel();
    w.pipeline();
    w.link(type_named);
    w.network(proto_named);
    w.nsh();
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
        self.comma();
        self.names.label(self.out, Tone::Param, name, "=");
    }

    /// A name without colour.
    fn plain_name(&mut self, name: &str) {
        self.comma();
        self.out.push_str(name);
        self.out.push('=');
    }

    fn word(&mut self, word: &str) {
        self.comma();
        self.out.push_str(word);
    }

    fn comma(&mut self) {
        if self.out.len() > self.start {
            self.out.push(',');
        }
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
            self.hex_value(field, v, mask);
        }
    }

    fn hex_value(&mut self, field: Field, v: u128, mask: u128) {
        value::write_hex(self.out, v);
        if mask != field.info().full_mask() {
            let _ = write!(self.out, "/{mask:#x}");
        }
    }

    fn metadata(&mut self) {
        if let Some(priority) = self.context.priority
            && priority != DEFAULT_PRIORITY
        {
            self.names.label(self.out, Tone::Special, "priority", "=");
            let _ = write!(self.out, "{priority}");
        }
        self.hex("pkt_mark", Field::PktMark);
        if self.context.megaflow {
            self.word("recirc_id=0");
        }
        self.hex("recirc_id", Field::RecircId);
        self.hex("dp_hash", Field::DpHash);
        if let Some((id, _)) = self.fields.get(Field::ConjId) {
            self.comma();
            self.names.paint(self.out, Tone::Param, "conj_id");
            let _ = write!(self.out, "={id}");
        }
        self.port("actset_output", Field::ActsetOutput);
    }

    fn connection(&mut self) {
        if let Some((v, mask)) = self.fields.get(Field::CtState) {
            self.name("ct_state");
            flags::write(self.out, low32(v), low32(mask), &flags::CT_STATE);
        }
        self.decimal("ct_zone", Field::CtZone);
        self.hex("ct_mark", Field::CtMark);
        self.hex("ct_label", Field::CtLabel);
        self.ipv4("ct_nw_src", Field::CtNwSrc);
        self.ipv6("ct_ipv6_src", Field::CtIpv6Src);
        self.ipv4("ct_nw_dst", Field::CtNwDst);
        self.ipv6("ct_ipv6_dst", Field::CtIpv6Dst);
        self.decimal("ct_nw_proto", Field::CtNwProto);
        self.l4_port("ct_tp_src", Field::CtTpSrc);
        self.l4_port("ct_tp_dst", Field::CtTpDst);
    }

    fn packet_type(&mut self) {
        if let Some((v, _)) = self.fields.get(Field::PacketType) {
            self.plain_name("packet_type");
            fields::write_packet_type(self.out, low32(v));
        } else if self.context.megaflow || self.is_recirculated_ethernet() {
            self.word("eth");
        }
    }

    /// A match on recirculated packets tells their type, where another field says it.
    fn is_recirculated_ethernet(&self) -> bool {
        let needs_ethernet = |f: &MatchField| f.field.info().prereq != Prereq::None;
        self.fields.get(Field::RecircId).is_some() && self.fields.iter().any(needs_ethernet)
    }

    fn decimal(&mut self, name: &str, field: Field) {
        if let Some((v, _)) = self.fields.get(field) {
            self.name(name);
            let _ = write!(self.out, "{v}");
        }
    }

    fn port(&mut self, name: &str, field: Field) {
        if let Some((v, _)) = self.fields.get(field) {
            self.name(name);
            self.names.write_port(self.out, OfPort(low32(v)));
        }
    }

    fn ipv4(&mut self, name: &str, field: Field) {
        if let Some((v, mask)) = self.fields.get(field) {
            self.name(name);
            value::write_ipv4_masked(self.out, low32(v), low32(mask));
        }
    }

    fn ipv6(&mut self, name: &str, field: Field) {
        if let Some((v, mask)) = self.fields.get(field) {
            self.name(name);
            value::write_ipv6_masked(self.out, v, mask);
        }
    }

    fn eth(&mut self, name: &str, field: Field) {
        if let Some((v, mask)) = self.fields.get(field) {
            self.name(name);
            fields::write_eth(self.out, v, mask);
        }
    }

    /// A decimal number, or a hexadecimal one with its mask.
    fn l4_port(&mut self, name: &str, field: Field) {
        if let Some((v, mask)) = self.fields.get(field) {
            self.name(name);
            if mask == 0xffff {
                let _ = write!(self.out, "{v}");
            } else {
                let _ = write!(self.out, "{v:#x}/{mask:#x}");
            }
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
            self.comma();
            self.names.paint(self.out, Tone::Value, word);
            return (true, true);
        }
        match fits(None) {
            Some((word, _, _)) => {
                self.comma();
                self.names.paint(self.out, Tone::Value, word);
                (true, false)
            }
            None => (false, false),
        }
    }

    fn registers(&mut self) {
        if !self.fields.has_between(Field::Reg0, Field::Reg15) {
            return;
        }
        for n in 0..16 {
            if let Some(reg) = Field::reg(n) {
                self.hex(reg.name(), reg);
            }
        }
    }

    /// Some masks are left out, as Open vSwitch leaves them out.
    fn tunnel(&mut self) {
        self.hex("tun_id", Field::TunId);
        self.ipv4("tun_src", Field::TunSrc);
        self.ipv4("tun_dst", Field::TunDst);
        self.ipv6("tun_ipv6_src", Field::TunIpv6Src);
        self.ipv6("tun_ipv6_dst", Field::TunIpv6Dst);
        self.l4_port("tun_gbp_id", Field::TunGbpId);
        self.bare_hex("tun_gbp_flags", Field::TunGbpFlags);
        self.decimal("tun_erspan_ver", Field::TunErspanVer);
        // The version says which of the others there are.
        match self.exact_or_masked(Field::TunErspanVer) {
            Some(1) => self.bare_hex("tun_erspan_idx", Field::TunErspanIdx),
            Some(2) => {
                self.decimal("tun_erspan_dir", Field::TunErspanDir);
                self.bare_hex("tun_erspan_hwid", Field::TunErspanHwid);
            }
            _ => {}
        }
        self.bare_hex("gtpu_flags", Field::TunGtpuFlags);
        self.decimal("gtpu_msgtype", Field::TunGtpuMsgtype);
        if let Some((v, mask)) = self.fields.get(Field::TunFlags) {
            self.name("tun_flags");
            flags::write_signed(self.out, low32(v), low32(mask), &flags::TUNNEL);
        }
        // Most matches have none of them, and flows are printed by the hundred thousand.
        if !self
            .fields
            .has_between(Field::TunMetadata0, Field::TunMetadata63)
        {
            return;
        }
        for n in 0..64 {
            if let Some(field) = Field::tun_metadata(n)
                && let Some((v, mask)) = self.fields.get(field)
            {
                self.plain_name(field.name());
                self.hex_value(field, v, mask);
            }
        }
    }

    fn bare_hex(&mut self, name: &str, field: Field) {
        if let Some((v, _)) = self.fields.get(field) {
            self.name(name);
            value::write_hex(self.out, v);
        }
    }

    fn exact_or_masked(&self, field: Field) -> Option<u128> {
        self.fields.get(field).map(|(v, _)| v)
    }

    fn pipeline(&mut self) {
        self.hex("metadata", Field::Metadata);
        self.port("in_port", Field::InPort);
        self.port("in_phy_port", Field::InPhyPort);
    }

    fn link(&mut self, type_named: bool) {
        self.vlan();
        self.eth("dl_src", Field::EthSrc);
        self.eth("dl_dst", Field::EthDst);
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
        self.hex("pbb_isid", Field::PbbIsid);
        self.decimal("pbb_uca", Field::PbbUca);
        self.ipv6("ipv6_src", Field::Ipv6Src);
        self.ipv6("ipv6_dst", Field::Ipv6Dst);
        self.hex("ipv6_exthdr", Field::Ipv6Exthdr);
        if let Some((v, mask)) = self.fields.get(Field::Ipv6Label) {
            self.name("ipv6_label");
            let _ = write!(self.out, "0x{v:05x}");
            if mask != 0xf_ffff || self.context.megaflow {
                let _ = write!(self.out, "/0x{mask:05x}");
            }
        }
        self.ipv4("arp_spa", Field::ArpSpa);
        self.ipv4("arp_tpa", Field::ArpTpa);
        self.ipv4("nw_src", Field::Ipv4Src);
        self.ipv4("nw_dst", Field::Ipv4Dst);
        if !proto_named {
            self.decimal("nw_proto", Field::IpProto);
        }
        self.decimal("arp_op", Field::ArpOp);
        self.eth("arp_sha", Field::ArpSha);
        self.eth("arp_tha", Field::ArpTha);
        for (name, field) in [
            ("nw_tos", Field::NwTos),
            ("nw_ecn", Field::IpEcn),
            ("nw_ttl", Field::IpTtl),
            ("mpls_label", Field::MplsLabel),
            ("mpls_tc", Field::MplsTc),
            ("mpls_ttl", Field::MplsTtl),
            ("mpls_bos", Field::MplsBos),
        ] {
            self.decimal(name, field);
        }
        if let Some((v, mask)) = self.fields.get(Field::IpFrag) {
            self.name("nw_frag");
            fields::write_frag(self.out, v, mask);
        }
    }

    fn nsh(&mut self) {
        if let Some((v, mask)) = self.fields.get(Field::NshFlags) {
            self.name("nsh_flags");
            if mask == 0xff {
                let _ = write!(self.out, "{v}");
            } else {
                let _ = write!(self.out, "0x{v:02x}/0x{mask:02x}");
            }
        }
        self.decimal("nsh_ttl", Field::NshTtl);
        self.decimal("nsh_mdtype", Field::NshMdtype);
        self.decimal("nsh_np", Field::NshNp);
        if let Some((v, _)) = self.fields.get(Field::NshSpi) {
            self.name("nsh_spi");
            let _ = write!(self.out, "{v:#x}");
        }
        self.decimal("nsh_si", Field::NshSi);
        // Only the first type of metadata has them.
        if self.exact(Field::NshMdtype) == Some(1) {
            for field in [Field::NshC1, Field::NshC2, Field::NshC3, Field::NshC4] {
                self.hex(field.name(), field);
            }
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
        self.ipv6("nd_target", Field::NdTarget);
        self.eth("nd_sll", Field::NdSll);
        self.eth("nd_tll", Field::NdTll);
        self.decimal("nd_reserved", Field::NdReserved);
        self.decimal("nd_options_type", Field::NdOptionsType);
        for (name, choices) in [
            ("tp_src", [Field::TcpSrc, Field::UdpSrc, Field::SctpSrc]),
            ("tp_dst", [Field::TcpDst, Field::UdpDst, Field::SctpDst]),
        ] {
            if let Some((field, _)) = self.first(&choices) {
                self.l4_port(name, field);
            }
        }
        if let Some((v, mask)) = self.fields.get(Field::TcpFlags) {
            self.name("tcp_flags");
            flags::write(self.out, low32(v), low32(mask), &TCP_FLAGS);
        }
    }
}

fn low32(v: u128) -> u32 {
    (v & u128::from(u32::MAX)) as u32
}
