//! The single operations.
//!
//! Source: RFC 7047, 5.2.1 to 5.2.10.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ovsdb::condition::{Clause, Function, evaluate};
use ovsdb::error::{Error, ErrorKind, Result};
use ovsdb::operation::{Operation, Row as RowJson, Until};
use ovsdb::{Datum, Mutation, Uuid};

use super::{Read, Step, Symbols, Txn, results};
use crate::database::{ColumnId, Row, Table, TableId};
use crate::rbac::Change;

/// The result of an operation that has none.
const NOTHING: &[u8] = b"{}";

impl Txn<'_> {
    /// Executes an operation and appends its result.
    pub(super) fn execute(
        &mut self,
        operation: Operation,
        symbols: &mut Symbols<'_>,
        holds_lock: &dyn Fn(&str) -> bool,
        elapsed: Duration,
        out: &mut Vec<u8>,
    ) -> Result<Step> {
        self.note_reads(&operation);
        match operation {
            Operation::Insert {
                table, row, uuid, ..
            } => {
                let uuid = uuid.unwrap_or_else(|| (symbols.new_uuid)());
                self.insert(&table, row, uuid)?;
                results::inserted(&uuid, out);
            }
            Operation::Select {
                table,
                condition,
                columns,
            } => self.select(&table, &condition, columns, out)?,
            Operation::Update {
                table,
                condition,
                row,
            } => results::counted(self.update(&table, &condition, row)?, out),
            Operation::Mutate {
                table,
                condition,
                mutations,
            } => results::counted(self.mutate(&table, &condition, &mutations)?, out),
            Operation::Delete { table, condition } => {
                results::counted(self.delete(&table, &condition)?, out);
            }
            Operation::Wait {
                table,
                condition,
                columns,
                until,
                rows,
                timeout,
            } => {
                let timeout = timeout.map(Duration::from_millis);
                if !self.wait_holds(&table, &condition, columns, until, rows)? {
                    return still_waiting(timeout, elapsed);
                }
                out.extend_from_slice(NOTHING);
            }
            // Every transaction is durable before it is answered.
            Operation::Commit { .. } | Operation::Comment { .. } => out.extend_from_slice(NOTHING),
            Operation::Abort => return Err(Error::new(ErrorKind::Aborted, "aborted by request")),
            Operation::Assert { lock } => {
                if !holds_lock(&lock) {
                    let details = format!("Asserted lock {lock} not held.");
                    return Err(Error::new(ErrorKind::NotOwner, details));
                }
                out.extend_from_slice(NOTHING);
            }
        }
        Ok(Step::Done)
    }

    /// Notes what the result of an operation depends on.
    fn note_reads(&mut self, operation: &Operation) {
        match operation {
            Operation::Select {
                table, condition, ..
            } => {
                let Some(reads) = &mut self.reads else { return };
                let table_id = self.db.table_id(table);
                // Without the table it is an error, on which see there.
                if let Some((id, table)) = table_id.and_then(|id| Some((id, self.db.table(id)?))) {
                    let row = clauses(table, condition).find_map(|clause| by_uuid(table, &clause));
                    reads.push(Read { table: id, row });
                }
            }
            Operation::Commit { .. } | Operation::Comment { .. } | Operation::Assert { .. } => {}
            Operation::Insert { .. }
            | Operation::Update { .. }
            | Operation::Mutate { .. }
            | Operation::Delete { .. }
            | Operation::Wait { .. }
            | Operation::Abort => self.reads = None,
        }
    }

    fn insert(&mut self, table: &str, values: RowJson, uuid: Uuid) -> Result<()> {
        let (table_id, table) = self.find_table(table)?;
        let mut row = table.default_row(uuid);
        for (id, datum) in assigned(table, values) {
            row.set(id, datum);
        }
        check_defaults(table, &row)?;
        self.access.check(self.db, table, Change::Insert, [&row])?;
        self.put(table_id, uuid, Some(Arc::new(row)));
        Ok(())
    }

    fn select(
        &self,
        table: &str,
        condition: &[Clause],
        columns: Option<Vec<String>>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let (_, table) = self.find_table(table)?;
        let mut columns = column_ids(table, columns);
        // One that is named twice is shown once.
        let mut named = BTreeSet::new();
        columns.retain(|column| named.insert(*column));
        // Rows that agree in all selected columns are one row.
        let mut seen = BTreeSet::new();
        let matching = self.matching(table, condition);
        let only = matching.len() == 1;
        let distinct = only || columns.contains(&table.uuid_column);
        out.extend_from_slice(b"{\"rows\":[");
        let mut first = true;
        for (_, row) in matching {
            let cells =
                || -> Vec<&Datum> { columns.iter().map(|column| row.get(*column)).collect() };
            if distinct || seen.insert(cells()) {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                results::row(table, row, &columns, out);
            }
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }

    fn update(&mut self, table: &str, condition: &[Clause], values: RowJson) -> Result<usize> {
        let (table_id, table) = self.find_table(table)?;
        let rows = self.matching(table, condition);
        let columns: Vec<&str> = values.keys().map(String::as_str).collect();
        self.check(table, Change::Update(&columns), &rows)?;
        let cells = assigned(table, values);
        let mut changed = Vec::new();
        let mut count = 0usize;
        for (uuid, row) in rows {
            count = count.saturating_add(1);
            let mut new = Row::clone(row);
            for (id, datum) in &cells {
                new.set(*id, datum.clone());
            }
            if new != **row {
                changed.push((uuid, Arc::new(new)));
            }
        }
        for (uuid, row) in changed {
            self.put(table_id, uuid, Some(row));
        }
        Ok(count)
    }

    fn mutate(
        &mut self,
        table: &str,
        condition: &[Clause],
        mutations: &[Mutation],
    ) -> Result<usize> {
        let (table_id, table) = self.find_table(table)?;
        let rows = self.matching(table, condition);
        let columns: Vec<&str> = mutations.iter().map(|m| m.column.as_str()).collect();
        self.check(table, Change::Mutate(&columns), &rows)?;
        let mut changed = Vec::new();
        let mut count = 0usize;
        for (uuid, row) in rows {
            count = count.saturating_add(1);
            let mut new = Row::clone(row);
            for mutation in mutations {
                let id = table.column_id(&mutation.column);
                let Some((id, column)) = id.and_then(|id| Some((id, table.column(id)?))) else {
                    continue;
                };
                let datum = mutation.apply(new.get(id), &column.schema.column_type)?;
                new.set(id, datum);
            }
            if new != **row {
                changed.push((uuid, Arc::new(new)));
            }
        }
        for (uuid, row) in changed {
            self.put(table_id, uuid, Some(row));
        }
        Ok(count)
    }

    fn delete(&mut self, table: &str, condition: &[Clause]) -> Result<usize> {
        let (table_id, table) = self.find_table(table)?;
        let rows = self.matching(table, condition);
        self.check(table, Change::Delete, &rows)?;
        let uuids: Vec<Uuid> = rows.into_iter().map(|(uuid, _)| uuid).collect();
        let count = uuids.len();
        for uuid in uuids {
            self.put(table_id, uuid, None);
        }
        Ok(count)
    }

    fn wait_holds(
        &self,
        table: &str,
        condition: &[Clause],
        columns: Option<Vec<String>>,
        until: Until,
        rows: Vec<RowJson>,
    ) -> Result<bool> {
        let (_, table) = self.find_table(table)?;
        let columns = column_ids(table, columns);
        let project = |row: &Row| -> Vec<Datum> {
            columns
                .iter()
                .map(|column| row.get(*column).clone())
                .collect()
        };
        let expected: BTreeSet<Vec<Datum>> = rows
            .into_iter()
            .map(|values| {
                let mut row = table.default_row(Uuid::nil());
                assign_all(table, &mut row, values);
                project(&row)
            })
            .collect();
        let actual: BTreeSet<Vec<Datum>> = self
            .matching(table, condition)
            .into_iter()
            .map(|(_, row)| project(row))
            .collect();
        Ok((expected == actual) == (until == Until::Equal))
    }

    /// Whether the client may change these rows so.
    fn check(&self, table: &Table, change: Change<'_>, rows: &[(Uuid, &Arc<Row>)]) -> Result<()> {
        let rows = rows.iter().map(|(_, row)| &***row);
        self.access.check(self.db, table, change, rows)
    }

    fn find_table(&self, name: &str) -> Result<(TableId, &Table)> {
        let id = self.db.table_id(name);
        id.and_then(|id| Some((id, self.db.table(id)?)))
            .ok_or_else(|| Error::new(ErrorKind::UnknownTable, format!("No table named {name}.")))
    }

    /// The rows for which every clause holds, in the order of their UUIDs.
    fn matching<'t>(&self, table: &'t Table, condition: &[Clause]) -> Vec<(Uuid, &'t Arc<Row>)> {
        let clauses: Vec<Compare<'_>> = clauses(table, condition).collect();
        if condition.contains(&Clause::Bool(false)) {
            return Vec::new();
        }
        let holds = |row: &Row| {
            clauses
                .iter()
                .all(|(column, function, value)| evaluate(*function, row.get(*column), value))
        };
        // `_uuid == X` needs no walk over the table.
        let by_uuid = clauses.iter().find_map(|clause| by_uuid(table, clause));
        if let Some(uuid) = by_uuid {
            let row = table.row(&uuid).filter(|row| holds(row));
            return row.into_iter().map(|row| (uuid, row)).collect();
        }
        table
            .rows()
            .filter(|(_, row)| holds(row))
            .map(|(uuid, row)| (*uuid, row))
            .collect()
    }
}

/// A clause that compares a column with a value.
type Compare<'a> = (ColumnId, Function, &'a Datum);

/// The clauses that compare. A name that the parser let through always resolves.
fn clauses<'a>(table: &Table, condition: &'a [Clause]) -> impl Iterator<Item = Compare<'a>> {
    condition.iter().filter_map(|clause| match clause {
        Clause::Bool(_) => None,
        Clause::Compare {
            column,
            function,
            value,
        } => Some((table.column_id(column)?, *function, value)),
    })
}

/// The only row for which `_uuid == X` can hold.
fn by_uuid(table: &Table, (column, function, value): &Compare<'_>) -> Option<Uuid> {
    (*column == table.uuid_column && *function == Function::Equal)
        .then(|| value.as_uuid())
        .flatten()
}

/// The answer of a `wait` that does not hold yet.
fn still_waiting(timeout: Option<Duration>, elapsed: Duration) -> Result<Step> {
    if timeout.is_none_or(|timeout| elapsed < timeout) {
        return Ok(Step::Wait { until: timeout });
    }
    let details = match elapsed.as_millis() {
        0 => "\"where\" clause test failed".to_owned(),
        ms => format!("\"wait\" timed out after {ms} ms"),
    };
    Err(Error::new(ErrorKind::TimedOut, details))
}

/// The columns that get values; `_uuid` and `_version` are the server's and stay.
fn assigned(table: &Table, values: RowJson) -> Vec<(ColumnId, Datum)> {
    let cells = values
        .into_iter()
        .filter_map(|(name, datum)| Some((table.column_id(&name)?, datum)));
    cells
        .filter(|(id, _)| *id != table.uuid_column && *id != table.version_column)
        .collect()
}

/// Columns that an insert leaves out get a default that their constraints need not allow.
fn check_defaults(table: &Table, row: &Row) -> Result<()> {
    for (id, column) in table.columns.iter().enumerate() {
        let column_type = &column.schema.column_type;
        let datum = row.get(id);
        // Anything else was given, and checked when it was read.
        if column_type.min == 0 || datum.len() != 1 {
            continue;
        }
        for atom in datum.keys() {
            column_type.key.check(atom)?;
        }
        for (base, atom) in column_type.value.iter().zip(datum.values()) {
            base.check(atom)?;
        }
    }
    Ok(())
}

fn assign_all(table: &Table, row: &mut Row, values: RowJson) {
    for (name, datum) in values {
        if let Some(id) = table.column_id(&name) {
            row.set(id, datum);
        }
    }
}

/// The columns of these names, or all.
fn column_ids(table: &Table, names: Option<Vec<String>>) -> Vec<ColumnId> {
    match names {
        Some(names) => names
            .iter()
            .filter_map(|name| table.column_id(name))
            .collect(),
        None => (0..table.columns.len()).collect(),
    }
}
