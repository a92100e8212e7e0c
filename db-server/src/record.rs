//! A transaction's changes as one JSON object of the database file, and back.
//!
//! ```text
//! {"_date": ms, "_comment": text, "_is_diff": true, TABLE: {UUID: null | {COLUMN: VALUE}}}
//! ```
//!
//! `null` is a deleted row. A row that is not there yet is inserted, with defaults for columns
//! that are not named. With `_is_diff`, the value of a column that can hold several elements is
//! what [`Datum::diff`] gives; otherwise it is the whole new value. Ephemeral columns are left out.
//!
//! Source: ovsdb(5), "Database Serialization"; checked against files that ovsdb-server 3.1 wrote.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use ovsdb::schema::ColumnType;
use ovsdb::value::{NoNames, parse_uuid, write_string_json, write_uuid};
use ovsdb::{Datum, Uuid};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::database::{Change, Column, Database, Delta, Row, Table, TableId};

/// Why a record cannot be applied.
#[derive(Debug, Error)]
pub enum Error {
    #[error("not a JSON object")]
    NotAnObject,
    #[error("no table named {0}")]
    NoTable(String),
    #[error("table {0}: not an object of rows")]
    NotRows(String),
    #[error("table {table}: \"{uuid}\" is not a UUID")]
    BadUuid { table: String, uuid: String },
    #[error("table {table} row {uuid}: deleted but not there")]
    NotThere { table: String, uuid: Uuid },
    #[error("table {table} row {uuid}: no column named {column}")]
    NoColumn {
        table: String,
        uuid: Uuid,
        column: String,
    },
    #[error("table {table} row {uuid} column {column}: {source}")]
    Value {
        table: String,
        uuid: Uuid,
        column: String,
        source: Box<ovsdb::Error>,
    },
}

/// The text of a delta's record, or `None` when only ephemeral columns changed.
///
/// Units: `date_ms` since 1970. `diff` chooses the shorter form for sets and maps.
pub fn encode(
    db: &Database,
    delta: &Delta,
    comment: Option<&str>,
    date_ms: u64,
    diff: bool,
) -> Option<Vec<u8>> {
    let mut text = format!("{{\"_date\":{date_ms}").into_bytes();
    let before = text.len();
    for (table_id, changes) in &delta.tables {
        let Some(table) = db.table(*table_id) else {
            continue;
        };
        let mark = text.len();
        // Names of tables and columns need no escapes.
        text.extend_from_slice(format!(",\"{}\":{{", table.name).as_bytes());
        let mut any = false;
        for (uuid, change) in changes {
            let mark = text.len();
            text.extend_from_slice(if any { b",\"" } else { b"\"" });
            write_uuid(uuid, &mut text);
            text.extend_from_slice(b"\":");
            match encode_change(table, change, diff, &mut text) {
                Some(()) => any = true,
                None => text.truncate(mark),
            }
        }
        if any {
            text.push(b'}');
        } else {
            text.truncate(mark);
        }
    }
    if text.len() == before {
        return None;
    }
    if let Some(comment) = comment {
        text.extend_from_slice(b",\"_comment\":");
        write_string_json(comment, &mut text);
    }
    if diff {
        text.extend_from_slice(b",\"_is_diff\":true");
    }
    text.push(b'}');
    Some(text)
}

/// Appends what became of a row; `None` when nothing persistent changed, and then `text` has to be
/// cut back.
fn encode_change(table: &Table, change: &Change, diff: bool, text: &mut Vec<u8>) -> Option<()> {
    let Some(new) = &change.new else {
        text.extend_from_slice(b"null");
        return Some(());
    };
    text.push(b'{');
    let before = text.len();
    for (id, column) in persistent(table) {
        let column_type = &column.schema.column_type;
        let datum = new.get(id);
        let difference;
        let value = match &change.old {
            None if datum.is_default(column_type) => continue,
            None => datum,
            Some(old) if old.get(id) == datum => continue,
            Some(old) if diff && is_diffable(column_type) => {
                difference = Datum::diff(old.get(id), datum);
                &difference
            }
            Some(_) => datum,
        };
        if text.len() > before {
            text.push(b',');
        }
        text.push(b'"');
        text.extend_from_slice(column.name.as_bytes());
        text.extend_from_slice(b"\":");
        value.write_json(column_type, text);
    }
    let nothing = text.len() == before && change.old.is_some();
    text.push(b'}');
    (!nothing).then_some(())
}

/// Whether differences of the column are written as such: those that can hold several elements.
pub(crate) fn is_diffable(column_type: &ColumnType) -> bool {
    column_type.max > 1
}

/// The columns that the file holds.
fn persistent(table: &Table) -> impl Iterator<Item = (usize, &Column)> {
    table.columns.iter().enumerate().filter(|(id, column)| {
        *id != table.uuid_column && *id != table.version_column && !column.schema.ephemeral
    })
}

/// Rows as they are put together from records, before anything is derived from them.
pub type Rows = BTreeMap<TableId, BTreeMap<Uuid, Arc<Row>>>;

/// Applies one record to `rows`.
///
/// Errors: anything that does not fit the schema of `db`, by table, row and column.
pub fn apply(db: &Database, rows: &mut Rows, record: &Value) -> Result<(), Error> {
    let members = record.as_object().ok_or(Error::NotAnObject)?;
    let is_diff = members
        .get("_is_diff")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    for (name, changes) in members {
        // Members with an underscore describe the record.
        if name.starts_with('_') {
            continue;
        }
        let id = db.table_id(name);
        let (table_id, table) = id
            .and_then(|id| Some((id, db.table(id)?)))
            .ok_or_else(|| Error::NoTable(name.clone()))?;
        let changes = changes
            .as_object()
            .ok_or_else(|| Error::NotRows(name.clone()))?;
        let rows = rows.entry(table_id).or_default();
        for (uuid_text, columns) in changes {
            let uuid = parse_uuid(uuid_text).ok_or_else(|| Error::BadUuid {
                table: name.clone(),
                uuid: uuid_text.clone(),
            })?;
            match columns {
                Value::Null => {
                    if rows.remove(&uuid).is_none() {
                        return Err(Error::NotThere {
                            table: name.clone(),
                            uuid,
                        });
                    }
                }
                Value::Object(columns) => {
                    let (row, is_diff) = match rows.entry(uuid) {
                        Entry::Occupied(there) => (there.into_mut(), is_diff),
                        Entry::Vacant(place) => {
                            (place.insert(Arc::new(table.default_row(uuid))), false)
                        }
                    };
                    apply_columns(table, uuid, Arc::make_mut(row), columns, is_diff)?;
                }
                _ => return Err(Error::NotRows(name.clone())),
            }
        }
    }
    Ok(())
}

fn apply_columns(
    table: &Table,
    uuid: Uuid,
    row: &mut Row,
    columns: &Map<String, Value>,
    is_diff: bool,
) -> Result<(), Error> {
    for (name, value) in columns {
        let id = table.column_id(name);
        let (id, column) = id
            .and_then(|id| Some((id, table.column(id)?)))
            .ok_or_else(|| Error::NoColumn {
                table: table.name.clone(),
                uuid,
                column: name.clone(),
            })?;
        let column_type = &column.schema.column_type;
        let refuse = |source| Error::Value {
            table: table.name.clone(),
            uuid,
            column: name.clone(),
            source: Box::new(source),
        };
        if is_diff && is_diffable(column_type) {
            let diff = Datum::from_json(value, &column.diff_type, &mut NoNames);
            if let Some(datum) = row.get_mut(id) {
                datum.apply_diff(&diff.map_err(refuse)?);
            }
        } else {
            let datum = Datum::from_json(value, column_type, &mut NoNames).map_err(refuse)?;
            row.set(id, datum);
        }
    }
    Ok(())
}

/// The whole database as the delta that makes it from nothing.
pub fn snapshot(db: &Database) -> Delta {
    let mut delta = Delta::default();
    for (id, table) in db.tables().iter().enumerate() {
        for (uuid, row) in table.rows() {
            let change = Change {
                old: None,
                new: Some(row.clone()),
            };
            delta.tables.entry(id).or_default().insert(*uuid, change);
        }
    }
    delta
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovsdb::DatabaseSchema;
    use serde_json::json;

    fn parse(text: &[u8]) -> Value {
        serde_json::from_slice(text).unwrap()
    }

    fn database() -> Database {
        let any = json!({"key": "string", "min": 0, "max": "unlimited"});
        let schema = json!({"name": "d", "tables": {"T": {"isRoot": true, "columns": {
            "many": {"type": any},
            "one": {"type": {"key": "string", "min": 0}},
            "eph": {"type": "string", "ephemeral": true},
        }}}});
        Database::new(DatabaseSchema::from_json(&schema).unwrap())
    }

    fn row(db: &Database, many: &[&str], one: Option<&str>, eph: &str) -> Arc<Row> {
        let table = db.table(0).unwrap();
        let mut row = table.default_row(Uuid::from_u128(1));
        row.set(
            table.column_id("many").unwrap(),
            Datum::set(many.iter().copied()),
        );
        row.set(table.column_id("one").unwrap(), Datum::optional(one));
        row.set(table.column_id("eph").unwrap(), Datum::string(eph));
        Arc::new(row)
    }

    fn delta(old: Option<&Arc<Row>>, new: Option<&Arc<Row>>) -> Delta {
        let change = Change {
            old: old.cloned(),
            new: new.cloned(),
        };
        Delta {
            tables: [(0, [(Uuid::from_u128(1), change)].into())].into(),
        }
    }

    #[test]
    fn records_lead_to_the_same_rows() {
        let db = database();
        let steps = [
            Some(row(&db, &["a"], None, "x")),
            Some(row(&db, &["a", "b"], Some("q"), "x")),
            Some(row(&db, &["b", "c"], Some("r"), "y")),
            Some(row(&db, &[], None, "y")),
            None,
        ];
        for diff in [true, false] {
            let mut rows = Rows::new();
            let mut old: Option<&Arc<Row>> = None;
            for step in &steps {
                let record = encode(&db, &delta(old, step.as_ref()), None, 1, diff).unwrap();
                apply(&db, &mut rows, &parse(&record)).unwrap();
                let got = rows.get(&0).and_then(|rows| rows.get(&Uuid::from_u128(1)));
                let json = |row: &Row| {
                    let change = Change {
                        old: None,
                        new: Some(Arc::new(row.clone())),
                    };
                    let mut text = Vec::new();
                    encode_change(db.table(0).unwrap(), &change, false, &mut text);
                    String::from_utf8(text).unwrap()
                };
                assert_eq!(got.map(|row| json(row)), step.as_ref().map(|row| json(row)));
                old = step.as_ref();
            }
        }
    }

    #[test]
    fn diff_form_is_that_of_ovsdb_server() {
        let db = database();
        let (a, b) = (
            row(&db, &["a", "b"], Some("q"), "x"),
            row(&db, &["b", "c"], None, "y"),
        );
        let record = encode(&db, &delta(Some(&a), Some(&b)), Some("why"), 7, true).unwrap();
        assert_eq!(
            parse(&record),
            json!({"_date": 7, "_comment": "why", "_is_diff": true, "T": {
                "00000000-0000-0000-0000-000000000001":
                    {"many": ["set", ["a", "c"]], "one": ["set", []]}
            }})
        );
        let same = row(&db, &["a", "b"], Some("q"), "z");
        assert_eq!(
            encode(&db, &delta(Some(&a), Some(&same)), None, 7, true),
            None
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let db = database();
        for (record, expected) in [
            (json!([]), "not a JSON object"),
            (json!({"X": {}}), "no table named X"),
            (json!({"T": 5}), "table T: not an object of rows"),
            (json!({"T": {"5": {}}}), "table T: \"5\" is not a UUID"),
            (
                json!({"T": {"00000000-0000-0000-0000-000000000001": null}}),
                "table T row 00000000-0000-0000-0000-000000000001: deleted but not there",
            ),
            (
                json!({"T": {"00000000-0000-0000-0000-000000000001": {"x": 1}}}),
                "table T row 00000000-0000-0000-0000-000000000001: no column named x",
            ),
            (
                json!({"T": {"00000000-0000-0000-0000-000000000001": {"one": 1}}}),
                "table T row 00000000-0000-0000-0000-000000000001 column one: syntax 1: syntax error: expected string",
            ),
        ] {
            let error = apply(&db, &mut Rows::new(), &record).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
