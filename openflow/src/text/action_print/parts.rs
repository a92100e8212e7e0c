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
use crate::text::matches::DEFAULT_PRIORITY;
use crate::text::ports::Names;
use crate::text::{fields, subfield, value};
use crate::version::Version;

/// Words with commas between them.
struct List<'a> {
    out: &'a mut String,
    empty: bool,
}

impl List<'_> {
    fn new(out: &mut String) -> List<'_> {
        List { out, empty: true }
    }

    /// The text, behind a comma where one is needed.
    fn next(&mut self) -> &mut String {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        self.out
    }

    fn word(&mut self, word: &str) {
        self.next().push_str(word);
    }
}

pub(super) fn controller(out: &mut String, c: &Controller) {
    let default = Controller::default();
    let plain = Controller {
        max_len: c.max_len,
        ..Controller::default()
    };
    if *c == plain {
        put!(out, "CONTROLLER:{}", c.max_len);
        return;
    }
    out.push_str("controller(");
    let mut list = List::new(out);
    if c.reason != default.reason {
        put!(list.next(), "reason={}", reason_name(c.reason));
    }
    if c.max_len != default.max_len {
        put!(list.next(), "max_len={}", c.max_len);
    }
    if c.controller_id != 0 {
        put!(list.next(), "id={}", c.controller_id);
    }
    if !c.userdata.is_empty() {
        let out = list.next();
        out.push_str("userdata=");
        value::write_bytes(out, &c.userdata);
    }
    if c.pause {
        list.word("pause");
    }
    if let Some(id) = c.meter_id {
        put!(list.next(), "meter_id={id}");
    }
    out.push(')');
}

pub(super) fn bundle(out: &mut String, name: &str, b: &Bundle, names: &Names) {
    let (fields, basis, algorithm) = (b.fields.name(), b.basis, b.algorithm.name());
    put!(out, "{name}({fields},{basis},{algorithm},ofport,");
    if let Some(dst) = b.dst {
        subfield::write(out, dst);
        out.push(',');
    }
    out.push_str("members:");
    let mut list = List::new(out);
    for port in &b.members {
        names.write_port(list.next(), *port);
    }
    out.push(')');
}

pub(super) fn multipath(out: &mut String, name: &str, m: &Multipath) {
    let n_links = u32::from(m.max_link) + 1;
    put!(
        out,
        "{name}({},{},{},{n_links},{},",
        m.fields.name(),
        m.basis,
        m.algorithm.name(),
        m.arg
    );
    subfield::write(out, m.dst);
    out.push(')');
}

pub(super) fn encap(out: &mut String, name: &str, encap: &Encap) {
    let header = match encap.packet_type {
        PACKET_TYPE_ETHERNET => "ethernet",
        PACKET_TYPE_NSH => "nsh",
        PACKET_TYPE_MPLS => "mpls",
        PACKET_TYPE_MPLS_MULTICAST => "mpls_mc",
        _ => "UNKNOWN",
    };
    put!(out, "{name}({header}");
    if !encap.props.is_empty() {
        out.push('(');
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
        out.push(')');
    }
    out.push(')');
}

/// Bytes without the zeros at their front, but one digit at least.
fn write_short_hex(out: &mut String, data: &[u8]) {
    let digits: String = data.iter().map(|b| format!("{b:02x}")).collect();
    match digits.trim_start_matches('0') {
        "" => out.push('0'),
        digits => out.push_str(digits),
    }
}

pub(super) fn decap(out: &mut String, name: &str, packet_type: u32) {
    put!(out, "{name}(");
    if packet_type != PACKET_TYPE_NEXT {
        let (ns, id) = (packet_type >> 16, packet_type & 0xffff);
        put!(out, "packet_type(ns={ns},type=");
        value::write_hex(out, id.into());
        out.push(')');
    }
    out.push(')');
}

pub(super) fn sample(out: &mut String, name: &str, s: &Sample, names: &Names) {
    put!(
        out,
        "{name}(probability={},collector_set_id={},obs_domain_id={},obs_point_id={}",
        s.probability,
        s.collector_set_id,
        s.obs_domain_id,
        s.obs_point_id
    );
    if s.sampling_port != OfPort::ANY {
        out.push_str(",sampling_port=");
        names.write_port(out, s.sampling_port);
    }
    out.push_str(match s.direction {
        SampleDirection::Default => ")",
        SampleDirection::Ingress => ",ingress)",
        SampleDirection::Egress => ",egress)",
    });
}

pub(super) fn ct(out: &mut String, name: &str, ct: &Ct, version: Version, names: &Names) {
    put!(out, "{name}(");
    let mut list = List::new(out);
    if ct.commit {
        list.word("commit");
    }
    if ct.force {
        list.word("force");
    }
    if let Some(table) = ct.table {
        let out = list.next();
        out.push_str("table=");
        names.write_table(out, table);
    }
    match ct.zone {
        CtZone::Number(0) => {}
        CtZone::Number(zone) => put!(list.next(), "zone={zone}"),
        CtZone::Field(src) => {
            let out = list.next();
            out.push_str("zone=");
            subfield::write(out, src);
        }
    }
    // A translation that is first stands for itself.
    let rest = match ct.actions.split_first() {
        Some((Action::Nat(first), rest)) => {
            nat(list.next(), "nat", first);
            rest
        }
        _ => &ct.actions,
    };
    if !rest.is_empty() {
        let out = list.next();
        out.push_str("exec(");
        write(out, rest, version, names);
        out.push(')');
    }
    match HELPERS.iter().find(|(_, port)| *port == ct.alg) {
        Some((helper, _)) => put!(list.next(), "alg={helper}"),
        None if ct.alg == 0 => {}
        None => put!(list.next(), "alg={}", ct.alg),
    }
    out.push(')');
}

pub(super) fn nat(out: &mut String, name: &str, nat: &Nat) {
    out.push_str(name);
    let kind = match nat.kind {
        None => return,
        Some(NatKind::Src) => "src",
        Some(NatKind::Dst) => "dst",
    };
    put!(out, "({kind}");
    if nat.addresses == NatAddresses::None {
        // Flags have a meaning only with addresses.
        out.push(')');
        return;
    }
    out.push('=');
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
        (nat.persistent, ",persistent"),
        (nat.hash, ",hash"),
        (nat.random, ",random"),
    ] {
        if on {
            out.push_str(word);
        }
    }
    out.push(')');
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
    put!(out, "{name}(table=");
    names.write_table(out, learn.table_id);
    for (name, n, default) in [
        ("idle_timeout", learn.idle_timeout, 0),
        ("hard_timeout", learn.hard_timeout, 0),
        ("fin_idle_timeout", learn.fin_idle_timeout, 0),
        ("fin_hard_timeout", learn.fin_hard_timeout, 0),
        ("priority", learn.priority, DEFAULT_PRIORITY),
    ] {
        if n != default {
            put!(out, ",{name}={n}");
        }
    }
    if learn.send_flow_rem {
        out.push_str(",send_flow_rem");
    }
    if learn.delete_learned {
        out.push_str(",delete_learned");
    }
    if learn.cookie != 0 {
        put!(out, ",cookie={:#x}", learn.cookie);
    }
    if learn.limit != 0 {
        put!(out, ",limit={}", learn.limit);
    }
    if let Some(dst) = learn.result_dst {
        out.push_str(",result_dst=");
        subfield::write(out, dst);
    }
    for spec in &learn.specs {
        out.push(',');
        learn_spec(out, spec, names);
    }
    out.push(')');
}

fn learn_spec(out: &mut String, spec: &LearnSpec, names: &Names) {
    match (spec.src, spec.dst) {
        (LearnSrc::Value(v), LearnDst::Match(dst)) if dst.is_whole() => {
            put!(out, "{}=", dst.field.name());
            fields::write(out, dst.field, v, fields::full_mask(dst.field), names);
        }
        (LearnSrc::Value(v), LearnDst::Match(dst)) => {
            subfield::write(out, dst);
            out.push('=');
            value::write_hex(out, v);
        }
        (LearnSrc::Field(src), LearnDst::Match(dst)) => {
            subfield::write(out, dst);
            if src != dst {
                out.push('=');
                subfield::write(out, src);
            }
        }
        (LearnSrc::Value(v), LearnDst::Load(dst)) => {
            out.push_str("load:");
            value::write_hex(out, v);
            write_to(out, dst);
        }
        (LearnSrc::Field(src), LearnDst::Load(dst)) => {
            out.push_str("load:");
            subfield::write(out, src);
            write_to(out, dst);
        }
        (LearnSrc::Field(src), LearnDst::Output) => {
            out.push_str("output:");
            subfield::write(out, src);
        }
        (LearnSrc::Value(v), LearnDst::Output) => {
            out.push_str("output:");
            value::write_hex(out, v);
        }
    }
}

fn write_to(out: &mut String, dst: Subfield) {
    out.push_str("->");
    subfield::write(out, dst);
}
