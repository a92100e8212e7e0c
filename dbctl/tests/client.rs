//! The stock ovsdb-client and this one, side by side; see `stock/client.txt`.

mod common;

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use common::{
    OURS, Server, Shown, command, difference, finish, normalize, our_server, same_lines, serve,
    split, stock_is_there, until,
};

const LINES: &str = include_str!("stock/client.txt");
const THINGS: &str = include_str!("stock/things.json");
const THINGS2: &str = include_str!("stock/things2.json");
const THINGS3: &str = include_str!("stock/things3.json");
const PLAIN: &str = r#"{"name":"plain","tables":{"plain":{"columns":{"x":{"type":"integer"}}}}}"#;
const SCHEMAS: &[(&str, &str)] = &[
    ("things", THINGS),
    ("plain", PLAIN),
    (
        "switch",
        include_str!("../../db-server/schema/vswitch.ovsschema"),
    ),
];

fn start(program: &Path) -> Server {
    let server = serve(program, SCHEMAS);
    for (name, text) in [
        ("things2.json", THINGS2),
        ("things3.json", THINGS3),
        ("bad1.json", "{\n"),
    ] {
        std::fs::write(server.path().join(name), text).unwrap();
    }
    server
}

fn spawn(program: &str, server: &Server, line: &str) -> Child {
    // A limit for what would otherwise hang; one that the line has counts instead.
    let line = format!("-t8 {}", line.trim());
    command(program, "ovsdb-client", server.path(), &split(&line))
        .spawn()
        .unwrap()
}

fn side_by_side(program: &Path) {
    let (mut theirs, mut ours) = (start(Path::new("ovsdb-server")), start(program));
    let (mut count, mut different) = (0, Vec::new());
    for line in LINES
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        if let Some(shell) = line.strip_prefix("! ") {
            for server in [&theirs, &ours] {
                let status = Command::new("sh")
                    .args(["-ec", shell])
                    .current_dir(server.path())
                    .status()
                    .unwrap();
                assert!(status.success(), "{shell}");
            }
            continue;
        }
        let (line, own_words) = match line.strip_prefix("~ ") {
            Some(line) => (line, true),
            None => (line, false),
        };
        // Together, because those with a time limit use it up.
        let expected = spawn("ovsdb-client", &theirs, line);
        let got = spawn(OURS, &ours, line);
        let expected = finish(expected, theirs.path());
        let got = finish(got, ours.path());
        count += 1;
        for server in [&mut theirs, &mut ours] {
            assert!(server.is_alive(), "{line}: the server is gone");
        }
        let complaints = difference(&got, &expected, own_words);
        if !complaints.is_empty() {
            different.push(format!(
                "$ ovsdb-client {line}\n  {}",
                complaints.join("\n  ")
            ));
        }
    }
    eprintln!("{count} command lines");
    assert!(count >= 100);
    assert!(
        different.is_empty(),
        "{} of {count} differ:\n{}",
        different.len(),
        different.join("\n")
    );
}

#[test]
fn on_the_stock_server() {
    if stock_is_there() {
        side_by_side(Path::new("ovsdb-server"));
    }
}

#[test]
fn on_our_server() {
    if stock_is_there()
        && let Some(server) = our_server()
    {
        side_by_side(&server);
    }
}

/// Sends a transaction by the stock client.
fn transact(server: &Server, transaction: &str) -> String {
    let remote = format!("unix:{}/db.sock", server.path().display());
    let output = Command::new("ovsdb-client")
        .args(["transact", &remote, transaction])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Ends a process, which must be one that a test started.
fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

const CHANGES: &[&str] = &[
    r#"["things",{"op":"insert","table":"things","row":{"number":1,"name":"a","set":["set",["x","y"]]}}]"#,
    r#"["things",{"op":"update","table":"things","where":[],"row":{"name":"b c","set":["set",["x","z"]]}}]"#,
    r#"["things",{"op":"mutate","table":"things","where":[],"mutations":[["map","insert",["map",[["k","v"]]]]]},{"op":"insert","table":"things","row":{"number":2,"ref":["named-uuid","o"]}},{"op":"insert","table":"other","uuid-name":"o","row":{"r":2.5}}]"#,
    r#"["things",{"op":"delete","table":"things","where":[["number","==",1]]}]"#,
];

/// What a monitor printed after each change. It is over when the output has been still.
fn monitored(program: &str, server: &Server, line: &str) -> Vec<String> {
    let out = server.path().join("out");
    let mut monitor = command(program, "ovsdb-client", server.path(), &split(line));
    let child = monitor
        .stdout(std::fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(&out).unwrap();
    let mut shown = Vec::new();
    let mut before = 0;
    let still = |before: &mut usize| {
        let mut last = read();
        loop {
            std::thread::sleep(Duration::from_millis(150));
            let now = read();
            if now == last {
                break;
            }
            last = now;
        }
        let part = normalize(&last[*before..]);
        *before = last.len();
        part
    };
    std::thread::sleep(Duration::from_millis(300));
    shown.push(still(&mut before));
    for change in CHANGES {
        transact(server, change);
        shown.push(still(&mut before));
    }
    end(child);
    shown
}

#[test]
fn monitors_follow_changes() {
    if !stock_is_there() {
        return;
    }
    for line in [
        "monitor things things",
        "monitor things ALL",
        "-f csv monitor things things name,set !insert,number",
        "-f json monitor things things name",
        "-f list --data=bare monitor things things name,map,set",
        "monitor-cond things [[\"number\",\"==\",1]] things number,name,set",
        "monitor-cond things [] things",
        "-f json monitor-cond-since things [] things name,number",
        "monitor-cond-since things [] other",
    ] {
        let theirs = start(Path::new("ovsdb-server"));
        let ours = start(Path::new("ovsdb-server"));
        let (expected, got) = std::thread::scope(|scope| {
            let expected = scope.spawn(|| monitored("ovsdb-client", &theirs, line));
            let got = monitored(OURS, &ours, line);
            (expected.join().unwrap(), got)
        });
        for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert!(
                same_lines(got, expected),
                "{line}, {at}:\n{got}\nstock:\n{expected}"
            );
        }
        assert!(!got.concat().is_empty(), "{line}");
    }
}

/// Runs `ovs-appctl` on the control socket of a detached client.
fn appctl(server: &Server, args: &[&str]) -> (bool, String) {
    let output = Command::new("ovs-appctl")
        .args(["-T", "5", "-t", "ovsdb-client"])
        .args(args)
        .env("OVS_RUNDIR", server.path())
        .output()
        .unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn detached_monitor_and_lock() {
    if !stock_is_there() {
        return;
    }
    let server = start(Path::new("ovsdb-server"));
    let out = server.path().join("out");
    let detach = |line: &str| {
        let words = split(&format!("--detach --pidfile --no-chdir {line}"));
        let status = command(OURS, "ovsdb-client", server.path(), &words)
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{line}");
    };
    let read = || std::fs::read_to_string(&out).unwrap();
    let gone = || !server.path().join("ovsdb-client.pid").exists();

    detach("monitor-cond things [[\"number\",\"==\",1]] things number");
    assert!(!read().contains("insert"), "{}", read());
    transact(&server, CHANGES[0]);
    until("the row is printed", || read().contains("insert 1"));
    let condition = r#"[["number","==",70707]]"#;
    assert!(appctl(&server, &["ovsdb-client/cond_change", "things", condition]).0);
    until("the row is out of sight", || read().contains("delete"));
    assert!(appctl(&server, &["ovsdb-client/block"]).0);
    transact(
        &server,
        r#"["things",{"op":"insert","table":"things","row":{"number":70707}}]"#,
    );
    std::thread::sleep(Duration::from_millis(200));
    assert!(!read().contains("70707"), "{}", read());
    assert!(appctl(&server, &["ovsdb-client/unblock"]).0);
    until("the new row is printed", || read().contains("insert 70707"));
    assert!(appctl(&server, &["exit"]).0);
    until("the monitor ends", gone);

    detach("lock l");
    assert_eq!(read(), "{\"locked\":true}\n");
    let thief = spawn(OURS, &server, "steal l");
    until("the theft is told", || {
        read().ends_with("stolen\n[\"l\"]\n")
    });
    assert!(appctl(&server, &["lock", "m"]).0);
    until("the second lock", || {
        read().ends_with("{\"locked\":true}\n")
    });
    assert!(appctl(&server, &["unlock", "m"]).0);
    until("it is given up", || read().ends_with("{}\n"));
    assert!(appctl(&server, &["exit"]).0);
    until("the lock ends", gone);
    end(thief);
}

/// A file that `backup` makes is a database, for the stock programs too, and `restore` gives it
/// back.
#[test]
fn backup_is_a_database() {
    if !stock_is_there() {
        return;
    }
    let server = start(Path::new("ovsdb-server"));
    for change in CHANGES {
        transact(&server, change);
    }
    let dump = || {
        let shown = finish(spawn(OURS, &server, "dump things"), server.path());
        normalize(&shown.stdout)
    };
    let (before, file) = (dump(), server.path().join("backup.db"));
    let status = command(OURS, "ovsdb-client", server.path(), &split("backup things"))
        .stdout(std::fs::File::create(&file).unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    for program in ["ovsdb-tool", OURS] {
        let words = split(
            r#"query backup.db '["things",{"op":"select","table":"things","where":[],"columns":["number"]}]'"#,
        );
        let shown = finish(
            command(program, "ovsdb-tool", server.path(), &words)
                .spawn()
                .unwrap(),
            server.path(),
        );
        assert_eq!(
            shown.stdout, "[{\"rows\":[{\"number\":2}]}]\n",
            "{}",
            shown.stderr
        );
    }
    transact(
        &server,
        r#"["things",{"op":"delete","table":"things","where":[]}]"#,
    );
    std::fs::copy(&file, server.path().join("stdin")).unwrap();
    let restored = finish(spawn(OURS, &server, "restore things"), server.path());
    assert_eq!((restored.status, restored.stderr.as_str()), (Some(0), ""));
    assert_eq!(dump(), before);
}

/// What a monitor shows and ends with when its database gets another schema.
fn monitor_until_converted(server: &Path, program: &str, line: &str) -> Shown {
    let server = start(server);
    transact(&server, CHANGES[0]);
    let out = server.path().join("out");
    let words = split(&format!("-t8 {line}"));
    let monitor = command(program, "ovsdb-client", server.path(), &words)
        .stdout(std::fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(&out).unwrap();
    until("the row is printed", || read().contains("initial"));
    let converted = finish(
        spawn(program, &server, "convert things2.json"),
        server.path(),
    );
    assert_eq!((converted.status, &*converted.stderr), (Some(0), ""));
    let ended = finish(monitor, server.path());
    transact(&server, AFTER_CONVERSION);
    let version = finish(
        spawn(program, &server, "get-schema-version things"),
        server.path(),
    );
    assert_eq!(version.stdout, "6.0.0\n");
    Shown {
        stdout: read(),
        ..ended
    }
}

const AFTER_CONVERSION: &str = r#"["things",{"op":"insert","table":"more","row":{"x":1.5}}]"#;

/// A monitor that knows of such changes is told, another one is disconnected, by either server.
#[test]
fn monitors_end_with_a_conversion() {
    if !stock_is_there() {
        return;
    }
    let stock = Path::new("ovsdb-server");
    let ours = our_server();
    for (line, end) in [
        ("monitor things things name", "database was removed"),
        (
            "--db-change-aware monitor-cond things [] things name",
            "database was removed",
        ),
        (
            "--no-db-change-aware monitor things things name",
            "receive failed (End of file)",
        ),
        (
            "--no-db-change-aware monitor-cond-since things [] things name",
            "receive failed (End of file)",
        ),
    ] {
        let expected = monitor_until_converted(stock, "ovsdb-client", line);
        assert!(expected.stderr.contains(end), "{line}: {expected:?}");
        let mut others = vec![(stock, OURS)];
        if let Some(ours) = &ours {
            others.extend([(ours.as_path(), "ovsdb-client"), (ours.as_path(), OURS)]);
        }
        for (server, program) in others {
            let got = monitor_until_converted(server, program, line);
            let complaints = difference(&got, &expected, false);
            assert!(
                complaints.is_empty(),
                "{line}, {program} on {}: {complaints:?}",
                server.display()
            );
        }
    }
}

/// On servers of their own: a stock server now and then dies of a conversion that it refuses.
#[test]
fn convert_that_does_not_fit() {
    if !stock_is_there() {
        return;
    }
    let run = |server: &Path, program: &str| {
        let server = start(server);
        let row = r#"["things",{"op":"insert","table":"things","row":{"number":2}}]"#;
        transact(&server, row);
        finish(
            spawn(program, &server, "convert things3.json"),
            server.path(),
        )
    };
    let stock = Path::new("ovsdb-server");
    let expected = run(stock, "ovsdb-client");
    assert_eq!(expected.status, Some(1));
    let ours = our_server();
    for server in [Some(stock), ours.as_deref()].into_iter().flatten() {
        let complaints = difference(&run(server, OURS), &expected, false);
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

/// What the stock client does not survive.
#[test]
fn where_the_stock_client_crashes() {
    if !stock_is_there() {
        return;
    }
    let server = start(Path::new("ovsdb-server"));
    let other = THINGS.replace("\"name\":\"things\"", "\"name\":\"none\"");
    std::fs::write(server.path().join("none.json"), other).unwrap();
    let shown = finish(
        spawn(OURS, &server, "needs-conversion none.json"),
        server.path(),
    );
    assert_eq!(shown.status, Some(1));
    assert!(
        shown.stderr.contains("unknown database"),
        "{}",
        shown.stderr
    );
    let line = "-t1 -f json --timestamp monitor things things name";
    transact(&server, CHANGES[0]);
    let shown = finish(spawn(OURS, &server, line), server.path());
    assert!(
        normalize(&shown.stdout).contains(r#""time":"<time-"#),
        "{}",
        shown.stdout
    );
}
