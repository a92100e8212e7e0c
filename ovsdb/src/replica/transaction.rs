//! Changes that are wished for, read back before they are sent, and turned into operations.
//!
//! A [`Transaction`] lies over a replica: reads see its own writes first. [`Transaction::build`]
//! gives the operations: a `wait` for every value that the caller said it relied on, so that the
//! server refuses the rest when somebody else changed it; then inserts, whose rows other
//! operations name by `named-uuid`; then updates, mutations and deletions.
//!
//! Rows of tables that are not roots are not deleted by an operation: they go when nothing refers
//! to them any more. Source: RFC 7047, 3.2 (`isRoot`), 5.2.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Replica, Row};
use crate::condition::Clause;
use crate::error::{Error, sorted_json};
use crate::mutation::{Mutation, Mutator};
use crate::operation::{Operation, Until};
use crate::value::{Datum, NoNames, UuidNames, uuid_from_json};

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Committed {
        /// The UUIDs that inserted rows got, by those that they had in the transaction.
        inserted: BTreeMap<Uuid, Uuid>,
        /// The new value of the column of [`Transaction::increment`].
        incremented: Option<i64>,
    },
    /// Nothing was changed, as [`Transaction::abort_at_end`] asked.
    Aborted,
    /// Nothing was changed: a value that the transaction relied on is another by now, or there was
    /// no connection to send it over. Build it again from what the replica holds by then.
    TryAgain,
    /// The connection was lost before the answer: the transaction was carried out or was not.
    ///
    /// Building it again once the replica is synced is safe only when what is built depends on
    /// what is there ("the row X exists"), not when it counts or adds blindly ("one more").
    Unknown,
    /// The lock of the session is not held.
    NotLocked,
    /// The server's `<error>`.
    Error(Value),
}

/// What a transaction says about one row.
#[derive(Debug, Clone, Default)]
struct Draft {
    /// The place in the order of insertion, for a new row.
    inserted: Option<usize>,
    /// A new row that asked for its UUID.
    fixed_uuid: bool,
    deleted: bool,
    written: BTreeMap<String, Datum>,
    relied_on: BTreeSet<String>,
    /// Elements to add to and remove from columns that are not written as a whole.
    added: BTreeMap<String, Datum>,
    removed: BTreeMap<String, Datum>,
}

impl Draft {
    fn touches(&self) -> bool {
        let columns = [&self.written, &self.added, &self.removed];
        !self.deleted && (self.inserted.is_some() || columns.iter().any(|map| !map.is_empty()))
    }
}

/// Changes under construction.
#[derive(Debug)]
pub struct Transaction<'r> {
    replica: &'r Replica,
    rows: BTreeMap<(String, Uuid), Draft>,
    inserts: usize,
    empty_tables: BTreeSet<String>,
    comments: Vec<String>,
    increment: Option<(String, Uuid, String)>,
    abort: bool,
}

impl<'r> Transaction<'r> {
    /// No changes yet to what `replica` holds.
    pub fn new(replica: &'r Replica) -> Self {
        Self {
            replica,
            rows: BTreeMap::new(),
            inserts: 0,
            empty_tables: BTreeSet::new(),
            comments: Vec::new(),
            increment: None,
            abort: false,
        }
    }

    /// The rows as they are without this transaction.
    pub fn replica(&self) -> &'r Replica {
        self.replica
    }

    /// Inserts a row. `uuid` is fresh and stands for the row within this transaction; the server
    /// gives the lasting one.
    pub fn insert(&mut self, table: &str, uuid: Uuid) {
        self.insert_draft(table, uuid, false);
    }

    /// Inserts a row that is to have `uuid` for good.
    pub fn insert_with_uuid(&mut self, table: &str, uuid: Uuid) {
        self.insert_draft(table, uuid, true);
    }

    fn insert_draft(&mut self, table: &str, uuid: Uuid, fixed_uuid: bool) {
        let draft = Draft {
            inserted: Some(self.inserts),
            fixed_uuid,
            ..Draft::default()
        };
        self.inserts += 1;
        self.rows.insert((table.to_owned(), uuid), draft);
    }

    /// Whether the row is there, as this transaction sees it.
    pub fn has_row(&self, table: &str, uuid: Uuid) -> bool {
        match self.draft(table, uuid) {
            Some(draft) if draft.deleted => false,
            Some(draft) if draft.inserted.is_some() => true,
            _ => self.replica.row(table, uuid).is_some(),
        }
    }

    /// Whether the row was inserted by this transaction.
    pub fn is_new(&self, table: &str, uuid: Uuid) -> bool {
        self.draft(table, uuid)
            .is_some_and(|draft| draft.inserted.is_some())
    }

    /// The rows of `table` as this transaction sees them, by ascending UUID.
    pub fn rows(&self, table: &str) -> Vec<Uuid> {
        let old = self.replica.rows(table).map(|row| row.uuid());
        let new = self
            .rows
            .iter()
            .filter(|((name, _), draft)| name == table && draft.inserted.is_some())
            .map(|((_, uuid), _)| *uuid);
        let all: BTreeSet<Uuid> = old.chain(new).collect();
        all.into_iter()
            .filter(|uuid| self.has_row(table, *uuid))
            .collect()
    }

    /// The rows of `table` that this transaction inserts or changes.
    pub fn touched_rows(&self, table: &str) -> Vec<Uuid> {
        self.rows
            .iter()
            .filter(|((name, _), draft)| name == table && draft.touches())
            .map(|((_, uuid), _)| *uuid)
            .collect()
    }

    /// The value of a column as this transaction sees it; empty for a row that is not there.
    pub fn read(&self, table: &str, uuid: Uuid, column: &str) -> Datum {
        let draft = self.draft(table, uuid);
        let mut datum = match draft.and_then(|draft| draft.written.get(column)) {
            Some(written) => written.clone(),
            None => match self.replica.row(table, uuid) {
                Some(row) => row.datum(column).clone(),
                None => self.default_of(table, column),
            },
        };
        if let Some(removed) = draft.and_then(|draft| draft.removed.get(column)) {
            datum.subtract(removed);
        }
        if let Some(added) = draft.and_then(|draft| draft.added.get(column)) {
            datum.subtract(&keys_of(added));
            datum.union(added);
        }
        datum
    }

    /// Sets a column. The value is sent even when the replica has the very same one, since
    /// another client may have changed it; a transaction without any difference is not sent.
    pub fn write(&mut self, table: &str, uuid: Uuid, column: &str, value: impl Into<Datum>) {
        let draft = self.draft_mut(table, uuid);
        draft.added.remove(column);
        draft.removed.remove(column);
        draft.written.insert(column.to_owned(), value.into());
    }

    /// Sets a column unless the replica has this very value: for status columns, which nobody
    /// else writes.
    pub fn refresh(&mut self, table: &str, uuid: Uuid, column: &str, value: Datum) {
        if !self.is_new(table, uuid)
            && self.replica.follows(table, column)
            && self
                .replica
                .row(table, uuid)
                .is_some_and(|row| *row.datum(column) == value)
        {
            if let Some(draft) = self.rows.get_mut(&(table.to_owned(), uuid)) {
                draft.written.remove(column);
            }
            return;
        }
        self.write(table, uuid, column, value);
    }

    /// Adds elements to a set or map; entries of a map replace those with the same key. Others
    /// may change other elements of the column at the same time.
    pub fn add_to(&mut self, table: &str, uuid: Uuid, column: &str, elements: &Datum) {
        if self.is_new(table, uuid) || self.is_written(table, uuid, column) {
            let mut datum = self.read(table, uuid, column);
            datum.subtract(&keys_of(elements));
            datum.union(elements);
            self.write(table, uuid, column, datum);
            return;
        }
        let draft = self.draft_mut(table, uuid);
        let added = draft.added.entry(column.to_owned()).or_default();
        added.subtract(&keys_of(elements));
        added.union(elements);
        // An entry is replaced by removing its key first; for a set the two cancel out.
        if elements.is_map() {
            let removed = draft.removed.entry(column.to_owned()).or_default();
            removed.union(&keys_of(elements));
        } else if let Some(removed) = draft.removed.get_mut(column) {
            removed.subtract(elements);
        }
    }

    /// Removes elements of a set, or the entries of a map that have the keys in `elements`.
    pub fn remove_from(&mut self, table: &str, uuid: Uuid, column: &str, elements: &Datum) {
        let keys = keys_of(elements);
        if self.is_new(table, uuid) || self.is_written(table, uuid, column) {
            let mut datum = self.read(table, uuid, column);
            datum.subtract(&keys);
            self.write(table, uuid, column, datum);
            return;
        }
        let draft = self.draft_mut(table, uuid);
        if let Some(added) = draft.added.get_mut(column) {
            added.subtract(&keys);
        }
        let removed = draft.removed.entry(column.to_owned()).or_default();
        removed.union(&keys);
    }

    /// Makes the whole transaction depend on the column still having the value that the replica
    /// holds. Nothing is to rely on in a new row or in a column that is not followed.
    pub fn rely_on(&mut self, table: &str, uuid: Uuid, column: &str) {
        if self.is_new(table, uuid) || !self.replica.follows(table, column) {
            return;
        }
        self.draft_mut(table, uuid)
            .relied_on
            .insert(column.to_owned());
    }

    /// Makes the whole transaction depend on `table` having no row, as it has none in the replica.
    pub fn rely_on_empty(&mut self, table: &str) {
        self.empty_tables.insert(table.to_owned());
    }

    /// Deletes a row.
    pub fn delete(&mut self, table: &str, uuid: Uuid) {
        if self.is_new(table, uuid) {
            self.rows.remove(&(table.to_owned(), uuid));
            return;
        }
        let draft = self.draft_mut(table, uuid);
        draft.deleted = true;
        draft.written.clear();
        draft.added.clear();
        draft.removed.clear();
    }

    /// Adds a line to the comment that the database log keeps.
    pub fn comment(&mut self, text: &str) {
        self.comments.push(text.to_owned());
    }

    /// Adds one to an integer column when the transaction changes anything else, and reports the
    /// new value.
    pub fn increment(&mut self, table: &str, uuid: Uuid, column: &str) {
        self.increment = Some((table.to_owned(), uuid, column.to_owned()));
    }

    /// Lets the server check the transaction without carrying it out.
    pub fn abort_at_end(&mut self) {
        self.abort = true;
    }

    fn draft(&self, table: &str, uuid: Uuid) -> Option<&Draft> {
        // The key type owns its string; a lookup per read is cheap beside the wire.
        self.rows.get(&(table.to_owned(), uuid))
    }

    fn draft_mut(&mut self, table: &str, uuid: Uuid) -> &mut Draft {
        self.rows.entry((table.to_owned(), uuid)).or_default()
    }

    fn is_written(&self, table: &str, uuid: Uuid, column: &str) -> bool {
        self.draft(table, uuid)
            .is_some_and(|draft| draft.written.contains_key(column))
    }

    fn default_of(&self, table: &str, column: &str) -> Datum {
        self.replica
            .schema()
            .column(table, column)
            .map(|column| Datum::default_of(&column.column_type))
            .unwrap_or_default()
    }

    /// The operations; `None` when they would change nothing.
    pub fn build(self) -> Option<Request> {
        let mut changes = false;
        let mut waits: Vec<Operation> = self
            .empty_tables
            .iter()
            .map(|table| wait_for_empty(table))
            .collect();
        let mut inserts = BTreeMap::new();
        let mut rest = Vec::new();
        let names: UuidNames = self
            .rows
            .iter()
            .filter(|(_, draft)| draft.inserted.is_some())
            .map(|((_, uuid), _)| (*uuid, row_name(*uuid)))
            .collect();
        for ((table, uuid), draft) in &self.rows {
            let condition = || vec![Clause::uuid(*uuid)];
            if let Some(order) = draft.inserted {
                changes = true;
                inserts.insert(order, (*uuid, self.insert_operation(table, *uuid, draft)));
                continue;
            }
            let Some(row) = self.replica.row(table, *uuid) else {
                continue;
            };
            if !draft.relied_on.is_empty() {
                waits.push(wait_operation(&row, draft));
            }
            if draft.deleted {
                changes = true;
                let root = self.replica.schema().table(table);
                if root.is_some_and(|table| table.is_root) {
                    rest.push(Operation::Delete {
                        table: table.clone(),
                        condition: condition(),
                    });
                }
                continue;
            }
            changes |= self.differs(&row, draft);
            if !draft.written.is_empty() {
                rest.push(Operation::Update {
                    table: table.clone(),
                    condition: condition(),
                    row: draft.written.clone(),
                });
            }
            let mutations = self.mutations(&row, draft);
            if !mutations.is_empty() {
                changes = true;
                rest.push(Operation::Mutate {
                    table: table.clone(),
                    condition: condition(),
                    mutations,
                });
            }
        }
        if !changes {
            return None;
        }
        let mut operations = waits;
        let first_insert = operations.len();
        let inserted = inserts.values().map(|(uuid, _)| *uuid).collect();
        operations.extend(inserts.into_values().map(|(_, operation)| operation));
        operations.extend(rest);
        let increment = self.push_increment(&mut operations);
        if !self.comments.is_empty() {
            operations.push(Operation::Comment {
                comment: self.comments.join("\n"),
            });
        }
        if self.abort {
            operations.push(Operation::Abort);
        }
        let schema = self.replica.schema();
        Some(Request {
            database: schema.name.clone(),
            operations: operations
                .iter()
                .map(|operation| operation.to_json(schema, &names))
                .collect(),
            first_insert,
            inserted,
            increment,
            abort: self.abort,
        })
    }

    fn insert_operation(&self, table: &str, uuid: Uuid, draft: &Draft) -> Operation {
        let row = draft
            .written
            .iter()
            .filter(|(column, datum)| **datum != self.default_of(table, column))
            .map(|(column, datum)| (column.clone(), datum.clone()))
            .collect();
        Operation::Insert {
            table: table.to_owned(),
            row,
            uuid_name: Some(row_name(uuid)),
            uuid: draft.fixed_uuid.then_some(uuid),
        }
    }

    fn differs(&self, row: &Row<'_>, draft: &Draft) -> bool {
        draft.written.iter().any(|(column, datum)| {
            !self.replica.follows(row.table(), column) || row.datum(column) != datum
        })
    }

    /// Removals before additions, each only where it can have an effect.
    fn mutations(&self, row: &Row<'_>, draft: &Draft) -> Vec<Mutation> {
        let mut mutations = Vec::new();
        let removed = draft.removed.iter().map(|entry| (Mutator::Delete, entry));
        let added = draft.added.iter().map(|entry| (Mutator::Insert, entry));
        for (mutator, (column, elements)) in removed.chain(added) {
            let have = row.datum(column);
            let mut elements = elements.clone();
            if self.replica.follows(row.table(), column) {
                elements.retain(|key, value| match mutator {
                    Mutator::Delete => have.contains_key(key),
                    _ => !have.contains_key(key) || value.is_some(),
                });
            }
            if !elements.is_empty() {
                mutations.push(Mutation::new(column, mutator, elements));
            }
        }
        mutations
    }

    fn push_increment(&self, operations: &mut Vec<Operation>) -> Option<usize> {
        let (table, uuid, column) = self.increment.as_ref()?;
        let condition = vec![Clause::uuid(*uuid)];
        operations.push(Operation::Mutate {
            table: table.clone(),
            condition: condition.clone(),
            mutations: vec![Mutation::new(column, Mutator::Add, Datum::integer(1))],
        });
        let index = operations.len();
        operations.push(Operation::Select {
            table: table.clone(),
            condition,
            columns: Some(vec![column.clone()]),
        });
        Some(index)
    }
}

fn wait_for_empty(table: &str) -> Operation {
    Operation::Wait {
        table: table.to_owned(),
        condition: Vec::new(),
        columns: Some(vec!["_uuid".to_owned()]),
        until: Until::Equal,
        rows: Vec::new(),
        timeout: Some(0),
    }
}

fn wait_operation(row: &Row<'_>, draft: &Draft) -> Operation {
    let expected = draft
        .relied_on
        .iter()
        .map(|column| (column.clone(), row.datum(column).clone()))
        .collect();
    Operation::Wait {
        table: row.table().to_owned(),
        condition: vec![Clause::uuid(row.uuid())],
        columns: Some(draft.relied_on.iter().cloned().collect()),
        until: Until::Equal,
        rows: vec![expected],
        timeout: Some(0),
    }
}

/// The set of a map's keys; a set itself.
fn keys_of(datum: &Datum) -> Datum {
    if datum.is_map() {
        Datum::set(datum.iter().cloned())
    } else {
        datum.clone()
    }
}

/// The `uuid-name` of a new row.
fn row_name(uuid: Uuid) -> String {
    let mut name = format!("row{}", uuid.hyphenated());
    // An <id> has no hyphens.
    name = name.replace('-', "_");
    name
}

/// A transaction ready to be sent.
#[derive(Debug)]
pub struct Request {
    database: String,
    operations: Vec<Value>,
    /// The place of the first insert; the others follow it.
    first_insert: usize,
    inserted: Vec<Uuid>,
    /// The place of the select that reads the incremented column.
    increment: Option<usize>,
    abort: bool,
}

impl Request {
    /// The `params` of `transact`; `lock` is asserted first.
    pub fn params(&self, lock: Option<&str>) -> Value {
        let mut params = vec![json!(self.database)];
        params.extend(self.operations.iter().cloned());
        // At the end, so that the places of the results stay.
        params.extend(lock.map(|name| json!({"op": "assert", "lock": name})));
        Value::Array(params)
    }

    /// What the result of `transact` says.
    pub fn outcome(&self, results: &Value) -> Outcome {
        let results = results.as_array().map(Vec::as_slice).unwrap_or_default();
        let (mut aborted, mut again, mut unlocked, mut failure) = (false, false, false, None);
        for result in results {
            let error = match result {
                // The operations after one that failed.
                Value::Null => continue,
                _ => result.get("error"),
            };
            match error.and_then(Value::as_str) {
                Some("timed out") => again = true,
                Some("aborted") if self.abort => aborted = true,
                Some("not owner") => unlocked = true,
                Some(_) => failure = Some(result.clone()),
                None if error.is_some_and(|error| !error.is_null()) => {
                    failure = Some(result.clone());
                }
                None => {}
            }
        }
        match failure {
            Some(failure) => Outcome::Error(failure),
            None if unlocked => Outcome::NotLocked,
            None if again => Outcome::TryAgain,
            None if aborted => Outcome::Aborted,
            None if results.len() < self.operations.len() => Outcome::Error(json!({
                "error": "syntax error",
                "details": "reply to \"transact\" lacks results",
            })),
            None => self.committed(results),
        }
    }

    fn committed(&self, results: &[Value]) -> Outcome {
        let mut inserted = BTreeMap::new();
        for (offset, uuid) in self.inserted.iter().enumerate() {
            let real = results
                .get(self.first_insert.saturating_add(offset))
                .and_then(|result| result.get("uuid"))
                .and_then(|uuid| uuid_from_json(uuid, &mut NoNames).ok());
            let Some(real) = real else {
                return Outcome::Error(json!({
                    "error": "syntax error",
                    "details": "reply to \"insert\" has no \"uuid\"",
                }));
            };
            inserted.insert(*uuid, real);
        }
        let incremented = self.increment.and_then(|index| {
            let rows = results.get(index)?.get("rows")?.as_array()?;
            rows.first()?.as_object()?.values().next()?.as_i64()
        });
        Outcome::Committed {
            inserted,
            incremented,
        }
    }
}

impl Outcome {
    /// The `<error>` as one line of JSON with sorted members, as log lines show it.
    pub fn error_text(error: &Value) -> String {
        match Error::from_json(error) {
            Some(_) => sorted_json(error),
            None => error.to_string(),
        }
    }
}
