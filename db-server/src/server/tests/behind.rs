//! Clients that do not keep up.

use super::*;

fn set(n: i64, row: Value) -> Value {
    json!({"op": "update", "table": "T", "where": [["n", "==", n]], "row": row})
}

fn delete(n: i64) -> Value {
    json!({"op": "delete", "table": "T", "where": [["n", "==", n]]})
}

/// The changes of the one notification that a client got.
fn told(h: &mut Harness, session: SessionId) -> (String, Vec<Value>) {
    let mut heard = h.heard(session);
    heard.retain(|said| said.get("method").is_some());
    let [note] = &heard[..] else {
        panic!("{heard:?}");
    };
    let params = note["params"].as_array().unwrap();
    let rows = params.last().unwrap()["T"].as_object().unwrap();
    let method = note["method"].as_str().unwrap().to_owned();
    (method, rows.values().cloned().collect())
}

#[test]
fn what_happened_meanwhile_is_told_as_one() {
    let zero = Uuid::nil().hyphenated().to_string();
    let wanted = json!({"T": [{"columns": ["n", "s"]}]});
    for (method, params, expected) in [
        (
            "monitor",
            json!(["d", "m", wanted]),
            [
                json!({"old": {"n": 2, "s": ["set", []]}}),
                json!({"new": {"n": 1, "s": ["set", ["b", "c"]]}, "old": {"s": "a"}}),
                json!({"new": {"n": 3, "s": "x"}}),
            ],
        ),
        (
            "monitor_cond",
            json!(["d", "m", wanted]),
            [
                json!({"delete": null}),
                json!({"modify": {"s": ["set", ["a", "b", "c"]]}}),
                json!({"insert": {"n": 3, "s": "x"}}),
            ],
        ),
        (
            "monitor_cond_since",
            json!(["d", "m", wanted, zero]),
            [
                json!({"delete": null}),
                json!({"modify": {"s": ["set", ["a", "b", "c"]]}}),
                json!({"insert": {"n": 3, "s": "x"}}),
            ],
        ),
    ] {
        let mut h = Harness::new();
        h.transact(1, json!([insert(1), insert(2)]));
        h.transact(1, json!([set(1, json!({"s": "a"}))]));
        h.call(2, method, params.clone());
        h.call(3, method, params);
        h.server.handle_lag(2, true);
        h.said.clear();
        for operations in [
            json!([set(1, json!({"s": "b"})), insert(3), insert(4)]),
            json!([
                set(1, json!({"s": ["set", ["b", "c"]]})),
                set(3, json!({"s": "x"}))
            ]),
            json!([delete(2), set(4, json!({"s": "y"}))]),
            // What came to nothing is not told of.
            json!([delete(4), insert(5)]),
            json!([delete(5)]),
        ] {
            h.request(1, json!("t"), "transact", {
                let mut params = vec![json!("d")];
                params.extend_from_slice(operations.as_array().unwrap());
                Value::Array(params)
            });
        }
        assert_eq!(h.heard(3).len(), 5, "who keeps up hears of each");
        assert_eq!(h.heard(2), [json!(null); 0], "who lags of nothing yet");
        h.server.handle_lag(2, false);
        h.drain();
        let (notification, mut changes) = told(&mut h, 2);
        let key = |change: &Value| expected.iter().position(|known| known == change);
        changes.sort_by_key(key);
        assert_eq!(changes, expected, "{notification}");
        // From now on it hears of each change again.
        h.said.clear();
        h.transact(1, json!([delete(3)]));
        assert_eq!(told(&mut h, 2).1.len(), 1);
    }
}

#[test]
fn answers_come_after_what_happened_before() {
    let wanted = |clauses: Value| json!({"T": [{"columns": ["n"], "where": clauses}]});
    let mut h = Harness::new();
    h.call(2, "monitor_cond", json!(["d", "m", wanted(json!([true]))]));
    h.server.handle_lag(2, true);
    // Its own change is told before it is answered.
    h.transact(1, json!([insert(1)]));
    assert_eq!(h.heard(2).len(), 0);
    h.transact(2, json!([insert(2)]));
    let to_it: Vec<Value> = h.said.iter().map(|(_, json, _)| json.clone()).collect();
    assert_eq!(to_it[0]["method"], "update2");
    assert_eq!(to_it[0]["params"][1]["T"].as_object().unwrap().len(), 2);
    assert!(to_it[1].get("result").is_some() && to_it.len() == 2);
    // Other conditions, and another monitor, begin with what is known.
    h.transact(1, json!([insert(3)]));
    let change = json!(["m", "m", {"T": [{"where": [["n", "<", 3]]}]}]);
    h.call(2, "monitor_cond_change", change);
    let methods: Vec<Value> = h
        .said
        .iter()
        .map(|(_, json, _)| json["params"][1].clone())
        .collect();
    let rows = |n: usize| {
        methods[n]["T"]
            .as_object()
            .unwrap()
            .values()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(0), [json!({"insert": {"n": 3}})]);
    assert_eq!(rows(1), [json!({"delete": null})]);
    h.transact(1, json!([insert(4), delete(2)]));
    let reply = h.call(2, "monitor_cond", json!(["d", "o", wanted(json!([true]))]));
    assert_eq!(told(&mut h, 2).1, [json!({"delete": null})]);
    assert_eq!(reply["result"]["T"].as_object().unwrap().len(), 3);
}

#[test]
fn what_is_lost_is_not_told_to_who_lags() {
    let monitor = json!(["d", "m", {"T": {"columns": ["n"]}}]);
    let mut h = Harness::new();
    h.call(2, "monitor", monitor.clone());
    h.call(3, "monitor", monitor);
    h.server.handle_lag(2, true);
    h.server.handle_lag(3, true);
    h.transact(1, json!([insert(1)]));
    let ticket = h.records.last().unwrap().0;
    h.server.handle_durable(ticket);
    h.transact(1, json!([insert(2)]));
    // One has caught up: what it was told is held by the shell, which closes its connection.
    h.said.clear();
    h.server.handle_lag(3, false);
    h.drain();
    let natures: Vec<_> = h.said.iter().map(|(_, _, nature)| *nature).collect();
    assert_eq!(natures, [Some(Nature::Contents)]);
    h.server.handle_lost("d");
    h.drain();
    assert_eq!(h.closed, [2]);
    assert!(h.faults.is_empty());
}

#[test]
fn what_gathers_is_bounded() {
    let mut h = Harness::new();
    // Records of this size take long to be written.
    h.server.databases.get_mut("d").unwrap().durable = false;
    let all = |s: &str| {
        let row = json!({"s": s});
        json!([{"op": "update", "table": "T", "where": [], "row": row}])
    };
    let long = "x".repeat(1 << 20);
    h.call(2, "monitor", json!(["d", "m", {"T": {"columns": ["n"]}}]));
    h.transact(1, (1..=80).map(insert).collect());
    h.server.handle_lag(2, true);
    // What is again what it was, or is in the database anyway, needs no memory.
    for text in [&*long, "", &*long, "", &*long] {
        h.transact(1, all(text));
        assert_eq!(h.closed, [0; 0]);
    }
    h.server.handle_lag(2, false);
    h.server.handle_lag(2, true);
    // 80 MiB that nobody else needs any more.
    h.transact(1, all(""));
    assert_eq!((&h.closed[..], &h.faults[..]), (&[2][..], &[2][..]));
    // Nothing gathers for it from now on.
    h.said.clear();
    h.transact(1, json!([insert(0)]));
    h.server.handle_lag(2, false);
    h.drain();
    assert_eq!(h.heard(2), [json!(null); 0]);
}

#[test]
fn a_database_that_goes_takes_what_has_gathered_along() {
    let mut h = Harness::new();
    h.call(2, "set_db_change_aware", json!([true]));
    h.call(2, "monitor", json!(["d", "m", {"T": {"columns": ["n"]}}]));
    h.server.handle_lag(2, true);
    h.transact(1, json!([insert(1)]));
    assert!(h.server.remove_database("d"));
    h.drain();
    h.said.clear();
    h.server.handle_lag(2, false);
    h.drain();
    assert_eq!(h.heard(2), [json!(null); 0]);
}
