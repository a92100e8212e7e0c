//! The table of operations: each transaction in `data/operations.txt` with what ovsdb-server 3.1
//! answered to it, over the databases `Open_vSwitch` and `refs`.
//!
//! A line is a transaction, the indented line below it the answer. UUIDs in answers are numbered
//! by their first appearance, and rows are sorted.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use db_server::database::Database;
use db_server::txn::{self, Context, Outcome, Source};
use ovsdb::error::sorted_json;
use ovsdb::operation::{OperationText, Transact};
use ovsdb::value::parse_uuid;
use ovsdb::{DatabaseSchema, Uuid};
use serde_json::{Value, json};

#[derive(Default)]
struct Numbers {
    seen: HashMap<String, usize>,
}

impl Numbers {
    /// `text` with its UUIDs numbered, small fixed ones apart.
    fn normalize(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            let uuid = rest.get(..36).filter(|head| parse_uuid(head).is_some());
            match uuid {
                Some(uuid) if !uuid.starts_with("00000000-0000-0000-0000") => {
                    let next = self.seen.len();
                    let number = *self.seen.entry(uuid.to_owned()).or_insert(next);
                    out.push_str(&format!("<{number}>"));
                    rest = &rest[36..];
                }
                _ => {
                    let c = rest.chars().next().unwrap();
                    out.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        out
    }
}

/// Rows come in no particular order: sorts them by what they hold besides UUIDs.
fn sort_rows(results: &mut [Value]) {
    for rows in results
        .iter_mut()
        .filter_map(|result| result.get_mut("rows")?.as_array_mut())
    {
        rows.sort_by_key(|row| {
            let mut numbers = Numbers::default();
            let text = numbers.normalize(&sorted_json(row));
            (0..numbers.seen.len())
                .rev()
                .fold(text, |text, n| text.replace(&format!("<{n}>"), ""))
        });
    }
}

/// The operations as a server reads them from a plain request; `None` when it is not plain.
fn as_text(operations: &Value) -> Option<Vec<OperationText>> {
    let mut params = operations.clone();
    params.as_array_mut().unwrap().insert(0, "d".into());
    let request = json!({"id": 1, "method": "transact", "params": params}).to_string();
    Some(Transact::read(&request)?.operations)
}

fn execute<O: Source + Debug>(db: &mut Database, operations: &[O]) -> Value {
    let mut context = Context {
        holds_lock: &|_| false,
        new_uuid: &mut Uuid::new_v4,
        elapsed: Duration::ZERO,
        access: Default::default(),
    };
    let mut outcome = txn::execute(db, operations, &mut context);
    if let Outcome::Wait { until: Some(until) } = outcome {
        context.elapsed = until;
        outcome = txn::execute(db, operations, &mut context);
    }
    match outcome {
        Outcome::Done { results, .. } => {
            let mut results = results.to_json();
            sort_rows(&mut results);
            Value::Array(results)
        }
        Outcome::Wait { .. } => panic!("waits without end: {operations:?}"),
    }
}

/// Of two rows that collide in an index, ovsdb-server names first the one that its hash table
/// has first: what is said of them is left out.
fn comparable(answer: &str) -> String {
    match answer.find("First row, with UUID") {
        Some(at) => answer.get(..at).unwrap_or_default().to_owned(),
        None => answer.to_owned(),
    }
}

#[test]
fn answers_as_ovsdb_server() {
    compare(|db, operations| execute(db, operations.as_array().unwrap()));
}

#[test]
fn answers_the_same_to_text() {
    let mut plain = 0;
    compare(|db, operations| match as_text(operations) {
        Some(texts) => {
            plain += 1;
            execute(db, &texts)
        }
        None => execute(db, operations.as_array().unwrap()),
    });
    assert!(plain > 100, "{plain}");
}

fn compare(mut execute: impl FnMut(&mut Database, &Value) -> Value) {
    let database = |schema: &str| {
        let json: Value = serde_json::from_str(schema).unwrap();
        Database::new(DatabaseSchema::from_json(&json).unwrap())
    };
    let mut databases = HashMap::from([
        (
            "Open_vSwitch",
            database(include_str!("../schema/vswitch.ovsschema")),
        ),
        ("refs", database(include_str!("data/refs.ovsschema"))),
    ]);
    let mut numbers = Numbers::default();
    let mut lines = include_str!("data/operations.txt").lines();
    let mut wrong = Vec::new();
    let mut count = 0;
    while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
        let case: Value = serde_json::from_str(line).unwrap();
        let expected: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        let db = databases.get_mut(case["db"].as_str().unwrap()).unwrap();
        let got = execute(db, &case["transact"]);
        let got = numbers.normalize(&sorted_json(&got));
        if comparable(&got) != comparable(&sorted_json(&expected)) {
            wrong.push(format!(
                "{line}\n  want {}\n  got  {got}",
                sorted_json(&expected)
            ));
        }
        db.check_derived()
            .map_err(|error| format!("{line}: {error}"))
            .unwrap();
        count += 1;
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    println!("{count} transactions");
    assert!(count > 150);
}
