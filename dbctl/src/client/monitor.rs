//! `monitor`, `monitor-cond` and `monitor-cond-since`: rows, and then their changes.
//!
//! Source: RFC 7047, 4.1.5 and 4.1.6; ovsdb-server(7), 4.1.12 to 4.1.16, for the other two.

use std::time::SystemTime;

use ovsdb::condition;
use ovsdb::jsonrpc::Message;
use ovsdb::schema::{ColumnSchema, DatabaseSchema, TableSchema};
use ovsdb::table::{Cell, Table};
use ovsdb::value::{NoNames, parse_uuid};
use ovsdb::{Datum, Uuid};
use serde_json::{Map, Value, json};

use super::connect::{self, Server};
use super::{Call, Error, Result, next_request, parse_json, schema};
use crate::print;

/// Which method, and so which form updates have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Plain,
    Cond,
    Since(Uuid),
}

impl Version {
    fn method(self) -> &'static str {
        match self {
            Self::Plain => "monitor",
            Self::Cond => "monitor_cond",
            Self::Since(_) => "monitor_cond_since",
        }
    }

    fn notification(self) -> &'static str {
        match self {
            Self::Plain => "update",
            Self::Cond => "update2",
            Self::Since(_) => "update3",
        }
    }
}

pub async fn monitor(
    call: &mut Call,
    server: &mut Server,
    database: &str,
    args: &[String],
) -> Result<()> {
    let schema = schema::fetch(call, server, database).await?;
    run(call, server, &schema, Version::Plain, None, args).await
}

pub async fn monitor_cond(
    call: &mut Call,
    server: &mut Server,
    database: &str,
    args: &[String],
) -> Result<()> {
    conditional(call, server, database, Version::Cond, args).await
}

pub async fn monitor_cond_since(
    call: &mut Call,
    server: &mut Server,
    database: &str,
    args: &[String],
) -> Result<()> {
    let last = args.first().and_then(|arg| parse_uuid(arg));
    let args = match (last, args) {
        (Some(_), [_, rest @ ..]) => rest,
        _ => args,
    };
    let version = Version::Since(last.unwrap_or_default());
    conditional(call, server, database, version, args).await
}

async fn conditional(
    call: &mut Call,
    server: &mut Server,
    database: &str,
    version: Version,
    args: &[String],
) -> Result<()> {
    let [text, rest @ ..] = args else {
        return Err(Error::Syntax(call.name));
    };
    let Some(name) = rest.first() else {
        return Err(Error::Syntax(call.name));
    };
    let schema = schema::fetch(call, server, database).await?;
    let table = schema.table(name).ok_or_else(|| {
        Error::Fatal(format!("{database} does not have a table named \"{name}\""))
    })?;
    let conditions = parse_json(text)?;
    condition::from_json(&conditions, table, &mut NoNames)?;
    run(call, server, &schema, version, Some(conditions), rest).await
}

/// A table that is watched, and its columns in the order in which they are printed.
struct Watched<'a> {
    name: &'a str,
    columns: Vec<(&'a str, &'a ColumnSchema)>,
}

async fn run(
    call: &mut Call,
    server: &mut Server,
    schema: &DatabaseSchema,
    version: Version,
    conditions: Option<Value>,
    args: &[String],
) -> Result<()> {
    let mut control = call.control(&[
        ("exit", "", 0),
        ("ovsdb-client/block", "", 0),
        ("ovsdb-client/unblock", "", 0),
        ("ovsdb-client/cond_change", "TABLE COND", 2),
    ])?;
    let (watched, requests) = requests(server, schema, conditions, args)?;
    call.become_change_aware(server).await?;
    let mut params = vec![json!(schema.name), Value::Null, requests];
    if let Version::Since(last) = version {
        params.push(json!(last.hyphenated().to_string()));
    }
    let reply = call
        .ask(server, version.method(), Value::Array(params))
        .await?;
    let mut printer = Printer {
        call,
        watched,
        version,
        first: true,
    };
    printer.reply(&reply)?;
    let _running = printer.call.started()?;
    let mut blocked = false;
    loop {
        tokio::select! {
            notification = server.client.notification(), if !blocked => {
                let notification = notification.map_err(|error| Error::Receive {
                    server: server.name.clone(),
                    reason: connect::reason(&error),
                })?;
                let Message::Notification { method, params } = notification else {
                    continue;
                };
                if method == "monitor_canceled" {
                    return Err(Error::Fatal(format!(
                        "{}: {} database was removed", server.name, schema.name
                    )));
                }
                if method == version.notification() {
                    printer.notification(&params)?;
                }
            }
            request = next_request(&mut control) => match request.command.as_str() {
                "exit" => {
                    request.reply_written(Ok(String::new())).await;
                    return Ok(());
                }
                "ovsdb-client/block" if blocked => {
                    request.reply(Ok("already blocking\n".to_owned()));
                }
                "ovsdb-client/unblock" if !blocked => {
                    request.reply(Ok("already unblocked\n".to_owned()));
                }
                "ovsdb-client/block" | "ovsdb-client/unblock" => {
                    blocked = !blocked;
                    request.reply(Ok(String::new()));
                }
                _ => {
                    let answer = cond_change(server, &request.args).await;
                    request.reply(answer);
                }
            }
        }
    }
}

/// Asks for other conditions. The reply, which comes in its time, is not waited for.
async fn cond_change(server: &mut Server, args: &[String]) -> Result<String, String> {
    let (table, text) = match args {
        [table, text] => (table, text),
        _ => return Err("a table and a condition are needed\n".to_owned()),
    };
    let conditions = parse_json(text).map_err(|error| format!("{error}\n"))?;
    let params = json!([null, null, {table.as_str(): [{"where": conditions}]}]);
    let request = Message::request("cond_change", "monitor_cond_change", params);
    let client = &mut server.client;
    let sent = match client.queue(&request) {
        Ok(()) => client.flush().await,
        Err(error) => Err(error),
    };
    sent.map(|()| "condition changed\n".to_owned())
        .map_err(|error| format!("{}\n", connect::reason(&error)))
}

/// The tables and columns that `args` name: `ALL`, or a table and groups of columns.
fn requests<'a>(
    server: &Server,
    schema: &'a DatabaseSchema,
    conditions: Option<Value>,
    args: &'a [String],
) -> Result<(Vec<Watched<'a>>, Value)> {
    let (name, groups) = match args {
        [name, groups @ ..] => (name.as_str(), groups),
        [] => return Err(Error::Fatal("a table is needed".to_owned())),
    };
    let tables: Vec<(&str, &TableSchema)> = if name == "ALL" {
        schema
            .tables
            .iter()
            .map(|(name, table)| (name.as_str(), table))
            .collect()
    } else {
        let table = schema.table(name).ok_or_else(|| {
            Error::Fatal(format!(
                "{}: {} does not have a table named \"{name}\"",
                server.name, schema.name
            ))
        })?;
        vec![(name, table)]
    };
    let mut watched = Vec::new();
    let mut requests = Map::new();
    for (name, table) in tables {
        let mut watching = Watched {
            name,
            columns: Vec::new(),
        };
        let mut list = Vec::new();
        let whole = [String::new()];
        let groups = if groups.is_empty() { &whole } else { groups };
        for (at, group) in groups.iter().enumerate() {
            let mut request = watching.group(server, schema, table, group)?;
            if let Some(conditions) = conditions.as_ref().filter(|_| at == 0) {
                request.insert("where".into(), conditions.clone());
            }
            list.push(Value::Object(request));
        }
        requests.insert(name.to_owned(), Value::Array(list));
        watched.push(watching);
    }
    Ok((watched, Value::Object(requests)))
}

impl<'a> Watched<'a> {
    /// The `<monitor-request>` for one group: columns and words such as `!initial`, with commas.
    fn group(
        &mut self,
        server: &Server,
        schema: &DatabaseSchema,
        table: &'a TableSchema,
        group: &str,
    ) -> Result<Map<String, Value>> {
        let mut names: Vec<&'a str> = Vec::new();
        let kinds = ["initial", "insert", "delete", "modify"];
        let mut wanted = [true; 4];
        for word in group.split(',').filter(|word| !word.is_empty()) {
            let kind = word
                .strip_prefix('!')
                .and_then(|word| kinds.iter().position(|kind| *kind == word));
            if let Some(kind) = kind.and_then(|kind| wanted.get_mut(kind)) {
                *kind = false;
                continue;
            }
            let (name, column) = find(table, word).ok_or_else(|| {
                Error::Fatal(format!(
                    "{}: table \"{}\" in {} does not have a column named \"{word}\"",
                    server.name, self.name, schema.name
                ))
            })?;
            self.add(server, name, column)?;
            names.push(name);
        }
        if names.is_empty() {
            for name in table.columns.keys().map(String::as_str).chain(["_version"]) {
                if let Some((name, column)) = find(table, name) {
                    self.add(server, name, column)?;
                    names.push(name);
                }
            }
        }
        let mut request = Map::new();
        request.insert("columns".into(), json!(names));
        if wanted.contains(&false) {
            let select: Map<String, Value> = kinds
                .iter()
                .zip(wanted)
                .map(|(kind, wanted)| ((*kind).to_owned(), json!(wanted)))
                .collect();
            request.insert("select".into(), Value::Object(select));
        }
        Ok(request)
    }

    fn add(&mut self, server: &Server, name: &'a str, column: &'a ColumnSchema) -> Result<()> {
        if self.columns.iter().any(|(known, _)| *known == name) {
            return Err(Error::Fatal(format!(
                "{}: column \"{name}\" mentioned multiple times",
                server.name
            )));
        }
        self.columns.push((name, column));
        Ok(())
    }

    /// One line of a table: a row as far as it was sent.
    fn line(&self, uuid: &str, action: &str, row: Option<&Value>) -> Result<Vec<Cell>> {
        let row = match row {
            None => None,
            Some(Value::Object(row)) => Some(row),
            Some(_) => return Err(bad("<row> is not object")),
        };
        let mut cells = vec![Cell::Text(uuid.to_owned()), Cell::Text(action.to_owned())];
        cells.extend(self.columns.iter().map(|(name, column)| {
            match row.and_then(|row| row.get(*name)) {
                None => Cell::Empty,
                Some(value) => cell(column, value),
            }
        }));
        Ok(cells)
    }
}

/// The column of this name, and the name as the schema holds it.
fn find<'a>(table: &'a TableSchema, name: &str) -> Option<(&'a str, &'a ColumnSchema)> {
    let column = table.column(name)?;
    let name = match name {
        "_uuid" => "_uuid",
        "_version" => "_version",
        own => table.columns.get_key_value(own)?.0,
    };
    Some((name, column))
}

/// A value; a difference can have more elements than the column.
fn cell(column: &ColumnSchema, value: &Value) -> Cell {
    let any = column.column_type.unconstrained().any_count();
    match Datum::from_json(value, &any, &mut NoNames) {
        Ok(datum) => Cell::Datum {
            datum,
            column_type: column.column_type.clone(),
        },
        Err(_) => Cell::Json(value.clone()),
    }
}

fn bad(what: &str) -> Error {
    Error::Fatal(format!("malformed update from the server: {what}"))
}

struct Printer<'a> {
    call: &'a mut Call,
    watched: Vec<Watched<'a>>,
    version: Version,
    /// Whether no table was printed yet.
    first: bool,
}

impl Printer<'_> {
    /// The answer to the request, which has the rows as they are.
    fn reply(&mut self, reply: &Value) -> Result<()> {
        if let Version::Since(_) = self.version {
            let (Some(found), Some(last), Some(updates)) = (
                reply.get(0).and_then(Value::as_bool),
                reply.get(1).and_then(Value::as_str),
                reply.get(2),
            ) else {
                return Err(bad(
                    "<result> is not [<found>, <last-txn-id>, <table-updates2>]",
                ));
            };
            print(&format!("found: {found}, last_id: {last}\n"))?;
            return self.updates(updates, true);
        }
        self.updates(reply, true)
    }

    /// The parameters of an update for the monitor whose id is null: ours.
    fn notification(&mut self, params: &Value) -> Result<()> {
        let params = params.as_array().map(Vec::as_slice).unwrap_or_default();
        match (self.version, params) {
            (Version::Plain | Version::Cond, [Value::Null, updates]) => {
                self.updates(updates, false)
            }
            (Version::Since(_), [Value::Null, Value::String(last), updates]) => {
                print(&format!("\nlast_id: {last}"))?;
                self.updates(updates, false)
            }
            _ => Ok(()),
        }
    }

    fn updates(&mut self, updates: &Value, initial: bool) -> Result<()> {
        let updates = updates
            .as_object()
            .ok_or_else(|| bad("<table-updates> is not object"))?;
        let several = self.watched.len() > 1;
        let mut text = String::new();
        for watched in &self.watched {
            let Some(update) = updates.get(watched.name) else {
                continue;
            };
            let rows = update.as_object().ok_or_else(|| {
                bad(&format!(
                    "<table-update> for table {} is not object",
                    watched.name
                ))
            })?;
            let mut table = Table {
                time: self
                    .call
                    .options
                    .timestamp
                    .then(|| daemon::vlog::date_text(SystemTime::now())),
                caption: several.then(|| watched.name.to_owned()),
                headings: vec!["row".to_owned(), "action".to_owned()],
                rows: Vec::new(),
            };
            table
                .headings
                .extend(watched.columns.iter().map(|(name, _)| (*name).to_owned()));
            for (uuid, update) in rows {
                if !update.is_object() {
                    return Err(bad("<row-update> is not object"));
                }
                let lines = match self.version {
                    Version::Plain => plain(watched, uuid, update, initial)?,
                    Version::Cond | Version::Since(_) => difference(watched, uuid, update)?,
                };
                table.rows.extend(lines);
            }
            text.push_str(&table.print(&self.call.options.style, self.first));
            self.first = false;
        }
        Ok(print(&text)?)
    }
}

/// A `<row-update>`: the row before and after.
fn plain(
    watched: &Watched<'_>,
    uuid: &str,
    update: &Value,
    initial: bool,
) -> Result<Vec<Vec<Cell>>> {
    let (old, new) = (update.get("old"), update.get("new"));
    match (old, new) {
        (_, Some(_)) if initial => Ok(vec![watched.line(uuid, "initial", new)?]),
        (None, Some(_)) => Ok(vec![watched.line(uuid, "insert", new)?]),
        (Some(_), None) => Ok(vec![watched.line(uuid, "delete", old)?]),
        (Some(_), Some(_)) => Ok(vec![
            watched.line(uuid, "old", old)?,
            watched.line("", "new", new)?,
        ]),
        (None, None) => Err(bad("missing row")),
    }
}

/// A `<row-update2>`: what is new, or how the row differs.
fn difference(watched: &Watched<'_>, uuid: &str, update: &Value) -> Result<Vec<Vec<Cell>>> {
    for action in ["delete", "initial", "modify", "insert"] {
        let Some(row) = update.get(action) else {
            continue;
        };
        let row = (action != "delete").then_some(row);
        return Ok(vec![watched.line(uuid, action, row)?]);
    }
    Err(bad("<row-update2> of no known kind"))
}
