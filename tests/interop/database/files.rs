//! A file of the stock server, with a column of every type, to our server and back.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::server::{Kind, Server, ready};

/// Every atomic type alone, optional, as a set, and as key and value of a map; constraints; strong
/// and weak references.
fn schema() -> Value {
    let mut columns = serde_json::Map::new();
    for kind in ["integer", "real", "boolean", "string", "uuid"] {
        columns.insert(format!("one_{kind}"), json!({"type": kind}));
        columns.insert(
            format!("maybe_{kind}"),
            json!({"type": {"key": kind, "min": 0}}),
        );
        columns.insert(
            format!("set_{kind}"),
            json!({"type": {"key": kind, "min": 0, "max": "unlimited"}}),
        );
        for value in ["integer", "real", "boolean", "string", "uuid"] {
            columns.insert(
                format!("map_{kind}_{value}"),
                json!({"type": {"key": kind, "value": value, "min": 0, "max": "unlimited"}}),
            );
        }
    }
    columns.insert("pair".into(), json!({"type": {"key": "integer", "max": 2}}));
    columns.insert(
        "choice".into(),
        json!({"type": {"key": {"type": "string", "enum": ["set", ["a", "b"]]}, "min": 0}}),
    );
    columns.insert(
        "ranged".into(),
        json!({"type": {"key": {"type": "integer", "minInteger": -5, "maxInteger": 5}}}),
    );
    columns.insert(
        "short".into(),
        json!({"type": {"key": {"type": "string", "maxLength": 3}}}),
    );
    columns.insert("fixed".into(), json!({"type": "string", "mutable": false}));
    columns.insert(
        "passing".into(),
        json!({"type": "string", "ephemeral": true}),
    );
    for (name, kind) in [("strong", "strong"), ("weak", "weak")] {
        let key = json!({"type": "uuid", "refTable": "Leaf", "refType": kind});
        columns.insert(
            name.into(),
            json!({"type": {"key": key, "min": 0, "max": "unlimited"}}),
        );
    }
    json!({
        "name": "Every",
        "version": "1.2.3",
        "tables": {
            "All": {"columns": columns, "isRoot": true, "indexes": [["fixed"]]},
            "Leaf": {"columns": {"n": {"type": "integer"}}},
        },
    })
}

/// An atom of `kind`, another for each `n`.
fn atom(kind: &str, n: i64) -> Value {
    match kind {
        "integer" if n % 2 == 0 => json!(i64::MIN + n),
        "integer" => json!(i64::MAX - n),
        "real" => json!(n as f64 * 1.25e-7 - 0.1),
        "boolean" => json!(n % 2 == 1),
        "string" => json!(format!("\u{e9}\u{1F600}\"\\\n{n}")),
        _ => json!(["uuid", format!("00000000-1111-4222-8333-{n:012}")]),
    }
}

/// A row with something in every column; another for each `n`.
fn row(n: i64) -> Value {
    let mut row = serde_json::Map::new();
    for (name, column) in schema()["tables"]["All"]["columns"].as_object().unwrap() {
        let parts: Vec<&str> = name.split('_').collect();
        let value = match parts.as_slice() {
            ["one" | "maybe", kind] => atom(kind, n),
            ["set", kind] => json!(["set", [atom(kind, n), atom(kind, n + 1)]]),
            ["map", kind, value] => json!([
                "map",
                [
                    [atom(kind, n), atom(value, n)],
                    [atom(kind, n + 1), atom(value, n)],
                ]
            ]),
            ["pair"] => json!(["set", [n, n + 7]]),
            ["choice"] => json!("b"),
            ["ranged"] => json!(-(n % 6)),
            ["short"] => json!("\u{e9}\u{e9}\u{e9}"),
            ["fixed" | "passing"] => json!(format!("{n}")),
            ["strong" | "weak"] => json!(["set", [["named-uuid", "x"], ["named-uuid", "y"]]]),
            other => panic!("{other:?}: {column}"),
        };
        row.insert(name.clone(), value);
    }
    Value::Object(row)
}

fn transact(server: &Server, operations: &[Value]) -> Result<()> {
    let mut transaction = vec![json!("Every")];
    transaction.extend_from_slice(operations);
    let text = Value::Array(transaction).to_string();
    let answer = server.client(&["transact", "DB", &text])?;
    assert!(
        answer.ends_with("[Some(0)]") && !answer.contains("\"error\""),
        "{answer}\nto {text}"
    );
    Ok(())
}

/// Rows come, change by every kind of operation, and go.
fn change(server: &Server, n: i64) -> Result<()> {
    let leaf = |name: &str, n: i64| json!({"op": "insert", "table": "Leaf", "uuid-name": name, "row": {"n": n}});
    let all = |n: i64, without: &str| {
        let mut row = row(n);
        row[without] = json!(["set", []]);
        json!({"op": "insert", "table": "All", "row": row})
    };
    let rows = [all(n, "weak"), all(n + 1, "strong")];
    let leaves = [leaf("x", n), leaf("y", n + 1)];
    transact(server, &[leaves.as_slice(), &rows].concat())?;
    let here = json!([["fixed", "==", n.to_string()]]);
    let mutations: Vec<Value> = ["integer", "real", "string", "uuid"]
        .iter()
        .flat_map(|kind| {
            [
                json!([format!("set_{kind}"), "insert", atom(kind, n + 2)]),
                json!([format!("set_{kind}"), "delete", atom(kind, n)]),
                json!([format!("map_{kind}_string"), "delete", atom(kind, n)]),
                json!([
                    format!("map_{kind}_real"),
                    "insert",
                    ["map", [[atom(kind, n + 3), atom("real", n)]]]
                ]),
            ]
        })
        .collect();
    let mut values = serde_json::Map::new();
    for kind in ["integer", "real", "boolean", "string", "uuid"] {
        values.insert(format!("one_{kind}"), atom(kind, n + 4));
        values.insert(format!("maybe_{kind}"), json!(["set", []]));
        values.insert(format!("map_boolean_{kind}"), json!(["map", []]));
    }
    transact(
        server,
        &[
            json!({"op": "mutate", "table": "All", "where": here, "mutations": mutations}),
            json!({"op": "update", "table": "All", "where": here, "row": values}),
        ],
    )?;
    // A leaf that only a weak reference is left of goes, and the weak reference in another row
    // with it. (In the same row the stock server leaves it dangling.)
    transact(
        server,
        &[json!({"op": "update", "table": "All", "where": here, "row": {"strong": ["set", []]}})],
    )?;
    transact(
        server,
        &[json!({"op": "delete", "table": "All",
            "where": [["fixed", "==", (n - 3).to_string()]]})],
    )
}

fn dump(server: &Server) -> Result<String> {
    let text = server.client(&["--format=json", "dump", "DB", "Every"])?;
    assert!(text.contains("map_uuid_uuid"), "{text}");
    Ok(text)
}

/// Every cell by its table, row and column, but for the one column that no file has.
fn lasting(dump: &str) -> Result<BTreeMap<String, Value>> {
    let mut cells = BTreeMap::new();
    for line in dump.lines() {
        let Ok(table) = serde_json::from_str::<Value>(line.trim_end_matches("[Some(0)]")) else {
            continue;
        };
        let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
        for row in array(&table["data"]) {
            let uuid = &row[0][1];
            for (heading, cell) in array(&table["headings"]).iter().zip(array(&row)) {
                if heading != "passing" {
                    cells.insert(format!("{}.{uuid}.{heading}", table["caption"]), cell);
                }
            }
        }
    }
    assert!(cells.len() > 50, "{dump}");
    Ok(cells)
}

/// The cells that differ.
fn compare(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<String> {
    before
        .keys()
        .chain(after.keys())
        .filter(|cell| before.get(*cell) != after.get(*cell))
        .map(|cell| format!("{cell}: {:?} {:?}", before.get(cell), after.get(cell)))
        .collect()
}

#[test]
fn file_with_every_type_goes_to_us_and_back() -> Result<()> {
    if !ready("file_with_every_type_goes_to_us_and_back") {
        return Ok(());
    }
    let schema_file = tempfile::NamedTempFile::new()?;
    std::fs::write(schema_file.path(), schema().to_string())?;
    let mut server = Server::with_schema(Kind::Stock, schema_file.path())?;
    server.restart()?;
    change(&server, 1)?;
    for (kind, n) in [
        (Kind::Ours, 4),
        (Kind::Stock, 7),
        (Kind::Ours, 10),
        (Kind::Stock, 13),
    ] {
        let before = lasting(&dump(&server)?)?;
        server.change_kind(kind)?;
        let opened = lasting(&dump(&server)?)?;
        assert_eq!(compare(&before, &opened), [""; 0], "opened by {kind:?}");
        change(&server, n)?;
        assert_ne!(lasting(&dump(&server)?)?, before);
    }
    Ok(())
}
