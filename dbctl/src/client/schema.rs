//! Commands about databases and their schemas.

use ovsdb::DatabaseSchema;
use ovsdb::table::{Cell, Table};
use serde_json::{Value, json};

use super::connect::{self, Server, Wanted};
use super::{Call, Result};
use crate::{print, schema_file};

/// Asks for the schema of `database`.
pub async fn fetch(call: &Call, server: &mut Server, database: &str) -> Result<DatabaseSchema> {
    let reply = call.ask(server, "get_schema", json!([database])).await?;
    Ok(DatabaseSchema::from_json(&reply)?)
}

fn line(text: &str) -> Result<()> {
    Ok(print(&format!("{text}\n"))?)
}

pub async fn list_dbs(call: &Call, server: &mut Server) -> Result<()> {
    for name in connect::databases(call, server).await? {
        line(&name)?;
    }
    Ok(())
}

pub async fn get_schema(call: &Call, server: &mut Server, database: &str) -> Result<()> {
    let schema = fetch(call, server, database).await?;
    call.print_json(&schema.to_json())
}

pub async fn get_schema_version(call: &Call, server: &mut Server, database: &str) -> Result<()> {
    line(&fetch(call, server, database).await?.version)
}

pub async fn get_schema_cksum(call: &Call, server: &mut Server, database: &str) -> Result<()> {
    line(
        fetch(call, server, database)
            .await?
            .cksum
            .as_deref()
            .unwrap_or(""),
    )
}

pub async fn list_tables(call: &Call, server: &mut Server, database: &str) -> Result<()> {
    let schema = fetch(call, server, database).await?;
    let table = Table {
        headings: vec!["Table".to_owned()],
        rows: schema
            .tables
            .keys()
            .map(|name| vec![Cell::Text(name.clone())])
            .collect(),
        ..Table::default()
    };
    Ok(print(&table.print(&call.options.style, true))?)
}

pub async fn list_columns(
    call: &Call,
    server: &mut Server,
    database: &str,
    args: &[String],
) -> Result<()> {
    let wanted = args.first();
    let schema = fetch(call, server, database).await?;
    let mut table = Table::default();
    if wanted.is_none() {
        table.headings.push("Table".to_owned());
    }
    table
        .headings
        .extend(["Column".to_owned(), "Type".to_owned()]);
    let tables = schema
        .tables
        .iter()
        .filter(|(name, _)| wanted.is_none_or(|w| w == *name));
    for (name, table_schema) in tables {
        let implicit = ["_uuid", "_version"]
            .into_iter()
            .filter_map(|name| Some((name, table_schema.column(name)?)));
        let own = table_schema
            .columns
            .iter()
            .map(|(name, column)| (name.as_str(), column));
        for (column_name, column) in implicit.chain(own) {
            let mut row = Vec::new();
            if wanted.is_none() {
                row.push(Cell::Text(name.clone()));
            }
            row.push(Cell::Text(column_name.to_owned()));
            row.push(Cell::Json(column.column_type.to_json()));
            table.rows.push(row);
        }
    }
    Ok(print(&table.print(&call.options.style, true))?)
}

/// The schema file, which is the last argument, and a server that has the database it names.
async fn schema_and_server(call: &Call, args: &[String]) -> Result<(DatabaseSchema, Server)> {
    let schema = schema_file::read(args.last().map_or("", String::as_str))?;
    let wanted = Some(Wanted::Named(schema.name.clone()));
    let (server, _, _) = connect::open(call, 1, wanted, args).await?;
    Ok((schema, server))
}

pub async fn convert(call: &Call, args: &[String]) -> Result<()> {
    let (schema, mut server) = schema_and_server(call, args).await?;
    call.become_change_aware(&mut server).await?;
    let params = json!([schema.name, schema.to_json()]);
    call.ask(&mut server, "convert", params)
        .await
        .map(|_: Value| ())
}

pub async fn needs_conversion(call: &Call, args: &[String]) -> Result<()> {
    let (schema, mut server) = schema_and_server(call, args).await?;
    let served = fetch(call, &mut server, &schema.name).await?;
    line(if served == schema { "no" } else { "yes" })
}
