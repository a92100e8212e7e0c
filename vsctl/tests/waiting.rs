//! Waiting: for the daemon to take changes up, for the server, for other writers; and the ways in
//! which it ends. The daemon's part is played by writes to `cur_cfg` and to Interface rows.

mod server;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use server::{Server, database, environment, start, start_on, stock_is_there};

fn vsctl(server: &Server, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vsctl"));
    command
        .arg0("ovs-vsctl")
        .args(words)
        .envs(environment(server.path()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(server: &Server, words: &[&str]) -> Output {
    vsctl(server, words).output().unwrap()
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

fn now(server: &Server, words: &[&str]) -> String {
    let mut all = vec!["--no-wait", "--timeout=20"];
    all.extend(words);
    done(&run(server, &all))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `check` holds.
fn until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a command and waits until its transaction is in the database.
fn pending(server: &Server, words: &[&str], next_cfg: i64) -> Child {
    let child = vsctl(server, words).spawn().unwrap();
    until("the transaction is committed", || {
        now(server, &["get", "Open_vSwitch", ".", "next_cfg"]).trim() == next_cfg.to_string()
    });
    child
}

#[test]
fn leaves_when_the_daemon_has_taken_it_up() {
    if !stock_is_there() {
        return;
    }
    let server = start();
    now(&server, &["init"]);
    let mut child = pending(&server, &["-t20", "add-br", "br0"], 1);
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "does not wait");
    now(
        &server,
        &[
            "set",
            "Interface",
            "br0",
            "ofport=65534",
            "--",
            "set",
            "Open_vSwitch",
            ".",
            "cur_cfg=1",
        ],
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(done(&output), "");
    assert_eq!(text(&output.stderr), "");
    // Nothing to change, nothing to wait for.
    assert_eq!(
        done(&run(&server, &["-t20", "--may-exist", "add-br", "br0"])),
        ""
    );
    assert_eq!(done(&run(&server, &["-t20", "list-br"])), "br0\n");
    assert_eq!(
        done(&run(&server, &["-t20", "--dry-run", "add-br", "br1"])),
        ""
    );
    assert_eq!(now(&server, &["list-br"]), "br0\n");
}

#[test]
fn says_why_a_port_failed() {
    if !stock_is_there() {
        return;
    }
    let server = start();
    now(&server, &["add-br", "br0", "--", "add-port", "br0", "p0"]);
    let child = pending(
        &server,
        &[
            "-t20", "add-port", "br0", "p1", "--", "add-port", "br0", "p2", "--", "add-port",
            "br0", "p3",
        ],
        1,
    );
    now(
        &server,
        &[
            "set",
            "Interface",
            "p1",
            "ofport=-1",
            "error=\"could not open network device p1 (No such device)\"",
            "--",
            "set",
            "Interface",
            "p2",
            "ofport=-1",
            "--",
            "set",
            "Interface",
            "p3",
            "ofport=3",
            "--",
            "set",
            "Open_vSwitch",
            ".",
            "cur_cfg=1",
        ],
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(65));
    let stderr = text(&output.stderr);
    let mut lines: Vec<&str> = stderr.lines().collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "ovs-vsctl: Error detected while setting up 'p1': could not open network device p1 (No such device).",
            "ovs-vsctl: Error detected while setting up 'p2'.  See ovs-vswitchd log for details.",
        ]
    );

    // What was changed only is said too, but the run has not failed.
    let child = pending(&server, &["-t20", "set", "Interface", "p0", "type=nope"], 2);
    now(
        &server,
        &[
            "set",
            "Interface",
            "p0",
            "error=\"unknown type\"",
            "--",
            "set",
            "Open_vSwitch",
            ".",
            "cur_cfg=2",
        ],
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stderr),
        "ovs-vsctl: Error detected while setting up 'p0': unknown type.\n"
    );
    let child = pending(&server, &["-t20", "set", "Port", "p0", "tag=4"], 3);
    now(&server, &["set", "Open_vSwitch", ".", "cur_cfg=3"]);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn dies_by_sigalrm_when_time_is_up() {
    if !stock_is_there() {
        return;
    }
    let server = start();
    for by_environment in [false, true] {
        let mut command = if by_environment {
            let mut command = vsctl(&server, &["set", "Open_vSwitch", ".", "external_ids:b=c"]);
            command.env("OVS_CTL_TIMEOUT", "1");
            command
        } else {
            vsctl(
                &server,
                &["-t1", "set", "Open_vSwitch", ".", "external_ids:a=b"],
            )
        };
        let start = Instant::now();
        let output = command.output().unwrap();
        assert_eq!(output.status.signal(), Some(14), "{output:?}");
        assert!(start.elapsed() < Duration::from_secs(5));
        let stderr = text(&output.stderr);
        let line = stderr.trim_end().rsplit_once("|fatal_signal|").unwrap().1;
        assert_eq!(line, "WARN|terminating with signal 14 (Alarm clock)");
    }
    // The change itself is there.
    let ids = now(&server, &["get", "Open_vSwitch", ".", "external_ids"]);
    assert_eq!(ids, "{a=b, b=c}\n");
}

#[test]
fn many_at_once_all_get_through() {
    if !stock_is_there() {
        return;
    }
    let server = start();
    now(&server, &["add-br", "br0"]);
    let ports: Vec<String> = (0..40).map(|n| format!("p{n:02}")).collect();
    let children: Vec<Child> = ports
        .iter()
        .map(|port| {
            vsctl(&server, &["--no-wait", "-t60", "add-port", "br0", port])
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        done(&child.wait_with_output().unwrap());
    }
    let listed = now(&server, &["list-ports", "br0"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), ports);
    // Two that want the same: one gets it, the other hears so.
    let children: Vec<Child> = (0..2)
        .map(|_| {
            vsctl(&server, &["--no-wait", "-t60", "add-port", "br0", "same"])
                .spawn()
                .unwrap()
        })
        .collect();
    let outputs: Vec<Output> = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .collect();
    let failed: Vec<&Output> = outputs.iter().filter(|o| !o.status.success()).collect();
    assert_eq!(failed.len(), 1, "{outputs:?}");
    assert_eq!(
        text(&failed[0].stderr),
        "ovs-vsctl: cannot create a port named same because a port named same already exists on \
         bridge br0\n"
    );
}

#[test]
fn an_empty_database_is_set_up_once() {
    if !stock_is_there() {
        return;
    }
    let server = start();
    let children: Vec<Child> = (0..8)
        .map(|n| {
            let bridge = format!("br{n}");
            vsctl(&server, &["--no-wait", "-t60", "add-br", &bridge])
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        done(&child.wait_with_output().unwrap());
    }
    assert_eq!(now(&server, &["list-br"]).lines().count(), 8);
}

#[test]
fn a_thousand_ports_in_one_transaction() {
    if !stock_is_there() {
        return;
    }
    let server = start();
    let mut words = vec!["--no-wait".to_owned(), "add-br".into(), "br0".into()];
    for n in 0..1000 {
        words.extend(["--", "add-port", "br0"].map(str::to_owned));
        words.push(format!("p{n}"));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let start = Instant::now();
    done(&run(&server, &words));
    let elapsed = start.elapsed();
    assert_eq!(now(&server, &["list-ports", "br0"]).lines().count(), 1000);
    eprintln!("1000 ports in {elapsed:?}");
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
}

#[test]
fn wait_until_waits_for_other_writers() {
    if !stock_is_there() {
        return;
    }
    let server = start();
    let mut child = vsctl(
        &server,
        &[
            "--no-wait",
            "-t20",
            "wait-until",
            "Bridge",
            "br7",
            "stp_enable=true",
            "--",
            "get",
            "Bridge",
            "br7",
            "name",
        ],
    )
    .spawn()
    .unwrap();
    now(&server, &["add-br", "br7"]);
    std::thread::sleep(Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none());
    now(&server, &["set", "Bridge", "br7", "stp_enable=true"]);
    assert_eq!(done(&child.wait_with_output().unwrap()), "br7\n");
}

#[test]
fn servers_that_go_and_come() {
    if !stock_is_there() {
        return;
    }
    let mut server = start();
    now(&server, &["init"]);
    let database = database(&server);
    // One that waits for a condition loses its server.
    let waiting = vsctl(&server, &["-t20", "wait-until", "Bridge", "never"])
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    server.kill();
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let socket = server.path().join("db.sock");
    assert_eq!(
        text(&output.stderr),
        format!(
            "ovs-vsctl: unix:{}: database connection failed (End of file)\n",
            socket.display()
        )
    );
    // Without --retry nobody waits for a server; with it somebody does.
    let _ = std::fs::remove_file(&socket);
    let output = run(&server, &["list-br"]);
    assert!(
        text(&output.stderr).ends_with("database connection failed (No such file or directory)\n")
    );
    let db = format!("--db=unix:{}/later.sock", server.path().display());
    let retrying = vsctl(
        &server,
        &["-t20", "--retry", &db, "-vconsole:off", "list-br"],
    )
    .spawn()
    .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let remote = format!("punix:{}/later.sock", server.path().display());
    let _later = start_on(&database, &remote);
    done(&retrying.wait_with_output().unwrap());
    // The first of several servers that answers is taken.
    let several = format!(
        "--db=unix:/nonexistent,unix:{}/later.sock",
        server.path().display()
    );
    done(&run(&server, &["-t20", &several, "list-br"]));
    // A server may also dial in.
    let passive = format!("--db=punix:{}/in.sock", server.path().display());
    let listening = vsctl(&server, &["-t20", &passive, "list-br"])
        .spawn()
        .unwrap();
    let remote = format!("unix:{}/in.sock", server.path().display());
    let _dialing = start_on(&database, &remote);
    done(&listening.wait_with_output().unwrap());
}

#[test]
fn the_log_tells_who_did_what() {
    if !stock_is_there() {
        return;
    }
    let server = start();
    now(&server, &["add-br", "br0", "--", "comment", "some words"]);
    let log = Command::new("ovsdb-tool")
        .args(["show-log", "-m"])
        .arg(database(&server))
        .output()
        .unwrap();
    let log = text(&log.stdout);
    let line = log
        .lines()
        .find(|line| line.contains("invoked by"))
        .unwrap();
    assert!(line.contains("ovs-vsctl (invoked by "), "{line}");
    assert!(
        line.contains("ovs-vsctl --no-wait --timeout=20 add-br br0 -- comment \"some words\""),
        "{line}"
    );
}

#[test]
fn words_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let output = Command::new(env!("CARGO_BIN_EXE_vsctl"))
        .arg0("ovs-vsctl")
        .args([OsStr::new("list"), OsStr::from_bytes(b"\xff\xfe")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "ovs-vsctl: argument 2 is not valid UTF-8\n"
    );
}

#[test]
fn texts_that_need_no_server() {
    let output = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_vsctl"))
            .args(words)
            .output()
            .unwrap();
        assert!(output.status.success());
        text(&output.stdout)
    };
    let version = output(&["--version"]);
    assert!(version.starts_with("vsctl (Open vSwitch) "), "{version}");
    assert!(version.contains("\nDB Schema 8."), "{version}");
    assert!(output(&["--help"]).contains("add-br BRIDGE"));
    assert!(
        output(&["--commands"])
            .contains("[--may-exist] ,add-port,!BRIDGE !NEW-PORT *COLUMN?:KEY=VALUE\n")
    );
    assert!(output(&["--options"]).contains("--timeout=ARG\n-t ARG\n"));
}
