//! Action lists to text, as Open vSwitch 3.1 prints them.
//!
//! Some actions are called differently by OpenFlow versions; the caller says which one speaks.

/// `write!` that cannot fail, because strings take all text.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{ let _ = write!($out, $($arg)*); }};
}

mod parts;

use std::fmt::Write;

use packet::OfPort;

use super::colors::Tone;
use super::fields;
use super::ports::{Names, keyword_of};
use super::subfield;
use super::value;
use crate::action::{Action, Form};
use crate::message::PacketInReason;
use crate::version::Version;

/// Prints a list; an empty one drops the packet.
pub fn write(out: &mut String, actions: &[Action], version: Version, names: &Names) {
    if actions.is_empty() {
        names.paint(out, Tone::Drop, "drop");
        return;
    }
    for (n, action) in actions.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        write_one(out, action, version, names);
    }
}

/// Prints one action.
pub fn write_one(out: &mut String, action: &Action, version: Version, names: &Names) {
    let name = action.form().name();
    let param = |out: &mut String| names.label(out, Tone::Param, name, ":");
    let special = |out: &mut String| names.label(out, Tone::Special, name, ":");
    let arrow = |out: &mut String| names.paint(out, Tone::Special, "->");
    let open = |out: &mut String| names.label(out, Tone::Paren, name, "(");
    let close = |out: &mut String| names.paint(out, Tone::Paren, ")");
    match action {
        Action::Output { port, max_len } => write_output(out, *port, *max_len, names),
        Action::Controller(c) => parts::controller(out, c, names),
        Action::OutputReg { src, .. } => {
            names.paint(out, Tone::Special, "output:");
            subfield::write(out, *src);
        }
        Action::OutputTrunc { port, max_len } => {
            names.paint(out, Tone::Special, "output");
            out.push_str("(port=");
            names.write_port(out, *port);
            put!(out, ",max_len={max_len})");
        }
        Action::Enqueue { port, queue } => {
            param(out);
            names.write_port(out, *port);
            put!(out, ":{queue}");
        }
        Action::Group(n) => {
            special(out);
            put!(out, "{n}");
        }
        Action::SetQueue(n) | Action::Meter(n) => {
            param(out);
            put!(out, "{n}");
        }
        Action::Bundle(b) => parts::bundle(out, name, b, names),
        Action::Multipath(m) => parts::multipath(out, name, m, names),

        Action::SetVlanVid(n)
        | Action::SetVlanVidIfTagged(n)
        | Action::SetTpSrc(n)
        | Action::SetTpDst(n) => {
            param(out);
            put!(out, "{n}");
        }
        Action::SetVlanPcp(n)
        | Action::SetVlanPcpIfTagged(n)
        | Action::SetNwTos(n)
        | Action::SetIpEcn(n)
        | Action::SetIpTtl(n) => {
            param(out);
            put!(out, "{n}");
        }
        Action::StripVlan => {
            let form = match version {
                Version::Of10 => Form::StripVlan,
                _ => Form::PopVlan,
            };
            names.paint(out, Tone::Value, form.name());
        }
        Action::PushVlan(kind)
        | Action::PushMpls(kind)
        | Action::PopMpls(kind)
        | Action::PushPbb(kind) => {
            param(out);
            put!(out, "0x{kind:04x}");
        }
        Action::SetMplsLabel(label) => {
            open(out);
            put!(out, "{label}");
            close(out);
        }
        Action::SetMplsTc(n) | Action::SetMplsTtl(n) => {
            open(out);
            put!(out, "{n}");
            close(out);
        }
        Action::Encap(encap) => parts::encap(out, name, encap, names),
        Action::Decap(packet_type) => parts::decap(out, name, *packet_type, names),

        Action::SetEthSrc(addr) | Action::SetEthDst(addr) => {
            param(out);
            put!(out, "{addr}");
        }
        Action::SetIpv4Src(addr) | Action::SetIpv4Dst(addr) => {
            param(out);
            value::write_ipv4(out, *addr);
        }
        Action::DecTtl(ids) => write_dec_ttl(out, ids, names),
        Action::SetTunnel { id, .. } => {
            let wide = u32::try_from(*id).is_err();
            let name = if wide { Form::SetTunnel64.name() } else { name };
            names.label(out, Tone::Param, name, ":");
            value::write_hex(out, (*id).into());
        }

        Action::SetField { field, value, mask } => {
            special(out);
            fields::write(out, *field, *value, *mask, names);
            arrow(out);
            out.push_str(field.name());
        }
        Action::RegLoad { dst, value } => {
            special(out);
            value::write_hex(out, u128::from(*value));
            arrow(out);
            subfield::write(out, *dst);
        }
        Action::RegMove { src, dst } => {
            special(out);
            subfield::write(out, *src);
            arrow(out);
            subfield::write(out, *dst);
        }
        Action::StackPush(part) | Action::StackPop(part) => {
            param(out);
            subfield::write(out, *part);
        }
        Action::DeleteField(field) => {
            param(out);
            out.push_str(field.name());
        }
        Action::CheckPktLarger { len, dst } => {
            names.label(out, Tone::Param, name, "(");
            put!(out, "{len})->");
            subfield::write(out, *dst);
        }

        Action::Resubmit {
            in_port,
            table,
            with_ct,
        } => write_resubmit(out, *in_port, *table, *with_ct, names),
        Action::Clone(actions) | Action::WriteActions(actions) => {
            open(out);
            write(out, actions, version, names);
            close(out);
        }
        Action::Learn(learn) => parts::learn(out, name, learn, names),
        Action::Conjunction {
            id,
            clause,
            n_clauses,
        } => {
            open(out);
            put!(out, "{id},{}/{n_clauses}", u16::from(*clause) + 1);
            close(out);
        }
        Action::FinTimeout { idle, hard } => {
            open(out);
            let mut list = parts::List::new(out);
            for (name, n) in [("idle_timeout", idle), ("hard_timeout", hard)] {
                if *n != 0 {
                    let out = list.next();
                    names.label(out, Tone::Param, name, "=");
                    put!(out, "{n}");
                }
            }
            close(out);
        }
        Action::Sample(sample) => parts::sample(out, name, sample, names),
        Action::Ct(ct) => parts::ct(out, name, ct, version, names),
        Action::Nat(nat) => parts::nat(out, name, nat, names),
        Action::Note(bytes) => {
            param(out);
            value::write_bytes(out, bytes);
        }

        Action::WriteMetadata { value, mask } => {
            param(out);
            value::write_hex(out, u128::from(*value));
            if *mask != u64::MAX {
                out.push('/');
                value::write_hex(out, u128::from(*mask));
            }
        }
        Action::StatTrigger { flags, thresholds } => {
            open(out);
            put!(out, "flags={flags:#x},thresholds=");
            value::write_bytes(out, thresholds);
            close(out);
        }
        Action::GotoTable(table) => {
            param(out);
            names.write_table(out, *table);
        }
        Action::PopQueue
        | Action::DecMplsTtl
        | Action::CopyTtlOut
        | Action::CopyTtlIn
        | Action::PopPbb
        | Action::CtClear
        | Action::ClearActions => names.paint(out, Tone::Value, name),
        Action::DecNshTtl | Action::Exit => names.paint(out, Tone::Special, name),
    }
}

fn write_output(out: &mut String, port: OfPort, max_len: u16, names: &Names) {
    if port == OfPort::CONTROLLER {
        put!(out, "CONTROLLER:{max_len}");
    } else if let Some(word) = keyword_of(port) {
        out.push_str(word);
    } else {
        names.paint(out, Tone::Special, "output:");
        names.write_port(out, port);
    }
}

/// As messages and the `controller` action name it.
pub fn reason_name(reason: PacketInReason) -> &'static str {
    match reason {
        PacketInReason::NoMatch => "no_match",
        PacketInReason::Action => "action",
        PacketInReason::InvalidTtl => "invalid_ttl",
        PacketInReason::ActionSet => "action_set",
        PacketInReason::Group => "group",
        PacketInReason::PacketOut => "packet_out",
    }
}

fn write_dec_ttl(out: &mut String, ids: &[u16], names: &Names) {
    names.paint(out, Tone::Paren, "dec_ttl");
    if ids == [0] {
        return;
    }
    let ids: Vec<String> = ids.iter().map(u16::to_string).collect();
    names.paint(out, Tone::Paren, "(");
    out.push_str(&ids.join(","));
    names.paint(out, Tone::Paren, ")");
}

fn write_resubmit(
    out: &mut String,
    port: Option<OfPort>,
    table: Option<u8>,
    with_ct: bool,
    names: &Names,
) {
    match (port, table) {
        (Some(port), None) => {
            // As Open vSwitch prints it, also with ct.
            names.paint(out, Tone::Special, "resubmit:");
            names.write_port(out, port);
        }
        (port, table) => {
            names.paint(out, Tone::Paren, "resubmit(");
            if let Some(port) = port {
                names.write_port(out, port);
            }
            out.push(',');
            if let Some(table) = table {
                names.write_table(out, table);
            }
            if with_ct {
                out.push_str(",ct");
            }
            names.paint(out, Tone::Paren, ")");
        }
    }
}
