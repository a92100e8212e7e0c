//! Group messages as text.

use std::fmt::Write;

use super::switch;
use crate::field::low_bits;
use crate::message::{
    BUCKET_ALL, BUCKET_FIRST, BUCKET_LAST, Bucket, GROUP_ALL, GROUP_ANY, GroupCommand, GroupDesc,
    GroupFeatures, GroupMod, GroupStats, GroupType, Selection,
};
use crate::text::message::Style;
use crate::text::{action_print, fields, flow_print};
use crate::version::Version;

/// `write!` that cannot fail, because strings take all text.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{ let _ = write!($out, $($arg)*); }};
}

pub fn write_mod(out: &mut String, group_mod: &GroupMod, style: Style<'_>) {
    out.push_str(match group_mod.command {
        GroupCommand::Add => "\n ADD ",
        GroupCommand::Modify => "\n MOD ",
        GroupCommand::AddOrModify => "\n ADD_OR_MOD ",
        GroupCommand::Delete => "\n DEL ",
        GroupCommand::InsertBucket => "\n INSERT_BUCKET ",
        GroupCommand::RemoveBucket => "\n REMOVE_BUCKET ",
    });
    let about_buckets = group_mod.command.is_about_buckets();
    if about_buckets {
        write_bucket_id(
            out,
            "command_bucket_id:",
            group_mod.command_bucket_id,
            style.version,
        );
    }
    put!(out, "group_id={}", group_mod.group_id);
    if !about_buckets {
        write_type(out, group_mod.group_type);
    }
    let selection = group_mod.selection.as_ref();
    write_rest(
        out,
        group_mod.group_type,
        selection,
        &group_mod.buckets,
        style,
    );
}

pub fn write_descs(out: &mut String, groups: &[GroupDesc], style: Style<'_>) {
    for group in groups {
        put!(out, "\n group_id={}", group.group_id);
        write_type(out, group.group_type);
        let selection = group.selection.as_ref();
        write_rest(out, group.group_type, selection, &group.buckets, style);
    }
}

fn write_type(out: &mut String, group_type: GroupType) {
    out.push_str(match group_type {
        GroupType::All => ",type=all",
        GroupType::Select => ",type=select",
        GroupType::Indirect => ",type=indirect",
        GroupType::FastFailover => ",type=ff",
    });
}

/// Selection method and buckets.
fn write_rest(
    out: &mut String,
    group_type: GroupType,
    selection: Option<&Selection>,
    buckets: &[Bucket],
    style: Style<'_>,
) {
    if let Some(selection) = selection {
        write_selection(out, selection, style);
    }
    for bucket in buckets {
        out.push_str(",bucket=");
        write_bucket_id(out, "bucket_id:", bucket.id, style.version);
        if bucket.weight != group_type.default_weight() {
            put!(out, "weight:{},", bucket.weight);
        }
        if bucket.watch_port != packet::OfPort::ANY {
            out.push_str("watch_port:");
            style.names.write_port(out, bucket.watch_port);
            out.push(',');
        }
        if bucket.watch_group != GROUP_ANY {
            put!(out, "watch_group:{},", bucket.watch_group);
        }
        out.push_str("actions=");
        action_print::write(out, &bucket.actions, style.version, style.names);
    }
}

fn write_selection(out: &mut String, selection: &Selection, style: Style<'_>) {
    put!(out, ",selection_method={}", selection.method);
    if selection.param != 0 {
        put!(out, ",selection_method_param={}", selection.param);
    }
    let several = selection.fields.len() > 1;
    for (n, (field, bits)) in selection.fields.iter().enumerate() {
        out.push_str(match (n, several) {
            (0, false) => ",fields=",
            (0, true) => ",fields(",
            _ => ",",
        });
        let info = field.info();
        out.push_str(info.name);
        if *bits != low_bits(u16::from(info.bytes) * 8) {
            out.push('=');
            fields::write(out, *field, *bits, fields::full_mask(*field), style.names);
        }
    }
    if several {
        out.push(')');
    }
}

/// Versions that have no bucket ids show none.
fn write_bucket_id(out: &mut String, label: &str, id: u32, version: Version) {
    if version > Version::Of10 && version < Version::Of15 {
        return;
    }
    out.push_str(label);
    match id {
        BUCKET_FIRST => out.push_str("first,"),
        BUCKET_LAST => out.push_str("last,"),
        BUCKET_ALL => out.push_str("all,"),
        _ => put!(out, "{id},"),
    }
}

/// The group that a request is about.
pub fn write_request(out: &mut String, group_id: u32) {
    out.push_str(" group_id=");
    match group_id {
        GROUP_ALL => out.push_str("ALL"),
        GROUP_ANY => out.push_str("ANY"),
        _ => put!(out, "{group_id}"),
    }
}

pub fn write_stats(out: &mut String, groups: &[GroupStats]) {
    for group in groups {
        put!(out, "\n group_id={},", group.group_id);
        if let Some(duration) = group.duration {
            out.push_str("duration=");
            flow_print::write_duration(out, duration);
            out.push(',');
        }
        put!(
            out,
            "ref_count={},packet_count={},byte_count={}",
            group.ref_count,
            group.counts.packets,
            group.counts.bytes
        );
        for (n, bucket) in group.buckets.iter().enumerate() {
            if bucket.packets != u64::MAX {
                put!(
                    out,
                    ",bucket{n}:packet_count={},byte_count={}",
                    bucket.packets,
                    bucket.bytes
                );
            }
        }
    }
}

/// Bits of actions in 1.2 and later, in the order in which they are shown.
const ACTIONS_12: [(u32, &str); 12] = [
    (0, "output"),
    (22, "group"),
    (25, "set_field"),
    (18, "strip_vlan"),
    (17, "push_vlan"),
    (23, "mod_nw_ttl"),
    (24, "dec_ttl"),
    (15, "set_mpls_ttl"),
    (16, "dec_mpls_ttl"),
    (19, "push_mpls"),
    (20, "pop_mpls"),
    (21, "set_queue"),
];

const ACTIONS_11: [(u32, &str); 23] = [
    (0, "output"),
    (22, "group"),
    (1, "set_vlan_vid"),
    (2, "set_vlan_pcp"),
    (18, "strip_vlan"),
    (17, "push_vlan"),
    (3, "mod_dl_src"),
    (4, "mod_dl_dst"),
    (5, "mod_nw_src"),
    (6, "mod_nw_dst"),
    (7, "mod_nw_tos"),
    (8, "mod_nw_ecn"),
    (23, "mod_nw_ttl"),
    (9, "mod_tp_src"),
    (10, "mod_tp_dst"),
    (24, "dec_ttl"),
    (13, "set_mpls_label"),
    (14, "set_mpls_tc"),
    (15, "set_mpls_ttl"),
    (16, "dec_mpls_ttl"),
    (19, "push_mpls"),
    (20, "pop_mpls"),
    (21, "set_queue"),
];

pub fn write_features(out: &mut String, features: &GroupFeatures, version: Version) {
    put!(
        out,
        "\n Group table:\n    Types:  0x{:x}\n    Capabilities:  0x{:x}\n",
        features.types,
        features.capabilities
    );
    let names: &[(u32, &str)] = match version {
        Version::Of10 => &switch::ACTIONS,
        Version::Of11 => &ACTIONS_11,
        _ => &ACTIONS_12,
    };
    let limits = features.max_groups.iter().zip(features.actions);
    for (group_type, (max_groups, actions)) in GroupType::ALL.into_iter().zip(limits) {
        if features.types & 1 << group_type.wire() == 0 {
            continue;
        }
        let name = match group_type {
            GroupType::All => "all",
            GroupType::Select => "select",
            GroupType::Indirect => "indirect",
            GroupType::FastFailover => "fast failover",
        };
        put!(out, "    {name} group:\n       max_groups=");
        crate::text::value::write_hex(out, u128::from(*max_groups));
        out.push_str("\n       actions:");
        let mut any = false;
        for (bit, name) in names {
            if actions & 1 << bit != 0 {
                put!(out, " {name}");
                any = true;
            }
        }
        out.push_str(if any { "\n" } else { " (none)\n" });
    }
}
