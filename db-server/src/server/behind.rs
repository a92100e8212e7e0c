//! Clients that do not keep up: what changes is gathered for them, and told as one update each
//! monitor once they have read most of what they were sent before.
//!
//! So a client that is slow is told less often, and in the end of the same rows as the others.
//! Source: ovsdb-server does so as long as anything waits to be sent to a client
//! (`ovsdb_jsonrpc_session_run`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Managed, Server, Session, SessionId};
use crate::database::Delta;
use crate::history::weight;

/// What may gather for one client.
const MAX: usize = 64 << 20;

/// What may gather for all of them: above it, not more than the second for one.
const MAX_TOTAL: usize = 512 << 20;
const MAX_OF_MANY: usize = 1 << 20;

/// What a client has not been told yet, by database.
#[derive(Debug, Default)]
pub(super) struct Behind {
    deltas: BTreeMap<Arc<str>, Delta>,
    /// What they keep in memory, at most.
    bytes: usize,
}

impl Behind {
    fn append(&mut self, database: &Arc<str>, delta: &Delta, bytes: usize) {
        let gathered = self.deltas.entry(database.clone()).or_default();
        gathered.append(delta);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether more has gathered than `bound`. It is weighed anew only when that may be so, and
    /// has to be much less then, so that this is seldom.
    fn exceeds(&mut self, bound: usize) -> bool {
        if self.bytes <= bound {
            return false;
        }
        self.bytes = 0;
        for delta in self.deltas.values_mut() {
            delta.drop_unchanged();
            self.bytes = self.bytes.saturating_add(weight(delta));
        }
        self.bytes > bound / 2
    }

    /// Forgets what happened in a database.
    pub(super) fn forget(&mut self, database: &str) {
        self.deltas.remove(database);
    }

    pub(super) fn waits_for(&self, database: &str) -> bool {
        self.deltas.contains_key(database)
    }
}

impl Server {
    /// A client has not read much of what it was sent, or has by now. Until then what its monitors
    /// show is gathered; before an answer to the client it is told all the same.
    pub fn handle_lag(&mut self, session: SessionId, lags: bool) {
        if !lags {
            self.catch_up(session);
        }
        self.audiences.forget();
        if let Some(session) = self.sessions.get_mut(&session) {
            session.behind = lags.then(|| session.behind.take().unwrap_or_default());
        }
    }

    /// Tells a client what has gathered for it.
    pub(super) fn catch_up(&mut self, session_id: SessionId) {
        let Some(session) = self.sessions.get_mut(&session_id) else {
            return;
        };
        let Some(behind) = session.behind.as_mut().map(std::mem::take) else {
            return;
        };
        let mut texts = Vec::new();
        for (database, mut delta) in behind.deltas {
            let Some(managed) = self.databases.get(&database) else {
                continue;
            };
            delta.drop_unchanged();
            for (id, of, monitor) in &session.monitors {
                if *of == database
                    && let Some(updates) = monitor.update(&managed.db, &delta)
                {
                    let text = monitor.notification(id, managed.history.last(), &updates);
                    texts.push((text, database.clone()));
                }
            }
        }
        for (text, database) in texts {
            // Some of it is durable and will not be told again, so that all of it may not be
            // dropped when the rest is lost.
            self.send_contents(session_id, text, database);
        }
    }
}

/// Gathers what a transaction did for the clients that are behind; gives those for which too much
/// has gathered, and which are not told of anything any more.
pub(super) fn gather(
    sessions: &mut BTreeMap<SessionId, Session>,
    managed: &Managed,
    delta: &Delta,
) -> Vec<SessionId> {
    let mut bytes = None;
    let mut total = 0usize;
    for session in sessions.values_mut() {
        let Some(behind) = &mut session.behind else {
            continue;
        };
        if session
            .monitors
            .iter()
            .any(|(_, of, _)| *of == managed.name)
        {
            let bytes = *bytes.get_or_insert_with(|| weight(delta));
            behind.append(&managed.name, delta, bytes);
        }
        total = total.saturating_add(behind.bytes);
    }
    if bytes.is_none() {
        return Vec::new();
    }
    let bound = if total > MAX_TOTAL { MAX_OF_MANY } else { MAX };
    let mut too_slow = Vec::new();
    for (id, session) in sessions {
        if let Some(behind) = &mut session.behind
            && behind.exceeds(bound)
        {
            *behind = Behind::default();
            session.monitors.clear();
            too_slow.push(*id);
        }
    }
    too_slow
}
