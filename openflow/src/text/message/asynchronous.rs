//! Packets, removed flows, roles and the asynchronous configuration.

use std::fmt::Write;

use super::{Style, write_hex_dump};
use crate::field::Field;
use crate::message::{
    AsyncConfig, AsyncKind, AsyncMask, Continuation, ControllerStatus, FlowFormat, FlowRemoved,
    FlowRemovedReason, NO_BUFFER, PacketIn, PacketInFormat, PacketOut, Role, RoleMessage,
    RoleReason, RoleStatus,
};
use crate::text::action_print;
use crate::text::colors::Tone;
use crate::text::flow_print::write_duration;
use crate::text::matches::{self, Context};
use crate::text::packet_print;
use crate::text::value;
use crate::version::Version;

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
    if !p.userdata.is_empty() {
        out.push_str(" userdata=");
        value::write_bytes(out, &p.userdata);
        out.push('\n');
    }
    if let Some(continuation) = &p.continuation {
        write_continuation(out, continuation, style);
    }
    write_data(out, &p.data, style);
}

/// Open vSwitch takes the bytes for four numbers of the machine's own order.
fn write_uuid(out: &mut String, bytes: &[u8; 16]) {
    let number = |at: usize| {
        let four = bytes.get(at..).and_then(|b| b.first_chunk());
        u32::from_ne_bytes(*four.unwrap_or(&[0; 4]))
    };
    let (a, b, c, d) = (number(0), number(4), number(8), number(12));
    let _ = write!(
        out,
        "{a:08x}-{:04x}-{:04x}-{:04x}-{:04x}{d:08x}",
        b >> 16,
        b & 0xffff,
        c >> 16,
        c & 0xffff
    );
}

fn write_continuation(out: &mut String, c: &Continuation, style: Style<'_>) {
    if c.bridge != [0; 16] {
        out.push_str(" continuation.bridge=");
        write_uuid(out, &c.bridge);
        out.push('\n');
    }
    if !c.stack.is_empty() {
        out.push_str(" continuation.stack=(top)");
        for entry in &c.stack {
            let digits: String = entry.iter().map(|b| format!("{b:02x}")).collect();
            match digits.trim_start_matches('0') {
                "" => out.push_str(" 0"),
                digits => {
                    let _ = write!(out, " 0x{digits}");
                }
            }
        }
        out.push_str(" (bottom)\n");
    }
    if c.mirrors != 0 {
        let _ = writeln!(out, " continuation.mirrors=0x{:x}", c.mirrors);
    }
    if c.conntracked {
        out.push_str(" continuation.conntracked=true\n");
    }
    for (n, frame) in c.frames.iter().enumerate() {
        out.push_str(if n == 0 {
            " continuation.actions="
        } else {
            ","
        });
        let names = style.names;
        names.paint(out, Tone::Paren, "unroll_xlate(");
        names.paint(out, Tone::Special, "table=");
        let _ = write!(out, "{}, ", frame.table_id);
        names.paint(out, Tone::Param, "cookie=");
        let _ = write!(out, "{}", frame.cookie);
        names.paint(out, Tone::Paren, ")");
        for action in &frame.actions {
            out.push(',');
            action_print::write_one(out, action, style.version, style.names);
        }
    }
    if !c.frames.is_empty() {
        out.push('\n');
    }
    if !c.action_set.is_empty() {
        out.push_str(" continuation.action_set=");
        action_print::write(out, &c.action_set, style.version, style.names);
        out.push('\n');
    }
    if c.odp_port != 0 {
        let _ = writeln!(out, " continuation.odp_port={}", c.odp_port);
    }
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
    if role.short_id != 0 {
        let _ = write!(out, " short_id={}", role.short_id);
    }
}

/// Masks that only 1.5 has are left out where they are empty: Open vSwitch does not know them.
pub fn write_async_config(out: &mut String, config: &AsyncConfig, version: Version) {
    out.push('\n');
    for (n, title) in ["primary", "secondary"].into_iter().enumerate() {
        if n > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, " {title}:");
        let is_shown = |kind: &AsyncKind| {
            let is_old = kind.is_in(Version::Of14);
            is_old || kind.is_in(version) && config.mask(*kind) != AsyncMask::default()
        };
        for kind in AsyncKind::ALL.into_iter().filter(is_shown) {
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
            &[
                (0, "no_match"),
                (1, "action"),
                (2, "invalid_ttl"),
                (3, "action_set"),
                (4, "group"),
                (5, "packet_out"),
            ],
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
        AsyncKind::FlowStats => ("FLOW_STATS", &[(0, "request"), (1, "trigger")]),
        AsyncKind::ControllerStatus => ("CONTROLLER_STATUS", &CONTROLLER_REASONS),
    }
}

const CONTROLLER_REASONS: [(u8, &str); 7] = [
    (0, "request"),
    (1, "channel"),
    (2, "role"),
    (3, "added"),
    (4, "removed"),
    (5, "short_id"),
    (6, "experimenter"),
];

/// Open vSwitch has no text for it.
pub fn write_controller(out: &mut String, status: &ControllerStatus) {
    let wire = status.reason.wire();
    let reason = CONTROLLER_REASONS.iter().find(|(n, _)| *n == wire);
    let _ = write!(
        out,
        "\n short_id={} role={} reason={} channel={}",
        status.short_id,
        role_name(status.role),
        reason.map_or("", |(_, name)| name),
        if status.is_up { "up" } else { "down" },
    );
    if let Some(uri) = &status.uri {
        let _ = write!(out, " uri={uri:?}");
    }
    for property in &status.other {
        let _ = write!(out, " property=0x{:x}", property.kind);
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
