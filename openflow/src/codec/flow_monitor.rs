//! Flow monitor requests and replies, in Nicira's form (1.0 to 1.2), the ONF's (1.3) and the
//! standard's (1.4 and later).
//!
//! Source: `nicira-ext.h`, `struct nx_flow_monitor_request` and `nx_flow_update_full`; ONF
//! extension 187; OpenFlow 1.4.1, 7.3.5.18. In the standard's flags, bit 6 has the meaning that
//! Open vSwitch gives it: own changes in full.

use packet::OfPort;

use super::action::{self, Encoder};
use super::flow::port_16;
use super::instruction;
use super::kind::Kind;
use super::nxm::{self, CookieMatch, Unknown};
use super::writer::MessageWriter;
use crate::action::Action;
use crate::error::OfError;
use crate::flow_match::Match;
use crate::message::{
    FlowChange, FlowEvent, FlowMonitorCommand, FlowMonitorFlags, FlowMonitorRequest,
    FlowRemovedReason, FlowUpdate, GROUP_ANY,
};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

const INITIAL: u16 = 1 << 0;
const ADD: u16 = 1 << 1;
const DELETE: u16 = 1 << 2;
const MODIFY: u16 = 1 << 3;
const ACTIONS: u16 = 1 << 4;
/// Before 1.4.
const OWN: u16 = 1 << 5;
/// 1.4 and later.
const OWN_14: u16 = 1 << 6;

const fn own_bit(v: Version) -> u16 {
    match v {
        Version::Of10 | Version::Of11 | Version::Of12 | Version::Of13 => OWN,
        Version::Of14 | Version::Of15 => OWN_14,
    }
}

/// Errors: `OFPMOFC_BAD_FLAGS` for bits that mean nothing, and when there is nothing to report.
fn flags(n: u16, v: Version) -> Result<FlowMonitorFlags, DecodeError> {
    let own = own_bit(v);
    let known = INITIAL | ADD | DELETE | MODIFY | ACTIONS | own;
    if n & !known != 0 || n & (ADD | DELETE | MODIFY) == 0 {
        return bad("flags of a flow monitor", OfError::MofcBadFlags);
    }
    Ok(FlowMonitorFlags {
        initial: n & INITIAL != 0,
        add: n & ADD != 0,
        delete: n & DELETE != 0,
        modify: n & MODIFY != 0,
        actions: n & ACTIONS != 0,
        own: n & own != 0,
    })
}

fn flags_number(f: FlowMonitorFlags, v: Version) -> u16 {
    [
        (f.initial, INITIAL),
        (f.add, ADD),
        (f.delete, DELETE),
        (f.modify, MODIFY),
        (f.actions, ACTIONS),
        (f.own, own_bit(v)),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(0, |n, (_, bit)| n | bit)
}

/// The monitors of a request, one after the other.
pub(super) fn decode_requests(
    r: &mut Reader,
    v: Version,
) -> Result<Vec<FlowMonitorRequest>, DecodeError> {
    let mut requests = Vec::new();
    while !r.is_empty() {
        requests.push(match v {
            Version::Of10 | Version::Of11 | Version::Of12 => decode_nx_request(r, v)?,
            Version::Of13 => decode_onf_request(r)?,
            Version::Of14 | Version::Of15 => decode_request(r, v)?,
        });
    }
    Ok(requests)
}

/// id(4), flags(2), out_port(2), match_len(2), table(1), pad(5), match.
fn decode_nx_request(r: &mut Reader, v: Version) -> Result<FlowMonitorRequest, DecodeError> {
    let id = r.u32()?;
    let flags = flags(r.u16()?, v)?;
    let out_port = port_16(r)?;
    let match_len = r.u16()?;
    let table_id = r.u8()?;
    r.zeros(5, OfError::NxbrcMustBeZero)?;
    let fields = nxm::decode_nx_match(r, match_len, Unknown::Refuse, None)?;
    Ok(FlowMonitorRequest {
        id,
        command: FlowMonitorCommand::Add,
        flags,
        out_port,
        out_group: GROUP_ANY,
        table_id,
        fields,
    })
}

/// id(4), flags(2), match_len(2), out_port(4), table(1), pad(3), match with its header.
fn decode_onf_request(r: &mut Reader) -> Result<FlowMonitorRequest, DecodeError> {
    let id = r.u32()?;
    let flags = flags(r.u16()?, Version::Of13)?;
    let match_len = r.u16()?;
    let out_port = action::port_32(r.u32()?)?;
    let table_id = r.u8()?;
    r.zeros(3, OfError::NxbrcMustBeZero)?;
    Ok(FlowMonitorRequest {
        id,
        command: FlowMonitorCommand::Add,
        flags,
        out_port,
        out_group: GROUP_ANY,
        table_id,
        fields: sized_oxm_match(r, match_len)?,
    })
}

/// A match with its header, which the number before it must agree with.
fn sized_oxm_match(r: &mut Reader, match_len: u16) -> Result<Match, DecodeError> {
    let mut header = *r;
    header.skip(2)?;
    if header.u16()? != match_len {
        return bad("length of a match", OfError::BmcBadLen);
    }
    nxm::decode_oxm_match(r, Unknown::Refuse)
}

/// id(4), out_port(4), out_group(4), flags(2), table(1), command(1), match. Of a deletion, the
/// id alone counts.
fn decode_request(r: &mut Reader, v: Version) -> Result<FlowMonitorRequest, DecodeError> {
    let id = r.u32()?;
    let out_port = r.u32()?;
    let out_group = r.u32()?;
    let raw_flags = r.u16()?;
    let table_id = r.u8()?;
    let command = match r.u8()? {
        0 => FlowMonitorCommand::Add,
        1 => FlowMonitorCommand::Modify,
        2 => FlowMonitorCommand::Delete,
        _ => return bad("command of a flow monitor", OfError::MofcBadCommand),
    };
    let is_delete = command == FlowMonitorCommand::Delete;
    Ok(FlowMonitorRequest {
        id,
        command,
        flags: match is_delete {
            true => FlowMonitorFlags::default(),
            false => flags(raw_flags, v)?,
        },
        out_port: match is_delete {
            true => OfPort::ANY,
            false => action::port_32(out_port)?,
        },
        out_group: if is_delete { GROUP_ANY } else { out_group },
        table_id,
        fields: nxm::decode_oxm_match(r, Unknown::Refuse)?,
    })
}

pub(super) fn encode_requests(o: &mut MessageWriter, requests: &[FlowMonitorRequest]) {
    let v = o.version();
    o.begin(match v {
        Version::Of10 | Version::Of11 | Version::Of12 => Kind::NxFlowMonitorRequest,
        Version::Of13 => Kind::OnfFlowMonitorRequest,
        Version::Of14 | Version::Of15 => Kind::FlowMonitorRequest,
    });
    for request in requests {
        if v < Version::Of14 {
            if request.command != FlowMonitorCommand::Add {
                o.not_expressible("a flow monitor request other than an addition");
            }
            if request.out_group != GROUP_ANY {
                o.not_expressible("a group in a flow monitor request");
            }
        }
        if !write_request(&mut o.w, request, v) {
            o.not_expressible("the match");
        }
    }
    o.end();
}

/// Says whether the match could be written whole.
fn write_request(w: &mut Writer, request: &FlowMonitorRequest, v: Version) -> bool {
    let flags = flags_number(request.flags, v);
    w.u32(request.id);
    match v {
        Version::Of10 | Version::Of11 | Version::Of12 => {
            w.u16(flags);
            w.u16(request.out_port.to_u16().unwrap_or(u16::MAX));
            let len_at = w.len();
            w.u16(0);
            w.u8(request.table_id);
            w.zeros(5);
            write_nx_match(w, len_at, &request.fields)
        }
        Version::Of13 => {
            w.u16(flags);
            let len_at = w.len();
            w.u16(0);
            w.u32(request.out_port.0);
            w.u8(request.table_id);
            w.zeros(3);
            write_sized_oxm_match(w, len_at, &request.fields)
        }
        Version::Of14 | Version::Of15 => {
            w.u32(request.out_port.0);
            w.u32(request.out_group);
            w.u16(flags);
            w.u8(request.table_id);
            w.u8(match request.command {
                FlowMonitorCommand::Add => 0,
                FlowMonitorCommand::Modify => 1,
                FlowMonitorCommand::Delete => 2,
            });
            nxm::encode_oxm_match(w, &request.fields, v)
        }
    }
}

fn write_nx_match(w: &mut Writer, len_at: usize, fields: &Match) -> bool {
    let start = w.len();
    let whole = nxm::encode_entries(w, fields, Version::Of10, CookieMatch::default());
    w.patch_len(len_at, start);
    w.pad8(start);
    whole
}

fn write_sized_oxm_match(w: &mut Writer, len_at: usize, fields: &Match) -> bool {
    /// Of the length in the match's header.
    const LEN_OFFSET: usize = 2;
    let start = w.len();
    let whole = nxm::encode_oxm_match(w, fields, Version::Of13);
    if let Some([high, low]) = w.buf.get(start + LEN_OFFSET..start + LEN_OFFSET + 2) {
        let len = u16::from_be_bytes([*high, *low]);
        w.patch_u16(len_at, len);
    }
    whole
}

/// `NXFME_*` and `OFPFME_*`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Event {
    Initial,
    Added,
    Deleted,
    Modified,
    Abbrev,
    Paused,
    Resumed,
}

const EVENTS: [Event; 4] = [Event::Added, Event::Deleted, Event::Modified, Event::Abbrev];
const EVENTS_14: [Event; 7] = [
    Event::Initial,
    Event::Added,
    Event::Deleted,
    Event::Modified,
    Event::Abbrev,
    Event::Paused,
    Event::Resumed,
];

fn events(v: Version) -> &'static [Event] {
    match v {
        Version::Of10 | Version::Of11 | Version::Of12 | Version::Of13 => &EVENTS,
        Version::Of14 | Version::Of15 => &EVENTS_14,
    }
}

fn event_number(event: Event, v: Version) -> u16 {
    let at = events(v).iter().position(|e| *e == event).unwrap_or(0);
    u16::try_from(at).unwrap_or(0)
}

/// Updates, each with its length(2) and event(2) first.
pub(super) fn decode_updates(r: &mut Reader, v: Version) -> Result<Vec<FlowUpdate>, DecodeError> {
    let mut updates = Vec::new();
    while !r.is_empty() {
        let mut header = Reader::new(r.rest(), OfError::BrcBadLen);
        let len = usize::from(header.u16()?);
        let number = header.u16()?;
        if !len.is_multiple_of(8) {
            return bad("length of a flow update", OfError::BrcBadLen);
        }
        let mut entry = r.sub(len, OfError::BrcBadLen)?;
        entry.skip(4)?;
        let Some(event) = events(v).get(usize::from(number)).copied() else {
            return bad("event of a flow update", OfError::NxbrcFmBadEvent);
        };
        updates.push(match event {
            Event::Abbrev => FlowUpdate::Abbrev { xid: entry.u32()? },
            Event::Paused => {
                entry.skip(4)?;
                FlowUpdate::Paused
            }
            Event::Resumed => {
                entry.skip(4)?;
                FlowUpdate::Resumed
            }
            event if v < Version::Of14 => FlowUpdate::Flow(decode_nx_change(&mut entry, event, v)?),
            event => FlowUpdate::Flow(decode_change(&mut entry, event, v)?),
        });
        entry.done()?;
    }
    Ok(updates)
}

fn flow_event(event: Event, reason: u16) -> Result<FlowEvent, DecodeError> {
    Ok(match event {
        Event::Initial => FlowEvent::Initial,
        Event::Added => FlowEvent::Added,
        Event::Modified => FlowEvent::Modified,
        _ => {
            let reason = u8::try_from(reason).ok();
            match reason.and_then(FlowRemovedReason::from_wire) {
                Some(reason) => FlowEvent::Deleted(reason),
                None => return bad("reason of a flow's removal", OfError::NxbrcBadReason),
            }
        }
    })
}

/// reason(2), priority(2), idle(2), hard(2), match_len(2), table(1), pad(1), cookie(8), match
/// (in 1.3 with its header), actions (in 1.3 instructions).
fn decode_nx_change(r: &mut Reader, event: Event, v: Version) -> Result<FlowChange, DecodeError> {
    let event = flow_event(event, r.u16()?)?;
    let priority = r.u16()?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let match_len = r.u16()?;
    let table_id = r.u8()?;
    r.skip(1)?;
    let cookie = r.u64()?;
    let fields = match v {
        Version::Of13 => sized_oxm_match(r, match_len)?,
        _ => nxm::decode_nx_match(r, match_len, Unknown::Refuse, None)?,
    };
    Ok(FlowChange {
        event,
        table_id,
        priority,
        idle_timeout,
        hard_timeout,
        cookie,
        fields,
        actions: decode_actions(r, v)?,
    })
}

/// table(1), reason(1), idle(2), hard(2), priority(2), pad(4), cookie(8), match, instructions.
fn decode_change(r: &mut Reader, event: Event, v: Version) -> Result<FlowChange, DecodeError> {
    let table_id = r.u8()?;
    let event = flow_event(event, r.u8()?.into())?;
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let priority = r.u16()?;
    r.skip(4)?;
    let cookie = r.u64()?;
    let fields = nxm::decode_oxm_match(r, Unknown::Refuse)?;
    Ok(FlowChange {
        event,
        table_id,
        priority,
        idle_timeout,
        hard_timeout,
        cookie,
        fields,
        actions: decode_actions(r, v)?,
    })
}

fn decode_actions(r: &mut Reader, v: Version) -> Result<Vec<Action>, DecodeError> {
    let n = r.remaining();
    match v {
        Version::Of10 | Version::Of11 | Version::Of12 => {
            action::decode_list(&mut r.sub(n, OfError::BacBadLen)?, v)
        }
        _ => instruction::decode_list(&mut r.sub(n, OfError::BicBadLen)?, v),
    }
}

pub(super) fn encode_updates(o: &mut MessageWriter, updates: &[FlowUpdate]) {
    let v = o.version();
    let kind = match v {
        Version::Of10 | Version::Of11 | Version::Of12 => Kind::NxFlowMonitorReply,
        Version::Of13 => Kind::OnfFlowMonitorReply,
        Version::Of14 | Version::Of15 => Kind::FlowMonitorReply,
    };
    o.parts(kind, updates, |o, update| write_update(o, update, v));
}

fn write_update(o: &mut MessageWriter, update: &FlowUpdate, v: Version) {
    let (event, word) = match update {
        FlowUpdate::Abbrev { xid } => (Event::Abbrev, *xid),
        FlowUpdate::Paused | FlowUpdate::Resumed if v < Version::Of14 => {
            return o.not_expressible("a pause in a flow monitor reply");
        }
        FlowUpdate::Paused => (Event::Paused, 0),
        FlowUpdate::Resumed => (Event::Resumed, 0),
        FlowUpdate::Flow(change) => return write_change(&mut o.w, change, v),
    };
    o.w.u16(8);
    o.w.u16(event_number(event, v));
    o.w.u32(word);
}

fn write_change(w: &mut Writer, change: &FlowChange, v: Version) {
    let start = w.len();
    let (event, reason) = match change.event {
        FlowEvent::Initial if v >= Version::Of14 => (Event::Initial, 0),
        FlowEvent::Initial | FlowEvent::Added => (Event::Added, 0),
        FlowEvent::Modified => (Event::Modified, 0),
        FlowEvent::Deleted(reason) => (Event::Deleted, reason.wire()),
    };
    w.u16(0);
    w.u16(event_number(event, v));
    if v < Version::Of14 {
        w.u16(reason.into());
        w.u16(change.priority);
        w.u16(change.idle_timeout);
        w.u16(change.hard_timeout);
        let len_at = w.len();
        w.u16(0);
        w.u8(change.table_id);
        w.zeros(1);
        w.u64(change.cookie);
        // What the version cannot express is left out, as in flow statistics.
        match v {
            Version::Of13 => write_sized_oxm_match(w, len_at, &change.fields),
            _ => write_nx_match(w, len_at, &change.fields),
        };
    } else {
        w.u8(change.table_id);
        w.u8(reason);
        w.u16(change.idle_timeout);
        w.u16(change.hard_timeout);
        w.u16(change.priority);
        w.zeros(4);
        w.u64(change.cookie);
        nxm::encode_oxm_match(w, &change.fields, v);
    }
    let mut e = Encoder::new(v, &change.fields);
    match v {
        Version::Of10 | Version::Of11 | Version::Of12 => e.list(w, &change.actions),
        _ => instruction::encode_list(&mut e, w, &change.actions),
    }
    w.patch_len(start, start);
}
