//! Bundle control and bundle add messages, and what bundles a switch takes.
//!
//! Open vSwitch does not know the last: their text is this program's own.

use std::fmt::Write;

use super::Style;
use crate::message::{
    BundleAdd, BundleControl, BundleControlKind, BundleFeatures, BundleFeaturesRequest,
    BundleFlags, BundleTimes, Property, Time,
};
use crate::text::message_bytes;

pub fn write_control(out: &mut String, control: &BundleControl) {
    let kind = match control.kind {
        BundleControlKind::OpenRequest => "OPEN_REQUEST",
        BundleControlKind::OpenReply => "OPEN_REPLY",
        BundleControlKind::CloseRequest => "CLOSE_REQUEST",
        BundleControlKind::CloseReply => "CLOSE_REPLY",
        BundleControlKind::CommitRequest => "COMMIT_REQUEST",
        BundleControlKind::CommitReply => "COMMIT_REPLY",
        BundleControlKind::DiscardRequest => "DISCARD_REQUEST",
        BundleControlKind::DiscardReply => "DISCARD_REPLY",
    };
    write_id(out, control.bundle_id);
    let _ = write!(out, " type={kind} flags=");
    write_flags(out, control.flags);
}

/// The message in it follows as it would print by itself, on a line of its own.
pub fn write_add(out: &mut String, add: &BundleAdd, style: Style<'_>) {
    write_id(out, add.bundle_id);
    out.push_str(" flags=");
    write_flags(out, add.flags);
    out.push('\n');
    out.push_str(&message_bytes::print(
        &add.raw,
        style.names,
        style.verbosity,
    ));
}

pub fn write_features_request(out: &mut String, request: &BundleFeaturesRequest) {
    let _ = write!(out, "\n flags=0x{:x}", request.flags);
    write_properties(out, request.time.as_ref(), &request.other);
}

pub fn write_features(out: &mut String, features: &BundleFeatures) {
    out.push_str("\n capabilities=");
    write_flags(out, features.capabilities);
    write_properties(out, features.time.as_ref(), &features.other);
}

fn write_properties(out: &mut String, times: Option<&BundleTimes>, other: &[Property]) {
    if let Some(times) = times {
        for (name, time) in [
            ("accuracy", times.accuracy),
            ("max_future", times.max_future),
            ("max_past", times.max_past),
            ("timestamp", times.timestamp),
        ] {
            let Time {
                seconds,
                nanoseconds,
            } = time;
            let _ = write!(out, "\n {name}={seconds}.{nanoseconds:09}s");
        }
    }
    for property in other {
        let _ = write!(out, "\n property 0x{:x}", property.kind);
    }
}

fn write_id(out: &mut String, id: u32) {
    match id {
        0 => out.push_str("\n bundle_id=0"),
        id => {
            let _ = write!(out, "\n bundle_id=0x{id:x}");
        }
    }
}

fn write_flags(out: &mut String, flags: BundleFlags) {
    let mut words = Vec::new();
    for (flag, name) in [
        (BundleFlags::ATOMIC, "atomic"),
        (BundleFlags::ORDERED, "ordered"),
    ] {
        if flags.0 & flag.0 != 0 {
            words.push(name.to_owned());
        }
    }
    let rest = flags.0 & !(BundleFlags::ATOMIC | BundleFlags::ORDERED).0;
    if rest != 0 {
        words.push(format!("0x{rest:x}"));
    }
    match words.is_empty() {
        true => out.push('0'),
        false => out.push_str(&words.join(" ")),
    }
}
