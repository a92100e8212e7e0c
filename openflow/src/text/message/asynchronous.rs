//! Packets, removed flows, roles and the asynchronous configuration.

use std::fmt::Write;

use super::{Style, write_hex_dump};
use crate::field::Field;
use crate::message::{
    AsyncConfig, AsyncKind, FlowFormat, FlowRemoved, FlowRemovedReason, NO_BUFFER, PacketIn,
    PacketInFormat, PacketOut, Role, RoleMessage, RoleReason, RoleStatus,
};
use crate::text::action_print;
use crate::text::flow_print::write_duration;
use crate::text::matches::{self, Context};
use crate::text::packet_print;

/// From this verbosity on, the packet's bytes are shown.
const SHOW_BYTES: u8 = 3;

pub fn write_packet_in(out: &mut String, p: &PacketIn, style: Style<'_>) {
    if p.table_id != 0 {
        out.push_str(" table_id=");
        style.names.write_table(out, p.table_id);
    }
    if p.cookie != u64::MAX {
        let _ = write!(out, " cookie=0x{:x}", p.cookie);
    }
    let _ = write!(out, " total_len={} ", p.total_len);
    matches::write(out, &p.metadata, style.names);
    let _ = write!(out, " (via {})", action_print::reason_name(p.reason));
    let _ = write!(out, " data_len={}", p.data.len());
    let total = usize::from(p.total_len);
    if p.buffer_id == NO_BUFFER {
        out.push_str(" (unbuffered)");
        if total != p.data.len() {
            out.push_str(" (***total_len != data_len***)");
        }
    } else {
        let _ = write!(out, " buffer=0x{:08x}", p.buffer_id);
        if total < p.data.len() {
            out.push_str(" (***total_len < data_len***)");
        }
    }
    out.push('\n');
    write_data(out, &p.data, style);
}

/// The packet in one line, and its bytes when asked for.
fn write_data(out: &mut String, data: &[u8], style: Style<'_>) {
    if style.verbosity > 0 {
        packet_print::write_packet(out, data, style.names);
        out.push('\n');
    }
    if style.verbosity >= SHOW_BYTES {
        write_hex_dump(out, data, false);
    }
}

pub fn write_packet_out(out: &mut String, p: &PacketOut, style: Style<'_>) {
    let fields = p.metadata.clone().with(Field::InPort, p.in_port.0.into());
    out.push(' ');
    matches::write(out, &fields, style.names);
    out.push_str(" actions=");
    action_print::write(out, &p.actions, style.version, style.names);
    if p.buffer_id == NO_BUFFER {
        let _ = write!(out, " data_len={}", p.data.len());
        if style.verbosity > 0 && !p.data.is_empty() {
            out.push('\n');
            write_data(out, &p.data, style);
        }
    } else {
        let _ = write!(out, " buffer=0x{:08x}", p.buffer_id);
    }
}

pub fn write_flow_removed(out: &mut String, r: &FlowRemoved, style: Style<'_>) {
    out.push(' ');
    let context = Context {
        priority: Some(r.priority),
        ..Context::default()
    };
    matches::write_with(out, &r.fields, style.names, context);
    let _ = write!(out, " reason={}", removed_reason_name(r.reason));
    if let Some(table) = r.table_id {
        out.push_str(" table_id=");
        style.names.write_table(out, table);
    }
    if r.cookie != 0 {
        let _ = write!(out, " cookie:0x{:x}", r.cookie);
    }
    out.push_str(" duration");
    write_duration(out, r.duration);
    let _ = write!(out, " idle{}", r.idle_timeout);
    if r.hard_timeout != 0 {
        let _ = write!(out, " hard{}", r.hard_timeout);
    }
    let _ = write!(out, " pkts{} bytes{}", r.packet_count, r.byte_count);
}

pub fn removed_reason_name(reason: FlowRemovedReason) -> &'static str {
    match reason {
        FlowRemovedReason::IdleTimeout => "idle",
        FlowRemovedReason::HardTimeout => "hard",
        FlowRemovedReason::Delete => "delete",
        FlowRemovedReason::GroupDelete => "group_delete",
        FlowRemovedReason::MeterDelete => "meter_delete",
        FlowRemovedReason::Eviction => "eviction",
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::NoChange => "nochange",
        Role::Equal => "equal",
        Role::Master => "primary",
        Role::Slave => "secondary",
    }
}

pub fn write_role(out: &mut String, role: &RoleMessage) {
    let _ = write!(out, " role={}", role_name(role.role));
    if let Some(id) = role.generation_id {
        let _ = write!(out, " generation_id={id}");
    }
}

pub fn write_async_config(out: &mut String, config: &AsyncConfig) {
    out.push('\n');
    for (n, title) in ["primary", "secondary"].into_iter().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, " {title}:");
        for kind in AsyncKind::ALL {
            let (name, reasons) = async_names(kind);
            let _ = write!(out, "{name:>16}:");
            let mask = config.mask(kind);
            let bits = if n > 0 { mask.slave } else { mask.master };
            let mut none = true;
            for (reason, word) in reasons {
                if bits & (1 << reason) != 0 {
                    out.push(' ');
                    out.push_str(word);
                    none = false;
                }
            }
            out.push_str(if none { " (off)\n" } else { "\n" });
        }
    }
}

/// The name of a message and those of its reasons.
fn async_names(kind: AsyncKind) -> (&'static str, &'static [(u8, &'static str)]) {
    match kind {
        AsyncKind::PacketIn => (
            "PACKET_IN",
            &[(0, "no_match"), (1, "action"), (2, "invalid_ttl")],
        ),
        AsyncKind::PortStatus => ("PORT_STATUS", &[(0, "add"), (1, "delete"), (2, "modify")]),
        AsyncKind::FlowRemoved => (
            "FLOW_REMOVED",
            &[
                (0, "idle"),
                (1, "hard"),
                (2, "delete"),
                (3, "group_delete"),
                (4, "meter_delete"),
                (5, "eviction"),
            ],
        ),
        AsyncKind::RoleStatus => (
            "ROLE_STATUS",
            &[
                (0, "primary_request"),
                (1, "configuration_changed"),
                (2, "experimenter_data_changed"),
            ],
        ),
        AsyncKind::TableStatus => ("TABLE_STATUS", &[(3, "vacancy_down"), (4, "vacancy_up")]),
        AsyncKind::RequestForward => (
            "REQUESTFORWARD",
            &[(0, "group_mod_request"), (1, "meter_mod_request")],
        ),
    }
}

pub fn write_role_status(out: &mut String, status: &RoleStatus) {
    let _ = write!(
        out,
        " role={} generation_id={} reason={}",
        role_name(status.role),
        status.generation_id,
        match status.reason {
            RoleReason::MasterRequest => "primary_request",
            RoleReason::Config => "configuration_changed",
            RoleReason::Experimenter => "experimenter_data_changed",
        }
    );
}

pub fn write_flow_format(out: &mut String, format: FlowFormat) {
    out.push_str(match format {
        FlowFormat::OpenFlow10 => " format=openflow10",
        FlowFormat::Nxm => " format=nxm",
    });
}

pub fn write_packet_in_format(out: &mut String, format: PacketInFormat) {
    out.push_str(match format {
        PacketInFormat::Standard => " format=standard",
        PacketInFormat::Nxt => " format=nxt_packet_in",
        PacketInFormat::Nxt2 => " format=nxt_packet_in2",
    });
}
