//! Random transactions against a slow, obvious model of the rules: references, collection of
//! unreferenced rows, weak references, indexes, row limits.
//!
//! The model knows rows as plain maps and after each transaction looks at all of them. What it
//! says must be what the database does; and taking back a transaction, or going through its
//! record, must lead to the rows that were there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use db_server::database::{Database, Delta};
use db_server::record::{self, Rows};
use db_server::txn::{self, Context, Outcome};
use ovsdb::{DatabaseSchema, Uuid};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// Tables of `refs.ovsschema` with their reference columns: name, key target, value target; a
/// target is a table and whether the reference is strong.
struct TableRules {
    name: &'static str,
    is_root: bool,
    refs: &'static [RefColumn],
}

struct RefColumn {
    name: &'static str,
    key: Option<(usize, bool)>,
    value: Option<(usize, bool)>,
    min: usize,
    max: usize,
}

const ROOT: usize = 0;
const A: usize = 2;
const B: usize = 3;

const fn set(name: &'static str, target: (usize, bool), min: usize, max: usize) -> RefColumn {
    RefColumn {
        name,
        key: Some(target),
        value: None,
        min,
        max,
    }
}

const TABLES: [TableRules; 5] = [
    TableRules {
        name: "root",
        is_root: true,
        refs: &[
            set("s", (A, true), 0, 9),
            set("w", (A, false), 0, 9),
            RefColumn {
                name: "mv",
                key: None,
                value: Some((A, false)),
                min: 0,
                max: 9,
            },
            RefColumn {
                name: "mk",
                key: Some((A, false)),
                value: Some((B, true)),
                min: 0,
                max: 9,
            },
        ],
    },
    TableRules {
        name: "root2",
        is_root: true,
        refs: &[set("s", (A, true), 0, 1), set("w", (ROOT, false), 0, 1)],
    },
    TableRules {
        name: "a",
        is_root: false,
        refs: &[set("self", (A, true), 0, 1), set("b", (B, true), 0, 9)],
    },
    TableRules {
        name: "b",
        is_root: false,
        refs: &[set("back", (A, true), 0, 9), set("wb", (B, false), 0, 9)],
    },
    TableRules {
        name: "need",
        is_root: true,
        refs: &[set("w1", (A, false), 1, 2)],
    },
];

/// Elements of a reference column: of a set the key alone, of a map both. A key that is no
/// reference is a letter.
type Elements = BTreeMap<u8, u8>;

#[derive(Debug, Clone, Default, PartialEq)]
struct ModelRow {
    name: u8,
    refs: BTreeMap<usize, Elements>,
}

/// Table and row.
type Id = (usize, u8);

type Model = BTreeMap<Id, ModelRow>;

#[derive(Debug, Clone)]
enum Op {
    Insert {
        table: usize,
        row: u8,
        name: u8,
        column: usize,
        elements: Elements,
    },
    Update {
        table: usize,
        row: u8,
        column: usize,
        elements: Elements,
    },
    Rename {
        table: usize,
        row: u8,
        name: u8,
    },
    Add {
        table: usize,
        row: u8,
        column: usize,
        elements: Elements,
    },
    Remove {
        table: usize,
        row: u8,
        column: usize,
        elements: Elements,
    },
    Delete {
        table: usize,
        row: u8,
    },
}

fn uuid(table: usize, row: u8) -> Uuid {
    Uuid::from_u128(0x1000 + (table as u128) * 0x100 + u128::from(row))
}

fn uuid_json(table: usize, row: u8) -> Value {
    json!(["uuid", uuid(table, row).hyphenated().to_string()])
}

fn column(table: usize, column: usize) -> &'static RefColumn {
    &TABLES[table].refs[column % TABLES[table].refs.len()]
}

fn elements_json(column: &RefColumn, elements: &Elements) -> Value {
    let key = |key: u8| match column.key {
        Some((table, _)) => uuid_json(table, key),
        None => json!(format!("k{key}")),
    };
    match column.value {
        Some((table, _)) => {
            let entries: Vec<Value> = elements
                .iter()
                .map(|(k, v)| json!([key(*k), uuid_json(table, *v)]))
                .collect();
            json!(["map", entries])
        }
        None => json!(["set", elements.keys().map(|k| key(*k)).collect::<Vec<_>>()]),
    }
}

fn op_json(op: &Op) -> Value {
    let row_is = |table: usize, row: u8| json!([["_uuid", "==", uuid_json(table, row)]]);
    match op {
        Op::Insert {
            table,
            row,
            name,
            column: c,
            elements,
        } => {
            let column = column(*table, *c);
            json!({"op": "insert", "table": TABLES[*table].name,
                "uuid": uuid(*table, *row).hyphenated().to_string(),
                "row": {"name": format!("n{name}"), column.name: elements_json(column, elements)}})
        }
        Op::Update {
            table,
            row,
            column: c,
            elements,
        } => {
            let column = column(*table, *c);
            json!({"op": "update", "table": TABLES[*table].name, "where": row_is(*table, *row),
                "row": {column.name: elements_json(column, elements)}})
        }
        Op::Rename { table, row, name } => json!({"op": "update", "table": TABLES[*table].name,
            "where": row_is(*table, *row), "row": {"name": format!("n{name}")}}),
        Op::Add {
            table,
            row,
            column: c,
            elements,
        }
        | Op::Remove {
            table,
            row,
            column: c,
            elements,
        } => {
            let column = column(*table, *c);
            let mutator = if matches!(op, Op::Add { .. }) {
                "insert"
            } else {
                "delete"
            };
            json!({"op": "mutate", "table": TABLES[*table].name, "where": row_is(*table, *row),
                "mutations": [[column.name, mutator, elements_json(column, elements)]]})
        }
        Op::Delete { table, row } => {
            json!({"op": "delete", "table": TABLES[*table].name, "where": row_is(*table, *row)})
        }
    }
}

/// What the model makes of a transaction: the rows after it, or the kind of error.
fn model_transact(before: &Model, ops: &[Op]) -> Result<Model, &'static str> {
    let mut model = before.clone();
    let mut touched: BTreeSet<(usize, u8)> = BTreeSet::new();
    for op in ops {
        match op {
            Op::Insert {
                table,
                row,
                name,
                column: c,
                elements,
            } => {
                let rules = column(*table, *c);
                if !(rules.min..=rules.max).contains(&elements.len()) {
                    return Err("syntax error");
                }
                if model.contains_key(&(*table, *row)) || touched.contains(&(*table, *row)) {
                    return Err("duplicate uuid");
                }
                let mut new = ModelRow {
                    name: *name,
                    refs: BTreeMap::new(),
                };
                new.refs
                    .insert(c % TABLES[*table].refs.len(), elements.clone());
                model.insert((*table, *row), new);
                touched.insert((*table, *row));
            }
            Op::Update {
                table,
                row,
                column: c,
                elements,
            } => {
                let rules = column(*table, *c);
                if !(rules.min..=rules.max).contains(&elements.len()) {
                    return Err("syntax error");
                }
                if let Some(found) = model.get_mut(&(*table, *row)) {
                    found
                        .refs
                        .insert(c % TABLES[*table].refs.len(), elements.clone());
                }
            }
            Op::Rename { table, row, name } => {
                if TABLES[*table].name == "b" {
                    return Err("constraint violation");
                }
                if let Some(found) = model.get_mut(&(*table, *row)) {
                    found.name = *name;
                }
            }
            Op::Add {
                table,
                row,
                column: c,
                elements,
            } => {
                let rules = column(*table, *c);
                // No more than the column can hold may even be said.
                if elements.len() > rules.max {
                    return Err("syntax error");
                }
                if let Some(found) = model.get_mut(&(*table, *row)) {
                    let there = found.refs.entry(c % TABLES[*table].refs.len()).or_default();
                    for (key, value) in elements {
                        there.entry(*key).or_insert(*value);
                    }
                    if !(rules.min..=rules.max).contains(&there.len()) {
                        return Err("constraint violation");
                    }
                }
            }
            Op::Remove {
                table,
                row,
                column: c,
                elements,
            } => {
                let rules = column(*table, *c);
                if let Some(found) = model.get_mut(&(*table, *row)) {
                    let there = found.refs.entry(c % TABLES[*table].refs.len()).or_default();
                    for (key, value) in elements {
                        if rules.value.is_none() || there.get(key) == Some(value) {
                            there.remove(key);
                        }
                    }
                    if !(rules.min..=rules.max).contains(&there.len()) {
                        return Err("constraint violation");
                    }
                }
            }
            Op::Delete { table, row } => {
                if model.remove(&(*table, *row)).is_some() {
                    touched.insert((*table, *row));
                }
            }
        }
    }
    // Strong references have targets.
    for (_, target, strong) in references(&model) {
        if strong && !model.contains_key(&target) {
            return Err("referential integrity violation");
        }
    }
    loop {
        let size = (
            model.len(),
            model
                .values()
                .map(|row| row.refs.values().map(Elements::len).sum::<usize>())
                .sum::<usize>(),
        );
        collect(&mut model);
        drop_weak(&mut model)?;
        let now = (
            model.len(),
            model
                .values()
                .map(|row| row.refs.values().map(Elements::len).sum::<usize>())
                .sum::<usize>(),
        );
        if size == now {
            break;
        }
    }
    if model
        .keys()
        .filter(|(table, _)| TABLES[*table].name == "root2")
        .count()
        > 2
    {
        return Err("constraint violation");
    }
    for table in [1usize, 2] {
        let mut names = BTreeSet::new();
        for ((_, _), row) in model.iter().filter(|((of, _), _)| *of == table) {
            // root2 has a second index on columns that never change here: one row at most.
            if !names.insert(if table == 1 { 0 } else { row.name }) {
                return Err("constraint violation");
            }
        }
    }
    Ok(model)
}

/// Every reference: from which row, to which, whether strong.
fn references(model: &Model) -> Vec<(Id, Id, bool)> {
    let mut all = Vec::new();
    for ((table, row), contents) in model {
        for (column, elements) in &contents.refs {
            let rules = &TABLES[*table].refs[*column];
            for (key, value) in elements {
                if let Some((target, strong)) = rules.key {
                    all.push(((*table, *row), (target, *key), strong));
                }
                if let Some((target, strong)) = rules.value {
                    all.push(((*table, *row), (target, *value), strong));
                }
            }
        }
    }
    all
}

fn collect(model: &mut Model) {
    loop {
        let kept: BTreeSet<(usize, u8)> = references(model)
            .into_iter()
            .filter(|(from, to, strong)| *strong && from != to)
            .map(|(_, to, _)| to)
            .collect();
        let before = model.len();
        model.retain(|id, _| TABLES[id.0].is_root || kept.contains(id));
        if model.len() == before {
            return;
        }
    }
}

fn drop_weak(model: &mut Model) -> Result<(), &'static str> {
    let there: BTreeSet<(usize, u8)> = model.keys().copied().collect();
    for ((table, _), row) in model {
        for (index, rules) in TABLES[*table].refs.iter().enumerate() {
            let elements = row.refs.entry(index).or_default();
            elements.retain(|key, value| {
                let dangles = |target: Option<(usize, bool)>, to: u8| {
                    target.is_some_and(|(table, strong)| !strong && !there.contains(&(table, to)))
                };
                !dangles(rules.key, *key) && !dangles(rules.value, *value)
            });
            if elements.len() < rules.min {
                return Err("constraint violation");
            }
            if elements.is_empty() {
                row.refs.remove(&index);
            }
        }
    }
    Ok(())
}

/// The database's rows as JSON without versions.
fn contents(db: &Database) -> BTreeMap<String, Value> {
    let mut rows = BTreeMap::new();
    for table in db.tables() {
        for (uuid, row) in table.rows() {
            let mut columns = serde_json::Map::new();
            for (id, column) in table.columns.iter().enumerate() {
                if column.name != "_version" && !row.get(id).is_default(&column.schema.column_type)
                {
                    columns.insert(
                        column.name.clone(),
                        row.get(id).to_json(&column.schema.column_type),
                    );
                }
            }
            rows.insert(format!("{}/{uuid}", table.name), Value::Object(columns));
        }
    }
    rows
}

/// The model's rows in the same form.
fn model_contents(model: &Model) -> BTreeMap<String, Value> {
    model
        .iter()
        .map(|((table, row), contents)| {
            let mut columns = serde_json::Map::new();
            columns.insert("_uuid".into(), uuid_json(*table, *row));
            columns.insert("name".into(), json!(format!("n{}", contents.name)));
            for (index, elements) in &contents.refs {
                let rules = &TABLES[*table].refs[*index];
                let mut value = elements_json(rules, elements);
                if let ("set", Some([only])) = (
                    value[0].as_str().unwrap(),
                    value[1].as_array().map(Vec::as_slice),
                ) {
                    value = only.clone();
                }
                if !elements.is_empty() {
                    columns.insert(rules.name.into(), value);
                }
            }
            (
                format!("{}/{}", TABLES[*table].name, uuid(*table, *row)),
                Value::Object(columns),
            )
        })
        .collect()
}

fn op() -> impl Strategy<Value = Op> {
    let place = || (0usize..5, 0u8..4);
    let elements = || prop::collection::btree_map(0u8..4, 0u8..4, 0..3);
    prop_oneof![
        4 => (place(), 0u8..4, 0usize..4, elements()).prop_map(
            |((table, row), name, column, elements)| Op::Insert { table, row, name, column, elements }
        ),
        2 => (place(), 0usize..4, elements()).prop_map(
            |((table, row), column, elements)| Op::Update { table, row, column, elements }
        ),
        1 => (place(), 0u8..4).prop_map(|((table, row), name)| Op::Rename { table, row, name }),
        2 => (place(), 0usize..4, elements()).prop_map(
            |((table, row), column, elements)| Op::Add { table, row, column, elements }
        ),
        2 => (place(), 0usize..4, elements()).prop_map(
            |((table, row), column, elements)| Op::Remove { table, row, column, elements }
        ),
        1 => place().prop_map(|(table, row)| Op::Delete { table, row }),
    ]
}

fn database() -> Database {
    let json: Value = serde_json::from_str(include_str!("data/refs.ovsschema")).unwrap();
    Database::new(DatabaseSchema::from_json(&json).unwrap())
}

fn execute(db: &mut Database, ops: &[Op]) -> Result<Delta, String> {
    let operations: Vec<Value> = ops.iter().map(op_json).collect();
    let mut context = Context {
        holds_lock: &|_| false,
        new_uuid: &mut Uuid::new_v4,
        elapsed: Duration::ZERO,
        access: Default::default(),
    };
    match txn::execute(db, &operations, &mut context) {
        Outcome::Done {
            committed: Some(committed),
            ..
        } => Ok(committed.delta),
        Outcome::Done {
            results,
            committed: None,
        } => {
            match results
                .iter()
                .find_map(|result| result.get("error")?.as_str())
            {
                Some(error) => Err(error.to_owned()),
                None => Ok(Delta::default()),
            }
        }
        Outcome::Wait { .. } => unreachable!("nothing waits here"),
    }
}

/// How many transactions committed and how many were refused.
static COMMITTED: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn agrees_with_the_model() {
    let config = ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let transactions = prop::collection::vec(prop::collection::vec(op(), 1..7), 1..12);
    let result = TestRunner::new(config).run(&transactions, |transactions| run(&transactions));
    let (committed, refused) = (COMMITTED.load(Relaxed), REFUSED.load(Relaxed));
    println!("{committed} transactions committed, {refused} refused");
    result.unwrap();
    assert!(committed > 1000 && refused > 1000);
}

fn run(transactions: &[Vec<Op>]) -> Result<(), TestCaseError> {
    let mut db = database();
    let mut model = Model::new();
    let mut rows = Rows::new();
    let codec = database();
    for ops in transactions {
        let before = contents(&db);
        let expected = model_transact(&model, ops);
        match (execute(&mut db, ops), expected) {
            (Ok(delta), Ok(after)) => {
                COMMITTED.fetch_add(1, Relaxed);
                model = after;
                prop_assert_eq!(contents(&db), model_contents(&model));
                // Back and forth again.
                let after = contents(&db);
                db.revert(&delta);
                prop_assert_eq!(contents(&db), before);
                db.check_derived().map_err(TestCaseError::fail)?;
                if execute(&mut db, ops).is_err() {
                    return Err(TestCaseError::fail("does not work twice"));
                }
                prop_assert_eq!(contents(&db), after);
                for diff in [true, false] {
                    let mut copy = rows.clone();
                    if let Some(record) = record::encode(&db, &delta, None, 0, diff) {
                        let record = serde_json::from_slice(&record).unwrap();
                        record::apply(&codec, &mut copy, &record)
                            .map_err(|error| TestCaseError::fail(error.to_string()))?;
                    }
                    let mut reread = database();
                    txn::adopt(&mut reread, copy.clone(), &mut Uuid::new_v4)
                        .map_err(|error| TestCaseError::fail(error.to_string()))?;
                    prop_assert_eq!(contents(&reread), contents(&db));
                    if !diff {
                        rows = copy;
                    }
                }
            }
            (Err(error), Err(expected)) => {
                REFUSED.fetch_add(1, Relaxed);
                // A transaction may break several rules; which one is told is not ruled.
                let kinds = ["constraint violation", "referential integrity violation"];
                prop_assert!(
                    error == expected
                        || (kinds.contains(&error.as_str()) && kinds.contains(&expected)),
                    "{} for {}",
                    error,
                    expected
                );
                prop_assert_eq!(contents(&db), before);
            }
            (got, expected) => {
                return Err(TestCaseError::fail(format!(
                    "{ops:?}\n got {got:?}\n expected {expected:?}"
                )));
            }
        }
        db.check_derived().map_err(TestCaseError::fail)?;
    }
    Ok(())
}
