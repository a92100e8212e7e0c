//! Continuations, which stand in `NXT_PACKET_IN2` and `NXT_RESUME`: properties of their own.
//!
//! Frames are in order; the table and the cookie stand before a frame when they are other than
//! before. The form is that of Open vSwitch 3.1, so that its tools show it. One property is this
//! project's: a frame with instructions, which a list of actions cannot say, is in the form of
//! OpenFlow 1.3 whatever the version of the connection.
//!
//! Source: OVS `lib/ofp-packet.c`, `enum nx_continuation_prop_type`.

use bytes::Bytes;

use super::action::{self, Encoder};
use super::instruction;
use super::property;
use super::writer::MessageWriter;
use crate::action::Action;
use crate::error::OfError;
use crate::flow_match::Match;
use crate::message::{Continuation, Frame};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, bad};

const BRIDGE: u16 = 0x8000;
const STACK: u16 = 0x8001;
const MIRRORS: u16 = 0x8002;
const CONNTRACKED: u16 = 0x8003;
const TABLE_ID: u16 = 0x8004;
const COOKIE: u16 = 0x8005;
const ACTIONS: u16 = 0x8006;
const ACTION_SET: u16 = 0x8007;
const ODP_PORT: u16 = 0x8008;
const INSTRUCTIONS: u16 = 0xf000;

/// The longest value on a stack.
const MAX_VALUE: usize = 128;

/// Reads a continuation to the end of `r`. When `loose`, properties that are not known are skipped.
///
/// Errors: `OFPBPC_BAD_LEN`, `OFPBPC_BAD_TYPE`; those of actions and instructions.
pub(super) fn decode(
    r: &mut Reader,
    version: Version,
    loose: bool,
) -> Result<Continuation, DecodeError> {
    let mut c = Continuation::default();
    let mut frame = Frame::default();
    while !r.is_empty() {
        let (kind, mut p) = property::read(r)?;
        match kind {
            BRIDGE => {
                for byte in &mut c.bridge {
                    *byte = p.u8()?;
                }
            }
            STACK => {
                if p.remaining() > MAX_VALUE {
                    return bad("value on a stack", OfError::BpcBadLen);
                }
                c.stack.push(rest(&mut p)?);
            }
            MIRRORS => c.mirrors = p.u32()?,
            CONNTRACKED => {
                c.conntracked = true;
                p.skip(p.remaining())?;
            }
            TABLE_ID => frame.table_id = p.u8()?,
            COOKIE => {
                p.skip(4)?;
                frame.cookie = p.u64()?;
            }
            ACTIONS => c.frames.push(Frame {
                actions: actions(&mut p, version)?,
                ..frame.clone()
            }),
            ODP_PORT => c.odp_port = p.u32()?,
            ACTION_SET => c.action_set.extend(actions(&mut p, version)?),
            INSTRUCTIONS => {
                p.skip(4)?;
                c.frames.push(Frame {
                    actions: instruction::decode_list(&mut p, Version::Of13)?,
                    ..frame.clone()
                });
            }
            _ if loose => p.skip(p.remaining())?,
            _ => return bad("property of a continuation", OfError::BpcBadType),
        }
        p.done()?;
    }
    Ok(c)
}

/// pad(4), actions to the end.
fn actions(p: &mut Reader, version: Version) -> Result<Vec<Action>, DecodeError> {
    p.skip(4)?;
    action::decode_list(p, version)
}

fn rest(r: &mut Reader) -> Result<Bytes, DecodeError> {
    Ok(Bytes::copy_from_slice(r.bytes(r.remaining())?))
}

pub(super) fn encode(o: &mut MessageWriter, c: &Continuation) {
    if c.bridge != [0; 16] {
        property::write(&mut o.w, BRIDGE, |w| w.bytes(&c.bridge));
    }
    for value in &c.stack {
        property::write(&mut o.w, STACK, |w| w.bytes(value));
    }
    if c.mirrors != 0 {
        property::write(&mut o.w, MIRRORS, |w| w.u32(c.mirrors));
    }
    if c.conntracked {
        property::write(&mut o.w, CONNTRACKED, |_| {});
    }
    let mut before = Frame::default();
    for frame in &c.frames {
        if frame.table_id != before.table_id {
            property::write(&mut o.w, TABLE_ID, |w| w.u8(frame.table_id));
            before.table_id = frame.table_id;
        }
        if frame.cookie != before.cookie {
            property::write(&mut o.w, COOKIE, |w| {
                w.zeros(4);
                w.u64(frame.cookie);
            });
            before.cookie = frame.cookie;
        }
        match frame.actions.iter().any(is_instruction) {
            true => instructions(o, &frame.actions),
            false => list(o, ACTIONS, &frame.actions),
        }
    }
    if !c.action_set.is_empty() {
        list(o, ACTION_SET, &c.action_set);
    }
    if c.odp_port != 0 {
        property::write(&mut o.w, ODP_PORT, |w| w.u32(c.odp_port));
    }
}

fn is_instruction(action: &Action) -> bool {
    matches!(
        action,
        Action::GotoTable(_)
            | Action::WriteActions(_)
            | Action::ClearActions
            | Action::WriteMetadata { .. }
            | Action::StatTrigger { .. }
    )
}

fn list(o: &mut MessageWriter, kind: u16, actions: &[Action]) {
    let any = Match::new();
    let mut e = Encoder::new(o.version(), &any);
    property::write(&mut o.w, kind, |w| {
        w.zeros(4);
        e.list(w, actions);
    });
    if let Some(what) = e.left_out {
        o.not_expressible(what);
    }
}

fn instructions(o: &mut MessageWriter, actions: &[Action]) {
    let any = Match::new();
    let mut e = Encoder::new(Version::Of13, &any);
    property::write(&mut o.w, INSTRUCTIONS, |w| {
        w.zeros(4);
        instruction::encode_list(&mut e, w, actions);
    });
    if let Some(what) = e.left_out {
        o.not_expressible(what);
    }
}
