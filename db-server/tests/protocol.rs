//! What the core's tests cannot show: conversions in files, and remotes that bind their clients.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Client, Process};
use serde_json::{Value, json};

const ROLES: &str = include_str!("data/roles.ovsschema");

/// Makes `conf.db` with the schema, and starts a server on it.
fn start(at: &Path, schema: &str) -> Process {
    let json: Value = serde_json::from_str(schema).unwrap();
    std::fs::write(at.join("conf.db"), db_server::log::encode(&json)).unwrap();
    Process::start(at, &[])
}

fn transact(client: &mut Client, database: &str, operations: &[Value]) -> Value {
    let params = std::iter::once(json!(database)).chain(operations.iter().cloned());
    let result = client.call("transact", params.collect()).unwrap();
    result.unwrap_or_else(|error| error)
}

fn schema(version: &str, columns: Value) -> Value {
    json!({"name": "c", "version": version, "tables": {"T": {"columns": columns}}})
}

fn one() -> Value {
    schema(
        "1.0.0",
        json!({"n": {"type": "integer"}, "old": {"type": "string"},
        "eph": {"type": "integer", "ephemeral": true}}),
    )
}

fn two() -> Value {
    schema(
        "2.0.0",
        json!({"n": {"type": {"key": "integer", "min": 0, "max": "unlimited"}},
        "new": {"type": "string"}, "eph": {"type": "integer", "ephemeral": true}}),
    )
}

/// The rows as a new client sees them.
fn rows(server: &Process, columns: &[&str]) -> Value {
    let select = json!({"op": "select", "table": "T", "where": [], "columns": columns});
    let mut reply = transact(&mut server.client(), "c", &[select]);
    reply[0]["rows"].take()
}

#[test]
fn a_conversion_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut server = start(at, &one().to_string());
    let mut client = server.client();
    let insert = json!({"op": "insert", "table": "T", "row": {"n": 1, "old": "x", "eph": 5}});
    transact(&mut client, "c", &[insert]);
    assert_eq!(
        client.call("convert", json!(["c", two()])).unwrap(),
        Ok(json!({}))
    );
    // It is not aware of such changes.
    assert!(client.receive().is_err());
    assert_eq!(
        rows(&server, &["n", "new", "eph"]),
        json!([{"n": 1, "new": "", "eph": 5}])
    );
    let insert = json!({"op": "insert", "table": "T", "row": {"n": ["set", [2, 3]]}});
    transact(&mut server.client(), "c", &[insert]);
    server.kill();
    let server = Process::start(at, &[]);
    let mut after = rows(&server, &["n", "new", "eph"]);
    after.as_array_mut().unwrap().sort_by_key(Value::to_string);
    assert_eq!(
        after,
        json!([{"n": 1, "new": "", "eph": 0}, {"n": ["set", [2, 3]], "new": "", "eph": 0}])
    );
    let text = std::fs::read_to_string(at.join("conf.db")).unwrap();
    assert!(text.contains("\"_comment\":\"converted by ovsdb-server\""));
    assert!(!text.contains("\"1.0.0\"") && !text.contains("eph\":5"));
}

/// Clients that leave without an answer, or come while a conversion is written, find one of the
/// two schemas and all rows.
#[test]
fn conversions_and_transactions_interleave() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut server = start(at, &one().to_string());
    let mut acknowledged = 0;
    for round in 0..20 {
        let mut converter = server.client();
        let schema = if round % 2 == 0 { two() } else { one() };
        let writer = std::thread::spawn({
            let mut client = server.client();
            move || {
                let insert = json!({"op": "insert", "table": "T", "row": {"n": round}});
                let mut count = 0;
                while let Ok(Ok(result)) = client.call("transact", json!(["c", insert.clone()])) {
                    assert!(result[0]["uuid"].is_array(), "{result}");
                    count += 1;
                }
                count
            }
        });
        std::thread::sleep(std::time::Duration::from_millis(10));
        let reply = converter.call("convert", json!(["c", schema])).unwrap();
        assert_eq!(reply, Ok(json!({})));
        acknowledged += writer.join().unwrap();
    }
    assert!(acknowledged > 20);
    server.kill();
    let server = Process::start(at, &[]);
    let count = rows(&server, &["_uuid"]).as_array().unwrap().len();
    // One transaction a round may have been durable without its client being told.
    assert!(
        (acknowledged..=acknowledged + 20).contains(&count),
        "{count} {acknowledged}"
    );
}

#[test]
fn converted_files_go_to_the_stock_server_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut server = start(at, &one().to_string());
    let insert = json!({"op": "insert", "table": "T", "row": {"n": 1, "old": "x"}});
    transact(&mut server.client(), "c", &[insert]);
    server
        .client()
        .call("convert", json!(["c", two()]))
        .unwrap()
        .unwrap();
    let before = rows(&server, &["_uuid", "n", "new"]);
    server.kill();
    let _ = std::fs::remove_file(at.join("db.sock"));
    std::fs::write(at.join("one.ovsschema"), one().to_string()).unwrap();
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program)
            .args(args)
            .env("OVS_RUNDIR", at)
            .output();
        let output = match output {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let required = std::env::var_os("SLUICE_REQUIRE_ROOT").is_some();
                assert!(!required, "{program} is not installed");
                eprintln!("skipped: {program} is not installed");
                return None;
            }
            output => output.unwrap(),
        };
        assert!(output.status.success(), "{program}: {output:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let file = at.join("conf.db");
    let file = file.to_str().unwrap();
    // The stock tool reads ours, and ours reads what the stock tool converted.
    let Some(version) = run("ovsdb-tool", &["db-version", file]) else {
        return;
    };
    assert_eq!(version, "2.0.0\n");
    run(
        "ovsdb-tool",
        &[
            "query",
            file,
            r#"["c",{"op":"select","table":"T","where":[]}]"#,
        ],
    );
    run(
        "ovsdb-tool",
        &["convert", file, at.join("one.ovsschema").to_str().unwrap()],
    );
    let mut server = Process::start(at, &[]);
    assert_eq!(
        rows(&server, &["_uuid", "n", "old"])[0]["_uuid"],
        before[0]["_uuid"]
    );
    // The stock client converts on our server, and it is what the stock server wrote.
    std::fs::write(at.join("two.ovsschema"), two().to_string()).unwrap();
    let socket = format!("unix:{}", at.join("db.sock").display());
    run(
        "ovsdb-client",
        &[
            "convert",
            &socket,
            at.join("two.ovsschema").to_str().unwrap(),
        ],
    );
    assert_eq!(
        run("ovsdb-client", &["get-schema-version", &socket, "c"]).unwrap(),
        "2.0.0\n"
    );
    server.kill();
    let log = run("ovsdb-tool", &["show-log", file]).unwrap();
    assert!(log.contains("\"c\" schema, version=\"2.0.0\""), "{log}");
    assert!(log.contains("\"converted by ovsdb-server\""), "{log}");
}

/// A remote's row binds who comes by it, and a changed row those who came before.
#[test]
fn remotes_bind_their_clients() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let json: Value = serde_json::from_str(ROLES).unwrap();
    std::fs::write(at.join("conf.db"), db_server::log::encode(&json)).unwrap();
    let server = Process::start(at, &["--remote=db:roles,Conf,connections"]);
    let mut root = server.client();
    let sockets = ["role.sock", "reader.sock"].map(|name| at.join(name));
    let connection = |name: &str, path: &Path, role: &str, read_only: bool| {
        json!({"op": "insert", "table": "Connection", "uuid-name": name, "row":
            {"target": format!("punix:{}", path.display()), "role": role, "read_only": read_only}})
    };
    let made = transact(
        &mut root,
        "roles",
        &[
            connection("a", &sockets[0], "host", false),
            connection("b", &sockets[1], "", true),
            json!({"op": "insert", "table": "Conf", "row": {"connections":
            ["set", [["named-uuid", "a"], ["named-uuid", "b"]]]}}),
        ],
    );
    assert_eq!(made.as_array().unwrap().len(), 3, "{made}");
    let connect = |path: &Path| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            match Client::connect(path) {
                Ok(client) => return client,
                Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    };
    let open = json!({"op": "insert", "table": "Open", "row": {}});
    let mut bound = connect(&sockets[0]);
    assert_eq!(
        transact(&mut bound, "roles", std::slice::from_ref(&open))[0]["details"],
        "RBAC rules for client \"(null)\" role \"host\" prohibit row insertion into table \"Open\"."
    );
    let mut reader = connect(&sockets[1]);
    assert_eq!(
        transact(&mut reader, "roles", std::slice::from_ref(&open))[0]["details"],
        "insert operation not allowed when database server is in read only mode"
    );
    let freed = json!({"op": "update", "table": "Connection", "where": [], "row":
        {"role": "", "read_only": false}});
    transact(&mut root, "roles", &[freed]);
    assert!(bound.receive().is_err() && reader.receive().is_err());
    for socket in &sockets {
        let reply = transact(&mut connect(socket), "roles", std::slice::from_ref(&open));
        assert!(reply[0]["uuid"].is_array(), "{reply}");
    }
}
