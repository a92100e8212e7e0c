//! Running transactions, and what follows a commit: the record, the monitors, the ones that wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::HashMap;
use ovsdb::jsonrpc::Message;
use ovsdb::operation::OperationText;
use ovsdb::{Error, ErrorKind};
use serde_json::Value;

use super::{
    MAX_PER_SESSION, Managed, Nature, Output, Server, Session, SessionId, Undo, Unsynced, behind,
    elapsed, meta,
};
use crate::database::Delta;
use crate::monitor::Monitor;
use crate::rbac::Access;
use crate::record;
use crate::txn::{self, Committed, Context, Outcome};

/// The operations of a request.
#[derive(Debug)]
pub(super) enum Operations {
    Text(Vec<OperationText>),
    Json(Vec<Value>),
}

/// A transaction that waits, or is about to be run for the first time.
#[derive(Debug)]
pub(super) struct Parked {
    pub session: SessionId,
    pub id: Value,
    pub database: Arc<str>,
    operations: Operations,
    since: Instant,
    /// How old it may become.
    until: Option<Duration>,
}

impl Parked {
    pub fn deadline(&self) -> Option<Instant> {
        self.since.checked_add(self.until?)
    }
}

impl Server {
    /// A `transact` request whose database is known to be there.
    pub(super) fn request_transact(
        &mut self,
        session: SessionId,
        id: Value,
        database: Arc<str>,
        operations: Operations,
        now: Instant,
    ) {
        let txn = Parked {
            session,
            id,
            database,
            operations,
            since: now,
            until: None,
        };
        self.run(txn, now);
    }

    /// Executes a transaction; it is answered, or parked until something changes.
    pub(super) fn run(&mut self, mut txn: Parked, now: Instant) {
        let Some(managed) = self.databases.get_mut(&txn.database) else {
            return self.send_canceled(txn);
        };
        let session = self.sessions.get(&txn.session);
        let access = access(session, self.read_only, &txn.database);
        let locks = &self.locks;
        let mut context = Context {
            holds_lock: &|lock| locks.owns(txn.session, lock),
            new_uuid: &mut self.new_uuid,
            elapsed: elapsed(txn.since, now),
            access,
        };
        let outcome = match &txn.operations {
            Operations::Text(texts) => txn::execute(&mut managed.db, texts, &mut context),
            Operations::Json(values) => txn::execute(&mut managed.db, values, &mut context),
        };
        match outcome {
            Outcome::Done { results, committed } => {
                // What clients see of it comes before its own reply.
                if let Some(committed) = committed {
                    self.committed(&txn.database, committed);
                }
                self.catch_up(txn.session);
                let reply = Message::reply(txn.id, Value::Array(results));
                self.send(txn.session, reply, Nature::Transaction, Some(txn.database));
            }
            Outcome::Wait { until } => {
                let waiting = self
                    .parked
                    .iter()
                    .filter(|parked| parked.session == txn.session)
                    .count();
                if waiting >= MAX_PER_SESSION {
                    let error = Error::new(
                        ErrorKind::ResourcesExhausted,
                        format!("{waiting} transactions of this client are waiting already"),
                    );
                    self.send_plain(txn.session, Message::error(txn.id, error.to_json()));
                    return;
                }
                txn.until = until;
                self.parked.push(txn);
            }
        }
    }

    /// What a client may do with a database.
    pub(super) fn access(&self, session: SessionId, database: &str) -> Access<'_> {
        access(self.sessions.get(&session), self.read_only, database)
    }

    /// Executes operations that come from the server itself.
    pub(super) fn run_own(&mut self, database: &str, operations: Vec<Value>) {
        if let Err(error) = self.try_own(database, operations) {
            tracing::error!("{database}: the server's own transaction failed: {error}");
        }
    }

    /// The same, for who can do something about an error.
    pub(super) fn try_own(&mut self, database: &str, operations: Vec<Value>) -> Result<(), Value> {
        let Some(managed) = self.databases.get_mut(database) else {
            return Ok(());
        };
        let mut context = Context {
            holds_lock: &|_| false,
            new_uuid: &mut self.new_uuid,
            elapsed: Duration::ZERO,
            access: Access::default(),
        };
        match txn::execute(&mut managed.db, &operations, &mut context) {
            Outcome::Done {
                committed: Some(committed),
                ..
            } => {
                self.committed(database, committed);
                Ok(())
            }
            Outcome::Done {
                results,
                committed: None,
            } => {
                let mut results = results.into_iter();
                match results.find(|result| result.get("error").is_some()) {
                    Some(error) => Err(error),
                    None => Ok(()),
                }
            }
            Outcome::Wait { .. } => Ok(()),
        }
    }

    /// Hands out the record and the updates of a transaction that is in the database.
    fn committed(&mut self, database: &str, committed: Committed) {
        let Some(managed) = self.databases.get_mut(database) else {
            return;
        };
        let delta = Arc::new(committed.delta);
        managed.history.push((self.new_uuid)(), &delta);
        if managed.durable {
            let comment = committed.comment.as_deref();
            let record =
                record::encode(&managed.db, &delta, comment, self.date_ms, self.column_diff);
            let has_record = record.is_some();
            if let Some(record) = record {
                self.last_ticket = self.last_ticket.saturating_add(1);
                let (database, ticket) = (managed.name.clone(), self.last_ticket);
                self.outputs.push_back(Output::Record {
                    database,
                    ticket,
                    record,
                });
            }
            // What has no record of its own still builds on those that are under way.
            if has_record || !self.unsynced.is_empty() {
                self.unsynced.push_back(Unsynced {
                    ticket: self.last_ticket,
                    database: managed.name.clone(),
                    undo: Undo::Transaction(delta.clone()),
                });
            }
        }
        self.outputs.push_back(Output::Changed {
            database: managed.name.clone(),
        });
        self.outputs
            .extend(updates(&self.sessions, managed, &delta));
        let too_slow = behind::gather(&mut self.sessions, managed, &delta);
        if self
            .parked
            .iter()
            .any(|parked| *parked.database == *database)
        {
            self.changed.insert(managed.name.clone());
        }
        for session in too_slow {
            self.outputs.push_back(Output::Close {
                session,
                reason: "too much has changed that waits for it to read",
                fault: true,
            });
        }
    }

    /// Tries the transactions that wait on a database that changed, until nothing changes any
    /// more.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(database) = self.changed.pop_first() {
            let parked = std::mem::take(&mut self.parked);
            let (here, elsewhere): (Vec<_>, Vec<_>) = parked
                .into_iter()
                .partition(|parked| parked.database == database);
            self.parked = elsewhere;
            for parked in here {
                self.run(parked, now);
            }
        }
    }

    /// The `cancel` notification: a transaction that waits is answered as canceled.
    pub(super) fn cancel(&mut self, session: SessionId, params: &Value) {
        let Some(id) = params.get(0) else { return };
        let position = self
            .parked
            .iter()
            .position(|parked| parked.session == session && parked.id == *id);
        if let Some(position) = position {
            let parked = self.parked.remove(position);
            self.send_canceled(parked);
        }
    }

    /// Answers a transaction that is not going to happen.
    pub(super) fn send_canceled(&mut self, txn: Parked) {
        let error = Value::from(ErrorKind::Canceled.as_str());
        self.send_plain(txn.session, Message::error(txn.id, error));
    }
}

fn access<'s>(session: Option<&'s Session>, read_only: bool, database: &str) -> Access<'s> {
    let peer = session.map(|session| &session.peer);
    Access {
        reserved: database == meta::NAME,
        read_only: read_only || peer.is_some_and(|peer| peer.read_only),
        role: peer.map_or("", |peer| &peer.role),
        id: peer.and_then(|peer| peer.id.as_deref()),
    }
}

/// The updates that a transaction means to the monitors of its database. What a monitor shows is
/// found out once for all clients that share it, and so is the message for those that also know it
/// by the same id.
fn updates(
    sessions: &BTreeMap<SessionId, Session>,
    managed: &Managed,
    delta: &Delta,
) -> Vec<Output> {
    struct Shown<'a> {
        updates: Vec<u8>,
        /// The id that was last asked for, and the message.
        latest: (&'a Value, Arc<[u8]>),
    }
    let txn_id = managed.history.last();
    let mut shown: HashMap<*const Monitor, Option<Shown<'_>>> = HashMap::default();
    let mut outputs = Vec::new();
    for (session_id, session) in sessions {
        if session.behind.is_some() {
            continue;
        }
        for (id, database, monitor) in &session.monitors {
            if **database != *managed.name {
                continue;
            }
            let message = |updates: &[u8]| monitor.notification(id, txn_id, updates).into();
            let shown = shown.entry(Arc::as_ptr(monitor)).or_insert_with(|| {
                let updates = monitor.update(&managed.db, delta)?;
                let latest = (id, message(&updates));
                Some(Shown { updates, latest })
            });
            let Some(shown) = shown else { continue };
            if shown.latest.0 != id {
                shown.latest = (id, message(&shown.updates));
            }
            outputs.push(Output::Text {
                session: *session_id,
                text: shown.latest.1.clone(),
                nature: Nature::Update,
                database: managed.name.clone(),
            });
        }
    }
    outputs
}
