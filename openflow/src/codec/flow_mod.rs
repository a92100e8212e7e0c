//! Flow-mods and packet-outs, in the forms of 1.0, of Nicira's extension to it, and of 1.1 and
//! later.
//!
//! Source: OpenFlow 1.0.0, 5.3.3 and 5.3.6; OpenFlow 1.1.0, A.3.4.1; OpenFlow 1.3.5, 7.3.4.1 and
//! 7.3.7; OpenFlow 1.4.0, 7.3.4.2; OpenFlow 1.5.1, 7.3.6; `nicira-ext.h`, `struct nx_flow_mod`.

use bytes::Bytes;

use super::Dialect;
use super::action::{self, Encoder};
use super::flow::{
    actions_10, decode_flags, decode_match, encode_match, encode_nx_match, flags_number, port_16,
};
use super::instruction;
use super::kind::Kind;
use super::match10;
use super::nxm::{self, CookieMatch, Unknown};
use super::port::{read_port, write_port};
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::field::Field;
use crate::flow_match::Match;
use crate::message::{FlowFormat, FlowMod, FlowModCommand, GROUP_ANY, PacketOut, TABLE_ALL};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

/// In a reply: the cookie of "no cookie".
const COOKIE_NONE: u64 = u64::MAX;

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

/// `OFPT_FLOW_MOD`.
pub(super) fn decode(r: &mut Reader, v: Version, d: &Dialect) -> Result<FlowMod, DecodeError> {
    match v {
        Version::Of10 => decode_flow_mod_10(r, d),
        _ => decode_flow_mod_11(r, v),
    }
}

/// `OFPT_FLOW_MOD` of 1.0: match, cookie(8), command(2), idle(2), hard(2), priority(2),
/// buffer(4), out_port(2), flags(2), actions.
fn decode_flow_mod_10(r: &mut Reader, d: &Dialect) -> Result<FlowMod, DecodeError> {
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
/// flags(2), match_len(2), pad(6), match, then actions in 1.0 and instructions later.
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
    fm.actions = match d.version {
        Version::Of10 => actions_10(&mut r.sub(r.remaining(), OfError::BacBadLen)?)?,
        v => instruction::decode_list(&mut r.sub(r.remaining(), OfError::BicBadLen)?, v)?,
    };
    Ok(fm)
}

/// What the flow-mods of 1.0 and of the extension have in common.
fn decode_flow_mod_middle(r: &mut Reader, d: &Dialect) -> Result<FlowMod, DecodeError> {
    let new_cookie = r.u64()?;
    let raw_command = r.u16()?;
    // The extension's flow-mod has the table without asking in later versions.
    let (table_id, raw_command) = if d.flow_mod_table_id || d.version > Version::Of10 {
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
    let flags = decode_flags(r.u16()?, Some(command), d.version)?;
    Ok(FlowMod {
        command,
        table_id,
        priority,
        new_cookie,
        modify_cookie: new_cookie != COOKIE_NONE,
        idle_timeout,
        hard_timeout,
        buffer_id,
        out_port,
        flags,
        ..FlowMod::add()
    })
}

/// `OFPT_FLOW_MOD` of 1.1 and later: cookie(8), cookie_mask(8), table(1), command(1), idle(2),
/// hard(2), priority(2), buffer(4), out_port(4), out_group(4), flags(2), importance(2) in 1.4 and
/// later, else pad(2), match, instructions.
fn decode_flow_mod_11(r: &mut Reader, v: Version) -> Result<FlowMod, DecodeError> {
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
    let importance = r.u16()?;
    r.check_aligned()?;
    let flags = decode_flags(raw_flags, Some(command), v)?;
    let fields = decode_match(r, Unknown::Refuse)?;
    let mut rest = r.sub(r.remaining(), OfError::BicBadLen)?;
    let actions = instruction::decode_list(&mut rest, v)?;
    let is_add = command == FlowModCommand::Add;
    let is_delete = is_delete(command);
    // What finds no flow to modify in 1.1 adds one, unless it asks for a cookie.
    let is_maybe_add = v == Version::Of11 && !is_delete && cookie_mask == 0;
    let (new_cookie, cookie, cookie_mask) = if is_add || is_maybe_add {
        (cookie, 0, 0)
    } else {
        (COOKIE_NONE, cookie & cookie_mask, cookie_mask)
    };
    Ok(FlowMod {
        command,
        table_id: Some(table_id),
        priority,
        new_cookie,
        cookie,
        cookie_mask,
        modify_cookie: false,
        idle_timeout,
        hard_timeout,
        importance: if is_add && v >= Version::Of14 {
            importance
        } else {
            0
        },
        buffer_id,
        out_port: action::port_32(out_port)?,
        out_group,
        flags,
        fields,
        actions,
    })
}

pub(super) fn encode_flow_mod(o: &mut MessageWriter, fm: &FlowMod) {
    let v = o.version();
    if v < Version::Of13 && (fm.flags.no_packet_counts || fm.flags.no_byte_counts) {
        o.not_expressible("a flow without counters");
    }
    match v {
        Version::Of10 => encode_flow_mod_10(o, fm),
        _ => encode_flow_mod_11(o, fm),
    }
}

/// In 1.0's own form when that can express the flow and is wanted, else in the extension's.
fn encode_flow_mod_10(o: &mut MessageWriter, fm: &FlowMod) {
    if fm.out_group != GROUP_ANY {
        o.not_expressible("a group in a flow-mod");
    }
    let mut m = Writer::default();
    let is_standard = o.dialect.flow_format == FlowFormat::OpenFlow10
        && match10::encode(&mut m, &fm.fields)
        && fm.cookie_mask == 0;
    if is_standard {
        o.begin(Kind::FlowMod);
        o.w.bytes(&m.buf);
        encode_flow_mod_middle(o, fm);
    } else {
        o.begin(Kind::NxFlowMod);
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

fn encode_flow_mod_11(o: &mut MessageWriter, fm: &FlowMod) {
    let v = o.version();
    o.begin(Kind::FlowMod);
    let is_add = fm.command == FlowModCommand::Add;
    let is_delete = is_delete(fm.command);
    let is_maybe_add = v == Version::Of11 && !is_delete && fm.cookie_mask == 0;
    o.w.u64(if is_add || is_maybe_add {
        fm.new_cookie
    } else {
        fm.cookie
    });
    o.w.u64(fm.cookie_mask);
    // Deletions without a table mean all tables, the others table 0. 1.1 cannot say "all".
    let table = match fm.table_id {
        Some(TABLE_ALL) | None if is_delete && v == Version::Of11 => 0,
        Some(table) => table,
        None if is_delete => TABLE_ALL,
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
    o.w.u16(flags_number(fm.flags, v));
    o.w.u16(if is_add && v >= Version::Of14 {
        fm.importance
    } else {
        0
    });
    if !encode_match(&mut o.w, &fm.fields, v) {
        o.not_expressible("the match");
    }
    let mut e = Encoder::new(v, &fm.fields);
    instruction::encode_list(&mut e, &mut o.w, &fm.actions);
    if let Some(what) = e.left_out {
        o.not_expressible(what);
    }
    o.end();
}

/// `OFPT_PACKET_OUT`. Up to 1.4: buffer(4), in_port(2 or 4), actions_len(2), pad(0 or 6), actions,
/// packet. 1.5: buffer(4), actions_len(2), pad(2), match, actions, packet.
pub(super) fn decode_packet_out(r: &mut Reader, v: Version) -> Result<PacketOut, DecodeError> {
    let buffer_id = r.u32()?;
    let in_port;
    let mut metadata = Match::new();
    let actions_len;
    if v < Version::Of15 {
        in_port = read_port(r, v)?;
        actions_len = usize::from(r.u16()?);
        if v > Version::Of10 {
            r.skip(6)?;
        }
    } else {
        actions_len = usize::from(r.u16()?);
        r.skip(2)?;
        metadata = decode_match(r, Unknown::Refuse)?;
        let Some(port) = metadata.in_port() else {
            return bad("packet-out without an input port", OfError::BrcBadPort);
        };
        in_port = port;
        metadata.set(Field::InPort, 0, 0);
    }
    if in_port.to_u16().is_none() {
        return bad("input port of a packet-out", OfError::BrcBadPort);
    }
    if actions_len > r.remaining() || !actions_len.is_multiple_of(8) {
        return bad("actions of a packet-out", OfError::BrcBadLen);
    }
    let mut list = r.sub(actions_len, OfError::BacBadLen)?;
    let actions = action::decode_list(&mut list, v)?;
    if actions.iter().any(|a| a.is_instruction_of(v)) {
        return bad("instruction in a packet-out", OfError::BicUnsupInst);
    }
    let data = Bytes::copy_from_slice(r.bytes(r.remaining())?);
    Ok(PacketOut {
        buffer_id,
        in_port,
        metadata,
        actions,
        data,
    })
}

pub(super) fn encode_packet_out(o: &mut MessageWriter, po: &PacketOut) {
    let v = o.version();
    if v < Version::Of15 && !po.metadata.is_empty() {
        o.not_expressible("metadata of a packet-out");
    }
    o.begin(Kind::PacketOut);
    o.w.u32(po.buffer_id);
    if v < Version::Of15 {
        write_port(&mut o.w, po.in_port, v);
    }
    let len_at = o.w.len();
    o.w.u16(0);
    match v {
        Version::Of10 => {}
        Version::Of15 => {
            o.w.zeros(2);
            let fields = po.metadata.clone().with(Field::InPort, po.in_port.0.into());
            if !encode_match(&mut o.w, &fields, v) {
                o.not_expressible("the match");
            }
        }
        _ => o.w.zeros(6),
    }
    let start = o.w.len();
    let mut e = Encoder::new(v, &Match::new());
    e.list(&mut o.w, &po.actions);
    if let Some(what) = e.left_out {
        o.not_expressible(what);
    }
    o.w.patch_len(len_at, start);
    o.w.bytes(&po.data);
    o.end();
}
