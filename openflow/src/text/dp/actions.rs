//! Datapath action lists as text.

use std::fmt::Write;

use packet::action::{SetField, SlowReason};
use packet::key::ETH_TYPE_VLAN;
use packet::{Action, DropReason, FlowKey};

use super::DpPortNames;
use super::attributes::{Attributes, be16, write_port};
use super::key::transport;

/// Writes an action list; `key` is the flow's, which says what headers the set actions change.
///
/// Set actions on fields of one header that follow each other are shown as one.
pub fn format_actions(
    out: &mut String,
    actions: &[Action],
    key: &FlowKey,
    names: &dyn DpPortNames,
) {
    if actions.is_empty() {
        out.push_str("drop");
        return;
    }
    let mut rest = actions;
    while let Some((action, tail)) = rest.split_first() {
        if rest.len() != actions.len() {
            out.push(',');
        }
        rest = tail;
        match action {
            Action::Output(port) => write_port(out, *port, names),
            Action::PushVlan { tpid, tci } => {
                out.push_str("push_vlan(");
                if *tpid != ETH_TYPE_VLAN {
                    let _ = write!(out, "tpid=0x{tpid:04x},");
                }
                let _ = write!(out, "vid={},pcp={})", tci & 0xfff, tci >> 13);
            }
            Action::PopVlan => out.push_str("pop_vlan"),
            Action::Set { field, .. } => {
                let header = header(*field, key);
                let same = |a: &Action| matches!(a, Action::Set { field: f, .. } if self::header(*f, key) == header);
                let more = tail.iter().take_while(|a| same(a)).count();
                let (sets, after) = rest_split(action, tail, more);
                write_set(out, header, &sets);
                rest = after;
            }
            Action::Meter(meter) => {
                let _ = write!(out, "meter({})", meter.0);
            }
            Action::SlowPath(reason) => {
                let reason = match reason {
                    SlowReason::Controller => "controller",
                    SlowReason::TooManyActions | SlowReason::Unsupported => "action",
                };
                let _ = write!(out, "userspace(pid=0,slow_path({reason}))");
            }
            Action::Drop(DropReason::None | DropReason::Policy) => out.push_str("drop"),
            Action::Drop(reason) => {
                let _ = write!(out, "drop({})", reason.name());
            }
        }
    }
}

/// Field, value and mask of an [`Action::Set`].
type Set = (SetField, [u8; 6], [u8; 6]);

/// The set actions of one group, and what follows them.
fn rest_split<'a>(first: &Action, tail: &'a [Action], more: usize) -> (Vec<Set>, &'a [Action]) {
    let (group, after) = tail.split_at_checked(more).unwrap_or((tail, &[]));
    let sets = std::iter::once(first)
        .chain(group)
        .filter_map(|a| match a {
            Action::Set { field, value, mask } => Some((*field, *value, *mask)),
            _ => None,
        })
        .collect();
    (sets, after)
}

/// The attribute that `field` is printed in.
fn header(field: SetField, key: &FlowKey) -> &'static str {
    use SetField::*;
    match field {
        EthDst | EthSrc => "eth",
        Ipv4Src | Ipv4Dst => "ipv4",
        IpTos | IpTtl if key.is_ipv6() => "ipv6",
        IpTos | IpTtl => "ipv4",
        TpSrc | TpDst => match transport(key) {
            Some(name @ ("tcp" | "udp" | "sctp")) => name,
            _ => "tcp",
        },
        IcmpType | IcmpCode if key.is_ipv6() => "icmpv6",
        IcmpType | IcmpCode => "icmp",
        Ipv6Label | Ipv6Src0 | Ipv6Src1 | Ipv6Src2 | Ipv6Src3 | Ipv6Dst0 | Ipv6Dst1 | Ipv6Dst2
        | Ipv6Dst3 => "ipv6",
        ArpOp | ArpSpa | ArpTpa | ArpSha | ArpTha => "arp",
        NdTarget0 | NdTarget1 | NdTarget2 | NdTarget3 | NdSll | NdTll => "nd",
        PktMark => "skb_mark",
        SkbPriority => "skb_priority",
    }
}

/// `set(header(field=value,...))`.
fn write_set(out: &mut String, header: &'static str, sets: &[Set]) {
    // Gather the fields in a key and its mask, then print those as a flow's attribute.
    let (mut key, mut mask) = (FlowKey::zero(), FlowKey::zero());
    let mut word: Option<(u32, u32)> = None;
    for (field, v, m) in sets {
        let n = field.len_bytes();
        put(&mut key, *field, *v);
        put(&mut mask, *field, *m);
        if matches!(field, SetField::PktMark | SetField::SkbPriority) && n == 4 {
            let four = |b: &[u8; 6]| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]);
            word = Some((four(v), four(m)));
        }
    }
    out.push_str("set(");
    let mut a = Attributes {
        out,
        verbose: false,
        first: true,
    };
    a.open(header);
    match header {
        "eth" => {
            a.eth("src", key.eth_src, mask.eth_src);
            a.eth("dst", key.eth_dst, mask.eth_dst);
        }
        "ipv4" => {
            a.ipv4("src", key.ipv4_src, mask.ipv4_src);
            a.ipv4("dst", key.ipv4_dst, mask.ipv4_dst);
            a.hex("tos", key.ip_tos.into(), mask.ip_tos.into(), 0xff);
            a.decimal("ttl", key.ip_ttl.into(), mask.ip_ttl.into(), 0xff);
        }
        "ipv6" => {
            a.ipv6("src", key.ipv6_src, mask.ipv6_src);
            a.ipv6("dst", key.ipv6_dst, mask.ipv6_dst);
            let full = 0x000f_ffff;
            let label = u32::from_be_bytes(key.ipv6_label) & full;
            a.hex(
                "label",
                label,
                u32::from_be_bytes(mask.ipv6_label) & full,
                full,
            );
            a.hex("tclass", key.ip_tos.into(), mask.ip_tos.into(), 0xff);
            a.decimal("hlimit", key.ip_ttl.into(), mask.ip_ttl.into(), 0xff);
        }
        "arp" => {
            a.ipv4("sip", key.ipv4_src, mask.ipv4_src);
            a.ipv4("tip", key.ipv4_dst, mask.ipv4_dst);
            a.decimal("op", key.tp_src(), be16(mask.tp_src), u16::MAX);
            a.eth("sha", key.arp_sha, mask.arp_sha);
            a.eth("tha", key.arp_tha, mask.arp_tha);
        }
        "nd" => {
            a.ipv6("target", key.nd_target, mask.nd_target);
            a.eth("sll", key.arp_sha, mask.arp_sha);
            a.eth("tll", key.arp_tha, mask.arp_tha);
        }
        "icmp" | "icmpv6" => {
            a.decimal("type", key.tp_src(), be16(mask.tp_src), 0xff);
            a.decimal("code", key.tp_dst(), be16(mask.tp_dst), 0xff);
        }
        "skb_mark" | "skb_priority" => {
            if let Some((v, m)) = word {
                a.hex("", v, m, u32::MAX);
            }
        }
        _ => {
            a.decimal("src", key.tp_src(), be16(mask.tp_src), u16::MAX);
            a.decimal("dst", key.tp_dst(), be16(mask.tp_dst), u16::MAX);
        }
    }
    a.close();
    out.push(')');
}

/// Puts a set action's bytes where `write_set` prints them from.
fn put(key: &mut FlowKey, field: SetField, b: [u8; 6]) {
    use SetField::*;
    let four = [b[0], b[1], b[2], b[3]];
    let two = [b[0], b[1]];
    match field {
        EthDst => key.eth_dst = b,
        EthSrc => key.eth_src = b,
        Ipv4Src | ArpSpa => key.ipv4_src = four,
        Ipv4Dst | ArpTpa => key.ipv4_dst = four,
        IpTos => key.ip_tos = b[0],
        IpTtl => key.ip_ttl = b[0],
        TpSrc | ArpOp => key.tp_src = two,
        TpDst => key.tp_dst = two,
        IcmpType => key.tp_src = [0, b[0]],
        IcmpCode => key.tp_dst = [0, b[0]],
        Ipv6Label => key.ipv6_label = four,
        Ipv6Src0 => key.ipv6_src[0..4].copy_from_slice(&four),
        Ipv6Src1 => key.ipv6_src[4..8].copy_from_slice(&four),
        Ipv6Src2 => key.ipv6_src[8..12].copy_from_slice(&four),
        Ipv6Src3 => key.ipv6_src[12..16].copy_from_slice(&four),
        Ipv6Dst0 => key.ipv6_dst[0..4].copy_from_slice(&four),
        Ipv6Dst1 => key.ipv6_dst[4..8].copy_from_slice(&four),
        Ipv6Dst2 => key.ipv6_dst[8..12].copy_from_slice(&four),
        Ipv6Dst3 => key.ipv6_dst[12..16].copy_from_slice(&four),
        ArpSha | NdSll => key.arp_sha = b,
        ArpTha | NdTll => key.arp_tha = b,
        NdTarget0 => key.nd_target[0..4].copy_from_slice(&four),
        NdTarget1 => key.nd_target[4..8].copy_from_slice(&four),
        NdTarget2 => key.nd_target[8..12].copy_from_slice(&four),
        NdTarget3 => key.nd_target[12..16].copy_from_slice(&four),
        PktMark | SkbPriority => {}
    }
}
