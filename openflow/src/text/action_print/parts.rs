//! Actions with several arguments.

use std::fmt::Write;
use std::net::Ipv6Addr;

use packet::OfPort;

use super::{reason_name, write};
use crate::action::kinds::{
    PACKET_TYPE_ETHERNET, PACKET_TYPE_MPLS, PACKET_TYPE_MPLS_MULTICAST, PACKET_TYPE_NEXT,
    PACKET_TYPE_NSH,
};
use crate::action::{
    Action, Bundle, Controller, Ct, CtZone, Encap, EncapProp, Learn, LearnDst, LearnSpec, LearnSrc,
    Multipath, Nat, NatAddresses, NatKind, Sample, SampleDirection, Subfield,
};
use crate::text::action_parse::HELPERS;
use crate::text::colors::Tone;
use crate::text::matches::DEFAULT_PRIORITY;
use crate::text::ports::Names;
use crate::text::{fields, subfield, value};
use crate::version::Version;

/// Words with commas between them.
pub(super) struct List<'a> {
    out: &'a mut String,
    empty: bool,
}

impl List<'_> {
    pub fn new(out: &mut String) -> List<'_> {
        List { out, empty: true }
    }

    /// The text, behind a comma where one is needed.
    pub fn next(&mut self) -> &mut String {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        self.out
    }

    fn word(&mut self, word: &str, names: &Names) {
        names.paint(self.next(), Tone::Value, word);
    }

    /// The name of an argument; its value follows.
    fn param(&mut self, name: &str, names: &Names) -> &mut String {
        let out = self.next();
        names.label(out, Tone::Param, name, "=");
        out
    }
}

fn close(out: &mut String, names: &Names) {
    names.paint(out, Tone::Paren, ")");
}

pub(super) fn controller(out: &mut String, c: &Controller, names: &Names) {
    let default = Controller::default();
    let plain = Controller {
        max_len: c.max_len,
        ..Controller::default()
    };
    if *c == plain {
        put!(out, "CONTROLLER:{}", c.max_len);
        return;
    }
    names.paint(out, Tone::Paren, "controller(");
    let mut list = List::new(out);
    if c.reason != default.reason {
        list.param("reason", names).push_str(reason_name(c.reason));
    }
    if c.max_len != default.max_len {
        put!(list.param("max_len", names), "{}", c.max_len);
    }
    if c.controller_id != 0 {
        put!(list.param("id", names), "{}", c.controller_id);
    }
    if !c.userdata.is_empty() {
        value::write_bytes(list.param("userdata", names), &c.userdata);
    }
    if c.pause {
        list.word("pause", names);
    }
    if let Some(id) = c.meter_id {
        put!(list.param("meter_id", names), "{id}");
    }
    close(out, names);
}

pub(super) fn bundle(out: &mut String, name: &str, b: &Bundle, names: &Names) {
    let (fields, basis, algorithm) = (b.fields.name(), b.basis, b.algorithm.name());
    names.label(out, Tone::Paren, name, "(");
    put!(out, "{fields},{basis},{algorithm},ofport,");
    if let Some(dst) = b.dst {
        subfield::write(out, dst);
        out.push(',');
    }
    names.paint(out, Tone::Param, "members:");
    let mut list = List::new(out);
    for port in &b.members {
        names.write_port(list.next(), *port);
    }
    close(out, names);
}

pub(super) fn multipath(out: &mut String, name: &str, m: &Multipath, names: &Names) {
    names.label(out, Tone::Paren, name, "(");
    let n_links = u32::from(m.max_link) + 1;
    put!(
        out,
        "{},{},{},{n_links},{},",
        m.fields.name(),
        m.basis,
        m.algorithm.name(),
        m.arg
    );
    subfield::write(out, m.dst);
    close(out, names);
}

pub(super) fn encap(out: &mut String, name: &str, encap: &Encap, names: &Names) {
    let header = match encap.packet_type {
        PACKET_TYPE_ETHERNET => "ethernet",
        PACKET_TYPE_NSH => "nsh",
        PACKET_TYPE_MPLS => "mpls",
        PACKET_TYPE_MPLS_MULTICAST => "mpls_mc",
        _ => "UNKNOWN",
    };
    names.label(out, Tone::Paren, name, "(");
    out.push_str(header);
    if !encap.props.is_empty() {
        names.paint(out, Tone::Paren, "(");
        let mut list = List::new(out);
        for prop in &encap.props {
            let out = list.next();
            match prop {
                EncapProp::NshMdType(kind) => put!(out, "md_type={kind}"),
                EncapProp::NshTlv { class, kind, data } => {
                    put!(out, "tlv(0x{class:04x},{kind},0x");
                    write_short_hex(out, data);
                    out.push(')');
                }
            }
        }
        close(out, names);
    }
    close(out, names);
}

/// Bytes without the zeros at their front, but one digit at least.
fn write_short_hex(out: &mut String, data: &[u8]) {
    let digits: String = data.iter().map(|b| format!("{b:02x}")).collect();
    match digits.trim_start_matches('0') {
        "" => out.push('0'),
        digits => out.push_str(digits),
    }
}

pub(super) fn decap(out: &mut String, name: &str, packet_type: u32, names: &Names) {
    names.label(out, Tone::Paren, name, "(");
    if packet_type != PACKET_TYPE_NEXT {
        let (ns, id) = (packet_type >> 16, packet_type & 0xffff);
        put!(out, "packet_type(ns={ns},type=");
        value::write_hex(out, id.into());
        out.push(')');
    }
    close(out, names);
}

pub(super) fn sample(out: &mut String, name: &str, s: &Sample, names: &Names) {
    names.label(out, Tone::Paren, name, "(");
    let mut list = List::new(out);
    put!(list.param("probability", names), "{}", s.probability);
    for (name, n) in [
        ("collector_set_id", s.collector_set_id),
        ("obs_domain_id", s.obs_domain_id),
        ("obs_point_id", s.obs_point_id),
    ] {
        put!(list.param(name, names), "{n}");
    }
    if s.sampling_port != OfPort::ANY {
        names.write_port(list.param("sampling_port", names), s.sampling_port);
    }
    let direction = match s.direction {
        SampleDirection::Default => None,
        SampleDirection::Ingress => Some("ingress"),
        SampleDirection::Egress => Some("egress"),
    };
    if let Some(direction) = direction {
        names.paint(list.next(), Tone::Param, direction);
    }
    close(out, names);
}

pub(super) fn ct(out: &mut String, name: &str, ct: &Ct, version: Version, names: &Names) {
    names.label(out, Tone::Paren, name, "(");
    let mut list = List::new(out);
    if ct.commit {
        list.word("commit", names);
    }
    if ct.force {
        list.word("force", names);
    }
    if let Some(table) = ct.table {
        let out = list.next();
        names.paint(out, Tone::Special, "table=");
        names.write_table(out, table);
    }
    match ct.zone {
        CtZone::Number(0) => {}
        CtZone::Number(zone) => put!(list.param("zone", names), "{zone}"),
        CtZone::Field(src) => subfield::write(list.param("zone", names), src),
    }
    // A translation that is first stands for itself.
    let rest = match ct.actions.split_first() {
        Some((Action::Nat(first), rest)) => {
            nat(list.next(), "nat", first, names);
            rest
        }
        _ => &ct.actions,
    };
    if !rest.is_empty() {
        let out = list.next();
        names.paint(out, Tone::Paren, "exec(");
        write(out, rest, version, names);
        // In colour, the comma is there even if nothing follows, as in Open vSwitch.
        if names.has_colors() {
            names.paint(out, Tone::Paren, "),");
            list.empty = true;
        } else {
            out.push(')');
        }
    }
    match HELPERS.iter().find(|(_, port)| *port == ct.alg) {
        Some((helper, _)) => list.param("alg", names).push_str(helper),
        None if ct.alg == 0 => {}
        None => put!(list.param("alg", names), "{}", ct.alg),
    }
    close(out, names);
}

pub(super) fn nat(out: &mut String, name: &str, nat: &Nat, names: &Names) {
    names.paint(out, Tone::Paren, name);
    let kind = match nat.kind {
        None => return,
        Some(NatKind::Src) => "src",
        Some(NatKind::Dst) => "dst",
    };
    names.paint(out, Tone::Paren, "(");
    names.paint(out, Tone::Param, kind);
    if nat.addresses == NatAddresses::None {
        // Flags have a meaning only with addresses.
        close(out, names);
        return;
    }
    names.paint(out, Tone::Param, "=");
    match nat.addresses {
        NatAddresses::None => {}
        NatAddresses::V4(min, max) => {
            value::write_ipv4(out, min);
            if let Some(max) = max.filter(|max| *max != min) {
                out.push('-');
                value::write_ipv4(out, max);
            }
        }
        NatAddresses::V6(min, max) => {
            let bracket = nat.ports.is_some();
            write_v6(out, min, bracket);
            if let Some(max) = max.filter(|max| *max != min) {
                out.push('-');
                write_v6(out, max, bracket);
            }
        }
    }
    if let Some((min, max)) = nat.ports {
        put!(out, ":{min}");
        if let Some(max) = max.filter(|max| *max != min) {
            put!(out, "-{max}");
        }
    }
    for (on, word) in [
        (nat.persistent, "persistent"),
        (nat.hash, "hash"),
        (nat.random, "random"),
    ] {
        if on {
            out.push(',');
            names.paint(out, Tone::Value, word);
        }
    }
    close(out, names);
}

fn write_v6(out: &mut String, addr: u128, bracket: bool) {
    let addr = Ipv6Addr::from(addr);
    if bracket {
        put!(out, "[{addr}]");
    } else {
        put!(out, "{addr}");
    }
}

pub(super) fn learn(out: &mut String, name: &str, learn: &Learn, names: &Names) {
    names.label(out, Tone::Learn, name, "(");
    names.paint(out, Tone::Special, "table=");
    names.write_table(out, learn.table_id);
    // Where the comma is in the colour of the name, it is in Open vSwitch too.
    for (name, n, default, tone) in [
        ("idle_timeout=", learn.idle_timeout, 0, Tone::Param),
        ("hard_timeout=", learn.hard_timeout, 0, Tone::Param),
        ("fin_idle_timeout=", learn.fin_idle_timeout, 0, Tone::Param),
        (",fin_hard_timeout=", learn.fin_hard_timeout, 0, Tone::Param),
        (
            ",priority=",
            learn.priority,
            DEFAULT_PRIORITY,
            Tone::Special,
        ),
    ] {
        if n != default {
            if !name.starts_with(',') {
                out.push(',');
            }
            names.paint(out, tone, name);
            put!(out, "{n}");
        }
    }
    for (on, word) in [
        (learn.send_flow_rem, "send_flow_rem"),
        (learn.delete_learned, "delete_learned"),
    ] {
        if on {
            out.push(',');
            names.paint(out, Tone::Value, word);
        }
    }
    if learn.cookie != 0 {
        out.push(',');
        names.paint(out, Tone::Param, "cookie=");
        put!(out, "{:#x}", learn.cookie);
    }
    if learn.limit != 0 {
        out.push(',');
        names.paint(out, Tone::Param, "limit=");
        put!(out, "{}", learn.limit);
    }
    if let Some(dst) = learn.result_dst {
        out.push(',');
        names.paint(out, Tone::Param, "result_dst=");
        subfield::write(out, dst);
    }
    for spec in &learn.specs {
        out.push(',');
        learn_spec(out, spec, names);
    }
    names.paint(out, Tone::Learn, ")");
}

fn learn_spec(out: &mut String, spec: &LearnSpec, names: &Names) {
    let special = |out: &mut String, text| names.paint(out, Tone::Special, text);
    match (spec.src, spec.dst) {
        (LearnSrc::Value(v), LearnDst::Match(dst)) if dst.is_whole() => {
            names.label(out, Tone::Param, dst.field.name(), "=");
            fields::write(out, dst.field, v, fields::full_mask(dst.field), names);
        }
        (LearnSrc::Value(v), LearnDst::Match(dst)) => {
            names.label(out, Tone::Param, &subfield_text(dst), "=");
            value::write_hex(out, v);
        }
        (LearnSrc::Field(src), LearnDst::Match(dst)) => {
            names.paint(out, Tone::Param, &subfield_text(dst));
            if src != dst {
                names.paint(out, Tone::Param, "=");
                subfield::write(out, src);
            }
        }
        (LearnSrc::Value(v), LearnDst::Load(dst)) => {
            special(out, "load:");
            value::write_hex(out, v);
            special(out, "->");
            subfield::write(out, dst);
        }
        (LearnSrc::Field(src), LearnDst::Load(dst)) => {
            special(out, "load:");
            subfield::write(out, src);
            special(out, "->");
            subfield::write(out, dst);
        }
        (LearnSrc::Field(src), LearnDst::Output) => {
            special(out, "output:");
            subfield::write(out, src);
        }
        (LearnSrc::Value(v), LearnDst::Output) => {
            special(out, "output:");
            value::write_hex(out, v);
        }
    }
}

fn subfield_text(part: Subfield) -> String {
    let mut text = String::new();
    subfield::write(&mut text, part);
    text
}
