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
        out.push_str("drop");
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
    match action {
        Action::Output { port, max_len } => write_output(out, *port, *max_len, names),
        Action::Controller(c) => parts::controller(out, c),
        Action::OutputReg { src, .. } => {
            out.push_str("output:");
            subfield::write(out, *src);
        }
        Action::OutputTrunc { port, max_len } => {
            out.push_str("output(port=");
            names.write_port(out, *port);
            put!(out, ",max_len={max_len})");
        }
        Action::Enqueue { port, queue } => {
            put!(out, "{name}:");
            names.write_port(out, *port);
            put!(out, ":{queue}");
        }
        Action::SetQueue(n) | Action::Group(n) | Action::Meter(n) => put!(out, "{name}:{n}"),
        Action::Bundle(b) => parts::bundle(out, name, b, names),
        Action::Multipath(m) => parts::multipath(out, name, m),

        Action::SetVlanVid(n)
        | Action::SetVlanVidIfTagged(n)
        | Action::SetTpSrc(n)
        | Action::SetTpDst(n) => put!(out, "{name}:{n}"),
        Action::SetVlanPcp(n)
        | Action::SetVlanPcpIfTagged(n)
        | Action::SetNwTos(n)
        | Action::SetIpEcn(n)
        | Action::SetIpTtl(n) => put!(out, "{name}:{n}"),
        Action::StripVlan => out.push_str(match version {
            Version::Of10 => Form::StripVlan.name(),
            _ => Form::PopVlan.name(),
        }),
        Action::PushVlan(kind)
        | Action::PushMpls(kind)
        | Action::PopMpls(kind)
        | Action::PushPbb(kind) => put!(out, "{name}:0x{kind:04x}"),
        Action::SetMplsLabel(label) => put!(out, "{name}({label})"),
        Action::SetMplsTc(n) | Action::SetMplsTtl(n) => put!(out, "{name}({n})"),
        Action::Encap(encap) => parts::encap(out, name, encap),
        Action::Decap(packet_type) => parts::decap(out, name, *packet_type),

        Action::SetEthSrc(addr) | Action::SetEthDst(addr) => put!(out, "{name}:{addr}"),
        Action::SetIpv4Src(addr) | Action::SetIpv4Dst(addr) => {
            put!(out, "{name}:");
            value::write_ipv4(out, *addr);
        }
        Action::DecTtl(ids) => write_dec_ttl(out, ids),
        Action::SetTunnel { id, .. } => {
            let wide = u32::try_from(*id).is_err();
            let name = if wide { Form::SetTunnel64.name() } else { name };
            put!(out, "{name}:");
            value::write_hex(out, (*id).into());
        }

        Action::SetField { field, value, mask } => {
            put!(out, "{name}:");
            fields::write(out, *field, *value, *mask, names);
            put!(out, "->{}", field.name());
        }
        Action::RegLoad { dst, value } => {
            put!(out, "{name}:");
            value::write_hex(out, u128::from(*value));
            out.push_str("->");
            subfield::write(out, *dst);
        }
        Action::RegMove { src, dst } => {
            put!(out, "{name}:");
            subfield::write(out, *src);
            out.push_str("->");
            subfield::write(out, *dst);
        }
        Action::StackPush(part) | Action::StackPop(part) => {
            put!(out, "{name}:");
            subfield::write(out, *part);
        }
        Action::DeleteField(field) => put!(out, "{name}:{}", field.name()),
        Action::CheckPktLarger { len, dst } => {
            put!(out, "{name}({len})->");
            subfield::write(out, *dst);
        }

        Action::Resubmit {
            in_port,
            table,
            with_ct,
        } => write_resubmit(out, *in_port, *table, *with_ct, names),
        Action::Clone(actions) | Action::WriteActions(actions) => {
            put!(out, "{name}(");
            write(out, actions, version, names);
            out.push(')');
        }
        Action::Learn(learn) => parts::learn(out, name, learn, names),
        Action::Conjunction {
            id,
            clause,
            n_clauses,
        } => put!(out, "{name}({id},{}/{n_clauses})", u16::from(*clause) + 1),
        Action::FinTimeout { idle, hard } => {
            let timeouts = [("idle_timeout", idle), ("hard_timeout", hard)];
            let set = timeouts.iter().filter(|(_, n)| **n != 0);
            let set: Vec<String> = set.map(|(name, n)| format!("{name}={n}")).collect();
            put!(out, "{name}({})", set.join(","));
        }
        Action::Sample(sample) => parts::sample(out, name, sample, names),
        Action::Ct(ct) => parts::ct(out, name, ct, version, names),
        Action::Nat(nat) => parts::nat(out, name, nat),
        Action::Note(bytes) => {
            put!(out, "{name}:");
            value::write_bytes(out, bytes);
        }

        Action::WriteMetadata { value, mask } => {
            put!(out, "{name}:");
            value::write_hex(out, u128::from(*value));
            if *mask != u64::MAX {
                out.push('/');
                value::write_hex(out, u128::from(*mask));
            }
        }
        Action::StatTrigger { flags, thresholds } => {
            put!(out, "{name}(flags={flags:#x},thresholds=");
            value::write_bytes(out, thresholds);
            out.push(')');
        }
        Action::GotoTable(table) => {
            put!(out, "{name}:");
            names.write_table(out, *table);
        }
        Action::PopQueue
        | Action::DecMplsTtl
        | Action::CopyTtlOut
        | Action::CopyTtlIn
        | Action::PopPbb
        | Action::DecNshTtl
        | Action::CtClear
        | Action::Exit
        | Action::ClearActions => out.push_str(name),
    }
}

fn write_output(out: &mut String, port: OfPort, max_len: u16, names: &Names) {
    if port == OfPort::CONTROLLER {
        put!(out, "CONTROLLER:{max_len}");
    } else if let Some(word) = keyword_of(port) {
        out.push_str(word);
    } else {
        out.push_str("output:");
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

fn write_dec_ttl(out: &mut String, ids: &[u16]) {
    out.push_str("dec_ttl");
    if ids == [0] {
        return;
    }
    let ids: Vec<String> = ids.iter().map(u16::to_string).collect();
    put!(out, "({})", ids.join(","));
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
            out.push_str("resubmit:");
            names.write_port(out, port);
        }
        (port, table) => {
            out.push_str("resubmit(");
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
            out.push(')');
        }
    }
}
