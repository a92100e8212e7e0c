mod access;
mod behind;
mod lifecycle;

use super::*;
use ovsdb::DatabaseSchema;
use serde_json::json;

/// A server with a database `d`, and what it said to each client.
struct Harness {
    server: Server,
    now: Instant,
    /// With their natures, which updates of monitors have none of.
    said: Vec<(SessionId, Value, Option<Nature>)>,
    records: Vec<(u64, Value)>,
    closed: Vec<SessionId>,
    /// Those of `closed` that are to blame for it.
    faults: Vec<SessionId>,
}

impl Harness {
    fn new() -> Self {
        let mut next = 0u128;
        let uuids = move || {
            next += 1;
            Uuid::from_u128(next)
        };
        let schema = json!({"name": "d", "tables": {"T": {"isRoot": true, "indexes": [["n"]],
            "columns": {
                "n": {"type": "integer"},
                "s": {"type": {"key": "string", "min": 0, "max": "unlimited"}},
                "e": {"type": "integer", "ephemeral": true},
        }}}});
        let mut server = Server::new(Box::new(uuids), true);
        server.add_database(Database::new(DatabaseSchema::from_json(&schema).unwrap()));
        let mut this = Self {
            server,
            now: Instant::now(),
            said: Vec::new(),
            records: Vec::new(),
            closed: Vec::new(),
            faults: Vec::new(),
        };
        for session in 1..=3 {
            this.server.handle_connect(session, Peer::default());
        }
        this.drain();
        this
    }

    fn drain(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send {
                    session,
                    message,
                    nature,
                    ..
                } => {
                    self.said.push((session, message.to_json(), Some(nature)));
                }
                Output::Text {
                    session,
                    text,
                    nature,
                    ..
                } => {
                    let json = serde_json::from_slice(&text).unwrap();
                    self.said.push((session, json, Some(nature)));
                }
                Output::Updates { group, text, .. } => {
                    let json: Value = serde_json::from_slice(&text).unwrap();
                    let sessions = group.sessions.iter();
                    self.said
                        .extend(sessions.map(|session| (*session, json.clone(), None)));
                }
                Output::Record { ticket, record, .. } => {
                    let json = serde_json::from_slice(&record).unwrap();
                    self.records.push((ticket, json));
                }
                Output::Replace {
                    ticket, records, ..
                } => {
                    let records = records.iter().map(|record| serde_json::from_slice(record));
                    let records = records.map(|record| (ticket, record.unwrap()));
                    self.records.extend(records);
                }
                Output::Close { session, fault, .. } => {
                    self.closed.push(session);
                    if fault {
                        self.faults.push(session);
                    }
                }
                Output::Changed { .. } => {}
            }
        }
    }

    fn request(&mut self, session: SessionId, id: Value, method: &str, params: Value) {
        let message = Message::Request {
            id,
            method: method.to_owned(),
            params,
        };
        self.server.handle_message(session, message, self.now, 0);
        self.drain();
    }

    /// Sends a request and gives the one thing said.
    fn call(&mut self, session: SessionId, method: &str, params: Value) -> Value {
        self.said.clear();
        self.request(session, json!("call"), method, params);
        let reply = self
            .said
            .iter()
            .find(|(to, json, _)| *to == session && json["id"] == "call");
        reply
            .map(|(_, json, _)| json.clone())
            .unwrap_or(Value::Null)
    }

    /// Executes operations and gives the array of results.
    fn transact(&mut self, session: SessionId, operations: Value) -> Value {
        let mut params = vec![json!("d")];
        params.extend(operations.as_array().cloned().unwrap_or_default());
        self.call(session, "transact", Value::Array(params))["result"].clone()
    }

    fn heard(&self, session: SessionId) -> Vec<Value> {
        let mine = self.said.iter().filter(|(to, _, _)| *to == session);
        mine.map(|(_, json, _)| json.clone()).collect()
    }
}

fn insert(n: i64) -> Value {
    json!({"op": "insert", "table": "T", "row": {"n": n}})
}

fn numbers() -> Value {
    json!([{"op": "select", "table": "T", "where": [], "columns": ["n"]}])
}

#[test]
fn update_comes_before_the_reply_and_to_everyone() {
    let mut h = Harness::new();
    for session in [1, 2] {
        let reply = h.call(
            session,
            "monitor",
            json!(["d", null, {"T": {"columns": ["n"]}}]),
        );
        assert_eq!(reply["result"], json!({}));
    }
    h.transact(1, json!([insert(5)]));
    let heard = h.heard(1);
    assert_eq!(heard[0]["method"], "update");
    assert_eq!(heard[0]["params"][0], Value::Null);
    assert_eq!(heard[1]["id"], "call");
    assert_eq!(h.heard(2).len(), 1);
    assert!(h.heard(3).is_empty());
    // What is not monitored is not told.
    h.transact(
        1,
        json!([{"op": "update", "table": "T", "where": [], "row": {"e": 1}}]),
    );
    assert_eq!(h.heard(1).len(), 1);
}

#[test]
fn wait_parks_until_a_commit_or_its_time() {
    let mut h = Harness::new();
    let wait = |timeout: Value| {
        let mut op = json!({"op": "wait", "table": "T", "where": [["n", "==", 7]],
            "columns": ["n"], "until": "==", "rows": [{"n": 7}]});
        if !timeout.is_null() {
            op["timeout"] = timeout;
        }
        op
    };
    assert_eq!(
        h.transact(1, json!([wait(json!(0))]))[0]["error"],
        "timed out"
    );
    // Forever, with an insert behind it that only then happens.
    assert_eq!(
        h.transact(1, json!([wait(Value::Null), insert(8)])),
        Value::Null
    );
    assert_eq!(h.transact(2, json!([wait(json!(1000))])), Value::Null);
    assert_eq!(
        h.server.poll_timeout(),
        Some(h.now + Duration::from_secs(1))
    );
    h.transact(3, json!([insert(6)]));
    assert_eq!(h.heard(1), Vec::<Value>::new());
    h.said.clear();
    h.now += Duration::from_secs(1);
    h.server.handle_timeout(h.now, 0);
    h.drain();
    assert_eq!(
        h.heard(2)[0]["result"][0]["details"],
        "\"wait\" timed out after 1000 ms"
    );
    h.transact(3, json!([insert(7)]));
    assert_eq!(h.heard(1)[0]["result"].as_array().unwrap().len(), 2);
    assert_eq!(h.server.poll_timeout(), None);
    let rows = h.transact(3, numbers());
    assert_eq!(rows[0]["rows"].as_array().unwrap().len(), 3);
}

#[test]
fn waiting_transactions_wake_each_other() {
    let mut h = Harness::new();
    for n in (1..50).rev() {
        let wait = json!({"op": "wait", "table": "T", "where": [["n", "==", n - 1]],
            "columns": ["n"], "until": "==", "rows": [{"n": n - 1}]});
        h.request(1, json!(n), "transact", json!(["d", wait, insert(n)]));
    }
    h.said.clear();
    h.transact(2, json!([insert(0)]));
    assert_eq!(h.heard(1).len(), 49);
    assert_eq!(
        h.transact(2, numbers())[0]["rows"]
            .as_array()
            .unwrap()
            .len(),
        50
    );
}

#[test]
fn cancel_and_disconnect_end_waits() {
    let mut h = Harness::new();
    let wait = json!(["d", {"op": "wait", "table": "T", "where": [], "columns": ["n"],
        "until": "!=", "rows": []}, insert(9)]);
    for session in [1, 2] {
        h.request(session, json!("w"), "transact", wait.clone());
    }
    let cancel = Message::notification("cancel", json!(["w"]));
    h.server.handle_message(1, cancel.clone(), h.now, 0);
    h.server.handle_message(1, cancel, h.now, 0);
    h.drain();
    assert_eq!(
        h.heard(1),
        [json!({"id": "w", "error": "canceled", "result": null})]
    );
    h.server.handle_disconnect(2);
    h.transact(3, json!([insert(1)]));
    assert_eq!(h.transact(3, numbers())[0]["rows"], json!([{"n": 1}]));
}

#[test]
fn locks_are_told_and_asserted() {
    let mut h = Harness::new();
    let assert = json!([{"op": "assert", "lock": "l"}]);
    assert_eq!(
        h.call(1, "lock", json!(["l"]))["result"],
        json!({"locked": true})
    );
    assert_eq!(
        h.call(2, "lock", json!(["l"]))["result"],
        json!({"locked": false})
    );
    assert_eq!(h.transact(1, assert.clone()), json!([{}]));
    assert_eq!(h.transact(2, assert.clone())[0]["error"], "not owner");
    assert_eq!(
        h.call(3, "steal", json!(["l"]))["result"],
        json!({"locked": true})
    );
    assert_eq!(
        h.heard(1),
        [json!({"id": null, "method": "stolen", "params": ["l"]})]
    );
    assert_eq!(h.transact(1, assert.clone())[0]["error"], "not owner");
    h.said.clear();
    h.server.handle_disconnect(3);
    h.drain();
    assert_eq!(
        h.heard(1),
        [json!({"id": null, "method": "locked", "params": ["l"]})]
    );
    assert_eq!(h.call(1, "unlock", json!(["l"]))["result"], json!({}));
    assert_eq!(
        h.heard(2),
        [json!({"id": null, "method": "locked", "params": ["l"]})]
    );
}

#[test]
fn since_tells_what_was_missed() {
    let mut h = Harness::new();
    let zero = Uuid::nil().hyphenated().to_string();
    let request = json!({"T": [{"columns": ["n", "s"]}]});
    h.transact(3, json!([insert(1), insert(2)]));
    let reply = h.call(1, "monitor_cond_since", json!(["d", "m", request, zero]));
    assert_eq!(reply["result"][0], false);
    assert_eq!(reply["result"][2]["T"].as_object().unwrap().len(), 2);
    let seen = reply["result"][1].clone();
    let set = |n: i64, s: Value| json!({"op": "update", "table": "T", "where": [["n", "==", n]], "row": {"s": s}});
    h.transact(3, json!([set(1, json!("a"))]));
    let told = h.heard(1)[0]["params"][1].clone();
    h.transact(3, json!([set(1, json!(["set", ["a", "b"]])), insert(3)]));
    h.transact(
        3,
        json!([{"op": "delete", "table": "T", "where": [["n", "==", 3]]}]),
    );
    let reply = h.call(2, "monitor_cond_since", json!(["d", "m", request, seen]));
    assert_eq!(reply["result"][0], true);
    let rows = reply["result"][2]["T"].as_object().unwrap();
    let changes: Vec<&Value> = rows.values().collect();
    assert_eq!(changes, [&json!({"modify": {"s": ["set", ["a", "b"]]}})]);
    let last = reply["result"][1].clone();
    let reply = h.call(3, "monitor_cond_since", json!(["d", "m", request, told]));
    let rows = reply["result"][2]["T"].as_object().unwrap();
    assert_eq!(rows.values().next(), Some(&json!({"modify": {"s": "b"}})));
    let reply = h.call(3, "monitor_cond_since", json!(["d", "n", request, last]));
    assert_eq!(reply["result"], json!([true, last, {}]));
}

#[test]
fn lost_records_are_taken_back() {
    let mut h = Harness::new();
    h.transact(1, json!([insert(1)]));
    let ticket = h.records.last().unwrap().0;
    h.server.handle_durable(ticket);
    h.call(
        2,
        "monitor",
        json!(["d", "m", {"T": {"columns": ["n", "e"]}}]),
    );
    h.transact(1, json!([insert(2)]));
    // Ephemeral, so without a record, but on top of what is about to be lost.
    h.transact(
        1,
        json!([{"op": "update", "table": "T", "where": [], "row": {"e": 7}}]),
    );
    let natures: Vec<_> = h.said.iter().map(|(_, _, nature)| *nature).collect();
    assert_eq!(natures, [None, Some(Nature::Transaction)]);
    h.server.handle_lost("d");
    h.drain();
    let all = json!([{"op": "select", "table": "T", "where": [], "columns": ["n", "e"]}]);
    assert_eq!(h.transact(1, all)[0]["rows"], json!([{"n": 1, "e": 0}]));
    h.server.database("d").unwrap().check_derived().unwrap();
    // The index is free again.
    let again = h.transact(1, json!([insert(2)]));
    assert!(again[0].get("uuid").is_some() && again.as_array().unwrap().len() == 1);
}

#[test]
fn ephemeral_changes_stay_when_a_later_record_is_lost() {
    let mut h = Harness::new();
    h.transact(1, json!([insert(1)]));
    let ticket = h.records.last().unwrap().0;
    h.server.handle_durable(ticket);
    // Nothing is under way: this is acknowledged at once.
    let e = |e: i64| json!([{"op": "update", "table": "T", "where": [], "row": {"e": e}}]);
    h.transact(1, e(7));
    // The one after the record builds on what will be lost, and its client is told so.
    h.transact(1, json!([insert(2)]));
    h.transact(1, e(8));
    h.server.handle_lost("d");
    h.drain();
    let all = json!([{"op": "select", "table": "T", "where": [], "columns": ["n", "e"]}]);
    assert_eq!(h.transact(1, all)[0]["rows"], json!([{"n": 1, "e": 7}]));
    h.server.database("d").unwrap().check_derived().unwrap();
}

#[test]
fn only_what_is_not_yet_durable_makes_reads_wait() {
    let mut h = Harness::new();
    let inserted = h.transact(1, json!([insert(1), insert(2)]));
    let [first, second] = [0, 1].map(|i| inserted[i]["uuid"].clone());
    let (ticket, _) = *h.records.last().unwrap();
    h.server.handle_durable(ticket);
    let of = |row: &Value| json!({"op": "select", "table": "T", "where": [["_uuid", "==", row]], "columns": ["n"]});
    let waits = |h: &mut Harness, operations: Value| {
        h.transact(2, operations);
        h.said.last().unwrap().2 == Some(Nature::Transaction)
    };
    let all = numbers()[0].clone();
    let nobody = json!(["uuid", Uuid::nil().to_string()]);
    // Everything is durable.
    assert!(!waits(
        &mut h,
        json!([of(&first), all, {"op": "comment", "comment": ""}])
    ));
    let mutate = json!({"op": "mutate", "table": "T", "where": [["_uuid", "==", first]],
                        "mutations": [["n", "+=", 10]]});
    h.transact(1, json!([mutate]));
    assert!(waits(&mut h, json!([of(&first)])));
    assert!(waits(&mut h, json!([all])));
    assert!(waits(&mut h, json!([of(&second), all])));
    assert!(!waits(&mut h, json!([of(&second)])));
    assert!(!waits(&mut h, json!([of(&nobody), of(&second)])));
    // Errors and other operations may depend on anything.
    assert!(waits(&mut h, json!([of(&second), {"op": "abort"}])));
    let nothing = json!({"op": "delete", "table": "T", "where": [["_uuid", "==", nobody]]});
    assert!(waits(&mut h, json!([nothing])));
    let wait = json!({"op": "wait", "table": "T", "where": [["_uuid", "==", second]],
                      "columns": ["n"], "until": "==", "rows": [{"n": 2}]});
    assert!(waits(&mut h, json!([wait])));
    // Durable again, and a row that is gone.
    let (ticket, _) = *h.records.last().unwrap();
    h.server.handle_durable(ticket);
    assert!(!waits(&mut h, json!([of(&first), all])));
    let delete = json!({"op": "delete", "table": "T", "where": [["_uuid", "==", second]]});
    h.transact(1, json!([delete]));
    assert!(waits(&mut h, json!([of(&second)])));
    assert!(!waits(&mut h, json!([of(&first)])));
}

#[test]
fn durable_records_stay() {
    let mut h = Harness::new();
    h.transact(1, json!([insert(1)]));
    h.transact(1, json!([insert(2)]));
    let first = h.records[0].0;
    h.server.handle_durable(first);
    h.server.handle_lost("d");
    h.drain();
    assert_eq!(h.transact(1, numbers())[0]["rows"], json!([{"n": 1}]));
}

#[test]
fn server_database_is_read_only_and_complete() {
    let mut h = Harness::new();
    let select = json!(["_Server", {"op": "select", "table": "Database", "where": [],
        "columns": ["name", "model", "connected", "leader"]}]);
    let rows = h.call(1, "transact", select)["result"][0]["rows"].clone();
    let mut names: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["name"].as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["_Server", "d"]);
    let delete = json!(["_Server", {"op": "delete", "table": "Database", "where": []}]);
    let reply = h.call(1, "transact", delete);
    assert_eq!(
        reply["result"][0],
        json!({"error": "not allowed",
            "details": "delete operation not allowed on table in reserved database _Server"})
    );
}

#[test]
fn bad_requests_are_answered_as_ovsdb_server_does() {
    let mut h = Harness::new();
    h.call(1, "monitor", json!(["d", "m", {}]));
    h.call(
        1,
        "monitor_cond",
        json!(["d", "c", {"T": [{"columns": ["n"]}]}]),
    );
    h.call(1, "lock", json!(["held"]));
    for (method, params, expected) in [
        ("foo", json!([]), json!("unknown method")),
        (
            "transact",
            json!([]),
            json!({"syntax": "[]", "details": "transact request params must begin with <db-name>", "error": "syntax error"}),
        ),
        (
            "transact",
            json!(["nope"]),
            json!({"syntax": "[\"nope\"]", "details": "transact request specifies unknown database nope", "error": "unknown database"}),
        ),
        (
            "get_schema",
            json!([5]),
            json!({"syntax": "[5]", "details": "get_schema request params must begin with <db-name>", "error": "syntax error"}),
        ),
        (
            "set_db_change_aware",
            json!([5]),
            json!({"syntax": "[5]", "details": "set_db_change_aware: true or false parameter expected", "error": "syntax error"}),
        ),
        (
            "lock",
            json!(["held"]),
            json!({"syntax": "[\"held\"]", "details": "must issue \"unlock\" before new \"lock\"", "error": "syntax error"}),
        ),
        (
            "lock",
            json!(["5x"]),
            json!({"syntax": "[\"5x\"]", "details": "lock request params must be <id>", "error": "syntax error"}),
        ),
        (
            "unlock",
            json!(["no"]),
            json!({"syntax": "[\"no\"]", "details": "unlock: \"unlock\" without \"lock\" or \"steal\"", "error": "syntax error"}),
        ),
        (
            "monitor",
            json!(["d", "m", {}]),
            json!({"syntax": "\"m\"", "details": "duplicate monitor ID", "error": "syntax error"}),
        ),
        (
            "monitor",
            json!(["d", "x", {"X": {}}]),
            json!({"details": "no table named X", "error": "syntax error"}),
        ),
        (
            "monitor",
            json!(["d", "x", 5]),
            json!({"syntax": "5", "details": "monitor-requests must be object", "error": "syntax error"}),
        ),
        (
            "monitor",
            json!(["d", "x", {"T": {"columns": ["z"]}}]),
            json!({"syntax": "[\"z\"]", "details": "z is not a valid column name", "error": "syntax error"}),
        ),
        (
            "monitor",
            json!(["d", "x", {"T": [{"columns": ["n"]}, {"columns": ["n"]}]}]),
            json!({"syntax": "[\"n\"]", "details": "column n mentioned more than once", "error": "syntax error"}),
        ),
        (
            "monitor",
            json!(["d", "x", {"T": {"where": [true]}}]),
            json!({"syntax": "{\"where\":[true]}", "details": "Parsing table T failed: Member 'where' is present but not allowed here.", "error": "syntax error"}),
        ),
        (
            "monitor",
            json!(["d", "x", {"T": {"select": {"initial": 5}}}]),
            json!({"syntax": "{\"initial\":5}", "details": "Parsing table T select failed: Type mismatch for member 'initial'.", "error": "syntax error"}),
        ),
        (
            "monitor_cond",
            json!(["d", "x", {"T": {"where": [["z", "==", 1]]}}]),
            json!({"syntax": "[\"z\",\"==\",1]", "details": "No column z in table T.", "error": "unknown column"}),
        ),
        (
            "monitor_cond_since",
            json!(["d", "x", {}, "z"]),
            json!({"syntax": "\"z\"", "details": "last-txn-id must be UUID format.", "error": "syntax error"}),
        ),
        (
            "monitor_cond_since",
            json!(["d", "x", {}]),
            json!({"syntax": "[\"d\",\"x\",{}]", "details": "invalid parameters", "error": "syntax error"}),
        ),
        (
            "monitor_cond_change",
            json!(["z", "z", {}]),
            json!({"syntax": "\"z\"", "details": "unknown monitor session", "error": "syntax error"}),
        ),
        ("monitor_cancel", json!(["z"]), json!("unknown monitor")),
        ("monitor_cancel", json!([]), json!("invalid parameters")),
        // One parameter makes ovsdb-server 3.1 end.
        (
            "monitor",
            json!(["d"]),
            json!({"syntax": "[\"d\"]", "details": "invalid parameters", "error": "syntax error"}),
        ),
    ] {
        let reply = h.call(1, method, params.clone());
        assert_eq!(reply["error"], expected, "{method} {params}");
    }
    h.request(2, json!(1), "echo", json!({}));
    assert_eq!((&*h.closed, &*h.faults), (&[2][..], &[2][..]));
}

#[test]
fn conditions_change_with_updates_first() {
    let mut h = Harness::new();
    h.transact(3, json!([insert(1), insert(2)]));
    let request = json!({"T": [{"columns": ["n"], "where": [["n", "==", 1]]}]});
    let reply = h.call(1, "monitor_cond", json!(["d", "m", request]));
    assert_eq!(reply["result"]["T"].as_object().unwrap().len(), 1);
    let change = json!({"T": [{"where": [["n", "==", 2], ["n", ">", 5]]}]});
    h.call(1, "monitor_cond_change", json!(["m", "m2", change]));
    let heard = h.heard(1);
    assert_eq!(heard[0]["params"][0], "m2");
    let mut kinds: Vec<&String> = heard[0]["params"][1]["T"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(|row| row.as_object()?.keys().next())
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["delete", "insert"]);
    assert_eq!(heard[1]["result"], json!({}));
    // A row that comes into the condition is an insert, one that leaves it a delete.
    h.transact(
        3,
        json!([{"op": "update", "table": "T", "where": [["n", "==", 1]], "row": {"n": 9}}]),
    );
    let row = h.heard(1)[0]["params"][1]["T"]
        .as_object()
        .unwrap()
        .values()
        .next()
        .cloned();
    assert_eq!(row, Some(json!({"insert": {"n": 9}})));
    h.transact(
        3,
        json!([{"op": "update", "table": "T", "where": [["n", "==", 9]], "row": {"n": 3}}]),
    );
    let row = h.heard(1)[0]["params"][1]["T"]
        .as_object()
        .unwrap()
        .values()
        .next()
        .cloned();
    assert_eq!(row, Some(json!({"delete": null})));
}

#[test]
fn no_columns_still_tell_which_rows_there_are() {
    let mut h = Harness::new();
    h.transact(3, json!([insert(1)]));
    for (id, method, kind) in [(1, "monitor", "new"), (2, "monitor_cond", "initial")] {
        let reply = h.call(id, method, json!(["d", "m", {"T": [{"columns": []}]}]));
        let rows = reply["result"]["T"].as_object().unwrap().clone();
        assert_eq!(rows.values().next(), Some(&json!({kind: {}})), "{method}");
    }
    h.transact(
        3,
        json!([{"op": "update", "table": "T", "where": [], "row": {"n": 9}}]),
    );
    assert!(h.heard(1).is_empty());
    h.transact(3, json!([insert(2)]));
    assert_eq!(h.heard(1).len() + h.heard(2).len(), 2);
    h.transact(3, json!([{"op": "delete", "table": "T", "where": []}]));
    assert_eq!(h.heard(1).len() + h.heard(2).len(), 2);
}
