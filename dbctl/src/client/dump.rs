//! `dump`: rows as tables.

use std::cmp::Ordering;

use ovsdb::Datum;
use ovsdb::schema::{AtomicType, ColumnSchema, TableSchema};
use ovsdb::table::{Cell, Table};
use ovsdb::value::NoNames;
use serde_json::{Value, json};

use super::connect::Server;
use super::{Call, Error, Result, schema};
use crate::print;

type Columns<'a> = Vec<(&'a str, &'a ColumnSchema)>;

pub async fn dump(call: &Call, server: &mut Server, database: &str, args: &[String]) -> Result<()> {
    let schema = schema::fetch(call, server, database).await?;
    let mut wanted: Vec<(&str, Columns<'_>)> = Vec::new();
    match args.split_first() {
        Some((name, columns)) => {
            let table = schema
                .table(name)
                .ok_or_else(|| Error::Fatal(format!("No table \"{name}\" found.")))?;
            let columns = if columns.is_empty() {
                all_columns(table)
            } else {
                named_columns(name, table, columns)?
            };
            wanted.push((name, columns));
        }
        None => {
            let tables = schema.tables.iter();
            wanted.extend(tables.map(|(name, table)| (name.as_str(), all_columns(table))));
        }
    }
    let mut transaction = vec![json!(database)];
    for (table, columns) in &wanted {
        let columns: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        transaction.push(json!({"op": "select", "table": table, "where": [], "columns": columns}));
    }
    let reply = call
        .ask(server, "transact", Value::Array(transaction))
        .await?;
    let results = results(&reply, wanted.len())?;
    for (at, ((name, columns), result)) in wanted.iter().zip(results).enumerate() {
        let table = table(name, columns, rows(name, result)?)?;
        print(&table.print(&call.options.style, at == 0))?;
    }
    Ok(())
}

/// The results of `count` operations.
pub fn results(reply: &Value, count: usize) -> Result<&[Value]> {
    let results = reply.as_array().filter(|results| results.len() == count);
    results
        .map(Vec::as_slice)
        .ok_or_else(|| Error::Fatal(format!("reply is not array of {count} elements: {reply}")))
}

/// The rows that a `select` on `table` found.
pub fn rows<'a>(table: &str, result: &'a Value) -> Result<&'a [Value]> {
    let rows = result.get("rows").and_then(Value::as_array);
    rows.map(Vec::as_slice).ok_or_else(|| {
        Error::Fatal(format!(
            "{table} table reply is not an object with a \"rows\" member array: {result}"
        ))
    })
}

/// All columns in the order of their names, without `_version`.
fn all_columns(table: &TableSchema) -> Columns<'_> {
    let uuid = table.column("_uuid").map(|column| ("_uuid", column));
    let own = table
        .columns
        .iter()
        .map(|(name, column)| (name.as_str(), column));
    let mut columns: Columns<'_> = uuid.into_iter().chain(own).collect();
    columns.sort_by_key(|(name, _)| *name);
    columns
}

fn named_columns<'a>(
    name: &str,
    table: &'a TableSchema,
    given: &'a [String],
) -> Result<Columns<'a>> {
    let mut columns = Vec::new();
    for column in given {
        let schema = table
            .column(column)
            .ok_or_else(|| Error::Fatal(format!("Table \"{name}\" has no column {column}.")))?;
        if column != "_version" {
            columns.push((column.as_str(), schema));
        }
    }
    columns.sort_by_key(|(name, _)| *name);
    Ok(columns)
}

fn table(name: &str, columns: &Columns<'_>, rows: &[Value]) -> Result<Table> {
    let mut data: Vec<Vec<Datum>> = Vec::new();
    for (y, row) in rows.iter().enumerate() {
        if !row.is_object() {
            let text = format!("row {y} in table {name} response is not a JSON object: {row}");
            return Err(Error::Fatal(text));
        }
        let mut datums = Vec::new();
        for (column, schema) in columns {
            let value = row.get(*column).ok_or_else(|| {
                Error::Fatal(format!(
                    "row {y} in table {name} response lacks {column} column"
                ))
            })?;
            let any = schema.column_type.unconstrained().any_count();
            datums.push(Datum::from_json(value, &any, &mut NoNames)?);
        }
        data.push(datums);
    }
    // In the order of their contents, so that two dumps can be compared; UUIDs, which are random,
    // only decide between equals.
    data.sort_by(|a, b| compare(columns, a, b));
    Ok(Table {
        caption: Some(format!("{name} table")),
        headings: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
        rows: data
            .into_iter()
            .map(|row| {
                row.into_iter()
                    .zip(columns)
                    .map(|(datum, (_, schema))| Cell::Datum {
                        datum,
                        column_type: schema.column_type.clone(),
                    })
                    .collect()
            })
            .collect(),
        ..Table::default()
    })
}

fn compare(columns: &Columns<'_>, a: &[Datum], b: &[Datum]) -> Ordering {
    let by = |uuids: bool| {
        columns
            .iter()
            .zip(a.iter().zip(b))
            .filter(|((_, schema), _)| (schema.column_type.key.atomic == AtomicType::Uuid) == uuids)
            .map(|(_, (a, b))| a.len().cmp(&b.len()).then_with(|| a.cmp(b)))
            .find(|order| *order != Ordering::Equal)
    };
    by(false).or_else(|| by(true)).unwrap_or(Ordering::Equal)
}
