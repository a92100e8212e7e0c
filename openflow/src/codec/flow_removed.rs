//! Flow-removed messages, in the forms of 1.0, of Nicira's extension to it, of 1.1 and of 1.5.
//!
//! Source: OpenFlow 1.0.0, 5.4.3; OpenFlow 1.3.5, 7.4.2; OpenFlow 1.5.1, 7.4.2; `nicira-ext.h`,
//! `struct nx_flow_removed`.

use super::flow::{decode_match, duration, encode_match_of_reply, write_duration};
use super::kind::Kind;
use super::match10;
use super::nxm::{self, CookieMatch, Unknown};
use super::oxs::Stats;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{FlowFormat, FlowRemoved, FlowRemovedReason};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, bad};

fn reason(r: &mut Reader) -> Result<FlowRemovedReason, DecodeError> {
    match FlowRemovedReason::from_wire(r.u8()?) {
        Some(reason) => Ok(reason),
        None => bad("reason of a flow's removal", OfError::NxbrcBadReason),
    }
}

/// Reasons that `version` does not have become "delete".
fn reason_number(reason: FlowRemovedReason, version: Version) -> u8 {
    let last = match version {
        Version::Of10 => 2,
        Version::Of11 | Version::Of12 | Version::Of13 => 3,
        _ => 5,
    };
    match reason.wire() {
        n if n <= last => n,
        _ => FlowRemovedReason::Delete.wire(),
    }
}

/// `OFPT_FLOW_REMOVED`.
pub(super) fn decode(r: &mut Reader, v: Version) -> Result<FlowRemoved, DecodeError> {
    match v {
        Version::Of10 => decode_flow_removed_10(r),
        Version::Of15 => decode_flow_removed_15(r),
        _ => decode_flow_removed_11(r),
    }
}

/// `OFPT_FLOW_REMOVED` of 1.0: match, cookie(8), priority(2), reason(1), pad(1), duration(8),
/// idle(2), pad(2), packets(8), bytes(8).
fn decode_flow_removed_10(r: &mut Reader) -> Result<FlowRemoved, DecodeError> {
    let m = match10::decode(r)?;
    let cookie = r.u64()?;
    let priority = r.u16()?;
    let reason = reason(r)?;
    r.skip(1)?;
    let duration = duration(r)?;
    let idle_timeout = r.u16()?;
    r.skip(2)?;
    let packet_count = r.u64()?;
    let byte_count = r.u64()?;
    Ok(FlowRemoved {
        fields: m.fields,
        priority: if m.is_exact { u16::MAX } else { priority },
        reason,
        table_id: None,
        cookie,
        duration,
        idle_timeout,
        hard_timeout: 0,
        packet_count,
        byte_count,
    })
}

/// `NXT_FLOW_REMOVED`: cookie(8), priority(2), reason(1), table + 1(1), duration(8), idle(2),
/// match_len(2), packets(8), bytes(8), match.
pub(super) fn decode_nx_flow_removed(r: &mut Reader) -> Result<FlowRemoved, DecodeError> {
    let cookie = r.u64()?;
    let priority = r.u16()?;
    let reason = reason(r)?;
    let table_id = r.u8()?.checked_sub(1);
    let duration = duration(r)?;
    let idle_timeout = r.u16()?;
    let match_len = r.u16()?;
    let packet_count = r.u64()?;
    let byte_count = r.u64()?;
    let fields = nxm::decode_nx_match(r, match_len, Unknown::Refuse, None)?;
    Ok(FlowRemoved {
        fields,
        priority,
        reason,
        table_id,
        cookie,
        duration,
        idle_timeout,
        hard_timeout: 0,
        packet_count,
        byte_count,
    })
}

/// `OFPT_FLOW_REMOVED` of 1.1 to 1.4: cookie(8), priority(2), reason(1), table(1),
/// duration(8), idle(2), hard(2), packets(8), bytes(8), match.
fn decode_flow_removed_11(r: &mut Reader) -> Result<FlowRemoved, DecodeError> {
    let cookie = r.u64()?;
    let priority = r.u16()?;
    let reason = reason(r)?;
    let table_id = Some(r.u8()?);
    let duration = duration(r)?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let packet_count = r.u64()?;
    let byte_count = r.u64()?;
    let fields = decode_match(r, Unknown::Refuse)?;
    Ok(FlowRemoved {
        fields,
        priority,
        reason,
        table_id,
        cookie,
        duration,
        idle_timeout,
        hard_timeout,
        packet_count,
        byte_count,
    })
}

/// `OFPT_FLOW_REMOVED` of 1.5: table(1), reason(1), priority(2), idle(2), hard(2), cookie(8), match,
/// statistics.
fn decode_flow_removed_15(r: &mut Reader) -> Result<FlowRemoved, DecodeError> {
    let table_id = Some(r.u8()?);
    let reason = reason(r)?;
    let priority = r.u16()?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let cookie = r.u64()?;
    let fields = decode_match(r, Unknown::Refuse)?;
    let stats = Stats::decode(r)?;
    Ok(FlowRemoved {
        fields,
        priority,
        reason,
        table_id,
        cookie,
        duration: stats.duration.unwrap_or_default(),
        idle_timeout,
        hard_timeout,
        packet_count: stats.packet_count.unwrap_or(u64::MAX),
        byte_count: stats.byte_count.unwrap_or(u64::MAX),
    })
}

pub(super) fn encode_flow_removed(o: &mut MessageWriter, fr: &FlowRemoved) {
    let version = o.version();
    let reason = reason_number(fr.reason, version);
    match (version, o.dialect.flow_format) {
        (Version::Of10, FlowFormat::OpenFlow10) => {
            o.begin(Kind::FlowRemoved);
            // What 1.0 cannot express is left out, as for a flow that another version added.
            match10::encode(&mut o.w, &fr.fields);
            o.w.u64(fr.cookie);
            o.w.u16(fr.priority);
            o.w.u8(reason);
            o.w.zeros(1);
            write_duration(&mut o.w, fr.duration);
            o.w.u16(fr.idle_timeout);
            o.w.zeros(2);
            o.w.u64(fr.packet_count);
            o.w.u64(fr.byte_count);
        }
        (Version::Of10, FlowFormat::Nxm) => {
            o.begin(Kind::NxFlowRemoved);
            o.w.u64(fr.cookie);
            o.w.u16(fr.priority);
            o.w.u8(reason);
            o.w.u8(fr.table_id.and_then(|t| t.checked_add(1)).unwrap_or(0));
            write_duration(&mut o.w, fr.duration);
            o.w.u16(fr.idle_timeout);
            let len_at = o.w.len();
            o.w.u16(0);
            o.w.u64(fr.packet_count);
            o.w.u64(fr.byte_count);
            let start = o.w.len();
            nxm::encode_entries(&mut o.w, &fr.fields, version, CookieMatch::default());
            o.w.patch_len(len_at, start);
            o.w.pad8(start);
        }
        (Version::Of15, _) => {
            o.begin(Kind::FlowRemoved);
            o.w.u8(fr.table_id.unwrap_or(0));
            o.w.u8(reason);
            o.w.u16(fr.priority);
            o.w.u16(fr.idle_timeout);
            o.w.u16(fr.hard_timeout);
            o.w.u64(fr.cookie);
            encode_match_of_reply(&mut o.w, &fr.fields, version);
            let stats = Stats {
                duration: Some(fr.duration),
                packet_count: Some(fr.packet_count),
                byte_count: Some(fr.byte_count),
                ..Stats::default()
            };
            stats.encode(&mut o.w);
        }
        (_, _) => {
            o.begin(Kind::FlowRemoved);
            o.w.u64(fr.cookie);
            o.w.u16(fr.priority);
            o.w.u8(reason);
            o.w.u8(fr.table_id.unwrap_or(0));
            write_duration(&mut o.w, fr.duration);
            o.w.u16(fr.idle_timeout);
            o.w.u16(fr.hard_timeout);
            o.w.u64(fr.packet_count);
            o.w.u64(fr.byte_count);
            encode_match_of_reply(&mut o.w, &fr.fields, version);
        }
    }
    o.end();
}
