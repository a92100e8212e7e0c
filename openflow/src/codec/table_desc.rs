//! The configuration of tables: `OFPT_TABLE_MOD`, `OFPMP_TABLE_DESC` and `OFPT_TABLE_STATUS`.
//!
//! Source: OpenFlow 1.1.0, A.3.4.3; OpenFlow 1.4.1, 7.3.4.3, 7.3.5.16 and 7.4.5.

use super::kind::Kind;
use super::property;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{TableMod, TableReason, TableStatus, Vacancy};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

const EVICTION: u16 = 2;
const VACANCY: u16 = 3;
const VACANCY_DOWN: u8 = TableReason::VacancyDown.wire();
const VACANCY_UP: u8 = TableReason::VacancyUp.wire();

/// table(1), pad(3), config(4), properties in 1.4 and later.
pub(super) fn decode_mod(r: &mut Reader, v: Version) -> Result<TableMod, DecodeError> {
    let table_id = r.u8()?;
    r.skip(3)?;
    let table = decode_rest(r, table_id, v)?;
    match table.vacancy {
        // How much is vacant is for the switch to tell.
        Some(vacancy) if vacancy.now != 0 => bad("vacancy of a table", OfError::BpcBadValue),
        _ => Ok(table),
    }
}

/// config(4), properties in 1.4 and later: eviction flags(4); vacancy down(1), up(1), now(1),
/// pad(1).
///
/// Errors: `OFPBPC_BAD_LEN`, `OFPBPC_BAD_TYPE`, and `OFPBPC_BAD_VALUE` for percentages that are
/// none or in the wrong order.
fn decode_rest(r: &mut Reader, table_id: u8, v: Version) -> Result<TableMod, DecodeError> {
    let mut table = TableMod {
        table_id,
        config: r.u32()?,
        ..TableMod::default()
    };
    while v >= Version::Of14 && !r.is_empty() {
        let (kind, mut value) = property::read(r)?;
        match kind {
            EVICTION => table.eviction_flags = Some(value.u32()?),
            VACANCY => {
                let vacancy = Vacancy {
                    down: value.u8()?,
                    up: value.u8()?,
                    now: value.u8()?,
                };
                value.skip(1)?;
                if vacancy.up > 100 || vacancy.down > vacancy.up {
                    return bad("vacancy of a table", OfError::BpcBadValue);
                }
                table.vacancy = Some(vacancy);
            }
            _ => return bad("property of a table", OfError::BpcBadType),
        }
        value.done()?;
    }
    Ok(table)
}

pub(super) fn encode_mod(o: &mut MessageWriter, table: &TableMod) {
    o.begin(Kind::TableMod);
    o.w.u8(table.table_id);
    o.w.zeros(3);
    let v = o.version();
    if v < Version::Of14 && (table.eviction_flags.is_some() || table.vacancy.is_some()) {
        o.not_expressible("eviction or vacancy of a table");
    }
    write_rest(&mut o.w, table, v);
    o.end();
}

fn write_rest(w: &mut Writer, table: &TableMod, v: Version) {
    w.u32(table.config);
    if v < Version::Of14 {
        return;
    }
    if let Some(flags) = table.eviction_flags {
        property::write(w, EVICTION, |w| w.u32(flags));
    }
    if let Some(vacancy) = table.vacancy {
        property::write(w, VACANCY, |w| {
            w.u8(vacancy.down);
            w.u8(vacancy.up);
            w.u8(vacancy.now);
            w.zeros(1);
        });
    }
}

/// Entries of length(2), table(1), pad(1), then as in a table-mod.
pub(super) fn decode_descs(r: &mut Reader, v: Version) -> Result<Vec<TableMod>, DecodeError> {
    let mut tables = Vec::new();
    while !r.is_empty() {
        tables.push(decode_desc(r, v)?);
    }
    Ok(tables)
}

fn decode_desc(r: &mut Reader, v: Version) -> Result<TableMod, DecodeError> {
    let len = usize::from(Reader::new(r.rest(), OfError::BrcBadLen).u16()?);
    let mut entry = r.sub(len, OfError::BrcBadLen)?;
    entry.skip(2)?;
    let table_id = entry.u8()?;
    entry.skip(1)?;
    decode_rest(&mut entry, table_id, v)
}

fn write_desc(w: &mut Writer, table: &TableMod, v: Version) {
    let start = w.len();
    w.u16(0);
    w.u8(table.table_id);
    w.zeros(1);
    write_rest(w, table, v);
    w.patch_len(start, start);
}

pub(super) fn encode_descs(o: &mut MessageWriter, tables: &[TableMod]) {
    let v = o.version();
    o.parts(Kind::TableDescReply, tables, |o, table| {
        write_desc(&mut o.w, table, v);
    });
}

/// reason(1), pad(7), a table's description.
pub(super) fn decode_status(r: &mut Reader, v: Version) -> Result<TableStatus, DecodeError> {
    let reason = match r.u8()? {
        VACANCY_DOWN => TableReason::VacancyDown,
        VACANCY_UP => TableReason::VacancyUp,
        _ => return bad("reason of a table's status", OfError::NxbrcBadReason),
    };
    r.skip(7)?;
    let table = decode_desc(r, v)?;
    Ok(TableStatus { reason, table })
}

pub(super) fn encode_status(o: &mut MessageWriter, status: &TableStatus) {
    let v = o.version();
    o.begin(Kind::TableStatus);
    o.w.u8(status.reason.wire());
    o.w.zeros(7);
    write_desc(&mut o.w, &status.table, v);
    o.end();
}
