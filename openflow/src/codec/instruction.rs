//! Instructions of 1.1 and later.
//!
//! ```text
//! |  type(2)  |  length(2), a multiple of 8, header included  |  body ...
//! ```
//!
//! [`Form`] has their numbers.
//!
//! Source: OpenFlow 1.3.5, 7.2.4; OpenFlow 1.5.1, 7.2.5.

use super::action::{self, Encoder};
use crate::action::order::{self, Outer};
use crate::action::table::Space;
use crate::action::{Action, Form};
use crate::error::OfError;
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

const OFPIT_EXPERIMENTER: u16 = 0xffff;
/// `ofp_stats` without fields.
const STATS_HEADER_LEN: usize = 4;

/// The numbers that `version` has for the instructions that the switch carries out.
pub(crate) fn standard_instructions(version: Version) -> Vec<u16> {
    const CARRIED_OUT: [Form; 5] = [
        Form::GotoTable,
        Form::WriteMetadata,
        Form::WriteActions,
        Form::ApplyActions,
        Form::ClearActions,
    ];
    let numbers = CARRIED_OUT.iter();
    numbers
        .filter_map(|f| f.instruction_number(version))
        .collect()
}

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
    let mut trigger = None;
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
        match Form::from_number(Space::Instruction, kind, version) {
            Some(Form::GotoTable) => {
                once(&mut goto, Action::GotoTable(body.u8()?))?;
                body.skip(3)?;
            }
            Some(Form::WriteMetadata) => {
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
            Some(Form::ApplyActions) => {
                body.skip(4)?;
                let mut list = body.sub(body.remaining(), OfError::BacBadLen)?;
                once(&mut apply, action::decode_list(&mut list, version)?)?;
            }
            Some(Form::WriteActions) => {
                body.skip(4)?;
                let mut list = body.sub(body.remaining(), OfError::BacBadLen)?;
                let outer = Outer::WriteActions;
                let actions = action::decode_nested(&mut list, version, outer, 0)?;
                if !actions.iter().all(order::fits_action_set) {
                    return bad("action in the action set", OfError::BacBadType);
                }
                once(&mut write, Action::WriteActions(actions))?;
            }
            Some(Form::ClearActions) => {
                body.skip(4)?;
                once(&mut clear, Action::ClearActions)?;
            }
            Some(Form::Meter) => once(&mut meter, Action::Meter(body.u32()?))?,
            Some(Form::StatTrigger) => once(&mut trigger, stat_trigger(&mut body)?)?,
            _ if kind == OFPIT_EXPERIMENTER => {
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
    actions.extend(
        [clear, write, metadata, trigger, goto]
            .into_iter()
            .flatten(),
    );
    match order::check(&actions, version, Outer::Flow) {
        Ok(()) => Ok(actions),
        Err(misplaced) => bad("place of an action", misplaced.error()),
    }
}

/// `flags(4)`, then an `ofp_stats`: reserved(2), length(2), fields, padding.
fn stat_trigger(body: &mut Reader) -> Result<Action, DecodeError> {
    let flags = body.u32()?;
    body.skip(2)?;
    let len = usize::from(body.u16()?);
    let Some(len) = len.checked_sub(STATS_HEADER_LEN) else {
        return bad("length of statistics", OfError::BicBadLen);
    };
    let thresholds = body.bytes(len)?.to_vec();
    if body.remaining() >= 8 {
        return bad("length of statistics", OfError::BicBadLen);
    }
    body.skip(body.remaining())?;
    Ok(Action::StatTrigger { flags, thresholds })
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), DecodeError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => bad("instruction", OfError::BicDupInst),
    }
}

/// Writes a list as instructions: its actions become one Apply-Actions.
pub(crate) fn encode_list(e: &mut Encoder, w: &mut Writer, actions: &[Action]) {
    let is_applied = |e: &Encoder, action: &Action| match action {
        Action::Meter(_) => Form::Meter.instruction_number(e.version).is_none(),
        _ => !action.is_instruction(),
    };
    let mut rest = actions;
    while let Some((first, tail)) = rest.split_first() {
        if is_applied(e, first) {
            let end = rest.iter().position(|a| !is_applied(e, a));
            let (apply, tail) = rest.split_at(end.unwrap_or(rest.len()));
            with_actions(e, w, Form::ApplyActions, apply);
            rest = tail;
            continue;
        }
        match first {
            Action::Meter(id) => instruction(e, w, Form::Meter, |_, w| w.u32(*id)),
            Action::ClearActions => instruction(e, w, Form::ClearActions, |_, w| w.zeros(4)),
            Action::WriteActions(set) => with_actions(e, w, Form::WriteActions, set),
            Action::WriteMetadata { value, mask } => {
                instruction(e, w, Form::WriteMetadata, |_, w| {
                    w.zeros(4);
                    w.u64(*value);
                    w.u64(*mask);
                });
            }
            Action::StatTrigger { flags, thresholds } => {
                instruction(e, w, Form::StatTrigger, |_, w| {
                    w.u32(*flags);
                    let start = w.len();
                    w.zeros(STATS_HEADER_LEN);
                    w.bytes(thresholds);
                    w.patch_len(start + 2, start);
                    w.pad8(start);
                });
            }
            Action::GotoTable(table) => instruction(e, w, Form::GotoTable, |_, w| {
                w.u8(*table);
                w.zeros(3);
            }),
            _ => e.leave_out(first.form().name()),
        }
        rest = tail;
    }
}

/// An empty list is written as well: it clears nothing and does nothing, but is what was said.
fn with_actions(e: &mut Encoder, w: &mut Writer, form: Form, actions: &[Action]) {
    instruction(e, w, form, |e, w| {
        w.zeros(4);
        e.list(w, actions);
    });
}

fn instruction(
    e: &mut Encoder,
    w: &mut Writer,
    form: Form,
    write: impl FnOnce(&mut Encoder, &mut Writer),
) {
    let Some(number) = form.instruction_number(e.version) else {
        return e.leave_out(form.name());
    };
    let start = w.len();
    w.u16(number);
    w.u16(0);
    write(e, w);
    w.patch_len(start + 2, start);
}
