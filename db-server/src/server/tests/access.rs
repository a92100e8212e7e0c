//! Clients that may not do everything.

use super::*;

const ROLES: &str = include_str!("../../../tests/data/roles.ovsschema");

fn peer(role: &str, id: Option<&str>) -> Peer {
    Peer {
        role: role.into(),
        id: id.map(Into::into),
        read_only: false,
    }
}

/// A server with the database `roles` and rules for the role `host`.
fn ruled() -> Harness {
    let mut h = Harness::new();
    let schema = serde_json::from_str(ROLES).unwrap();
    h.server
        .add_database(Database::new(DatabaseSchema::from_json(&schema).unwrap()));
    h.server.handle_connect(1, Peer::default());
    let permit = |name: &str, authorization: Value, rows: bool, update: Value| {
        json!({"op": "insert", "table": "RBAC_Permission", "uuid-name": name,
            "row": {"table": name, "authorization": authorization, "insert_delete": rows,
                "update": update}})
    };
    let role = json!({"op": "insert", "table": "RBAC_Role", "row": {"name": "host",
    "permissions": ["map", [
        ["Chassis", ["named-uuid", "Chassis"]],
        ["Binding", ["named-uuid", "Binding"]],
        ["Open", ["named-uuid", "Open"]],
    ]]}});
    let operations = [
        json!("roles"),
        permit(
            "Chassis",
            json!("name"),
            true,
            json!(["set", ["host", "config"]]),
        ),
        permit("Binding", json!("external_ids:owner"), false, json!("up")),
        permit("Open", json!(""), true, json!("up")),
        role,
        json!({"op": "insert", "table": "Chassis", "row": {"name": "c2"}}),
        json!({"op": "insert", "table": "Binding", "row": {"name": "b1",
            "external_ids": ["map", [["owner", "c1"]]]}}),
        json!({"op": "insert", "table": "Binding", "row": {"name": "b2",
            "external_ids": ["map", [["owner", "c2"]]]}}),
    ];
    let reply = h.call(1, "transact", json!(operations));
    assert!(!reply.to_string().contains("details"), "{reply}");
    h.server.handle_connect(11, peer("host", Some("c1")));
    h.server.handle_connect(12, peer("host", None));
    h.server.handle_connect(13, peer("ghost", Some("c1")));
    h.server.handle_connect(14, peer("", None));
    h
}

/// What comes of one operation: `ok`, or what is prohibited.
fn outcome(h: &mut Harness, session: SessionId, operation: Value) -> String {
    let reply = h.call(session, "transact", json!(["roles", operation]));
    let result = &reply["result"][0];
    match result["error"].as_str() {
        None => "ok".to_owned(),
        Some("permission error") => {
            let details = result["details"].as_str().unwrap();
            details.split(" prohibit ").nth(1).unwrap().to_owned()
        }
        Some(_) => result.to_string(),
    }
}

#[test]
fn rules_bind_roles() {
    let mut h = ruled();
    let insert = |table: &str, row: Value| json!({"op": "insert", "table": table, "row": row});
    let update = |table: &str, name: &str, row: Value| json!({"op": "update", "table": table, "where": [["name", "==", name]], "row": row});
    let mutate = |table: &str, column: &str| {
        json!({"op": "mutate", "table": table, "where": [],
            "mutations": [[column, "insert", ["map", [["a", "b"]]]]]})
    };
    let delete = |table: &str, name: &str| json!({"op": "delete", "table": table, "where": [["name", "==", name]]});
    for (operation, expected) in [
        // Rows of one's own name may come, change in the named columns, and go.
        (insert("Chassis", json!({"name": "c1"})), "ok"),
        (
            insert("Chassis", json!({"name": "c9"})),
            "row insertion into table \"Chassis\".",
        ),
        (update("Chassis", "c1", json!({"host": "x"})), "ok"),
        (
            update("Chassis", "c1", json!({"name": "z"})),
            "modification of table \"Chassis\".",
        ),
        (
            update("Chassis", "c2", json!({"host": "x"})),
            "modification of table \"Chassis\".",
        ),
        (update("Chassis", "none", json!({"name": "x"})), "ok"),
        (
            mutate("Chassis", "config"),
            "mutate operation on table \"Chassis\".",
        ),
        (
            delete("Chassis", "c2"),
            "row deletion from table \"Chassis\".",
        ),
        (delete("Chassis", "c1"), "ok"),
        (
            mutate("Chassis", "config"),
            "mutate operation on table \"Chassis\".",
        ),
        // A key of a map says whose the row is; rows may not come or go.
        (update("Binding", "b1", json!({"up": true})), "ok"),
        (
            update("Binding", "b2", json!({"up": true})),
            "modification of table \"Binding\".",
        ),
        (
            insert(
                "Binding",
                json!({"external_ids": ["map", [["owner", "c1"]]]}),
            ),
            "row insertion into table \"Binding\".",
        ),
        (
            delete("Binding", "b1"),
            "row deletion from table \"Binding\".",
        ),
        (
            mutate("Binding", "external_ids"),
            "mutate operation on table \"Binding\".",
        ),
        // An empty string is everybody's.
        (insert("Open", json!({"name": "o"})), "ok"),
        (update("Open", "o", json!({"up": true})), "ok"),
        (
            update("Open", "o", json!({"name": "p"})),
            "modification of table \"Open\".",
        ),
        // No permissions for a table: nothing, also of no row.
        (
            insert("Closed", json!({})),
            "row insertion into table \"Closed\".",
        ),
        (delete("Closed", "x"), "row deletion from table \"Closed\"."),
        (
            update("RBAC_Role", "host", json!({"name": "x"})),
            "modification of table \"RBAC_Role\".",
        ),
        // Everything else is free.
        (
            json!({"op": "select", "table": "Closed", "where": []}),
            "ok",
        ),
        (json!({"op": "commit", "durable": true}), "ok"),
        (json!({"op": "comment", "comment": "x"}), "ok"),
    ] {
        assert_eq!(
            outcome(&mut h, 11, operation.clone()),
            expected,
            "{operation}"
        );
    }
    for (session, expected) in [
        (12, "row insertion into table \"Open\"."),
        (13, "row insertion into table \"Open\"."),
        (14, "ok"),
    ] {
        assert_eq!(
            outcome(&mut h, session, insert("Open", json!({}))),
            expected
        );
    }
    // Databases without rules bind nobody.
    assert_eq!(
        h.call(12, "transact", json!(["d", super::insert(1)]))["result"][0]["error"],
        Value::Null
    );
}

#[test]
fn prohibitions_name_the_client() {
    let mut h = ruled();
    let closed = json!({"op": "insert", "table": "Closed", "row": {}});
    for (session, who) in [
        (11, "client \"c1\" role \"host\""),
        (12, "client \"(null)\" role \"host\""),
        (13, "client \"c1\" role \"ghost\""),
    ] {
        let reply = h.call(session, "transact", json!(["roles", closed]));
        assert_eq!(
            reply["result"][0]["details"],
            format!("RBAC rules for {who} prohibit row insertion into table \"Closed\".")
        );
    }
    let reply = h.call(
        11,
        "convert",
        json!(["roles", {"name": "roles", "tables": {}}]),
    );
    assert_eq!(
        reply["error"]["details"],
        "RBAC rules for client \"c1\" role \"host\" prohibit \"convert\" of database roles (only \
         the root role may convert databases)"
    );
}

#[test]
fn readers_only_read() {
    let mut h = Harness::new();
    let reader = Peer {
        read_only: true,
        ..Peer::default()
    };
    h.server.handle_connect(11, reader);
    let refused = |name: &str| {
        json!({"error": "not allowed", "details":
            format!("{name} operation not allowed when database server is in read only mode")})
    };
    for (operation, expected) in [
        (insert(1), refused("insert")),
        (
            json!({"op": "update", "table": "T", "where": [], "row": {}}),
            refused("update"),
        ),
        (
            json!({"op": "mutate", "table": "T", "where": [], "mutations": []}),
            refused("mutate"),
        ),
        (
            json!({"op": "delete", "table": "T", "where": []}),
            refused("delete"),
        ),
        (json!({"op": "commit", "durable": false}), refused("commit")),
        (json!({"op": "comment", "comment": "x"}), json!({})),
        (
            json!({"op": "select", "table": "T", "where": []}),
            json!({"rows": []}),
        ),
    ] {
        assert_eq!(
            h.transact(11, json!([operation]))[0],
            expected,
            "{operation}"
        );
    }
    let reply = h.call(11, "convert", json!(["d", {"name": "d", "tables": {}}]));
    assert_eq!(reply["error"], refused("convert"));
    // The whole server: all have to connect again, and then only read.
    h.server.set_read_only(true);
    h.server.set_read_only(true);
    h.drain();
    assert_eq!(h.closed, [1, 2, 3, 11]);
    h.server.handle_connect(1, Peer::default());
    assert_eq!(h.transact(1, json!([insert(1)]))[0], refused("insert"));
    h.server.set_read_only(false);
    h.server.handle_connect(1, Peer::default());
    assert_eq!(h.transact(1, json!([insert(1)]))[0]["error"], Value::Null);
}
