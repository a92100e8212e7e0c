//! The configuration of tables.

use std::fmt::Write;

use super::Style;
use crate::message::{TABLE_ALL, TableMod, TableReason, TableStatus};
use crate::version::Version;

pub fn write_mod(out: &mut String, table: &TableMod, style: Style<'_>) {
    if table.table_id == TABLE_ALL {
        out.push_str(" table_id: ALL_TABLES");
    } else {
        out.push_str(" table_id=");
        style.names.write_table(out, table.table_id);
    }
    if matches!(style.version, Version::Of11 | Version::Of12) {
        out.push_str(match table.config & TableMod::MISS_MASK {
            0 => ", flow_miss_config=controller",
            1 => ", flow_miss_config=continue",
            2 => ", flow_miss_config=drop",
            _ => ", flow_miss_config=Unknown",
        });
    }
    if style.version >= Version::Of14 {
        let _ = write!(
            out,
            ", eviction={}, vacancy=",
            on_off(table, TableMod::EVICTION)
        );
        match table.config & TableMod::VACANCY != 0 {
            true => {
                let (down, up) = table.vacancy.map_or((0, 0), |v| (v.down, v.up));
                let _ = write!(out, "on vacancy:{down},{up}");
            }
            false => out.push_str("off"),
        }
    }
}

fn on_off(table: &TableMod, bit: u32) -> &'static str {
    match table.config & bit != 0 {
        true => "on",
        false => "off",
    }
}

pub fn write_descs(out: &mut String, tables: &[TableMod], style: Style<'_>) {
    for table in tables {
        write_desc(out, table, style);
    }
}

fn write_desc(out: &mut String, table: &TableMod, style: Style<'_>) {
    out.push_str("\n  table ");
    style.names.write_table(out, table.table_id);
    let eviction = on_off(table, TableMod::EVICTION);
    let _ = write!(out, ":\n   eviction={eviction} eviction_flags=");
    match table.eviction_flags {
        None => out.push_str("(default)"),
        Some(flags) => write_eviction_flags(out, flags),
    }
    out.push_str("\n   vacancy=");
    match table.config & TableMod::VACANCY != 0 {
        true => {
            let (down, up, now) = table.vacancy.map_or((0, 0, 0), |v| (v.down, v.up, v.now));
            let _ = writeln!(
                out,
                "on vacancy_down={down}% vacancy_up={up}% vacancy={now}%"
            );
        }
        false => out.push_str("off\n"),
    }
}

fn write_eviction_flags(out: &mut String, flags: u32) {
    let mut words: Vec<String> = [(1, "OTHER"), (2, "IMPORTANCE"), (4, "LIFETIME")]
        .into_iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, word)| word.to_owned())
        .collect();
    let rest = flags & !TableMod::EVICTION_FLAGS;
    if rest != 0 {
        words.push(format!("0x{rest:x}"));
    }
    match words.is_empty() {
        true => out.push('0'),
        false => out.push_str(&words.join("|")),
    }
}

pub fn write_status(out: &mut String, status: &TableStatus, style: Style<'_>) {
    let reason = match status.reason {
        TableReason::VacancyDown => "VACANCY_DOWN",
        TableReason::VacancyUp => "VACANCY_UP",
    };
    let _ = write!(out, " reason={reason}\ntable_desc:-");
    write_desc(out, &status.table, style);
}
