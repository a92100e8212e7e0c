//! Commands and options of the running server, against the answers of ovsdb-server 3.1.

mod common;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Client, Named, create, eventually, small_schema};
use serde_json::{Value, json};

/// Commands and what ovsdb-server 3.1 answers to them, in this order. `Err` is an error; the
/// texts were taken from a run of it.
const SCRIPT: &[(&str, &[&str], Result<&str, &str>)] = &[
    ("ovsdb-server/list-dbs", &[], Ok("_Server\nmydb\n")),
    ("ovsdb-server/add-db", &["b.db"], Ok("")),
    (
        "ovsdb-server/add-db",
        &["b.db"],
        Err("ovsdb error: b.db: already open\n"),
    ),
    (
        "ovsdb-server/add-db",
        &["c.db"],
        Err("ovsdb error: other: duplicate database name\n"),
    ),
    (
        "ovsdb-server/add-db",
        &["nope.db"],
        Err("I/O error: nope.db: open failed (No such file or directory)\n"),
    ),
    ("ovsdb-server/list-dbs", &[], Ok("_Server\nmydb\nother\n")),
    ("ovsdb-server/add-remote", &["db:other,T,a"], Ok("")),
    (
        "ovsdb-server/add-remote",
        &["db:nope,T,a"],
        Err("\"db:nope,T,a\": no database named nope\n"),
    ),
    (
        "ovsdb-server/add-remote",
        &["db:mydb,X,a"],
        Err("\"db:mydb,X,a\": no table named X\n"),
    ),
    (
        "ovsdb-server/add-remote",
        &["db:mydb,T,x"],
        Err("\"db:mydb,T,x\": table \"T\" has no column \"x\"\n"),
    ),
    (
        "ovsdb-server/add-remote",
        &["db:mydb"],
        Err("\"db:mydb\": invalid syntax\n"),
    ),
    (
        "ovsdb-server/remove-remote",
        &["x"],
        Err("no such remote\n"),
    ),
    ("ovsdb-server/remove-remote", &["db:other,T,a"], Ok("")),
    (
        "ovsdb-server/remove-db",
        &["nope"],
        Err("Failed to find the database.\n"),
    ),
    (
        "ovsdb-server/remove-db",
        &["_Server"],
        Err("Cannot remove reserved database.\n"),
    ),
    ("ovsdb-server/remove-db", &["other"], Ok("")),
    ("ovsdb-server/list-dbs", &[], Ok("_Server\nmydb\n")),
    (
        "ovsdb-server/compact",
        &["nope"],
        Err("no database by that name\n"),
    ),
    (
        "ovsdb-server/compact",
        &["_Server"],
        Err("cannot compact built-in databases\n"),
    ),
    ("ovsdb-server/compact", &["mydb"], Ok("")),
    ("ovsdb-server/compact", &[], Ok("")),
    ("ovsdb-server/reconnect", &[], Ok("")),
    ("ovsdb-server/memory-trim-on-compaction", &["on"], Ok("")),
    (
        "ovsdb-server/memory-trim-on-compaction",
        &["x"],
        Err("invalid argument\n"),
    ),
    (
        "ovsdb-server/get-db-storage-status",
        &["mydb"],
        Ok("status: ok\n"),
    ),
    (
        "ovsdb-server/get-db-storage-status",
        &["_Server"],
        Ok("status: ok\n"),
    ),
    (
        "ovsdb-server/get-db-storage-status",
        &["nope"],
        Err("Failed to find the database.\n"),
    ),
    ("ovsdb-server/sync-status", &[], Ok("state: active\n")),
    ("ovsdb-server/get-active-ovsdb-server", &[], Ok("")),
    (
        "ovsdb-server/connect-active-ovsdb-server",
        &[],
        Ok("Unable to connect: active server is not specified.\n"),
    ),
    ("ovsdb-server/get-sync-exclude-tables", &[], Ok("")),
    (
        "ovsdb-server/set-sync-exclude-tables",
        &["mydb:T,other:U"],
        Ok(""),
    ),
    (
        "ovsdb-server/get-sync-exclude-tables",
        &[],
        Ok("mydb:T,other:U\n"),
    ),
    (
        "ovsdb-server/set-active-ovsdb-server",
        &["tcp:127.0.0.1:1"],
        Ok(""),
    ),
    (
        "ovsdb-server/get-active-ovsdb-server",
        &[],
        Ok("tcp:127.0.0.1:1\n"),
    ),
    (
        "ovsdb-server/set-active-ovsdb-server-probe-interval",
        &["1000"],
        Ok(""),
    ),
    (
        "ovsdb-server/set-active-ovsdb-server-probe-interval",
        &["x"],
        Ok("Invalid probe interval, integer value expected\n"),
    ),
    ("ovsdb-server/connect-active-ovsdb-server", &[], Ok("")),
    (
        "ovsdb-server/sync-status",
        &[],
        Ok("state: backup\nconnecting: tcp:127.0.0.1:1\n"),
    ),
    ("ovsdb-server/disconnect-active-ovsdb-server", &[], Ok("")),
    ("ovsdb-server/sync-status", &[], Ok("state: active\n")),
];

fn answers(stock: bool) {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    create(&at.join("a.db"), &small_schema("mydb"));
    create(&at.join("b.db"), &small_schema("other"));
    create(&at.join("c.db"), &small_schema("other"));
    let Some(server) = Named::start(at, "a", stock, &["a.db"]) else {
        return;
    };
    for (command, args, expected) in SCRIPT {
        if stock && args.contains(&"c.db") {
            // It takes the answer below for a lasting one and later ends in an assertion.
            continue;
        }
        let answer = server.appctl(command, args);
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(answer, expected, "{command} {args:?}");
    }
}

#[test]
fn our_answers() {
    answers(false);
}

#[test]
fn answers_of_the_stock_server() {
    answers(true);
}

#[test]
fn refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let server = Named::start(directory.path(), "a", false, &["--no-dbs"]).unwrap();
    for (command, args, expected) in [
        (
            "cluster/status",
            &["x"][..],
            "\"cluster/status\" is not supported",
        ),
        ("ovsdb-server/tlog-set", &["d:T", "on"], "not supported"),
        ("ovsdb-server/add-db", &["relay:d:tcp:127.0.0.1:1"], "relay"),
        ("ovsdb-server/add-remote", &["pssl:6640"], "TLS"),
        ("ovsdb-server/set-active-ovsdb-server", &["ssl:x:1"], "TLS"),
        (
            "ovsdb-server/set-sync-exclude-tables",
            &["x"],
            "DATABASE:TABLE",
        ),
    ] {
        let error = server.appctl(command, args).unwrap_err();
        assert!(error.contains(expected), "{command}: {error}");
    }
    let listed = server.appctl("list-commands", &[]).unwrap();
    assert!(listed.contains("ovsdb-server/sync-status") && !listed.contains("cluster/"));
    assert_eq!(
        server.appctl("ovsdb-server/list-dbs", &[]).unwrap(),
        "_Server\n"
    );
}

fn insert(db: &str, a: &str) -> Value {
    json!([db, {"op": "insert", "table": "T", "row": {"a": a}}])
}

fn select(db: &str) -> Value {
    json!([db, {"op": "select", "table": "T", "where": [], "columns": ["_uuid"]}])
}

fn count(server: &Named, db: &str) -> usize {
    server.transact(select(db))[0]["rows"]
        .as_array()
        .unwrap()
        .len()
}

/// A database that was removed is free for another server, with all that was acknowledged.
#[test]
fn databases_move_between_servers() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    create(&at.join("a.db"), &small_schema("a"));
    let one = Named::start(at, "one", false, &["a.db"]).unwrap();
    let two = Named::start(at, "two", false, &["--no-dbs"]).unwrap();
    for round in 0..3 {
        one.transact(insert("a", "x"));
        let error = two.appctl("ovsdb-server/add-db", &["a.db"]).unwrap_err();
        assert!(error.contains("already open in another process"), "{error}");
        one.appctl("ovsdb-server/remove-db", &["a"]).unwrap();
        let mut client = Client::connect(&one.socket).unwrap();
        let gone = client.call("transact", select("a")).unwrap().unwrap_err();
        assert_eq!(gone["error"], "unknown database");
        two.appctl("ovsdb-server/add-db", &["a.db"]).unwrap();
        assert_eq!(count(&two, "a"), 2 * round + 1);
        two.transact(insert("a", "y"));
        two.appctl("ovsdb-server/remove-db", &["a"]).unwrap();
        one.appctl("ovsdb-server/add-db", &["a.db"]).unwrap();
        assert_eq!(count(&one, "a"), 2 * round + 2);
    }
}

/// Sockets that a column names are there as long as the database is.
#[test]
fn remotes_of_a_database_come_and_go_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    create(&at.join("a.db"), &small_schema("a"));
    let server = Named::start(at, "one", false, &["--remote=db:a,T,a", "a.db"]).unwrap();
    let extra = at.join("extra.sock");
    server.transact(insert("a", &format!("punix:{}", extra.display())));
    eventually("listening", || UnixStream::connect(&extra).ok());
    server.appctl("ovsdb-server/remove-db", &["a"]).unwrap();
    assert!(UnixStream::connect(&extra).is_err());
    server.appctl("ovsdb-server/add-db", &["a.db"]).unwrap();
    eventually("listening again", || UnixStream::connect(&extra).ok());
}

/// A remote whose row says `read_only` refuses what writes.
#[test]
fn read_only_remote() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let conn = json!({"isRoot": true, "columns": {
        "target": {"type": "string"}, "read_only": {"type": "boolean"}}});
    let root = json!({"isRoot": true, "columns": {"conns": {"type": {
        "key": {"type": "uuid", "refTable": "Conn"}, "min": 0, "max": "unlimited"}}}});
    create(
        &at.join("a.db"),
        &json!({"name": "a", "tables": {"Conn": conn, "Root": root}}),
    );
    let server = Named::start(at, "one", false, &["--remote=db:a,Root,conns", "a.db"]).unwrap();
    let extra = at.join("extra.sock");
    let row = json!({"target": format!("punix:{}", extra.display()), "read_only": true});
    server.transact(json!(["a",
        {"op": "insert", "table": "Conn", "row": row, "uuid-name": "c"},
        {"op": "insert", "table": "Root", "row": {"conns": ["named-uuid", "c"]}}]));
    let mut client = eventually("listening", || Client::connect(&extra).ok());
    let delete = json!(["a", {"op": "delete", "table": "Root", "where": []}]);
    let results = client.call("transact", delete).unwrap().unwrap();
    assert_eq!(results[0]["error"], "not allowed");
    assert_eq!(
        results[0]["details"],
        "delete operation not allowed when database server is in read only mode"
    );
    let select = json!(["a", {"op": "select", "table": "Root", "where": []}]);
    let results = client.call("transact", select).unwrap().unwrap();
    assert_eq!(results[0]["rows"].as_array().unwrap().len(), 1);
}

#[test]
fn run_option_ends_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    create(&at.join("a.db"), &small_schema("a"));
    for (command, code, message) in [
        ("test -S a.sock", 0, ""),
        ("exit 3", 1, "exit 3: child exited, exit status 3"),
        ("kill -9 $$", 1, "kill -9 $$: child exited, killed"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_db-server"))
            .current_dir(at)
            .env("OVS_RUNDIR", at)
            .args([
                "-vconsole:off",
                "--unixctl=run.ctl",
                "--remote=punix:a.sock",
            ])
            .arg(format!("--run={command}"))
            .arg("a.db")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{command}: {text}");
        assert!(text.contains(message), "{command}: {text}");
    }
}

/// Whether a new connection is served.
fn is_served(socket: &Path) -> bool {
    let Ok(mut client) = Client::connect(socket) else {
        return false;
    };
    let limit = Some(Duration::from_millis(500));
    client.stream.set_read_timeout(limit).unwrap();
    client.call("echo", json!([])).is_ok()
}

#[test]
fn clients_beyond_the_limit_are_refused_and_the_others_served() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    create(&at.join("a.db"), &small_schema("a"));
    let args = ["--max-clients-per-remote=5", "a.db"];
    let server = Named::start(at, "one", false, &args).unwrap();
    // The connection by which the start was noticed has to be gone.
    let mut clients: Vec<Client> = Vec::new();
    for n in 0..5 {
        eventually("a place", || {
            let mut client = Client::connect(&server.socket).ok()?;
            client.call("echo", json!([n])).ok()?.ok()?;
            clients.push(client);
            Some(())
        });
    }
    assert!(!is_served(&server.socket));
    for client in &mut clients {
        client.call("transact", select("a")).unwrap().unwrap();
    }
    let log = std::fs::read_to_string(at.join("one.log")).unwrap();
    assert!(log.contains("refused: it has 5 clients already"), "{log}");
    clients.pop();
    eventually("a free place", || is_served(&server.socket).then_some(()));
}

/// Without free descriptors nobody new is served, and nobody else notices.
#[test]
fn descriptors_run_out() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    create(&at.join("a.db"), &small_schema("a"));
    let (socket, log) = (at.join("a.sock"), at.join("a.log"));
    let child = Command::new("/bin/sh")
        .args(["-c", "ulimit -n 40; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_db-server"))
        .args(["-vconsole:off", "--unixctl=a.ctl"])
        .arg(format!("--log-file={}", log.display()))
        .arg(format!("--remote=punix:{}", socket.display()))
        .arg("a.db")
        .current_dir(at)
        .env("OVS_RUNDIR", at)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _child = Killed(child);
    let mut good = eventually("listening", || Client::connect(&socket).ok());
    good.call("transact", insert("a", "x")).unwrap().unwrap();
    let many: Vec<_> = (0..60).map(|_| UnixStream::connect(&socket)).collect();
    eventually("the warning", || {
        let text = std::fs::read_to_string(&log).unwrap();
        text.contains("accept failed").then_some(())
    });
    for _ in 0..20 {
        good.call("transact", insert("a", "x")).unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(many);
    eventually("served again", || is_served(&socket).then_some(()));
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches("accept failed").count(), 1, "{text}");
}

/// A process that goes with its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Acknowledgements go on while a file is compacted, and all of them are in the new file.
///
/// `SLUICE_COMPACT_MB=100 cargo test --release -p db-server --test control compaction --
/// --nocapture` gives the figures for a larger database.
#[test]
fn compaction_does_not_stop_writers() {
    let megabytes: usize = std::env::var("SLUICE_COMPACT_MB")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4);
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    create(&at.join("a.db"), &small_schema("a"));
    let server = Named::start(at, "one", false, &["a.db"]).unwrap();
    let mut client = Client::connect(&server.socket).unwrap();
    let text = "x".repeat(400);
    let row = json!({"op": "insert", "table": "T", "row": {"a": text}});
    for _ in 0..megabytes {
        let mut params = vec![json!("a")];
        params.resize(2001, row.clone());
        client
            .call("transact", Value::Array(params))
            .unwrap()
            .unwrap();
    }
    let before = std::fs::metadata(at.join("a.db")).unwrap().len();
    let ctl = server.ctl.clone();
    let compaction = std::thread::spawn(move || {
        let begin = Instant::now();
        let answer = common::appctl(&ctl, "ovsdb-server/compact", &[]);
        (answer, begin.elapsed())
    });
    let (mut acknowledged, mut longest) = (0usize, Duration::ZERO);
    while !compaction.is_finished() || acknowledged == 0 {
        let begin = Instant::now();
        client
            .call("transact", insert("a", "during"))
            .unwrap()
            .unwrap();
        longest = longest.max(begin.elapsed());
        acknowledged += 1;
    }
    let (answer, took) = compaction.join().unwrap();
    assert_eq!(answer, Ok(String::new()));
    eprintln!(
        "{before} bytes compacted in {took:?}; {acknowledged} transactions acknowledged \
         meanwhile, the slowest after {longest:?}"
    );
    client
        .call("transact", insert("a", "after"))
        .unwrap()
        .unwrap();
    server.kill();
    let server = Named::start(at, "two", false, &["a.db"]).unwrap();
    assert_eq!(count(&server, "a"), 2000 * megabytes + acknowledged + 1);
    assert!(!at.join("a.db.tmp").exists());
}
