//! Which rows of the followed tables are wished for, and which the replica holds.
//!
//! The two differ from the moment a condition is changed until the server has said that it took
//! the change. What makes this delicate is a connection that ends in between:
//!
//! - Nothing was asked for yet: the replica holds what the old conditions select. The next
//!   connection resumes with the *old* conditions, because the server tells only what happened to
//!   rows since the last transaction seen; rows that the new conditions add may be older. The
//!   change is asked for once the replica is up to date.
//! - The change was asked for and not answered: the server may have sent rows for it or not. The
//!   replica then resumes from nothing, with the new conditions.
//! - The change was answered, and no update came since: the contents are of the time of the
//!   change, the last transaction seen is older. Of a row that the new conditions select, that
//!   changed in between and was then changed back, the server would say nothing, and the replica
//!   would lack it. It resumes from nothing here too.
//!
//! Source: ovsdb-server(7), 4.1.12 and 4.1.13 (`where` of `monitor_cond` and
//! `monitor_cond_change`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::condition::Clause;
use crate::error::Result;
use crate::schema::{DatabaseSchema, TableSchema};
use crate::value::{NoNames, UuidNames};

/// `where` arrays by table; a table that is not in it is followed as a whole.
pub(super) type Wheres = BTreeMap<String, Value>;

/// The wished-for conditions and those that the contents of the replica came from.
#[derive(Debug, Clone, Default)]
pub(super) struct Conditions {
    wanted: Wheres,
    held: Wheres,
    /// A change that the server has not answered.
    requested: Option<Wheres>,
}

impl Conditions {
    pub(super) fn new(wanted: Wheres) -> Self {
        Self {
            held: wanted.clone(),
            wanted,
            requested: None,
        }
    }

    /// Whether the replica holds what is wished for.
    pub(super) fn are_met(&self) -> bool {
        self.requested.is_none() && self.held == self.wanted
    }

    pub(super) fn want(&mut self, table: &str, clauses: Option<Value>) {
        match clauses {
            Some(clauses) => self.wanted.insert(table.to_owned(), clauses),
            None => self.wanted.remove(table),
        };
    }

    /// What the next monitor has to ask for.
    pub(super) fn for_monitor(&self, resumes: bool) -> Wheres {
        if resumes { &self.held } else { &self.wanted }.clone()
    }

    /// The monitor that asked for `wheres` has begun, or the server cannot do better.
    pub(super) fn handle_started(&mut self, wheres: Wheres) {
        self.held = wheres;
        self.requested = None;
    }

    /// `<monitor-cond-update-requests>` for what is wished for and not asked for yet. One change
    /// is under way at a time.
    pub(super) fn poll_change(&mut self, server: &DatabaseSchema) -> Option<Value> {
        if self.requested.is_some() || self.held == self.wanted {
            return None;
        }
        let everything = json!([true]);
        let mut requests = Map::new();
        for table in self.held.keys().chain(self.wanted.keys()) {
            let wanted = self.wanted.get(table);
            if self.held.get(table) != wanted && server.table(table).is_some() {
                let request = json!([{"where": wanted.unwrap_or(&everything)}]);
                requests.insert(table.clone(), request);
            }
        }
        if requests.is_empty() {
            // The server lacks the tables: there is nothing to wait for.
            self.held = self.wanted.clone();
            return None;
        }
        self.requested = Some(self.wanted.clone());
        Some(Value::Object(requests))
    }

    /// The server took the change.
    pub(super) fn handle_changed(&mut self) {
        if let Some(requested) = self.requested.take() {
            self.held = requested;
        }
    }

    /// The connection is gone; true when nobody knows which conditions the contents came from.
    pub(super) fn handle_disconnected(&mut self) -> bool {
        self.requested.take().is_some()
    }
}

/// The `where` array of `clauses`, of which at least one has to hold; `None` when all rows do.
pub(super) fn where_of(clauses: &[Clause], table: &TableSchema) -> Result<Option<Value>> {
    if clauses.contains(&Clause::Bool(true)) {
        return Ok(None);
    }
    let mut items = Vec::new();
    for clause in clauses {
        if *clause == Clause::Bool(false) {
            continue;
        }
        let json = clause.to_json(table, &UuidNames::new());
        // As the server will read it: then a wrong column or type shows here.
        Clause::from_json(&json, table, &mut NoNames)?;
        items.push(json);
    }
    if items.is_empty() {
        // An empty array has meant different things to different servers.
        items.push(json!(false));
    }
    Ok(Some(Value::Array(items)))
}
