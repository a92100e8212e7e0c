//! Bundle control and bundle add messages.

use std::fmt::Write;

use super::Style;
use crate::message::{BundleAdd, BundleControl, BundleControlKind, BundleFlags};
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
