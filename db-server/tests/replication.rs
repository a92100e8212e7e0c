//! Active-backup replication between this server and itself or the stock one, both ways.

mod common;

use std::path::Path;

use common::{Client, Named, create, eventually, small_schema};
use serde_json::{Value, json};

fn insert(table: &str, a: &str, n: i64) -> Value {
    json!({"op": "insert", "table": table, "row": {"a": a, "n": n}})
}

/// The rows of a table with their UUIDs.
fn rows(server: &Named, table: &str) -> Vec<String> {
    let select = json!({"op": "select", "table": table, "where": [],
        "columns": ["_uuid", "a", "n"]});
    let results = server.transact(json!(["mydb", select]));
    let rows = results[0]["rows"].as_array().expect("rows");
    let text = |row: &Value| format!("{} {} {}", row["_uuid"], row["a"], row["n"]);
    let mut rows: Vec<String> = rows.iter().map(text).collect();
    rows.sort();
    rows
}

fn same(active: &Named, backup: &Named, what: &str) {
    let expected = rows(active, "T");
    eventually(what, || (rows(backup, "T") == expected).then_some(()));
}

fn start_active(at: &Path, stock: bool) -> Option<Named> {
    let server = Named::start(at, "active", stock, &["active.db"])?;
    Some(server)
}

/// A backup takes over what the active server has, follows it, refuses writes, comes back after
/// the active server was away, and becomes active when told.
fn follow(active_is_stock: bool, backup_is_stock: bool) {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    create(&at.join("active.db"), &small_schema("mydb"));
    create(&at.join("backup.db"), &small_schema("mydb"));
    // Something of its own, which goes, except in the table that is not replicated.
    let Some(backup) = Named::start(at, "backup", backup_is_stock, &["backup.db"]) else {
        return;
    };
    backup.transact(json!([
        "mydb",
        insert("T", "own", 1),
        insert("U", "own", 1)
    ]));
    drop(backup);
    let Some(active) = start_active(at, active_is_stock) else {
        return;
    };
    active.transact(json!([
        "mydb",
        insert("T", "first", 1),
        insert("U", "first", 1)
    ]));
    let sync = format!("--sync-from=unix:{}", active.socket.display());
    let args = [&sync, "--sync-exclude-tables=mydb:U", "backup.db"];
    let backup = Named::start(at, "backup", backup_is_stock, &args).unwrap();
    same(&active, &backup, "contents");
    let status = format!(
        "state: backup\nreplicating: unix:{}\ndatabase: mydb\nexclude: mydb:U\n",
        active.socket.display()
    );
    let shown = || backup.appctl("ovsdb-server/sync-status", &[]).ok();
    eventually("status", || (shown()? == status).then_some(()));
    // A client of the backup sees what happens at the active server.
    let mut client = Client::connect(&backup.socket).unwrap();
    let monitor = json!(["mydb", "m", {"T": {"columns": ["a"]}}]);
    client.call("monitor", monitor).unwrap().unwrap();
    active.transact(json!(["mydb", insert("T", "second", 2)]));
    let update = client.receive().unwrap();
    assert!(format!("{update:?}").contains("second"), "{update:?}");
    active.transact(json!(["mydb",
        {"op": "update", "table": "T", "where": [["n", "==", 1]], "row": {"a": "changed"}},
        {"op": "delete", "table": "T", "where": [["n", "==", 2]]},
        insert("T", "third", 3)]));
    same(&active, &backup, "changes");
    if !backup_is_stock {
        let kept = rows(&backup, "U");
        assert!(kept.len() == 1 && kept[0].contains("own"), "{kept:?}");
    }
    let refused = backup.transact(json!(["mydb", insert("T", "no", 9)]));
    assert_eq!(refused[0]["error"], "not allowed");
    assert_eq!(
        refused[0]["details"],
        "insert operation not allowed when database server is in read only mode"
    );
    // The active server goes away and comes back with something new.
    drop(active);
    // The stock server goes on to say that it replicates.
    if !backup_is_stock {
        eventually("disconnected", || (shown()? != status).then_some(()));
    }
    let active = start_active(at, active_is_stock).unwrap();
    active.transact(json!(["mydb", insert("T", "fourth", 4)]));
    same(&active, &backup, "contents after reconnection");
    let expected = rows(&active, "T");
    backup
        .appctl("ovsdb-server/disconnect-active-ovsdb-server", &[])
        .unwrap();
    assert_eq!(shown().unwrap(), "state: active\n");
    let written = backup.transact(json!(["mydb", insert("T", "mine", 5)]));
    assert!(written[0].get("uuid").is_some(), "{written}");
    // What was replicated is in the backup's file.
    backup.kill();
    let backup = Named::start(at, "backup", backup_is_stock, &["backup.db"]).unwrap();
    assert_eq!(rows(&backup, "T").len(), expected.len() + 1);
}

#[test]
fn ours_follows_ours() {
    follow(false, false);
}

#[test]
fn ours_follows_stock() {
    follow(true, false);
}

#[test]
fn stock_follows_ours() {
    follow(false, true);
}

/// What makes no sense is given up, and the server is active again, as ovsdb-server is.
#[test]
fn following_oneself_or_something_else_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    create(&at.join("active.db"), &small_schema("mydb"));
    create(&at.join("other.db"), &small_schema("other"));
    let active = start_active(at, false).unwrap();
    let other = Named::start(at, "other", false, &["other.db"]).unwrap();
    for server in [&active, &other] {
        let target = format!("unix:{}", active.socket.display());
        let run = |command: &str, args: &[&str]| server.appctl(command, args).unwrap();
        run("ovsdb-server/set-active-ovsdb-server", &[&target]);
        run("ovsdb-server/connect-active-ovsdb-server", &[]);
        eventually("active again", || {
            (run("ovsdb-server/sync-status", &[]) == "state: active\n").then_some(())
        });
    }
    let log = std::fs::read_to_string(at.join("active.log")).unwrap();
    assert!(log.contains("Self replicating is not allowed"), "{log}");
    let log = std::fs::read_to_string(at.join("other.log")).unwrap();
    assert!(log.contains("Nothing to replicate"), "{log}");
}
