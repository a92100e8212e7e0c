//! Flow statistics and flow-mods to text, as `ovs-ofctl dump-flows` and its message printer show
//! them.
//!
//! Source: ovs-ofctl(8), "Table Entry Output"; the order and spelling are Open vSwitch 3.1's.

use std::cmp::Ordering;
use std::fmt::Write;
use std::time::Duration;

use packet::OfPort;

use super::action_print;
use super::colors::Tone;
use super::matches::{self, Context};
use super::ports::Names;
use crate::field::Field;
use crate::message::{
    AggregateStats, FlowCounts, FlowMod, FlowModCommand, FlowModFlags, FlowStats, FlowStatsRequest,
    NO_BUFFER, TABLE_ALL,
};
use crate::version::Version;

/// Seconds: whole, or with three decimals when milliseconds say all, or with up to nine.
pub fn write_duration(out: &mut String, duration: Duration) {
    let _ = write!(out, "{}", duration.as_secs());
    match duration.subsec_nanos() {
        0 => {}
        ns if ns % 1_000_000 == 0 => {
            let _ = write!(out, ".{:03}", ns / 1_000_000);
        }
        ns => {
            let decimals = format!("{ns:09}");
            let _ = write!(out, ".{}", decimals.trim_end_matches('0'));
        }
    }
    out.push('s');
}

/// Each flag followed by a space.
pub fn write_flags(out: &mut String, flags: FlowModFlags) {
    for (set, name) in [
        (flags.send_flow_rem, "send_flow_rem "),
        (flags.check_overlap, "check_overlap "),
        (flags.reset_counts, "reset_counts "),
        (flags.no_packet_counts, "no_packet_counts "),
        (flags.no_byte_counts, "no_byte_counts "),
        (flags.emergency, "emerg "),
    ] {
        if set {
            out.push_str(name);
        }
    }
}

/// One flow of `dump-flows`, with its leading space and without a newline.
///
/// Without `stats`, duration, counts and ages are left out, and cookie and table when zero.
pub fn write_flow_stats(
    out: &mut String,
    flow: &FlowStats,
    version: Version,
    names: &Names,
    stats: bool,
) {
    let param = |out: &mut String, name| names.label(out, Tone::Param, name, "=");
    out.push(' ');
    if stats || flow.cookie != 0 {
        param(out, "cookie");
        let _ = write!(out, "0x{:x}, ", flow.cookie);
    }
    if stats {
        param(out, "duration");
        write_duration(out, flow.duration);
        out.push_str(", ");
    }
    if stats || flow.table_id != 0 {
        names.label(out, Tone::Special, "table", "=");
        names.write_table(out, flow.table_id);
        out.push_str(", ");
    }
    if stats {
        param(out, "n_packets");
        let _ = write!(out, "{}, ", flow.packet_count);
        param(out, "n_bytes");
        let _ = write!(out, "{}, ", flow.byte_count);
    }
    if flow.idle_timeout != 0 {
        param(out, "idle_timeout");
        let _ = write!(out, "{}, ", flow.idle_timeout);
    }
    if flow.hard_timeout != 0 {
        param(out, "hard_timeout");
        let _ = write!(out, "{}, ", flow.hard_timeout);
    }
    write_flags(out, flow.flags);
    if flow.importance != 0 {
        param(out, "importance");
        let _ = write!(out, "{}, ", flow.importance);
    }
    if stats {
        if let Some(age) = flow.idle_age {
            param(out, "idle_age");
            let _ = write!(out, "{age}, ");
        }
        if let Some(age) = flow.hard_age
            && u64::from(age) != flow.duration.as_secs()
        {
            param(out, "hard_age");
            let _ = write!(out, "{age}, ");
        }
    }
    let context = Context {
        priority: Some(flow.priority),
        ..Context::default()
    };
    matches::write_with(out, &flow.fields, names, context);
    if !out.ends_with(' ') {
        out.push(' ');
    }
    names.label(out, Tone::Actions, "actions", "=");
    action_print::write(out, &flow.actions, version, names);
}

/// One flow of `OFPMP_FLOW_STATS`, with its leading space and without a newline.
pub fn write_flow_counts(out: &mut String, flow: &FlowCounts, names: &Names) {
    out.push(' ');
    if let Some(duration) = flow.duration {
        out.push_str("duration=");
        write_duration(out, duration);
        out.push_str(", ");
    }
    out.push_str("table=");
    names.write_table(out, flow.table_id);
    out.push_str(", ");
    for (name, count) in [
        ("n_packets", flow.packet_count),
        ("n_bytes", flow.byte_count),
        ("idle_age", flow.idle.map(|idle| idle.as_secs())),
    ] {
        if let Some(count) = count {
            let _ = write!(out, "{name}={count}, ");
        }
    }
    let context = Context {
        priority: Some(flow.priority),
        ..Context::default()
    };
    matches::write_with(out, &flow.fields, names, context);
}

/// A flow-mod as the message printer shows it, without the message's name.
pub fn write_flow_mod(out: &mut String, fm: &FlowMod, version: Version, names: &Names) {
    out.push_str(match fm.command {
        FlowModCommand::Add => "ADD",
        FlowModCommand::Modify => "MOD",
        FlowModCommand::ModifyStrict => "MOD_STRICT",
        FlowModCommand::Delete => "DEL",
        FlowModCommand::DeleteStrict => "DEL_STRICT",
    });
    if let Some(table) = fm.table_id.filter(|t| *t != 0) {
        out.push_str(" table:");
        names.write_table(out, table);
    }
    out.push(' ');
    let context = Context {
        priority: Some(fm.priority),
        ..Context::default()
    };
    matches::write_with(out, &fm.fields, names, context);
    if !out.ends_with(' ') {
        out.push(' ');
    }
    if fm.new_cookie != 0 && fm.new_cookie != u64::MAX {
        let _ = write!(out, "cookie:0x{:x} ", fm.new_cookie);
    }
    if fm.cookie_mask != 0 {
        let _ = write!(out, "cookie:0x{:x}/0x{:x} ", fm.cookie, fm.cookie_mask);
    }
    if fm.idle_timeout != 0 {
        let _ = write!(out, "idle:{} ", fm.idle_timeout);
    }
    if fm.hard_timeout != 0 {
        let _ = write!(out, "hard:{} ", fm.hard_timeout);
    }
    if fm.importance != 0 {
        let _ = write!(out, "importance:{} ", fm.importance);
    }
    if fm.buffer_id != NO_BUFFER {
        let _ = write!(out, "buf:0x{:x} ", fm.buffer_id);
    }
    if fm.out_port != OfPort::ANY {
        out.push_str("out_port:");
        names.write_port(out, fm.out_port);
        out.push(' ');
    }
    // 1.0 and 1.1 always reset them and have no flag for it.
    let reset_counts = fm.flags.reset_counts && version >= Version::Of12;
    let flags = FlowModFlags {
        reset_counts,
        ..fm.flags
    };
    write_flags(out, flags);
    out.push_str("actions=");
    action_print::write(out, &fm.actions, version, names);
}

/// What to sort flows by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SortKey {
    Priority,
    Field(Field),
}

/// A sort criterion of `--sort` or `--rsort`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sort {
    pub key: SortKey,
    pub descending: bool,
}

/// Orders flows by `keys`, the first one first; flows that do not mention a field come last.
pub fn compare(a: &FlowStats, b: &FlowStats, keys: &[Sort]) -> Ordering {
    for sort in keys {
        let order = match sort.key {
            SortKey::Priority => a.priority.cmp(&b.priority),
            SortKey::Field(field) => {
                let (a, b) = (a.fields.get(field), b.fields.get(field));
                match (a, b) {
                    (None, None) => Ordering::Equal,
                    // Last, whichever the direction.
                    (None, Some(_)) => return Ordering::Greater,
                    (Some(_), None) => return Ordering::Less,
                    (Some((a, _)), Some((b, _))) => a.cmp(&b),
                }
            }
        };
        let order = if sort.descending {
            order.reverse()
        } else {
            order
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// A port number in a statistic, or `?` for a counter that is not kept.
pub fn write_counter(out: &mut String, n: u64) {
    if n == u64::MAX {
        out.push('?');
    } else {
        let _ = write!(out, "{n}");
    }
}

/// The filter of a statistics request.
pub fn write_stats_request(out: &mut String, request: &FlowStatsRequest, names: &Names) {
    if request.table_id != TABLE_ALL {
        out.push_str(" table=");
        names.write_table(out, request.table_id);
    }
    if request.out_port != OfPort::ANY {
        out.push_str(" out_port=");
        names.write_port(out, request.out_port);
    }
    if !request.fields.is_empty() {
        out.push(' ');
        matches::write(out, &request.fields, names);
    }
}

pub fn write_aggregate(out: &mut String, stats: &AggregateStats) {
    let _ = write!(
        out,
        " packet_count={} byte_count={} flow_count={}",
        stats.packet_count, stats.byte_count, stats.flow_count
    );
}
