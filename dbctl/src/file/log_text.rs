//! `show-log`: the records of a file as text.
//!
//! Rows are called by the `name` that they had last, as far as they have one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use ovsdb::error::sorted_json;
use ovsdb::text;
use ovsdb::value::NoNames;
use ovsdb::{DatabaseSchema, Datum};
use serde_json::{Map, Value};

use super::inspect::stored_schema;
use super::reader::Reader;
use super::{Call, Error};
use crate::print;

pub fn show_log(call: &Call<'_>) -> Result<u8, Error> {
    let mut reader = Reader::open(&call.db())?;
    let schema = stored_schema(&mut reader)?;
    print(&format!(
        "record 0: \"{}\" schema, version=\"{}\", cksum=\"{}\"\n\n",
        schema.name,
        schema.version,
        schema.cksum.as_deref().unwrap_or("")
    ))?;
    let mut printer = Printer {
        schema,
        more: call.options.more,
        names: BTreeMap::new(),
        is_diff: false,
    };
    let mut number = 1usize;
    while let Some(record) = reader.next()? {
        print(&format!("record {number}:{}\n", printer.record(&record)))?;
        number = number.saturating_add(1);
    }
    Ok(0)
}

struct Printer {
    schema: DatabaseSchema,
    more: u32,
    /// What rows are called, by UUID.
    names: BTreeMap<String, String>,
    /// Whether the values of the present record's changed rows are differences.
    is_diff: bool,
}

impl Printer {
    fn record(&mut self, record: &Value) -> String {
        let mut out = String::new();
        let Some(members) = record.as_object() else {
            return out;
        };
        if let Some(date) = members.get("_date").and_then(Value::as_i64) {
            // Old files have seconds.
            let factor = if date < i64::from(i32::MAX) { 1000 } else { 1 };
            let ms = u64::try_from(date.saturating_mul(factor)).unwrap_or(0);
            let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms));
            let _ = write!(
                out,
                " {}",
                daemon::vlog::date_text(time.unwrap_or(UNIX_EPOCH))
            );
        }
        if let Some(comment) = members.get("_comment").and_then(Value::as_str) {
            let _ = write!(out, " \"{comment}\"");
        }
        if self.more > 0 {
            self.is_diff = members.get("_is_diff") == Some(&Value::Bool(true));
            self.changes(members, &mut out);
        }
        out
    }

    fn changes(&mut self, members: &Map<String, Value>, out: &mut String) {
        let tables = members
            .iter()
            .filter(|(name, _)| !name.starts_with('_'))
            .filter_map(|(name, rows)| Some((name, rows.as_object()?)));
        let mut first = true;
        for (table, rows) in tables {
            if std::mem::take(&mut first) {
                out.push('\n');
            }
            for (uuid, columns) in rows {
                self.row(table, uuid, columns, out);
            }
        }
    }

    fn row(&mut self, table: &str, uuid: &str, columns: &Value, out: &mut String) {
        let short: String = uuid.chars().take(8).collect();
        let new_name = columns.get("name").map(sorted_json);
        let _ = match (self.names.get(uuid), &new_name) {
            (Some(old), _) => {
                let diff = if self.is_diff { " diff" } else { "" };
                writeln!(out, "  table {table} row {old} ({short}){diff}:")
            }
            (None, Some(new)) => writeln!(out, "  table {table} insert row {new} ({short}):"),
            (None, None) => writeln!(out, "  table {table} insert row {short}:"),
        };
        match columns {
            Value::Object(columns) => {
                if self.more > 1 {
                    for (column, value) in columns {
                        let _ = writeln!(out, "    {column}={}", self.value(table, column, value));
                    }
                }
                if let Some(name) = new_name {
                    self.names.insert(uuid.to_owned(), name);
                } else {
                    self.names.entry(uuid.to_owned()).or_insert(short);
                }
            }
            Value::Null => {
                out.push_str("    delete row\n");
                self.names.remove(uuid);
            }
            _ => {}
        }
    }

    fn value(&self, table: &str, column: &str, value: &Value) -> String {
        let schema = self
            .schema
            .table(table)
            .and_then(|table| table.columns.get(column));
        schema
            .and_then(|schema| {
                let datum = Datum::from_json(value, &schema.column_type, &mut NoNames).ok()?;
                Some(text::to_text(&datum, &schema.column_type))
            })
            .unwrap_or_else(|| sorted_json(value))
    }
}
