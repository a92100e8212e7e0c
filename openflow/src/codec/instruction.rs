//! Instructions of 1.1 and later.
//!
//! ```text
//! |  type(2)  |  length(2), a multiple of 8, header included  |  body ...
//! ```
//!
//! Source: OpenFlow 1.3.5, 7.2.4.

use super::action::{self, Encoder};
use crate::action::Action;
use crate::error::OfError;
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

const OFPIT_GOTO_TABLE: u16 = 1;
const OFPIT_WRITE_METADATA: u16 = 2;
const OFPIT_WRITE_ACTIONS: u16 = 3;
const OFPIT_APPLY_ACTIONS: u16 = 4;
const OFPIT_CLEAR_ACTIONS: u16 = 5;
const OFPIT_METER: u16 = 6;
const OFPIT_EXPERIMENTER: u16 = 0xffff;

/// The instructions that the switch carries out.
pub(crate) const STANDARD_INSTRUCTIONS: &[u16] = &[
    OFPIT_GOTO_TABLE,
    OFPIT_WRITE_METADATA,
    OFPIT_WRITE_ACTIONS,
    OFPIT_APPLY_ACTIONS,
    OFPIT_CLEAR_ACTIONS,
];

/// Reads instructions up to the end of `r` into one list, in the order of execution.
///
/// Errors: `OFPBIC_*` as OpenFlow 1.3.5, 7.5.4.4 wants them, `OFPBAC_*` of the actions.
pub(crate) fn decode_list(r: &mut Reader, version: Version) -> Result<Vec<Action>, DecodeError> {
    const LEN: OfError = OfError::BicBadLen;
    let mut meter = None;
    let mut apply = None;
    let mut clear = None;
    let mut write = None;
    let mut metadata = None;
    let mut goto = None;
    while !r.is_empty() {
        let mut header = Reader::new(r.rest(), LEN);
        let kind = header.u16()?;
        let len = usize::from(header.u16()?);
        if len < 8 || len % 8 != 0 {
            return bad("instruction length", LEN);
        }
        let mut body = r.sub(len, LEN)?;
        body.skip(4)?;
        match kind {
            OFPIT_GOTO_TABLE => {
                once(&mut goto, Action::GotoTable(body.u8()?))?;
                body.skip(3)?;
            }
            OFPIT_WRITE_METADATA => {
                body.skip(4)?;
                let value = body.u64()?;
                let mask = body.u64()?;
                once(
                    &mut metadata,
                    Action::WriteMetadata {
                        value: value & mask,
                        mask,
                    },
                )?;
            }
            OFPIT_WRITE_ACTIONS | OFPIT_APPLY_ACTIONS => {
                body.skip(4)?;
                let mut list = body.sub(body.remaining(), OfError::BacBadLen)?;
                let actions = action::decode_list(&mut list, version)?;
                if actions.iter().any(Action::is_instruction) {
                    return bad("instruction among actions", OfError::BicUnsupInst);
                }
                if kind == OFPIT_APPLY_ACTIONS {
                    once(&mut apply, actions)?;
                } else if actions.iter().all(action::fits_action_set) {
                    once(&mut write, Action::WriteActions(actions))?;
                } else {
                    return bad("action in the action set", OfError::BacBadType);
                }
            }
            OFPIT_CLEAR_ACTIONS => {
                body.skip(4)?;
                once(&mut clear, Action::ClearActions)?;
            }
            OFPIT_METER => once(&mut meter, Action::Meter(body.u32()?))?,
            OFPIT_EXPERIMENTER => {
                return bad("experimenter instruction", OfError::BicBadExperimenter);
            }
            _ => return bad("instruction type", OfError::BicUnknownInst),
        }
        body.done()?;
    }
    // The common case, apply-actions alone, moves its list.
    let mut actions = apply.unwrap_or_default();
    if let Some(meter) = meter {
        actions.insert(0, meter);
    }
    actions.extend([clear, write, metadata, goto].into_iter().flatten());
    Ok(actions)
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), DecodeError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => bad("instruction", OfError::BicDupInst),
    }
}

/// Writes a list as instructions: its actions become one Apply-Actions.
pub(crate) fn encode_list(e: &mut Encoder, w: &mut Writer, actions: &[Action]) {
    let mut rest = actions;
    while let Some((first, tail)) = rest.split_first() {
        if !first.is_instruction() {
            let n = rest
                .iter()
                .position(Action::is_instruction)
                .unwrap_or(rest.len());
            let (apply, tail) = rest.split_at(n);
            with_actions(e, w, OFPIT_APPLY_ACTIONS, apply);
            rest = tail;
            continue;
        }
        match first {
            Action::Meter(id) => instruction(w, OFPIT_METER, |w| w.u32(*id)),
            Action::ClearActions => instruction(w, OFPIT_CLEAR_ACTIONS, |w| w.zeros(4)),
            Action::WriteActions(set) => with_actions(e, w, OFPIT_WRITE_ACTIONS, set),
            Action::WriteMetadata { value, mask } => {
                instruction(w, OFPIT_WRITE_METADATA, |w| {
                    w.zeros(4);
                    w.u64(*value);
                    w.u64(*mask);
                });
            }
            Action::GotoTable(table) => instruction(w, OFPIT_GOTO_TABLE, |w| {
                w.u8(*table);
                w.zeros(3);
            }),
            _ => e.leave_out("instruction"),
        }
        rest = tail;
    }
}

fn with_actions(e: &mut Encoder, w: &mut Writer, kind: u16, actions: &[Action]) {
    instruction(w, kind, |w| {
        w.zeros(4);
        e.list(w, actions);
    });
}

fn instruction(w: &mut Writer, kind: u16, write: impl FnOnce(&mut Writer)) {
    let start = w.len();
    w.u16(kind);
    w.u16(0);
    write(w);
    w.patch_len(start + 2, start);
}
