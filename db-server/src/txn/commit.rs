//! What has to hold at the end of a transaction, and what follows from it.
//!
//! In this order: strong references point at rows that are there and deleted rows have none left;
//! non-root rows that nothing refers to any more are collected; tables are within `maxRows`; weak
//! references to missing rows are removed, which may set free further rows; indexes are unique;
//! changed rows get a new `_version`.
//!
//! Source: RFC 7047, 3.2 and 4.1.3. Two departures from ovsdb-server 3.1, which leaves a weak
//! reference in place when the row that holds it changes in the same transaction, and which does
//! not collect what a removed weak map key set free: here both are done.

use std::collections::BTreeSet;
use std::sync::Arc;

use ahash::HashMap;
use ovsdb::error::{Error, ErrorKind, Result};
use ovsdb::schema::RefKind;
use ovsdb::{Atom, Datum, Uuid};

use super::Txn;
use crate::database::{Delta, Index, Row, Table, TableId};

type RowId = (TableId, Uuid);

/// Completes the transaction in the rows and gives what it changed.
///
/// Errors: `referential integrity violation`, `constraint violation`; the caller puts the rows
/// back.
pub(super) fn commit(txn: &mut Txn<'_>, new_uuid: &mut dyn FnMut() -> Uuid) -> Result<Delta> {
    let changed: Vec<RowId> = touched(txn);
    let mut refs = RefChanges::default();
    for id in &changed {
        refs.count_row(txn, *id)?;
    }
    check_deleted(txn, &refs, &changed)?;
    collect_garbage(txn, &mut refs, changed.clone());
    check_max_rows(txn)?;
    loop {
        let freed = remove_weak_refs(txn, &mut refs)?;
        if freed.is_empty() {
            break;
        }
        collect_garbage(txn, &mut refs, freed);
    }
    let mut delta = txn.delta();
    check_indexes(txn, &delta)?;
    set_versions(txn, &mut delta, new_uuid);
    Ok(delta)
}

/// The rows that the operations changed.
fn touched(txn: &Txn<'_>) -> Vec<RowId> {
    let rows = txn
        .old
        .iter()
        .flat_map(|(table, rows)| rows.iter().map(|(uuid, old)| (*table, *uuid, old)));
    rows.filter(|(table, uuid, old)| old.differs(txn.db.row(*table, uuid)))
        .map(|(table, uuid, _)| (table, uuid))
        .collect()
}

/// How this transaction changes the numbers of strong references.
#[derive(Default)]
struct RefChanges {
    counts: HashMap<RowId, isize>,
}

impl RefChanges {
    /// Counts what a changed row refers to now against before; new references must have targets.
    fn count_row(&mut self, txn: &Txn<'_>, source: RowId) -> Result<()> {
        let (table_id, uuid) = source;
        let Some(table) = txn.db.table(table_id) else {
            return Ok(());
        };
        let old = txn.before(table_id, &uuid).and_then(Option::as_ref);
        let new = table.row(&uuid);
        for (column_id, column) in table.ref_columns() {
            let old = old.map(|row| row.get(column_id));
            let new = new.map(|row| row.get(column_id));
            let mut missing = None;
            column.for_each_ref_change(old, new, RefKind::Strong, |target_table, target, added| {
                let target = (target_table, target);
                if added && txn.db.row(target.0, &target.1).is_none() {
                    missing.get_or_insert(target);
                }
                self.add(source, target, if added { 1 } else { -1 });
            });
            if let Some((target_table, target)) = missing {
                let target_name = txn.db.table(target_table).map_or("", |table| &table.name);
                return Err(Error::new(
                    ErrorKind::ReferentialIntegrityViolation,
                    format!(
                        "Table {} column {} row {uuid} references nonexistent row {target} in table {target_name}.",
                        table.name, column.name,
                    ),
                ));
            }
        }
        Ok(())
    }

    fn add(&mut self, source: RowId, target: RowId, by: isize) {
        // A row does not keep itself alive.
        if source != target {
            let count = self.counts.entry(target).or_default();
            *count = count.saturating_add(by);
        }
    }

    /// The strong references to a row as they will be.
    fn total(&self, txn: &Txn<'_>, (table, uuid): RowId) -> usize {
        let before = txn
            .db
            .table(table)
            .map_or(0, |table| table.strong_refs(&uuid));
        before.saturating_add_signed(self.counts.get(&(table, uuid)).copied().unwrap_or(0))
    }
}

fn check_deleted(txn: &Txn<'_>, refs: &RefChanges, changed: &[RowId]) -> Result<()> {
    for (table_id, uuid) in changed {
        let Some(table) = txn.db.table(*table_id) else {
            continue;
        };
        if table.row(uuid).is_some() {
            continue;
        }
        let count = refs.total(txn, (*table_id, *uuid));
        if count > 0 {
            return Err(Error::new(
                ErrorKind::ReferentialIntegrityViolation,
                format!(
                    "cannot delete {} row {uuid} because of {count} remaining reference(s)",
                    table.name,
                ),
            ));
        }
    }
    Ok(())
}

/// Deletes the non-root rows among `candidates` that nothing refers to, and so on with what they
/// refer to.
fn collect_garbage(txn: &mut Txn<'_>, refs: &mut RefChanges, mut candidates: Vec<RowId>) {
    // What lost a reference may be free now, also when the row itself did not change.
    candidates.extend(
        refs.counts
            .iter()
            .filter(|(_, by)| **by < 0)
            .map(|(target, _)| *target),
    );
    while let Some(id) = candidates.pop() {
        let (table_id, uuid) = id;
        let Some(table) = txn.db.table(table_id) else {
            continue;
        };
        let Some(row) = table.row(&uuid).cloned() else {
            continue;
        };
        if table.is_root || refs.total(txn, id) > 0 {
            continue;
        }
        for (column_id, column) in table.ref_columns() {
            column.for_each_ref(
                row.get(column_id),
                RefKind::Strong,
                |target_table, target| {
                    refs.add(id, (target_table, target), -1);
                    candidates.push((target_table, target));
                },
            );
        }
        txn.put(table_id, uuid, None);
    }
}

fn check_max_rows(txn: &Txn<'_>) -> Result<()> {
    for table in txn.old.keys().filter_map(|id| txn.db.table(*id)) {
        let Some(max) = table.max_rows else { continue };
        if table.len() as u64 > max {
            return Err(Error::new(
                ErrorKind::ConstraintViolation,
                format!(
                    "transaction causes \"{}\" table to contain {} rows, greater than the schema-defined limit of {max} row(s)",
                    table.name,
                    table.len(),
                ),
            ));
        }
    }
    Ok(())
}

/// Removes weak references to rows that are not there, and gives the rows that lost a strong
/// reference by it.
fn remove_weak_refs(txn: &mut Txn<'_>, refs: &mut RefChanges) -> Result<Vec<RowId>> {
    let mut sources = BTreeSet::new();
    for (table_id, rows) in &txn.old {
        let Some(table) = txn.db.table(*table_id) else {
            continue;
        };
        for uuid in rows.keys() {
            if table.row(uuid).is_some() {
                if table.has_weak_refs {
                    sources.insert((*table_id, *uuid));
                }
            } else {
                sources.extend(table.weak_sources(uuid));
            }
        }
    }
    let mut freed = Vec::new();
    for (table_id, uuid) in sources {
        let Some(table) = txn.db.table(table_id) else {
            continue;
        };
        let Some(row) = table.row(&uuid) else {
            continue;
        };
        if let Some(new) = without_dangling(txn, table_id, table, uuid, row)? {
            for (column_id, column) in table.ref_columns() {
                let (old, new) = (Some(row.get(column_id)), Some(new.get(column_id)));
                column.for_each_ref_change(old, new, RefKind::Strong, |table, target, added| {
                    let target = (table, target);
                    refs.add((table_id, uuid), target, if added { 1 } else { -1 });
                    if !added {
                        freed.push(target);
                    }
                });
            }
            txn.put(table_id, uuid, Some(Arc::new(new)));
        }
    }
    Ok(freed)
}

/// The row without its dangling weak references, or `None` when it has none.
fn without_dangling(
    txn: &Txn<'_>,
    table_id: TableId,
    table: &Table,
    uuid: Uuid,
    row: &Row,
) -> Result<Option<Row>> {
    let mut result: Option<Row> = None;
    for (column_id, column) in table.ref_columns() {
        let [key_table, value_table] = column.ref_tables(RefKind::Weak);
        if key_table.or(value_table).is_none() {
            continue;
        }
        let datum = row.get(column_id);
        let dangles = |target_table: Option<TableId>, atom: Option<&Atom>| {
            target_table
                .zip(atom.and_then(Atom::as_uuid))
                .filter(|(table, target)| txn.db.row(*table, target).is_none())
        };
        let mut removed = 0usize;
        let mut zero = false;
        let mut kept: Datum = datum.clone();
        kept.retain(|key, value| {
            let Some((_, target)) = dangles(key_table, Some(key)).or(dangles(value_table, value))
            else {
                return true;
            };
            removed = removed.saturating_add(1);
            zero |= target.is_nil();
            false
        });
        if removed == 0 {
            continue;
        }
        if kept.len() < column.schema.column_type.min as usize {
            return Err(emptied(
                txn,
                (table_id, uuid),
                &table.name,
                &column.name,
                removed,
                zero,
            ));
        }
        result
            .get_or_insert_with(|| row.clone())
            .set(column_id, kept);
    }
    Ok(result)
}

/// The error for a weak reference column that had to be emptied but must not be.
fn emptied(
    txn: &Txn<'_>,
    (table_id, uuid): RowId,
    table: &str,
    column: &str,
    removed: usize,
    zero: bool,
) -> Error {
    let inserted = txn.before(table_id, &uuid).is_some_and(Option::is_none);
    let status = if inserted {
        " (inserted within this transaction)"
    } else {
        ""
    };
    let details = if zero && removed == 1 {
        format!(
            "Weak reference column \"{column}\" in \"{table}\" row {uuid}{status} contained all-zeros UUID (probably as the default value for this column) but deleting this value caused a constraint volation because this column is not allowed to be empty."
        )
    } else {
        format!(
            "Deletion of {removed} weak reference(s) to deleted (or never-existing) rows from column \"{column}\" in \"{table}\" row {uuid}{status} caused this column to become empty, but constraints on this column disallow an empty column."
        )
    };
    Error::new(ErrorKind::ConstraintViolation, details)
}

fn check_indexes(txn: &Txn<'_>, delta: &Delta) -> Result<()> {
    for (table_id, changes) in &delta.tables {
        let Some(table) = txn.db.table(*table_id) else {
            continue;
        };
        for index in &table.indexes {
            // Rows that keep their keys are as unique as they were.
            if !changes.values().any(|change| index.is_changed(change)) {
                continue;
            }
            let mut keys: HashMap<Vec<Datum>, Uuid> = HashMap::default();
            for (uuid, change) in changes {
                let Some(row) = &change.new else { continue };
                let key = index.key(row);
                // A row that has this key by the index either keeps it, or is in the delta too.
                let other = index
                    .find(&key)
                    .filter(|other| !changes.contains_key(other));
                if let Some(other) = other.or_else(|| keys.get(&key).copied()) {
                    return Err(duplicate(
                        table,
                        index,
                        delta,
                        *table_id,
                        row,
                        [*uuid, other],
                    ));
                }
                keys.insert(key, *uuid);
            }
        }
    }
    Ok(())
}

/// The error for two rows with equal index values.
fn duplicate(
    table: &Table,
    index: &Index,
    delta: &Delta,
    table_id: TableId,
    row: &Row,
    rows: [Uuid; 2],
) -> Error {
    let values = |row: &Row| {
        let values: Vec<String> = index
            .columns
            .iter()
            .map(|column| row.get(*column).to_string())
            .collect();
        sentence_list(&values)
    };
    let names: Vec<String> = index
        .columns
        .iter()
        .filter_map(|column| Some(format!("\"{}\"", table.column(*column)?.name)))
        .collect();
    let story = |uuid: Uuid| {
        let change = delta
            .tables
            .get(&table_id)
            .and_then(|changes| changes.get(&uuid));
        match change.map(|change| change.old.as_ref()) {
            None => {
                "existed in the database before this transaction and was not modified by the transaction"
                    .to_owned()
            }
            Some(None) => "was inserted by this transaction".to_owned(),
            Some(Some(old)) if index.key(old) == index.key(row) => {
                "existed in the database before this transaction, which modified some of the row's columns but not any columns in this index"
                    .to_owned()
            }
            Some(Some(old)) => {
                format!("had the following index values before the transaction: {}", values(old))
            }
        }
    };
    let [first, second] = rows;
    Error::new(
        ErrorKind::ConstraintViolation,
        format!(
            "Transaction causes multiple rows in \"{}\" table to have identical values ({}) for index on column{} {}.  First row, with UUID {first}, {}.  Second row, with UUID {second}, {}.",
            table.name,
            values(row),
            if names.len() == 1 { "" } else { "s" },
            sentence_list(&names),
            story(first),
            story(second),
        ),
    )
}

/// `a`, `a and b`, `a, b, and c`.
fn sentence_list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [one, two] => format!("{one} and {two}"),
        [rest @ .., last] => format!("{}, and {last}", rest.join(", ")),
    }
}

fn set_versions(txn: &mut Txn<'_>, delta: &mut Delta, new_uuid: &mut dyn FnMut() -> Uuid) {
    for (table_id, changes) in &mut delta.tables {
        let Some(version_column) = txn.db.table(*table_id).map(|table| table.version_column) else {
            continue;
        };
        for (uuid, change) in changes {
            if change.new.take().is_none() {
                continue;
            }
            // The table has the row alone now, so that no copy is made of it.
            let table = txn.db.table_mut(*table_id);
            let Some(row) = table.and_then(|table| table.row_mut(uuid)) else {
                continue;
            };
            Arc::make_mut(row).set(version_column, Datum::uuid(new_uuid()));
            change.new = Some(row.clone());
        }
    }
}
