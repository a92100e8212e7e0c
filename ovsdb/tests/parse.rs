//! Schemas, conditions, mutations and operations: both ways, and what is refused.

use ovsdb::value::{NoNames, UuidNames};
use ovsdb::{
    Clause, DatabaseSchema, Datum, ErrorKind, Function, Mutation, Mutator, Operation, Uuid,
    condition,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema() -> DatabaseSchema {
    let json = json!({"name": "d", "version": "1.2.3", "cksum": "1 2", "tables": {
        "T": {"isRoot": true, "maxRows": 5, "indexes": [["i"], ["i", "s"]], "columns": {
            "i": {"type": "integer"},
            "r": {"type": {"key": {"type": "real", "minReal": 0.5}}},
            "s": {"type": {"key": {"type": "string", "minLength": 1, "maxLength": 9}}},
            "oi": {"type": {"key": {"type": "integer", "maxInteger": 99}, "min": 0}},
            "si": {"type": {"key": "integer", "min": 0, "max": 3}},
            "e": {"type": {"key": {"type": "string", "enum": ["set", ["a", "b"]]}, "min": 0}},
            "m": {"type": {"key": "string", "value": "integer", "min": 0, "max": "unlimited"}},
            "f": {"type": "boolean", "mutable": false},
            "x": {"type": "string", "ephemeral": true},
            "t": {"type": {"key": {"type": "uuid", "refTable": "U", "refType": "weak"},
                "min": 0, "max": "unlimited"}},
            "u": {"type": {"key": {"type": "uuid", "refTable": "U"}, "min": 0}}}},
        "U": {"columns": {"n": {"type": "string"}}}}});
    DatabaseSchema::from_json(&json).unwrap()
}

#[test]
fn schema_round_trip() {
    let schema = schema();
    assert_eq!(
        DatabaseSchema::from_json(&schema.to_json()).unwrap(),
        schema
    );
    assert_eq!(schema.table("T").unwrap().name, "T");
    assert!(schema.column("T", "_uuid").is_some() && schema.column("T", "nope").is_none());
}

#[test]
fn schema_errors_name_table_and_column() {
    let with = |table: Value| json!({"name": "d", "tables": {"T": table}});
    let column = |column: Value| with(json!({"columns": {"c": column}}));
    for (json, expected) in [
        (json!([]), "Object expected"),
        (json!({"tables": {}}), "Required 'name' member is missing"),
        (json!({"name": "d"}), "Required 'tables' member is missing"),
        (
            json!({"name": "d", "tables": {}, "x": 1}),
            "Member 'x' is present but not allowed",
        ),
        (
            json!({"name": "d", "version": "1.2", "tables": {}}),
            "not in format x.y.z",
        ),
        (
            json!({"name": "d", "tables": {"_T": {"columns": {}}}}),
            "\"_T\" is not a valid name",
        ),
        (
            with(json!({"columns": {}})),
            "table T: table must have at least one column",
        ),
        (
            column(json!({})),
            "table T: column c: Parsing schema for column failed: Required 'type'",
        ),
        (
            column(json!({"type": "int"})),
            "table T: column c: \"int\" is not the name",
        ),
        (
            column(json!({"type": {"key": "integer", "min": 2}})),
            "column c: ovsdb type fails",
        ),
        (
            column(json!({"type": {"key": "integer", "max": 0}})),
            "column c: ovsdb type fails",
        ),
        (
            column(json!({"type": {"key": {"type": "integer", "minInteger": 5, "maxInteger": 1}}})),
            "minInteger exceeds maxInteger",
        ),
        (
            column(json!({"type": {"key": {"type": "uuid", "refTable": "X"}}})),
            "table T: column c key refers to undefined table X",
        ),
        (
            with(json!({"columns": {"c": {"type": "integer"}}, "indexes": [["d"]]})),
            "d is not a valid column name",
        ),
        (
            with(
                json!({"columns": {"c": {"type": "integer", "ephemeral": true}},
                "indexes": [["c"]]}),
            ),
            "ephemeral columns (such as c) may not be indexed",
        ),
    ] {
        let error = DatabaseSchema::from_json(&json).unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn conditions() {
    let schema = schema();
    let table = schema.table("T").unwrap();
    let set = Datum::set([1i64, 2]);
    let map = Datum::map([("a", 1i64), ("b", 2)]);
    let one = Datum::integer(5);
    let none = Datum::empty();
    for (json, datum, expected) in [
        (json!(["i", "<", 6]), &one, true),
        (json!(["i", "<", 5]), &one, false),
        (json!(["i", "<=", 5]), &one, true),
        (json!(["i", ">=", 5]), &one, true),
        (json!(["i", ">", 5]), &one, false),
        (json!(["oi", "<", 5]), &none, false),
        (json!(["oi", "!=", 5]), &none, true),
        (json!(["si", "==", ["set", [2, 1]]]), &set, true),
        (json!(["si", "includes", 2]), &set, true),
        (json!(["si", "includes", ["set", []]]), &set, true),
        (json!(["si", "includes", ["set", [2, 3]]]), &set, false),
        (json!(["si", "excludes", ["set", [3, 4]]]), &set, true),
        (json!(["si", "excludes", ["set", [2, 3]]]), &set, false),
        (json!(["m", "includes", ["map", [["a", 1]]]]), &map, true),
        (json!(["m", "includes", ["map", [["a", 2]]]]), &map, false),
        (json!(["m", "excludes", ["map", [["a", 2]]]]), &map, true),
        (json!(true), &one, true),
        (json!(false), &one, false),
    ] {
        let clause = Clause::from_json(&json, table, &mut NoNames).unwrap();
        assert_eq!(clause.holds(|_| Some(datum)), expected, "{json} on {datum}");
        let again = Clause::from_json(
            &clause.to_json(table, &UuidNames::new()),
            table,
            &mut NoNames,
        );
        assert_eq!(again.unwrap(), clause);
    }
    let many = condition::from_json(&json!([["i", "==", 1], true]), table, &mut NoNames).unwrap();
    assert_eq!(
        many[0],
        Clause::new("i", Function::Equal, Datum::integer(1))
    );
}

#[test]
fn mutations() {
    let schema = schema();
    let table = schema.table("T").unwrap();
    let apply = |json: &Value, datum: &Datum| {
        let mutation = Mutation::from_json(json, table, &mut NoNames)?;
        let again = mutation.to_json(table, &UuidNames::new());
        assert_eq!(Mutation::from_json(&again, table, &mut NoNames)?, mutation);
        mutation.apply(datum, &table.column(&mutation.column).unwrap().column_type)
    };
    let set = Datum::set([1i64, 2]);
    let map = Datum::map([("a", 1i64), ("b", 2)]);
    for (json, datum, expected) in [
        (json!(["i", "+=", 2]), Datum::integer(5), Datum::integer(7)),
        (json!(["i", "-=", 2]), Datum::integer(5), Datum::integer(3)),
        (json!(["i", "*=", 2]), Datum::integer(5), Datum::integer(10)),
        (
            json!(["i", "/=", 2]),
            Datum::integer(-5),
            Datum::integer(-2),
        ),
        (
            json!(["i", "%=", 3]),
            Datum::integer(-5),
            Datum::integer(-2),
        ),
        (json!(["r", "/=", 2]), Datum::real(5.0), Datum::real(2.5)),
        (
            json!(["si", "*=", -1]),
            set.clone(),
            Datum::set([-2i64, -1]),
        ),
        (
            json!(["si", "insert", ["set", [2, 3]]]),
            set.clone(),
            Datum::set([1i64, 2, 3]),
        ),
        (
            json!(["si", "delete", ["set", [2, 3]]]),
            set.clone(),
            Datum::integer(1),
        ),
        (
            json!(["m", "insert", ["map", [["a", 9], ["c", 3]]]]),
            map.clone(),
            Datum::map([("a", 1i64), ("b", 2), ("c", 3)]),
        ),
        (
            json!(["m", "delete", ["map", [["a", 9], ["b", 2]]]]),
            map.clone(),
            Datum::map([("a", 1i64)]),
        ),
        (
            json!(["m", "delete", ["set", ["a", "z"]]]),
            map.clone(),
            Datum::map([("b", 2i64)]),
        ),
        (
            json!(["m", "delete", "a"]),
            map.clone(),
            Datum::map([("b", 2i64)]),
        ),
    ] {
        assert_eq!(apply(&json, &datum).unwrap(), expected, "{json}");
    }
    for (json, datum, expected) in [
        (
            json!(["i", "+=", 1]),
            Datum::integer(i64::MAX),
            ErrorKind::RangeError,
        ),
        (
            json!(["i", "/=", -1]),
            Datum::integer(i64::MIN),
            ErrorKind::RangeError,
        ),
        (
            json!(["i", "%=", -1]),
            Datum::integer(i64::MIN),
            ErrorKind::RangeError,
        ),
        (
            json!(["i", "/=", 0]),
            Datum::integer(1),
            ErrorKind::DomainError,
        ),
        (
            json!(["r", "/=", 0]),
            Datum::real(1.0),
            ErrorKind::DomainError,
        ),
        (
            json!(["r", "*=", 1e300]),
            Datum::real(1e300),
            ErrorKind::RangeError,
        ),
        (
            json!(["r", "-=", 1]),
            Datum::real(1.0),
            ErrorKind::ConstraintViolation,
        ),
        (
            json!(["si", "*=", 0]),
            set.clone(),
            ErrorKind::ConstraintViolation,
        ),
        (
            json!(["si", "insert", ["set", [3, 4]]]),
            set.clone(),
            ErrorKind::ConstraintViolation,
        ),
        (
            json!(["i", "insert", 1]),
            Datum::integer(1),
            ErrorKind::SyntaxError,
        ),
        (
            json!(["f", "+=", 1]),
            Datum::boolean(true),
            ErrorKind::ConstraintViolation,
        ),
        (
            json!(["r", "%=", 1]),
            Datum::real(1.0),
            ErrorKind::SyntaxError,
        ),
        (
            json!(["i", "^=", 1]),
            Datum::integer(1),
            ErrorKind::UnknownMutator,
        ),
        (
            json!(["z", "+=", 1]),
            Datum::integer(1),
            ErrorKind::UnknownColumn,
        ),
    ] {
        assert_eq!(apply(&json, &datum).unwrap_err().kind, expected, "{json}");
    }
}

#[test]
fn operations_round_trip() {
    let schema = schema();
    let uuid = "12858ac6-8938-4e1e-8141-fb9412fd2528";
    for json in [
        json!({"op": "insert", "table": "T", "row": {"i": 5, "u": ["uuid", uuid]}, "uuid-name": "x"}),
        json!({"op": "insert", "table": "T", "row": {}, "uuid": uuid}),
        json!({"op": "select", "table": "T", "where": [["i", "==", 5]], "columns": ["i", "_uuid"]}),
        json!({"op": "select", "table": "T", "where": []}),
        json!({"op": "update", "table": "T", "where": [], "row": {"m": ["map", [["a", 1]]]}}),
        json!({"op": "mutate", "table": "T", "where": [], "mutations": [["i", "+=", 1]]}),
        json!({"op": "delete", "table": "T", "where": [["_uuid", "==", ["uuid", uuid]]]}),
        json!({"op": "wait", "table": "T", "where": [], "columns": ["i"], "until": "!=",
            "rows": [{"i": 5}], "timeout": 7}),
        json!({"op": "commit", "durable": true}),
        json!({"op": "abort"}),
        json!({"op": "comment", "comment": "x"}),
        json!({"op": "assert", "lock": "x"}),
    ] {
        let operation = Operation::from_json(&json, &schema, &mut NoNames, "1 of 1").unwrap();
        let emitted = operation.to_json(&schema, &UuidNames::new());
        let again = Operation::from_json(&emitted, &schema, &mut NoNames, "1 of 1").unwrap();
        assert_eq!(again, operation, "{json}");
        assert_eq!(
            emitted.as_object().unwrap().len(),
            json.as_object().unwrap().len(),
            "{emitted}"
        );
    }
}

#[test]
fn rows_of_the_transaction_are_emitted_by_name() {
    let schema = schema();
    let uuid = Uuid::from_u128(7);
    let names = UuidNames::from([(uuid, "row7".to_owned())]);
    let mutation = Mutation::new("t", Mutator::Insert, Datum::uuid(uuid));
    let operation = Operation::Mutate {
        table: "T".to_owned(),
        condition: vec![Clause::uuid(uuid)],
        mutations: vec![mutation],
    };
    assert_eq!(
        operation.to_json(&schema, &names),
        json!({"op": "mutate", "table": "T",
            "where": [["_uuid", "==", ["named-uuid", "row7"]]],
            "mutations": [["t", "insert", ["named-uuid", "row7"]]]})
    );
}

/// JSON that resembles what is expected often enough to get far.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "op",
        "insert",
        "select",
        "update",
        "mutate",
        "delete",
        "wait",
        "table",
        "T",
        "U",
        "where",
        "row",
        "rows",
        "columns",
        "until",
        "==",
        "!=",
        "timeout",
        "mutations",
        "i",
        "r",
        "s",
        "m",
        "si",
        "t",
        "u",
        "_uuid",
        "+=",
        "set",
        "map",
        "uuid",
        "named-uuid",
        "includes",
        "key",
        "value",
        "min",
        "max",
        "type",
        "integer",
        "real",
        "string",
        "unlimited",
        "enum",
        "refTable",
        "isRoot",
        "maxRows",
        "indexes",
        "tables",
        "name",
        "version",
        "12858ac6-8938-4e1e-8141-fb9412fd2528",
    ]);
    let word = words.prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// No JSON makes a parser panic, and what is taken is emitted so that it is taken again.
    #[test]
    fn any_json_is_taken_or_refused(json in any_json(), op in 0usize..6) {
        let schema = schema();
        if let Ok(parsed) = DatabaseSchema::from_json(&json) {
            prop_assert_eq!(DatabaseSchema::from_json(&parsed.to_json()).unwrap(), parsed);
        }
        let _ = ovsdb::Error::from_json(&json);
        let _ = ovsdb::jsonrpc::Message::from_json(json.clone());
        let table = schema.table("T").unwrap();
        for (name, column) in &table.columns {
            if let Ok(datum) = Datum::from_json(&json, &column.column_type, &mut NoNames) {
                let again = datum.to_json(&column.column_type);
                prop_assert_eq!(Datum::from_json(&again, &column.column_type, &mut NoNames).unwrap(), datum);
            }
            let clause = json!([name, "==", json]);
            let _ = Clause::from_json(&clause, table, &mut NoNames);
            let _ = Mutation::from_json(&json!([name, "insert", json]), table, &mut NoNames);
        }
        let member = ["where", "row", "columns", "mutations", "rows", "timeout"][op];
        let name = ["delete", "insert", "select", "mutate", "wait", "wait"][op];
        let mut operation = json!({"op": name, "table": "T", "where": []});
        if name == "insert" {
            operation.as_object_mut().unwrap().remove("where");
        }
        if name == "wait" {
            operation["until"] = json!("==");
            operation["rows"] = json!([]);
        }
        operation[member] = json.clone();
        for json in [operation, json] {
            if let Ok(parsed) = Operation::from_json(&json, &schema, &mut NoNames, "1 of 1") {
                let emitted = parsed.to_json(&schema, &UuidNames::new());
                prop_assert_eq!(
                    Operation::from_json(&emitted, &schema, &mut NoNames, "1 of 1").unwrap(), parsed
                );
            }
        }
    }
}
