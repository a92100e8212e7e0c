//! `learn(...)`.
//!
//! Source: ovs-actions(7), "The learn action".

use super::parts::short_field;
use super::{fail, integer16, number, number64, writable, wrong};
use crate::action::{Learn, LearnDst, LearnSpec, LearnSrc, Subfield};
use crate::field::low_bits;
use crate::text::argument::ArgumentError;
use crate::text::error::{Error, ErrorKind};
use crate::text::matches::DEFAULT_PRIORITY;
use crate::text::ports::Names;
use crate::text::token::{Pair, Pairs, Piece};
use crate::text::{fields, subfield, value};

/// The table that flows are learned into when none is named.
const DEFAULT_TABLE: u8 = 1;

pub(super) fn parse(arg: Piece<'_>, names: &Names) -> Result<Learn, Error> {
    let mut learn = Learn {
        idle_timeout: 0,
        hard_timeout: 0,
        priority: DEFAULT_PRIORITY,
        cookie: 0,
        table_id: DEFAULT_TABLE,
        fin_idle_timeout: 0,
        fin_hard_timeout: 0,
        send_flow_rem: false,
        delete_learned: false,
        limit: 0,
        result_dst: None,
        specs: Vec::new(),
    };
    for pair in Pairs::new(arg) {
        let v = pair.value;
        match pair.key.text {
            "table" => match names.table(v.text) {
                Some(0xff) => {
                    return wrong(ArgumentError::LearnTable(arg.text.to_owned()), v);
                }
                Some(table) => learn.table_id = table,
                None => return fail(ErrorKind::UnknownTable(v.text.to_owned()), v),
            },
            "priority" => learn.priority = integer16(v, "priority")?,
            "idle_timeout" => learn.idle_timeout = integer16(v, "idle_timeout")?,
            "hard_timeout" => learn.hard_timeout = integer16(v, "hard_timeout")?,
            "fin_idle_timeout" => learn.fin_idle_timeout = integer16(v, "fin_idle_timeout")?,
            "fin_hard_timeout" => learn.fin_hard_timeout = integer16(v, "fin_hard_timeout")?,
            "cookie" => learn.cookie = number64(v)?,
            "send_flow_rem" => learn.send_flow_rem = true,
            "delete_learned" => learn.delete_learned = true,
            "limit" => learn.limit = number(v)?,
            "result_dst" => {
                let dst = subfield::parse(v)?;
                if !dst.field.info().is_settable() {
                    return fail(ErrorKind::ReadOnly(v.text.to_owned()), v);
                }
                if dst.bits != 1 {
                    return wrong(ArgumentError::LearnResult, v);
                }
                learn.result_dst = Some(dst);
            }
            _ => learn.specs.push(spec(arg, pair, names)?),
        }
    }
    Ok(learn)
}

fn spec(all: Piece<'_>, pair: Pair<'_>, names: &Names) -> Result<LearnSpec, Error> {
    let v = pair.value;
    if subfield::parse(pair.key).is_ok() {
        let dst = short_field(all, pair.key)?;
        let src = match v {
            v if v.is_empty() => LearnSrc::Field(dst),
            v => source(all, pair, v, dst, names)?,
        };
        return Ok(LearnSpec {
            src,
            dst: LearnDst::Match(dst),
        });
    }
    match pair.key.text {
        "load" => load(v),
        "output" => Ok(LearnSpec {
            src: LearnSrc::Field(short_field(all, v)?),
            dst: LearnDst::Output,
        }),
        word => {
            let (all, word) = (all.text.to_owned(), word.to_owned());
            wrong(ArgumentError::LearnKey { all, word }, pair.key)
        }
    }
}

/// What a field of the new flow must be: a field of the packet, or a value.
fn source(
    all: Piece<'_>,
    pair: Pair<'_>,
    v: Piece<'_>,
    dst: Subfield,
    names: &Names,
) -> Result<LearnSrc, Error> {
    let as_field = match subfield::parse(v) {
        Ok(src) if src.bits == dst.bits => {
            return short_field(all, v).map(LearnSrc::Field);
        }
        Ok(src) => {
            let kind = ArgumentError::LearnWidths {
                all: all.text.to_owned(),
                dst: pair.key.text.to_owned(),
                src_bits: src.bits,
                src: v.text.to_owned(),
                dst_bits: dst.bits,
            };
            return wrong(kind, v);
        }
        Err(e) => e.kind.to_string(),
    };
    let as_value = match immediate(all, v, dst, names) {
        Ok(value) => return Ok(LearnSrc::Value(value)),
        Err(text) => text,
    };
    let kind = ArgumentError::LearnValue {
        all: all.text.to_owned(),
        dst: pair.key.text.to_owned(),
        value: v.text.to_owned(),
        as_field,
        as_value,
    };
    wrong(kind, v)
}

/// The value of a whole field in the field's format, or a number; or what is wrong with it.
fn immediate(all: Piece<'_>, v: Piece<'_>, dst: Subfield, names: &Names) -> Result<u128, String> {
    if dst.is_whole() {
        let (n, mask) = fields::parse_set(dst.field, v, names).map_err(|e| e.kind.to_string())?;
        return if mask == fields::full_mask(dst.field) {
            Ok(n & low_bits(dst.bits))
        } else {
            Err(format!("{}: wildcards not allowed here", v.text))
        };
    }
    let n = value::number(v.text).ok_or(format!("{}: cannot parse integer value", all.text))?;
    if n & !low_bits(dst.bits) != 0 {
        let bits = dst.bits;
        return Err(format!(
            "{}: value {n:#x} does not fit into {bits} bits",
            all.text
        ));
    }
    Ok(n)
}

/// `VALUE->DST` or `SRC->DST`.
fn load(v: Piece<'_>) -> Result<LearnSpec, Error> {
    let Some((src, dst_text)) = v.split_once("->") else {
        return wrong(ArgumentError::LearnLoad(v.text.to_owned()), v);
    };
    let is_number = src.text.starts_with(|c: char| c.is_ascii_digit());
    if !is_number {
        let field = short_field(v, src)?;
        let dst = writable(short_field(v, dst_text)?, dst_text)?;
        if field.bits != dst.bits {
            let kind = ErrorKind::MoveWidths {
                text: v.text.to_owned(),
                src: field.bits.into(),
                dst: dst.bits.into(),
            };
            return fail(kind, v);
        }
        return Ok(LearnSpec {
            src: LearnSrc::Field(field),
            dst: LearnDst::Load(dst),
        });
    }
    let Some(n) = value::number(src.text) else {
        return wrong(ArgumentError::LearnWide(v.text.to_owned()), src);
    };
    let dst = writable(short_field(v, dst_text)?, dst_text)?;
    if n & !low_bits(dst.bits) != 0 {
        let all = v.text.to_owned();
        let bits = dst.bits;
        return wrong(ArgumentError::LearnFit { all, bits }, src);
    }
    Ok(LearnSpec {
        src: LearnSrc::Value(n),
        dst: LearnDst::Load(dst),
    })
}
