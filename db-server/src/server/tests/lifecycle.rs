//! Databases that come, go and change, and clients that come back.

use super::*;

/// The schema of `d` with other columns.
fn converted() -> Value {
    json!({"name": "d", "version": "2.0.0", "tables": {"T": {"columns": {
        "n": {"type": {"key": "integer", "min": 0, "max": 2}},
        "e": {"type": "integer", "ephemeral": true},
        "new": {"type": "string"},
    }}}})
}

fn other() -> Database {
    let schema = json!({"name": "other", "tables": {"U": {"columns": {"n": {"type": "integer"}}}}});
    Database::new(DatabaseSchema::from_json(&schema).unwrap())
}

/// What a client heard, without the values that nothing depends on.
fn methods(heard: &[Value]) -> Vec<String> {
    heard
        .iter()
        .map(|json| match json["method"].as_str() {
            Some(method) => format!("{method} {}", json["params"][0]),
            None => format!("{} {}", json["id"], json["error"]),
        })
        .collect()
}

/// Client 1 follows the databases and watches, client 2 watches only.
fn watched() -> Harness {
    let mut h = Harness::new();
    h.transact(3, json!([insert(1), insert(2)]));
    h.call(1, "set_db_change_aware", json!([true]));
    h.call(3, "set_db_change_aware", json!([true]));
    h.call(
        1,
        "monitor",
        json!(["_Server", "s", {"Database": {"columns": ["name", "schema"]}}]),
    );
    for session in [1, 2] {
        h.call(session, "monitor_cond", json!(["d", "m", {"T": {}}]));
        let wait = json!({"op": "wait", "table": "T", "where": [["n", "==", 7]],
            "columns": ["n"], "until": "==", "rows": [{"n": 7}]});
        h.request(session, json!("w"), "transact", json!(["d", wait]));
    }
    h.said.clear();
    h.records.clear();
    h.server.handle_durable(u64::MAX);
    h
}

#[test]
fn conversion_is_told_and_recorded() {
    let mut h = watched();
    h.transact(
        3,
        json!([{"op": "update", "table": "T", "where": [], "row": {"e": 5}}]),
    );
    let reply = h.call(3, "convert", json!(["d", converted()]));
    assert_eq!(reply["result"], json!({}));
    assert_eq!(
        methods(&h.heard(1)),
        [
            "monitor_canceled \"m\"",
            "\"w\" \"canceled\"",
            "update \"s\""
        ]
    );
    let natures: Vec<_> = h.said.iter().map(|(_, _, nature)| *nature).collect();
    assert_eq!(
        natures,
        [
            Some(Nature::Contents),
            Some(Nature::Plain),
            None,
            Some(Nature::Transaction)
        ]
    );
    let schema = h.heard(1)[2]["params"][1]["Database"].clone();
    let row = schema.as_object().unwrap().values().next().unwrap();
    assert!(row["old"]["schema"].is_string() && row["new"]["name"] == "d");
    let schema: Value = serde_json::from_str(row["new"]["schema"].as_str().unwrap()).unwrap();
    assert_eq!(schema, converted());
    assert_eq!((&*h.closed, &*h.faults), (&[2][..], &[][..]));
    // One ticket, and all that the file is to hold: ephemeral columns are not of it.
    let [(a, first), (b, second)] = h.records.as_slice() else {
        panic!("{:?}", h.records)
    };
    assert_eq!(a, b);
    assert_eq!(*first, converted());
    assert_eq!(second["_comment"], "converted by ovsdb-server");
    let rows: Vec<&Value> = second["T"].as_object().unwrap().values().collect();
    assert_eq!(rows, [&json!({"n": 1}), &json!({"n": 2})]);
    // In memory they are kept.
    let select = json!([{"op": "select", "table": "T", "where": [["n", "==", 1]],
        "columns": ["e", "new"]}]);
    assert_eq!(
        h.transact(3, select)[0]["rows"],
        json!([{"e": 5, "new": ""}])
    );
}

#[test]
fn a_lost_conversion_is_taken_back() {
    let mut h = watched();
    let mut before = h.transact(3, numbers());
    h.transact(3, json!([insert(5)]));
    h.call(3, "convert", json!(["d", converted()]));
    h.call(3, "convert", json!(["d", converted()]));
    h.transact(
        3,
        json!([{"op": "insert", "table": "T", "row": {"new": "x"}}]),
    );
    h.call(
        3,
        "monitor",
        json!(["d", "later", {"T": {"columns": ["new"]}}]),
    );
    h.said.clear();
    // The first insert and what built on it.
    h.server.handle_lost("d");
    h.drain();
    assert_eq!(methods(&h.heard(3)), ["monitor_canceled \"later\""]);
    assert_eq!(methods(&h.heard(1)), ["update \"s\""]);
    let mut after = h.transact(3, numbers());
    for rows in [&mut before, &mut after] {
        rows[0]["rows"]
            .as_array_mut()
            .unwrap()
            .sort_by_key(Value::to_string);
    }
    assert_eq!(after, before);
    assert_eq!(
        h.call(3, "get_schema", json!(["d"]))["result"]["version"],
        Value::Null
    );
    h.server.database("d").unwrap().check_derived().unwrap();
}

#[test]
fn a_refused_conversion_changes_nothing() {
    let mut h = watched();
    let mut schema = converted();
    schema["tables"]["T"]["columns"]["n"] =
        json!({"type": {"key": {"type": "integer", "maxInteger": 1}}});
    let reply = h.call(3, "convert", json!(["d", schema]));
    assert_eq!(
        reply["error"],
        json!({"error": "constraint violation", "details": "2 is greater than maximum allowed value 1"})
    );
    let reply = h.call(
        3,
        "convert",
        json!(["_Server", {"name": "_Server", "tables": {}}]),
    );
    assert_eq!(reply["error"]["error"], "not allowed");
    let schema = DatabaseSchema::from_json(&converted()).unwrap();
    assert!(h.server.convert_database("nope", schema).is_err());
    h.drain();
    assert!(h.closed.is_empty() && h.records.is_empty() && h.heard(1).is_empty());
}

#[test]
fn removal_and_arrival_are_told() {
    let mut h = watched();
    h.transact(3, json!([insert(5)]));
    h.said.clear();
    assert!(h.server.remove_database("d"));
    assert!(!h.server.remove_database("d"));
    assert!(!h.server.remove_database("_Server"));
    h.drain();
    assert_eq!(
        methods(&h.heard(1)),
        [
            "monitor_canceled \"m\"",
            "\"w\" \"canceled\"",
            "update \"s\""
        ]
    );
    let rows = h.heard(1)[2]["params"][1]["Database"].clone();
    let row = rows.as_object().unwrap().values().next().unwrap();
    assert!(row["old"]["name"] == "d" && row.get("new").is_none());
    assert_eq!(h.closed, [2]);
    assert_eq!(
        h.call(3, "transact", json!(["d"]))["error"]["error"],
        "unknown database"
    );
    assert_eq!(
        h.call(3, "list_dbs", json!([]))["result"],
        json!(["_Server"])
    );
    h.server.handle_connect(4, Peer::default());
    h.said.clear();
    h.server.add_database(other());
    h.drain();
    assert_eq!(methods(&h.heard(1)), ["update \"s\""]);
    assert_eq!(h.closed, [2, 4]);
    // A database of the old name is another one: what was not durable then is not its own.
    let schema = DatabaseSchema::from_json(&converted()).unwrap();
    h.server.add_database(Database::new(schema));
    h.transact(
        3,
        json!([{"op": "insert", "table": "T", "row": {"new": "x"}}]),
    );
    h.server.handle_durable(u64::MAX);
    h.server.handle_lost("d");
    let select = json!([{"op": "select", "table": "T", "where": [], "columns": ["new"]}]);
    assert_eq!(h.transact(3, select)[0]["rows"], json!([{"new": "x"}]));
}

#[test]
fn who_comes_back_is_told_what_it_missed() {
    let mut h = Harness::new();
    let request = json!({"T": {"columns": ["n", "e"], "where": [["n", ">", 1]]}});
    let zero = "00000000-0000-0000-0000-000000000000";
    let first = h.call(1, "monitor_cond_since", json!(["d", "m", request, zero]))["result"].clone();
    assert_eq!((&first[0], &first[2]), (&json!(false), &json!({})));
    h.transact(3, json!([insert(1), insert(2)]));
    let update = h.heard(1)[0].clone();
    assert_eq!(update["method"], "update3");
    let seen = update["params"][1].clone();
    assert_ne!(seen, first[1]);
    // While it is away rows come, change, leave the condition and go.
    h.server.handle_disconnect(1);
    h.transact(3, json!([insert(3), insert(4), insert(5)]));
    let set = |n: i64, row: Value| json!({"op": "update", "table": "T", "where": [["n", "==", n]], "row": row});
    h.transact(3, json!([set(2, json!({"e": 7})), set(3, json!({"n": 0}))]));
    h.transact(
        3,
        json!([{"op": "delete", "table": "T", "where": [["n", "==", 4]]}]),
    );
    h.server.handle_connect(1, Peer::default());
    let request_since = |last: &Value| json!(["d", "m", request, last]);
    let missed = h.call(1, "monitor_cond_since", request_since(&seen))["result"].clone();
    assert_eq!(missed[0], true);
    let mut rows: Vec<&Value> = missed[2]["T"].as_object().unwrap().values().collect();
    rows.sort_by_key(|row| row.to_string());
    assert_eq!(
        rows,
        [&json!({"insert": {"n": 5}}), &json!({"modify": {"e": 7}})]
    );
    // From the present state on there is nothing to tell, and its id is the one given.
    h.server.handle_disconnect(1);
    h.server.handle_connect(1, Peer::default());
    let again = h.call(1, "monitor_cond_since", request_since(&missed[1]))["result"].clone();
    assert_eq!(again, json!([true, missed[1], {}]));
    // A conversion starts a new history.
    h.call(3, "convert", json!(["d", converted()]));
    h.server.handle_connect(1, Peer::default());
    let after = h.call(
        1,
        "monitor_cond_since",
        json!(["d", "m", {"T": {}}, missed[1]]),
    )["result"]
        .clone();
    assert_eq!(after[0], false);
}

/// Conditions that change between transactions lose no row and tell none twice.
#[test]
fn changed_conditions_follow_the_rows() {
    let mut h = Harness::new();
    let mut known: std::collections::BTreeSet<String> = Default::default();
    let condition = |h: &mut Harness, above: i64| {
        let change = json!({"T": [{"where": [["n", ">", above]]}]});
        h.call(1, "monitor_cond_change", json!(["m", "m", change]))
    };
    h.call(
        1,
        "monitor_cond",
        json!(["d", "m", {"T": {"columns": ["n"], "where": [["n", ">", 5]]}}]),
    );
    let mut steps = 0;
    for round in 0..40i64 {
        let n = (round * 7) % 20;
        match round % 4 {
            0 | 1 => drop(h.transact(
                3,
                json!([insert(100 + round), insert(n * 50 + 1000 + round)]),
            )),
            2 => drop(condition(&mut h, n * 30)),
            _ => drop(h.transact(
                3,
                json!([{"op": "mutate", "table": "T",
                "where": [["n", "<", 1100]], "mutations": [["n", "+=", 3]]}]),
            )),
        }
        for message in h.heard(1) {
            let Some(rows) = message["params"][1]["T"].as_object() else {
                continue;
            };
            for (uuid, change) in rows {
                steps += 1;
                let fits = match change.as_object().unwrap().keys().next().unwrap().as_str() {
                    "insert" => known.insert(uuid.clone()),
                    "delete" => known.remove(uuid),
                    _ => known.contains(uuid),
                };
                assert!(fits, "{change}");
            }
        }
        let last = (0..=round).rev().find(|round| round % 4 == 2);
        let above = last.map_or(5, |round| (round * 7) % 20 * 30);
        let select = json!([{"op": "select", "table": "T", "where": [["n", ">", above]],
            "columns": ["_uuid"]}]);
        let there = h.transact(3, select);
        let there = there[0]["rows"].as_array().unwrap().iter();
        let there = there
            .map(|row| row["_uuid"][1].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(known, there);
    }
    assert!(steps > 50);
}
