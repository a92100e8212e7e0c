//! The status columns of the rows that remotes come from: `Manager.is_connected` and `status`.
//!
//! Source: ovs-vswitchd.conf.db(5), Manager, "Status".

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ahash::HashMap;
use serde_json::{Value, json};

use super::Client;
use crate::remote::Running;
use crate::server::{Server, SessionId};

/// What is remembered of a remote's connections.
#[derive(Debug, Default, Clone)]
struct History {
    connected: Option<Instant>,
    disconnected: Option<Instant>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Managers {
    history: BTreeMap<String, History>,
    /// What was last written, by target.
    written: BTreeMap<String, Value>,
    /// Targets that could not be used, and those of them that wait for the next tick.
    broken: BTreeSet<String>,
    paused: BTreeSet<String>,
    /// Whether states changed, or their times are to be told again.
    due: bool,
}

impl Managers {
    pub fn connected(&mut self, remote: &str, now: Instant) {
        self.history.entry(remote.to_owned()).or_default().connected = Some(now);
        self.due = true;
    }

    pub fn disconnected(&mut self, remote: &str, now: Instant) {
        self.history
            .entry(remote.to_owned())
            .or_default()
            .disconnected = Some(now);
        self.due = true;
    }

    pub fn forget(&mut self, remote: &str) {
        self.history.remove(remote);
        self.written.remove(remote);
        self.broken.remove(remote);
        self.due = true;
    }

    /// Notes that a remote could not be used; true when that is new.
    pub fn failed(&mut self, target: &str) -> bool {
        self.paused.insert(target.to_owned());
        self.broken.insert(target.to_owned())
    }

    pub fn worked(&mut self, target: &str) {
        self.broken.remove(target);
        self.due = true;
    }

    /// Whether a remote is not to be tried before the next tick.
    pub fn given_up(&self, target: &str) -> bool {
        self.paused.contains(target)
    }

    pub fn tick(&mut self) {
        self.paused.clear();
        self.due = true;
    }

    /// Writes states that changed.
    pub fn update(
        &mut self,
        server: &mut Server,
        remotes: &BTreeMap<String, Running>,
        clients: &HashMap<SessionId, Client>,
        now: Instant,
        date_ms: u64,
    ) {
        if !std::mem::take(&mut self.due) {
            return;
        }
        for (target, running) in remotes {
            let Some((database, table, uuid)) = running.row() else {
                continue;
            };
            let count = clients
                .values()
                .filter(|client| *client.remote == **target)
                .count();
            let row = self.row(target, running, count, now);
            let known = server
                .database(database)
                .and_then(|db| db.schema().table(table))
                .is_some_and(|table| {
                    ["is_connected", "status"]
                        .iter()
                        .all(|name| table.columns.contains_key(*name))
                });
            if !known || self.written.get(target) == Some(&row) {
                continue;
            }
            let operation = json!({
                "op": "update",
                "table": table,
                "where": [["_uuid", "==", ["uuid", uuid.hyphenated().to_string()]]],
                "row": row,
            });
            self.written.insert(target.clone(), row);
            server.transact(database, vec![operation], now, date_ms);
        }
    }

    fn row(&self, target: &str, running: &Running, count: usize, now: Instant) -> Value {
        let mut status: Vec<(&str, String)> = Vec::new();
        let history = self.history.get(target).cloned().unwrap_or_default();
        let seconds = |since: Option<Instant>| {
            since.map(|since| now.saturating_duration_since(since).as_secs().to_string())
        };
        if let Some(port) = running.bound_port {
            status.push(("bound_port", port.to_string()));
        }
        if count > 1 {
            status.push(("n_connections", count.to_string()));
        }
        if let Some(seconds) = seconds(history.connected) {
            status.push(("sec_since_connect", seconds));
        }
        if let Some(seconds) = seconds(history.disconnected) {
            status.push(("sec_since_disconnect", seconds));
        }
        let state = match (count > 0, running.is_active) {
            (true, _) => Some("ACTIVE"),
            (false, true) => Some("BACKOFF"),
            (false, false) => None,
        };
        status.extend(state.map(|state| ("state", state.to_owned())));
        json!({"is_connected": count > 0, "status": ["map", status]})
    }
}
