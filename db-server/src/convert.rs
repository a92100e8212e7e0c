//! The contents of a database under another schema.
//!
//! Tables and columns that only the old schema has are left out, those that only the new one has
//! are empty or have their default. What is in both has to be valid as the new schema reads it,
//! and all of its constraints hold as at the end of a transaction that inserts everything.
//!
//! Source: ovsdb-server(7), 4.1.19.

use std::sync::Arc;

use ovsdb::error::Result;
use ovsdb::value::NoNames;
use ovsdb::{DatabaseSchema, Datum, Uuid};

use crate::database::{Column, Database, Row, Table};
use crate::record::Rows;
use crate::txn;

/// The database with the rows of `db`, as far as `schema` has a place for them.
///
/// Errors: `syntax error` and `constraint violation` for a value that does not fit its new column,
/// and what a transaction fails with.
pub fn convert(
    db: &Database,
    schema: DatabaseSchema,
    new_uuid: &mut dyn FnMut() -> Uuid,
) -> Result<Database> {
    let mut new = Database::new(schema);
    let mut rows = Rows::new();
    for (id, table) in new.tables().iter().enumerate() {
        let Some(old) = db.table_id(&table.name).and_then(|id| db.table(id)) else {
            continue;
        };
        let rows = rows.entry(id).or_default();
        for (uuid, row) in old.rows() {
            rows.insert(*uuid, Arc::new(convert_row(old, row, table, *uuid)?));
        }
    }
    txn::adopt(&mut new, rows, new_uuid)?;
    Ok(new)
}

fn convert_row(old: &Table, row: &Row, table: &Table, uuid: Uuid) -> Result<Row> {
    let mut new = table.default_row(uuid);
    for (id, column) in table.columns.iter().enumerate() {
        let Some(old_id) = old.column_id(&column.name) else {
            continue;
        };
        if id == table.uuid_column || id == table.version_column {
            continue;
        }
        if let Some(old_column) = old.column(old_id) {
            new.set(id, convert_datum(old_column, row.get(old_id), column)?);
        }
    }
    Ok(new)
}

fn convert_datum(old: &Column, datum: &Datum, new: &Column) -> Result<Datum> {
    let (from, to) = (&old.schema.column_type, &new.schema.column_type);
    if from == to {
        return Ok(datum.clone());
    }
    Datum::from_json(&datum.to_json(from), to, &mut NoNames)
}
