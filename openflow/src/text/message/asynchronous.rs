//! Packets, removed flows, roles and the asynchronous configuration.

use std::fmt::Write;

use super::{Style, write_hex_dump};
use crate::field::Field;
use crate::message::{
    AsyncConfig, FlowFormat, FlowRemoved, FlowRemovedReason, NO_BUFFER, PacketIn, PacketInFormat,
    PacketOut, Role, RoleMessage,
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
        packet_print::write_packet(out, data);
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

pub fn write_role(out: &mut String, role: &RoleMessage) {
    out.push_str(match role.role {
        Role::NoChange => " role=nochange",
        Role::Equal => " role=equal",
        Role::Master => " role=primary",
        Role::Slave => " role=secondary",
    });
    if let Some(id) = role.generation_id {
        let _ = write!(out, " generation_id={id}");
    }
}

pub fn write_async_config(out: &mut String, config: &AsyncConfig) {
    const PACKET_IN: [&str; 3] = ["no_match", "action", "invalid_ttl"];
    const PORT_STATUS: [&str; 3] = ["add", "delete", "modify"];
    const FLOW_REMOVED: [&str; 6] = [
        "idle",
        "hard",
        "delete",
        "group_delete",
        "meter_delete",
        "eviction",
    ];
    let c = config;
    out.push('\n');
    for (n, (title, packet_in, port_status, flow_removed)) in [
        (
            "primary",
            c.packet_in.master,
            c.port_status.master,
            c.flow_removed.master,
        ),
        (
            "secondary",
            c.packet_in.slave,
            c.port_status.slave,
            c.flow_removed.slave,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        if n > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, " {title}:");
        for (name, bits, reasons) in [
            ("PACKET_IN", packet_in, &PACKET_IN[..]),
            ("PORT_STATUS", port_status, &PORT_STATUS[..]),
            ("FLOW_REMOVED", flow_removed, &FLOW_REMOVED[..]),
            ("ROLE_STATUS", 0, &[][..]),
            ("TABLE_STATUS", 0, &[][..]),
            ("REQUESTFORWARD", 0, &[][..]),
        ] {
            let _ = write!(out, "{name:>16}:");
            let mut none = true;
            for (bit, reason) in reasons.iter().enumerate() {
                if bits & (1 << bit) != 0 {
                    out.push(' ');
                    out.push_str(reason);
                    none = false;
                }
            }
            out.push_str(if none { " (off)\n" } else { "\n" });
        }
    }
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
