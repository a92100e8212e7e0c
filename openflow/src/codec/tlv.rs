//! The table of Geneve options.
//!
//! Source: `nicira-ext.h`, `struct nx_tlv_table_mod` and `nx_tlv_table_reply`.

use super::kind::Kind;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{TlvCommand, TlvMap, TlvTable, TlvTableMod};
use crate::wire::{DecodeError, Reader, Writer, bad};

const REPLY_PAD: usize = 10;

/// command(2), pad(6), mappings.
///
/// Errors: `NXTTMFC_BAD_COMMAND`, and those of the mappings.
pub(super) fn decode_mod(r: &mut Reader) -> Result<TlvTableMod, DecodeError> {
    let command = match r.u16()? {
        0 => TlvCommand::Add,
        1 => TlvCommand::Delete,
        2 => TlvCommand::Clear,
        _ => return bad("command of an option table mod", OfError::NxttmfcBadCommand),
    };
    r.skip(6)?;
    let maps = decode_maps(r)?;
    Ok(TlvTableMod { command, maps })
}

/// max_space(4), max_fields(2), reserved(10), mappings.
pub(super) fn decode_table(r: &mut Reader) -> Result<TlvTable, DecodeError> {
    let max_space = r.u32()?;
    let max_fields = r.u16()?;
    r.skip(REPLY_PAD)?;
    Ok(TlvTable {
        max_space,
        max_fields,
        maps: decode_maps(r)?,
    })
}

/// class(2), type(1), len(1), index(2), pad(2).
///
/// Errors: `NXTTMFC_BAD_OPT_LEN`, `NXTTMFC_BAD_FIELD_IDX`.
fn decode_maps(r: &mut Reader) -> Result<Vec<TlvMap>, DecodeError> {
    let mut maps = Vec::new();
    while !r.is_empty() {
        let map = TlvMap {
            class: r.u16()?,
            kind: r.u8()?,
            len: r.u8()?,
            index: r.u16()?,
        };
        r.skip(2)?;
        if map.len > TlvMap::MAX_LEN || !map.len.is_multiple_of(4) {
            return bad("length of an option", OfError::NxttmfcBadOptLen);
        }
        if map.index >= TlvMap::FIELDS {
            return bad("field of an option", OfError::NxttmfcBadFieldIdx);
        }
        maps.push(map);
    }
    Ok(maps)
}

fn write_maps(w: &mut Writer, maps: &[TlvMap]) {
    for map in maps {
        w.u16(map.class);
        w.u8(map.kind);
        w.u8(map.len);
        w.u16(map.index);
        w.zeros(2);
    }
}

pub(super) fn encode_mod(o: &mut MessageWriter, tm: &TlvTableMod) {
    o.begin(Kind::TlvTableMod);
    o.w.u16(match tm.command {
        TlvCommand::Add => 0,
        TlvCommand::Delete => 1,
        TlvCommand::Clear => 2,
    });
    o.w.zeros(6);
    write_maps(&mut o.w, &tm.maps);
    o.end();
}

pub(super) fn encode_table(o: &mut MessageWriter, table: &TlvTable) {
    o.begin(Kind::TlvTableReply);
    o.w.u32(table.max_space);
    o.w.u16(table.max_fields);
    o.w.zeros(REPLY_PAD);
    write_maps(&mut o.w, &table.maps);
    o.end();
}
