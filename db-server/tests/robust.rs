//! The daemon against bad input, full disks, damaged files and clients that do not read.

mod common;

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

#[test]
fn slow_client_is_cut_off_and_the_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start(directory.path(), &[]);
    let mut slow = server.client();
    let monitor = json!(["Open_vSwitch", "m", {"Queue": {"columns": ["external_ids"]}}]);
    slow.call("monitor", monitor).unwrap().unwrap();
    let mut good = server.client();
    let text = "x".repeat(4 << 20);
    for round in 0..24 {
        let update = json!({"op": "insert", "table": "Queue", "row": {
            "external_ids": ["map", [["text", text], ["n", round.to_string()]]]}});
        let delete = json!({"op": "delete", "table": "Queue", "where": []});
        good.transact(&[delete, update]).unwrap();
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let rss = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kib: u64 = rss.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 1 << 20, "{kib} KiB resident");
    let mut messages = 0;
    let ended = loop {
        match slow.receive() {
            Ok(_) => messages += 1,
            Err(error) => break error,
        }
    };
    assert!(messages < 24, "all {messages} updates came");
    assert_ne!(ended.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(count(&mut good), 1);
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
