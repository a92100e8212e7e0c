//! Flow monitor requests and the updates that answer them.

use std::fmt::Write;

use packet::OfPort;

use super::Style;
use super::asynchronous::removed_reason_name;
use crate::message::{
    FlowChange, FlowEvent, FlowMonitorCommand, FlowMonitorRequest, FlowUpdate, GROUP_ANY, TABLE_ALL,
};
use crate::text::action_print;
use crate::text::matches;

pub fn write_requests(out: &mut String, requests: &[FlowMonitorRequest], style: Style<'_>) {
    for request in requests {
        write_request(out, request, style);
    }
}

fn write_request(out: &mut String, request: &FlowMonitorRequest, style: Style<'_>) {
    let _ = write!(out, "\n id={}", request.id);
    if request.command == FlowMonitorCommand::Delete {
        out.push_str(" command=delete");
        return;
    }
    let flags = request.flags;
    let names: Vec<&str> = [
        (flags.initial, "initial"),
        (flags.add, "add"),
        (flags.delete, "delete"),
        (flags.modify, "modify"),
        (flags.actions, "actions"),
        (flags.own, "own"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    let _ = write!(out, " flags={}", names.join(","));
    if request.out_port != OfPort::ANY {
        out.push_str(" out_port=");
        style.names.write_port(out, request.out_port);
    }
    if request.out_group != GROUP_ANY {
        let _ = write!(out, " out_group={}", request.out_group);
    }
    if request.table_id != TABLE_ALL {
        out.push_str(" table=");
        style.names.write_table(out, request.table_id);
    }
    if !request.fields.is_empty() {
        out.push(' ');
        matches::write(out, &request.fields, style.names);
    }
}

pub fn write_updates(out: &mut String, updates: &[FlowUpdate], style: Style<'_>) {
    for update in updates {
        out.push_str("\n event=");
        match update {
            FlowUpdate::Abbrev { xid } => {
                let _ = write!(out, "ABBREV xid=0x{xid:x}");
            }
            FlowUpdate::Paused => out.push_str("PAUSED"),
            FlowUpdate::Resumed => out.push_str("RESUMED"),
            FlowUpdate::Flow(change) => write_change(out, change, style),
        }
    }
    // The last line does not end in the blank that an empty match leaves.
    out.truncate(out.trim_end_matches(' ').len());
}

fn write_change(out: &mut String, change: &FlowChange, style: Style<'_>) {
    match change.event {
        FlowEvent::Initial => out.push_str("INITIAL"),
        FlowEvent::Added => out.push_str("ADDED"),
        FlowEvent::Modified => out.push_str("MODIFIED"),
        FlowEvent::Deleted(reason) => {
            let _ = write!(out, "DELETED reason={}", removed_reason_name(reason));
        }
    }
    out.push_str(" table=");
    style.names.write_table(out, change.table_id);
    if change.idle_timeout != 0 {
        let _ = write!(out, " idle_timeout={}", change.idle_timeout);
    }
    if change.hard_timeout != 0 {
        let _ = write!(out, " hard_timeout={}", change.hard_timeout);
    }
    match change.cookie {
        0 => out.push_str(" cookie=0 "),
        cookie => {
            let _ = write!(out, " cookie=0x{cookie:x} ");
        }
    }
    matches::write(out, &change.fields, style.names);
    if !change.actions.is_empty() {
        if !out.ends_with(' ') {
            out.push(' ');
        }
        out.push_str("actions=");
        action_print::write(out, &change.actions, style.version, style.names);
    }
}
