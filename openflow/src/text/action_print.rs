//! Action lists to text, as Open vSwitch 3.1 prints them.
//!
//! Some actions are called differently by OpenFlow versions; the caller says which one speaks.

use std::fmt::Write;

use packet::OfPort;

use super::fields;
use super::ports::{Names, keyword_of};
use super::subfield;
use super::value;
use crate::action::{Action, CONTROLLER_MAX_LEN_ALL};
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

/// `write!` that cannot fail, because strings take all text.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{ let _ = write!($out, $($arg)*); }};
}

/// Prints one action.
pub fn write_one(out: &mut String, action: &Action, version: Version, names: &Names) {
    match action {
        Action::Output { port, max_len } => write_output(out, *port, *max_len, names),
        Action::Controller {
            max_len,
            controller_id,
            reason,
        } => write_controller(out, *max_len, *controller_id, *reason),
        Action::OutputReg { src, .. } => {
            out.push_str("output:");
            subfield::write(out, *src);
        }
        Action::Enqueue { port, queue } => {
            out.push_str("enqueue:");
            names.write_port(out, *port);
            put!(out, ":{queue}");
        }
        Action::SetQueue(queue) => put!(out, "set_queue:{queue}"),
        Action::PopQueue => out.push_str("pop_queue"),
        Action::Group(group) => put!(out, "group:{group}"),

        Action::SetVlanVid(vid) => put!(out, "mod_vlan_vid:{vid}"),
        Action::SetVlanPcp(pcp) => put!(out, "mod_vlan_pcp:{pcp}"),
        Action::StripVlan => out.push_str(match version {
            Version::Of10 => "strip_vlan",
            _ => "pop_vlan",
        }),
        Action::PushVlan(tpid) => put!(out, "push_vlan:0x{tpid:04x}"),

        Action::SetEthSrc(addr) => put!(out, "mod_dl_src:{addr}"),
        Action::SetEthDst(addr) => put!(out, "mod_dl_dst:{addr}"),
        Action::SetIpv4Src(addr) => {
            out.push_str("mod_nw_src:");
            value::write_ipv4(out, *addr);
        }
        Action::SetIpv4Dst(addr) => {
            out.push_str("mod_nw_dst:");
            value::write_ipv4(out, *addr);
        }
        Action::SetNwTos(tos) => put!(out, "mod_nw_tos:{tos}"),
        Action::SetIpEcn(ecn) => put!(out, "mod_nw_ecn:{ecn}"),
        Action::SetIpTtl(ttl) => put!(out, "mod_nw_ttl:{ttl}"),
        Action::SetTpSrc(port) => put!(out, "mod_tp_src:{port}"),
        Action::SetTpDst(port) => put!(out, "mod_tp_dst:{port}"),
        Action::DecTtl(ids) => write_dec_ttl(out, ids),

        Action::SetField { field, value, mask } => {
            out.push_str("set_field:");
            fields::write(out, *field, *value, *mask, names);
            put!(out, "->{}", field.name());
        }
        Action::RegLoad { dst, value } => {
            out.push_str("load:");
            value::write_hex(out, u128::from(*value));
            out.push_str("->");
            subfield::write(out, *dst);
        }
        Action::RegMove { src, dst } => {
            out.push_str("move:");
            subfield::write(out, *src);
            out.push_str("->");
            subfield::write(out, *dst);
        }
        Action::StackPush(src) => {
            out.push_str("push:");
            subfield::write(out, *src);
        }
        Action::StackPop(dst) => {
            out.push_str("pop:");
            subfield::write(out, *dst);
        }

        Action::Resubmit { in_port, table } => write_resubmit(out, *in_port, *table, names),
        Action::Note(bytes) => {
            out.push_str("note:");
            for (n, byte) in bytes.iter().enumerate() {
                let dot = if n > 0 { "." } else { "" };
                put!(out, "{dot}{byte:02x}");
            }
        }
        Action::Exit => out.push_str("exit"),

        Action::Meter(meter) => put!(out, "meter:{meter}"),
        Action::ClearActions => out.push_str("clear_actions"),
        Action::WriteActions(actions) => {
            out.push_str("write_actions(");
            write(out, actions, version, names);
            out.push(')');
        }
        Action::WriteMetadata { value, mask } => {
            put!(out, "write_metadata:");
            value::write_hex(out, u128::from(*value));
            if *mask != u64::MAX {
                out.push('/');
                value::write_hex(out, u128::from(*mask));
            }
        }
        Action::GotoTable(table) => {
            out.push_str("goto_table:");
            names.write_table(out, *table);
        }
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

fn write_controller(out: &mut String, max_len: u16, id: u16, reason: PacketInReason) {
    if reason == PacketInReason::Action && id == 0 {
        put!(out, "CONTROLLER:{max_len}");
        return;
    }
    let mut parts = Vec::new();
    if reason != PacketInReason::Action {
        parts.push(format!("reason={}", reason_name(reason)));
    }
    if max_len != CONTROLLER_MAX_LEN_ALL {
        parts.push(format!("max_len={max_len}"));
    }
    if id != 0 {
        parts.push(format!("id={id}"));
    }
    put!(out, "controller({})", parts.join(","));
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

fn write_resubmit(out: &mut String, port: Option<OfPort>, table: Option<u8>, names: &Names) {
    match (port, table) {
        (Some(port), None) => {
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
            out.push(')');
        }
    }
}
