//! Flow keys as text.

use std::fmt::Write;

use packet::key::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_RARP, ETH_TYPE_VLAN, FRAG_LATER,
    IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP, VLAN_PRESENT,
};
use packet::{DpPort, FlowKey, FlowMask};

use super::DpPortNames;
use super::attributes::{Attributes, be16, write_port, write_tcp_flags};
use crate::text::value;

/// Writes the key under its mask; with `verbose` (the `-m` option) also what the mask leaves out.
pub fn format_key(
    out: &mut String,
    key: &FlowKey,
    mask: &FlowMask,
    names: &dyn DpPortNames,
    verbose: bool,
) {
    let m = &mask.0;
    let mut a = Attributes {
        out,
        verbose,
        first: true,
    };
    if m.pkt_mark != 0 || verbose {
        a.open("skb_mark");
        a.hex("", key.pkt_mark, m.pkt_mark, u32::MAX);
        a.close();
    }
    // Part of every flow's identity, so always shown.
    a.open("recirc_id");
    a.hex("", key.recirc_id, u32::MAX, u32::MAX);
    a.close();
    if m.in_port != 0 || verbose {
        a.open("in_port");
        write_port(a.out, DpPort(key.in_port), names);
        if m.in_port != u32::MAX {
            let _ = write!(a.out, "/{:#x}", m.in_port);
        }
        a.close();
    }
    a.open("eth");
    a.eth("src", key.eth_src, m.eth_src);
    a.eth("dst", key.eth_dst, m.eth_dst);
    a.close();
    let tags = [
        (key.vlan0_tpid, key.vlan0_tci, m.vlan0_tci),
        (key.vlan1_tpid, key.vlan1_tci, m.vlan1_tci),
    ];
    let mut encaps = 0;
    for (tpid, tci, tci_mask) in tags {
        let tci_mask = be16(tci_mask);
        if be16(tci) & VLAN_PRESENT == 0 || tci_mask == 0 && !verbose {
            break;
        }
        a.open("eth_type");
        let tpid = match be16(tpid) {
            0 => ETH_TYPE_VLAN,
            tpid => tpid,
        };
        let _ = write!(a.out, "0x{tpid:04x}");
        a.close();
        write_vlan(&mut a, be16(tci), tci_mask);
        a.open("encap");
        a.first = true;
        encaps += 1;
    }
    if be16(m.eth_type) != 0 || verbose {
        a.open("eth_type");
        let (v, mask) = (be16(key.eth_type), be16(m.eth_type));
        if v == 0 {
            a.out.push('0');
        } else {
            let _ = write!(a.out, "0x{v:04x}");
        }
        if mask != u16::MAX {
            a.out.push('/');
            value::write_hex(a.out, mask.into());
        }
        a.close();
    }
    write_network(&mut a, key, m);
    for _ in 0..encaps {
        a.out.push(')');
    }
}

fn write_vlan(a: &mut Attributes<'_>, tci: u16, mask: u16) {
    a.open("vlan");
    let parts = [
        ("vid", tci & 0xfff, mask & 0xfff, 0xfff),
        ("pcp", tci >> 13, mask >> 13, 7),
    ];
    for (name, v, m, full) in parts {
        if a.field(name, u128::from(v | m)) {
            let _ = write!(a.out, "{v}");
            if m != full {
                let _ = write!(a.out, "/{m:#x}");
            }
            a.out.push(',');
        }
    }
    a.close();
}

/// The attributes from the network layer up.
fn write_network(a: &mut Attributes<'_>, key: &FlowKey, m: &FlowKey) {
    if be16(m.eth_type) == 0 {
        return;
    }
    match key.eth_type() {
        ETH_TYPE_IPV4 => {
            let touched = any(&[&m.ipv4_src, &m.ipv4_dst]) || touches_ip(m) || a.verbose;
            if touched {
                a.open("ipv4");
                a.ipv4("src", key.ipv4_src, m.ipv4_src);
                a.ipv4("dst", key.ipv4_dst, m.ipv4_dst);
                a.decimal("proto", key.ip_proto.into(), m.ip_proto.into(), 0xff);
                a.hex("tos", key.ip_tos.into(), m.ip_tos.into(), 0xff);
                a.decimal("ttl", key.ip_ttl.into(), m.ip_ttl.into(), 0xff);
                a.frag(key.ip_frag, m.ip_frag);
                a.close();
            }
            write_transport(a, key, m);
        }
        ETH_TYPE_IPV6 => {
            let touched = any(&[&m.ipv6_src, &m.ipv6_dst, &m.ipv6_label]) || touches_ip(m);
            if touched || a.verbose {
                a.open("ipv6");
                a.ipv6("src", key.ipv6_src, m.ipv6_src);
                a.ipv6("dst", key.ipv6_dst, m.ipv6_dst);
                let full = 0x000f_ffff;
                let label = u32::from_be_bytes(key.ipv6_label) & full;
                a.hex(
                    "label",
                    label,
                    u32::from_be_bytes(m.ipv6_label) & full,
                    full,
                );
                a.decimal("proto", key.ip_proto.into(), m.ip_proto.into(), 0xff);
                a.hex("tclass", key.ip_tos.into(), m.ip_tos.into(), 0xff);
                a.decimal("hlimit", key.ip_ttl.into(), m.ip_ttl.into(), 0xff);
                a.frag(key.ip_frag, m.ip_frag);
                a.close();
            }
            write_transport(a, key, m);
        }
        ETH_TYPE_ARP | ETH_TYPE_RARP => {
            let touched = any(&[&m.ipv4_src, &m.ipv4_dst, &m.arp_sha, &m.arp_tha]);
            if touched || m.ip_proto != 0 || a.verbose {
                a.open("arp");
                a.ipv4("sip", key.ipv4_src, m.ipv4_src);
                a.ipv4("tip", key.ipv4_dst, m.ipv4_dst);
                a.decimal("op", key.ip_proto.into(), m.ip_proto.into(), 0xff);
                a.eth("sha", key.arp_sha, m.arp_sha);
                a.eth("tha", key.arp_tha, m.arp_tha);
                a.close();
            }
        }
        _ => {}
    }
}

fn any(parts: &[&[u8]]) -> bool {
    parts.iter().any(|p| p.iter().any(|b| *b != 0))
}

fn touches_ip(m: &FlowKey) -> bool {
    m.ip_proto | m.ip_tos | m.ip_ttl | m.ip_frag != 0
}

/// The name of the attribute that holds the transport ports.
pub fn transport(key: &FlowKey) -> Option<&'static str> {
    match (key.is_ipv6(), key.ip_proto) {
        (_, IP_PROTO_TCP) => Some("tcp"),
        (_, IP_PROTO_UDP) => Some("udp"),
        (_, IP_PROTO_SCTP) => Some("sctp"),
        (false, IP_PROTO_ICMP) => Some("icmp"),
        (true, IP_PROTO_ICMPV6) => Some("icmpv6"),
        _ => None,
    }
}

fn write_transport(a: &mut Attributes<'_>, key: &FlowKey, m: &FlowKey) {
    if key.ip_frag & FRAG_LATER != 0 {
        return;
    }
    let Some(name) = transport(key) else { return };
    let (src, dst, full) = match name {
        "icmp" | "icmpv6" => ("type", "code", 0xff),
        _ => ("src", "dst", u16::MAX),
    };
    // Without the protocol in the mask the ports mean nothing.
    if m.ip_proto == 0 && !a.verbose {
        return;
    }
    if be16(m.tp_src) | be16(m.tp_dst) != 0 || a.verbose {
        a.open(name);
        a.decimal(src, key.tp_src(), be16(m.tp_src) & full, full);
        a.decimal(dst, key.tp_dst(), be16(m.tp_dst) & full, full);
        a.close();
    }
    let flags_mask = be16(m.tcp_flags) & 0xfff;
    if name == "tcp" && (flags_mask != 0 || a.verbose) {
        a.open("tcp_flags");
        if flags_mask == 0 {
            a.out.push_str("0/0");
        } else {
            write_tcp_flags(a.out, key.tcp_flags(), flags_mask);
        }
        a.close();
    }
    if name == "icmpv6" {
        let touched = any(&[&m.nd_target, &m.arp_sha, &m.arp_tha]);
        let is_nd = matches!(key.tp_src(), 135 | 136);
        if is_nd && (touched || a.verbose) {
            a.open("nd");
            a.ipv6("target", key.nd_target, m.nd_target);
            a.eth("sll", key.arp_sha, m.arp_sha);
            a.eth("tll", key.arp_tha, m.arp_tha);
            a.close();
        }
    }
}
