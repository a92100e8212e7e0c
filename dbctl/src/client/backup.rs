//! `backup` and `restore`: a database as a database file.

use std::io::{IsTerminal as _, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use db_server::database::Database;
use db_server::log;
use ovsdb::DatabaseSchema;
use ovsdb::error::sorted_json;
use ovsdb::value::{NoNames, UuidNames, uuid_from_json};
use serde_json::{Map, Value, json};

use super::connect::Server;
use super::{Call, Error, Result, dump, schema};
use crate::OutputError;

pub async fn backup(call: &Call, server: &mut Server, database: &str) -> Result<()> {
    if std::io::stdout().is_terminal() {
        return Err(Error::Fatal(
            "not writing backup to a terminal; please redirect stdout to a file".to_owned(),
        ));
    }
    let schema = schema::fetch(call, server, database).await?;
    let mut transaction = vec![json!(database)];
    for (name, table) in &schema.tables {
        // Rows whose columns are all ephemeral are there all the same, and can be referred to.
        let columns: Vec<&str> = std::iter::once("_uuid")
            .chain(persistent(table).map(|(name, _)| name))
            .collect();
        transaction.push(json!({"op": "select", "table": name, "where": [], "columns": columns}));
    }
    let reply = call
        .ask(server, "transact", Value::Array(transaction))
        .await?;
    let results = dump::results(&reply, schema.tables.len())?;
    let mut bytes = log::encode(&schema.to_json());
    bytes.append(&mut log::encode(&record(&schema, results)?));
    let mut out = std::io::stdout().lock();
    out.write_all(&bytes)
        .and_then(|()| out.flush())
        .map_err(OutputError)?;
    Ok(())
}

/// The one record that holds all rows.
fn record(schema: &DatabaseSchema, results: &[Value]) -> Result<Value> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut record = Map::new();
    record.insert(
        "_date".into(),
        json!(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
    );
    for (name, result) in schema.tables.keys().zip(results) {
        let mut rows = Map::new();
        for row in dump::rows(name, result)? {
            let Some(mut row) = row.as_object().cloned() else {
                let text = format!("{name} table reply row is not an object: {row}");
                return Err(Error::Fatal(text));
            };
            let Some(uuid) = row.shift_remove("_uuid") else {
                let text = format!(
                    "{name} table reply row lacks _uuid member: {}",
                    Value::Object(row)
                );
                return Err(Error::Fatal(text));
            };
            let uuid = uuid_from_json(&uuid, &mut NoNames)?;
            rows.insert(uuid.hyphenated().to_string(), Value::Object(row));
        }
        if !rows.is_empty() {
            record.insert(name.clone(), Value::Object(rows));
        }
    }
    record.insert(
        "_comment".into(),
        json!("produced by \"ovsdb-client backup\""),
    );
    Ok(Value::Object(record))
}

fn persistent(table: &ovsdb::TableSchema) -> impl Iterator<Item = (&str, &ovsdb::ColumnSchema)> {
    table
        .columns
        .iter()
        .filter(|(_, column)| !column.ephemeral)
        .map(|(name, column)| (name.as_str(), column))
}

pub async fn restore(call: &Call, server: &mut Server, database: &str) -> Result<()> {
    if std::io::stdin().is_terminal() {
        return Err(Error::Fatal(
            "not reading backup from a terminal; please redirect stdin from a file".to_owned(),
        ));
    }
    let backup = crate::file::load("/dev/stdin")?;
    let served = schema::fetch(call, server, database).await?;
    let (ours, theirs) = (backup.schema(), &served);
    if **ours != *theirs {
        let what = if ours.version == theirs.version {
            format!(
                "backup schema and database schema are both version {} but still differ",
                ours.version
            )
        } else {
            format!(
                "backup schema has version \"{}\" but database schema has version \"{}\"",
                ours.version, theirs.version
            )
        };
        if !call.options.force {
            return Err(Error::Fatal(format!(
                "{what} (use --force to override differences, or \"ovsdb-client convert\" to \
                 change the schema)"
            )));
        }
        tracing::info!(target: "ovsdb_client", "{what}");
    }
    let reply = call.ask(server, "transact", transaction(&backup)).await?;
    check_results(&reply)
}

/// Deletes every row and inserts those of `backup`, which get new UUIDs.
fn transaction(backup: &Database) -> Value {
    let schema = backup.schema();
    let mut names = UuidNames::new();
    for table in backup.tables() {
        for (uuid, _) in table.rows() {
            let name = format!("row{}", uuid.hyphenated().to_string().replace('-', "_"));
            names.insert(*uuid, name);
        }
    }
    let mut operations = vec![json!(schema.name)];
    for table in backup.tables() {
        operations.push(json!({"op": "delete", "table": table.name, "where": []}));
        for (uuid, row) in table.rows() {
            let columns: Map<String, Value> = table
                .columns
                .iter()
                .enumerate()
                .filter(|(_, column)| !column.name.starts_with('_') && !column.schema.ephemeral)
                .map(|(id, column)| (&column.name, row.get(id), &column.schema.column_type))
                .filter(|(_, datum, column_type)| !datum.is_default(column_type))
                .map(|(name, datum, column_type)| {
                    (name.clone(), datum.to_json_named(column_type, &names))
                })
                .collect();
            operations.push(json!({
                "op": "insert", "table": table.name, "uuid-name": names.get(uuid), "row": columns
            }));
        }
    }
    Value::Array(operations)
}

/// Makes an error among the results of a transaction one of the run.
pub fn check_results(reply: &Value) -> Result<()> {
    let Some(results) = reply.as_array() else {
        return Err(Error::Fatal("result is not array".to_owned()));
    };
    for result in results {
        if !result.is_object() {
            return Err(Error::Fatal(
                "result array element is not object".to_owned(),
            ));
        }
        if result.get("error").is_some() {
            let text = sorted_json(result);
            return Err(Error::Fatal(format!("server returned error reply: {text}")));
        }
    }
    Ok(())
}
