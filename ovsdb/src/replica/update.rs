//! Applying table updates to a replica: the three forms in which servers send them.
//!
//! Nothing is applied of an update of which a part cannot be read, so a replica never holds half
//! of a transaction.
//!
//! Source: RFC 7047, 4.1.6 (`<table-updates>`); ovsdb-server(7), 4.1.14 (`<table-updates2>`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Change, Replica, Table};
use crate::error::Error;
use crate::schema::{ColumnType, TableSchema};
use crate::value::{Datum, NoNames, parse_uuid};

/// Why an update was refused. The server and this replica no longer agree: reconnect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    #[error("table updates are not an object")]
    NotAnObject,
    #[error("update for table {0}, which was not asked for")]
    UnknownTable(String),
    #[error("bad row UUID \"{0}\" in an update")]
    BadUuid(String),
    #[error("row update of table {table} is neither of the known forms")]
    BadForm { table: String },
    #[error("update for column {column} of table {table}, which was not asked for")]
    UnknownColumn { table: String, column: String },
    #[error("bad value for column {column} of table {table}: {error}")]
    BadValue {
        table: String,
        column: String,
        error: Error,
    },
    #[error("modification of row {uuid} in table {table}, which is not there")]
    NoRow { table: String, uuid: Uuid },
}

/// Which form an update has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `old` and `new` rows.
    Full,
    /// `initial`, `insert`, `modify` (a difference), `delete`.
    Difference,
}

/// What one row becomes; `None` when it goes away.
type Staged = BTreeMap<String, BTreeMap<Uuid, Option<Vec<Datum>>>>;

impl Replica {
    /// Applies the updates of one transaction.
    pub(super) fn apply(&mut self, updates: &Value, form: Form) -> Result<(), UpdateError> {
        let staged = self.stage(updates, form)?;
        self.commit(staged);
        Ok(())
    }

    /// Replaces all contents, as after a monitor without a common past.
    pub(super) fn replace(&mut self, updates: &Value, form: Form) -> Result<(), UpdateError> {
        let mut staged = self.stage(updates, form)?;
        for (name, table) in &self.tables {
            let rows = staged.entry(name.clone()).or_default();
            for uuid in table.rows.keys() {
                rows.entry(*uuid).or_insert(None);
            }
        }
        self.commit(staged);
        Ok(())
    }

    pub(super) fn set_last_id(&mut self, id: Uuid) {
        self.last_id = id;
    }

    fn stage(&self, updates: &Value, form: Form) -> Result<Staged, UpdateError> {
        let mut staged = Staged::new();
        for (name, rows) in updates.as_object().ok_or(UpdateError::NotAnObject)? {
            let (Some(table), Some(schema)) = (self.tables.get(name), self.table_schema(name))
            else {
                return Err(UpdateError::UnknownTable(name.clone()));
            };
            let reader = Reader {
                name,
                table,
                schema,
            };
            let out = staged.entry(name.clone()).or_default();
            for (uuid, row) in rows.as_object().ok_or(UpdateError::NotAnObject)? {
                let uuid = parse_uuid(uuid).ok_or_else(|| UpdateError::BadUuid(uuid.clone()))?;
                let row = row.as_object().ok_or_else(|| reader.bad_form())?;
                let data = match form {
                    Form::Full => reader.full(uuid, row)?,
                    Form::Difference => reader.difference(uuid, row)?,
                };
                out.insert(uuid, data);
            }
        }
        Ok(staged)
    }

    fn commit(&mut self, staged: Staged) {
        let mut moved = false;
        for (name, rows) in staged {
            let Some(table) = self.tables.get_mut(&name) else {
                continue;
            };
            for (uuid, data) in rows {
                let old = match data {
                    Some(ref data) => table.rows.insert(uuid, data.clone()),
                    None => table.rows.remove(&uuid),
                };
                let change = match (&old, &data) {
                    (None, Some(_)) => Change::Inserted,
                    (Some(_), None) => Change::Deleted,
                    (Some(old), Some(new)) if old != new => {
                        Change::Modified(differing(&table.columns, old, new))
                    }
                    _ => continue,
                };
                moved = true;
                let changes = self.changes.entry(name.clone()).or_default();
                let merged = merge(changes.remove(&uuid), change);
                if let Some(merged) = merged {
                    changes.insert(uuid, merged);
                }
            }
            if self.changes.get(&name).is_some_and(BTreeMap::is_empty) {
                self.changes.remove(&name);
            }
        }
        if moved {
            self.seqno = self.seqno.wrapping_add(1);
        }
    }
}

fn differing(
    columns: &[Arc<str>],
    old: &[Datum],
    new: &[Datum],
) -> std::collections::BTreeSet<Arc<str>> {
    columns
        .iter()
        .zip(old.iter().zip(new))
        .filter(|(_, (old, new))| old != new)
        .map(|(name, _)| name.clone())
        .collect()
}

/// One change after another, as one.
fn merge(before: Option<Change>, after: Change) -> Option<Change> {
    match (before, after) {
        (Some(Change::Inserted), Change::Deleted) => None,
        (Some(Change::Inserted), _) => Some(Change::Inserted),
        // A row that came back: nobody knows any more in which columns it differs.
        (Some(Change::Deleted), Change::Inserted) => Some(Change::Inserted),
        (Some(Change::Modified(mut a)), Change::Modified(b)) => {
            a.extend(b);
            Some(Change::Modified(a))
        }
        (_, after) => Some(after),
    }
}

/// Reads the row updates of one table.
struct Reader<'a> {
    name: &'a str,
    table: &'a Table,
    schema: &'a TableSchema,
}

impl Reader<'_> {
    fn bad_form(&self) -> UpdateError {
        UpdateError::BadForm {
            table: self.name.to_owned(),
        }
    }

    fn full(
        &self,
        uuid: Uuid,
        row: &Map<String, Value>,
    ) -> Result<Option<Vec<Datum>>, UpdateError> {
        if row.keys().any(|key| key != "old" && key != "new") {
            return Err(self.bad_form());
        }
        match (row.get("new"), row.get("old")) {
            (Some(new), _) => {
                let new = new.as_object().ok_or_else(|| self.bad_form())?;
                // `new` has every followed column.
                let mut data = match self.table.rows.get(&uuid) {
                    Some(data) => data.clone(),
                    None => self.defaults(),
                };
                self.overwrite(&mut data, new)?;
                Ok(Some(data))
            }
            (None, Some(_)) => Ok(None),
            (None, None) => Err(self.bad_form()),
        }
    }

    fn difference(
        &self,
        uuid: Uuid,
        row: &Map<String, Value>,
    ) -> Result<Option<Vec<Datum>>, UpdateError> {
        let mut members = row.iter();
        let (Some((kind, value)), None) = (members.next(), members.next()) else {
            return Err(self.bad_form());
        };
        match kind.as_str() {
            "initial" | "insert" => {
                let columns = value.as_object().ok_or_else(|| self.bad_form())?;
                let mut data = self.defaults();
                self.overwrite(&mut data, columns)?;
                Ok(Some(data))
            }
            "modify" => {
                let columns = value.as_object().ok_or_else(|| self.bad_form())?;
                let mut data =
                    self.table
                        .rows
                        .get(&uuid)
                        .cloned()
                        .ok_or_else(|| UpdateError::NoRow {
                            table: self.name.to_owned(),
                            uuid,
                        })?;
                self.modify(&mut data, columns)?;
                Ok(Some(data))
            }
            "delete" => Ok(None),
            _ => Err(self.bad_form()),
        }
    }

    fn defaults(&self) -> Vec<Datum> {
        self.table
            .columns
            .iter()
            .map(|column| {
                self.schema
                    .columns
                    .get(&**column)
                    .map(|schema| Datum::default_of(&schema.column_type))
                    .unwrap_or_default()
            })
            .collect()
    }

    fn overwrite(
        &self,
        data: &mut [Datum],
        columns: &Map<String, Value>,
    ) -> Result<(), UpdateError> {
        for (column, value) in columns {
            // The server's schema may be newer and allow what this one does not.
            let (slot, column_type) = self.slot(data, column)?;
            *slot = self.parse(column, value, &column_type.unconstrained().any_count())?;
        }
        Ok(())
    }

    fn modify(&self, data: &mut [Datum], columns: &Map<String, Value>) -> Result<(), UpdateError> {
        for (column, value) in columns {
            let (slot, column_type) = self.slot(data, column)?;
            let diff_type = column_type.unconstrained().any_count();
            let diff = self.parse(column, value, &diff_type)?;
            // The difference of a column that holds at most one element is its new value.
            if column_type.max > 1 {
                slot.apply_diff(&diff);
            } else {
                *slot = diff;
            }
        }
        Ok(())
    }

    fn slot<'d>(
        &self,
        data: &'d mut [Datum],
        column: &str,
    ) -> Result<(&'d mut Datum, &ColumnType), UpdateError> {
        let slot = self.table.position(column).and_then(|at| data.get_mut(at));
        match (slot, self.schema.columns.get(column)) {
            (Some(slot), Some(schema)) => Ok((slot, &schema.column_type)),
            _ => Err(UpdateError::UnknownColumn {
                table: self.name.to_owned(),
                column: column.to_owned(),
            }),
        }
    }

    fn parse(
        &self,
        column: &str,
        value: &Value,
        column_type: &ColumnType,
    ) -> Result<Datum, UpdateError> {
        Datum::from_json(value, column_type, &mut NoNames).map_err(|error| UpdateError::BadValue {
            table: self.name.to_owned(),
            column: column.to_owned(),
            error,
        })
    }
}
