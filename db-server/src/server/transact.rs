//! Running transactions, and what follows a commit: the record, the monitors, the ones that wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ovsdb::jsonrpc::Message;
use ovsdb::operation::OperationText;
use ovsdb::{Error, ErrorKind};
use serde_json::Value;

use super::requests::reply_text;
use super::{
    MAX_PER_SESSION, Nature, Output, Server, Session, SessionId, Undo, Unsynced, elapsed, meta,
};
use crate::rbac::Access;
use crate::record;
use crate::txn::{self, Committed, Context, Outcome, Read};

/// The most transactions under way among which one is looked for that a reply depends on.
const MAX_LOOKED_THROUGH: usize = 256;

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
            Outcome::Done {
                results,
                committed,
                reads,
            } => {
                // What no loss can change need not wait for the disk.
                let settled = committed.is_none()
                    && reads.is_some_and(|reads| !self.are_unsynced(&txn.database, &reads));
                // What clients see of it comes before its own reply.
                if let Some(committed) = committed {
                    self.committed(&txn.database, committed);
                }
                self.catch_up(txn.session);
                let text = reply_text(&txn.id, [b"[", results.elements(), b"]"]);
                self.outputs.push_back(Output::Text {
                    session: txn.session,
                    text: text.into(),
                    nature: if settled {
                        Nature::Plain
                    } else {
                        Nature::Transaction
                    },
                    database: txn.database,
                });
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

    /// Whether a transaction that is not known to be durable changed any of these rows.
    fn are_unsynced(&self, database: &str, reads: &[Read]) -> bool {
        // Looking through many takes longer than it saves.
        if self.unsynced.len() > MAX_LOOKED_THROUGH {
            return true;
        }
        let mut here = self
            .unsynced
            .iter()
            .filter(|unsynced| *unsynced.database == *database);
        here.any(|unsynced| match &unsynced.undo {
            Undo::Transaction(delta) => reads.iter().any(|read| {
                let rows = delta.tables.get(&read.table);
                rows.is_some_and(|rows| read.row.is_none_or(|row| rows.contains_key(&row)))
            }),
            _ => true,
        })
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
                ..
            } => results.into_error().map_or(Ok(()), Err),
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
        let name = managed.name.clone();
        self.outputs.push_back(Output::Changed {
            database: name.clone(),
        });
        let too_slow = self.tell_audiences(&name, &delta);
        if self.parked.iter().any(|parked| *parked.database == *name) {
            self.changed.insert(name);
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
