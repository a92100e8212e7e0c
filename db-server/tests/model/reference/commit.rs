//! What has to hold when a transaction ends: RFC 7047, 3.2 and 4.1.3.

use std::collections::BTreeSet;

use super::Tables;
use super::schema::Schema;
use super::value::{CONSTRAINT, Refusal};

/// Completes `rows`; tells whether ovsdb-server 3.1 is known to do otherwise.
pub fn commit(schema: &Schema, before: &Tables, rows: &mut Tables) -> Result<bool, Refusal> {
    for (_, target, strong) in references(schema, rows) {
        if strong && !rows[&target.0].contains_key(&target.1) {
            return Err("referential integrity violation");
        }
    }
    collect(schema, rows);
    for (name, table) in &schema.tables {
        if table.max_rows.is_some_and(|max| rows[name].len() > max) {
            return Err(CONSTRAINT);
        }
    }
    let mut departs = false;
    loop {
        let old = rows.clone();
        departs |= drop_weak(schema, before, rows)?;
        let weakened = rows.clone();
        collect(schema, rows);
        departs |= weakened != *rows;
        if old == *rows {
            break;
        }
    }
    for (name, table) in &schema.tables {
        for index in &table.indexes {
            let mut seen = BTreeSet::new();
            for row in rows[name].values() {
                let key: Vec<_> = index.iter().map(|column| &row[column]).collect();
                if !seen.insert(key) {
                    return Err(CONSTRAINT);
                }
            }
        }
    }
    Ok(departs)
}

/// A row: its table and its UUID.
type Place = (String, String);

/// Every reference: from where, to where, whether strong.
fn references(schema: &Schema, rows: &Tables) -> Vec<(Place, Place, bool)> {
    let mut all = Vec::new();
    for (table, rows) in rows {
        for (uuid, row) in rows {
            for (name, datum) in row {
                let column = &schema.tables[table].columns[name];
                for (key, value) in datum {
                    let atoms = std::iter::once(key).chain(value);
                    for (base, atom) in column.bases().zip(atoms) {
                        if let (Some((target, strong)), super::value::Atom::Uuid(to)) =
                            (&base.refers, atom)
                        {
                            let from = (table.clone(), uuid.clone());
                            all.push((from, (target.clone(), to.clone()), *strong));
                        }
                    }
                }
            }
        }
    }
    all
}

/// Removes rows of tables that are no roots to which no other row refers strongly, until there
/// are none.
fn collect(schema: &Schema, rows: &mut Tables) {
    loop {
        let kept: BTreeSet<Place> = references(schema, rows)
            .into_iter()
            .filter(|(from, to, strong)| *strong && from != to)
            .map(|(_, to, _)| to)
            .collect();
        let mut removed = false;
        for (table, rows) in rows.iter_mut().filter(|(table, _)| !schema.is_root(table)) {
            rows.retain(|uuid, _| {
                let keep = kept.contains(&(table.clone(), uuid.clone()));
                removed |= !keep;
                keep
            });
        }
        if !removed {
            return;
        }
    }
}

/// Removes weak references to rows that are not there; tells whether a row that held one was
/// changed by the transaction.
fn drop_weak(schema: &Schema, before: &Tables, rows: &mut Tables) -> Result<bool, Refusal> {
    let there: BTreeSet<Place> = rows
        .iter()
        .flat_map(|(table, rows)| rows.keys().map(|uuid| (table.clone(), uuid.clone())))
        .collect();
    let mut departs = false;
    for (table, rows) in rows.iter_mut() {
        for (uuid, row) in rows.iter_mut() {
            let changed = before[table].get(uuid) != Some(row);
            for (name, datum) in row.iter_mut() {
                let column = &schema.tables[table].columns[name];
                let dangles = |base: &super::schema::Base, atom: &super::value::Atom| {
                    matches!((&base.refers, atom),
                        (Some((target, false)), super::value::Atom::Uuid(to))
                            if !there.contains(&(target.clone(), to.clone())))
                };
                let old = datum.len();
                datum.retain(|key, value| {
                    let atoms = std::iter::once(key).chain(value.as_ref());
                    !column
                        .bases()
                        .zip(atoms)
                        .any(|(base, atom)| dangles(base, atom))
                });
                departs |= changed && datum.len() != old;
                if datum.len() != old && datum.len() < column.min {
                    return Err(CONSTRAINT);
                }
            }
        }
    }
    Ok(departs)
}
