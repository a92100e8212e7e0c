//! Where clients come from: sockets we listen on, peers we dial, and database columns that name
//! either.
//!
//! Source: ovsdb-server(1), `--remote`; ovs-vswitchd.conf.db(5), Manager.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::reconnect::{Action, Config, Reconnect};
use daemon::stream::{Active, Connection, Method, MethodError, OVSDB_PORT, Passive};
use ovsdb::{Datum, Uuid};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::database::{Database, Row, Table};
use crate::event_loop::Event;
use crate::server::{Peer, Server};

/// Why a remote cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Method(#[from] MethodError),
    #[error("\"{0}\": invalid syntax")]
    Column(String),
    #[error("\"{spec}\": no database named {name}")]
    NoDatabase { spec: String, name: String },
    #[error("\"{spec}\": no table named {name}")]
    NoTable { spec: String, name: String },
    #[error("\"{spec}\": table \"{table}\" has no column \"{name}\"")]
    NoColumn {
        spec: String,
        table: String,
        name: String,
    },
    #[error("{path}: {error}")]
    Database { path: String, error: String },
    #[error("{target}: {source}")]
    Listen {
        target: String,
        source: std::io::Error,
    },
}

/// One `--remote`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spec {
    Method(Method),
    /// The targets in this column, or in the rows that it refers to.
    Column {
        database: String,
        table: String,
        column: String,
    },
}

impl Spec {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let Some(names) = text.strip_prefix("db:") else {
            return Ok(Self::Method(Method::parse(text, OVSDB_PORT)?));
        };
        match names.split(',').collect::<Vec<_>>().as_slice() {
            [database, table, column]
                if [database, table, column].iter().all(|s| !s.is_empty()) =>
            {
                Ok(Self::Column {
                    database: (*database).to_owned(),
                    table: (*table).to_owned(),
                    column: (*column).to_owned(),
                })
            }
            _ => Err(Error::Column(text.to_owned())),
        }
    }

    /// Whether the column that the spec names is there.
    pub fn check(&self, text: &str, server: &Server) -> Result<(), Error> {
        let Self::Column {
            database,
            table,
            column,
        } = self
        else {
            return Ok(());
        };
        let spec = || text.to_owned();
        let db = server.database(database).ok_or_else(|| Error::NoDatabase {
            spec: spec(),
            name: database.clone(),
        })?;
        let table = db.schema().table(table).ok_or_else(|| Error::NoTable {
            spec: spec(),
            name: table.clone(),
        })?;
        let column = table.column(column).ok_or_else(|| Error::NoColumn {
            spec: spec(),
            table: table.name.clone(),
            name: column.clone(),
        });
        column.map(drop)
    }
}

/// What is known of a remote besides its target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub max_backoff: Option<Duration>,
    /// `None` leaves the default, zero turns probes off.
    pub probe: Option<Duration>,
    /// What its clients may do: everything when it is not from a row that says otherwise.
    pub peer: Peer,
    /// The row that it comes from, whose status columns are kept.
    pub row: Option<(String, String, Uuid)>,
}

/// The remotes of one column, by target. What cannot be parsed is the caller's to complain of.
pub fn from_column(db: &Database, table: &str, column: &str) -> BTreeMap<String, Wanted> {
    let mut remotes = BTreeMap::new();
    let Some(table) = db.table_id(table).and_then(|id| db.table(id)) else {
        return remotes;
    };
    let Some(id) = table.column_id(column) else {
        return remotes;
    };
    let target_table = db
        .schema()
        .column(&table.name, column)
        .and_then(|column| column.column_type.key.reference())
        .and_then(|(name, _)| db.table_id(name))
        .and_then(|id| db.table(id));
    for (_, row) in table.rows() {
        let datum = row.get(id);
        for target in datum.strings().filter(|target| !target.is_empty()) {
            remotes.insert(target.to_owned(), Wanted::default());
        }
        let Some(target_table) = target_table else {
            continue;
        };
        for uuid in datum.uuids() {
            let Some(row) = target_table.row(&uuid) else {
                continue;
            };
            if let Some((target, mut wanted)) = from_row(target_table, row) {
                wanted.row = Some((db.schema().name.clone(), target_table.name.clone(), uuid));
                remotes.insert(target, wanted);
            }
        }
    }
    remotes
}

fn from_row(table: &Table, row: &Row) -> Option<(String, Wanted)> {
    let get = |name: &str| table.column_id(name).map(|id| row.get(id));
    let target = get("target")?
        .as_str()
        .filter(|target| !target.is_empty())?;
    let millis = |name: &str| {
        let number = get(name)?.as_i64()?;
        u64::try_from(number).ok().map(Duration::from_millis)
    };
    let wanted = Wanted {
        max_backoff: millis("max_backoff"),
        probe: millis("inactivity_probe"),
        peer: Peer {
            role: get("role").and_then(Datum::as_str).unwrap_or("").into(),
            id: None,
            read_only: get("read_only").and_then(Datum::as_bool) == Some(true),
        },
        row: None,
    };
    Some((target.to_owned(), wanted))
}

impl Wanted {
    /// Probes as asked for, else every five seconds, but never on a Unix socket unasked: its
    /// peer's end is always noticed.
    fn config(&self, is_unix: bool) -> Config {
        let default = Config::default();
        let probe_interval = match self.probe {
            None if is_unix => None,
            None => default.probe_interval,
            Some(Duration::ZERO) => None,
            // Shorter ones would break connections that are merely slow.
            Some(probe) => Some(probe.max(Duration::from_secs(1))),
        };
        let max_backoff = self.max_backoff.unwrap_or(default.max_backoff);
        Config {
            probe_interval,
            max_backoff,
            ..default
        }
    }
}

/// A remote at work; dropping it stops listening or dialing.
#[derive(Debug)]
pub struct Running {
    task: tokio::task::JoinHandle<()>,
    config: watch::Sender<Config>,
    wanted: Wanted,
    is_unix: bool,
    pub is_active: bool,
    /// The port that a passive TCP remote listens on.
    pub bound_port: Option<u16>,
}

impl Running {
    /// Takes new settings into effect, for the connections that are there too.
    pub fn set_wanted(&mut self, wanted: Wanted) {
        if wanted != self.wanted {
            self.config.send_replace(wanted.config(self.is_unix));
            self.wanted = wanted;
        }
    }

    /// Whether it can go on as `wanted`: what its clients may do is settled when they connect.
    pub fn serves(&self, wanted: &Wanted) -> bool {
        self.wanted.peer == wanted.peer
    }

    /// Stops, and returns when the socket is gone.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Database, table and row that the remote comes from.
    pub fn row(&self) -> Option<&(String, String, Uuid)> {
        self.wanted.row.as_ref()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts to listen or to dial. Connections come out as events under the name `target`.
pub async fn start(
    target: &str,
    wanted: Wanted,
    events: mpsc::Sender<Event>,
) -> Result<Running, Error> {
    let name: Arc<str> = Arc::from(target);
    let method = Method::parse(target, OVSDB_PORT)?;
    let is_unix = matches!(
        method,
        Method::Active(Active::Unix(_)) | Method::Passive(Passive::Unix(_))
    );
    let (config, watching) = watch::channel(wanted.config(is_unix));
    let (task, is_active, bound_port) = match method {
        Method::Passive(passive) => {
            let listener = passive.listen().await.map_err(|source| Error::Listen {
                target: target.to_owned(),
                source,
            })?;
            let bound_port = listener.local_addr().map(|address| address.port());
            (
                tokio::spawn(accept(
                    listener,
                    name,
                    wanted.peer.clone(),
                    watching,
                    events,
                )),
                false,
                bound_port,
            )
        }
        Method::Active(active) => (
            tokio::spawn(dial(active, name, wanted.peer.clone(), watching, events)),
            true,
            None,
        ),
    };
    Ok(Running {
        task,
        config,
        wanted,
        is_unix,
        is_active,
        bound_port,
    })
}

async fn accept(
    listener: daemon::stream::Listener,
    remote: Arc<str>,
    peer: Peer,
    config: watch::Receiver<Config>,
    events: mpsc::Sender<Event>,
) {
    /// Short, because clients wait; long enough that trying costs nothing.
    const PAUSE: Duration = Duration::from_millis(250);
    /// It is said again when it comes back after this long.
    const QUIET: Duration = Duration::from_secs(60);
    let mut failed: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok(connection) => {
                let (remote, config) = (remote.clone(), config.clone());
                let event = Event::Connected {
                    remote,
                    peer: peer.clone(),
                    connection,
                    config,
                    over: None,
                };
                if events.send(event).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: try again when some may be free.
                let now = Instant::now();
                let told = failed
                    .replace(now)
                    .is_some_and(|at| now.saturating_duration_since(at) < QUIET);
                if !told {
                    tracing::warn!("{remote}: accept failed: {error}; trying on");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn dial(
    active: Active,
    remote: Arc<str>,
    peer: Peer,
    mut config: watch::Receiver<Config>,
    events: mpsc::Sender<Event>,
) {
    let mut reconnect = Reconnect::new(*config.borrow(), Instant::now());
    let mut failures = 0u32;
    loop {
        crate::connection::sleep_until(reconnect.deadline()).await;
        reconnect.set_config(*config.borrow_and_update(), Instant::now());
        if reconnect.poll(Instant::now()) != Some(Action::Connect) {
            continue;
        }
        let limit = reconnect.deadline().map_or(Duration::from_secs(8), |at| {
            at.saturating_duration_since(Instant::now())
        });
        match tokio::time::timeout(limit, active.connect()).await {
            Ok(Ok(connection)) => {
                reconnect.handle_connected(Instant::now());
                tracing::info!("{remote}: connected");
                failures = 0;
                if hand_over(&remote, &peer, connection, &config, &events)
                    .await
                    .is_err()
                {
                    return;
                }
                tracing::info!("{remote}: connection closed");
            }
            Ok(Err(error)) => tell_failure(&remote, &mut failures, &error.to_string()),
            Err(_) => tell_failure(&remote, &mut failures, "timed out"),
        }
        reconnect.handle_disconnected(Instant::now());
    }
}

/// Logs a failed attempt, unless there were several already since it last worked.
fn tell_failure(remote: &str, failures: &mut u32, why: &str) {
    const TOLD: u32 = 4;
    *failures = failures.saturating_add(1);
    if *failures < TOLD {
        tracing::info!("{remote}: connection attempt failed ({why})");
    } else if *failures == TOLD {
        tracing::info!(
            "{remote}: connection attempt failed ({why}); further attempts are not logged"
        );
    }
}

/// Hands a dialed connection to the event loop and waits until it is over.
async fn hand_over(
    remote: &Arc<str>,
    peer: &Peer,
    connection: Connection,
    config: &watch::Receiver<Config>,
    events: &mpsc::Sender<Event>,
) -> Result<(), ()> {
    let (over, waits) = oneshot::channel();
    let (remote, config) = (remote.clone(), config.clone());
    let event = Event::Connected {
        remote,
        peer: peer.clone(),
        connection,
        config,
        over: Some(over),
    };
    events.send(event).await.map_err(drop)?;
    let _ = waits.await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs() {
        for (text, good) in [
            ("db:Open_vSwitch,Open_vSwitch,manager_options", true),
            ("db:Open_vSwitch,Open_vSwitch", false),
            ("db:,,", false),
            ("punix:/tmp/x", true),
            ("ptcp:6640:127.0.0.1", true),
            ("tcp:127.0.0.1", true),
            ("ssl:127.0.0.1:6640", false),
            ("bogus", false),
        ] {
            assert_eq!(Spec::parse(text).is_ok(), good, "{text}");
        }
    }
}
