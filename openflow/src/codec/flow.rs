//! Flow-mods, packet-outs, flow-removed messages, and flow and aggregate statistics, each in
//! the forms of 1.0, of Nicira's extension to it, and of 1.3.
//!
//! Source: OpenFlow 1.0.0, 5.3.3, 5.3.5, 5.3.6, 5.4.3; OpenFlow 1.3.5, 7.3.4.1, 7.3.5.2, 7.3.5.3,
//! 7.3.7, 7.4.2; `nicira-ext.h`, `struct nx_flow_mod`, `nx_flow_removed`, `nx_flow_stats`.

use std::time::Duration;

use bytes::Bytes;
use packet::OfPort;

use super::Dialect;
use super::action::{self, Encoder};
use super::instruction;
use super::kind::OFPT_PACKET_OUT;
use super::kind::{NXST_AGGREGATE, NXST_FLOW, NXT_FLOW_MOD, NXT_FLOW_REMOVED};
use super::kind::{OFPMP_AGGREGATE, OFPMP_FLOW, OFPT_FLOW_MOD, OFPT_FLOW_REMOVED};
use super::match10;
use super::nxm::{self, CookieMatch, Unknown};
use super::writer::MessageWriter;
use crate::action::Action;
use crate::error::OfError;
use crate::flow_match::Match;
use crate::message::{
    AggregateStats, Flavor, FlowFormat, FlowMod, FlowModCommand, FlowModFlags, FlowRemoved,
    FlowRemovedReason, FlowStats, FlowStatsReply, FlowStatsRequest, GROUP_ANY, PacketOut,
    TABLE_ALL,
};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

const OFPFF_SEND_FLOW_REM: u16 = 1 << 0;
const OFPFF_CHECK_OVERLAP: u16 = 1 << 1;
const OFPFF10_EMERG: u16 = 1 << 2;
const OFPFF_RESET_COUNTS: u16 = 1 << 2;
const OFPFF_NO_PKT_COUNTS: u16 = 1 << 3;
const OFPFF_NO_BYT_COUNTS: u16 = 1 << 4;

/// In a reply: the cookie of "no cookie".
const COOKIE_NONE: u64 = u64::MAX;

/// Reads the 16-bit port of 1.0.
fn port_16(r: &mut Reader) -> Result<OfPort, DecodeError> {
    Ok(OfPort::from_u16(r.u16()?))
}

fn command(n: u16) -> Result<FlowModCommand, DecodeError> {
    match n {
        0 => Ok(FlowModCommand::Add),
        1 => Ok(FlowModCommand::Modify),
        2 => Ok(FlowModCommand::ModifyStrict),
        3 => Ok(FlowModCommand::Delete),
        4 => Ok(FlowModCommand::DeleteStrict),
        _ => bad("flow-mod command", OfError::FmfcBadCommand),
    }
}

fn command_number(c: FlowModCommand) -> u8 {
    match c {
        FlowModCommand::Add => 0,
        FlowModCommand::Modify => 1,
        FlowModCommand::ModifyStrict => 2,
        FlowModCommand::Delete => 3,
        FlowModCommand::DeleteStrict => 4,
    }
}

fn is_delete(c: FlowModCommand) -> bool {
    matches!(c, FlowModCommand::Delete | FlowModCommand::DeleteStrict)
}

/// Additions of 1.0 always reset the counters; it has no flag for that.
fn flags_10(flags: u16, command: FlowModCommand) -> Result<FlowModFlags, DecodeError> {
    if flags & !(OFPFF_SEND_FLOW_REM | OFPFF_CHECK_OVERLAP | OFPFF10_EMERG) != 0 {
        return bad("flow-mod flags", OfError::FmfcBadFlags);
    }
    Ok(FlowModFlags {
        send_flow_rem: flags & OFPFF_SEND_FLOW_REM != 0,
        check_overlap: flags & OFPFF_CHECK_OVERLAP != 0,
        emergency: flags & OFPFF10_EMERG != 0,
        reset_counts: command == FlowModCommand::Add,
        ..FlowModFlags::default()
    })
}

fn flags_13(flags: u16) -> Result<FlowModFlags, DecodeError> {
    const ALL: u16 = OFPFF_SEND_FLOW_REM
        | OFPFF_CHECK_OVERLAP
        | OFPFF_RESET_COUNTS
        | OFPFF_NO_PKT_COUNTS
        | OFPFF_NO_BYT_COUNTS;
    if flags & !ALL != 0 {
        return bad("flow-mod flags", OfError::FmfcBadFlags);
    }
    Ok(FlowModFlags {
        send_flow_rem: flags & OFPFF_SEND_FLOW_REM != 0,
        check_overlap: flags & OFPFF_CHECK_OVERLAP != 0,
        emergency: false,
        reset_counts: flags & OFPFF_RESET_COUNTS != 0,
        no_packet_counts: flags & OFPFF_NO_PKT_COUNTS != 0,
        no_byte_counts: flags & OFPFF_NO_BYT_COUNTS != 0,
    })
}

fn flags_number(flags: FlowModFlags, version: Version) -> u16 {
    let bit = |on: bool, bit: u16| if on { bit } else { 0 };
    let common = bit(flags.send_flow_rem, OFPFF_SEND_FLOW_REM)
        | bit(flags.check_overlap, OFPFF_CHECK_OVERLAP);
    match version {
        Version::Of10 => common | bit(flags.emergency, OFPFF10_EMERG),
        Version::Of13 => {
            common
                | bit(flags.reset_counts, OFPFF_RESET_COUNTS)
                | bit(flags.no_packet_counts, OFPFF_NO_PKT_COUNTS)
                | bit(flags.no_byte_counts, OFPFF_NO_BYT_COUNTS)
        }
    }
}

/// Actions of a 1.0 flow: instructions that the extension has as actions come last.
fn actions_10(r: &mut Reader) -> Result<Vec<Action>, DecodeError> {
    let actions = action::decode_list(r, Version::Of10)?;
    let first = actions
        .iter()
        .position(Action::is_instruction)
        .unwrap_or(actions.len());
    if actions.iter().skip(first).all(Action::is_instruction) {
        Ok(actions)
    } else {
        bad("action after an instruction", OfError::BacUnsupportedOrder)
    }
}

/// `OFPT_FLOW_MOD` of 1.0: match, cookie(8), command(2), idle(2), hard(2), priority(2),
/// buffer(4), out_port(2), flags(2), actions.
pub(super) fn decode_flow_mod_10(r: &mut Reader, d: &Dialect) -> Result<FlowMod, DecodeError> {
    let m = match10::decode(r)?;
    let mut fm = decode_flow_mod_middle(r, d)?;
    r.check_aligned()?;
    fm.fields = m.fields;
    if m.is_exact {
        fm.priority = u16::MAX;
    }
    fm.actions = actions_10(&mut r.sub(r.remaining(), OfError::BacBadLen)?)?;
    Ok(fm)
}

/// `NXT_FLOW_MOD`: cookie(8), command(2), idle(2), hard(2), priority(2), buffer(4), out_port(2),
/// flags(2), match_len(2), pad(6), match, actions.
pub(super) fn decode_nx_flow_mod(r: &mut Reader, d: &Dialect) -> Result<FlowMod, DecodeError> {
    let mut fm = decode_flow_mod_middle(r, d)?;
    let match_len = r.u16()?;
    r.skip(6)?;
    r.check_aligned()?;
    let mut cookie = CookieMatch::default();
    fm.fields = nxm::decode_nx_match(r, match_len, Unknown::Refuse, Some(&mut cookie))?;
    if fm.command == FlowModCommand::Add && cookie.mask != 0 {
        return bad("cookie match in an addition", OfError::NxbrcNxmInvalid);
    }
    fm.cookie = cookie.cookie & cookie.mask;
    fm.cookie_mask = cookie.mask;
    fm.actions = actions_10(&mut r.sub(r.remaining(), OfError::BacBadLen)?)?;
    Ok(fm)
}

/// What the flow-mods of 1.0 and of the extension have in common.
fn decode_flow_mod_middle(r: &mut Reader, d: &Dialect) -> Result<FlowMod, DecodeError> {
    let new_cookie = r.u64()?;
    let raw_command = r.u16()?;
    let (table_id, raw_command) = if d.flow_mod_table_id {
        let [table, command] = raw_command.to_be_bytes();
        ((table != TABLE_ALL).then_some(table), u16::from(command))
    } else {
        (None, raw_command)
    };
    let command = command(raw_command)?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let priority = r.u16()?;
    let buffer_id = r.u32()?;
    let out_port = port_16(r)?;
    let flags = flags_10(r.u16()?, command)?;
    Ok(FlowMod {
        command,
        table_id,
        priority,
        new_cookie,
        modify_cookie: new_cookie != COOKIE_NONE,
        idle_timeout,
        hard_timeout,
        buffer_id,
        out_port: if is_delete(command) {
            out_port
        } else {
            OfPort::ANY
        },
        flags,
        ..FlowMod::add()
    })
}

/// `OFPT_FLOW_MOD` of 1.1 and later: cookie(8), cookie_mask(8), table(1), command(1), idle(2),
/// hard(2), priority(2), buffer(4), out_port(4), out_group(4), flags(2), pad(2), match,
/// instructions.
pub(super) fn decode_flow_mod_13(r: &mut Reader) -> Result<FlowMod, DecodeError> {
    let cookie = r.u64()?;
    let cookie_mask = r.u64()?;
    let table_id = r.u8()?;
    let command = command(r.u8()?.into())?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let priority = r.u16()?;
    let buffer_id = r.u32()?;
    let out_port = r.u32()?;
    let out_group = r.u32()?;
    let raw_flags = r.u16()?;
    r.skip(2)?;
    r.check_aligned()?;
    let flags = flags_13(raw_flags)?;
    let fields = nxm::decode_oxm_match(r, Unknown::Refuse)?;
    let mut rest = r.sub(r.remaining(), OfError::BicBadLen)?;
    let actions = instruction::decode_list(&mut rest, Version::Of13)?;
    let is_add = command == FlowModCommand::Add;
    let is_delete = is_delete(command);
    Ok(FlowMod {
        command,
        table_id: Some(table_id),
        priority,
        new_cookie: if is_add { cookie } else { COOKIE_NONE },
        cookie: if is_add { 0 } else { cookie & cookie_mask },
        cookie_mask: if is_add { 0 } else { cookie_mask },
        modify_cookie: false,
        idle_timeout,
        hard_timeout,
        buffer_id,
        out_port: if is_delete {
            action::port_32(out_port)?
        } else {
            OfPort::ANY
        },
        out_group: if is_delete { out_group } else { GROUP_ANY },
        flags,
        fields,
        actions,
    })
}

pub(super) fn encode_flow_mod(o: &mut MessageWriter, fm: &FlowMod) {
    match o.version() {
        Version::Of10 => encode_flow_mod_10(o, fm),
        Version::Of13 => encode_flow_mod_13(o, fm),
    }
}

/// In 1.0's own form when that can express the flow, else in the extension's.
fn encode_flow_mod_10(o: &mut MessageWriter, fm: &FlowMod) {
    if fm.out_group != GROUP_ANY {
        o.not_expressible("a group in a flow-mod");
    }
    if fm.flags.no_packet_counts || fm.flags.no_byte_counts {
        o.not_expressible("a flow without counters");
    }
    let mut m = Writer::default();
    let is_standard = match10::encode(&mut m, &fm.fields) && fm.cookie_mask == 0;
    if is_standard {
        o.begin(OFPT_FLOW_MOD);
        o.w.bytes(&m.buf);
        encode_flow_mod_middle(o, fm);
    } else {
        o.begin_nicira(NXT_FLOW_MOD);
        encode_flow_mod_middle(o, fm);
        let cookie = CookieMatch {
            cookie: fm.cookie,
            mask: fm.cookie_mask,
        };
        if !encode_nx_match(&mut o.w, 2 + 6, &fm.fields, cookie) {
            o.not_expressible("the match");
        }
    }
    let mut e = Encoder::new(Version::Of10, &fm.fields);
    e.list(&mut o.w, &fm.actions);
    if let Some(what) = e.left_out {
        o.not_expressible(what);
    }
    o.end();
}

fn encode_flow_mod_middle(o: &mut MessageWriter, fm: &FlowMod) {
    let command = u16::from(command_number(fm.command));
    let command = match fm.table_id {
        _ if o.dialect.flow_mod_table_id => {
            u16::from(fm.table_id.unwrap_or(TABLE_ALL)) << 8 | command
        }
        None | Some(TABLE_ALL) => command,
        Some(_) => {
            o.not_expressible("a table without NXT_FLOW_MOD_TABLE_ID");
            command
        }
    };
    // Modifications that leave the cookie alone say so by the cookie; additions cannot.
    let keeps_cookie = fm.command != FlowModCommand::Add && !fm.modify_cookie;
    o.w.u64(if keeps_cookie {
        COOKIE_NONE
    } else {
        fm.new_cookie
    });
    o.w.u16(command);
    o.w.u16(fm.idle_timeout);
    o.w.u16(fm.hard_timeout);
    o.w.u16(fm.priority);
    o.w.u32(fm.buffer_id);
    o.w.u16(fm.out_port.to_u16().unwrap_or(u16::MAX));
    o.w.u16(flags_number(fm.flags, Version::Of10));
}

/// Writes the length of an NXM match, what stands between it and the match (`gap` counts both),
/// and the match with its padding.
fn encode_nx_match(w: &mut Writer, gap: usize, m: &Match, cookie: CookieMatch) -> bool {
    let len_at = w.len();
    w.zeros(gap);
    let start = w.len();
    let complete = nxm::encode_entries(w, m, Version::Of10, cookie);
    w.patch_len(len_at, start);
    w.pad8(start);
    complete
}

fn encode_flow_mod_13(o: &mut MessageWriter, fm: &FlowMod) {
    o.begin(OFPT_FLOW_MOD);
    let is_add = fm.command == FlowModCommand::Add;
    o.w.u64(if is_add { fm.new_cookie } else { fm.cookie });
    o.w.u64(fm.cookie_mask);
    // Deletions without a table mean all tables, the others table 0.
    let table = match fm.table_id {
        Some(table) => table,
        None if is_delete(fm.command) => TABLE_ALL,
        None => 0,
    };
    o.w.u8(table);
    o.w.u8(command_number(fm.command));
    o.w.u16(fm.idle_timeout);
    o.w.u16(fm.hard_timeout);
    o.w.u16(fm.priority);
    o.w.u32(fm.buffer_id);
    o.w.u32(fm.out_port.0);
    o.w.u32(fm.out_group);
    o.w.u16(flags_number(fm.flags, Version::Of13));
    o.w.zeros(2);
    if !nxm::encode_oxm_match(&mut o.w, &fm.fields, Version::Of13) {
        o.not_expressible("the match");
    }
    let mut e = Encoder::new(Version::Of13, &fm.fields);
    instruction::encode_list(&mut e, &mut o.w, &fm.actions);
    if let Some(what) = e.left_out {
        o.not_expressible(what);
    }
    o.end();
}

/// `OFPT_PACKET_OUT`: buffer(4), in_port(2 or 4), actions_len(2), pad(0 or 6), actions, packet.
pub(super) fn decode_packet_out(r: &mut Reader, v: Version) -> Result<PacketOut, DecodeError> {
    let buffer_id = r.u32()?;
    let in_port = match v {
        Version::Of10 => port_16(r)?,
        Version::Of13 => match OfPort(r.u32()?) {
            port if port.to_u16().is_some() => port,
            _ => return bad("input port of a packet-out", OfError::BrcBadPort),
        },
    };
    let actions_len = usize::from(r.u16()?);
    if v > Version::Of10 {
        r.skip(6)?;
    }
    if actions_len > r.remaining() || !actions_len.is_multiple_of(8) {
        return bad("actions of a packet-out", OfError::BrcBadLen);
    }
    let mut list = r.sub(actions_len, OfError::BacBadLen)?;
    let actions = action::decode_list(&mut list, v)?;
    if actions.iter().any(Action::is_instruction) {
        return bad("instruction in a packet-out", OfError::BicUnsupInst);
    }
    let data = Bytes::copy_from_slice(r.bytes(r.remaining())?);
    Ok(PacketOut {
        buffer_id,
        in_port,
        actions,
        data,
    })
}

pub(super) fn encode_packet_out(o: &mut MessageWriter, po: &PacketOut) {
    let version = o.version();
    o.begin(OFPT_PACKET_OUT);
    o.w.u32(po.buffer_id);
    match version {
        Version::Of10 => o.w.u16(po.in_port.to_u16().unwrap_or(u16::MAX)),
        Version::Of13 => o.w.u32(po.in_port.0),
    }
    let len_at = o.w.len();
    o.w.u16(0);
    if version > Version::Of10 {
        o.w.zeros(6);
    }
    let start = o.w.len();
    let mut e = Encoder::new(version, &Match::new());
    e.list(&mut o.w, &po.actions);
    if let Some(what) = e.left_out {
        o.not_expressible(what);
    }
    o.w.patch_len(len_at, start);
    o.w.bytes(&po.data);
    o.end();
}

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
        Version::Of13 => 3,
    };
    match reason.wire() {
        n if n <= last => n,
        _ => FlowRemovedReason::Delete.wire(),
    }
}

fn duration(r: &mut Reader) -> Result<Duration, DecodeError> {
    let secs = r.u32()?;
    let nanos = r.u32()?;
    Ok(Duration::from_secs(secs.into()) + Duration::from_nanos(nanos.into()))
}

pub(super) fn write_duration(w: &mut Writer, d: Duration) {
    w.u32(u32::try_from(d.as_secs()).unwrap_or(u32::MAX));
    w.u32(d.subsec_nanos());
}

/// `OFPT_FLOW_REMOVED` of 1.0: match, cookie(8), priority(2), reason(1), pad(1), duration(8),
/// idle(2), pad(2), packets(8), bytes(8).
pub(super) fn decode_flow_removed_10(r: &mut Reader) -> Result<FlowRemoved, DecodeError> {
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

/// `OFPT_FLOW_REMOVED` of 1.2 and later: cookie(8), priority(2), reason(1), table(1),
/// duration(8), idle(2), hard(2), packets(8), bytes(8), match.
pub(super) fn decode_flow_removed_13(r: &mut Reader) -> Result<FlowRemoved, DecodeError> {
    let cookie = r.u64()?;
    let priority = r.u16()?;
    let reason = reason(r)?;
    let table_id = Some(r.u8()?);
    let duration = duration(r)?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let packet_count = r.u64()?;
    let byte_count = r.u64()?;
    let fields = nxm::decode_oxm_match(r, Unknown::Refuse)?;
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

pub(super) fn encode_flow_removed(o: &mut MessageWriter, fr: &FlowRemoved) {
    let version = o.version();
    let reason = reason_number(fr.reason, version);
    match (version, o.dialect.flow_format) {
        (Version::Of10, FlowFormat::OpenFlow10) => {
            o.begin(OFPT_FLOW_REMOVED);
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
            o.begin_nicira(NXT_FLOW_REMOVED);
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
        (Version::Of13, _) => {
            o.begin(OFPT_FLOW_REMOVED);
            o.w.u64(fr.cookie);
            o.w.u16(fr.priority);
            o.w.u8(reason);
            o.w.u8(fr.table_id.unwrap_or(0));
            write_duration(&mut o.w, fr.duration);
            o.w.u16(fr.idle_timeout);
            o.w.u16(fr.hard_timeout);
            o.w.u64(fr.packet_count);
            o.w.u64(fr.byte_count);
            nxm::encode_oxm_match(&mut o.w, &fr.fields, version);
        }
    }
    o.end();
}

/// Flow and aggregate requests of 1.0: match, table(1), pad(1), out_port(2).
pub(super) fn decode_stats_request_10(r: &mut Reader) -> Result<FlowStatsRequest, DecodeError> {
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
pub(super) fn decode_stats_request_13(r: &mut Reader) -> Result<FlowStatsRequest, DecodeError> {
    let table_id = r.u8()?;
    r.skip(3)?;
    let out_port = action::port_32(r.u32()?)?;
    let out_group = r.u32()?;
    r.skip(4)?;
    let cookie = r.u64()?;
    let cookie_mask = r.u64()?;
    r.check_aligned()?;
    let fields = nxm::decode_oxm_match(r, Unknown::Refuse)?;
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

/// Which of the two statistics of flows.
#[derive(Clone, Copy)]
pub(super) enum FlowStatsKind {
    Flow,
    Aggregate,
}

impl FlowStatsKind {
    fn standard(self) -> u16 {
        match self {
            FlowStatsKind::Flow => OFPMP_FLOW,
            FlowStatsKind::Aggregate => OFPMP_AGGREGATE,
        }
    }

    fn nicira(self) -> u32 {
        match self {
            FlowStatsKind::Flow => NXST_FLOW,
            FlowStatsKind::Aggregate => NXST_AGGREGATE,
        }
    }
}

pub(super) fn encode_stats_request(
    o: &mut MessageWriter,
    request: &FlowStatsRequest,
    message: u8,
    kind: FlowStatsKind,
) {
    let out_port_16 = request.out_port.to_u16().unwrap_or(u16::MAX);
    match (o.version(), request.flavor) {
        (Version::Of10, Flavor::Standard) => {
            if request.cookie_mask != 0 {
                o.not_expressible("a cookie in a statistics request");
            }
            o.begin_multipart(message, kind.standard());
            if !match10::encode(&mut o.w, &request.fields) {
                o.not_expressible("the match");
            }
            o.w.u8(request.table_id);
            o.w.zeros(1);
            o.w.u16(out_port_16);
        }
        (Version::Of10, Flavor::Nicira) => {
            o.begin_nicira_multipart(message, kind.nicira());
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
        (Version::Of13, _) => {
            o.begin_multipart(message, kind.standard());
            o.w.u8(request.table_id);
            o.w.zeros(3);
            o.w.u32(request.out_port.0);
            o.w.u32(request.out_group);
            o.w.zeros(4);
            o.w.u64(request.cookie);
            o.w.u64(request.cookie_mask);
            if !nxm::encode_oxm_match(&mut o.w, &request.fields, Version::Of13) {
                o.not_expressible("the match");
            }
        }
    }
    if o.version() == Version::Of10 && request.out_group != GROUP_ANY {
        o.not_expressible("a group in a statistics request");
    }
    o.end();
}

/// Aggregate reply: packets(8), bytes(8), flows(4), pad(4).
pub(super) fn decode_aggregate(r: &mut Reader) -> Result<AggregateStats, DecodeError> {
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

pub(super) fn encode_aggregate(
    o: &mut MessageWriter,
    message: u8,
    flavor: Flavor,
    stats: &AggregateStats,
) {
    if o.version() == Version::Of10 && flavor == Flavor::Nicira {
        o.begin_nicira_multipart(message, NXST_AGGREGATE);
    } else {
        o.begin_multipart(message, OFPMP_AGGREGATE);
    }
    o.w.u64(stats.packet_count);
    o.w.u64(stats.byte_count);
    o.w.u32(stats.flow_count);
    o.w.zeros(4);
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
            (Version::Of13, _) => decode_flow_stats_13(&mut entry)?,
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
        duration,
        idle_age,
        hard_age,
        packet_count,
        byte_count,
        flags: FlowModFlags::default(),
        actions,
    })
}

/// table(1), pad(1), duration(8), priority(2), idle(2), hard(2), flags(2), pad(4), cookie(8),
/// packets(8), bytes(8), match, instructions.
fn decode_flow_stats_13(r: &mut Reader) -> Result<FlowStats, DecodeError> {
    let table_id = r.u8()?;
    r.skip(1)?;
    let duration = duration(r)?;
    let priority = r.u16()?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let flags = flags_13(r.u16()?)?;
    r.skip(4)?;
    let cookie = r.u64()?;
    let packet_count = r.u64()?;
    let byte_count = r.u64()?;
    let fields = nxm::decode_oxm_match(r, Unknown::Refuse)?;
    let mut rest = r.sub(r.remaining(), OfError::BicBadLen)?;
    let actions = instruction::decode_list(&mut rest, Version::Of13)?;
    Ok(FlowStats {
        fields,
        cookie,
        table_id,
        priority,
        idle_timeout,
        hard_timeout,
        duration,
        idle_age: None,
        hard_age: None,
        packet_count,
        byte_count,
        flags,
        actions,
    })
}

pub(super) fn encode_flow_stats(o: &mut MessageWriter, message: u8, reply: &FlowStatsReply) {
    let version = o.version();
    let nicira = version == Version::Of10 && reply.flavor == Flavor::Nicira;
    let begin = |o: &mut MessageWriter| {
        if nicira {
            o.begin_nicira_multipart(message, NXST_FLOW);
        } else {
            o.begin_multipart(message, OFPMP_FLOW);
        }
    };
    o.parts(begin, &reply.flows, |o, flow| {
        let start = o.w.len();
        match version {
            Version::Of10 if nicira => encode_nx_flow_stats(&mut o.w, flow),
            Version::Of10 => encode_flow_stats_10(&mut o.w, flow),
            Version::Of13 => encode_flow_stats_13(&mut o.w, flow),
        }
        o.w.patch_len(start, start);
    });
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

fn encode_flow_stats_13(w: &mut Writer, f: &FlowStats) {
    w.u16(0);
    w.u8(f.table_id);
    w.zeros(1);
    write_duration(w, f.duration);
    w.u16(f.priority);
    w.u16(f.idle_timeout);
    w.u16(f.hard_timeout);
    w.u16(flags_number(f.flags, Version::Of13));
    w.zeros(4);
    w.u64(f.cookie);
    w.u64(f.packet_count);
    w.u64(f.byte_count);
    nxm::encode_oxm_match(w, &f.fields, Version::Of13);
    let mut e = Encoder::new(Version::Of13, &f.fields);
    instruction::encode_list(&mut e, w, &f.actions);
}
