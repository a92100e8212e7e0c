//! Execution of a `transact` request.
//!
//! Operations change the rows in place while the old ones are kept aside; at the end [`commit`]
//! checks the whole and either everything stays or every row is put back. Nothing here does I/O
//! or looks at a clock: what a `wait` has waited for, and new UUIDs, come from the caller.
//!
//! Source: RFC 7047, 4.1.3 and 5.2. Messages are worded as ovsdb-server words them.

mod commit;
mod operations;
mod results;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ahash::HashMap;
use ovsdb::error::Result;
use ovsdb::operation::OperationText;
use ovsdb::value::Names;
use ovsdb::{DatabaseSchema, Datum, Error, ErrorKind, Operation, Uuid};
use serde_json::{Value, json};

use crate::database::{Change, Database, Delta, Row, TableId};
use crate::rbac::Access;

pub use results::Results;

/// What a transaction needs from outside.
pub struct Context<'a> {
    /// Whether the client holds the lock of this name.
    pub holds_lock: &'a dyn Fn(&str) -> bool,
    pub new_uuid: &'a mut dyn FnMut() -> Uuid,
    /// How long ago the request came.
    pub elapsed: Duration,
    /// What the client may do.
    pub access: Access<'a>,
}

/// How a transaction ended.
#[derive(Debug)]
pub enum Outcome {
    /// `committed` is there when anything changed.
    Done {
        results: Results,
        committed: Option<Committed>,
        /// What the results depend on when they depend on rows alone that nothing changes.
        reads: Option<Vec<Read>>,
    },
    /// A `wait` does not hold: nothing was changed. Execute again after the next change of the
    /// database, and at the latest when the request is `until` old.
    Wait { until: Option<Duration> },
}

/// Rows that were looked at: those of a table, or the one of this UUID, if it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    pub table: TableId,
    pub row: Option<Uuid>,
}

/// The changes of a committed transaction.
#[derive(Debug)]
pub struct Committed {
    pub delta: Delta,
    /// The texts of its `comment` operations, one per line.
    pub comment: Option<String>,
}

/// What an operation is read from, when the ones before it are done.
pub trait Source {
    /// See [`Operation::from_json`].
    fn parse(
        &self,
        schema: &DatabaseSchema,
        names: &mut dyn Names,
        position: &dyn fmt::Display,
    ) -> Result<Operation>;
}

impl Source for Value {
    fn parse(
        &self,
        schema: &DatabaseSchema,
        names: &mut dyn Names,
        position: &dyn fmt::Display,
    ) -> Result<Operation> {
        Operation::from_json(self, schema, names, position)
    }
}

impl Source for OperationText {
    fn parse(
        &self,
        schema: &DatabaseSchema,
        names: &mut dyn Names,
        position: &dyn fmt::Display,
    ) -> Result<Operation> {
        OperationText::parse(self, schema, names, position)
    }
}

/// Executes `operations` on `db`.
pub fn execute<O: Source>(
    db: &mut Database,
    operations: &[O],
    context: &mut Context<'_>,
) -> Outcome {
    let mut txn = Txn::new(db, context.access);
    let mut symbols = Symbols {
        map: HashMap::default(),
        new_uuid: context.new_uuid,
    };
    let mut results = Results::default();
    let mut comments: Vec<String> = Vec::new();
    let schema = txn.db.schema().clone();
    for (i, source) in operations.iter().enumerate() {
        let position = format_args!("{} of {}", i.saturating_add(1), operations.len());
        let mut names = Naming {
            symbols: &mut symbols,
            txn: &txn,
        };
        let operation = source.parse(&schema, &mut names, &position);
        let result = results.push(|out| {
            let op = operation?;
            if let Operation::Comment { comment } = &op {
                comments.push(comment.clone());
            }
            let writes = matches!(
                op,
                Operation::Insert { .. }
                    | Operation::Update { .. }
                    | Operation::Mutate { .. }
                    | Operation::Delete { .. }
                    | Operation::Commit { .. }
            );
            let name = op.name();
            let step = txn.execute(op, &mut symbols, context.holds_lock, context.elapsed, out)?;
            // Said after what else is wrong with the operation.
            let why = match context.access {
                _ if !writes => return Ok(step),
                access if access.reserved => {
                    format!("on table in reserved database {}", schema.name)
                }
                access if access.read_only => {
                    "when database server is in read only mode".to_owned()
                }
                _ => return Ok(step),
            };
            let details = format!("{name} operation not allowed {why}");
            Err(Error::new(ErrorKind::NotAllowed, details))
        });
        match result {
            Ok(Step::Done) => {}
            Ok(Step::Wait { until }) => {
                txn.abort();
                return Outcome::Wait { until };
            }
            Err(error) => {
                txn.abort();
                let rest = operations.len().saturating_sub(i).saturating_sub(1);
                results.fail(error.to_json(), rest);
                return Outcome::Done {
                    results,
                    committed: None,
                    reads: None,
                };
            }
        }
    }
    let reads = txn.reads.take();
    match txn.commit(symbols.new_uuid) {
        Ok(delta) => {
            let comment = (!comments.is_empty()).then(|| comments.join("\n"));
            let committed = (!delta.is_empty()).then_some(Committed { delta, comment });
            Outcome::Done {
                results,
                committed,
                reads,
            }
        }
        Err(error) => {
            results.fail(error.to_json(), 0);
            Outcome::Done {
                results,
                committed: None,
                reads: None,
            }
        }
    }
}

/// Checks rows that were read from a file as if one transaction had inserted them all: collects
/// unreferenced rows, removes dangling weak references, checks indexes and constraints.
///
/// Errors: the file holds a database that no transaction could have made.
pub fn adopt(
    db: &mut Database,
    rows: BTreeMap<TableId, BTreeMap<Uuid, Arc<Row>>>,
    new_uuid: &mut dyn FnMut() -> Uuid,
) -> Result<()> {
    let mut rows = rows;
    for (table, rows) in &mut rows {
        let Some(version_column) = db.table(*table).map(|table| table.version_column) else {
            continue;
        };
        for row in rows.values_mut() {
            Arc::make_mut(row).set(version_column, Datum::uuid(new_uuid()));
        }
    }
    // Nearly every file is in order, which is seen more quickly than what is not.
    let Err(rows) = db.fill(rows) else {
        return Ok(());
    };
    let mut txn = Txn::new(db, Access::default());
    for (table, rows) in rows {
        for (uuid, row) in rows {
            txn.put(table, uuid, Some(row));
        }
    }
    txn.commit(new_uuid).map(drop)
}

/// What one operation came to.
enum Step {
    Done,
    Wait { until: Option<Duration> },
}

/// The `named-uuid`s of a transaction.
struct Symbols<'a> {
    /// The UUID for each name, and whether its `insert` was executed.
    map: HashMap<String, (Uuid, bool)>,
    new_uuid: &'a mut dyn FnMut() -> Uuid,
}

/// The names as an operation is read, when the rows can tell which UUIDs are taken.
struct Naming<'a, 'b> {
    symbols: &'a mut Symbols<'b>,
    txn: &'a Txn<'a>,
}

impl Names for Naming<'_, '_> {
    fn resolve(&mut self, name: &str) -> Result<Uuid> {
        if let Some((uuid, _)) = self.symbols.map.get(name) {
            return Ok(*uuid);
        }
        let uuid = (self.symbols.new_uuid)();
        self.symbols.map.insert(name.to_owned(), (uuid, false));
        Ok(uuid)
    }

    fn insert(
        &mut self,
        table: &str,
        uuid_name: Option<&str>,
        uuid: Option<Uuid>,
    ) -> Result<Option<Uuid>> {
        if let Some((uuid, table_id)) = uuid.zip(self.txn.db.table_id(table))
            && (self.txn.db.row(table_id, &uuid).is_some()
                || self.txn.before(table_id, &uuid).is_some())
        {
            return Err(Error::with_syntax(
                ErrorKind::DuplicateUuid,
                &json!(uuid.hyphenated().to_string()),
                "This UUID would duplicate a UUID already present within the table or deleted \
                 within the same transaction.",
            ));
        }
        let Some(name) = uuid_name else {
            return Ok(uuid);
        };
        let refuse = |why: &str| {
            let error = Error::with_syntax(ErrorKind::DuplicateUuidName, &json!(name), why);
            Err(error)
        };
        let uuid = match self.symbols.map.get(name) {
            Some((_, true)) => {
                return refuse("This \"uuid-name\" appeared on an earlier \"insert\" operation.");
            }
            Some((forward, false)) if uuid.is_some_and(|uuid| uuid != *forward) => {
                return refuse(
                    "This \"uuid-name\" was used before its \"insert\" operation gave it a \
                     \"uuid\".",
                );
            }
            Some((forward, false)) => *forward,
            None => uuid.unwrap_or_else(|| (self.symbols.new_uuid)()),
        };
        self.symbols.map.insert(name.to_owned(), (uuid, true));
        Ok(Some(uuid))
    }
}

/// A transaction under way.
struct Txn<'a> {
    db: &'a mut Database,
    access: Access<'a>,
    /// Rows that were touched.
    old: BTreeMap<TableId, BTreeMap<Uuid, Old>>,
    /// See [`Outcome::Done`].
    reads: Option<Vec<Read>>,
}

/// A row as it was before the transaction.
struct Old {
    row: Option<Arc<Row>>,
    /// Whether it was put several times, so that it may be again what it was.
    again: bool,
}

impl Old {
    /// Whether the row is another now.
    fn differs(&self, new: Option<&Arc<Row>>) -> bool {
        !self.again || self.row.as_ref() != new
    }
}

impl<'a> Txn<'a> {
    fn new(db: &'a mut Database, access: Access<'a>) -> Self {
        Self {
            db,
            access,
            old: BTreeMap::new(),
            reads: Some(Vec::new()),
        }
    }

    /// Puts a row that differs from what is there, or removes one, remembering what was there
    /// before the transaction.
    fn put(&mut self, table_id: TableId, uuid: Uuid, row: Option<Arc<Row>>) {
        let Some(table) = self.db.table_mut(table_id) else {
            return;
        };
        let row = table.replace_row(uuid, row);
        let rows = self.old.entry(table_id).or_default();
        rows.entry(uuid)
            .and_modify(|old| old.again = true)
            .or_insert(Old { row, again: false });
    }

    /// The row as it was before the transaction touched it; the outer `None` says that it did
    /// not.
    fn before(&self, table: TableId, uuid: &Uuid) -> Option<&Option<Arc<Row>>> {
        Some(&self.old.get(&table)?.get(uuid)?.row)
    }

    /// Puts every row back.
    fn abort(&mut self) {
        for (table_id, rows) in std::mem::take(&mut self.old) {
            let Some(table) = self.db.table_mut(table_id) else {
                continue;
            };
            for (uuid, old) in rows {
                table.replace_row(uuid, old.row);
            }
        }
    }

    /// What has changed so far.
    fn delta(&self) -> Delta {
        let mut delta = Delta::default();
        for (table, rows) in &self.old {
            for (uuid, old) in rows {
                let new = self.db.row(*table, uuid);
                if old.differs(new) {
                    let change = Change {
                        old: old.row.clone(),
                        new: new.cloned(),
                    };
                    delta
                        .tables
                        .entry(*table)
                        .or_default()
                        .insert(*uuid, change);
                }
            }
        }
        delta
    }

    /// Checks everything and makes it permanent, or puts every row back.
    fn commit(&mut self, new_uuid: &mut dyn FnMut() -> Uuid) -> Result<Delta> {
        match commit::commit(self, new_uuid) {
            Ok(delta) => {
                self.db.derive(&delta);
                Ok(delta)
            }
            Err(error) => {
                self.abort();
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{self, Rows};
    use ovsdb::DatabaseSchema;
    use serde_json::json;

    const KID: &str = "00000000-0000-0000-0000-00000000000a";
    const ROWS: [&str; 3] = [
        "00000000-0000-0000-0000-000000000001",
        "00000000-0000-0000-0000-000000000002",
        "00000000-0000-0000-0000-000000000003",
    ];

    fn database() -> Database {
        let refs = |kind: &str| {
            json!({"type": {"key": {"type": "uuid", "refTable": "Kid", "refType": kind},
                            "min": 0, "max": "unlimited"}})
        };
        let schema = json!({"name": "d", "tables": {
            "Kid": {"columns": {"s": {"type": "string"}}},
            "Root": {"isRoot": true, "maxRows": 2, "indexes": [["n"]], "columns": {
                "n": {"type": "integer"}, "kids": refs("strong"), "weak": refs("weak")}},
        }});
        Database::new(DatabaseSchema::from_json(&schema).unwrap())
    }

    /// What a transaction would do about rows is done about those of a file.
    #[test]
    fn files_are_adopted_as_transactions_are_committed() {
        let [a, b, c] = ROWS;
        let kid = json!(["uuid", KID]);
        let cases = [
            (
                json!({"Root": {a: {"n": 1, "kids": kid, "weak": kid}, b: {}}, "Kid": {KID: {}}}),
                Ok([1, 2]),
            ),
            (json!({"Kid": {KID: {}}}), Ok([0, 0])),
            (
                json!({"Root": {a: {"weak": kid}}, "Kid": {KID: {}}}),
                Ok([0, 1]),
            ),
            (json!({"Root": {a: {"weak": kid}}}), Ok([0, 1])),
            (
                json!({"Root": {a: {"kids": kid}}}),
                Err("referential integrity violation"),
            ),
            (
                json!({"Root": {a: {"n": 5}, b: {"n": 5}}}),
                Err("constraint violation"),
            ),
            (
                json!({"Root": {a: {"n": 1}, b: {"n": 2}, c: {"n": 3}}}),
                Err("constraint violation"),
            ),
        ];
        for (record, expected) in cases {
            let mut db = database();
            let mut rows = Rows::new();
            record::apply(&db, &mut rows, &record).unwrap();
            let result = adopt(&mut db, rows, &mut Uuid::new_v4);
            let counts = result
                .map(|()| [0, 1].map(|table| db.table(table).unwrap().len()))
                .map_err(|error| error.kind.as_str().to_owned());
            assert_eq!(counts, expected.map_err(str::to_owned), "{record}");
            db.check_derived().unwrap();
            let table = db.table(1).unwrap();
            let weak = table.column_id("weak").unwrap();
            let kids = db.table(0).unwrap().len();
            for (_, row) in table.rows() {
                assert!(row.get(weak).len() <= kids, "{record}");
                assert!(
                    row.get(table.version_column)
                        .as_uuid()
                        .is_some_and(|v| !v.is_nil())
                );
            }
        }
    }
}
