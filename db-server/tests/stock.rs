//! Files and clients of a stock Open vSwitch, where it is installed.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{Client, Process};
use serde_json::{Value, json};

/// Runs a stock program in `directory`; `None` when it is not installed.
fn stock(directory: &Path, program: &str, args: &[&str]) -> Option<Output> {
    match Command::new(program)
        .env("OVS_RUNDIR", directory)
        .env("OVS_LOGDIR", directory)
        .env("OVS_DBDIR", directory)
        .args(args)
        .output()
    {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {program} is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn run(directory: &Path, program: &str, args: &[&str]) -> String {
    let output = stock(directory, program, args).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {args:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn rows(socket: &Path) -> Vec<Value> {
    let mut client = Client::connect(socket).unwrap();
    let select = json!({"op": "select", "table": "Queue", "where": [],
        "columns": ["external_ids", "dscp"]});
    let results = client.transact(&[select]).unwrap();
    let mut rows = results[0]["rows"].as_array().unwrap().clone();
    rows.sort_by_key(Value::to_string);
    rows
}

fn write(socket: &Path, start: i64) {
    let mut client = Client::connect(socket).unwrap();
    for n in start..start + 5 {
        let insert = json!({"op": "insert", "table": "Queue", "row": {"dscp": n,
            "external_ids": ["map", [["a", format!("\u{e9}\"\\{n}")], ["b", "x"]]]}});
        let change = json!({"op": "mutate", "table": "Queue", "where": [["dscp", "==", n]],
            "mutations": [["external_ids", "delete", ["set", ["b"]]],
                ["external_ids", "insert", ["map", [["c", "y"]]]]]});
        let clear = json!({"op": "update", "table": "Queue", "where": [["dscp", "==", n - 3]],
            "row": {"dscp": ["set", []]}});
        for operation in [insert, change, clear] {
            client.transact(&[operation]).unwrap();
        }
    }
}

#[test]
fn files_go_to_the_stock_server_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    if stock(at, "ovsdb-tool", &["--version"]).is_none() {
        return;
    }
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/vswitch.ovsschema");
    let (file, socket) = (at.join("conf.db"), at.join("db.sock"));
    run(
        at,
        "ovsdb-tool",
        &["create", file.to_str().unwrap(), schema],
    );
    let theirs = |start: i64| {
        let remote = format!("--remote=punix:{}", socket.display());
        let pidfile = format!("--pidfile={}", at.join("stock.pid").display());
        let control = format!("--unixctl={}", at.join("stock.ctl").display());
        let args = [
            "--detach",
            "--no-chdir",
            "-vconsole:off",
            &remote,
            &pidfile,
            &control,
            file.to_str().unwrap(),
        ];
        run(at, "ovsdb-server", &args);
        let before = rows(&socket);
        write(&socket, start);
        let after = rows(&socket);
        run(
            at,
            "ovs-appctl",
            &["-t", at.join("stock.ctl").to_str().unwrap(), "exit"],
        );
        while at.join("stock.pid").exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        (before, after)
    };
    let ours = |start: i64, args: &[&str]| {
        let mut server = Process::start(at, args);
        let before = rows(&socket);
        write(&socket, start);
        let after = rows(&socket);
        server.kill();
        let _ = std::fs::remove_file(&socket);
        (before, after)
    };
    let (_, first) = theirs(1);
    let (second_before, second) = ours(11, &[]);
    assert_eq!(second_before, first);
    let (third_before, third) = theirs(21);
    assert_eq!(third_before, second);
    let (fourth_before, fourth) = ours(31, &["--disable-file-column-diff"]);
    assert_eq!(fourth_before, third);
    let (fifth_before, _) = theirs(41);
    assert_eq!(fifth_before, fourth);
    assert_eq!(fifth_before.len(), 20);
}

#[test]
fn stock_clients_work() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    if stock(at, "ovs-vsctl", &["--version"]).is_none() {
        return;
    }
    let _server = Process::start(at, &[]);
    let socket = format!("unix:{}", at.join("db.sock").display());
    let db = format!("--db={socket}");
    let vsctl = |args: &[&str]| {
        run(
            at,
            "ovs-vsctl",
            &[&[db.as_str(), "--no-wait", "--timeout=10"], args].concat(),
        )
    };
    vsctl(&["init"]);
    vsctl(&["add-br", "br0", "--", "add-port", "br0", "p1", "tag=5"]);
    vsctl(&["--may-exist", "add-port", "br0", "p1", "tag=7"]);
    assert_eq!(vsctl(&["list-ports", "br0"]), "p1\n");
    assert_eq!(vsctl(&["get", "port", "p1", "tag"]), "5\n");
    vsctl(&[
        "set",
        "bridge",
        "br0",
        "other_config:a=b",
        "fail_mode=secure",
    ]);
    vsctl(&[
        "set",
        "port",
        "p1",
        "qos=@q",
        "--",
        "--id=@q",
        "create",
        "qos",
        "type=linux-htb",
        "queues:0=@z",
        "--",
        "--id=@z",
        "create",
        "queue",
        "other_config:max-rate=5",
    ]);
    assert_eq!(vsctl(&["get", "bridge", "br0", "other_config"]), "{a=b}\n");
    let dump = run(
        at,
        "ovsdb-client",
        &["dump", &socket, "Open_vSwitch", "Port", "name", "tag"],
    );
    assert!(dump.contains("p1   5"), "{dump}");
    let transaction =
        r#"["Open_vSwitch",{"op":"select","table":"Queue","where":[],"columns":["other_config"]}]"#;
    let answer = run(at, "ovsdb-client", &["transact", &socket, transaction]);
    assert_eq!(
        answer,
        "[{\"rows\":[{\"other_config\":[\"map\",[[\"max-rate\",\"5\"]]]}]}]\n"
    );
    vsctl(&["del-br", "br0"]);
    assert_eq!(vsctl(&["list", "interface"]), "");
}
