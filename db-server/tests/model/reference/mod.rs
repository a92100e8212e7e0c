//! A slow, obvious database: what RFC 7047 says of a transaction, carried out on plain maps.
//!
//! It shares no code with the server: it reads the operations' JSON itself, works on a copy of all
//! rows, and looks at all of them again at the end. Of errors it gives the RFC's string; where the
//! RFC leaves the string open, it is ovsdb-server's.

mod clause;
mod commit;
pub mod schema;
pub mod value;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

pub use clause::{clause_holds, parse_clause};
use schema::{Schema, Table};
use value::{CONSTRAINT, Datum, Names, Refusal, SYNTAX, datum, default_datum, integer, is_id};

/// A row's columns, `_uuid` and `_version` left out.
pub type Row = BTreeMap<String, Datum>;

/// Rows by table and UUID.
pub type Tables = BTreeMap<String, BTreeMap<String, Row>>;

/// What an operation is answered with.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Uuid(String),
    Count(usize),
    /// Each row with the columns that were asked for.
    Rows(Vec<Row>),
    Empty,
    Error(Refusal),
    /// An operation after the one that failed.
    Null,
}

/// What became of a transaction.
#[derive(Debug)]
pub struct Outcome {
    pub answers: Vec<Answer>,
    pub after: Tables,
    /// Whether it does what ovsdb-server 3.1 is known to do otherwise (docs/database.md).
    pub departs: bool,
    /// Whether a name stands for a UUID that the answers do not tell.
    pub guessed: bool,
}

/// Carries out `operations` on `before`.
///
/// `given` are the UUIDs that the answers under test tell for `insert` operations, because only
/// the server can choose those.
pub fn transact(
    schema: &Schema,
    before: &Tables,
    operations: &[Value],
    given: &[Option<String>],
    held_locks: &[&str],
) -> Outcome {
    let mut run = Run {
        schema,
        before,
        rows: before.clone(),
        deleted: BTreeSet::new(),
        held_locks,
        names: SymbolTable::new(operations, given),
        departs: false,
    };
    let mut answers = Vec::new();
    for (i, operation) in operations.iter().enumerate() {
        match run.operation(operation, given.get(i).cloned().flatten()) {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                answers.push(Answer::Error(error));
                answers.resize(operations.len(), Answer::Null);
                return run.failed(answers);
            }
        }
    }
    match commit::commit(schema, before, &mut run.rows) {
        Ok(departs) => Outcome {
            answers,
            after: run.rows,
            departs,
            guessed: run.names.guessed,
        },
        Err(error) => {
            answers.push(Answer::Error(error));
            run.failed(answers)
        }
    }
}

/// `uuid-name`s: an `insert` anywhere in the transaction gives its name a UUID; a name that is
/// nowhere gets one of its own.
struct SymbolTable {
    uuids: BTreeMap<String, String>,
    inserted: BTreeSet<String>,
    used: BTreeSet<String>,
    guessed: bool,
    next: u64,
}

impl SymbolTable {
    fn new(operations: &[Value], given: &[Option<String>]) -> Self {
        let mut uuids = BTreeMap::new();
        for (operation, given) in operations.iter().zip(given) {
            if let (Some(name), Some(uuid)) = (operation["uuid-name"].as_str(), given) {
                uuids.entry(name.to_owned()).or_insert(uuid.clone());
            }
        }
        Self {
            uuids,
            inserted: BTreeSet::new(),
            used: BTreeSet::new(),
            guessed: false,
            next: 0,
        }
    }

    fn invent(&mut self) -> String {
        self.guessed = true;
        self.next += 1;
        format!("ffffffff-ffff-ffff-ffff-{:012x}", self.next)
    }
}

impl Names for SymbolTable {
    fn uuid(&mut self, name: &str) -> String {
        self.used.insert(name.to_owned());
        if let Some(uuid) = self.uuids.get(name) {
            return uuid.clone();
        }
        let uuid = self.invent();
        self.uuids.insert(name.to_owned(), uuid.clone());
        uuid
    }
}

struct Run<'a> {
    schema: &'a Schema,
    before: &'a Tables,
    rows: Tables,
    /// Tables and UUIDs of rows that this transaction deleted.
    deleted: BTreeSet<(String, String)>,
    held_locks: &'a [&'a str],
    names: SymbolTable,
    departs: bool,
}

impl Run<'_> {
    fn failed(&self, answers: Vec<Answer>) -> Outcome {
        Outcome {
            answers,
            after: self.before.clone(),
            departs: self.departs,
            guessed: self.names.guessed,
        }
    }

    fn operation(&mut self, json: &Value, given: Option<String>) -> Result<Answer, Refusal> {
        let members = json.as_object().ok_or(SYNTAX)?;
        let op = members.get("op").and_then(Value::as_str).ok_or(SYNTAX)?;
        let known: &[&str] = match op {
            "insert" => &["table", "row", "uuid", "uuid-name"],
            "select" => &["table", "where", "columns"],
            "update" => &["table", "where", "row"],
            "mutate" => &["table", "where", "mutations"],
            "delete" => &["table", "where"],
            "wait" => &["timeout", "table", "where", "columns", "until", "rows"],
            "commit" => &["durable"],
            "abort" => &[],
            "comment" => &["comment"],
            "assert" => &["lock"],
            _ => return Err(SYNTAX),
        };
        let has_table = known.contains(&"table");
        let mut table = None;
        if has_table {
            let name = members.get("table").and_then(Value::as_str).ok_or(SYNTAX)?;
            if !is_id(name) {
                return Err(SYNTAX);
            }
            let of = self.schema.tables.get(name).ok_or(SYNTAX)?;
            table = Some((name.to_owned(), of.clone()));
        }
        if members
            .keys()
            .any(|name| name != "op" && !known.contains(&name.as_str()))
        {
            return Err(SYNTAX);
        }
        let Some((name, table)) = table else {
            return self.without_table(op, members);
        };
        match op {
            "insert" => self.insert(&name, &table, members, given),
            "select" => {
                let columns = columns(&table, members)?;
                let found = self.matching(&name, &table, members)?;
                let mut rows: Vec<Row> = found
                    .iter()
                    .map(|uuid| project(&self.rows[&name][uuid], uuid, &columns))
                    .collect();
                rows.sort();
                rows.dedup();
                Ok(Answer::Rows(rows))
            }
            "update" => self.update(&name, &table, members),
            "mutate" => self.mutate(&name, &table, members),
            "delete" => {
                let found = self.matching(&name, &table, members)?;
                for uuid in &found {
                    self.rows.get_mut(&name).unwrap().remove(uuid);
                    self.deleted.insert((name.clone(), uuid.clone()));
                }
                Ok(Answer::Count(found.len()))
            }
            _ => self.wait(&name, &table, members),
        }
    }

    fn without_table(&self, op: &str, members: &Map<String, Value>) -> Result<Answer, Refusal> {
        let text = |name: &str| members.get(name).and_then(Value::as_str).ok_or(SYNTAX);
        match op {
            "commit" => {
                members
                    .get("durable")
                    .and_then(Value::as_bool)
                    .ok_or(SYNTAX)?;
            }
            "abort" => return Err("aborted"),
            "comment" => {
                text("comment")?;
            }
            _ => {
                let lock = text("lock")?;
                if !is_id(lock) {
                    return Err(SYNTAX);
                }
                if !self.held_locks.contains(&lock) {
                    return Err("not owner");
                }
            }
        }
        Ok(Answer::Empty)
    }

    fn insert(
        &mut self,
        name: &str,
        table: &Table,
        members: &Map<String, Value>,
        given: Option<String>,
    ) -> Result<Answer, Refusal> {
        let row_json = members
            .get("row")
            .and_then(Value::as_object)
            .ok_or(SYNTAX)?;
        let text = |member: &str| match members.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(SYNTAX),
        };
        let (uuid, uuid_name) = (text("uuid")?, text("uuid-name")?);
        if uuid_name.is_some_and(|name| !is_id(name)) {
            return Err(SYNTAX);
        }
        let taken = |uuid: &str| {
            self.rows[name].contains_key(uuid)
                || self.before[name].contains_key(uuid)
                || self.deleted.contains(&(name.to_owned(), uuid.to_owned()))
        };
        if let Some(uuid) = uuid {
            if !value::is_uuid(uuid) {
                return Err(SYNTAX);
            }
            if taken(uuid) {
                return Err("duplicate uuid");
            }
        }
        if let Some(uuid_name) = uuid_name {
            if self.names.inserted.contains(uuid_name) {
                return Err("duplicate uuid-name");
            }
            if uuid.is_some() && self.names.used.contains(uuid_name) {
                // A name that was used before has a UUID of its own already; ovsdb-server lets
                // what was said before refer to nothing.
                self.departs = true;
                return Err("duplicate uuid-name");
            }
            self.names.inserted.insert(uuid_name.to_owned());
        }
        let uuid = match (uuid, given, uuid_name) {
            (Some(uuid), ..) => uuid.to_owned(),
            (None, Some(given), _) => {
                assert!(!taken(&given), "the server gave {given} twice");
                given
            }
            (None, None, Some(name)) => self.names.uuid(name),
            (None, None, None) => self.names.invent(),
        };
        if let Some(uuid_name) = uuid_name {
            self.names.uuids.insert(uuid_name.to_owned(), uuid.clone());
        }
        let mut row: Row = table
            .columns
            .iter()
            .map(|(name, column)| (name.clone(), default_datum(column)))
            .collect();
        row.extend(self.row(table, row_json)?);
        row.remove("_uuid");
        // A default has to keep to the constraints too.
        if row
            .iter()
            .any(|(name, datum)| !table.columns[name].allows(datum))
        {
            return Err(CONSTRAINT);
        }
        self.rows.get_mut(name).unwrap().insert(uuid.clone(), row);
        Ok(Answer::Uuid(uuid))
    }

    fn update(
        &mut self,
        name: &str,
        table: &Table,
        members: &Map<String, Value>,
    ) -> Result<Answer, Refusal> {
        let row_json = members
            .get("row")
            .and_then(Value::as_object)
            .ok_or(SYNTAX)?;
        if !members.get("where").is_some_and(Value::is_array) {
            return Err(SYNTAX);
        }
        let row = self.row(table, row_json)?;
        if row.keys().any(|name| !table.column(name).unwrap().mutable) {
            return Err(CONSTRAINT);
        }
        let found = self.matching(name, table, members)?;
        for uuid in &found {
            let old = self.rows.get_mut(name).unwrap().get_mut(uuid).unwrap();
            old.extend(row.clone());
        }
        Ok(Answer::Count(found.len()))
    }

    fn mutate(
        &mut self,
        name: &str,
        table: &Table,
        members: &Map<String, Value>,
    ) -> Result<Answer, Refusal> {
        let mutations = members
            .get("mutations")
            .and_then(Value::as_array)
            .ok_or(SYNTAX)?;
        if !members.get("where").is_some_and(Value::is_array) {
            return Err(SYNTAX);
        }
        let mut parsed = Vec::new();
        for mutation in mutations {
            parsed.push(clause::parse_mutation(table, mutation, &mut self.names)?);
        }
        let found = self.matching(name, table, members)?;
        for uuid in &found {
            let row = self.rows.get_mut(name).unwrap().get_mut(uuid).unwrap();
            for (column, mutator, argument) in &parsed {
                let new = clause::mutated(&table.columns[column], &row[column], mutator, argument)?;
                row.insert(column.clone(), new);
            }
        }
        Ok(Answer::Count(found.len()))
    }

    fn wait(
        &mut self,
        name: &str,
        table: &Table,
        members: &Map<String, Value>,
    ) -> Result<Answer, Refusal> {
        let until = members.get("until").and_then(Value::as_str).ok_or(SYNTAX)?;
        let rows = members
            .get("rows")
            .and_then(Value::as_array)
            .ok_or(SYNTAX)?;
        match members.get("timeout") {
            None => {}
            Some(timeout) if integer(timeout).is_some_and(|ms| ms >= 0) => {}
            Some(_) => return Err(SYNTAX),
        }
        let columns = columns(table, members)?;
        let found = self.matching(name, table, members)?;
        if until != "==" && until != "!=" {
            return Err(SYNTAX);
        }
        let mut expected = BTreeSet::new();
        for json in rows {
            let mut row: Row = table
                .columns
                .iter()
                .map(|(name, column)| (name.clone(), default_datum(column)))
                .collect();
            row.extend(self.row(table, json.as_object().ok_or(SYNTAX)?)?);
            let uuid = row.remove("_uuid");
            let mut row = project(&row, "", &columns);
            if let (Some(uuid), true) = (uuid, columns.contains("_uuid")) {
                row.insert("_uuid".to_owned(), uuid);
            }
            expected.insert(row);
        }
        let actual: BTreeSet<Row> = found
            .iter()
            .map(|uuid| project(&self.rows[name][uuid], uuid, &columns))
            .collect();
        if (expected == actual) == (until == "==") {
            Ok(Answer::Empty)
        } else {
            Err("timed out")
        }
    }

    /// `<row>`.
    fn row(&mut self, table: &Table, json: &Map<String, Value>) -> Result<Row, Refusal> {
        let mut row = Row::new();
        for (name, value) in json {
            let column = table.column(name).ok_or("unknown column")?;
            let range = (column.min, column.max);
            row.insert(name.clone(), datum(value, &column, range, &mut self.names)?);
        }
        Ok(row)
    }

    /// The UUIDs of the rows for which all clauses of `where` hold.
    fn matching(
        &mut self,
        name: &str,
        table: &Table,
        members: &Map<String, Value>,
    ) -> Result<Vec<String>, Refusal> {
        let mut clauses = Vec::new();
        for json in members
            .get("where")
            .and_then(Value::as_array)
            .ok_or(SYNTAX)?
        {
            clauses.push(parse_clause(table, json, &mut self.names)?);
        }
        let found = self.rows[name]
            .iter()
            .filter(|(uuid, row)| clauses.iter().all(|clause| clause_holds(clause, row, uuid)))
            .map(|(uuid, _)| uuid.clone())
            .collect();
        Ok(found)
    }
}

/// The columns that an operation names, or all.
fn columns(table: &Table, members: &Map<String, Value>) -> Result<BTreeSet<String>, Refusal> {
    let Some(json) = members.get("columns") else {
        let own = table.columns.keys().cloned();
        return Ok(own.chain(["_uuid".to_owned()]).collect());
    };
    let mut columns = BTreeSet::new();
    for name in json.as_array().ok_or(SYNTAX)? {
        let name = name.as_str().ok_or(SYNTAX)?;
        if table.column(name).is_none() || !columns.insert(name.to_owned()) {
            return Err(SYNTAX);
        }
    }
    Ok(columns)
}

/// Of a row the columns asked for, `_uuid` too.
pub fn project(row: &Row, uuid: &str, columns: &BTreeSet<String>) -> Row {
    let mut out: Row = row
        .iter()
        .filter(|(name, _)| columns.contains(*name))
        .map(|(name, datum)| (name.clone(), datum.clone()))
        .collect();
    if columns.contains("_uuid") {
        let atom = value::Atom::Uuid(uuid.to_owned());
        out.insert("_uuid".to_owned(), Datum::from([(atom, None)]));
    }
    out
}
