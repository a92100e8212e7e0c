//! One client's conversation with a server: what to ask for after connecting, what the answers
//! mean for the replica, and which transactions are under way.
//!
//! After [`Session::handle_connected`] the session asks for the schema and for the server's own
//! view of the database (`_Server`), then monitors: by `monitor_cond_since`, from the last
//! transaction seen, or by `monitor_cond` or `monitor` where the server knows no better. Rows stay
//! readable while there is no connection.
//!
//! Source: RFC 7047, 4.1; ovsdb-server(7), 4.1.12 to 4.1.17; ovsdb(7), "Database Models" for what
//! `_Server` says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use uuid::Uuid;

use super::conditions::{Conditions, Wheres};
use super::update::Form;
use super::{Outcome, Replica, Request, Row, Selection, SelectionError, UpdateError};
use crate::condition::Clause;
use crate::error::Error;
use crate::jsonrpc::Message;
use crate::schema::DatabaseSchema;
use crate::value::parse_uuid;

/// What the shell should know.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The replica holds the server's current contents, for the first time on this connection.
    Synced,
    /// Another transaction was applied.
    Updated,
    /// The replica holds what the conditions of [`Session::set_condition`] select.
    Conditions,
    /// The transaction that [`Session::transact`] gave this number has ended.
    Transacted { id: u64, outcome: Outcome },
    /// The lock of [`Session::set_lock`] was gained or lost.
    Locked(bool),
    /// Tables and columns that this server lacks; they read as unset.
    Missing(Vec<String>),
    /// This server will not do: disconnect, and try another or try again later.
    Unfit(Unfit),
}

/// Why a connection is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("{0}")]
    NoSchema(Error),
    #[error("bad schema: {0}")]
    BadSchema(Error),
    #[error("no such database on this server")]
    NoDatabase,
    #[error("clustered database server is disconnected from its cluster")]
    Disconnected,
    #[error("clustered database server is not the cluster's leader")]
    NotLeader,
    #[error("clustered database server has older contents than were seen before")]
    Stale,
    #[error("{0}")]
    Update(#[from] UpdateError),
    #[error("the server refused to monitor: {0}")]
    NoMonitor(String),
    #[error("the server refused a condition: {0}")]
    NoCondition(String),
    #[error("the server canceled the monitor")]
    MonitorCanceled,
}

/// The methods that start a monitor, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Monitor {
    Since,
    Cond,
    Plain,
}

/// A request that awaits its reply.
#[derive(Debug)]
enum Pending {
    Server,
    Schema,
    Monitor(Monitor, Wheres),
    Conditions,
    Transaction(Request),
    Lock,
    /// An echo or an unlock; the answer says nothing.
    Ignored,
}

/// The part of the `_Server` schema that matters here.
static SERVER_SCHEMA: LazyLock<Option<Arc<DatabaseSchema>>> = LazyLock::new(|| {
    let schema = json!({
        "name": "_Server",
        "version": "1.0.0",
        "tables": {"Database": {"columns": {
            "name": {"type": "string"},
            "model": {"type": "string"},
            "connected": {"type": "boolean"},
            "leader": {"type": "boolean"},
            "index": {"type": {"key": "integer", "min": 0}},
        }}},
    });
    DatabaseSchema::from_json(&schema).ok().map(Arc::new)
});

/// The protocol state of one client, over any number of connections.
#[derive(Debug)]
pub struct Session {
    replica: Replica,
    server: Option<Replica>,
    leader_only: bool,
    connected: bool,
    server_known: bool,
    server_schema: Option<DatabaseSchema>,
    synced: bool,
    monitor: Monitor,
    conditions: Conditions,
    /// The newest log index that a member of the cluster was seen to have.
    min_index: i64,
    lock: Option<String>,
    locked: bool,
    next_id: u64,
    pending: BTreeMap<u64, Pending>,
    messages: VecDeque<Message>,
    events: VecDeque<Event>,
}

impl Session {
    /// A session that fills `replica`, not connected yet.
    pub fn new(replica: Replica) -> Self {
        Self {
            conditions: Conditions::new(replica.wheres.clone()),
            monitor: Monitor::Since,
            min_index: 0,
            replica,
            server: None,
            leader_only: false,
            connected: false,
            server_known: false,
            server_schema: None,
            synced: false,
            lock: None,
            locked: false,
            next_id: 1,
            pending: BTreeMap::new(),
            messages: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Of a clustered database, whether only the leader will do.
    pub fn set_leader_only(&mut self, leader_only: bool) {
        self.leader_only = leader_only;
    }

    /// The rows, also while there is no connection.
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// To take the changes.
    pub fn replica_mut(&mut self) -> &mut Replica {
        &mut self.replica
    }

    /// Whether the replica is kept up to date by the current connection.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Follows from now on the rows of `table` for which at least one of `clauses` holds; see
    /// [`Selection::condition`](super::Selection::condition). Rows come and go as updates, and
    /// [`Event::Conditions`] says when all have.
    pub fn set_condition(&mut self, table: &str, clauses: &[Clause]) -> Result<(), SelectionError> {
        if !self.replica.tables.contains_key(table) {
            return Err(SelectionError::NotFollowed(table.to_owned()));
        }
        let array = super::condition(&self.replica.schema, table, clauses)?;
        self.conditions.want(table, array);
        self.request_conditions();
        Ok(())
    }

    /// Whether the replica holds what the conditions select. With a server that knows only
    /// `monitor` it holds more.
    pub fn conditions_met(&self) -> bool {
        self.synced && self.conditions.are_met()
    }

    /// Asks for the lock `name` on this and every later connection, or gives it up. From then on
    /// transactions assert that they hold it.
    pub fn set_lock(&mut self, name: Option<&str>) {
        if self.lock.as_deref() == name {
            return;
        }
        if let Some(old) = self.lock.take() {
            self.locked = false;
            if self.connected {
                self.request("unlock", json!([old]), Pending::Ignored);
            }
        }
        self.lock = name.map(str::to_owned);
        if self.connected {
            self.request_lock();
        }
    }

    /// Whether the lock of [`Session::set_lock`] is held.
    pub fn has_lock(&self) -> bool {
        self.locked
    }

    /// A connection is there: everything is asked for anew.
    pub fn handle_connected(&mut self) {
        self.handle_disconnected();
        self.connected = true;
        self.server = SERVER_SCHEMA
            .as_ref()
            .map(|schema| Replica::new(Selection::everything(schema.clone())));
        let columns = ["name", "model", "connected", "leader", "index"];
        self.request(
            "monitor_cond",
            json!(["_Server", ["monid", "_Server"], {"Database": [{"columns": columns}]}]),
            Pending::Server,
        );
        let database = self.replica.schema().name.clone();
        self.request("get_schema", json!([database]), Pending::Schema);
        self.request_lock();
    }

    /// The connection is gone. A transaction that was handed out by [`Session::poll_message`] and
    /// not answered ends as [`Outcome::Unknown`], one that was not as [`Outcome::TryAgain`].
    pub fn handle_disconnected(&mut self) {
        self.connected = false;
        self.synced = false;
        self.server_known = false;
        self.server_schema = None;
        let unsent: BTreeSet<u64> = std::mem::take(&mut self.messages)
            .into_iter()
            .filter_map(|message| match message {
                Message::Request { id, .. } => id.as_u64(),
                _ => None,
            })
            .collect();
        if self.conditions.handle_disconnected() {
            self.replica.set_last_id(Uuid::nil());
        }
        if std::mem::take(&mut self.locked) {
            self.events.push_back(Event::Locked(false));
        }
        for (id, pending) in std::mem::take(&mut self.pending) {
            if matches!(pending, Pending::Transaction(_)) {
                let outcome = if unsent.contains(&id) {
                    Outcome::TryAgain
                } else {
                    Outcome::Unknown
                };
                self.events.push_back(Event::Transacted { id, outcome });
            }
        }
    }

    /// A message came from the server.
    pub fn handle_message(&mut self, message: Message) {
        match message {
            Message::Request { id, method, params } => {
                let reply = if method == "echo" {
                    Message::reply(id, params)
                } else {
                    Message::error(id, json!("unknown method"))
                };
                self.messages.push_back(reply);
            }
            Message::Notification { method, params } => self.handle_notification(&method, &params),
            Message::Response { id, result } => {
                let pending = id
                    .as_u64()
                    .and_then(|id| Some((id, self.pending.remove(&id)?)));
                if let Some((id, pending)) = pending {
                    self.handle_response(id, pending, result);
                }
            }
        }
    }

    /// Sends `request` when there is a connection; otherwise it ends as [`Outcome::TryAgain`].
    /// Returns the number under which [`Event::Transacted`] will report.
    pub fn transact(&mut self, request: Request) -> u64 {
        if !self.connected {
            let id = self.take_id();
            self.events.push_back(Event::Transacted {
                id,
                outcome: Outcome::TryAgain,
            });
            return id;
        }
        let params = request.params(self.lock.as_deref());
        self.request("transact", params, Pending::Transaction(request))
    }

    /// Sends an echo, to see whether the server is still there; any message is a sign of life.
    pub fn probe(&mut self) {
        self.request("echo", json!([]), Pending::Ignored);
    }

    /// What to send next.
    pub fn poll_message(&mut self) -> Option<Message> {
        self.messages.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        id
    }

    fn request(&mut self, method: &str, params: Value, pending: Pending) -> u64 {
        let id = self.take_id();
        self.messages
            .push_back(Message::request(id, method, params));
        self.pending.insert(id, pending);
        id
    }

    fn request_lock(&mut self) {
        if let Some(name) = &self.lock {
            let params = json!([name]);
            self.request("lock", params, Pending::Lock);
        }
    }

    fn request_monitor(&mut self, how: Monitor) {
        let Some(schema) = &self.server_schema else {
            return;
        };
        let database = self.replica.schema().name.clone();
        // Only `monitor_cond_since` goes on from what the replica holds.
        let last = self.replica.last_id();
        let resumes = how == Monitor::Since && !last.is_nil();
        let wheres = self.conditions.for_monitor(resumes);
        let carried = (how != Monitor::Plain).then_some(&wheres);
        let requests = self.replica.monitor_requests(schema, carried);
        let id = json!(["monid", database]);
        let (method, params) = match how {
            Monitor::Since => {
                let last = last.hyphenated().to_string();
                ("monitor_cond_since", json!([database, id, requests, last]))
            }
            Monitor::Cond => ("monitor_cond", json!([database, id, requests])),
            Monitor::Plain => ("monitor", json!([database, id, requests])),
        };
        self.request(method, params, Pending::Monitor(how, wheres));
    }

    /// Asks for the newest conditions, unless a change is under way: its answer asks again.
    fn request_conditions(&mut self) {
        let (true, Some(schema)) = (self.synced, &self.server_schema) else {
            return;
        };
        if self.monitor == Monitor::Plain {
            let wheres = self.conditions.for_monitor(false);
            self.conditions.handle_started(wheres);
            self.events.push_back(Event::Conditions);
            return;
        }
        match self.conditions.poll_change(schema) {
            Some(requests) => {
                let id = json!(["monid", self.replica.schema().name]);
                let params = json!([id, id, requests]);
                self.request("monitor_cond_change", params, Pending::Conditions);
            }
            None if self.conditions.are_met() => self.events.push_back(Event::Conditions),
            None => {}
        }
    }

    fn handle_notification(&mut self, method: &str, params: &Value) {
        let items = params.as_array().map(Vec::as_slice).unwrap_or_default();
        let applied = match (method, items) {
            ("update", [id, updates]) => self.update(id, updates, Form::Full),
            ("update2", [id, updates]) => self.update(id, updates, Form::Difference),
            ("update3", [id, last, updates]) => self
                .update(id, updates, Form::Difference)
                .map(|()| self.note_last(last)),
            ("monitor_canceled", _) => {
                self.synced = false;
                self.events.push_back(Event::Unfit(Unfit::MonitorCanceled));
                return;
            }
            ("locked" | "stolen", [name]) => {
                if self.lock.is_some() && name.as_str() == self.lock.as_deref() {
                    self.note_lock(method == "locked");
                }
                return;
            }
            _ => return,
        };
        if let Err(error) = applied {
            self.synced = false;
            // What the replica holds is not what the server believes: start from nothing.
            self.replica.set_last_id(Uuid::nil());
            self.events.push_back(Event::Unfit(error.into()));
        }
    }

    fn update(&mut self, id: &Value, updates: &Value, form: Form) -> Result<(), UpdateError> {
        if *id == json!(["monid", "_Server"]) {
            if let Some(server) = &mut self.server {
                server.apply(updates, form)?;
            }
            if self.server_known
                && let Err(unfit) = self.check_server()
            {
                self.events.push_back(Event::Unfit(unfit));
            }
            return Ok(());
        }
        if !self.synced {
            return Ok(());
        }
        self.replica.apply(updates, form)?;
        self.events.push_back(Event::Updated);
        Ok(())
    }

    fn note_last(&mut self, last: &Value) {
        if self.synced {
            self.replica.set_last_id(id_of(last));
        }
    }

    fn note_lock(&mut self, locked: bool) {
        if self.locked != locked {
            self.locked = locked;
            self.events.push_back(Event::Locked(locked));
        }
    }

    fn handle_response(&mut self, id: u64, pending: Pending, result: Result<Value, Value>) {
        let fit = match (pending, result) {
            (Pending::Server, Ok(updates)) => {
                self.server_known = true;
                match self.server.as_mut() {
                    Some(server) => server
                        .replace(&updates, Form::Difference)
                        .map_err(Unfit::from),
                    None => Ok(()),
                }
                .and_then(|()| self.advance())
            }
            // A server from before `_Server`: it has one model, standalone.
            (Pending::Server, Err(_)) => {
                self.server_known = true;
                self.server = None;
                self.advance()
            }
            (Pending::Schema, Ok(schema)) => DatabaseSchema::from_json(&schema)
                .map_err(Unfit::BadSchema)
                .and_then(|schema| {
                    self.server_schema = Some(schema);
                    self.advance()
                }),
            (Pending::Schema, Err(error)) => Err(Unfit::NoSchema(error_of(&error))),
            (Pending::Monitor(how, wheres), Ok(reply)) => self.start(how, wheres, &reply),
            (Pending::Monitor(how, _), Err(error)) => match how {
                Monitor::Since if is_unknown_method(&error) => {
                    self.request_monitor(Monitor::Cond);
                    Ok(())
                }
                Monitor::Cond if is_unknown_method(&error) => {
                    self.request_monitor(Monitor::Plain);
                    Ok(())
                }
                _ => Err(Unfit::NoMonitor(error_of(&error).to_string())),
            },
            (Pending::Conditions, Ok(_)) => {
                self.conditions.handle_changed();
                // Until the next update names a transaction, the last one seen is too old to
                // resume from: see `conditions`.
                self.replica.set_last_id(Uuid::nil());
                self.request_conditions();
                Ok(())
            }
            (Pending::Conditions, Err(error)) => {
                Err(Unfit::NoCondition(error_of(&error).to_string()))
            }
            (Pending::Transaction(request), result) => {
                let outcome = match result {
                    Ok(results) => request.outcome(&results),
                    Err(error) => Outcome::Error(error),
                };
                self.events.push_back(Event::Transacted { id, outcome });
                Ok(())
            }
            (Pending::Lock, Ok(reply)) => {
                let locked = reply.get("locked").and_then(Value::as_bool);
                self.note_lock(locked.unwrap_or(false));
                Ok(())
            }
            (Pending::Lock, Err(_)) | (Pending::Ignored, _) => Ok(()),
        };
        if let Err(unfit) = fit {
            self.events.push_back(Event::Unfit(unfit));
        }
    }

    /// Goes on to monitoring once both the schema and the state of the server are known.
    fn advance(&mut self) -> Result<(), Unfit> {
        let (true, Some(schema)) = (self.server_known, &self.server_schema) else {
            return Ok(());
        };
        let missing = self.replica.compare(schema);
        self.check_server()?;
        if !missing.is_empty() {
            self.events.push_back(Event::Missing(missing));
        }
        self.request_monitor(Monitor::Since);
        Ok(())
    }

    fn check_server(&mut self) -> Result<(), Unfit> {
        let Some(server) = &self.server else {
            return Ok(());
        };
        let row: Row<'_> = server
            .find("Database", "name", &self.replica.schema().name)
            .ok_or(Unfit::NoDatabase)?;
        if row.string("model") == Some("standalone") {
            return Ok(());
        }
        if !row.boolean("connected") {
            return Err(Unfit::Disconnected);
        }
        if self.leader_only && row.string("model") == Some("clustered") && !row.boolean("leader") {
            return Err(Unfit::NotLeader);
        }
        // What was read once must not become unread by asking a member that lags behind.
        let index = row.integer("index").unwrap_or(self.min_index);
        if index < self.min_index {
            return Err(Unfit::Stale);
        }
        self.min_index = index;
        Ok(())
    }

    fn start(&mut self, how: Monitor, wheres: Wheres, reply: &Value) -> Result<(), Unfit> {
        let started = self.fill(how, reply);
        if started.is_err() {
            self.replica.set_last_id(Uuid::nil());
        }
        started?;
        self.monitor = how;
        self.conditions.handle_started(wheres);
        self.synced = true;
        self.events.push_back(Event::Synced);
        if !self.conditions.are_met() {
            self.request_conditions();
        }
        Ok(())
    }

    fn fill(&mut self, how: Monitor, reply: &Value) -> Result<(), Unfit> {
        let malformed = || Unfit::NoMonitor("malformed reply".to_owned());
        // Of a server without history nothing can be resumed, nor elsewhere after it.
        let mut last_id = Uuid::nil();
        match how {
            Monitor::Since => {
                let Some([Value::Bool(found), last, updates]) = reply.as_array().map(Vec::as_slice)
                else {
                    return Err(malformed());
                };
                if *found {
                    self.replica.apply(updates, Form::Difference)?;
                } else {
                    self.replica.replace(updates, Form::Difference)?;
                }
                last_id = id_of(last);
            }
            Monitor::Cond => self.replica.replace(reply, Form::Difference)?,
            Monitor::Plain => self.replica.replace(reply, Form::Full)?,
        }
        self.replica.set_last_id(last_id);
        Ok(())
    }
}

/// Servers without history give a nil id, which asks for everything next time.
fn id_of(last: &Value) -> Uuid {
    last.as_str().and_then(parse_uuid).unwrap_or(Uuid::nil())
}

/// Whether a server says that it does not know a method, in either of the ways seen.
fn is_unknown_method(error: &Value) -> bool {
    let text = error.as_str().or_else(|| error.get("error")?.as_str());
    text == Some("unknown method")
}

fn error_of(error: &Value) -> Error {
    Error::from_json(error).unwrap_or_else(|| {
        Error::new(
            crate::error::ErrorKind::InternalError,
            format!("unexpected error {error}"),
        )
    })
}
