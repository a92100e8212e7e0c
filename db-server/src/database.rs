//! A database in memory: rows by table, and what is derived from them.
//!
//! Rows are immutable and shared; a change replaces the row. Reference counts, the reverse map of
//! weak references and the unique indexes always describe the committed rows: they change only
//! when a whole [`Delta`] is applied or taken back.
//!
//! Source: RFC 7047, 3.2 (`isRoot`, `maxRows`, `indexes`, `refType`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ahash::HashMap;
use ovsdb::schema::{ColumnSchema, ColumnType, DatabaseSchema, RefKind, TableSchema};
use ovsdb::{Atom, Datum, Uuid};

/// The position of a table in its database.
pub type TableId = usize;

/// The position of a column in its table.
pub type ColumnId = usize;

/// One row: the datums of all columns of the table, `_uuid` and `_version` included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    cells: Box<[Datum]>,
}

impl Row {
    /// The datum in `column`, a position that the row's own table gave.
    pub fn get(&self, column: ColumnId) -> &Datum {
        static EMPTY: Datum = Datum::EMPTY;
        self.cells.get(column).unwrap_or(&EMPTY)
    }

    pub(crate) fn get_mut(&mut self, column: ColumnId) -> Option<&mut Datum> {
        self.cells.get_mut(column)
    }

    pub fn set(&mut self, column: ColumnId, datum: Datum) {
        if let Some(cell) = self.cells.get_mut(column) {
            *cell = datum;
        }
    }
}

impl Row {
    /// About how much memory the row takes.
    pub fn weight(&self) -> usize {
        let cells = self.cells.iter().map(Datum::weight);
        cells.fold(size_of::<Self>(), usize::saturating_add)
    }

    /// The same without what it shares with `other`.
    pub fn weight_beside(&self, other: &Row) -> usize {
        let cells = self.cells.iter().zip(&other.cells);
        let own = cells.map(|(mine, theirs)| mine.weight_beside(theirs));
        own.fold(size_of::<Self>(), usize::saturating_add)
    }
}

/// A column and its place.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub schema: ColumnSchema,
    /// The type of differences between two values.
    pub diff_type: ColumnType,
    /// Tables that the key and the value refer to.
    refs: [Option<(TableId, RefKind)>; 2],
}

impl Column {
    /// Calls `visit` with the target table and row of every reference of `kind` in `datum`.
    pub fn for_each_ref(&self, datum: &Datum, kind: RefKind, mut visit: impl FnMut(TableId, Uuid)) {
        let parts = [datum.keys(), datum.values()];
        for (target, atoms) in self.refs.iter().zip(parts) {
            let Some((table, _)) = target.filter(|target| target.1 == kind) else {
                continue;
            };
            for uuid in atoms.iter().filter_map(Atom::as_uuid) {
                visit(table, uuid);
            }
        }
    }

    /// Calls `visit` for every reference of `kind` that `new` has and `old` has not (with true), or
    /// the other way round (with false).
    pub fn for_each_ref_change(
        &self,
        old: Option<&Datum>,
        new: Option<&Datum>,
        kind: RefKind,
        mut visit: impl FnMut(TableId, Uuid, bool),
    ) {
        let [key, value] = self.ref_tables(kind);
        if old == new || key.or(value).is_none() {
            return;
        }
        match (old, new, value) {
            // References among keys alone: what is in both need not be looked at.
            (Some(old), Some(new), None) => {
                for atom in Datum::diff(old, new).iter() {
                    let added = new.contains_key(atom);
                    if let Some((table, uuid)) = key.zip(atom.as_uuid())
                        && added != old.contains_key(atom)
                    {
                        visit(table, uuid, added);
                    }
                }
            }
            _ => {
                for (datum, added) in [(old, false), (new, true)] {
                    let Some(datum) = datum else { continue };
                    self.for_each_ref(datum, kind, |table, uuid| visit(table, uuid, added));
                }
            }
        }
    }

    /// The tables that keys and values refer to with `kind`.
    pub fn ref_tables(&self, kind: RefKind) -> [Option<TableId>; 2] {
        self.refs.map(|target| {
            target
                .filter(|target| target.1 == kind)
                .map(|target| target.0)
        })
    }
}

/// A unique index over some columns.
#[derive(Debug, Default)]
pub struct Index {
    pub columns: Vec<ColumnId>,
    rows: HashMap<Vec<Datum>, Uuid>,
}

impl Index {
    pub fn key(&self, row: &Row) -> Vec<Datum> {
        self.columns
            .iter()
            .map(|column| row.get(*column).clone())
            .collect()
    }

    pub fn find(&self, key: &[Datum]) -> Option<Uuid> {
        self.rows.get(key).copied()
    }

    /// Whether a row has another key than before.
    pub(crate) fn is_changed(&self, change: &Change) -> bool {
        match (&change.old, &change.new) {
            (Some(old), Some(new)) => {
                let mut columns = self.columns.iter();
                columns.any(|column| old.get(*column) != new.get(*column))
            }
            _ => true,
        }
    }
}

/// A table with its rows.
#[derive(Debug)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    by_name: HashMap<String, ColumnId>,
    /// The columns that hold references.
    ref_columns: Vec<ColumnId>,
    pub(crate) has_weak_refs: bool,
    /// The columns that the file holds.
    persistent: Vec<ColumnId>,
    pub uuid_column: ColumnId,
    pub version_column: ColumnId,
    pub is_root: bool,
    pub max_rows: Option<u64>,
    pub indexes: Vec<Index>,
    /// The cells of a row that nobody set.
    defaults: Box<[Datum]>,
    rows: BTreeMap<Uuid, Arc<Row>>,
    /// Strong references to rows here, those of a row to itself left out.
    strong: HashMap<Uuid, usize>,
    /// Who refers weakly to rows here, and how often.
    weak: HashMap<Uuid, BTreeMap<(TableId, Uuid), usize>>,
}

impl Table {
    fn new(schema: &TableSchema, tables: &BTreeMap<&str, TableId>) -> Self {
        let implicit = ["_uuid", "_version"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), schema.column(name)?.clone())));
        let own = schema
            .columns
            .iter()
            .map(|(name, column)| (name.clone(), column.clone()));
        let columns: Vec<Column> = implicit
            .chain(own)
            .map(|(name, schema)| {
                let target = |base: Option<&ovsdb::BaseType>| {
                    let (table, kind) = base?.reference()?;
                    Some((*tables.get(table)?, kind))
                };
                let column_type = &schema.column_type;
                let refs = [
                    target(Some(&column_type.key)),
                    target(column_type.value.as_ref()),
                ];
                Column {
                    name,
                    diff_type: column_type.any_count(),
                    schema,
                    refs,
                }
            })
            .collect();
        let by_name: HashMap<String, ColumnId> = columns
            .iter()
            .enumerate()
            .map(|(id, column)| (column.name.clone(), id))
            .collect();
        let indexes = schema
            .indexes
            .iter()
            .map(|names| Index {
                columns: names
                    .iter()
                    .filter_map(|name| by_name.get(name).copied())
                    .collect(),
                rows: HashMap::default(),
            })
            .collect();
        let defaults = columns
            .iter()
            .map(|column| Datum::default_of(&column.schema.column_type))
            .collect();
        let has_refs = |column: &Column| column.refs.iter().any(Option::is_some);
        let ref_columns = (0..columns.len())
            .filter(|id| columns.get(*id).is_some_and(has_refs))
            .collect();
        let has_weak_refs = columns.iter().any(|column| {
            let tables = column.ref_tables(RefKind::Weak);
            tables.iter().any(Option::is_some)
        });
        let named = columns.iter().enumerate().skip(2);
        let persistent = named
            .filter(|(_, column)| !column.schema.ephemeral)
            .map(|(id, _)| id)
            .collect();
        Self {
            name: schema.name.clone(),
            defaults,
            ref_columns,
            has_weak_refs,
            persistent,
            columns,
            by_name,
            uuid_column: 0,
            version_column: 1,
            is_root: schema.is_root,
            max_rows: schema.max_rows,
            indexes,
            rows: BTreeMap::new(),
            strong: HashMap::default(),
            weak: HashMap::default(),
        }
    }

    pub fn column_id(&self, name: &str) -> Option<ColumnId> {
        self.by_name.get(name).copied()
    }

    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.get(id)
    }

    /// The columns that hold references, which are few.
    pub fn ref_columns(&self) -> impl Iterator<Item = (ColumnId, &Column)> {
        let ids = self.ref_columns.iter();
        ids.filter_map(|id| Some((*id, self.columns.get(*id)?)))
    }

    /// The columns that the file holds: all but the implicit and the ephemeral ones.
    pub(crate) fn persistent_columns(&self) -> impl Iterator<Item = ColumnId> {
        self.persistent.iter().copied()
    }

    pub fn rows(&self) -> impl Iterator<Item = (&Uuid, &Arc<Row>)> {
        self.rows.iter()
    }

    pub fn row(&self, uuid: &Uuid) -> Option<&Arc<Row>> {
        self.rows.get(uuid)
    }

    pub(crate) fn row_mut(&mut self, uuid: &Uuid) -> Option<&mut Arc<Row>> {
        self.rows.get_mut(uuid)
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A row in which every column has its default.
    pub fn default_row(&self, uuid: Uuid) -> Row {
        let mut cells = self.defaults.clone();
        if let Some(cell) = cells.get_mut(self.uuid_column) {
            *cell = Datum::uuid(uuid);
        }
        Row { cells }
    }

    /// How many strong references from other rows the row has.
    pub fn strong_refs(&self, uuid: &Uuid) -> usize {
        self.strong.get(uuid).copied().unwrap_or(0)
    }

    /// The rows that refer weakly to the row.
    pub fn weak_sources(&self, uuid: &Uuid) -> impl Iterator<Item = (TableId, Uuid)> + '_ {
        self.weak
            .get(uuid)
            .into_iter()
            .flat_map(|sources| sources.keys().copied())
    }

    /// Whether the rows are such as a transaction may leave behind, going by what is derived.
    fn is_sound(&self) -> bool {
        let is_here = |uuid: &Uuid| self.rows.contains_key(uuid);
        self.max_rows
            .is_none_or(|max| self.rows.len() as u64 <= max)
            && self.strong.keys().all(is_here)
            && self.weak.keys().all(is_here)
            && (self.is_root || self.strong.len() == self.rows.len())
            // Of two rows with equal values the index has one.
            && self.indexes.iter().all(|index| index.rows.len() == self.rows.len())
    }

    /// Gives all rows away.
    fn clear(&mut self) -> BTreeMap<Uuid, Arc<Row>> {
        self.strong.clear();
        self.weak.clear();
        for index in &mut self.indexes {
            index.rows.clear();
        }
        std::mem::take(&mut self.rows)
    }

    /// Puts or removes a row without looking at anything derived; gives the one that was there.
    pub(crate) fn replace_row(&mut self, uuid: Uuid, row: Option<Arc<Row>>) -> Option<Arc<Row>> {
        match row {
            Some(row) => self.rows.insert(uuid, row),
            None => self.rows.remove(&uuid),
        }
    }
}

/// What happened to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub old: Option<Arc<Row>>,
    pub new: Option<Arc<Row>>,
}

/// What a transaction did, by table and row. Rows that ended as they began are not in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delta {
    pub tables: BTreeMap<TableId, BTreeMap<Uuid, Change>>,
}

impl Delta {
    pub fn is_empty(&self) -> bool {
        self.tables.values().all(BTreeMap::is_empty)
    }

    pub fn changes(&self) -> impl Iterator<Item = (TableId, &Uuid, &Change)> {
        self.tables
            .iter()
            .flat_map(|(table, rows)| rows.iter().map(|(uuid, change)| (*table, uuid, change)))
    }

    /// The number of changed rows.
    pub fn len(&self) -> usize {
        self.tables.values().map(BTreeMap::len).sum()
    }

    /// Adds what a later transaction did.
    pub fn append(&mut self, later: &Delta) {
        for (table, rows) in &later.tables {
            let here = self.tables.entry(*table).or_default();
            for (uuid, change) in rows {
                here.entry(*uuid)
                    .and_modify(|earlier| earlier.new.clone_from(&change.new))
                    .or_insert_with(|| change.clone());
            }
        }
    }

    /// Drops the rows that are again what they were.
    pub fn drop_unchanged(&mut self) {
        for changes in self.tables.values_mut() {
            changes.retain(|_, change| change.old != change.new);
        }
    }
}

/// A database.
#[derive(Debug)]
pub struct Database {
    schema: Arc<DatabaseSchema>,
    tables: Vec<Table>,
    by_name: HashMap<String, TableId>,
}

impl Database {
    /// An empty database.
    pub fn new(schema: DatabaseSchema) -> Self {
        let ids: BTreeMap<&str, TableId> = schema
            .tables
            .keys()
            .enumerate()
            .map(|(id, name)| (name.as_str(), id))
            .collect();
        let tables = schema
            .tables
            .values()
            .map(|table| Table::new(table, &ids))
            .collect();
        let by_name = ids
            .iter()
            .map(|(name, id)| ((*name).to_owned(), *id))
            .collect();
        Self {
            tables,
            by_name,
            schema: Arc::new(schema),
        }
    }

    pub fn schema(&self) -> &Arc<DatabaseSchema> {
        &self.schema
    }

    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    pub fn table_id(&self, name: &str) -> Option<TableId> {
        self.by_name.get(name).copied()
    }

    pub fn table(&self, id: TableId) -> Option<&Table> {
        self.tables.get(id)
    }

    pub(crate) fn table_mut(&mut self, id: TableId) -> Option<&mut Table> {
        self.tables.get_mut(id)
    }

    pub fn row(&self, table: TableId, uuid: &Uuid) -> Option<&Arc<Row>> {
        self.table(table)?.row(uuid)
    }

    /// All rows in all tables.
    pub fn row_count(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }

    /// Brings reference counts and indexes in line with `delta`, whose rows are in place already.
    pub(crate) fn derive(&mut self, delta: &Delta) {
        // All old index keys go before the new ones come, because rows may swap theirs.
        for (table_id, uuid, change) in delta.changes() {
            if let Some(old) = &change.old {
                self.index(table_id, *uuid, old, change, false);
            }
        }
        for (table_id, uuid, change) in delta.changes() {
            if let Some(new) = &change.new {
                self.index(table_id, *uuid, new, change, true);
            }
            self.count_refs(table_id, *uuid, change);
        }
    }

    /// Takes rows over as the whole contents of a database that has none.
    ///
    /// Errors: gives the rows back when a transaction that inserted them would have failed or
    /// changed them. It does not say why; that takes longer.
    pub(crate) fn fill(
        &mut self,
        rows: BTreeMap<TableId, BTreeMap<Uuid, Arc<Row>>>,
    ) -> Result<(), BTreeMap<TableId, BTreeMap<Uuid, Arc<Row>>>> {
        for (id, rows) in rows {
            for (uuid, row) in &rows {
                let change = Change {
                    old: None,
                    new: Some(row.clone()),
                };
                self.index(id, *uuid, row, &change, true);
                self.count_refs(id, *uuid, &change);
            }
            if let Some(table) = self.tables.get_mut(id) {
                table.rows = rows;
            }
        }
        if self.tables.iter().all(Table::is_sound) {
            return Ok(());
        }
        let tables = self.tables.iter_mut().enumerate();
        Err(tables.map(|(id, table)| (id, table.clear())).collect())
    }

    /// Undoes a transaction that was committed; later ones have to be undone before.
    pub fn revert(&mut self, delta: &Delta) {
        let mut inverse = Delta::default();
        for (table_id, uuid, change) in delta.changes() {
            if let Some(table) = self.tables.get_mut(table_id) {
                table.replace_row(*uuid, change.old.clone());
            }
            let change = Change {
                old: change.new.clone(),
                new: change.old.clone(),
            };
            inverse
                .tables
                .entry(table_id)
                .or_default()
                .insert(*uuid, change);
        }
        self.derive(&inverse);
    }

    /// Takes one side of a change into the indexes, or out of them.
    fn index(&mut self, table: TableId, uuid: Uuid, row: &Row, change: &Change, add: bool) {
        let Some(table) = self.tables.get_mut(table) else {
            return;
        };
        for index in &mut table.indexes {
            if !index.is_changed(change) {
                continue;
            }
            let key = index.key(row);
            if add {
                index.rows.insert(key, uuid);
            } else if index.rows.get(&key) == Some(&uuid) {
                index.rows.remove(&key);
            }
        }
    }

    fn count_refs(&mut self, source_table: TableId, source: Uuid, change: &Change) {
        let Some(table) = self.tables.get(source_table) else {
            return;
        };
        let mut strong = Vec::new();
        let mut weak = Vec::new();
        for (id, column) in table.ref_columns() {
            let old = change.old.as_ref().map(|row| row.get(id));
            let new = change.new.as_ref().map(|row| row.get(id));
            column.for_each_ref_change(old, new, RefKind::Strong, |table, uuid, added| {
                strong.push((table, uuid, added));
            });
            column.for_each_ref_change(old, new, RefKind::Weak, |table, uuid, added| {
                weak.push((table, uuid, added));
            });
        }
        for (target_table, target, added) in strong {
            if (target_table, target) == (source_table, source) {
                continue;
            }
            let Some(table) = self.tables.get_mut(target_table) else {
                continue;
            };
            let count = table.strong.entry(target).or_default();
            *count = if added {
                count.saturating_add(1)
            } else {
                count.saturating_sub(1)
            };
            if *count == 0 {
                table.strong.remove(&target);
            }
        }
        for (target_table, target, added) in weak {
            let Some(table) = self.tables.get_mut(target_table) else {
                continue;
            };
            let sources = table.weak.entry(target).or_default();
            let count = sources.entry((source_table, source)).or_default();
            *count = if added {
                count.saturating_add(1)
            } else {
                count.saturating_sub(1)
            };
            if *count == 0 {
                sources.remove(&(source_table, source));
            }
            if sources.is_empty() {
                table.weak.remove(&target);
            }
        }
    }

    /// Compares everything derived with what the rows say; for tests.
    pub fn check_derived(&self) -> Result<(), String> {
        let mut fresh = Self::new((*self.schema).clone());
        let mut delta = Delta::default();
        for (id, table) in self.tables.iter().enumerate() {
            for (uuid, row) in table.rows() {
                if let Some(table) = fresh.tables.get_mut(id) {
                    table.replace_row(*uuid, Some(row.clone()));
                }
                let change = Change {
                    old: None,
                    new: Some(row.clone()),
                };
                delta.tables.entry(id).or_default().insert(*uuid, change);
            }
        }
        fresh.derive(&delta);
        for (mine, theirs) in self.tables.iter().zip(&fresh.tables) {
            if mine.strong != theirs.strong {
                return Err(format!(
                    "{}: strong {:?} != {:?}",
                    mine.name, mine.strong, theirs.strong
                ));
            }
            if mine.weak != theirs.weak {
                return Err(format!(
                    "{}: weak {:?} != {:?}",
                    mine.name, mine.weak, theirs.weak
                ));
            }
            for (a, b) in mine.indexes.iter().zip(&theirs.indexes) {
                if a.rows != b.rows || a.rows.len() != mine.rows.len() {
                    return Err(format!("{}: index {:?} != {:?}", mine.name, a.rows, b.rows));
                }
            }
            let dangling: BTreeSet<_> = mine
                .strong
                .keys()
                .filter(|uuid| !mine.rows.contains_key(uuid))
                .collect();
            if !dangling.is_empty() {
                return Err(format!(
                    "{}: references to missing rows {dangling:?}",
                    mine.name
                ));
            }
        }
        Ok(())
    }
}
