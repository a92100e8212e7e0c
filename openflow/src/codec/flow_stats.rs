//! Flow and aggregate statistics, in the forms of 1.0, of Nicira's extension to it, of 1.1 and of
//! 1.5.
//!
//! Source: OpenFlow 1.0.0, 5.3.5; OpenFlow 1.3.5, 7.3.5.2 and 7.3.5.3; OpenFlow 1.5.1, 7.3.5.2 to
//! 7.3.5.4; `nicira-ext.h`, `struct nx_flow_stats_request` and `nx_flow_stats`.

use std::time::Duration;

use super::action::{self, Encoder};
use super::flow::{
    actions_10, decode_flags, decode_match, duration, encode_match, encode_match_of_reply,
    flags_number, port_16, write_duration,
};
use super::instruction;
use super::kind::Kind;
use super::match10;
use super::nxm::{self, CookieMatch, Unknown};
use super::oxs::Stats;
use super::writer::MessageWriter;
use super::{Dialect, EncodeError};
use crate::action::Action;
use crate::error::OfError;
use crate::message::{
    AggregateStats, Flavor, FlowCounts, FlowModFlags, FlowStats, FlowStatsReply, FlowStatsRequest,
    GROUP_ANY,
};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer};

/// Flow and aggregate requests.
pub(super) fn decode_stats_request(
    r: &mut Reader,
    v: Version,
) -> Result<FlowStatsRequest, DecodeError> {
    match v {
        Version::Of10 => decode_stats_request_10(r),
        _ => decode_stats_request_11(r),
    }
}

/// Flow and aggregate requests of 1.0: match, table(1), pad(1), out_port(2).
fn decode_stats_request_10(r: &mut Reader) -> Result<FlowStatsRequest, DecodeError> {
    let m = match10::decode(r)?;
    let table_id = r.u8()?;
    r.skip(1)?;
    let out_port = port_16(r)?;
    Ok(FlowStatsRequest {
        fields: m.fields,
        table_id,
        out_port,
        ..FlowStatsRequest::all()
    })
}

/// NXST_FLOW and NXST_AGGREGATE requests: out_port(2), match_len(2), table(1), pad(3), match.
pub(super) fn decode_nx_stats_request(r: &mut Reader) -> Result<FlowStatsRequest, DecodeError> {
    let out_port = port_16(r)?;
    let match_len = r.u16()?;
    let table_id = r.u8()?;
    r.skip(3)?;
    r.check_aligned()?;
    let mut cookie = CookieMatch::default();
    let fields = nxm::decode_nx_match(r, match_len, Unknown::Refuse, Some(&mut cookie))?;
    Ok(FlowStatsRequest {
        flavor: Flavor::Nicira,
        fields,
        table_id,
        out_port,
        out_group: GROUP_ANY,
        cookie: cookie.cookie & cookie.mask,
        cookie_mask: cookie.mask,
    })
}

/// Flow and aggregate requests of 1.1 and later: table(1), pad(3), out_port(4), out_group(4),
/// pad(4), cookie(8), cookie_mask(8), match.
fn decode_stats_request_11(r: &mut Reader) -> Result<FlowStatsRequest, DecodeError> {
    let table_id = r.u8()?;
    r.skip(3)?;
    let out_port = action::port_32(r.u32()?)?;
    let out_group = r.u32()?;
    r.skip(4)?;
    let cookie = r.u64()?;
    let cookie_mask = r.u64()?;
    r.check_aligned()?;
    let fields = decode_match(r, Unknown::Refuse)?;
    Ok(FlowStatsRequest {
        flavor: Flavor::Standard,
        fields,
        table_id,
        out_port,
        out_group,
        cookie: cookie & cookie_mask,
        cookie_mask,
    })
}

pub(super) fn encode_stats_request(
    o: &mut MessageWriter,
    request: &FlowStatsRequest,
    kind: Kind,
    nicira: Kind,
) {
    let out_port_16 = request.out_port.to_u16().unwrap_or(u16::MAX);
    match (o.version(), request.flavor) {
        (Version::Of10, Flavor::Standard) => {
            if request.cookie_mask != 0 {
                o.not_expressible("a cookie in a statistics request");
            }
            o.begin(kind);
            if !match10::encode(&mut o.w, &request.fields) {
                o.not_expressible("the match");
            }
            o.w.u8(request.table_id);
            o.w.zeros(1);
            o.w.u16(out_port_16);
        }
        (Version::Of10, Flavor::Nicira) => {
            o.begin(nicira);
            o.w.u16(out_port_16);
            let len_at = o.w.len();
            o.w.u16(0);
            o.w.u8(request.table_id);
            o.w.zeros(3);
            let cookie = CookieMatch {
                cookie: request.cookie,
                mask: request.cookie_mask,
            };
            let start = o.w.len();
            if !nxm::encode_entries(&mut o.w, &request.fields, Version::Of10, cookie) {
                o.not_expressible("the match");
            }
            o.w.patch_len(len_at, start);
            o.w.pad8(start);
        }
        (_, _) => {
            o.begin(kind);
            o.w.u8(request.table_id);
            o.w.zeros(3);
            o.w.u32(request.out_port.0);
            o.w.u32(request.out_group);
            o.w.zeros(4);
            o.w.u64(request.cookie);
            o.w.u64(request.cookie_mask);
            let version = o.version();
            if !encode_match(&mut o.w, &request.fields, version) {
                o.not_expressible("the match");
            }
        }
    }
    if o.version() == Version::Of10 && request.out_group != GROUP_ANY {
        o.not_expressible("a group in a statistics request");
    }
    o.end();
}

/// Aggregate reply: packets(8), bytes(8), flows(4), pad(4); statistics in 1.5.
pub(super) fn decode_aggregate(r: &mut Reader, v: Version) -> Result<AggregateStats, DecodeError> {
    if v >= Version::Of15 {
        let stats = Stats::decode(r)?;
        return Ok(AggregateStats {
            packet_count: stats.packet_count.unwrap_or(u64::MAX),
            byte_count: stats.byte_count.unwrap_or(u64::MAX),
            flow_count: stats.flow_count.unwrap_or(0),
        });
    }
    let packet_count = r.u64()?;
    let byte_count = r.u64()?;
    let flow_count = r.u32()?;
    r.skip(4)?;
    Ok(AggregateStats {
        packet_count,
        byte_count,
        flow_count,
    })
}

pub(super) fn encode_aggregate(o: &mut MessageWriter, flavor: Flavor, stats: &AggregateStats) {
    if o.version() == Version::Of10 && flavor == Flavor::Nicira {
        o.begin(Kind::NxAggregateReply);
    } else {
        o.begin(Kind::AggregateReply);
    }
    if o.version() >= Version::Of15 {
        let stats = Stats {
            packet_count: Some(stats.packet_count),
            byte_count: Some(stats.byte_count),
            flow_count: Some(stats.flow_count),
            ..Stats::default()
        };
        stats.encode(&mut o.w);
    } else {
        o.w.u64(stats.packet_count);
        o.w.u64(stats.byte_count);
        o.w.u32(stats.flow_count);
        o.w.zeros(4);
    }
    o.end_multipart();
}

/// The entries of a flow statistics reply, each with its length first.
pub(super) fn decode_flow_stats(
    r: &mut Reader,
    version: Version,
    flavor: Flavor,
) -> Result<FlowStatsReply, DecodeError> {
    let mut flows = Vec::new();
    while !r.is_empty() {
        let len = usize::from(Reader::new(r.rest(), OfError::BrcBadLen).u16()?);
        let mut entry = r.sub(len, OfError::BrcBadLen)?;
        entry.skip(2)?;
        flows.push(match (version, flavor) {
            (Version::Of10, Flavor::Standard) => decode_flow_stats_10(&mut entry)?,
            (Version::Of10, Flavor::Nicira) => decode_nx_flow_stats(&mut entry)?,
            (Version::Of15, _) => decode_flow_stats_15(&mut entry)?,
            (_, _) => decode_flow_stats_11(&mut entry, version)?,
        });
        entry.done()?;
    }
    Ok(FlowStatsReply { flavor, flows })
}

/// table(1), pad(1), match, duration(8), priority(2), idle(2), hard(2), pad(6), cookie(8),
/// packets(8), bytes(8), actions.
fn decode_flow_stats_10(r: &mut Reader) -> Result<FlowStats, DecodeError> {
    let table_id = r.u8()?;
    r.skip(1)?;
    let m = match10::decode(r)?;
    let duration = duration(r)?;
    let priority = r.u16()?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    r.skip(6)?;
    let cookie = r.u64()?;
    let packet_count = r.u64()?;
    let byte_count = r.u64()?;
    let actions = actions_10(&mut r.sub(r.remaining(), OfError::BacBadLen)?)?;
    Ok(FlowStats {
        fields: m.fields,
        cookie,
        table_id,
        priority: if m.is_exact { u16::MAX } else { priority },
        idle_timeout,
        hard_timeout,
        importance: 0,
        duration,
        idle_age: None,
        hard_age: None,
        packet_count,
        byte_count,
        flags: FlowModFlags::default(),
        actions,
    })
}

/// table(1), pad(1), duration(8), priority(2), idle(2), hard(2), match_len(2), idle_age + 1(2),
/// hard_age + 1(2), cookie(8), packets(8), bytes(8), match, actions.
fn decode_nx_flow_stats(r: &mut Reader) -> Result<FlowStats, DecodeError> {
    let table_id = r.u8()?;
    r.skip(1)?;
    let duration = duration(r)?;
    let priority = r.u16()?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let match_len = r.u16()?;
    let idle_age = r.u16()?.checked_sub(1);
    let hard_age = r.u16()?.checked_sub(1);
    let cookie = r.u64()?;
    let packet_count = r.u64()?;
    let byte_count = r.u64()?;
    let fields = nxm::decode_nx_match(r, match_len, Unknown::Refuse, None)?;
    let actions = actions_10(&mut r.sub(r.remaining(), OfError::BacBadLen)?)?;
    Ok(FlowStats {
        fields,
        cookie,
        table_id,
        priority,
        idle_timeout,
        hard_timeout,
        importance: 0,
        duration,
        idle_age,
        hard_age,
        packet_count,
        byte_count,
        flags: FlowModFlags::default(),
        actions,
    })
}

/// table(1), pad(1), duration(8), priority(2), idle(2), hard(2), flags(2) in 1.3 and later,
/// importance(2) in 1.4, padding up to 6 bytes after hard, cookie(8), packets(8), bytes(8), match,
/// instructions.
fn decode_flow_stats_11(r: &mut Reader, v: Version) -> Result<FlowStats, DecodeError> {
    let table_id = r.u8()?;
    r.skip(1)?;
    let duration = duration(r)?;
    let priority = r.u16()?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let flags = r.u16()?;
    let importance = r.u16()?;
    r.skip(2)?;
    let cookie = r.u64()?;
    let packet_count = r.u64()?;
    let byte_count = r.u64()?;
    let fields = decode_match(r, Unknown::Refuse)?;
    let actions = decode_instructions(r, v)?;
    Ok(FlowStats {
        fields,
        cookie,
        table_id,
        priority,
        idle_timeout,
        hard_timeout,
        importance: if v >= Version::Of14 { importance } else { 0 },
        duration,
        idle_age: None,
        hard_age: None,
        packet_count,
        byte_count,
        flags: match v {
            Version::Of11 | Version::Of12 => FlowModFlags::default(),
            _ => decode_flags(flags, None, v)?,
        },
        actions,
    })
}

/// pad(2), table(1), pad(1), priority(2), idle(2), hard(2), flags(2), importance(2), cookie(8),
/// match, statistics, instructions.
fn decode_flow_stats_15(r: &mut Reader) -> Result<FlowStats, DecodeError> {
    r.skip(2)?;
    let table_id = r.u8()?;
    r.skip(1)?;
    let priority = r.u16()?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let flags = decode_flags(r.u16()?, None, Version::Of15)?;
    let importance = r.u16()?;
    let cookie = r.u64()?;
    let fields = decode_match(r, Unknown::Refuse)?;
    let stats = Stats::decode(r)?;
    let actions = decode_instructions(r, Version::Of15)?;
    let secs = |time: Duration| u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
    Ok(FlowStats {
        fields,
        cookie,
        table_id,
        priority,
        idle_timeout,
        hard_timeout,
        importance,
        duration: stats.duration.unwrap_or_default(),
        idle_age: stats.idle.map(secs),
        hard_age: None,
        packet_count: stats.packet_count.unwrap_or(u64::MAX),
        byte_count: stats.byte_count.unwrap_or(u64::MAX),
        flags,
        actions,
    })
}

fn decode_instructions(r: &mut Reader, v: Version) -> Result<Vec<Action>, DecodeError> {
    let mut rest = r.sub(r.remaining(), OfError::BicBadLen)?;
    instruction::decode_list(&mut rest, v)
}

pub(super) fn encode_flow_stats(o: &mut MessageWriter, reply: &FlowStatsReply) {
    let kind = stats_kind(o.version(), reply.flavor);
    o.parts(kind, &reply.flows, |o, flow| write_flow(o, kind, flow));
}

/// One message of a flow statistics reply, and how many of `items` are in it: as many as fit. It
/// says that more follow when some are left.
///
/// `describe` tells what stands for an item; it may be asked again with the next message.
pub fn flow_stats_part<T>(
    items: &[T],
    describe: impl Fn(&T) -> FlowStats,
    flavor: Flavor,
    dialect: Dialect,
    xid: u32,
) -> Result<(Vec<u8>, usize), EncodeError> {
    let mut o = MessageWriter::new(dialect, xid, false);
    let kind = stats_kind(dialect.version, flavor);
    let taken = o.part(kind, items, &mut |o, item| {
        write_flow(o, kind, &describe(item));
    });
    Ok((o.finish()?, taken))
}

/// As [`flow_stats_part`], for `OFPMP_FLOW_STATS` of 1.5.
pub fn flow_counts_part<T>(
    items: &[T],
    describe: impl Fn(&T) -> FlowCounts,
    dialect: Dialect,
    xid: u32,
) -> Result<(Vec<u8>, usize), EncodeError> {
    let mut o = MessageWriter::new(dialect, xid, false);
    let taken = o.part(Kind::FlowStats15Reply, items, &mut |o, item| {
        write_counts(o, &describe(item));
    });
    Ok((o.finish()?, taken))
}

fn stats_kind(version: Version, flavor: Flavor) -> Kind {
    match (version, flavor) {
        (Version::Of10, Flavor::Nicira) => Kind::NxFlowStatsReply,
        _ => Kind::FlowStatsReply,
    }
}

fn write_flow(o: &mut MessageWriter, kind: Kind, flow: &FlowStats) {
    let start = o.w.len();
    match o.version() {
        Version::Of10 if kind == Kind::NxFlowStatsReply => encode_nx_flow_stats(&mut o.w, flow),
        Version::Of10 => encode_flow_stats_10(&mut o.w, flow),
        Version::Of15 => encode_flow_stats_15(&mut o.w, flow),
        version => encode_flow_stats_11(&mut o.w, flow, version),
    }
    o.w.patch_len(start, start);
}

fn encode_flow_stats_10(w: &mut Writer, f: &FlowStats) {
    w.u16(0);
    w.u8(f.table_id);
    w.zeros(1);
    // What 1.0 cannot express is left out, as for a flow that another version added.
    match10::encode(w, &f.fields);
    write_duration(w, f.duration);
    w.u16(f.priority);
    w.u16(f.idle_timeout);
    w.u16(f.hard_timeout);
    w.zeros(6);
    w.u64(f.cookie);
    w.u64(f.packet_count);
    w.u64(f.byte_count);
    Encoder::new(Version::Of10, &f.fields).list(w, &f.actions);
}

fn encode_nx_flow_stats(w: &mut Writer, f: &FlowStats) {
    let age = |age: Option<u16>| age.map_or(0, |a| a.saturating_add(1));
    w.u16(0);
    w.u8(f.table_id);
    w.zeros(1);
    write_duration(w, f.duration);
    w.u16(f.priority);
    w.u16(f.idle_timeout);
    w.u16(f.hard_timeout);
    let len_at = w.len();
    w.u16(0);
    w.u16(age(f.idle_age));
    w.u16(age(f.hard_age));
    w.u64(f.cookie);
    w.u64(f.packet_count);
    w.u64(f.byte_count);
    let start = w.len();
    nxm::encode_entries(w, &f.fields, Version::Of10, CookieMatch::default());
    w.patch_len(len_at, start);
    w.pad8(start);
    Encoder::new(Version::Of10, &f.fields).list(w, &f.actions);
}

fn encode_flow_stats_11(w: &mut Writer, f: &FlowStats, v: Version) {
    w.u16(0);
    w.u8(f.table_id);
    w.zeros(1);
    write_duration(w, f.duration);
    w.u16(f.priority);
    w.u16(f.idle_timeout);
    w.u16(f.hard_timeout);
    w.u16(if v >= Version::Of13 {
        flags_number(f.flags, v)
    } else {
        0
    });
    w.u16(if v >= Version::Of14 { f.importance } else { 0 });
    w.zeros(2);
    w.u64(f.cookie);
    w.u64(f.packet_count);
    w.u64(f.byte_count);
    encode_match_of_reply(w, &f.fields, v);
    let mut e = Encoder::new(v, &f.fields);
    instruction::encode_list(&mut e, w, &f.actions);
}

fn encode_flow_stats_15(w: &mut Writer, f: &FlowStats) {
    w.zeros(4);
    w.u8(f.table_id);
    w.zeros(1);
    w.u16(f.priority);
    w.u16(f.idle_timeout);
    w.u16(f.hard_timeout);
    w.u16(flags_number(f.flags, Version::Of15));
    w.u16(f.importance);
    w.u64(f.cookie);
    encode_match_of_reply(w, &f.fields, Version::Of15);
    let stats = Stats {
        duration: Some(f.duration),
        idle: f.idle_age.map(|secs| Duration::from_secs(secs.into())),
        packet_count: Some(f.packet_count),
        byte_count: Some(f.byte_count),
        flow_count: None,
    };
    stats.encode(w);
    let mut e = Encoder::new(Version::Of15, &f.fields);
    instruction::encode_list(&mut e, w, &f.actions);
}

/// The entries of `OFPMP_FLOW_STATS`: length(2), pad(2), table(1), reason(1), priority(2), match,
/// statistics.
pub(super) fn decode_counts(r: &mut Reader) -> Result<Vec<FlowCounts>, DecodeError> {
    let mut flows = Vec::new();
    while !r.is_empty() {
        let len = usize::from(Reader::new(r.rest(), OfError::BrcBadLen).u16()?);
        let mut entry = r.sub(len, OfError::BrcBadLen)?;
        entry.skip(4)?;
        let table_id = entry.u8()?;
        let reason = entry.u8()?;
        let priority = entry.u16()?;
        let fields = decode_match(&mut entry, Unknown::Refuse)?;
        let stats = Stats::decode(&mut entry)?;
        entry.done()?;
        flows.push(FlowCounts {
            fields,
            table_id,
            reason,
            priority,
            duration: stats.duration,
            idle: stats.idle,
            packet_count: stats.packet_count,
            byte_count: stats.byte_count,
        });
    }
    Ok(flows)
}

pub(super) fn encode_counts(o: &mut MessageWriter, flows: &[FlowCounts]) {
    o.parts(Kind::FlowStats15Reply, flows, write_counts);
}

fn write_counts(o: &mut MessageWriter, f: &FlowCounts) {
    let start = o.w.len();
    o.w.zeros(4);
    o.w.u8(f.table_id);
    o.w.u8(f.reason);
    o.w.u16(f.priority);
    encode_match_of_reply(&mut o.w, &f.fields, o.dialect.version);
    let stats = Stats {
        duration: f.duration,
        idle: f.idle,
        packet_count: f.packet_count,
        byte_count: f.byte_count,
        flow_count: None,
    };
    stats.encode(&mut o.w);
    o.w.patch_len(start, start);
}
