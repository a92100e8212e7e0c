//! Active-backup replication: a server that follows another one and only serves reads.
//!
//! [`follow`] is a task that connects to the active server, monitors its databases and hands what
//! it hears to the event loop, one transaction at a time: it reads on when the last one was
//! applied. [`contents`] and [`changes`] turn what it heard into operations, which are executed
//! like any others, so that the backup's own file, monitors and indexes follow by themselves.
//!
//! A database is replicated when both servers have it and this one has every table and column that
//! the active one has. When nothing can be replicated, or the active server is this one, the
//! server gives up and is active again, as ovsdb-server is.
//!
//! Source: ovsdb-server(1), "Active-Backup Options"; ovsdb(7), "Active-Backup Database Service
//! Model"; texts and order of steps as seen of ovsdb-server 3.1.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::reconnect::{Action, Config, Reconnect};
use daemon::stream::Active;
use ovsdb::client::{self, Client};
use ovsdb::jsonrpc::Message;
use ovsdb::value::{NoNames, parse_uuid};
use ovsdb::{DatabaseSchema, Datum};
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::connection::sleep_until;
use crate::database::{Database, Table};
use crate::event_loop::Event as LoopEvent;

/// How long the active server may be silent before it is asked for a sign of life, unless told
/// otherwise. Source: OVS `ovsdb/replication.c`.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// Tables that are not replicated, by database.
pub type Excluded = BTreeMap<String, BTreeSet<String>>;

#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}: not of the form DATABASE:TABLE")]
pub struct BadTable(String);

/// Parses `DB:TABLE[,DB:TABLE]...`.
pub fn parse_excluded(text: &str) -> Result<Excluded, BadTable> {
    let mut excluded = Excluded::new();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let (database, table) = item
            .split_once(':')
            .filter(|(database, table)| !database.is_empty() && !table.is_empty())
            .ok_or_else(|| BadTable(item.to_owned()))?;
        let tables = excluded.entry(database.to_owned()).or_default();
        tables.insert(table.to_owned());
    }
    Ok(excluded)
}

/// The inverse of [`parse_excluded`].
pub fn show_excluded(excluded: &Excluded) -> String {
    let items: Vec<String> = excluded
        .iter()
        .flat_map(|(database, tables)| {
            tables
                .iter()
                .map(move |table| format!("{database}:{table}"))
        })
        .collect();
    items.join(",")
}

/// What a follower has to know.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The active server, as given and as parsed.
    pub target: String,
    pub method: Active,
    pub excluded: Excluded,
    /// Zero turns probes off.
    pub probe: Duration,
    /// This server's own identity and databases.
    pub server_id: String,
    pub schemas: BTreeMap<Arc<str>, Arc<DatabaseSchema>>,
}

/// What the follower tells the event loop.
#[derive(Debug)]
pub enum Event {
    /// It is connecting, also again.
    Connecting,
    /// All that is in the named tables of the active server.
    Contents {
        database: Arc<str>,
        tables: BTreeSet<String>,
        rows: Value,
        applied: oneshot::Sender<Result<(), String>>,
    },
    /// What a transaction changed.
    Changes {
        database: Arc<str>,
        rows: Value,
        applied: oneshot::Sender<Result<(), String>>,
    },
    /// All contents are in place.
    Replicating { databases: Vec<Arc<str>> },
    /// There is no point in trying again.
    GaveUp { reason: String },
}

/// Why a connection to the active server is over.
#[derive(Debug)]
enum End {
    Lost(String),
    GaveUp(String),
    /// The event loop has gone.
    Unheard,
}

impl From<client::Error> for End {
    fn from(error: client::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

/// Follows the active server until it is aborted or gives up. `number` marks its events.
pub async fn follow(plan: Plan, number: u64, events: mpsc::Sender<LoopEvent>) {
    let config = Config {
        probe_interval: (!plan.probe.is_zero()).then_some(plan.probe),
        ..Config::default()
    };
    let mut reconnect = Reconnect::new(config, Instant::now());
    loop {
        sleep_until(reconnect.deadline()).await;
        if reconnect.poll(Instant::now()) != Some(Action::Connect) {
            continue;
        }
        let limit = reconnect.deadline().map_or(Duration::from_secs(8), |at| {
            at.saturating_duration_since(Instant::now())
        });
        let end = match tokio::time::timeout(limit, plan.method.connect()).await {
            Ok(Ok(connection)) => {
                reconnect.handle_connected(Instant::now());
                tracing::info!("{}: connected", plan.target);
                let session = Session {
                    plan: &plan,
                    number,
                    events: &events,
                    client: Client::new(connection.stream),
                };
                session.run().await
            }
            Ok(Err(error)) => End::Lost(format!("connection attempt failed ({error})")),
            Err(_) => End::Lost("connection attempt timed out".to_owned()),
        };
        reconnect.handle_disconnected(Instant::now());
        let event = match end {
            End::Lost(reason) => {
                tracing::info!("{}: {reason}", plan.target);
                Event::Connecting
            }
            End::GaveUp(reason) => Event::GaveUp { reason },
            End::Unheard => return,
        };
        let over = matches!(event, Event::GaveUp { .. });
        if events
            .send(LoopEvent::Replication { number, event })
            .await
            .is_err()
            || over
        {
            return;
        }
    }
}

/// One connection to the active server.
struct Session<'a, S> {
    plan: &'a Plan,
    number: u64,
    events: &'a mpsc::Sender<LoopEvent>,
    client: Client<S>,
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Session<'_, S> {
    async fn run(mut self) -> End {
        match self.start().await {
            Ok(()) => {}
            Err(end) => return end,
        }
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    /// Compares the servers and fetches the contents.
    async fn start(&mut self) -> Result<(), End> {
        let plan = self.plan;
        match self.call("get_server_id", json!([])).await {
            Ok(id) if id.as_str() == Some(&plan.server_id) => {
                let reason = "Server ID check failed: Self replicating is not allowed";
                return Err(End::GaveUp(reason.to_owned()));
            }
            // Servers before Open vSwitch 2.8 have none.
            Ok(_) | Err(client::Error::Remote(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let names = self.call("list_dbs", json!([])).await?;
        let theirs: BTreeSet<&str> = names
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut databases = Vec::new();
        for (name, ours) in &plan.schemas {
            if !theirs.contains(&**name) {
                tracing::warn!("{}: has no database {name}", plan.target);
                continue;
            }
            let schema = self.call("get_schema", json!([**name])).await?;
            let schema = DatabaseSchema::from_json(&schema)
                .map_err(|error| End::Lost(format!("schema of {name}: {error}")))?;
            let none = BTreeSet::new();
            let excluded = plan.excluded.get(&**name).unwrap_or(&none);
            match compare(ours, &schema, excluded) {
                Ok(()) => databases.push((name.clone(), requests(&schema, excluded))),
                Err(why) => tracing::warn!("{name} cannot be replicated: {why}"),
            }
        }
        if databases.is_empty() {
            return Err(End::GaveUp("Nothing to replicate.".to_owned()));
        }
        for (database, requests) in &databases {
            let params = json!([**database, **database, requests]);
            let rows = self.call("monitor", params).await?;
            let (database, tables) = (database.clone(), requests.keys().cloned().collect());
            self.tell_and_wait(|applied| Event::Contents {
                database,
                tables,
                rows,
                applied,
            })
            .await?;
        }
        let databases = databases.into_iter().map(|(name, _)| name).collect();
        self.tell(Event::Replicating { databases }).await
    }

    /// Waits for one message and hands it on.
    async fn step(&mut self) -> Result<(), End> {
        match self.hear().await? {
            Message::Notification { method, params } if method == "update" => {
                let Some([Value::String(id), rows]) = params.as_array().map(Vec::as_slice) else {
                    return Err(End::Lost(format!("malformed update: {params}")));
                };
                let Some((database, _)) = self.plan.schemas.get_key_value(&**id) else {
                    return Err(End::Lost(format!("update of unknown monitor {id}")));
                };
                let (database, rows) = (database.clone(), rows.clone());
                self.tell_and_wait(|applied| Event::Changes {
                    database,
                    rows,
                    applied,
                })
                .await
            }
            _ => Ok(()),
        }
    }

    /// The next message; an echo is sent after a silence, and an error the end of a second one.
    async fn hear(&mut self) -> Result<Message, End> {
        let probe = self.plan.probe;
        if probe.is_zero() {
            return Ok(self.client.notification().await?);
        }
        if let Ok(message) = tokio::time::timeout(probe, self.client.notification()).await {
            return Ok(message?);
        }
        self.client
            .queue(&Message::request("echo", "echo", json!([])))?;
        match tokio::time::timeout(probe, self.client.notification()).await {
            Ok(message) => Ok(message?),
            Err(_) => Err(End::Lost("no response to inactivity probe".to_owned())),
        }
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value, client::Error> {
        /// Contents may take long to come, but not for ever.
        const LIMIT: Duration = Duration::from_secs(120);
        tokio::time::timeout(LIMIT, self.client.call(method, params))
            .await
            .map_err(|_| client::Error::Io(std::io::ErrorKind::TimedOut.into()))?
    }

    async fn tell(&mut self, event: Event) -> Result<(), End> {
        let number = self.number;
        self.events
            .send(LoopEvent::Replication { number, event })
            .await
            .map_err(|_| End::Unheard)
    }

    async fn tell_and_wait(
        &mut self,
        event: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Event,
    ) -> Result<(), End> {
        let (applied, outcome) = oneshot::channel();
        self.tell(event(applied)).await?;
        match outcome.await {
            Ok(result) => result.map_err(End::Lost),
            Err(_) => Err(End::Unheard),
        }
    }
}

/// Whether `ours` can hold what `theirs` has.
fn compare(
    ours: &DatabaseSchema,
    theirs: &DatabaseSchema,
    excluded: &BTreeSet<String>,
) -> Result<(), String> {
    for (name, table) in &theirs.tables {
        if excluded.contains(name) {
            continue;
        }
        let Some(our_table) = ours.tables.get(name) else {
            return Err(format!("there is no table {name} here"));
        };
        for (column, theirs) in &table.columns {
            match our_table.columns.get(column) {
                Some(ours) if ours.column_type == theirs.column_type => {}
                Some(_) => return Err(format!("column {column} of table {name} differs")),
                None => return Err(format!("table {name} has no column {column} here")),
            }
        }
    }
    Ok(())
}

/// The `<monitor-requests>` for all columns of the tables.
fn requests(schema: &DatabaseSchema, excluded: &BTreeSet<String>) -> Map<String, Value> {
    schema
        .tables
        .iter()
        .filter(|(name, _)| !excluded.contains(*name))
        .map(|(name, table)| {
            let columns: Vec<&String> = table.columns.keys().collect();
            (name.clone(), json!({"columns": columns}))
        })
        .collect()
}

/// The operations after which the tables hold exactly `rows`, a `<table-updates>`.
pub fn contents(
    db: &Database,
    tables: &BTreeSet<String>,
    rows: &Value,
) -> Result<Vec<Value>, String> {
    let mut operations = Vec::new();
    for name in tables {
        let table = find(db, name)?;
        let there = rows.get(name).and_then(Value::as_object);
        for (uuid, _) in table.rows() {
            let uuid = uuid.hyphenated().to_string();
            if !there.is_some_and(|rows| rows.contains_key(&uuid)) {
                operations.push(delete(name, &uuid));
            }
        }
        for (uuid, row) in there.into_iter().flatten() {
            let new = row
                .get("new")
                .and_then(Value::as_object)
                .ok_or_else(|| format!("{name} {uuid}: no contents"))?;
            let here = parse_uuid(uuid).and_then(|uuid| table.row(&uuid));
            let Some(here) = here else {
                operations.push(insert(name, uuid, new));
                continue;
            };
            let mut changed = Map::new();
            for (column, value) in new {
                let id = table
                    .column_id(column)
                    .ok_or_else(|| format!("{name}: no column {column}"))?;
                let schema = table.column(id).map(|column| &column.schema.column_type);
                let datum = schema.map(|schema| Datum::from_json(value, schema, &mut NoNames));
                if !matches!(datum, Some(Ok(datum)) if datum == *here.get(id)) {
                    changed.insert(column.clone(), value.clone());
                }
            }
            if !changed.is_empty() {
                operations.push(update(name, uuid, changed));
            }
        }
    }
    Ok(operations)
}

/// The operations that do what a `<table-updates>` tells.
pub fn changes(db: &Database, rows: &Value) -> Result<Vec<Value>, String> {
    let mut operations = Vec::new();
    let tables = rows.as_object().ok_or("an update is no object")?;
    for (name, rows) in tables {
        find(db, name)?;
        let rows = rows
            .as_object()
            .ok_or_else(|| format!("{name}: not an object of rows"))?;
        for (uuid, row) in rows {
            let part = |name: &str| row.get(name).and_then(Value::as_object);
            operations.push(match (part("old"), part("new")) {
                (None, Some(new)) => insert(name, uuid, new),
                (Some(old), Some(new)) => {
                    let changed = new
                        .iter()
                        .filter(|(column, _)| old.contains_key(*column))
                        .map(|(column, value)| (column.clone(), value.clone()))
                        .collect();
                    update(name, uuid, changed)
                }
                (Some(_), None) => delete(name, uuid),
                (None, None) => return Err(format!("{name} {uuid}: neither old nor new")),
            });
        }
    }
    Ok(operations)
}

fn find<'a>(db: &'a Database, name: &str) -> Result<&'a Table, String> {
    db.table_id(name)
        .and_then(|id| db.table(id))
        .ok_or_else(|| format!("no table named {name}"))
}

fn insert(table: &str, uuid: &str, row: &Map<String, Value>) -> Value {
    json!({"op": "insert", "table": table, "uuid": uuid, "row": row})
}

fn update(table: &str, uuid: &str, row: Map<String, Value>) -> Value {
    json!({"op": "update", "table": table, "where": is(uuid), "row": row})
}

fn delete(table: &str, uuid: &str) -> Value {
    json!({"op": "delete", "table": table, "where": is(uuid)})
}

fn is(uuid: &str) -> Value {
    json!([["_uuid", "==", ["uuid", uuid]]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: Value) -> DatabaseSchema {
        let json = json!({"name": "d", "tables": {"T": {"isRoot": true, "columns": columns}}});
        DatabaseSchema::from_json(&json).unwrap()
    }

    #[test]
    fn excluded_tables() {
        let excluded = parse_excluded("d:T,e:U,d:A").unwrap();
        assert_eq!(show_excluded(&excluded), "d:A,d:T,e:U");
        assert_eq!(parse_excluded("").unwrap(), Excluded::new());
        for bad in ["d", "d:", ":T", "d:T,x"] {
            assert!(parse_excluded(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn schemas_that_can_and_cannot_be_followed() {
        let ours = schema(json!({"a": {"type": "string"}, "n": {"type": "integer"}}));
        let fewer = schema(json!({"a": {"type": "string"}}));
        let other = schema(json!({"a": {"type": "string"}, "n": {"type": "real"}}));
        let none = BTreeSet::new();
        assert_eq!(compare(&ours, &fewer, &none), Ok(()));
        assert!(
            compare(&fewer, &ours, &none)
                .unwrap_err()
                .contains("no column n")
        );
        assert!(
            compare(&ours, &other, &none)
                .unwrap_err()
                .contains("differs")
        );
        assert_eq!(compare(&ours, &other, &["T".to_owned()].into()), Ok(()));
    }

    #[test]
    fn updates_become_operations() {
        let db = Database::new(schema(
            json!({"a": {"type": "string"}, "n": {"type": "integer"}}),
        ));
        let uuid = "00000000-0000-0000-0000-000000000001";
        let rows = json!({"T": {uuid: {"old": {"n": 1}, "new": {"a": "x", "n": 2}}}});
        assert_eq!(
            changes(&db, &rows).unwrap(),
            [json!({"op": "update", "table": "T", "row": {"n": 2},
                "where": [["_uuid", "==", ["uuid", uuid]]]})]
        );
        let rows = json!({"T": {uuid: {"new": {"a": "x", "n": 2}}}});
        let insert = json!({"op": "insert", "table": "T", "uuid": uuid, "row": {"a": "x", "n": 2}});
        assert_eq!(changes(&db, &rows).unwrap(), std::slice::from_ref(&insert));
        assert_eq!(
            contents(&db, &["T".to_owned()].into(), &rows).unwrap(),
            [insert]
        );
        for bad in [
            json!([]),
            json!({"X": {}}),
            json!({"T": 1}),
            json!({"T": {uuid: {}}}),
        ] {
            assert!(changes(&db, &bad).is_err(), "{bad}");
        }
    }
}
