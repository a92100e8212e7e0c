//! What is known of one packet, in flow syntax: the `Flow:` and `Megaflow:` lines of
//! ofproto/trace, and the packets in packet-in and packet-out messages.
//!
//! Converts a datapath [`FlowKey`] to a [`Match`]; the datapath's conventions for VLAN, ARP and
//! ICMP are those in `packet::key`.

use std::fmt::Write;

use packet::extract::{Layers, Meta, extract};
use packet::key::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_RARP, FRAG_LATER, IP_PROTO_ICMP,
    IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP, VLAN_PRESENT,
};
use packet::{FlowKey, FlowMask, OfPort};

use super::matches::{self, Context};
use super::ports::Names;
use crate::field::Field;
use crate::flow_match::Match;

/// The match that `mask` makes of `key`, with `in_port` in OpenFlow's numbers.
pub fn match_of_key(key: &FlowKey, mask: &FlowMask, in_port: Option<OfPort>) -> Match {
    let m = &mask.0;
    let mut out = Match::new();
    let mut set = |field, v: u128, mask: u128| out.set(field, v, mask);
    set(Field::PktMark, key.pkt_mark.into(), m.pkt_mark.into());
    if let Some(port) = in_port {
        set(Field::InPort, port.0.into(), u128::MAX);
    }
    set(Field::EthSrc, be(&key.eth_src), be(&m.eth_src));
    set(Field::EthDst, be(&key.eth_dst), be(&m.eth_dst));
    set(Field::EthType, be(&key.eth_type), be(&m.eth_type));
    set(Field::VlanTci, be(&key.vlan0_tci), be(&m.vlan0_tci));
    let eth_type = if be(&m.eth_type) == 0xffff {
        key.eth_type()
    } else {
        0
    };
    match eth_type {
        ETH_TYPE_IPV4 => {
            set(Field::Ipv4Src, be(&key.ipv4_src), be(&m.ipv4_src));
            set(Field::Ipv4Dst, be(&key.ipv4_dst), be(&m.ipv4_dst));
        }
        ETH_TYPE_IPV6 => {
            set(Field::Ipv6Src, be(&key.ipv6_src), be(&m.ipv6_src));
            set(Field::Ipv6Dst, be(&key.ipv6_dst), be(&m.ipv6_dst));
            set(Field::Ipv6Label, be(&key.ipv6_label), be(&m.ipv6_label));
        }
        ETH_TYPE_ARP | ETH_TYPE_RARP => {
            set(Field::ArpSpa, be(&key.ipv4_src), be(&m.ipv4_src));
            set(Field::ArpTpa, be(&key.ipv4_dst), be(&m.ipv4_dst));
            // The datapath knows the low byte of the opcode alone.
            let op_mask = if m.ip_proto == 0xff {
                0xffff
            } else {
                m.ip_proto.into()
            };
            set(Field::ArpOp, key.ip_proto.into(), op_mask);
            set(Field::ArpSha, be(&key.arp_sha), be(&m.arp_sha));
            set(Field::ArpTha, be(&key.arp_tha), be(&m.arp_tha));
            return out;
        }
        _ => return out,
    }
    set(Field::IpProto, key.ip_proto.into(), m.ip_proto.into());
    set(
        Field::IpDscp,
        (key.ip_tos >> 2).into(),
        (m.ip_tos >> 2).into(),
    );
    set(Field::IpEcn, (key.ip_tos & 3).into(), (m.ip_tos & 3).into());
    set(Field::IpTtl, key.ip_ttl.into(), m.ip_ttl.into());
    set(Field::IpFrag, key.ip_frag.into(), m.ip_frag.into());
    if m.ip_proto != 0xff || key.ip_frag & FRAG_LATER != 0 {
        return out;
    }
    let v6 = eth_type == ETH_TYPE_IPV6;
    let ports = match (v6, key.ip_proto) {
        (_, IP_PROTO_TCP) => (Field::TcpSrc, Field::TcpDst),
        (_, IP_PROTO_UDP) => (Field::UdpSrc, Field::UdpDst),
        (_, IP_PROTO_SCTP) => (Field::SctpSrc, Field::SctpDst),
        (false, IP_PROTO_ICMP) => (Field::IcmpType, Field::IcmpCode),
        (true, IP_PROTO_ICMPV6) => (Field::Icmpv6Type, Field::Icmpv6Code),
        _ => return out,
    };
    set(ports.0, be(&key.tp_src), be(&m.tp_src));
    set(ports.1, be(&key.tp_dst), be(&m.tp_dst));
    if key.ip_proto == IP_PROTO_TCP {
        set(Field::TcpFlags, be(&key.tcp_flags), be(&m.tcp_flags));
    }
    if v6 && key.ip_proto == IP_PROTO_ICMPV6 && matches!(key.tp_src(), 135 | 136) {
        // Both, whichever the message: the one that it cannot have is zero.
        set(Field::NdTarget, be(&key.nd_target), be(&m.nd_target));
        set(Field::NdSll, be(&key.arp_sha), be(&m.arp_sha));
        set(Field::NdTll, be(&key.arp_tha), be(&m.arp_tha));
    }
    out
}

/// A big-endian number of up to 16 bytes.
fn be(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |n, b| n << 8 | u128::from(*b))
}

/// The inner tag as the printer wants it, when the mask or `always` says to show it.
fn inner_tag(key: &FlowKey, mask: &FlowMask, always: bool) -> Option<(u16, u16)> {
    let inner = u16::from_be_bytes(mask.0.vlan1_tci);
    let mask = if always { u16::MAX } else { inner };
    let shown = key.vlan0_tci() & VLAN_PRESENT != 0 && mask != 0;
    shown.then_some((key.vlan1_tci() & mask, mask))
}

/// Everything in `key`, as in the `Flow:` line of ofproto/trace.
pub fn write_flow(out: &mut String, key: &FlowKey, in_port: Option<OfPort>, names: &Names) {
    let mut mask = FlowMask::exact();
    if key.pkt_mark == 0 {
        mask.0.pkt_mark = 0;
    }
    let fields = match_of_key(key, &mask, in_port);
    let context = Context {
        inner_tag: inner_tag(key, &mask, true),
        ..Context::default()
    };
    matches::write_with(out, &fields, names, context);
}

/// The `Megaflow:` line of ofproto/trace, without its name.
pub fn write_megaflow(
    out: &mut String,
    key: &FlowKey,
    mask: &FlowMask,
    in_port: Option<OfPort>,
    names: &Names,
) {
    let fields = match_of_key(key, mask, in_port);
    let context = Context {
        megaflow: true,
        inner_tag: inner_tag(key, mask, false),
        ..Context::default()
    };
    matches::write_with(out, &fields, names, context);
}

/// A frame in flow syntax, followed by its transport checksum.
pub fn write_packet(out: &mut String, frame: &[u8], names: &Names) {
    let mut key = FlowKey::zero();
    let Ok(layers) = extract(&frame, &Meta::default(), &mut key) else {
        let _ = write!(
            out,
            "(packet of {} bytes, too short for Ethernet)",
            frame.len()
        );
        return;
    };
    write_flow(out, &key, None, names);
    write_checksum(out, frame, &key, layers);
}

fn write_checksum(out: &mut String, frame: &[u8], key: &FlowKey, layers: Layers) {
    let (name, at) = match (key.is_ipv6(), key.ip_proto) {
        _ if layers.l4 == 0 || key.ip_frag & FRAG_LATER != 0 => return,
        (_, IP_PROTO_TCP) => ("tcp_csum", 16),
        (_, IP_PROTO_UDP) => ("udp_csum", 6),
        (false, IP_PROTO_ICMP) => ("icmp_csum", 2),
        (true, IP_PROTO_ICMPV6) => ("icmp6_csum", 2),
        _ => return,
    };
    let start = usize::from(layers.l4) + at;
    if let Some([a, b]) = frame.get(start..start + 2) {
        let _ = write!(out, " {name}:{:x}", u16::from_be_bytes([*a, *b]));
    }
}
