//! The JSON-RPC 2.0 face of the real program, over HTTP and WebSocket.

mod client;
#[path = "../common/mod.rs"]
mod common;
mod limits;
mod subscriptions;

use client::{Server, TOKEN, WebSocket, write_token};
use common::command;
use serde_json::{Value, json};

fn insert(text: &str) -> Value {
    json!({"op": "insert", "table": "Queue", "row": {"external_ids": ["map", [["t", text]]]}})
}

fn count(server: &Server) -> usize {
    let mut client = server.process.client();
    let select = json!({"op": "select", "table": "Queue", "where": [], "columns": ["_uuid"]});
    let results = client.transact(&[select]).unwrap();
    results[0]["rows"].as_array().unwrap().len()
}

#[test]
fn every_method_answers_as_over_ovsdb() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let mut ovsdb = server.process.client();
    for (method, params) in [
        ("list_dbs", json!([])),
        ("get_schema", json!(["Open_vSwitch"])),
        ("get_server_id", json!([])),
        ("echo", json!([1, {"a": [null, "\u{e9}"]}])),
        (
            "transact",
            json!(["Open_vSwitch", insert("x"), {"op": "comment", "comment": "c"}]),
        ),
    ] {
        let mut expected = ovsdb.call(method, params.clone()).unwrap().unwrap();
        let mut result = server.call(method, params)["result"].clone();
        if method == "transact" {
            expected[0]["uuid"][1] = json!("U");
            result[0]["uuid"][1] = json!("U");
        }
        assert_eq!(result, expected, "{method}");
    }
    assert_eq!(count(&server), 2);
    // Parameters by name, and none at all.
    let by_name = server.call("get_schema", json!({"database": "Open_vSwitch"}));
    assert_eq!(by_name["result"]["name"], "Open_vSwitch");
    let names = server.post(&[], r#"{"jsonrpc":"2.0","id":"a","method":"list_dbs"}"#);
    let expected = json!({"jsonrpc": "2.0", "id": "a", "result": ["Open_vSwitch", "_Server"]});
    assert_eq!(names.json(), expected);
    // A transaction that fails has a result; what is no transaction has an error.
    let failing = json!([insert("y"), {"op": "abort"}, insert("z")]);
    let results = server.transact(failing.clone());
    let mut params = failing.as_array().unwrap().clone();
    params.insert(0, json!("Open_vSwitch"));
    let expected = ovsdb.call("transact", Value::Array(params)).unwrap();
    let mut expected = expected.unwrap();
    let mut results = results;
    expected[0]["uuid"][1] = json!("U");
    results[0]["uuid"][1] = json!("U");
    assert_eq!(results, expected);
    assert_eq!(count(&server), 2);
    for (method, params) in [
        ("transact", json!(["nope"])),
        ("get_schema", json!(["nope"])),
    ] {
        let expected = ovsdb.call(method, params.clone()).unwrap().unwrap_err();
        let error = server.call(method, params)["error"].clone();
        assert_eq!(error["code"], 1);
        assert_eq!(error["message"], "unknown database");
        assert_eq!(error["data"], expected);
    }
}

/// The examples of the specification, and what goes with them.
#[test]
fn requests_errors_and_batches_of_json_rpc_2() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let error = |id: Value, code: i32| json!({"id": id, "code": code});
    for (body, expected) in [
        (
            r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#,
            error(Value::Null, -32700),
        ),
        ("", error(Value::Null, -32700)),
        (
            r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#,
            error(Value::Null, -32600),
        ),
        ("{}", error(Value::Null, -32600)),
        (
            r#"{"jsonrpc": "2.0", "method": "echo", "id": {}}"#,
            error(Value::Null, -32600),
        ),
        (
            r#"{"jsonrpc": "1.0", "method": "echo", "id": 4}"#,
            error(json!(4), -32600),
        ),
        (r#"{"method": "echo", "id": 4}"#, error(json!(4), -32600)),
        ("[]", error(Value::Null, -32600)),
        (
            r#"[{"jsonrpc": "2.0", "method": "echo", "id": "1"}, {"jsonrpc": "2.0", "method""#,
            error(Value::Null, -32700),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "foobar", "id": "1"}"#,
            error(json!("1"), -32601),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "lock", "params": ["l"], "id": 5}"#,
            error(json!(5), -32601),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "monitor", "params": ["Open_vSwitch", {}], "id": 5}"#,
            error(json!(5), -32601),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "list_dbs", "params": [1], "id": 5}"#,
            error(json!(5), -32602),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "get_schema", "params": [], "id": 5}"#,
            error(json!(5), -32602),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "get_schema", "params": {"database": "x", "y": 1}, "id": 5}"#,
            error(json!(5), -32602),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "transact", "params": [{"op": "abort"}], "id": 5}"#,
            error(json!(5), -32602),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "transact", "params": "Open_vSwitch", "id": 5}"#,
            error(json!(5), -32602),
        ),
        (
            r#"{"jsonrpc": "2.0", "method": "echo", "params": ["a\u0000b"], "id": 5}"#,
            error(json!(5), -32602),
        ),
    ] {
        let answer = server.post(&[], body).json();
        assert_eq!(answer["jsonrpc"], "2.0", "{body}: {answer}");
        let got = json!({"id": answer["id"], "code": answer["error"]["code"]});
        assert_eq!(got, expected, "{body}: {answer}");
        assert!(answer.get("result").is_none());
    }
    let batch = server.post(&[], "[1,2,3]").json();
    assert_eq!(batch.as_array().unwrap().len(), 3);
    assert_eq!(batch[2]["error"]["code"], -32600);
    let batch = json!([
        {"jsonrpc": "2.0", "method": "echo", "params": [1], "id": "1"},
        {"jsonrpc": "2.0", "method": "echo", "params": [7]},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "list_dbs", "id": "9"},
    ]);
    let answers = server.post(&[], &batch.to_string()).json();
    let short: Vec<Value> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| json!([answer["id"], answer["result"], answer["error"]["code"]]))
        .collect();
    assert_eq!(
        short,
        [
            json!(["1", [1], null]),
            json!([null, null, -32600]),
            json!(["5", null, -32601]),
            json!(["9", ["Open_vSwitch", "_Server"], null]),
        ]
    );
    // Notifications are carried out and have no answer, alone and in a batch.
    let authorization = format!("Bearer {TOKEN}");
    let notification = |text: &str| {
        let params = json!(["Open_vSwitch", insert(text)]);
        json!({"jsonrpc": "2.0", "method": "transact", "params": params})
    };
    for body in [
        notification("a"),
        json!([notification("b"), notification("c")]),
        json!({"jsonrpc": "2.0", "method": "no such method"}),
    ] {
        let answer = server.post(&[("Authorization", &authorization)], &body.to_string());
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{body}");
    }
    assert_eq!(count(&server), 3);
}

#[test]
fn a_token_lets_write() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let server = Server::start(at, &[]);
    let write = json!({"jsonrpc": "2.0", "id": 1, "method": "transact",
        "params": ["Open_vSwitch", insert("x")]})
    .to_string();
    let refused = server.post(&[], &write);
    assert_eq!(refused.status, 200);
    assert_eq!(refused.json()["result"][0]["error"], "not allowed");
    let read = json!({"jsonrpc": "2.0", "id": 1, "method": "transact", "params": ["Open_vSwitch",
        {"op": "select", "table": "Queue", "where": []}]});
    let read = server.post(&[], &read.to_string()).json();
    assert_eq!(read["result"][0]["rows"], json!([]));
    for value in [
        "Bearer wrong-token-of-the-tests",
        "Bearer the-token-of-the-test",
        "Bearer ",
        "Bearer",
        "Basic dGhlLXRva2Vu",
    ] {
        let refused = server.post(&[("Authorization", value)], &write);
        assert_eq!(refused.status, 401, "{value}: {refused:?}");
        assert!(refused.head.contains("www-authenticate: bearer"));
    }
    assert_eq!(count(&server), 0);
    let authorization = format!("Bearer {TOKEN}");
    let good = server.post(&[("Authorization", &authorization)], &write);
    assert!(good.json()["result"][0]["uuid"].is_array(), "{good:?}");
    assert_eq!(count(&server), 1);
    // The same over WebSocket.
    let transact = json!(["Open_vSwitch", insert("y")]);
    let mut reader = WebSocket::open(&server, &[]).ok().unwrap();
    let refused = reader.call("transact", transact.clone());
    assert_eq!(refused["result"][0]["error"], "not allowed");
    let wrong = [("Authorization", "Bearer wrong-token-of-the-tests")];
    let refused = WebSocket::open(&server, &wrong).err().unwrap();
    assert_eq!(refused.status, 401);
    let mut writer = server.websocket();
    assert!(writer.call("transact", transact.clone())["result"][0]["uuid"].is_array());
    assert_eq!(count(&server), 2);
    // Another token: who came with the old one may not write any more.
    write_token(at, "another-token-of-the-tests");
    let refused = server.post(&[("Authorization", &authorization)], &write);
    assert_eq!(refused.status, 401);
    let refused = writer.call("transact", transact);
    assert_eq!(refused["error"]["data"]["error"], "not allowed");
    let authorization = "Bearer another-token-of-the-tests";
    let good = server.post(&[("Authorization", authorization)], &write);
    assert!(good.json()["result"][0]["uuid"].is_array(), "{good:?}");
    assert_eq!(count(&server), 3);
}

#[test]
fn pages_and_names_that_are_not_ours_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"list_dbs"}"#;
    let preflight = [
        ("Origin", "http://ui.example"),
        ("Access-Control-Request-Method", "POST"),
    ];
    {
        let server = Server::start(at, &[]);
        let own = format!("http://127.0.0.1:{}", server.port);
        for (headers, status) in [
            (&[("Origin", "http://evil.example")][..], 403),
            (&[("Origin", "null")], 403),
            (&[("Origin", own.as_str())], 200),
            (&[("Host", "evil.example")], 403),
            (&[("Host", "localhost")], 200),
        ] {
            let answer = server.post(headers, body);
            assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
            assert!(!answer.head.contains("access-control"), "{answer:?}");
        }
        let refused = WebSocket::open(&server, &[("Origin", "http://evil.example")]);
        assert_eq!(refused.err().unwrap().status, 403);
        assert_eq!(server.request("OPTIONS", &preflight, "").status, 403);
        assert_eq!(server.request("OPTIONS", &[], "").status, 405);
        assert_eq!(server.request("GET", &[], "").status, 405);
        // A form of a page can send this without being asked; it is no JSON.
        let form = [("Content-Type", "text/plain")];
        assert_eq!(server.request("POST", &form, body).status, 415);
    }
    let args = [
        "--http-allow-origin=http://ui.example",
        "--http-allow-host=db.example",
    ];
    let server = Server::start(at, &args);
    let answer = server.post(&preflight[..1], body);
    assert_eq!(answer.status, 200);
    let allow = "access-control-allow-origin: http://ui.example";
    assert!(answer.head.contains(allow), "{answer:?}");
    let answer = server.request("OPTIONS", &preflight, "");
    assert_eq!(answer.status, 204);
    for header in [
        allow,
        "access-control-allow-methods: post",
        "access-control-allow-headers: authorization, content-type",
    ] {
        assert!(answer.head.contains(header), "{header}: {answer:?}");
    }
    assert!(WebSocket::open(&server, &preflight[..1]).is_ok());
    let foreign = server.post(&[("Origin", "http://evil.example")], body);
    assert_eq!(foreign.status, 403);
    assert_eq!(server.post(&[("Host", "db.example")], body).status, 200);
}

#[test]
fn options() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let open = at.join("open");
    std::fs::write(&open, TOKEN).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = format!("--http-token-file={}", open.display());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--http={}", taken.local_addr().unwrap());
    for (args, expected) in [
        (&["--http=0.0.0.0:0"][..], "--http-allow-remote"),
        (&["--http=[::]:0"], "--http-allow-remote"),
        (&["--http=192.0.2.1:0"], "--http-allow-remote"),
        (&["--http=localhost"], "ADDRESS:PORT"),
        (&["--http=127.0.0.1:0", &open], "mode 0644"),
        (
            &["--http=127.0.0.1:0", "--http-token-file=/nonexistent/x"],
            "/nonexistent/x",
        ),
        (&["--http-allow-remote"], "--http"),
        (
            &["--http=127.0.0.1:0", "--http-allow-origin=*"],
            "--http-allow-origin=*",
        ),
        (
            &["--http=127.0.0.1:0", "--http-client-ca-cert=/x"],
            "'--http-client-ca-cert' is not supported: this build has no TLS",
        ),
        (&[&taken], &taken),
    ] {
        let output = command(at)
            .args(args)
            .arg(at.join("conf.db"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}

#[test]
fn any_port_is_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let log = at.join("log");
    let log_file = format!("--log-file={}", log.display());
    let _server = common::Process::start(at, &["--http=127.0.0.1:0", &log_file]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let address = loop {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if let Some((_, rest)) = text.split_once("http:127.0.0.1:") {
            break rest.split_once(": listening").unwrap().0.to_owned();
        }
        assert!(std::time::Instant::now() < deadline, "{text}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let port: u16 = address.parse().unwrap();
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
}

#[test]
fn killed_and_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let mut server = Server::start(at, &[]);
    let port = server.port;
    let mut socket = server.websocket();
    let params = json!(["Open_vSwitch", {"Queue": [{"columns": ["external_ids"]}]}]);
    let (_, first) = socket.subscribe(params.clone());
    for n in 0..20 {
        assert!(server.transact(json!([insert(&n.to_string())]))[0]["uuid"].is_array());
    }
    server.process.kill();
    while socket.receive().is_ok() {}
    let mut server = Server::start_at(at, port, &[]);
    // What was acknowledged is there, and the client starts over.
    let mut params = params.as_array().unwrap().clone();
    params.push(first["last_txn_id"].clone());
    let mut socket = server.websocket();
    let (_, first) = socket.subscribe(Value::Array(params));
    assert_eq!(first["found"], false);
    assert_eq!(first["updates"]["Queue"].as_object().unwrap().len(), 20);
    // Whoever is told to connect again has to.
    let mut control = common::Client::connect(&at.join("db.ctl")).unwrap();
    control
        .call("ovsdb-server/reconnect", json!([]))
        .unwrap()
        .unwrap();
    while socket.receive().is_ok() {}
    let mut socket = server.websocket();
    socket.call("echo", json!([]));
    // A server that is told to end has given its port back when it says so.
    control.call("exit", json!([])).unwrap().unwrap();
    let next = std::net::TcpListener::bind(("127.0.0.1", port));
    next.expect("the port is free");
    while socket.receive().is_ok() {}
    let _ = server.process.child.wait();
}
