//! Datapath flows as text: what `dpctl/dump-flows` shows and what `ofproto/trace` and the dummy
//! network devices take, for example
//! `recirc_id(0),in_port(1),eth(src=50:54:00:00:00:05),eth_type(0x0800),ipv4(proto=6,frag=no)`.
//!
//! A key is a list of attributes `name(...)`, in a fixed order; an attribute or field that the
//! mask does not touch is left out, except that `-m` output shows it with a zero mask. Values
//! under a partial mask are `value/mask`. Source: ovs-dpctl(8), "dump-flows"; the forms are those
//! of Open vSwitch 3.1 with the kernel datapath.
//!
//! The file reads and writes [`FlowKey`], [`FlowMask`] and [`Action`] of `packet`; OpenFlow text is
//! in the other modules of `text`.

mod parse;

use std::fmt::Write;
use std::time::Duration;

use packet::action::{SetField, SlowReason};
use packet::key::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_RARP, ETH_TYPE_VLAN, FRAG_ANY, FRAG_LATER,
    IP_PROTO_ICMP, IP_PROTO_ICMPV6, IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP, VLAN_PRESENT,
};
use packet::{Action, DpPort, DropReason, FlowKey, FlowMask};

use super::value;
pub use parse::{Error, parse_key, parse_tcp_flags};

/// TCP flag names, lowest bit first.
pub const TCP_FLAGS: [&str; 12] = [
    "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]",
];

/// Names of datapath ports, for output with `--names`.
pub trait DpPortNames {
    /// `None` shows the number.
    fn name(&self, port: DpPort) -> Option<String>;
    fn number(&self, name: &str) -> Option<DpPort>;
}

/// Ports by number alone.
pub struct NoNames;

impl DpPortNames for NoNames {
    fn name(&self, _: DpPort) -> Option<String> {
        None
    }
    fn number(&self, _: &str) -> Option<DpPort> {
        None
    }
}

/// What one datapath flow has counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    pub packets: u64,
    pub bytes: u64,
    /// Time since the last packet; `None` when there was none.
    pub used: Option<Duration>,
    /// All TCP flags seen.
    pub tcp_flags: u16,
}

/// One line of `dpctl/dump-flows`, without a newline.
pub fn format_flow(
    key: &FlowKey,
    mask: &FlowMask,
    stats: &Stats,
    actions: &[Action],
    names: &dyn DpPortNames,
    verbose: bool,
) -> String {
    let mut s = String::new();
    format_key(&mut s, key, mask, names, verbose);
    let _ = write!(
        s,
        ", packets:{}, bytes:{}, used:",
        stats.packets, stats.bytes
    );
    match stats.used {
        Some(used) => {
            let _ = write!(s, "{}.{:03}s", used.as_secs(), used.subsec_millis());
        }
        None => s.push_str("never"),
    }
    if stats.tcp_flags != 0 {
        s.push_str(", flags:");
        write_tcp_flag_letters(&mut s, stats.tcp_flags);
    }
    s.push_str(", actions:");
    format_actions(&mut s, actions, key, names);
    s
}

/// The flags of a flow's statistics: one letter each, as `SF.` for SYN, FIN and ACK.
fn write_tcp_flag_letters(out: &mut String, flags: u16) {
    const LETTERS: [(u16, char); 9] = [
        (0x002, 'S'),
        (0x001, 'F'),
        (0x008, 'P'),
        (0x004, 'R'),
        (0x020, 'U'),
        (0x010, '.'),
        (0x040, 'E'),
        (0x080, 'C'),
        (0x100, 'N'),
    ];
    for (bit, letter) in LETTERS {
        if flags & bit != 0 {
            out.push(letter);
        }
    }
    for bit in 9..12 {
        if flags & (1 << bit) != 0 {
            let _ = write!(out, "[{:x}]", 1 << bit);
        }
    }
}

/// Writes attributes separated by commas, and inside each its fields.
struct Attributes<'a> {
    out: &'a mut String,
    verbose: bool,
    first: bool,
}

impl Attributes<'_> {
    /// Starts `name(`.
    fn open(&mut self, name: &str) {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        self.out.push_str(name);
        self.out.push('(');
    }

    fn close(&mut self) {
        if self.out.ends_with(',') {
            self.out.pop();
        }
        self.out.push(')');
    }

    /// Starts a field of the open attribute when its mask is not zero or all are shown.
    fn field(&mut self, name: &str, mask: u128) -> bool {
        let shown = mask != 0 || self.verbose;
        if shown && !name.is_empty() {
            self.out.push_str(name);
            self.out.push('=');
        }
        shown
    }

    fn hex(&mut self, name: &str, v: u32, mask: u32, full: u32) {
        if self.field(name, mask.into()) {
            value::write_hex(self.out, v.into());
            if mask != full {
                self.out.push('/');
                value::write_hex(self.out, mask.into());
            }
            self.out.push(',');
        }
    }

    fn decimal(&mut self, name: &str, v: u16, mask: u16, full: u16) {
        if self.field(name, mask.into()) {
            let _ = write!(self.out, "{v}");
            if mask != full {
                self.out.push('/');
                value::write_hex(self.out, mask.into());
            }
            self.out.push(',');
        }
    }

    fn eth(&mut self, name: &str, v: [u8; 6], mask: [u8; 6]) {
        let (v, mask) = (be48(v), be48(mask));
        if self.field(name, mask.into()) {
            value::write_eth(self.out, v);
            if mask != 0xffff_ffff_ffff {
                self.out.push('/');
                value::write_eth(self.out, mask);
            }
            self.out.push(',');
        }
    }

    fn ipv4(&mut self, name: &str, v: [u8; 4], mask: [u8; 4]) {
        let (v, mask) = (u32::from_be_bytes(v), u32::from_be_bytes(mask));
        if self.field(name, mask.into()) {
            value::write_ipv4(self.out, v);
            if mask != u32::MAX {
                self.out.push('/');
                value::write_ipv4(self.out, mask);
            }
            self.out.push(',');
        }
    }

    fn ipv6(&mut self, name: &str, v: [u8; 16], mask: [u8; 16]) {
        let (v, mask) = (u128::from_be_bytes(v), u128::from_be_bytes(mask));
        if self.field(name, mask) {
            value::write_ipv6(self.out, v);
            if mask != u128::MAX {
                self.out.push('/');
                value::write_ipv6(self.out, mask);
            }
            self.out.push(',');
        }
    }

    fn frag(&mut self, v: u8, mask: u8) {
        if self.field("frag", mask.into()) {
            self.out.push_str(match v & (FRAG_ANY | FRAG_LATER) {
                0 => "no",
                FRAG_ANY => "first",
                3 => "later",
                _ => "error",
            });
            // The datapath always knows both bits; a narrower mask still shows what it is.
            if mask & 3 != 3 && mask != u8::MAX {
                let _ = write!(self.out, "/{mask:#x}");
            }
            self.out.push(',');
        }
    }
}

fn be48(b: [u8; 6]) -> u64 {
    packet::EthAddr(b).to_u64()
}

fn be16(b: [u8; 2]) -> u16 {
    u16::from_be_bytes(b)
}

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
fn transport(key: &FlowKey) -> Option<&'static str> {
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

/// `+syn-ack` under a partial mask, `syn|ack` under a full one, `0` for none.
pub fn write_tcp_flags(out: &mut String, flags: u16, mask: u16) {
    if mask & 0xfff == 0xfff {
        if flags & 0xfff == 0 {
            out.push('0');
        }
        let mut first = true;
        for (bit, name) in TCP_FLAGS.iter().enumerate() {
            if flags & (1 << bit) != 0 {
                if !first {
                    out.push('|');
                }
                first = false;
                out.push_str(name);
            }
        }
        return;
    }
    for (bit, name) in TCP_FLAGS.iter().enumerate() {
        if mask & (1 << bit) != 0 {
            out.push(if flags & (1 << bit) != 0 { '+' } else { '-' });
            out.push_str(name);
        }
    }
}

fn write_port(out: &mut String, port: DpPort, names: &dyn DpPortNames) {
    match names.name(port) {
        Some(name) => value::write_name(out, &name),
        None => {
            let _ = write!(out, "{}", port.0);
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of `dpctl/dump-flows` of Open vSwitch 3.1, with `eth()` as the kernel datapath has it.
    const KEYS: &[&str] = &[
        "recirc_id(0),in_port(1),eth(src=50:54:00:00:00:05),eth_type(0x0800),ipv4(proto=6,tos=0x6/0xfc,ttl=64,frag=no),tcp(dst=22),tcp_flags(+syn)",
        "recirc_id(0),in_port(1),eth(),eth_type(0x8100),vlan(vid=5,pcp=3/0x0),encap(eth_type(0x0800),ipv4(frag=no))",
        "recirc_id(0),in_port(1),eth(),eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x0806))",
        "recirc_id(0),in_port(1),eth(),eth_type(0x0806),arp(sip=1.2.3.4,op=1,sha=00:01:02:03:04:05)",
        "recirc_id(0),in_port(1),eth(),eth_type(0x0806),arp(sip=1.2.3.4,tip=2.3.4.5/255.255.0.0,op=1,sha=00:01:02:03:04:05)",
        "recirc_id(0),in_port(1),eth(),eth_type(0x86dd),ipv6(src=fe80::1/ffff::,label=0x7,proto=6,frag=no),tcp(src=80,dst=22)",
        "recirc_id(0),in_port(1),eth(),eth_type(0x86dd),ipv6(proto=58,frag=no),icmpv6(type=135,code=0),nd(target=fe80::5,sll=00:01:02:03:04:05)",
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(proto=1,frag=no),icmp(type=8,code=0)",
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=later)",
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(proto=132,frag=no),sctp(src=16)",
        "recirc_id(0),in_port(1),eth(src=50:54:00:00:00:05,dst=50:54:00:00:00:07),eth_type(0/0xffff)",
        "recirc_id(0),in_port(1),eth(),eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x88a8),vlan(vid=7,pcp=1),encap(eth_type(0x1234)))",
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(dst=1.168.3.4/255.0.255.255,frag=no)",
        "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(proto=17,frag=no),udp(src=16/0xf0)",
        "recirc_id(0x1f),in_port(2),eth(dst=01:00:00:00:00:00/01:00:00:00:00:00),eth_type(0x88cc)",
        "skb_mark(0x7/0xf),recirc_id(0),in_port(2),eth(),eth_type(0x0800),ipv4(frag=first)",
    ];

    #[test]
    fn keys_read_and_print_the_same() {
        for text in KEYS {
            let (key, mask) = parse_key(text, &NoNames).unwrap();
            let mut s = String::new();
            format_key(&mut s, &key, &mask, &NoNames, false);
            // An Ethernet type of zero is exact either way.
            assert_eq!(s, text.replace("eth_type(0/0xffff)", "eth_type(0)"));
        }
    }

    #[test]
    fn more_shows_what_is_wild() {
        let text = "in_port(1),eth_type(0x0806),arp(sip=1.2.3.4)";
        let (key, mask) = parse_key(text, &NoNames).unwrap();
        let mut s = String::new();
        format_key(&mut s, &key, &mask, &NoNames, true);
        assert_eq!(
            s,
            "skb_mark(0/0),recirc_id(0),in_port(1),eth(src=00:00:00:00:00:00/00:00:00:00:00:00,dst=00:00:00:00:00:00/00:00:00:00:00:00),eth_type(0x0806),arp(sip=1.2.3.4,tip=0.0.0.0/0.0.0.0,op=0/0,sha=00:00:00:00:00:00/00:00:00:00:00:00,tha=00:00:00:00:00:00/00:00:00:00:00:00)"
        );
    }

    #[test]
    fn actions_of_one_header_print_as_one() {
        let (key, _) = parse_key(
            "in_port(1),eth_type(0x0800),ipv4(proto=17,frag=no)",
            &NoNames,
        )
        .unwrap();
        let set = |field, v: &[u8]| {
            let (mut value, mut mask) = ([0; 6], [0; 6]);
            value[..v.len()].copy_from_slice(v);
            mask[..v.len()].fill(0xff);
            Action::Set { field, value, mask }
        };
        let actions = [
            set(SetField::EthSrc, &[0, 1, 2, 3, 4, 5]),
            set(SetField::Ipv4Dst, &[9, 9, 9, 9]),
            set(SetField::IpTtl, &[5]),
            set(SetField::TpDst, &[0, 9]),
            set(SetField::PktMark, &7u32.to_ne_bytes()),
            Action::PushVlan {
                tpid: 0x88a8,
                tci: 0x6005,
            },
            Action::Output(DpPort(2)),
            Action::PopVlan,
            Action::Output(DpPort(100)),
        ];
        let mut s = String::new();
        format_actions(&mut s, &actions, &key, &NoNames);
        assert_eq!(
            s,
            "set(eth(src=00:01:02:03:04:05)),set(ipv4(dst=9.9.9.9,ttl=5)),set(udp(dst=9)),set(skb_mark(0x7)),push_vlan(tpid=0x88a8,vid=5,pcp=3),2,pop_vlan,100"
        );
    }

    #[test]
    fn a_flow_with_its_statistics() {
        let (key, mask) = parse_key("in_port(1),eth_type(0x0800),ipv4(frag=no)", &NoNames).unwrap();
        let stats = Stats {
            packets: 3,
            bytes: 294,
            used: Some(Duration::from_millis(1204)),
            tcp_flags: 0x13,
        };
        assert_eq!(
            format_flow(&key, &mask, &stats, &[], &NoNames, false),
            "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(frag=no), packets:3, bytes:294, used:1.204s, flags:SF., actions:drop"
        );
    }

    #[test]
    fn errors_name_word_and_column() {
        for (text, want) in [
            (
                "in_port(1),foo(2)",
                "foo: unknown datapath flow attribute (column 12)",
            ),
            (
                "ct_state(0x21/0x21)",
                "ct_state: this datapath has no such flow attribute (column 1)",
            ),
            ("eth(scr=1)", "scr: unknown field of eth (column 5)"),
            ("in_port(x)", "x: bad value in in_port (column 9)"),
            ("ipv4(ttl=256)", "256: bad value in ipv4 (column 10)"),
        ] {
            assert_eq!(parse_key(text, &NoNames).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn tcp_flags_in_each_form() {
        assert_eq!(parse::parse_tcp_flags("+syn-ack"), Some((2, 0x12)));
        assert_eq!(parse::parse_tcp_flags("syn|ack"), Some((0x12, 0xfff)));
        assert_eq!(parse::parse_tcp_flags("0x12/0x3f"), Some((0x12, 0x3f)));
        for bad in ["", "+", "+foo", "+syn+syn", "0x1000", "syn|", "+syn,"] {
            assert_eq!(parse::parse_tcp_flags(bad), None, "{bad}");
        }
    }
}
