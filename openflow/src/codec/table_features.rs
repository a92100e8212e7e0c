//! `OFPMP_TABLE_FEATURES` of 1.3 and later.
//!
//! ```text
//! length(2), table(1), pad(5), name(32), metadata_match(8), metadata_write(8), capabilities(4),
//! max_entries(4), properties
//! ```
//!
//! In 1.5 the padding is command(1), features(4).
//!
//! Source: OpenFlow 1.3.5, 7.3.5.5; OpenFlow 1.4.0, 7.3.5.5; OpenFlow 1.5.1, 7.3.5.18.

use super::kind::Kind;
use super::nxm;
use super::property;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::field::Field;
use crate::message::{TableActions, TableFeatures, TableInstructions};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

/// These are for packets that match; the types for packets that miss are one higher.
const INSTRUCTIONS: u16 = 0;
const NEXT_TABLES: u16 = 2;
const WRITE_ACTIONS: u16 = 4;
const APPLY_ACTIONS: u16 = 6;
const WRITE_SETFIELD: u16 = 12;
const APPLY_SETFIELD: u16 = 14;
const MATCH: u16 = 8;
const WILDCARDS: u16 = 10;

const NAME_LEN: usize = 32;
const LEN: usize = 64;
const ID_LEN: u16 = 4;

/// The tables of a request or reply; fields that are not known are skipped.
///
/// Errors: `OFPBPC_BAD_LEN`.
pub(super) fn decode(r: &mut Reader, v: Version) -> Result<Vec<TableFeatures>, DecodeError> {
    let mut tables = Vec::new();
    while !r.is_empty() {
        let len = usize::from(Reader::new(r.rest(), OfError::BpcBadLen).u16()?);
        if len < LEN || !len.is_multiple_of(8) || len > r.remaining() {
            return bad("length of a table's features", OfError::BpcBadLen);
        }
        let mut entry = r.sub(len, OfError::BpcBadLen)?;
        entry.skip(2)?;
        tables.push(decode_one(&mut entry, v)?);
    }
    Ok(tables)
}

fn decode_one(r: &mut Reader, v: Version) -> Result<TableFeatures, DecodeError> {
    let mut t = TableFeatures {
        table_id: r.u8()?,
        command: r.u8()?,
        features: r.u32()?,
        name: r.string(NAME_LEN)?,
        metadata_match: r.u64()?,
        metadata_write: r.u64()?,
        capabilities: r.u32()?,
        max_entries: r.u32()?,
        ..TableFeatures::default()
    };
    if v < Version::Of15 {
        (t.command, t.features) = (0, 0);
    }
    while !r.is_empty() {
        let (kind, mut value) = property::read(r)?;
        // The lowest bit of the types below says "for packets that miss".
        let part = if kind & 1 == 0 {
            &mut t.others
        } else {
            &mut t.miss
        };
        match kind {
            MATCH => t.matches = decode_masked_fields(&mut value)?,
            WILDCARDS => t.wildcards = decode_fields(&mut value)?,
            _ => match kind & !1 {
                INSTRUCTIONS => part.instructions = decode_ids(&mut value)?,
                NEXT_TABLES => part.next_tables = value.rest().to_vec(),
                WRITE_ACTIONS => part.write.actions = decode_ids(&mut value)?,
                APPLY_ACTIONS => part.apply.actions = decode_ids(&mut value)?,
                WRITE_SETFIELD => part.write.set_fields = decode_fields(&mut value)?,
                APPLY_SETFIELD => part.apply.set_fields = decode_fields(&mut value)?,
                _ => t.other.push(property::keep(kind, &mut value)?),
            },
        }
    }
    Ok(t)
}

/// Instruction or action ids: type(2), length(2), of which experimenter ids have more.
fn decode_ids(r: &mut Reader) -> Result<Vec<u16>, DecodeError> {
    let mut ids = Vec::new();
    while !r.is_empty() {
        let id = r.u16()?;
        match r.u16()?.checked_sub(ID_LEN) {
            Some(more) => r.skip(more.into())?,
            None => return Err(r.truncated()),
        }
        ids.push(id);
    }
    Ok(ids)
}

fn decode_masked_fields(r: &mut Reader) -> Result<Vec<(Field, bool)>, DecodeError> {
    let mut fields = Vec::new();
    while !r.is_empty() {
        fields.extend(nxm::decode_listed_field(r)?);
    }
    Ok(fields)
}

fn decode_fields(r: &mut Reader) -> Result<Vec<Field>, DecodeError> {
    let fields = decode_masked_fields(r)?;
    Ok(fields.into_iter().map(|(field, _)| field).collect())
}

/// A request without tables asks for all.
pub(super) fn encode(o: &mut MessageWriter, kind: Kind, tables: &[TableFeatures]) {
    let v = o.version();
    o.parts(kind, tables, |o, t| encode_one(&mut o.w, t, v));
}

fn encode_one(w: &mut Writer, t: &TableFeatures, v: Version) {
    let start = w.len();
    let is_15 = v >= Version::Of15;
    w.u16(0);
    w.u8(t.table_id);
    w.u8(if is_15 { t.command } else { 0 });
    w.u32(if is_15 { t.features } else { 0 });
    w.string(&t.name, NAME_LEN);
    w.u64(t.metadata_match);
    w.u64(t.metadata_write);
    w.u32(t.capabilities);
    w.u32(t.max_entries);
    encode_properties(w, t);
    w.patch_len(start, start);
}

/// A request that changes other things leaves them out, all or none.
fn encode_properties(w: &mut Writer, t: &TableFeatures) {
    let nothing = TableInstructions::default();
    if t.others == nothing && t.miss == nothing && t.matches.is_empty() && t.wildcards.is_empty() {
        return property::write_kept(w, &t.other);
    }
    encode_instructions(w, 0, &t.others);
    encode_instructions(w, 1, &t.miss);
    property::write(w, MATCH, |w| {
        for (field, masked) in &t.matches {
            nxm::encode_listed_field(w, *field, *masked);
        }
    });
    property::write(w, WILDCARDS, |w| encode_fields(w, &t.wildcards));
    property::write_kept(w, &t.other);
}

fn encode_instructions(w: &mut Writer, miss: u16, part: &TableInstructions) {
    property::write(w, INSTRUCTIONS + miss, |w| {
        encode_ids(w, &part.instructions);
    });
    property::write(w, NEXT_TABLES + miss, |w| w.bytes(&part.next_tables));
    let mut actions = |of: &TableActions, kind, fields_kind| {
        property::write(w, kind + miss, |w| encode_ids(w, &of.actions));
        property::write(w, fields_kind + miss, |w| encode_fields(w, &of.set_fields));
    };
    actions(&part.write, WRITE_ACTIONS, WRITE_SETFIELD);
    actions(&part.apply, APPLY_ACTIONS, APPLY_SETFIELD);
}

fn encode_ids(w: &mut Writer, ids: &[u16]) {
    for id in ids {
        w.u16(*id);
        w.u16(ID_LEN);
    }
}

fn encode_fields(w: &mut Writer, fields: &[Field]) {
    for field in fields {
        nxm::encode_listed_field(w, *field, false);
    }
}
