//! The daemon against bad input, full disks, damaged files and clients that do not read.

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use common::{Client, Process, appctl, command};
use ovsdb::jsonrpc::Message;
use serde_json::{Value, json};

fn insert(id: &str) -> Value {
    json!({"op": "insert", "table": "Queue", "row": {"external_ids": ["map", [["id", id]]]}})
}

fn count(client: &mut Client) -> usize {
    let select = json!({"op": "select", "table": "Queue", "where": [], "columns": ["_uuid"]});
    client.transact(&[select]).unwrap()[0]["rows"]
        .as_array()
        .unwrap()
        .len()
}

#[test]
fn hostile_bytes_end_only_their_connection() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), &[]);
    let mut good = server.client();
    let deep = format!(
        "{{\"id\":1,\"method\":\"echo\",\"params\":{}",
        "[".repeat(100_000)
    );
    let wide = format!(
        "{{\"id\":1,\"method\":\"echo\",\"params\":[{}",
        "[],".repeat(100_000)
    );
    let long = format!("{{\"id\":\"{}", "x".repeat(1 << 20));
    for bytes in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"[]",
        b"{}",
        b"{\"id\":5}",
        b"{\"id\":5,\"method\":7,\"params\":[]}",
        b"{\"id\":5,\"method\":\"echo\",\"params\":7}",
        b"{\"id\":5,\"method\":\"echo\",\"params\":[\xff\xfe]}",
        b"{\"id\":5,\"method\":\"echo\",\"params\":[1e999999]}",
        b"{\"id\":5,\"method\":\"echo\",\"params\":[\"\\ud800\"]}",
        deep.as_bytes(),
        wide.as_bytes(),
        long.as_bytes(),
    ] {
        let mut stream = UnixStream::connect(directory.path().join("db.sock")).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let _ = stream.write_all(bytes);
        let mut answer = [0u8; 4096];
        let _ = stream.read(&mut answer);
        assert!(
            good.transact(&[insert("x")]).unwrap()[0]
                .get("uuid")
                .is_some()
        );
    }
    // Truncated at every byte, then gone.
    let whole = Message::request(1, "transact", json!(["Open_vSwitch", insert("cut")])).to_bytes();
    for cut in 0..whole.len() {
        let mut stream = UnixStream::connect(directory.path().join("db.sock")).unwrap();
        stream.write_all(&whole[..cut]).unwrap();
    }
    assert_eq!(count(&mut good), 13);
}

#[test]
fn second_server_on_the_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), &[]);
    let other = directory.path().join("other.sock");
    let output = command(directory.path())
        .arg("--unixctl=none")
        .arg(format!("--remote=punix:{}", other.display()))
        .arg(directory.path().join("conf.db"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(text.contains("already open in another process"), "{text}");
    assert!(text.contains(&server.child.id().to_string()), "{text}");
    assert!(server.client().transact(&[insert("x")]).is_ok());
}

#[test]
fn files_that_are_no_database_are_refused_and_left_alone() {
    for (contents, expected) in [
        (&b"hello, world\n"[..], "not an ovsdb database file"),
        (b"OVSDB CLUSTER 12 abc\n", "clustered"),
        (b"OVSDB JSON 12 abc\n{}", "damaged"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("conf.db");
        std::fs::write(&path, contents).unwrap();
        let output = command(directory.path()).arg(&path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success());
        assert!(
            text.contains(expected) && text.contains("conf.db"),
            "{text}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), contents);
    }
}

/// A client that reads nothing for long is not sent ever more, and when it reads again it ends with
/// the same rows as everybody.
#[test]
fn slow_clients_catch_up() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), &[]);
    let mut good = server.client();
    let row = |n: i64, text: &str| {
        let ids = json!(["map", [["text", text]]]);
        json!({"op": "insert", "table": "Queue", "row": {"dscp": n, "external_ids": ids}})
    };
    good.transact(&[row(0, "first")]).unwrap();
    let zero = json!("00000000-0000-0000-0000-000000000000");
    let mut slow = Vec::new();
    for (method, more) in [
        ("monitor", None),
        ("monitor_cond", None),
        ("monitor_cond_since", Some(zero)),
    ] {
        let mut client = server.client();
        let wanted = json!({"Queue": [{"columns": ["dscp", "external_ids"]}]});
        let mut params = vec![json!("Open_vSwitch"), json!("m"), wanted];
        params.extend(more);
        let reply = client.call(method, Value::Array(params)).unwrap().unwrap();
        let mut copy = Rows::new();
        follow(&mut copy, reply.get(2).unwrap_or(&reply));
        slow.push((client, copy));
    }
    // Rows that come and go, and one that changes: two updates each time, one of them long.
    const ROUNDS: i64 = 20;
    let text = "x".repeat(1 << 20);
    for n in 1..=ROUNDS {
        let old = json!({"op": "delete", "table": "Queue", "where": [["dscp", "!=", 0]]});
        good.transact(&[old, row(n, &text)]).unwrap();
        let change = json!({"op": "update", "table": "Queue", "where": [["dscp", "==", 0]],
            "row": {"external_ids": ["map", [["text", n.to_string()]]]}});
        good.transact(&[change]).unwrap();
    }
    // A mark tells that all has come.
    good.transact(&[row(63, "last")]).unwrap();
    let select = json!({"op": "select", "table": "Queue", "where": [],
        "columns": ["_uuid", "dscp", "external_ids"]});
    let rows = good.transact(&[select]).unwrap().remove(0);
    let rows = rows["rows"].as_array().unwrap().iter();
    let expected: Rows = rows
        .map(|row| {
            let mut row = row.as_object().unwrap().clone();
            let uuid = row.remove("_uuid").unwrap();
            (uuid[1].as_str().unwrap().to_owned(), Value::Object(row))
        })
        .collect();
    assert_eq!(expected.len(), 3);
    for (client, copy) in &mut slow {
        let mut updates = 0;
        while !copy.values().any(|row| row["dscp"] == 63) {
            let Message::Notification { params, .. } = client.receive().unwrap() else {
                continue;
            };
            updates += 1;
            follow(copy, params.as_array().unwrap().last().unwrap());
        }
        assert!(updates < ROUNDS / 2, "{updates} updates");
        assert!(*copy == expected);
    }
}

/// Rows by UUID.
type Rows = BTreeMap<String, Value>;

/// Carries out the table updates of a notification, of any version.
fn follow(rows: &mut Rows, updates: &Value) {
    for (uuid, update) in updates["Queue"].as_object().into_iter().flatten() {
        let whole = ["initial", "insert", "new"];
        if let Some(row) = whole.iter().find_map(|kind| update.get(kind)) {
            rows.insert(uuid.clone(), row.clone());
        } else if let Some(changed) = update.get("modify") {
            // The one key of the map is there before and after, so that its difference is the new
            // element.
            let row = rows.get_mut(uuid).unwrap().as_object_mut().unwrap();
            row.extend(changed.as_object().unwrap().clone());
        } else {
            assert!(rows.remove(uuid).is_some(), "{uuid} is not there");
        }
    }
}

/// Needs root, to mount a file system of its own that is soon full.
#[test]
fn full_disk_refuses_writes_keeps_reads_and_heals() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = |args: &[&str]| Command::new(args[0]).args(&args[1..]).arg(&disk).status();
    match mount(&["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs"]) {
        Ok(status) if status.success() => {}
        other => {
            eprintln!("skipped: cannot mount a tmpfs: {other:?}");
            return;
        }
    }
    let result = std::panic::catch_unwind(|| {
        let server = Process::start(&disk, &[]);
        let (mut writer, mut reader) = (server.client(), server.client());
        let filler = disk.join("filler");
        std::fs::write(&filler, vec![0u8; 64 << 10]).unwrap();
        let text = "x".repeat(2000);
        let mut acknowledged = 0;
        let error = loop {
            match writer
                .transact(&[insert(&text)])
                .map_err(|error| error.to_string())
            {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
            assert!(acknowledged < 100, "the disk never fills");
        };
        assert!(
            error.contains("I/O error") && error.contains("No space left"),
            "{error}"
        );
        let status = || {
            let command = "ovsdb-server/get-db-storage-status";
            appctl(&disk.join("db.ctl"), command, &["Open_vSwitch"]).unwrap()
        };
        assert!(status().contains("No space left"), "{}", status());
        // Reads go on, and show what was acknowledged.
        assert_eq!(count(&mut reader), acknowledged);
        std::fs::remove_file(&filler).unwrap();
        assert!(writer.transact(&[insert(&text)]).is_ok());
        assert_eq!(status(), "status: ok\n");
        assert_eq!(count(&mut reader), acknowledged + 1);
        drop(server);
        let server = Process::start(&disk, &[]);
        assert_eq!(count(&mut server.client()), acknowledged + 1);
    });
    let _ = Command::new("umount").arg("-l").arg(&disk).status();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn options_and_exit_codes() {
    let directory = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (&["--remote=bogus:x"][..], "bogus:x"),
        (&["--remote=pssl:6640"], "TLS"),
        (&["--sync-from=bogus:1"], "--sync-from"),
        (&["--no-such-option"], "no-such-option"),
        (&["--remote=db:Open_vSwitch,Nope,x"], "no table named Nope"),
        (
            &["--remote=db:Nope,Open_vSwitch,x"],
            "no database named Nope",
        ),
        (&["--remote=punix:/no/such/dir/sock"], "/no/such/dir/sock"),
    ] {
        let output = command(directory.path())
            .args(args)
            .arg(directory.path().join("conf.db"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains(expected), "{args:?}: {text}");
    }
}
