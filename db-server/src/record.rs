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

use ahash::HashMap;
use ovsdb::schema::ColumnType;
use ovsdb::value::{Elements, NoNames, parse_uuid, write_string_json, write_uuid};
use ovsdb::{Datum, Uuid};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::database::{Change, ColumnId, Database, Delta, Row, Table, TableId};

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
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(b"{\"_date\":");
    text.extend_from_slice(date_ms.to_string().as_bytes());
    let before = text.len();
    for (table_id, changes) in &delta.tables {
        let Some(table) = db.table(*table_id) else {
            continue;
        };
        let mark = text.len();
        // Names of tables and columns need no escapes.
        text.extend_from_slice(b",\"");
        text.extend_from_slice(table.name.as_bytes());
        text.extend_from_slice(b"\":{");
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
    for id in table.persistent_columns() {
        let datum = new.get(id);
        if change.old.as_ref().is_some_and(|old| old.get(id) == datum) {
            continue;
        }
        let Some(column) = table.column(id) else {
            continue;
        };
        let column_type = &column.schema.column_type;
        let difference;
        let value = match &change.old {
            None if datum.is_default(column_type) => continue,
            None => datum,
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

/// Rows as they are put together from records, before anything is derived from them.
pub type Rows = BTreeMap<TableId, BTreeMap<Uuid, Arc<Row>>>;

/// Applies one record to `rows`.
///
/// Errors: anything that does not fit the schema of `db`, by table, row and column.
pub fn apply(db: &Database, rows: &mut Rows, record: &Value) -> Result<(), Error> {
    let mut replay = Replay {
        rows: std::mem::take(rows),
        ..Replay::new(db)
    };
    let result = replay.apply(record);
    *rows = replay.finish();
    result
}

/// Rows put together from many records.
#[derive(Debug)]
pub struct Replay<'d> {
    db: &'d Database,
    rows: Rows,
    /// Sets and maps of which many records change a few elements each, as those of a bridge's
    /// ports do. The cells of their rows are filled at the end.
    growing: HashMap<(TableId, Uuid), BTreeMap<ColumnId, Elements>>,
}

impl<'d> Replay<'d> {
    /// A set or map with at least so many elements is kept apart.
    const LARGE: usize = 64;

    pub fn new(db: &'d Database) -> Self {
        Self {
            db,
            rows: Rows::new(),
            growing: HashMap::default(),
        }
    }

    /// See [`apply`].
    pub fn apply(&mut self, record: &Value) -> Result<(), Error> {
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
            let id = self.db.table_id(name);
            let (table_id, table) = id
                .and_then(|id| Some((id, self.db.table(id)?)))
                .ok_or_else(|| Error::NoTable(name.clone()))?;
            let changes = changes
                .as_object()
                .ok_or_else(|| Error::NotRows(name.clone()))?;
            for (uuid_text, columns) in changes {
                let uuid = parse_uuid(uuid_text).ok_or_else(|| Error::BadUuid {
                    table: name.clone(),
                    uuid: uuid_text.clone(),
                })?;
                match columns {
                    Value::Null => self.delete(table_id, table, uuid)?,
                    Value::Object(columns) => {
                        self.change(table_id, table, uuid, columns, is_diff)?;
                    }
                    _ => return Err(Error::NotRows(name.clone())),
                }
            }
        }
        Ok(())
    }

    /// The rows as the records leave them.
    pub fn finish(mut self) -> Rows {
        for ((table, uuid), columns) in self.growing {
            let row = self
                .rows
                .get_mut(&table)
                .and_then(|rows| rows.get_mut(&uuid));
            let Some(row) = row.map(Arc::make_mut) else {
                continue;
            };
            for (column, elements) in columns {
                row.set(column, Datum::from_elements(elements));
            }
        }
        self.rows
    }

    fn delete(&mut self, id: TableId, table: &Table, uuid: Uuid) -> Result<(), Error> {
        self.growing.remove(&(id, uuid));
        let rows = self.rows.entry(id).or_default();
        rows.remove(&uuid).map(drop).ok_or_else(|| Error::NotThere {
            table: table.name.clone(),
            uuid,
        })
    }

    fn change(
        &mut self,
        table_id: TableId,
        table: &Table,
        uuid: Uuid,
        columns: &Map<String, Value>,
        is_diff: bool,
    ) -> Result<(), Error> {
        let rows = self.rows.entry(table_id).or_default();
        let (row, is_diff) = match rows.entry(uuid) {
            Entry::Occupied(there) => (there.into_mut(), is_diff),
            Entry::Vacant(place) => (place.insert(Arc::new(table.default_row(uuid))), false),
        };
        let row = Arc::make_mut(row);
        for (name, value) in columns {
            let id = table.column_id(name);
            let (id, column) =
                id.and_then(|id| Some((id, table.column(id)?)))
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
            if !is_diff || !is_diffable(column_type) {
                let datum = Datum::from_json(value, column_type, &mut NoNames).map_err(refuse)?;
                row.set(id, datum);
                if let Some(growing) = self.growing.get_mut(&(table_id, uuid)) {
                    growing.remove(&id);
                }
                continue;
            }
            let diff = Datum::from_json(value, &column.diff_type, &mut NoNames).map_err(refuse)?;
            let Some(datum) = row.get_mut(id) else {
                continue;
            };
            let growing = self.growing.get_mut(&(table_id, uuid));
            if let Some(elements) = growing.and_then(|growing| growing.get_mut(&id)) {
                apply_diff(elements, &diff);
            } else if datum.len() < Self::LARGE {
                datum.apply_diff(&diff);
            } else {
                let mut elements = std::mem::take(datum).into_elements();
                apply_diff(&mut elements, &diff);
                let growing = self.growing.entry((table_id, uuid)).or_default();
                growing.insert(id, elements);
            }
        }
        Ok(())
    }
}

/// [`Datum::apply_diff`] for elements that are apart.
fn apply_diff(elements: &mut Elements, diff: &Datum) {
    for (key, value) in diff.elements() {
        match elements.entry(key.clone()) {
            Entry::Vacant(place) => {
                place.insert(value.cloned());
            }
            Entry::Occupied(mut there) => match value {
                Some(value) if there.get().as_ref() != Some(value) => {
                    there.insert(Some(value.clone()));
                }
                _ => {
                    there.remove();
                }
            },
        }
    }
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

    /// Sets that grow large from many records, are replaced, and grow again.
    #[test]
    fn growing_sets_end_as_with_single_records() {
        let db = database();
        let uuid = Uuid::from_u128(1).to_string();
        let record =
            |is_diff: bool, many: Value| json!({"_is_diff": is_diff, "T": {&uuid: {"many": many}}});
        let name = |n: usize| format!("{:03}", n * 7 % 500);
        let mut records = vec![record(true, json!(["set", []]))];
        records.extend((0..300).map(|n| record(true, json!(name(n)))));
        records.extend((0..40).map(|n| record(true, json!(["set", [name(n), name(n + 400)]]))));
        let grown = records.len();
        records.push(record(false, json!("x")));
        records.extend((0..200).map(|n| record(true, json!(name(n)))));
        let deleted = records.len() + 1;
        records.push(json!({"T": {&uuid: null}}));
        records.push(record(true, json!("y")));
        for (end, expected) in [
            (grown, 300),
            (deleted - 1, 201),
            (deleted, 0),
            (deleted + 1, 1),
        ] {
            let mut replay = Replay::new(&db);
            let mut rows = Rows::new();
            for record in &records[..end] {
                replay.apply(record).unwrap();
                apply(&db, &mut rows, record).unwrap();
            }
            let mut plain: std::collections::BTreeSet<String> = Default::default();
            for record in &records[..end] {
                let Some(many) = record["T"][&uuid].get("many") else {
                    plain.clear();
                    continue;
                };
                if record["_is_diff"] == false {
                    plain.clear();
                }
                let items = many.get(1).and_then(Value::as_array);
                let items = items.map_or_else(|| std::slice::from_ref(many), Vec::as_slice);
                for item in items {
                    let item = item.as_str().unwrap();
                    if !plain.remove(item) {
                        plain.insert(item.to_owned());
                    }
                }
            }
            assert_eq!(plain.len(), expected);
            let replayed = replay.finish();
            assert_eq!(replayed, rows);
            let row = replayed[&0].get(&Uuid::from_u128(1));
            let many = row.map(|row| row.get(db.table(0).unwrap().column_id("many").unwrap()));
            let got: Vec<&str> = many.into_iter().flat_map(Datum::strings).collect();
            assert!(got.iter().eq(plain.iter()), "{got:?}");
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
