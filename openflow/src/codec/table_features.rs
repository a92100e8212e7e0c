//! `OFPMP_TABLE_FEATURES` of 1.3.
//!
//! ```text
//! length(2), table(1), pad(5), name(32), metadata_match(8), metadata_write(8), config(4),
//! max_entries(4), properties: type(2), length(2) without padding, body, padding to 8
//! ```
//!
//! Properties for packets that miss are left out, which says that they are the same.
//!
//! Source: OpenFlow 1.3.5, 7.3.5.5.

use super::kind::Kind;
use super::nxm;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::field::{Field, Maskable};
use crate::message::TableFeatures;
use crate::wire::{DecodeError, Reader, Writer, bad, pad8};

const INSTRUCTIONS: u16 = 0;
const NEXT_TABLES: u16 = 2;
const WRITE_ACTIONS: u16 = 4;
const APPLY_ACTIONS: u16 = 6;
const MATCH: u16 = 8;
const WILDCARDS: u16 = 10;
const WRITE_SETFIELD: u16 = 12;
const APPLY_SETFIELD: u16 = 14;

const NAME_LEN: usize = 32;
const ID_LEN: u16 = 4;
const PROPERTY_HEADER_LEN: usize = 4;

/// The tables of a reply; properties that are not known and fields that are not carried are
/// skipped.
pub(super) fn decode(r: &mut Reader) -> Result<Vec<TableFeatures>, DecodeError> {
    let mut tables = Vec::new();
    while !r.is_empty() {
        let len = usize::from(Reader::new(r.rest(), OfError::BrcBadLen).u16()?);
        let mut entry = r.sub(len, OfError::BrcBadLen)?;
        entry.skip(2)?;
        tables.push(decode_one(&mut entry)?);
    }
    Ok(tables)
}

fn decode_one(r: &mut Reader) -> Result<TableFeatures, DecodeError> {
    const LEN: OfError = OfError::BpcBadLen;
    let table_id = r.u8()?;
    r.skip(5)?;
    let mut t = TableFeatures {
        table_id,
        name: r.string(NAME_LEN)?,
        metadata_match: r.u64()?,
        metadata_write: r.u64()?,
        config: r.u32()?,
        max_entries: r.u32()?,
        instructions: Vec::new(),
        next_tables: Vec::new(),
        write_actions: Vec::new(),
        apply_actions: Vec::new(),
        matches: Vec::new(),
        wildcards: Vec::new(),
        write_set_fields: Vec::new(),
        apply_set_fields: Vec::new(),
    };
    while !r.is_empty() {
        let mut header = Reader::new(r.rest(), LEN);
        let kind = header.u16()?;
        let len = usize::from(header.u16()?);
        if len < PROPERTY_HEADER_LEN || pad8(len) > r.remaining() {
            return bad("length of a table property", LEN);
        }
        let mut padded = r.sub(pad8(len), LEN)?;
        let mut body = padded.sub(len, LEN)?;
        body.skip(PROPERTY_HEADER_LEN)?;
        match kind {
            INSTRUCTIONS => t.instructions = decode_ids(&mut body)?,
            NEXT_TABLES => t.next_tables = body.rest().to_vec(),
            WRITE_ACTIONS => t.write_actions = decode_ids(&mut body)?,
            APPLY_ACTIONS => t.apply_actions = decode_ids(&mut body)?,
            MATCH => t.matches = decode_fields(&mut body)?,
            WILDCARDS => t.wildcards = decode_fields(&mut body)?,
            WRITE_SETFIELD => t.write_set_fields = decode_fields(&mut body)?,
            APPLY_SETFIELD => t.apply_set_fields = decode_fields(&mut body)?,
            _ => {}
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

fn decode_fields(r: &mut Reader) -> Result<Vec<Field>, DecodeError> {
    let mut fields = Vec::new();
    while !r.is_empty() {
        fields.extend(nxm::decode_listed_field(r)?);
    }
    Ok(fields)
}

pub(super) fn encode(o: &mut MessageWriter, tables: &[TableFeatures]) {
    o.parts(Kind::TableFeaturesReply, tables, |o, t| {
        encode_one(&mut o.w, t)
    });
}

fn encode_one(w: &mut Writer, t: &TableFeatures) {
    let start = w.len();
    w.u16(0);
    w.u8(t.table_id);
    w.zeros(5);
    w.string(&t.name, NAME_LEN);
    w.u64(t.metadata_match);
    w.u64(t.metadata_write);
    w.u32(t.config);
    w.u32(t.max_entries);
    property(w, INSTRUCTIONS, |w| encode_ids(w, &t.instructions));
    property(w, NEXT_TABLES, |w| w.bytes(&t.next_tables));
    property(w, WRITE_ACTIONS, |w| encode_ids(w, &t.write_actions));
    property(w, APPLY_ACTIONS, |w| encode_ids(w, &t.apply_actions));
    property(w, MATCH, |w| {
        for field in &t.matches {
            let maskable = field.info().maskable == Maskable::Any;
            nxm::encode_listed_field(w, *field, maskable);
        }
    });
    property(w, WILDCARDS, |w| encode_fields(w, &t.wildcards));
    property(w, WRITE_SETFIELD, |w| encode_fields(w, &t.write_set_fields));
    property(w, APPLY_SETFIELD, |w| encode_fields(w, &t.apply_set_fields));
    w.patch_len(start, start);
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

fn property(w: &mut Writer, kind: u16, write: impl FnOnce(&mut Writer)) {
    let start = w.len();
    w.u16(kind);
    w.u16(0);
    write(w);
    w.patch_len(start + 2, start);
    w.pad8(start);
}
