//! Random schemas: every kind of column, constraint, reference and limit.

use std::collections::BTreeMap;

use super::reference::schema::{Base, Column, Kind, Schema, Table};
use super::reference::value::{Atom, Real};
use super::source::Source;

pub fn schema(source: &mut Source<'_>, name: &str) -> Schema {
    let count = 2 + source.below(3);
    let names: Vec<String> = (0..count).map(|i| format!("t{i}")).collect();
    let roots: Vec<bool> = names.iter().map(|_| source.chance(55)).collect();
    let is_root = |table: &str| {
        let mut all = names.iter().zip(&roots);
        all.any(|(name, root)| name == table && *root)
    };
    let mut tables = BTreeMap::new();
    for (table, root) in names.iter().zip(&roots) {
        let mut columns = BTreeMap::new();
        for i in 0..1 + source.below(5) {
            columns.insert(format!("c{i}"), column(source, &names, &is_root));
        }
        let mut indexes = Vec::new();
        let indexable: Vec<String> = columns
            .iter()
            .filter(|(_, column)| !column.ephemeral)
            .map(|(name, _)| name.clone())
            .collect();
        if source.chance(30) && !indexable.is_empty() {
            for _ in 0..1 + source.below(2) {
                let mut index = vec![source.pick(&indexable)];
                let second = source.pick(&indexable);
                if source.chance(40) && !index.contains(&second) {
                    index.push(second);
                }
                indexes.push(index);
            }
        }
        let max_rows = source.chance(15).then(|| 1 + source.below(4));
        let table_schema = Table {
            columns,
            max_rows,
            is_root: *root,
            indexes,
        };
        tables.insert(table.clone(), table_schema);
    }
    Schema {
        name: name.to_owned(),
        tables,
    }
}

fn column(source: &mut Source<'_>, tables: &[String], is_root: &dyn Fn(&str) -> bool) -> Column {
    let key = base(source, tables);
    let value = source.chance(30).then(|| base(source, tables));
    let (min, max) = source.pick(&[
        (1, 1),
        (1, 1),
        (0, 1),
        (0, usize::MAX),
        (0, usize::MAX),
        (1, usize::MAX),
        (0, 2),
        (1, 3),
    ]);
    let mut column = Column {
        key,
        value,
        min,
        max,
        ephemeral: source.chance(10),
        mutable: !source.chance(12),
    };
    for (target, strong) in column
        .clone()
        .bases()
        .filter_map(|base| base.refers.as_ref())
    {
        // Weak references vanish, so their column has to be changeable; a strong one that is not
        // written down may keep no row alive; a weak one with a minimum cannot come back empty.
        if *strong {
            column.ephemeral &= is_root(target) && column.min == 0;
        } else {
            column.mutable = true;
            column.ephemeral &= column.min == 0;
        }
    }
    column
}

fn base(source: &mut Source<'_>, tables: &[String]) -> Base {
    let kind = source.pick(&[
        Kind::Integer,
        Kind::Integer,
        Kind::Real,
        Kind::Boolean,
        Kind::String,
        Kind::String,
        Kind::Uuid,
        Kind::Uuid,
        Kind::Uuid,
    ]);
    let mut base = Base::plain(kind);
    let limited = source.chance(35);
    let (low, high) = (source.chance(70), source.chance(70));
    match kind {
        Kind::Uuid => {
            base.refers = source
                .chance(85)
                .then(|| (source.pick(tables), source.chance(50)));
        }
        Kind::Boolean => {}
        _ if source.chance(15) => {
            base.choices = Some(match kind {
                Kind::Integer => vec![Atom::Integer(0), Atom::Integer(2), Atom::Integer(7)],
                Kind::Real => vec![Atom::Real(Real(0.0)), Atom::Real(Real(1.5))],
                _ => vec![Atom::String("a".into()), Atom::String("no".into())],
            });
        }
        _ if !limited => {}
        Kind::Integer => base.integers = (low.then_some(-1), high.then_some(3)),
        Kind::Real => base.reals = (low.then_some(-1.0), high.then_some(1.5)),
        Kind::String => base.lengths = (low.then_some(1), high.then_some(2)),
    }
    base
}
