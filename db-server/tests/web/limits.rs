//! What peers may ask for: size, number, time.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Server, WebSocket};
use crate::insert;

fn list_dbs() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "list_dbs"})
}

#[test]
fn oversized_and_malformed_requests() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n",
        server.port
    );
    // Refused by what it says, and by what it is.
    let said = server.raw(format!("{head}Content-Length: 99999999\r\n\r\n").as_bytes());
    assert_eq!(said.status, 413, "{said:?}");
    assert_eq!(said.json()["error"]["code"], -32007);
    let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..16 {
        chunked.extend_from_slice(b"100000\r\n");
        chunked.extend(std::iter::repeat_n(b' ', 1 << 20));
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"1\r\nx\r\n");
    let mut stream = server.connect();
    stream.write_all(&chunked).unwrap();
    let mut start = [0u8; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
    // Nesting that would not fit on a stack.
    let (open, close) = ("[".repeat(200_000), "]".repeat(200_000));
    let deep = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"echo","params":{open}{close}}}"#);
    assert_eq!(server.post(&[], &deep).json()["error"]["code"], -32602);
    let batch: Vec<Value> = std::iter::repeat_with(list_dbs).take(101).collect();
    let answer = server.post(&[], &json!(batch).to_string()).json();
    assert_eq!(answer["error"]["code"], -32010);
    let answer = server.post(&[], &json!(batch[..100]).to_string()).json();
    assert_eq!(answer.as_array().unwrap().len(), 100);
    let long = format!("{head}X: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(server.raw(long.as_bytes()).status, 431);
    assert_eq!(server.raw(b"\x16\x03\x01\x00\xff\r\n\r\n").status, 400);
    let path = head.replace("POST / ", "POST /x ");
    let path = format!("{path}Connection: close\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(server.raw(path.as_bytes()).status, 404);
    let handshake = head.replace("POST", "GET");
    let handshake = format!("{handshake}Upgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n");
    assert_eq!(server.raw(handshake.as_bytes()).status, 400);
    // The same over a WebSocket, which goes on.
    let mut socket = WebSocket::open(&server, &[]).ok().unwrap();
    socket.send(&format!("\"{}\"", "x".repeat(17 << 20)));
    assert_eq!(socket.receive().unwrap()["error"]["code"], -32007);
    for (text, code) in [("nonsense", -32700), ("{]", -32700), ("[]", -32600)] {
        socket.send(text);
        assert_eq!(socket.receive().unwrap()["error"]["code"], code, "{text}");
    }
    socket.send(r#"{"jsonrpc":"2.0","method":"echo","params":[1]}"#);
    assert_eq!(socket.call("echo", json!([2]))["result"], json!([2]));
}

#[test]
fn connections_and_subscriptions() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let mut socket = server.websocket();
    for _ in 0..100 {
        socket.subscribe(json!(["Open_vSwitch", {}]));
    }
    let answer = socket.call("monitor", json!(["Open_vSwitch", {}]));
    assert_eq!(answer["error"]["code"], -32006);
    // One that ends leaves its place to another.
    drop(socket);
    server.wait_memory("monitors", 0);
    let idle: Vec<_> = (0..100).map(|_| server.connect()).collect();
    let deadline = Instant::now() + Duration::from_secs(8);
    while server.post(&[], &list_dbs().to_string()).status != 503 {
        assert!(Instant::now() < deadline, "the 101st connection is served");
    }
    drop(idle);
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.post(&[], &list_dbs().to_string()).status != 200 {
        assert!(Instant::now() < deadline, "places are not given back");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_says_nothing_is_hung_up_on() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let silent = server.connect();
    let mut slow = server.connect();
    slow.write_all(b"POST / HTTP/1.1\r\nHo").unwrap();
    let mut kept = server.connect();
    let body = list_dbs().to_string();
    write!(
        kept,
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let start = Instant::now();
    for mut stream in [silent, slow, kept] {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
    }
    let took = start.elapsed();
    assert!(took > Duration::from_secs(5), "{took:?}");
    assert!(took < Duration::from_secs(25), "{took:?}");
}

#[test]
fn calls_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let wait = json!(["Open_vSwitch", {"op": "wait", "table": "Queue", "where": [],
        "columns": ["dscp"], "until": "==", "rows": [{"dscp": 1}]}]);
    let mut socket = server.websocket();
    for _ in 0..32 {
        socket.request("transact", wait.clone());
    }
    let answer = socket.call("echo", json!([]));
    assert_eq!(answer["error"]["code"], -32009);
    server.wait_memory("triggers", 32);
    server.transact(json!([{"op": "insert", "table": "Queue", "row": {"dscp": 1}}]));
    for _ in 0..32 {
        assert_eq!(socket.receive().unwrap()["result"], json!([{}]));
    }
    // A transaction waits no longer than its client, over HTTP too.
    server.transact(json!([{"op": "delete", "table": "Queue", "where": []}]));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "transact", "params": wait});
    let body = body.to_string();
    let mut stream = server.connect();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    server.wait_memory("triggers", 1);
    drop(stream);
    server.wait_memory("triggers", 0);
}

#[test]
fn slow_subscriber_is_told_why_it_hears_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let mut slow = server.websocket();
    let requests = json!({"Queue": {"columns": ["external_ids"]}});
    let (subscriptions, rounds) = (20, 8);
    for _ in 0..subscriptions {
        slow.subscribe(json!(["Open_vSwitch", requests]));
    }
    let mut good = server.process.client();
    let text = "x".repeat(1 << 20);
    for _ in 0..rounds {
        let delete = json!({"op": "delete", "table": "Queue", "where": []});
        good.transact(&[delete, insert(&text)]).unwrap();
    }
    server.wait_memory("monitors", 0);
    let status = format!("/proc/{}/status", server.process.child.id());
    let status = std::fs::read_to_string(status).unwrap();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = rss.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 1 << 20, "{kib} KiB resident");
    let (mut updates, mut ended) = (0, 0);
    while ended < subscriptions {
        let message = slow.receive().unwrap();
        match message["params"].get("error") {
            Some(reason) => {
                let reason = reason.as_str().unwrap();
                assert!(reason.contains("does not read"), "{reason}");
                ended += 1;
            }
            None => updates += 1,
        }
    }
    assert!(
        updates < subscriptions * rounds,
        "all {updates} updates came"
    );
    // The connection itself goes on.
    assert_eq!(slow.call("echo", json!([1]))["result"], json!([1]));
}
