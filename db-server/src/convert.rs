//! The contents of a database under another schema.
//!
//! Tables and columns that only the old schema has are left out, those that only the new one has
//! are empty or have their default. What is in both has to be valid as the new schema reads it,
//! and all of its constraints hold as at the end of a transaction that inserts everything.
//!
//! Source: ovsdb-server(7), 4.1.19; ovsdb-tool(1), `convert`.

use std::sync::Arc;

use ovsdb::value::NoNames;
use ovsdb::{DatabaseSchema, Datum, Uuid};
use thiserror::Error;

use crate::database::{Column, Database, Row, Table};
use crate::record::Rows;
use crate::txn;

/// Why contents do not fit a schema.
#[derive(Debug, Error)]
pub enum Error {
    #[error("table {table} row {uuid} column {column}: {source}")]
    Value {
        table: String,
        uuid: Uuid,
        column: String,
        source: Box<ovsdb::Error>,
    },
    /// The rows together break a constraint.
    #[error("{0}")]
    Rows(Box<ovsdb::Error>),
}

impl From<Error> for ovsdb::Error {
    /// The error as ovsdb-server words it, without the place of a value.
    fn from(error: Error) -> Self {
        match error {
            Error::Value { source, .. } | Error::Rows(source) => *source,
        }
    }
}

/// What becomes of a column that has its default.
///
/// A file does not hold such columns, so that ovsdb-tool takes them for unset and ovsdb-server, which
/// converts what it has in memory, does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// It gets the default of the new schema.
    Renew,
    /// It is converted like any other value, and may not fit.
    Convert,
}

/// The database with the rows of `db`, as far as `schema` has a place for them.
///
/// Errors: the value that does not fit its new column, or what a transaction fails with.
pub fn convert(
    db: &Database,
    schema: DatabaseSchema,
    unset: Unset,
    new_uuid: &mut dyn FnMut() -> Uuid,
) -> Result<Database, Error> {
    let mut new = Database::new(schema);
    let mut rows = Rows::new();
    for (id, table) in new.tables().iter().enumerate() {
        let Some(old) = db.table_id(&table.name).and_then(|id| db.table(id)) else {
            continue;
        };
        let rows = rows.entry(id).or_default();
        for (uuid, row) in old.rows() {
            rows.insert(*uuid, Arc::new(convert_row(old, row, table, *uuid, unset)?));
        }
    }
    txn::adopt(&mut new, rows, new_uuid).map_err(|source| Error::Rows(Box::new(source)))?;
    Ok(new)
}

fn convert_row(
    old: &Table,
    row: &Row,
    table: &Table,
    uuid: Uuid,
    unset: Unset,
) -> Result<Row, Error> {
    let mut new = table.default_row(uuid);
    for (id, column) in table.columns.iter().enumerate() {
        let Some(old_id) = old.column_id(&column.name) else {
            continue;
        };
        if id == table.uuid_column || id == table.version_column {
            continue;
        }
        let (Some(old_column), datum) = (old.column(old_id), row.get(old_id)) else {
            continue;
        };
        if unset == Unset::Renew && datum.is_default(&old_column.schema.column_type) {
            continue;
        }
        let datum = convert_datum(old_column, datum, column).map_err(|source| Error::Value {
            table: table.name.clone(),
            uuid,
            column: column.name.clone(),
            source: Box::new(source),
        })?;
        new.set(id, datum);
    }
    Ok(new)
}

fn convert_datum(old: &Column, datum: &Datum, new: &Column) -> ovsdb::error::Result<Datum> {
    let (from, to) = (&old.schema.column_type, &new.schema.column_type);
    if from == to {
        return Ok(datum.clone());
    }
    Datum::from_json(&datum.to_json(from), to, &mut NoNames)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn schema(column_type: &Value) -> DatabaseSchema {
        let schema = json!({"name": "d", "tables": {"t": {"isRoot": true, "columns": {
            "c": {"type": column_type},
        }}}});
        DatabaseSchema::from_json(&schema).unwrap()
    }

    /// A database with one row, whose column has its default, under another type of column.
    fn converted(from: &Value, to: &Value, unset: Unset) -> Result<Value, String> {
        let mut ids = (1..).map(Uuid::from_u128);
        let mut db = Database::new(schema(from));
        let row = db.tables()[0].default_row(Uuid::from_u128(77));
        let rows = Rows::from([(0, [(Uuid::from_u128(77), Arc::new(row))].into())]);
        txn::adopt(&mut db, rows, &mut || ids.next().unwrap()).unwrap();
        let new = convert(&db, schema(to), unset, &mut || ids.next().unwrap());
        let new = new.map_err(|error| ovsdb::Error::from(error).to_string())?;
        let table = &new.tables()[0];
        let (_, row) = table.rows().next().unwrap();
        let id = table.column_id("c").unwrap();
        Ok(row
            .get(id)
            .to_json(&table.column(id).unwrap().schema.column_type))
    }

    /// As ovsdb-tool 3.1 and ovsdb-server 3.1 answer.
    #[test]
    fn columns_that_are_not_set() {
        let optional = json!({"key": "string", "min": 0, "max": 1});
        let positive = json!({"key": {"type": "integer", "minInteger": 1}});
        for (from, to, new, refused) in [
            (&optional, &json!("string"), json!(""), "exactly one member"),
            (
                &json!("integer"),
                &json!("string"),
                json!(""),
                "expected string",
            ),
            (
                &json!("integer"),
                &positive,
                json!(0),
                "constraint violation",
            ),
        ] {
            assert_eq!(converted(from, to, Unset::Renew), Ok(new));
            let error = converted(from, to, Unset::Convert).unwrap_err();
            assert!(error.contains(refused), "{error}");
        }
        assert_eq!(
            converted(&json!("integer"), &json!("integer"), Unset::Convert),
            Ok(json!(0))
        );
    }
}
