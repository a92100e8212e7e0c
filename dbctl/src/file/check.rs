//! `check`: a thorough look at database files.
//!
//! Unlike the server, which stops at the first thing that is wrong, this goes through the whole
//! file: every record's header, length, hash and JSON; every row against the schema; then, of what
//! the records add up to, every reference, index and row limit. Problems go to standard output with
//! the record and the byte where they are, and what can be done.

use std::collections::{BTreeMap, BTreeSet};

use db_server::database::Database;
use db_server::record::{self, Rows};
use ovsdb::schema::RefKind;
use ovsdb::value::datum_text;
use ovsdb::{Datum, Uuid};

use super::inspect::stored_schema;
use super::reader::Reader;
use super::{Call, Error, default_db};
use crate::print;

/// Problems printed of one file; the rest is counted.
const MAX_SHOWN: usize = 100;

pub fn check(call: &Call<'_>) -> Result<u8, Error> {
    let paths = match call.args {
        [] => vec![default_db()],
        args => args.to_vec(),
    };
    let mut status = 0;
    for path in paths {
        let report = examine(&path);
        print(&report.text(&path))?;
        if !report.errors.is_empty() {
            status = 1;
        }
    }
    Ok(status)
}

#[derive(Debug, Default)]
struct Report {
    records: usize,
    rows: usize,
    errors: Vec<String>,
    /// What the server puts right by itself.
    notes: Vec<String>,
    advice: BTreeSet<&'static str>,
}

const CUT: &str = "the server cuts a damaged last record off when it starts; \
                   keep a copy of the file if you want to look into it";
const DAMAGED: &str = "whole records follow the damaged one, so the server refuses the file: \
                       restore it from a copy, or cut it at that byte to give up what follows";
const BROKEN: &str = "no transaction of a server leaves such contents: restore the file from a \
                      copy, or correct the rows by hand in one made with 'convert'";
const COLLECTED: &str = "the server removes these when it reads the file; 'compact' does it now";
const UNREADABLE: &str = "give the name of a standalone database file that can be read";

impl Report {
    fn text(&self, path: &str) -> String {
        let mut lines = Vec::new();
        for (kind, list) in [("error", &self.errors), ("note", &self.notes)] {
            let shown = list.iter().take(MAX_SHOWN);
            lines.extend(shown.map(|text| format!("{path}: {kind}: {text}")));
            if let Some(more) = list.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
                lines.push(format!("{path}: {kind}: and {more} more"));
            }
        }
        lines.extend(self.advice.iter().map(|advice| format!("{path}: {advice}")));
        let verdict = if self.errors.is_empty() {
            "good".to_owned()
        } else {
            format!("{} errors", self.errors.len())
        };
        lines.push(format!(
            "{path}: {} records, {} rows: {verdict}",
            self.records, self.rows
        ));
        lines.join("\n") + "\n"
    }

    fn error(&mut self, advice: &'static str, text: String) {
        self.advice.insert(advice);
        self.errors.push(text);
    }

    fn note(&mut self, advice: &'static str, text: String) {
        self.advice.insert(advice);
        self.notes.push(text);
    }
}

fn examine(path: &str) -> Report {
    let mut report = Report::default();
    let start = Reader::open(path)
        .map_err(Error::from)
        .and_then(|mut reader| Ok((stored_schema(&mut reader)?, reader)));
    let (schema, mut reader) = match start {
        Ok(start) => start,
        Err(error) => {
            report.error(UNREADABLE, format!("record 0 at byte 0: {error}"));
            return report;
        }
    };
    report.records = 1;
    let db = Database::new(schema);
    let mut rows = Rows::new();
    loop {
        let at = reader.at();
        let number = report.records;
        match reader.next() {
            Ok(None) => break,
            Ok(Some(json)) => {
                report.records = report.records.saturating_add(1);
                if let Err(error) = record::apply(&db, &mut rows, &json) {
                    report.error(BROKEN, format!("record {number} at byte {at}: {error}"));
                }
            }
            Err(error) => {
                let text = format!("record {number} at byte {at}: {error}");
                if reader.skip() {
                    report.error(DAMAGED, text);
                } else {
                    report.error(CUT, text);
                }
            }
        }
    }
    contents(&db, &rows, &mut report);
    report
}

/// Checks what the records add up to.
fn contents(db: &Database, rows: &Rows, report: &mut Report) {
    let there =
        |table: usize, uuid: &Uuid| rows.get(&table).is_some_and(|rows| rows.contains_key(uuid));
    let mut referenced: BTreeSet<(usize, Uuid)> = BTreeSet::new();
    for (id, table) in db.tables().iter().enumerate() {
        let empty = BTreeMap::new();
        let own = rows.get(&id).unwrap_or(&empty);
        report.rows = report.rows.saturating_add(own.len());
        if let Some(max) = table.max_rows.filter(|max| own.len() as u64 > *max) {
            let (name, count) = (&table.name, own.len());
            report.error(
                BROKEN,
                format!("table {name}: {count} rows, of which {max} are allowed"),
            );
        }
        for (uuid, row) in own {
            for (column_id, column) in table.columns.iter().enumerate() {
                let mut missing = |kind, report: &mut Report| {
                    column.for_each_ref(row.get(column_id), kind, |target, to| {
                        if kind == RefKind::Strong && (target, to) != (id, *uuid) {
                            referenced.insert((target, to));
                        }
                        if there(target, &to) {
                            return;
                        }
                        let target = db.table(target).map_or("", |table| table.name.as_str());
                        let text = format!(
                            "table {} row {uuid} column {}: refers to row {to} of table {target}, \
                             which is not there",
                            table.name, column.name
                        );
                        match kind {
                            RefKind::Strong => report.error(BROKEN, text),
                            RefKind::Weak => report.note(COLLECTED, text),
                        }
                    });
                };
                missing(RefKind::Strong, report);
                missing(RefKind::Weak, report);
            }
        }
        for index in &table.indexes {
            let mut seen: BTreeMap<Vec<Datum>, Uuid> = BTreeMap::new();
            for (uuid, row) in own {
                if let Some(other) = seen.insert(index.key(row), *uuid) {
                    let columns = index.columns.iter().filter_map(|id| {
                        let column = table.column(*id)?;
                        let value = datum_text(row.get(*id), &column.schema.column_type);
                        Some(format!("{}={value}", column.name))
                    });
                    let columns: Vec<String> = columns.collect();
                    report.error(
                        BROKEN,
                        format!(
                            "table {}: rows {other} and {uuid} both have {}, which an index \
                             allows once",
                            table.name,
                            columns.join(" ")
                        ),
                    );
                }
            }
        }
    }
    for (id, table) in db
        .tables()
        .iter()
        .enumerate()
        .filter(|(_, table)| !table.is_root)
    {
        for uuid in rows.get(&id).into_iter().flat_map(BTreeMap::keys) {
            if !referenced.contains(&(id, *uuid)) {
                report.note(
                    COLLECTED,
                    format!("table {} row {uuid}: nothing refers to it", table.name),
                );
            }
        }
    }
}
