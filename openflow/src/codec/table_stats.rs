//! Table statistics. Up to 1.2 they say what a table can do as well; from 1.3 on
//! [`super::table_features`] does.
//!
//! Source: OpenFlow 1.0.0, 5.3.5; OpenFlow 1.1.0, A.3.5.3; OpenFlow 1.2, A.3.5.3; OpenFlow 1.3.5,
//! 7.3.5.4.

use super::kind::Kind;
use super::writer::MessageWriter;
use crate::message::TableStats;
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer};

const NAME_LEN: usize = 32;

/// 1.0: table(1), pad(3), name(32), wildcards(4), max(4), active(4), lookups(8), matches(8).
/// 1.1: table(1), pad(7), name(32), wildcards(4), match(4), instructions(4), write_actions(4),
/// apply_actions(4), config(4), max(4), active(4), lookups(8), matches(8).
/// 1.2: table(1), pad(7), name(32), match(8), wildcards(8), write_actions(4), apply_actions(4),
/// write_setfields(8), apply_setfields(8), metadata_match(8), metadata_write(8), instructions(4),
/// config(4), max(4), active(4), lookups(8), matches(8).
/// 1.3: table(1), pad(3), active(4), lookups(8), matches(8).
pub(super) fn decode(r: &mut Reader, v: Version) -> Result<Vec<TableStats>, DecodeError> {
    let mut tables = Vec::new();
    while !r.is_empty() {
        let mut t = TableStats {
            table_id: r.u8()?,
            ..TableStats::default()
        };
        r.skip(3)?;
        match v {
            Version::Of10 => {
                t.name = r.string(NAME_LEN)?;
                t.wildcards = r.u32()?.into();
            }
            Version::Of11 => {
                r.skip(4)?;
                t.name = r.string(NAME_LEN)?;
                t.wildcards = r.u32()?.into();
                t.matches = r.u32()?.into();
                t.instructions = r.u32()?;
                t.write_actions = r.u32()?;
                t.apply_actions = r.u32()?;
                t.config = r.u32()?;
            }
            Version::Of12 => {
                r.skip(4)?;
                t.name = r.string(NAME_LEN)?;
                t.matches = r.u64()?;
                t.wildcards = r.u64()?;
                t.write_actions = r.u32()?;
                t.apply_actions = r.u32()?;
                t.write_set_fields = r.u64()?;
                t.apply_set_fields = r.u64()?;
                t.metadata_match = r.u64()?;
                t.metadata_write = r.u64()?;
                t.instructions = r.u32()?;
                t.config = r.u32()?;
            }
            _ => {}
        }
        if v < Version::Of13 {
            t.max_entries = r.u32()?;
        }
        t.active_count = r.u32()?;
        t.lookup_count = r.u64()?;
        t.matched_count = r.u64()?;
        tables.push(t);
    }
    Ok(tables)
}

pub(super) fn encode(o: &mut MessageWriter, tables: &[TableStats]) {
    let v = o.version();
    o.parts(Kind::TableStatsReply, tables, |o, t| {
        encode_one(&mut o.w, t, v)
    });
}

/// Bits that the version's number is too short for are left out.
fn encode_one(w: &mut Writer, t: &TableStats, v: Version) {
    w.u8(t.table_id);
    w.zeros(3);
    match v {
        Version::Of10 => {
            w.string(&t.name, NAME_LEN);
            w.u32(t.wildcards as u32);
        }
        Version::Of11 => {
            w.zeros(4);
            w.string(&t.name, NAME_LEN);
            w.u32(t.wildcards as u32);
            w.u32(t.matches as u32);
            w.u32(t.instructions);
            w.u32(t.write_actions);
            w.u32(t.apply_actions);
            w.u32(t.config);
        }
        Version::Of12 => {
            w.zeros(4);
            w.string(&t.name, NAME_LEN);
            w.u64(t.matches);
            w.u64(t.wildcards);
            w.u32(t.write_actions);
            w.u32(t.apply_actions);
            w.u64(t.write_set_fields);
            w.u64(t.apply_set_fields);
            w.u64(t.metadata_match);
            w.u64(t.metadata_write);
            w.u32(t.instructions);
            w.u32(t.config);
        }
        _ => {}
    }
    if v < Version::Of13 {
        w.u32(t.max_entries);
    }
    w.u32(t.active_count);
    w.u64(t.lookup_count);
    w.u64(t.matched_count);
}
