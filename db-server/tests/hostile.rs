//! Peers that send what nobody should: every field wrong in every way, messages without end, many
//! connections at once. A well-behaved client is served all the while, and the rows stay.

mod common;
mod mutants;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Client, Process};
use mutants::mutants;
use ovsdb::jsonrpc::Message;
use serde_json::{Value, json};

fn insert(id: &str) -> Value {
    json!({"op": "insert", "table": "Queue", "row": {"external_ids": ["map", [["id", id]]]}})
}

/// All rows that the requests here touch.
fn rows(client: &mut Client) -> Value {
    let select = |table: &str| json!({"op": "select", "table": table, "where": []});
    let mut results = client.transact(&[select("Queue"), select("QoS")]).unwrap();
    for result in &mut results {
        let rows = result["rows"].as_array_mut().unwrap();
        rows.sort_by_key(Value::to_string);
    }
    json!(results)
}

/// A valid request of every method and operation.
fn requests() -> Vec<Value> {
    let db = "Open_vSwitch";
    let uuid = "11111111-2222-4333-8444-555555555555";
    let wanted = json!({"Queue": [{"columns": ["dscp", "external_ids"],
        "select": {"initial": true, "insert": true, "delete": false, "modify": true}}]});
    let conditional = json!({"Queue": [{"columns": ["dscp"], "where": [["dscp", "==", 3]]}]});
    let change = json!({"Queue": [{"where": [["dscp", "<", 9]]}]});
    let operations = [
        json!({"op": "insert", "table": "QoS", "uuid-name": "q", "uuid": uuid,
            "row": {"type": "x", "queues": ["map", [[1, ["named-uuid", "r"]]]]}}),
        json!({"op": "insert", "table": "Queue", "uuid-name": "r", "row": {"dscp": 3}}),
        json!({"op": "select", "table": "Queue", "where": [["dscp", "includes", 3]],
            "columns": ["_uuid", "dscp"], "sort": ["dscp"]}),
        json!({"op": "update", "table": "QoS", "where": [["_uuid", "==", ["uuid", uuid]]],
            "row": {"other_config": ["map", [["a", "b"]]]}}),
        json!({"op": "mutate", "table": "Queue", "where": [["dscp", "==", ["set", []]]],
            "mutations": [["external_ids", "insert", ["map", [["k", "v"]]]],
                ["external_ids", "delete", ["set", ["z"]]]]}),
        json!({"op": "wait", "timeout": 0, "table": "QoS", "where": [], "columns": ["type"],
            "until": "!=", "rows": [{"type": "y"}]}),
        json!({"op": "comment", "comment": "c"}),
        json!({"op": "commit", "durable": false}),
        json!({"op": "assert", "lock": "l"}),
        json!({"op": "delete", "table": "QoS", "where": [["_uuid", "==", ["uuid", uuid]]]}),
    ];
    let mut transaction = vec![json!(db)];
    transaction.extend(operations);
    let methods = [
        ("list_dbs", json!([])),
        ("get_schema", json!([db])),
        ("get_server_id", json!([])),
        ("set_db_change_aware", json!([true])),
        ("echo", json!([1, "x"])),
        ("lock", json!(["l"])),
        ("transact", Value::Array(transaction)),
        ("steal", json!(["l2"])),
        ("unlock", json!(["l2"])),
        ("monitor", json!([db, "m1", wanted])),
        ("monitor_cond", json!([db, "m2", conditional])),
        ("monitor_cond_since", json!([db, "m3", conditional, uuid])),
        ("monitor_cond_change", json!(["m2", "m2", change])),
        ("monitor_cancel", json!(["m1"])),
    ];
    methods
        .into_iter()
        .map(|(method, params)| json!({"id": 77, "method": method, "params": params}))
        .chain([json!({"id": null, "method": "cancel", "params": [77]})])
        .collect()
}

#[test]
fn every_field_wrong_in_every_way() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), &[]);
    let mut good = server.client();
    good.transact(&[insert("a"), insert("b")]).unwrap();
    let mut before = rows(&mut good);
    let mut bad = server.client();
    let (mut sent, mut errors, mut fine, mut closed) = (0, 0, 0, 0);
    for request in requests() {
        for (path, mutant) in mutants(&request) {
            sent += 1;
            let mut bytes = mutant.to_string().into_bytes();
            bytes.extend(Message::request(json!("probe"), "echo", json!([])).to_bytes());
            let _ = bad.stream.write_all(&bytes);
            let mut failed = false;
            let alive = loop {
                match bad.receive() {
                    Ok(Message::Response { id, .. }) if id == json!("probe") => break true,
                    Ok(Message::Response { result, .. }) => {
                        failed |= match &result {
                            Err(_) => true,
                            Ok(Value::Array(results)) => {
                                results.iter().any(|result| result.get("error").is_some())
                            }
                            Ok(_) => false,
                        };
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let timed_out =
                            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                        assert!(!timed_out, "no answer after {path:?}: {mutant}");
                        break false;
                    }
                }
            };
            errors += usize::from(failed);
            closed += usize::from(!alive);
            fine += usize::from(alive && !failed);
            if !alive {
                bad = server.client();
            }
            // What was refused changed nothing.
            if mutant.get("method") == Some(&json!("transact")) || !alive {
                let after = rows(&mut good);
                assert!(!failed || after == before, "{path:?}: {mutant}");
                before = after;
            }
        }
    }
    assert!(
        good.transact(&[insert("c")]).unwrap()[0]
            .get("uuid")
            .is_some()
    );
    println!("{sent} wrong requests: {errors} errors, {closed} closed, {fine} fine or unanswered");
    assert!(sent > 2000 && errors > 1000 && closed > 50);
}

/// Writes until the peer closes or `limit` bytes are written; how many were.
fn flood(socket: &Path, start: &[u8], chunk: &[u8], limit: usize) -> usize {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut written = 0;
    if stream.write_all(start).is_ok() {
        while written < limit && stream.write_all(chunk).is_ok() {
            written += chunk.len();
        }
    }
    written
}

fn resident_kib(server: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn endless_messages_are_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), &[]);
    let socket = directory.path().join("db.sock");
    let mut good = server.client();
    let start = b"{\"id\":1,\"method\":\"echo\",\"params\":[";
    let string = [&start[..], b"\""].concat();
    // A string of 100 MB, arrays a million deep, a number and white space without end.
    for (start, byte, limit) in [
        (&string[..], b'x', 100 << 20),
        (start, b'[', 4 << 20),
        (start, b'1', 100 << 20),
        (b"", b' ', 100 << 20),
    ] {
        let begun = Instant::now();
        let taken = flood(&socket, start, &vec![byte; 1 << 20], limit);
        println!(
            "{} MiB of {:?} taken in {:?}",
            taken >> 20,
            byte as char,
            begun.elapsed()
        );
        assert!(taken < limit || byte == b' ', "all of {byte:?} was taken");
    }
    assert!(good.transact(&[insert("x")]).is_ok());
    let resident = resident_kib(&server);
    assert!(resident < 512 << 10, "{resident} KiB resident");
}

#[test]
fn ids_of_every_kind_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), &[]);
    let mut client = server.client();
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    for id in [
        json!("x"),
        json!(-5),
        json!(1.5),
        json!(u64::MAX),
        json!(true),
        json!([1, [2]]),
        json!({"a": {"b": null}}),
        json!("y".repeat(1 << 20)),
        deep,
    ] {
        client
            .send(&Message::request(id.clone(), "echo", json!([])))
            .unwrap();
        let reply = client.receive().unwrap();
        assert_eq!(reply, Message::reply(id, json!([])));
    }
}

#[test]
fn drip_by_drip() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), &[]);
    let mut good = server.client();
    let request = Message::request(1, "transact", json!(["Open_vSwitch", insert("drip")]));
    let bytes = request.to_bytes();
    let mut drips: Vec<Client> = (0..50).map(|_| server.client()).collect();
    let mut slowest = Duration::ZERO;
    for (i, byte) in bytes.iter().enumerate() {
        for drip in &mut drips {
            drip.stream.write_all(&[*byte]).unwrap();
        }
        if i % 10 == 0 {
            let start = Instant::now();
            good.transact(&[insert("good")]).unwrap();
            slowest = slowest.max(start.elapsed());
        }
    }
    for drip in &mut drips {
        let Message::Response { result, .. } = drip.receive().unwrap() else {
            panic!("no reply");
        };
        assert!(result.unwrap()[0].get("uuid").is_some());
    }
    assert!(
        slowest < Duration::from_secs(5),
        "{slowest:?} for one transaction"
    );
}

#[test]
fn a_client_that_asks_and_never_reads() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), &[]);
    let mut good = server.client();
    let mut deaf = UnixStream::connect(directory.path().join("db.sock")).unwrap();
    deaf.set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let bytes = Message::request(1, "echo", json!(["x".repeat(1 << 20)])).to_bytes();
    let mut asked = 0;
    while asked < 400 && deaf.write_all(&bytes).is_ok() {
        asked += 1;
    }
    assert!(asked < 400, "400 MB of answers gather");
    assert!(good.transact(&[insert("x")]).is_ok());
    let resident = resident_kib(&server);
    assert!(resident < 512 << 10, "{resident} KiB resident");
}

#[test]
fn thousands_of_connections() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid value of this plain C struct and outlives both calls.
    let hard = unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        limit.rlim_max
    };
    let many = 10_000.min(
        usize::try_from(hard)
            .unwrap_or(usize::MAX)
            .saturating_sub(200),
    );
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(
        directory.path(),
        &["--max-clients=20000", "--max-clients-per-remote=20000"],
    );
    let socket = directory.path().join("db.sock");
    let mut good = server.client();
    let mut crowd = Vec::new();
    let mut slowest = Duration::ZERO;
    for i in 0..many {
        let mut stream = match UnixStream::connect(&socket) {
            Ok(stream) => stream,
            // Over a limit of the server's: then it says so by not taking more.
            Err(_) => break,
        };
        // Half a request each.
        let _ = stream.write_all(b"{\"id\":1,\"method\":\"echo\",");
        crowd.push(stream);
        if i % 500 == 0 {
            let start = Instant::now();
            good.transact(&[insert("good")]).unwrap();
            slowest = slowest.max(start.elapsed());
        }
    }
    println!(
        "{} connections; slowest transaction meanwhile {slowest:?}",
        crowd.len()
    );
    assert!(
        slowest < Duration::from_secs(5),
        "{slowest:?} for one transaction"
    );
    // The last of them is served like the first.
    for stream in [0, crowd.len() - 1] {
        let stream = &mut crowd[stream];
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(b"\"params\":[]}").unwrap();
        let mut answer = [0u8; 100];
        let count = stream.read(&mut answer).unwrap();
        assert!(count > 0, "closed");
    }
    drop(crowd);
    assert!(server.client().transact(&[insert("after")]).is_ok());
}
