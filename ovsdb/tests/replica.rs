//! The replica against a scripted server, in the wire forms that ovsdb-server 3.1 sends.

use std::sync::Arc;

use ovsdb::jsonrpc::Message;
use ovsdb::replica::{
    Change, Event, Outcome, Replica, Selection, SelectionError, Session, Transaction, Unfit,
};
use ovsdb::{Atom, DatabaseSchema, Datum, Uuid};
use proptest::prelude::*;
use serde_json::{Value, json};

fn schema() -> Arc<DatabaseSchema> {
    let schema = json!({
        "name": "Db",
        "version": "1.0.0",
        "tables": {
            "Root": {"isRoot": true, "columns": {
                "next": {"type": "integer"},
                "bridges": {"type": {"key": {"type": "uuid", "refTable": "Bridge"},
                                     "min": 0, "max": "unlimited"}}}},
            "Bridge": {"columns": {
                "name": {"type": "string", "mutable": false},
                "tag": {"type": {"key": "integer", "min": 0}},
                "vlans": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
                "ids": {"type": {"key": "string", "value": "string",
                                 "min": 0, "max": "unlimited"}}}},
        },
    });
    Arc::new(DatabaseSchema::from_json(&schema).unwrap())
}

fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn text(n: u128) -> String {
    uuid(n).to_string()
}

fn session() -> Session {
    Session::new(Replica::new(Selection::everything(schema())))
}

/// Takes the next request and returns its id, method and params.
fn request(session: &mut Session) -> (Value, String, Value) {
    match session.poll_message() {
        Some(Message::Request { id, method, params }) => (id, method, params),
        other => panic!("{other:?}"),
    }
}

fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll_event()).collect()
}

/// Connects to a server that answers with `initial`.
fn connect(session: &mut Session, initial: Value) {
    session.handle_connected();
    let (server_id, method, _) = request(session);
    assert_eq!(method, "monitor_cond");
    let (schema_id, method, params) = request(session);
    assert_eq!((method.as_str(), params), ("get_schema", json!(["Db"])));
    session.handle_message(Message::reply(schema_id, schema().to_json()));
    assert!(session.poll_message().is_none());
    session.handle_message(Message::reply(
        server_id,
        json!({"Database": {text(77): {"initial":
            {"name": "Db", "model": "standalone", "connected": true, "leader": true}}}}),
    ));
    let (id, method, params) = request(session);
    assert_eq!(method, "monitor_cond_since");
    assert_eq!(params[3], json!(session.replica().last_id().to_string()));
    session.handle_message(Message::reply(id, json!([false, text(500), initial])));
    assert_eq!(events(session), [Event::Synced]);
}

/// Connects to a server of an older kind, whatever happened before.
fn connect_quietly(session: &mut Session) {
    session.handle_connected();
    while let Some(message) = session.poll_message() {
        let Message::Request { id, method, .. } = message else {
            continue;
        };
        session.handle_message(match method.as_str() {
            "get_schema" => Message::reply(id, schema().to_json()),
            "monitor_cond_since" => Message::reply(id, json!([false, text(500), initial()])),
            _ => Message::error(id, json!("unknown method")),
        });
    }
    assert!(session.is_synced());
}

fn initial() -> Value {
    json!({
        "Root": {text(1): {"initial": {"next": 4, "bridges": ["uuid", text(10)]}}},
        "Bridge": {text(10): {"initial": {
            "name": "br0", "tag": 5, "vlans": ["set", [1, 3]], "ids": ["map", [["a", "b"]]]}}},
    })
}

fn update(session: &mut Session, last: u128, updates: Value) {
    session.handle_message(Message::notification(
        "update3",
        json!([["monid", "Db"], text(last), updates]),
    ));
}

#[test]
fn rows_are_readable_by_type() {
    let mut session = session();
    connect(&mut session, initial());
    let root = session.replica().rows("Root").next().unwrap();
    assert_eq!(root.integer("next"), Some(4));
    let bridge = root.reference("bridges").unwrap();
    assert_eq!(bridge.table(), "Bridge");
    assert_eq!(bridge.string("name"), Some("br0"));
    assert_eq!(bridge.integer("tag"), Some(5));
    assert_eq!(bridge.integers("vlans").collect::<Vec<_>>(), [1, 3]);
    assert_eq!(bridge.get("ids", "a"), Some("b"));
    assert_eq!(bridge.map("ids").collect::<Vec<_>>(), [("a", "b")]);
    assert!(bridge.datum("no such column").is_empty());
    assert!(session.replica().find("Bridge", "name", "br1").is_none());
    assert_eq!(session.replica().len("Bridge"), 1);
}

#[test]
fn differences_and_changes() {
    let mut session = session();
    connect(&mut session, initial());
    session.replica_mut().take_changes();
    update(
        &mut session,
        501,
        json!({
            "Root": {text(1): {"modify": {"bridges": ["uuid", text(11)]}}},
            "Bridge": {
                text(10): {"modify": {"tag": ["set", []], "vlans": ["set", [3, 9]],
                                      "ids": ["map", [["a", "b"], ["c", "d"]]]}},
                text(11): {"insert": {"name": "br1"}}}}),
    );
    assert_eq!(events(&mut session), [Event::Updated]);
    assert_eq!(session.replica().last_id(), uuid(501));
    let bridge = session.replica().row("Bridge", uuid(10)).unwrap();
    assert_eq!(bridge.integer("tag"), None);
    assert_eq!(bridge.integers("vlans").collect::<Vec<_>>(), [1, 9]);
    assert_eq!(bridge.map("ids").collect::<Vec<_>>(), [("c", "d")]);
    let root = session.replica().rows("Root").next().unwrap();
    assert_eq!(root.references("bridges").count(), 2);
    let changes = session.replica_mut().take_changes();
    assert_eq!(changes["Bridge"][&uuid(11)], Change::Inserted);
    let modified = ["ids", "tag", "vlans"].into_iter().map(Arc::from).collect();
    assert_eq!(changes["Bridge"][&uuid(10)], Change::Modified(modified));

    update(
        &mut session,
        502,
        json!({
            "Root": {text(1): {"modify": {"bridges": ["uuid", text(11)], "next": 5}}},
            "Bridge": {text(11): {"delete": null}}}),
    );
    assert!(session.replica().row("Bridge", uuid(11)).is_none());
    assert_eq!(
        session.replica_mut().take_changes()["Bridge"][&uuid(11)],
        Change::Deleted
    );
}

#[test]
fn resumes_after_a_reconnect_and_replaces_without_a_common_past() {
    let mut session = session();
    connect(&mut session, initial());
    session.replica_mut().take_changes();
    session.handle_disconnected();
    assert!(!session.is_synced());
    assert_eq!(session.replica().len("Bridge"), 1);
    connect(
        &mut session,
        json!({"Bridge": {text(12): {"initial": {"name": "br2"}}}}),
    );
    let changes = session.replica_mut().take_changes();
    assert_eq!(changes["Bridge"][&uuid(10)], Change::Deleted);
    assert_eq!(changes["Bridge"][&uuid(12)], Change::Inserted);
    assert_eq!(changes["Root"][&uuid(1)], Change::Deleted);
}

#[test]
fn falls_back_to_what_older_servers_know() {
    let mut session = session();
    session.handle_connected();
    let (server_id, ..) = request(&mut session);
    let (schema_id, ..) = request(&mut session);
    session.handle_message(Message::error(server_id, json!("unknown method")));
    let mut old_schema = schema().to_json();
    old_schema["tables"]["Bridge"]["columns"]
        .as_object_mut()
        .unwrap()
        .remove("tag");
    session.handle_message(Message::reply(schema_id, old_schema));
    for expected in ["monitor_cond_since", "monitor_cond"] {
        let (id, method, _) = request(&mut session);
        assert_eq!(method, expected);
        session.handle_message(Message::error(id, json!("unknown method")));
    }
    let (id, method, params) = request(&mut session);
    assert_eq!(method, "monitor");
    assert_eq!(
        params[2]["Bridge"],
        json!([{"columns": ["ids", "name", "vlans"]}])
    );
    session.handle_message(Message::reply(
        id,
        json!({"Bridge": {text(10): {"new": {"name": "br0", "vlans": 1, "ids": ["map", []]}}}}),
    ));
    assert_eq!(
        events(&mut session),
        [
            Event::Missing(vec!["tag column in Bridge table".into()]),
            Event::Synced
        ]
    );
    session.handle_message(Message::notification(
        "update",
        json!([["monid", "Db"], {"Bridge": {text(10): {
            "old": {"vlans": 1},
            "new": {"name": "br0", "vlans": ["set", [1, 2]], "ids": ["map", []]}}}}]),
    ));
    let bridge = session.replica().row("Bridge", uuid(10)).unwrap();
    assert_eq!(bridge.integers("vlans").collect::<Vec<_>>(), [1, 2]);
    session.handle_message(Message::notification(
        "update",
        json!([["monid", "Db"], {"Bridge": {text(10): {"old": {"name": "br0"}}}}]),
    ));
    assert!(session.replica().is_empty("Bridge"));
}

#[test]
fn a_cluster_member_must_be_connected_and_lead() {
    for (connected, leader, expected) in [
        (false, true, Some(Unfit::Disconnected)),
        (true, false, Some(Unfit::NotLeader)),
        (true, true, None),
    ] {
        let mut session = session();
        session.set_leader_only(true);
        session.handle_connected();
        let (server_id, ..) = request(&mut session);
        let (schema_id, ..) = request(&mut session);
        session.handle_message(Message::reply(schema_id, schema().to_json()));
        session.handle_message(Message::reply(
            server_id,
            json!({"Database": {text(7): {"initial": {"name": "Db", "model": "clustered",
                "connected": connected, "leader": leader}}}}),
        ));
        assert_eq!(
            events(&mut session),
            expected.into_iter().map(Event::Unfit).collect::<Vec<_>>()
        );
    }
}

#[test]
fn an_update_that_does_not_fit_changes_nothing() {
    let bad = [
        json!(5),
        json!({"Nope": {}}),
        json!({"Bridge": {"x": {"delete": null}}}),
        json!({"Bridge": {text(10): {"frob": {}}}}),
        json!({"Bridge": {text(10): {"modify": {"tag": "x"}}}}),
        json!({"Bridge": {text(10): {"modify": {"nope": 1}}}}),
        json!({"Bridge": {text(10): {"modify": {"tag": 1}, "insert": {}}}}),
        json!({"Bridge": {text(99): {"modify": {"tag": 1}}}}),
        json!({"Root": {text(1): {"delete": null}}, "Bridge": {text(10): 7}}),
    ];
    for updates in bad {
        let mut session = session();
        connect(&mut session, initial());
        update(&mut session, 501, updates.clone());
        assert!(
            matches!(events(&mut session)[..], [Event::Unfit(Unfit::Update(_))]),
            "{updates}"
        );
        assert_eq!(session.replica().len("Root"), 1, "{updates}");
        // What the two sides hold is not the same: the next connection starts from nothing.
        assert!(session.replica().last_id().is_nil(), "{updates}");
    }
}

#[test]
fn a_lock_is_asked_for_on_every_connection() {
    let mut session = session();
    session.set_lock(Some("daemon"));
    session.handle_connected();
    let id = std::iter::from_fn(|| session.poll_message())
        .find_map(|message| match message {
            Message::Request { id, method, params } if method == "lock" => {
                assert_eq!(params, json!(["daemon"]));
                Some(id)
            }
            _ => None,
        })
        .unwrap();
    session.handle_message(Message::reply(id, json!({"locked": false})));
    assert!(!session.has_lock());
    session.handle_message(Message::notification("locked", json!(["daemon"])));
    assert_eq!(events(&mut session), [Event::Locked(true)]);
    session.handle_message(Message::notification("stolen", json!(["daemon"])));
    assert_eq!(events(&mut session), [Event::Locked(false)]);
}

#[test]
fn echo_is_answered() {
    let mut session = session();
    session.handle_message(Message::request("echo", "echo", json!(["x", 1])));
    assert_eq!(
        session.poll_message(),
        Some(Message::reply(json!("echo"), json!(["x", 1])))
    );
}

#[test]
fn a_transaction_reads_its_own_writes_and_becomes_operations() {
    let mut session = session();
    connect(&mut session, initial());
    let mut txn = Transaction::new(session.replica());
    txn.comment("add br9");
    txn.insert("Bridge", uuid(90));
    assert!(txn.has_row("Bridge", uuid(90)));
    txn.write("Bridge", uuid(90), "name", Datum::string("br9"));
    txn.write("Bridge", uuid(90), "tag", Datum::empty());
    txn.rely_on("Root", uuid(1), "bridges");
    txn.write("Root", uuid(1), "bridges", Datum::set([uuid(10), uuid(90)]));
    txn.add_to("Bridge", uuid(10), "vlans", &Datum::set([1, 7]));
    txn.add_to(
        "Bridge",
        uuid(10),
        "ids",
        &Datum::map([("a", "z"), ("n", "m")]),
    );
    txn.remove_from("Bridge", uuid(10), "vlans", &Datum::set([3, 4]));
    txn.increment("Root", uuid(1), "next");
    assert_eq!(txn.rows("Bridge"), [uuid(10), uuid(90)]);
    assert_eq!(txn.read("Bridge", uuid(10), "vlans"), Datum::set([1, 7]));
    assert_eq!(
        txn.read("Bridge", uuid(10), "ids"),
        Datum::map([("a", "z"), ("n", "m")])
    );
    let request = txn.build().unwrap();
    let row = "row00000000_0000_0000_0000_00000000005a";
    assert_eq!(
        request.params(Some("l")),
        json!([
            "Db",
            {"op": "wait", "table": "Root", "where": [["_uuid", "==", ["uuid", text(1)]]],
             "columns": ["bridges"], "until": "==", "timeout": 0,
             "rows": [{"bridges": ["uuid", text(10)]}]},
            {"op": "insert", "table": "Bridge", "uuid-name": row, "row": {"name": "br9"}},
            {"op": "mutate", "table": "Bridge", "where": [["_uuid", "==", ["uuid", text(10)]]],
             "mutations": [["ids", "delete", "a"], ["vlans", "delete", 3],
                           ["ids", "insert", ["map", [["a", "z"], ["n", "m"]]]],
                           ["vlans", "insert", 7]]},
            {"op": "update", "table": "Root", "where": [["_uuid", "==", ["uuid", text(1)]]],
             "row": {"bridges": ["set", [["uuid", text(10)], ["named-uuid", row]]]}},
            {"op": "mutate", "table": "Root", "where": [["_uuid", "==", ["uuid", text(1)]]],
             "mutations": [["next", "+=", 1]]},
            {"op": "select", "table": "Root", "where": [["_uuid", "==", ["uuid", text(1)]]],
             "columns": ["next"]},
            {"op": "comment", "comment": "add br9"},
            {"op": "assert", "lock": "l"},
        ])
    );
    let id = session.transact(request);
    let (wire_id, method, _) = self::request(&mut session);
    assert_eq!((method.as_str(), wire_id.as_u64()), ("transact", Some(id)));
    session.handle_message(Message::reply(
        wire_id,
        json!([{}, {"uuid": ["uuid", text(91)]}, {"count": 1}, {"count": 1}, {"count": 1},
               {"rows": [{"next": 5}]}, {}]),
    ));
    assert_eq!(
        events(&mut session),
        [Event::Transacted {
            id,
            outcome: Outcome::Committed {
                inserted: [(uuid(90), uuid(91))].into(),
                incremented: Some(5),
            }
        }]
    );
}

#[test]
fn transactions_without_effect_are_not_sent() {
    let mut session = session();
    connect(&mut session, initial());
    let replica = session.replica();
    let mut txn = Transaction::new(replica);
    txn.rely_on("Bridge", uuid(10), "tag");
    txn.write("Bridge", uuid(10), "tag", Datum::integer(5));
    txn.add_to("Bridge", uuid(10), "vlans", &Datum::integer(3));
    txn.remove_from("Bridge", uuid(10), "vlans", &Datum::integer(4));
    txn.increment("Root", uuid(1), "next");
    assert!(txn.build().is_none());
    let mut txn = Transaction::new(replica);
    txn.insert("Bridge", uuid(90));
    txn.delete("Bridge", uuid(90));
    txn.refresh("Bridge", uuid(10), "tag", Datum::integer(5));
    assert!(txn.build().is_none());
    let mut txn = Transaction::new(replica);
    txn.delete("Root", uuid(1));
    txn.delete("Bridge", uuid(10));
    assert!(!txn.has_row("Bridge", uuid(10)));
    let params = txn.build().unwrap().params(None);
    assert_eq!(params.as_array().unwrap().len(), 2, "{params}");
    assert_eq!(params[1]["op"], "delete");
}

#[test]
fn outcomes() {
    let mut session = session();
    connect(&mut session, initial());
    let build = |abort| {
        let mut txn = Transaction::new(session.replica());
        txn.write("Bridge", uuid(10), "tag", Datum::integer(6));
        if abort {
            txn.abort_at_end();
        }
        txn.build().unwrap()
    };
    let request = build(false);
    let refused = json!({"error": "constraint violation", "details": "x"});
    for (results, expected) in [
        (json!([{"error": "timed out"}, null]), Outcome::TryAgain),
        (json!([{}, {"error": "not owner"}]), Outcome::NotLocked),
        (json!([refused.clone(), null]), Outcome::Error(refused)),
        (
            json!([]),
            Outcome::Error(json!({
                "error": "syntax error",
                "details": "reply to \"transact\" lacks results",
            })),
        ),
    ] {
        assert_eq!(request.outcome(&results), expected);
    }
    let aborted = json!([{"count": 1}, {"error": "aborted"}]);
    assert_eq!(build(true).outcome(&aborted), Outcome::Aborted);
    assert!(matches!(request.outcome(&aborted), Outcome::Error(_)));
    // A lost connection leaves open what happened to what was sent.
    let (first, second) = (build(false), build(false));
    let sent = session.transact(first);
    assert!(session.poll_message().is_some());
    let unsent = session.transact(second);
    session.handle_disconnected();
    let events = events(&mut session);
    for (id, outcome) in [(sent, Outcome::Unknown), (unsent, Outcome::TryAgain)] {
        assert!(events.contains(&Event::Transacted { id, outcome }));
    }
}

#[test]
fn selection_checks_names() {
    let mut selection = Selection::new(schema());
    assert_eq!(
        selection.table("Nope"),
        Err(SelectionError::NoTable("Nope".into()))
    );
    assert_eq!(
        selection.columns("Root", &["next", "nope"]),
        Err(SelectionError::NoColumn {
            table: "Root".into(),
            column: "nope".into()
        })
    );
    selection.column("Root", "bridges").unwrap();
    let replica = Replica::new(selection);
    assert!(replica.follows("Root", "bridges"));
    assert!(!replica.follows("Bridge", "name"));
}

/// A row of the model: tag, vlans, ids.
type Model = std::collections::BTreeMap<u128, (Option<i64>, Vec<i64>, Vec<(String, String)>)>;

fn model() -> impl Strategy<Value = Model> {
    let ids = prop::collection::btree_map("[ab]", "[xy]", 0..3)
        .prop_map(|map| map.into_iter().collect::<Vec<_>>());
    let vlans = prop::collection::btree_set(0i64..5, 0..4)
        .prop_map(|set| set.into_iter().collect::<Vec<_>>());
    let row = (prop::option::of(0i64..3), vlans, ids);
    prop::collection::btree_map(1u128..5, row, 0..4)
}

fn data(row: &(Option<i64>, Vec<i64>, Vec<(String, String)>)) -> [(&'static str, Datum); 3] {
    let (tag, vlans, ids) = row;
    [
        ("tag", Datum::optional(tag.map(Atom::Integer))),
        ("vlans", Datum::set(vlans.iter().copied())),
        ("ids", Datum::map(ids.iter().cloned())),
    ]
}

/// The update that takes a server's client from `old` to `new`.
fn updates(old: &Model, new: &Model) -> Value {
    let schema = schema();
    let json = |column: &str, datum: &Datum| {
        datum.to_json(&schema.column("Bridge", column).unwrap().column_type)
    };
    let mut rows = serde_json::Map::new();
    for (id, row) in new {
        let update = match old.get(id) {
            None => {
                let columns: serde_json::Map<_, _> = data(row)
                    .iter()
                    .map(|(name, datum)| (name.to_string(), json(name, datum)))
                    .collect();
                json!({"insert": columns})
            }
            Some(before) if before != row => {
                let mut columns = serde_json::Map::new();
                for ((name, old), (_, new)) in data(before).iter().zip(&data(row)) {
                    if old != new {
                        let diff = match *name {
                            "tag" => new.clone(),
                            _ => Datum::diff(old, new),
                        };
                        columns.insert(name.to_string(), json(name, &diff));
                    }
                }
                json!({"modify": columns})
            }
            Some(_) => continue,
        };
        rows.insert(text(*id), update);
    }
    for id in old.keys().filter(|id| !new.contains_key(id)) {
        rows.insert(text(*id), json!({"delete": null}));
    }
    json!({"Bridge": rows})
}

/// Any JSON, made of what the protocol is made of.
fn any_json() -> impl Strategy<Value = Value> {
    let words = [
        "Bridge",
        "Root",
        "name",
        "tag",
        "vlans",
        "ids",
        "bridges",
        "insert",
        "modify",
        "delete",
        "initial",
        "old",
        "new",
        "uuid",
        "named-uuid",
        "set",
        "map",
        "monid",
        "Db",
        "_Server",
        "error",
        "timed out",
        "rows",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..30).prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        (0u128..20).prop_map(|n| json!(text(n))),
        (0u128..20).prop_map(|n| json!(["uuid", text(n)])),
        Just(json!(["monid", "Db"])),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        let keys = prop_oneof![
            prop::sample::select(words.to_vec()).prop_map(str::to_owned),
            (0u128..20).prop_map(text),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let methods = [
        "echo",
        "update",
        "update2",
        "update3",
        "locked",
        "stolen",
        "monitor_canceled",
    ];
    let method = prop::sample::select(methods.to_vec());
    prop_oneof![
        (any_json(), method.clone(), any_json())
            .prop_map(|(id, method, params)| Message::request(id, method, params)),
        (method, any_json(), any_json()).prop_map(|(method, a, b)| {
            Message::notification(method, json!([["monid", "Db"], a, b]))
        }),
        (0u64..12, any_json()).prop_map(|(id, result)| Message::reply(json!(id), result)),
        (0u64..12, any_json()).prop_map(|(id, error)| Message::error(json!(id), error)),
    ]
}

proptest! {
    /// Nothing that a server sends makes a session panic, and what it holds stays readable.
    #[test]
    fn takes_anything(
        before in prop::collection::vec(any_message(), 0..4),
        after in prop::collection::vec(any_message(), 0..6),
    ) {
        let mut session = session();
        session.set_lock(Some("l"));
        session.handle_connected();
        for message in before {
            session.handle_message(message);
        }
        session.set_lock(None);
        connect_quietly(&mut session);
        let mut txn = Transaction::new(session.replica());
        txn.insert("Bridge", uuid(90));
        txn.increment("Root", uuid(1), "next");
        let request = txn.build().unwrap();
        session.transact(request);
        for message in after {
            session.handle_message(message);
        }
        for row in session.replica().rows("Root") {
            let _ = format!("{row:?}");
            row.references("bridges").count();
        }
        while session.poll_message().is_some() {}
        while session.poll_event().is_some() {}
    }

    /// Whatever the server goes through, the replica holds what it holds, and the changes that it
    /// reports name exactly the rows that differ.
    #[test]
    fn follows_every_history(steps in prop::collection::vec(model(), 1..6)) {
        let mut session = session();
        connect(&mut session, json!({}));
        session.replica_mut().take_changes();
        let mut before = Model::new();
        for (i, after) in steps.into_iter().enumerate() {
            update(&mut session, 600 + i as u128, updates(&before, &after));
            let replica = session.replica();
            prop_assert_eq!(replica.len("Bridge"), after.len());
            for (id, row) in &after {
                let have = replica.row("Bridge", uuid(*id)).unwrap();
                for (name, datum) in data(row) {
                    prop_assert_eq!(have.datum(name), &datum);
                }
            }
            let changes = session.replica_mut().take_changes();
            let changed: Vec<u128> = changes
                .get("Bridge")
                .into_iter()
                .flat_map(|rows| rows.keys().map(|uuid| uuid.as_u128()))
                .collect();
            let expected: Vec<u128> = (1..5)
                .filter(|id| before.get(id) != after.get(id))
                .collect();
            prop_assert_eq!(changed, expected);
            before = after;
        }
    }

    /// Reading through a transaction agrees with what its operations do to the row.
    #[test]
    fn reads_agree_with_operations(
        start in prop::collection::btree_map("[a-d]", "[xy]", 0..4),
        steps in prop::collection::vec((any::<bool>(), "[a-d]", "[xy]"), 0..6),
    ) {
        let mut session = session();
        let entries: Vec<_> = start.iter().map(|(k, v)| json!([k, v])).collect();
        connect(&mut session, json!({"Bridge": {text(10): {"initial": {"ids": ["map", entries]}}}}));
        let mut txn = Transaction::new(session.replica());
        for (add, key, value) in &steps {
            if *add {
                txn.add_to("Bridge", uuid(10), "ids", &Datum::map([(key.as_str(), value.as_str())]));
            } else {
                txn.remove_from("Bridge", uuid(10), "ids", &Datum::string(key));
            }
        }
        let read = txn.read("Bridge", uuid(10), "ids");
        let schema = schema();
        let table = schema.table("Bridge").unwrap();
        let mut row = session.replica().row("Bridge", uuid(10)).unwrap().datum("ids").clone();
        if let Some(request) = txn.build() {
            let params = request.params(None);
            for mutation in params[1]["mutations"].as_array().unwrap() {
                let mutation = ovsdb::Mutation::from_json(
                    mutation, table, &mut ovsdb::value::NoNames).unwrap();
                row = mutation.apply(&row, &table.columns["ids"].column_type).unwrap();
            }
        }
        prop_assert_eq!(read, row);
    }
}
