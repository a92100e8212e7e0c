//! A copy of chosen tables and columns of a server's database, kept up to date by its updates.
//!
//! The replica (OVS calls it the IDL) does no I/O: [`Session`] says what to send and takes what
//! came, [`Replica`] holds the rows, and [`Transaction`] turns wished-for changes into operations
//! that fail rather than overwrite what somebody else wrote in between.
//!
//! A program that follows a database reads straight down:
//!
//! ```text
//! let mut selection = Selection::new(schema);           // what to follow, checked by name
//! selection.column("Bridge", "name")?;
//! let mut session = Session::new(Replica::new(selection));
//! loop {                                                // once per connection
//!     session.handle_connected();
//!     loop {
//!         while let Some(message) = session.poll_message() { client.queue(&message)?; }
//!         session.handle_message(client.recv().await?);
//!         while let Some(event) = session.poll_event() { ... }  // Synced, Updated, Transacted
//!     }
//!     session.handle_disconnected();                    // rows stay; the next monitor resumes
//! }
//! ```
//!
//! To change something: `let mut txn = Transaction::new(session.replica())`, then
//! [`Transaction::write`] and its siblings, [`Transaction::build`], [`Session::transact`], and
//! wait for [`Event::Transacted`].
//!
//! Source: RFC 7047, 4.1.5 and 4.1.6 (`monitor`, `update`); ovsdb-server(7), 4.1.12 to 4.1.15
//! (`monitor_cond`, `monitor_cond_change`, `monitor_cond_since`, `update2`, `update3`). Called by
//! [`crate::connection`], `vswitchd` and the tools.

mod conditions;
mod row;
mod session;
mod transaction;
mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::condition::Clause;
use crate::error::Error;
use crate::schema::{ColumnSchema, DatabaseSchema, TableSchema};
use crate::value::Datum;
use conditions::{Wheres, where_of};

pub use row::{ColumnError, Row};
pub use session::{Event, Session, Unfit};
pub use transaction::{Outcome, Request, Transaction};
pub use update::UpdateError;

/// What is to be followed cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// The schema lacks the table.
    #[error("no table {0} in the schema")]
    NoTable(String),
    /// The schema lacks the column.
    #[error("no column {column} in table {table}")]
    NoColumn { table: String, column: String },
    /// A condition for a table that was not selected.
    #[error("table {0} is not followed")]
    NotFollowed(String),
    /// A condition that no server would take.
    #[error("bad condition on table {table}: {error}")]
    Condition { table: String, error: Error },
}

/// The tables, columns and rows that a replica follows.
#[derive(Debug, Clone)]
pub struct Selection {
    schema: Arc<DatabaseSchema>,
    tables: BTreeMap<String, BTreeSet<String>>,
    wheres: Wheres,
}

impl Selection {
    /// Nothing of `schema` yet. `schema` is the one that this program was written for; a server
    /// with an older one is served without the columns that it lacks.
    pub fn new(schema: Arc<DatabaseSchema>) -> Self {
        Self {
            schema,
            tables: BTreeMap::new(),
            wheres: Wheres::new(),
        }
    }

    /// Every column of every table.
    pub fn everything(schema: Arc<DatabaseSchema>) -> Self {
        let tables = schema
            .tables
            .iter()
            .map(|(name, table)| (name.clone(), table.columns.keys().cloned().collect()))
            .collect();
        Self {
            schema,
            tables,
            wheres: Wheres::new(),
        }
    }

    /// Adds the rows of `table`, without any column.
    pub fn table(&mut self, table: &str) -> Result<(), SelectionError> {
        if self.schema.table(table).is_none() {
            return Err(SelectionError::NoTable(table.to_owned()));
        }
        self.tables.entry(table.to_owned()).or_default();
        Ok(())
    }

    /// Adds one column, and the table to which it refers.
    pub fn column(&mut self, table: &str, column: &str) -> Result<(), SelectionError> {
        let Some(table_schema) = self.schema.table(table) else {
            return Err(SelectionError::NoTable(table.to_owned()));
        };
        let Some(column_schema) = table_schema.columns.get(column) else {
            return Err(SelectionError::NoColumn {
                table: table.to_owned(),
                column: column.to_owned(),
            });
        };
        let targets: Vec<String> = referenced_tables(column_schema)
            .map(str::to_owned)
            .collect();
        self.tables
            .entry(table.to_owned())
            .or_default()
            .insert(column.to_owned());
        for target in targets {
            self.tables.entry(target).or_default();
        }
        Ok(())
    }

    /// Adds several columns of one table.
    pub fn columns(&mut self, table: &str, columns: &[&str]) -> Result<(), SelectionError> {
        columns
            .iter()
            .try_for_each(|column| self.column(table, column))
    }

    /// Follows only the rows of `table` for which at least one of `clauses` holds; none at all
    /// when there are no clauses. Replaces an earlier condition.
    ///
    /// Unlike the clauses of an operation, which all have to hold (RFC 7047, 5.1), those of a
    /// monitor are alternatives (ovsdb-server(7), 4.1.12). The columns need not be followed. A
    /// server that knows only `monitor` sends all rows.
    pub fn condition(&mut self, table: &str, clauses: &[Clause]) -> Result<(), SelectionError> {
        self.table(table)?;
        match condition(&self.schema, table, clauses)? {
            Some(array) => self.wheres.insert(table.to_owned(), array),
            None => self.wheres.remove(table),
        };
        Ok(())
    }
}

/// The checked `where` array; `None` for all rows.
fn condition(
    schema: &DatabaseSchema,
    table: &str,
    clauses: &[Clause],
) -> Result<Option<Value>, SelectionError> {
    let table_schema = schema
        .table(table)
        .ok_or_else(|| SelectionError::NoTable(table.to_owned()))?;
    where_of(clauses, table_schema).map_err(|error| SelectionError::Condition {
        table: table.to_owned(),
        error,
    })
}

fn referenced_tables(column: &ColumnSchema) -> impl Iterator<Item = &str> {
    [
        Some(&column.column_type.key),
        column.column_type.value.as_ref(),
    ]
    .into_iter()
    .flatten()
    .filter_map(|base| base.reference().map(|(table, _)| table))
}

/// What happened to a row since [`Replica::take_changes`] was last called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Inserted,
    /// Which of the followed columns have other values.
    Modified(BTreeSet<Arc<str>>),
    Deleted,
}

/// Changes by table and row.
pub type Changes = BTreeMap<String, BTreeMap<Uuid, Change>>;

/// One followed table.
#[derive(Debug, Clone)]
struct Table {
    /// Followed columns, ascending; the places of the data in a row.
    columns: Vec<Arc<str>>,
    rows: BTreeMap<Uuid, Vec<Datum>>,
}

impl Table {
    fn position(&self, column: &str) -> Option<usize> {
        self.columns
            .binary_search_by(|name| (**name).cmp(column))
            .ok()
    }
}

/// The rows of the followed tables.
#[derive(Debug, Clone)]
pub struct Replica {
    schema: Arc<DatabaseSchema>,
    tables: BTreeMap<String, Table>,
    changes: Changes,
    seqno: u64,
    last_id: Uuid,
    /// The conditions of the selection; a session may change them.
    wheres: Wheres,
    /// What the server's schema lacks of the selection, by table and column.
    lacking: BTreeSet<(String, String)>,
}

impl Replica {
    /// A replica without rows; a [`Session`] fills it.
    pub fn new(selection: Selection) -> Self {
        let tables = selection
            .tables
            .into_iter()
            .map(|(name, columns)| {
                let table = Table {
                    columns: columns.into_iter().map(Arc::from).collect(),
                    rows: BTreeMap::new(),
                };
                (name, table)
            })
            .collect();
        Self {
            schema: selection.schema,
            tables,
            changes: Changes::new(),
            seqno: 0,
            last_id: Uuid::nil(),
            wheres: selection.wheres,
            lacking: BTreeSet::new(),
        }
    }

    /// The schema that the selection was made from.
    pub fn schema(&self) -> &Arc<DatabaseSchema> {
        &self.schema
    }

    /// Counts the updates that changed something; a retry waits until this has moved.
    pub fn seqno(&self) -> u64 {
        self.seqno
    }

    /// The server's id of the last transaction seen here; nil when it gives none.
    pub fn last_id(&self) -> Uuid {
        self.last_id
    }

    /// Whether `column` of `table` is followed and the server has it.
    pub fn follows(&self, table: &str, column: &str) -> bool {
        self.tables
            .get(table)
            .is_some_and(|table| table.position(column).is_some())
            && !self.server_lacks(table, column)
    }

    /// Whether the server's schema, as of the last connection, lacks a followed column.
    pub fn server_lacks(&self, table: &str, column: &str) -> bool {
        // Most servers lack nothing; then no key is made.
        !self.lacking.is_empty()
            && self
                .lacking
                .contains(&(table.to_owned(), column.to_owned()))
    }

    /// All rows of `table`, by ascending UUID; none for a table that is not followed.
    pub fn rows<'a>(&'a self, table: &str) -> impl Iterator<Item = Row<'a>> + use<'a> {
        self.tables
            .get_key_value(table)
            .into_iter()
            .flat_map(move |(name, table)| {
                table
                    .rows
                    .iter()
                    .map(move |(uuid, data)| Row::new(self, name, table, *uuid, data))
            })
    }

    /// How many rows `table` has.
    pub fn len(&self, table: &str) -> usize {
        self.tables.get(table).map_or(0, |table| table.rows.len())
    }

    /// Whether `table` has no row.
    pub fn is_empty(&self, table: &str) -> bool {
        self.len(table) == 0
    }

    /// One row.
    pub fn row(&self, table: &str, uuid: Uuid) -> Option<Row<'_>> {
        let (name, table) = self.tables.get_key_value(table)?;
        let data = table.rows.get(&uuid)?;
        Some(Row::new(self, name, table, uuid, data))
    }

    /// The first row whose `column` is the string `value`.
    pub fn find(&self, table: &str, column: &str, value: &str) -> Option<Row<'_>> {
        self.rows(table)
            .find(|row| row.string(column) == Some(value))
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Whether anything changed since [`Replica::take_changes`] was last called.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// `<monitor-cond-requests>` for what both this selection and the server's schema have; without
    /// `wheres`, `<monitor-requests>`.
    fn monitor_requests(&self, server: &DatabaseSchema, wheres: Option<&Wheres>) -> Value {
        let mut requests = Map::new();
        for (name, table) in &self.tables {
            let Some(server_table) = server.table(name) else {
                continue;
            };
            let columns: Vec<&str> = table
                .columns
                .iter()
                .map(|column| &**column)
                .filter(|column| server_table.columns.contains_key(*column))
                .collect();
            let request = match wheres.and_then(|wheres| wheres.get(name)) {
                Some(array) => json!([{"columns": columns, "where": array}]),
                None => json!([{"columns": columns}]),
            };
            requests.insert(name.clone(), request);
        }
        Value::Object(requests)
    }

    /// Notes what `server` lacks of the selection. Returns it for a message.
    fn compare(&mut self, server: &DatabaseSchema) -> Vec<String> {
        let before = std::mem::take(&mut self.lacking);
        let mut texts = Vec::new();
        for (name, table) in &self.tables {
            let server_table = server.table(name);
            if server_table.is_none() {
                texts.push(format!("{name} table"));
            }
            for column in &table.columns {
                if server_table.is_some_and(|table| table.columns.contains_key(&**column)) {
                    continue;
                }
                self.lacking.insert((name.clone(), column.to_string()));
                if server_table.is_some() {
                    texts.push(format!("{column} column in {name} table"));
                }
            }
        }
        if self.lacking != before {
            // Rows of the past have no values in columns that are new, and have old ones in
            // columns that are gone.
            self.last_id = Uuid::nil();
        }
        texts
    }

    fn table_schema(&self, table: &str) -> Option<&TableSchema> {
        self.schema.table(table)
    }
}
