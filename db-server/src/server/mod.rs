//! The server without its sockets and its file: databases, clients' sessions, locks, monitors.
//!
//! The shell gives inputs by the `handle_*` functions and then takes all outputs by
//! [`Server::poll_output`]. Transactions take effect in memory at once; their records come out
//! before the messages that tell of them, and the shell holds those messages, and all later ones,
//! until the records are durable. It then calls [`Server::handle_durable`], or, when they could
//! not be written, [`Server::handle_lost`], which takes the transactions back. [`Nature`] says what
//! becomes of a held message in that case.
//!
//! Source: RFC 7047, 4; ovsdb-server(7).

mod audience;
mod behind;
mod databases;
mod locks;
mod meta;
mod requests;
mod transact;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ovsdb::jsonrpc::Message;
use ovsdb::operation::Transact;
use ovsdb::{Error, ErrorKind, Uuid};
use serde_json::Value;

use crate::database::{Database, Delta};
use crate::history::History;
use crate::monitor::{Monitor, SharedMonitors};
use audience::Audiences;
use behind::Behind;
use locks::Locks;
use transact::{Operations, Parked};

pub use audience::Group;

/// A connection, as the shell numbers it.
pub type SessionId = u64;

/// What the shell is to do, in this order.
#[derive(Debug)]
pub enum Output {
    /// Append this text to the database's file as a record; `ticket` numbers these, ascending.
    Record {
        database: Arc<str>,
        ticket: u64,
        record: Vec<u8>,
    },
    /// Replace the whole of the database's file by these records: it has another schema now.
    Replace {
        database: Arc<str>,
        ticket: u64,
        records: Vec<Vec<u8>>,
    },
    /// Send to a client, when all records that came out earlier are durable. `database` is the
    /// one whose data the message tells of.
    Send {
        session: SessionId,
        message: Message,
        nature: Nature,
        database: Option<Arc<str>>,
    },
    /// The same for a message whose text is made already.
    Text {
        session: SessionId,
        text: Arc<[u8]>,
        nature: Nature,
        database: Arc<str>,
    },
    /// Send a monitor's notification to these clients, when all records that came out earlier are
    /// durable. Should they turn out not to be, it is dropped.
    Updates {
        group: Arc<Group>,
        text: Arc<[u8]>,
        database: Arc<str>,
    },
    /// Close a client's connection after what was sent to it.
    Close {
        session: SessionId,
        reason: &'static str,
        /// Whether the client did something wrong.
        fault: bool,
    },
    /// The contents of a database changed, for who derives things from it.
    Changed { database: Arc<str> },
}

/// What a message depends on, should the records before it turn out not to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// On no data: it is sent all the same, and need not wait.
    Plain,
    /// The reply to a transaction: it becomes an I/O error.
    Transaction,
    /// A monitor's contents: the client has to start over, so its connection is closed.
    Contents,
}

/// A database and what belongs to it.
#[derive(Debug)]
struct Managed {
    name: Arc<str>,
    db: Database,
    history: History,
    /// Whether records of its transactions are kept.
    durable: bool,
    shared: SharedMonitors,
}

/// What is known of a client from how it connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// The role that the remote gives to its clients, for access control; empty for none.
    pub role: Arc<str>,
    /// Who the client proved to be, such as the common name of its certificate.
    pub id: Option<Arc<str>>,
    /// Whether the remote lets its clients only read.
    pub read_only: bool,
}

/// A client.
#[derive(Debug, Default)]
struct Session {
    peer: Peer,
    monitors: Vec<(Value, Arc<str>, Arc<Monitor>)>,
    db_change_aware: bool,
    /// There while the client does not keep up.
    behind: Option<Behind>,
}

/// The most monitors, and waiting transactions, of one client.
const MAX_PER_SESSION: usize = 10_000;

/// Something done to a database that may yet have to be taken back.
#[derive(Debug)]
struct Unsynced {
    ticket: u64,
    database: Arc<str>,
    undo: Undo,
}

#[derive(Debug)]
enum Undo {
    /// A transaction.
    Transaction(Arc<Delta>),
    /// A conversion, from this.
    Conversion(Box<(Database, History)>),
}

/// See the module's documentation.
pub struct Server {
    databases: BTreeMap<Arc<str>, Managed>,
    sessions: BTreeMap<SessionId, Session>,
    audiences: Audiences,
    locks: Locks,
    parked: Vec<Parked>,
    /// Databases that changed while transactions wait on them.
    changed: BTreeSet<Arc<str>>,
    unsynced: VecDeque<Unsynced>,
    last_ticket: u64,
    server_id: Uuid,
    new_uuid: Box<dyn FnMut() -> Uuid + Send>,
    /// Milliseconds since 1970, as the shell last told.
    date_ms: u64,
    column_diff: bool,
    /// Whether no client may write.
    read_only: bool,
    outputs: VecDeque<Output>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("databases", &self.databases.keys())
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}

impl Server {
    /// A server with the `_Server` database only. `column_diff` chooses the shorter form of
    /// records.
    pub fn new(mut new_uuid: Box<dyn FnMut() -> Uuid + Send>, column_diff: bool) -> Self {
        let server_id = new_uuid();
        let mut server = Self {
            databases: BTreeMap::new(),
            sessions: BTreeMap::new(),
            audiences: Audiences::default(),
            locks: Locks::default(),
            parked: Vec::new(),
            changed: BTreeSet::new(),
            unsynced: VecDeque::new(),
            last_ticket: 0,
            server_id,
            new_uuid,
            date_ms: 0,
            column_diff,
            read_only: false,
            outputs: VecDeque::new(),
        };
        server.insert_database(Database::new(meta::schema()), false);
        server.refresh_meta();
        server
    }

    /// Adds a database whose transactions have records. One of the same name is replaced.
    /// Clients that do not follow which databases there are have to connect again.
    pub fn add_database(&mut self, db: Database) {
        let name = db.schema().name.clone();
        self.leave_database(&name, None, "adding a database");
        self.unsynced.retain(|unsynced| *unsynced.database != *name);
        self.insert_database(db, true);
        self.refresh_meta();
    }

    fn insert_database(&mut self, db: Database, durable: bool) {
        let history = History::new((self.new_uuid)());
        let name: Arc<str> = Arc::from(db.schema().name.as_str());
        let managed = Managed {
            name: name.clone(),
            db,
            history,
            durable,
            shared: SharedMonitors::default(),
        };
        self.databases.insert(name, managed);
    }

    /// The contents of a database.
    pub fn database(&self, name: &str) -> Option<&Database> {
        self.databases.get(name).map(|managed| &managed.db)
    }

    /// The databases' names, `_Server` included.
    pub fn database_names(&self) -> impl Iterator<Item = &str> {
        self.databases.keys().map(|name| &**name)
    }

    pub fn handle_connect(&mut self, session: SessionId, peer: Peer) {
        let client = Session {
            peer,
            ..Session::default()
        };
        self.sessions.insert(session, client);
    }

    /// Lets clients only read, as long as this server is the copy of another one. When that
    /// changes, all clients have to connect again.
    pub fn set_read_only(&mut self, read_only: bool) {
        if self.read_only == read_only {
            return;
        }
        self.read_only = read_only;
        let reason = if read_only {
            "making server read-only"
        } else {
            "making server read/write"
        };
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        self.disconnect(sessions, reason);
    }

    /// A client has left: its locks pass on, its transactions that wait are gone.
    pub fn handle_disconnect(&mut self, session: SessionId) {
        let client = self.sessions.remove(&session);
        if client.is_some_and(|client| !client.monitors.is_empty()) {
            self.audiences.forget();
        }
        self.parked.retain(|parked| parked.session != session);
        for (new_owner, lock) in self.locks.forget(session) {
            self.notify_lock(new_owner, "locked", &lock);
        }
    }

    /// A message from a client. `date_ms` is the wall clock's, for the records.
    pub fn handle_message(
        &mut self,
        session: SessionId,
        message: Message,
        now: Instant,
        date_ms: u64,
    ) {
        if !self.sessions.contains_key(&session) {
            return;
        }
        self.date_ms = date_ms;
        match message {
            Message::Request { params, .. } if !params.is_array() => {
                let reason = "\"params\" must be JSON array";
                self.outputs.push_back(Output::Close {
                    session,
                    reason,
                    fault: true,
                });
            }
            Message::Request { id, method, params } => {
                self.handle_request(session, id, &method, params, now);
            }
            Message::Notification { method, params } if method == "cancel" => {
                self.cancel(session, &params);
            }
            // Unknown notifications are ignored; answers are to our echoes, which the shell sends.
            Message::Notification { .. } | Message::Response { .. } => {}
        }
        self.wake(now);
    }

    /// A `transact` request from a client.
    pub fn handle_transact(
        &mut self,
        session: SessionId,
        transact: Transact,
        now: Instant,
        date_ms: u64,
    ) {
        let Some(managed) = self.databases.get(&*transact.database) else {
            let params = transact.params();
            let message = Message::request(transact.id, "transact", params);
            return self.handle_message(session, message, now, date_ms);
        };
        if !self.sessions.contains_key(&session) {
            return;
        }
        self.date_ms = date_ms;
        let name = managed.name.clone();
        let operations = Operations::Text(transact.operations);
        self.request_transact(session, transact.id, name, operations, now);
        self.wake(now);
    }

    /// When [`Server::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.parked.iter().filter_map(Parked::deadline).min()
    }

    /// Time has passed: transactions that waited long enough fail.
    pub fn handle_timeout(&mut self, now: Instant, date_ms: u64) {
        self.date_ms = date_ms;
        let parked = std::mem::take(&mut self.parked);
        let (due, later) = parked
            .into_iter()
            .partition(|parked| parked.deadline().is_some_and(|deadline| deadline <= now));
        self.parked = later;
        for parked in due {
            self.run(parked, now);
        }
        self.wake(now);
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The records up to this one are durable.
    pub fn handle_durable(&mut self, ticket: u64) {
        while self
            .unsynced
            .front()
            .is_some_and(|first| first.ticket <= ticket)
        {
            self.unsynced.pop_front();
        }
    }

    /// The records of a database that were not reported durable cannot be written: their
    /// transactions, and those since, are taken back.
    pub fn handle_lost(&mut self, database: &str) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let (lost, kept): (VecDeque<_>, VecDeque<_>) = unsynced
            .into_iter()
            .partition(|unsynced| &*unsynced.database == database);
        self.unsynced = kept;
        let Some(managed) = self.databases.get_mut(database) else {
            return;
        };
        let mut converted = false;
        for unsynced in lost.into_iter().rev() {
            match unsynced.undo {
                Undo::Transaction(delta) => {
                    managed.db.revert(&delta);
                    managed.history.pop();
                }
                Undo::Conversion(before) => {
                    (managed.db, managed.history) = *before;
                    converted = true;
                }
            }
        }
        let database = managed.name.clone();
        // What has gathered for a client holds what was lost beside what it still has to know.
        let behind = self.sessions.iter().filter(|(_, session)| {
            let behind = session.behind.as_ref();
            behind.is_some_and(|behind| behind.waits_for(&database))
        });
        let behind: Vec<SessionId> = behind.map(|(id, _)| *id).collect();
        self.disconnect(behind, "changes that it was not told of yet were lost");
        if converted {
            // Monitors since then are of tables that are not there.
            self.leave_database(
                &database,
                None,
                "the conversion of a database was taken back",
            );
            self.refresh_meta();
        }
        // Who waits may wait for what is true now; the next change or timeout will tell.
        self.outputs.push_back(Output::Changed { database });
    }

    /// Changes a database on the server's own behalf, as connection states in it are.
    pub fn transact(&mut self, database: &str, operations: Vec<Value>, now: Instant, date_ms: u64) {
        self.date_ms = date_ms;
        self.run_own(database, operations);
        self.wake(now);
    }

    /// Carries out what the active server did, as its backup.
    ///
    /// Errors: the result of the operation that failed.
    pub fn apply(
        &mut self,
        database: &str,
        operations: Vec<Value>,
        now: Instant,
        date_ms: u64,
    ) -> Result<(), Value> {
        self.date_ms = date_ms;
        let result = self.try_own(database, operations);
        self.wake(now);
        result
    }

    /// The identity that `get_server_id` tells.
    pub fn server_id(&self) -> Uuid {
        self.server_id
    }

    /// Lines for `memory/show`.
    pub fn memory(&self) -> Vec<(&'static str, usize)> {
        let rows = self
            .databases
            .values()
            .map(|managed| managed.db.row_count())
            .sum();
        let monitors = self
            .sessions
            .values()
            .map(|session| session.monitors.len())
            .sum();
        vec![
            ("monitors", monitors),
            ("rows", rows),
            ("sessions", self.sessions.len()),
            ("triggers", self.parked.len()),
        ]
    }

    fn send(
        &mut self,
        session: SessionId,
        message: Message,
        nature: Nature,
        database: Option<Arc<str>>,
    ) {
        self.outputs.push_back(Output::Send {
            session,
            message,
            nature,
            database,
        });
    }

    fn send_plain(&mut self, session: SessionId, message: Message) {
        self.send(session, message, Nature::Plain, None);
    }

    fn notify_lock(&mut self, session: SessionId, method: &str, lock: &str) {
        let message = Message::notification(method, serde_json::json!([lock]));
        self.send_plain(session, message);
    }
}

/// The error reply to a transaction whose record could not be written, in place of its reply.
pub fn lost_reply(reply: &[u8], reason: &str) -> Message {
    let id = serde_json::from_slice(reply)
        .ok()
        .and_then(|mut reply: Value| Some(reply.get_mut("id")?.take()));
    let error = Error::new(ErrorKind::IoError, reason).to_json();
    Message::error(id.unwrap_or_default(), error)
}

/// How long a request has been here.
fn elapsed(since: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(since)
}

#[cfg(test)]
mod tests;
