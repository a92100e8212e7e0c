//! The action that adds flows.
//!
//! ```text
//! header(10)  idle_timeout(2)  hard_timeout(2)  priority(2)  cookie(8)  flags(2)  table(1)
//! zero(1)  fin_idle_timeout(2)  fin_hard_timeout(2)
//! in the second form: limit(4)  result_offset(2)  zero(2)  result field, when a flag says so
//! then parts:  0 0 src dst(2) n_bits(11), source, destination
//! source:      field(4) offset(2), or as many 16-bit words as hold the value
//! destination: field(4) offset(2), or nothing for an output
//! ```
//!
//! A part whose header is zero ends the list. A value is held in 128 bits; longer ones are
//! refused.
//!
//! Source: Open vSwitch `lib/ofp-actions.c`, the comment on `struct nx_action_learn`.

use super::action::Encoder;
use super::nx_action::{FIELD_IDS, subfield, writable};
use super::nxm;
use crate::action::{Action, Form, Learn, LearnDst, LearnSpec, LearnSrc, Subfield};
use crate::error::OfError;
use crate::field::low_bits;
use crate::wire::{DecodeError, Reader, Writer, bad};

const SEND_FLOW_REM: u16 = 1;
const DELETE_LEARNED: u16 = 1 << 1;
const WRITE_RESULT: u16 = 1 << 2;

const SRC_VALUE: u16 = 1 << 13;
const DST_MASK: u16 = 3 << 11;
const DST_MATCH: u16 = 0;
const DST_LOAD: u16 = 1 << 11;
const DST_OUTPUT: u16 = 2 << 11;
const N_BITS: u16 = 0x3ff;
/// Bits of a part's header that mean something.
const HEADER: u16 = SRC_VALUE | DST_MASK | N_BITS;

const BAD_ARGUMENT: OfError = OfError::BacBadArgument;

pub(super) fn decode(form: Form, r: &mut Reader) -> Result<Action, DecodeError> {
    let idle_timeout = r.u16()?;
    let hard_timeout = r.u16()?;
    let priority = r.u16()?;
    let cookie = r.u64()?;
    let flags = r.u16()?;
    let table_id = r.u8()?;
    r.zeros(1, BAD_ARGUMENT)?;
    let fin_idle_timeout = r.u16()?;
    let fin_hard_timeout = r.u16()?;
    if table_id == 0xff {
        return bad("table of learn", BAD_ARGUMENT);
    }
    let known = match form {
        Form::Learn2 => SEND_FLOW_REM | DELETE_LEARNED | WRITE_RESULT,
        _ => SEND_FLOW_REM | DELETE_LEARNED,
    };
    if flags & !known != 0 {
        return bad("flags of learn", BAD_ARGUMENT);
    }
    let (mut limit, mut result_dst) = (0, None);
    if form == Form::Learn2 {
        limit = r.u32()?;
        let offset = r.u16()?;
        r.zeros(2, OfError::NxbacMustBeZero)?;
        if flags & WRITE_RESULT != 0 {
            let dst = subfield(nxm::decode_field_id(r)?, offset, 1)?;
            result_dst = Some(writable(dst)?);
        } else if offset != 0 {
            return bad("result of learn", BAD_ARGUMENT);
        }
    }
    let mut specs = Vec::new();
    while !r.is_empty() {
        let header = r.u16()?;
        if header == 0 {
            break;
        }
        specs.push(spec(header, r)?);
    }
    r.zeros(r.remaining(), BAD_ARGUMENT)?;
    Ok(Action::Learn(Box::new(Learn {
        idle_timeout,
        hard_timeout,
        priority,
        cookie,
        table_id,
        fin_idle_timeout,
        fin_hard_timeout,
        send_flow_rem: flags & SEND_FLOW_REM != 0,
        delete_learned: flags & DELETE_LEARNED != 0,
        limit,
        result_dst,
        specs,
    })))
}

fn spec(header: u16, r: &mut Reader) -> Result<LearnSpec, DecodeError> {
    let bits = header & N_BITS;
    let is_value = header & SRC_VALUE != 0;
    let dst_kind = header & DST_MASK;
    let known = match dst_kind {
        DST_MATCH | DST_LOAD => true,
        DST_OUTPUT => !is_value,
        _ => false,
    };
    if !known || header & !HEADER != 0 {
        return bad("part of learn", BAD_ARGUMENT);
    }
    let src = if is_value {
        let words = usize::from(bits).div_ceil(16);
        let bytes = r.bytes(words * 2)?;
        let (high, low) = bytes.split_at(bytes.len().saturating_sub(16));
        let value = low.iter().fold(0, |v: u128, b| v << 8 | u128::from(*b));
        if high.iter().any(|b| *b != 0) || value & !low_bits(bits) != 0 {
            return bad("value in learn", BAD_ARGUMENT);
        }
        LearnSrc::Value(value)
    } else {
        LearnSrc::Field(part(r, bits)?)
    };
    let dst = match dst_kind {
        DST_MATCH => LearnDst::Match(part(r, bits)?),
        DST_LOAD => LearnDst::Load(writable(part(r, bits)?)?),
        _ => LearnDst::Output,
    };
    Ok(LearnSpec { src, dst })
}

fn part(r: &mut Reader, bits: u16) -> Result<Subfield, DecodeError> {
    let field = nxm::decode_field_id(r)?;
    subfield(field, r.u16()?, bits)
}

pub(super) fn encode(e: &mut Encoder, w: &mut Writer, learn: &Learn) {
    let fields = |spec: &LearnSpec| {
        let src = match spec.src {
            LearnSrc::Field(src) => Some(src),
            LearnSrc::Value(_) => None,
        };
        let dst = match spec.dst {
            LearnDst::Match(dst) | LearnDst::Load(dst) => Some(dst),
            LearnDst::Output => None,
        };
        [src, dst]
    };
    let mut parts = learn.specs.iter().flat_map(fields).flatten();
    let has_ids = parts.all(|part| nxm::has_short_id(part.field));
    let can_say = learn
        .specs
        .iter()
        .all(|spec| spec.is_valid() && spec.bits() <= N_BITS);
    if !has_ids || !can_say {
        return e.leave_out("learn");
    }
    let form = if learn.limit != 0 || learn.result_dst.is_some() {
        Form::Learn2
    } else {
        Form::Learn
    };
    e.form(w, form, |w| {
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        w.u16(learn.idle_timeout);
        w.u16(learn.hard_timeout);
        w.u16(learn.priority);
        w.u64(learn.cookie);
        w.u16(
            flag(learn.send_flow_rem, SEND_FLOW_REM)
                | flag(learn.delete_learned, DELETE_LEARNED)
                | flag(learn.result_dst.is_some(), WRITE_RESULT),
        );
        w.u8(learn.table_id);
        w.u8(0);
        w.u16(learn.fin_idle_timeout);
        w.u16(learn.fin_hard_timeout);
        if form == Form::Learn2 {
            w.u32(learn.limit);
            w.u16(learn.result_dst.map_or(0, |dst| dst.offset));
            w.u16(0);
            if let Some(dst) = learn.result_dst {
                nxm::encode_field_id(w, dst.field, FIELD_IDS);
            }
        }
        learn.specs.iter().for_each(|spec| encode_spec(w, spec));
    });
}

fn encode_spec(w: &mut Writer, spec: &LearnSpec) {
    let bits = spec.bits();
    let src = match spec.src {
        LearnSrc::Field(_) => 0,
        LearnSrc::Value(_) => SRC_VALUE,
    };
    let dst = match spec.dst {
        LearnDst::Match(_) => DST_MATCH,
        LearnDst::Load(_) => DST_LOAD,
        LearnDst::Output => DST_OUTPUT,
    };
    w.u16(src | dst | bits);
    match spec.src {
        LearnSrc::Field(src) => encode_part(w, src),
        LearnSrc::Value(value) => {
            let len = usize::from(bits).div_ceil(16) * 2;
            w.zeros(len.saturating_sub(16));
            w.uint(value, len.min(16));
        }
    }
    match spec.dst {
        LearnDst::Match(dst) | LearnDst::Load(dst) => encode_part(w, dst),
        LearnDst::Output => {}
    }
}

fn encode_part(w: &mut Writer, part: Subfield) {
    nxm::encode_field_id(w, part.field, FIELD_IDS);
    w.u16(part.offset);
}
