//! What the stock programs have no equal of: `check`, refusals, the choice between files and servers,
//! and input that nobody should send.

mod common;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use common::{OURS, Shown, command, difference, finish, serve, split, stock_is_there};
use db_server::log::encode;
use serde_json::{Value, json};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).unwrap()
    }

    fn run_as(&self, name: &str, line: &str) -> Shown {
        let words = split(line);
        finish(
            command(OURS, name, self.0.path(), &words).spawn().unwrap(),
            self.0.path(),
        )
    }

    fn run(&self, line: &str) -> Shown {
        self.run_as("dbctl", line)
    }
}

const A: &str = "00000000-0000-0000-0000-00000000000a";
const B: &str = "00000000-0000-0000-0000-00000000000b";

fn schema() -> Value {
    json!({"name": "d", "version": "1.0.0", "tables": {
        "T": {"isRoot": true, "maxRows": 2, "indexes": [["n"]], "columns": {
            "n": {"type": "integer"},
            "s": {"type": {"key": {"type": "uuid", "refTable": "U"}, "min": 0}},
            "w": {"type": {"key": {"type": "uuid", "refTable": "U", "refType": "weak"}, "min": 0}},
        }},
        "U": {"columns": {"x": {"type": "string"}}},
    }})
}

fn file(records: &[Value]) -> Vec<u8> {
    std::iter::once(schema())
        .chain(records.iter().cloned())
        .flat_map(|r| encode(&r))
        .collect()
}

fn row(table: &str, uuid: &str, columns: Value) -> Value {
    json!({table: {uuid: columns}})
}

#[test]
fn check_says_what_is_wrong_and_where() {
    let dir = Dir::new();
    let first = encode(&schema()).len();
    let good = row("T", A, json!({"n": 1, "s": ["uuid", B]}));
    let child = row("U", B, json!({"x": "y"}));
    let both = json!({"T": {A: {"n": 1, "s": ["uuid", B]}}, "U": {B: {"x": "y"}}});
    dir.write("good", file(std::slice::from_ref(&both)));
    let shown = dir.run("check good");
    assert_eq!(shown.stdout, "good: 2 records, 2 rows: good\n");
    assert_eq!(shown.status, Some(0));

    let mut torn = file(std::slice::from_ref(&both));
    torn.truncate(torn.len() - 3);
    let mut flipped = file(&[both.clone(), row("T", A, json!({"n": 2}))]);
    flipped[first + 70] ^= 1;
    let cases: Vec<(Vec<u8>, String)> = vec![
        (torn, format!("record 1 at byte {first}: I/O error")),
        (
            flipped,
            format!("record 1 at byte {first}: syntax error: bad: "),
        ),
        (
            file(std::slice::from_ref(&good)),
            format!("table T row {A} column s: refers to row {B} of table U, which is not there"),
        ),
        (
            file(&[row("T", A, json!({"n": 1})), row("T", B, json!({"n": 1}))]),
            format!("table T: rows {A} and {B} both have n=1, which an index allows once"),
        ),
        (
            file(&[json!({"T": {A: {}, B: {"n": 2},
                "00000000-0000-0000-0000-00000000000c": {"n": 3}}})]),
            "table T: 3 rows, of which 2 are allowed".to_owned(),
        ),
        (
            file(&[row("V", A, json!({}))]),
            format!("record 1 at byte {first}: no table named V"),
        ),
        (
            file(&[row("T", A, json!({"frob": 1}))]),
            format!("record 1 at byte {first}: table T row {A}: no column named frob"),
        ),
        (
            file(&[row("T", A, Value::Null)]),
            format!("record 1 at byte {first}: table T row {A}: deleted but not there"),
        ),
        (
            b"hello".to_vec(),
            "record 0 at byte 0: ovsdb error: bad: unexpected file format".into(),
        ),
    ];
    for (bytes, expected) in cases {
        dir.write("bad", bytes);
        let shown = dir.run("check good bad");
        assert_eq!(shown.status, Some(1), "{expected}\n{}", shown.stdout);
        assert!(
            shown.stdout.contains(&format!("bad: error: {expected}")),
            "{}",
            shown.stdout
        );
        assert!(shown.stdout.contains(": good\n"), "{}", shown.stdout);
    }
    // What the server puts right by itself is no error.
    dir.write(
        "notes",
        file(&[child, row("T", A, json!({"n": 1, "w": ["uuid", A]}))]),
    );
    let shown = dir.run("check notes");
    assert_eq!(shown.status, Some(0), "{}", shown.stdout);
    assert!(
        shown
            .stdout
            .contains(&format!("table U row {B}: nothing refers to it"))
    );
    assert!(
        shown
            .stdout
            .contains(&format!("column w: refers to row {A}")),
        "{}",
        shown.stdout
    );
    let shown = dir.run("check missing");
    assert_eq!(shown.status, Some(1));
    assert!(
        shown.stdout.contains("No such file or directory"),
        "{}",
        shown.stdout
    );
}

/// The stock ovsdb-tool writes such a database without any rows; see ovsdb-tool(1), `convert`: "All
/// of schema's constraints apply in full".
#[test]
fn convert_refuses_what_does_not_fit() {
    let dir = Dir::new();
    let mut unique = schema();
    unique["tables"]["U"]["indexes"] = json!([["x"]]);
    let mut bounded = schema();
    bounded["tables"]["T"]["columns"]["n"] = json!({"type": {"key": {"type": "integer",
        "maxInteger": 1}}});
    let mut few = schema();
    few["tables"]["T"]["maxRows"] = json!(1);
    let rows = json!({
        "T": {A: {"n": 1, "s": ["uuid", A]}, B: {"n": 2, "s": ["uuid", B]}},
        "U": {A: {"x": "same"}, B: {"x": "same"}},
    });
    let before = file(&[rows]);
    dir.write("d.db", &before);
    for (schema, expected) in [
        (unique, "identical values (same) for index"),
        (bounded, "column n"),
        (few, "1"),
    ] {
        dir.write("new.json", schema.to_string());
        let shown = dir.run_as("ovsdb-tool", "convert d.db new.json");
        assert_eq!(shown.status, Some(1));
        assert!(
            shown.stderr.contains("constraint violation"),
            "{}",
            shown.stderr
        );
        assert!(shown.stderr.contains(expected), "{}", shown.stderr);
        assert_eq!(dir.read("d.db"), before);
        let shown = dir.run_as("ovsdb-tool", "convert d.db new.json other.db");
        assert_eq!(shown.status, Some(1));
        assert!(!dir.0.path().join("other.db").exists());
    }
}

/// ovsdb-tool(1), `query`: "The transaction may specify database modifications, but these will have
/// no effect on db". The stock program reports an I/O error for them.
#[test]
fn query_changes_nothing() {
    let dir = Dir::new();
    let before = file(&[json!({"T": {A: {"n": 1}}})]);
    dir.write("d.db", &before);
    let shown = dir.run(r#"query d.db '["d",{"op":"delete","table":"T","where":[]}]'"#);
    assert_eq!(shown.stdout, "[{\"count\":1}]\n");
    assert_eq!(dir.read("d.db"), before);
}

#[test]
fn a_served_file_is_locked() {
    if !stock_is_there() {
        return;
    }
    let schema = schema().to_string();
    let server = serve(Path::new("ovsdb-server"), &[("d", &schema)]);
    for line in [
        r#"transact d.db '["d"]'"#,
        "compact d.db",
        r#"query d.db '["d"]'"#,
    ] {
        let run = |program: &str| {
            let words = split(line);
            let child = command(program, "ovsdb-tool", server.path(), &words)
                .spawn()
                .unwrap();
            finish(child, server.path())
        };
        let (got, expected) = (run(OURS), run("ovsdb-tool"));
        let complaints = difference(&got, &expected, !expected.stderr.is_empty());
        assert!(complaints.is_empty(), "{line}: {complaints:?}");
    }
}

#[test]
fn refused_by_name() {
    let dir = Dir::new();
    dir.write("cl.db", "OVSDB CLUSTER 5 x\n");
    for (line, expected) in [
        (
            "create-cluster a b tcp:127.0.0.1:1",
            "'create-cluster' is not supported",
        ),
        ("join-cluster a b c d", "'join-cluster' is not supported"),
        (
            "cluster-to-standalone a b",
            "'cluster-to-standalone' is not supported",
        ),
        ("check-cluster cl.db", "'check-cluster' is not supported"),
        ("db-cid cl.db", "'db-cid' is not supported"),
        ("show-log cl.db", "clustered"),
        ("compact cl.db", "clustered"),
        (
            "--election-timer=1000 list-dbs",
            "--election-timer is not supported",
        ),
        ("-p key.pem list-dbs", "--private-key: TLS is not supported"),
        ("list-dbs ssl:127.0.0.1:1", "TLS is not supported"),
        ("--record list-dbs", "--record is not supported"),
        ("--user=nobody list-dbs", "--user"),
        ("convert", "--file or --server"),
        ("--server compact", "is a command for files"),
        ("--file dump", "is a command for servers"),
    ] {
        let shown = dir.run(line);
        assert_eq!(shown.status, Some(1), "{line}");
        assert!(shown.stderr.contains(expected), "{line}: {}", shown.stderr);
    }
}

/// Both programs in one, and what each says of itself.
#[test]
fn files_and_servers_under_one_name() {
    let dir = Dir::new();
    let schema = dir.write("d.json", schema().to_string());
    assert_eq!(dir.run("create d.db d.json").status, Some(0));
    let insert = r#"["d",{"op":"insert","table":"T","row":{"n":5}}]"#;
    assert_eq!(
        dir.run(&format!("transact d.db '{insert}'")).status,
        Some(0)
    );
    assert_eq!(dir.run("needs-conversion d.db d.json").stdout, "no\n");
    // A transaction or a schema alone is for the default server, which is not there.
    for line in [
        format!("transact '{insert}'"),
        format!("convert {}", schema.display()),
    ] {
        let shown = dir.run(&line);
        assert_eq!(shown.status, Some(1));
        assert!(
            shown.stderr.contains("failed to connect to \"unix:"),
            "{}",
            shown.stderr
        );
    }
    let help = dir.run("--help").stdout;
    for part in [
        "show-log",
        "monitor-cond-since",
        "--file",
        "--server",
        "check [db]...",
    ] {
        assert!(help.contains(part), "{part}");
    }
    assert!(
        !dir.run_as("ovsdb-tool", "--help")
            .stdout
            .contains("monitor-cond")
    );
    assert!(
        !dir.run_as("ovsdb-client", "--help")
            .stdout
            .contains("show-log")
    );
    let version = dir.run_as("ovsdb-client", "--version").stdout;
    assert!(
        version.starts_with("ovsdb-client (Open vSwitch) 3.1.0\n"),
        "{version}"
    );
    let commands = dir.run("list-commands").stdout;
    assert!(commands.contains("  compact ") && commands.contains("  dump "));
}

/// Files that no program wrote: an error each, never a panic.
#[test]
fn hostile_files() {
    let dir = Dir::new();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let sha = "c29589c645b5d3c75a67cf95e4ae122952d62165";
    let mut files: Vec<Vec<u8>> = vec![
        b"\0\0\0\0".to_vec(),
        b"OVSDB JSON".to_vec(),
        format!("OVSDB JSON 99999999999999999999 {sha}\n{{}}\n").into_bytes(),
        format!("OVSDB JSON 18446744073709551615 {sha}\n{{}}\n").into_bytes(),
        format!("OVSDB JSON 0 {sha}\n").into_bytes(),
        deep.clone().into_bytes(),
        encode(&json!([])),
        encode(&json!({"name": "d", "tables": {}})),
        encode(&json!({"name": "d", "tables": []})),
        [encode(&schema()), b"OVSDB JSON 1 ".to_vec()].concat(),
        file(&[json!({"_date": -5, "_comment": 7, "T": 5})]),
        file(&[json!({"_date": 9e300, "T": {"x": {}}})]),
        file(&[json!({"_date": i64::MAX, "_is_diff": true, "T": {A: {"n": "x"}}})]),
        vec![0xff; 5000],
    ];
    // Every byte of a good file, changed.
    let good = file(&[json!({"_date": 1, "T": {A: {"n": 1}}})]);
    for at in (0..good.len()).step_by(23) {
        let mut bytes = good.clone();
        bytes[at] = bytes[at].wrapping_add(1);
        files.push(bytes);
    }
    for bytes in files {
        dir.write("x", &bytes);
        for line in [
            "-mm show-log x",
            "check x",
            "db-version x",
            "compact x y",
            r#"query x '["d"]'"#,
            "schema-version x",
        ] {
            let shown = dir.run(line);
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
            assert!(
                matches!(shown.status, Some(0 | 1)),
                "{line}: {shown:?}\n{start}"
            );
            assert!(
                !shown.stderr.contains("panicked"),
                "{line}: {}",
                shown.stderr
            );
        }
    }
    dir.write("d.db", good);
    for text in [
        &deep[..60_000],
        "[1e999]",
        "[\"\\ud800\"]",
        "{\"a\":",
        "\u{e9}",
    ] {
        let words = ["query", "d.db", text].map(str::to_owned);
        let child = command(OURS, "ovsdb-tool", dir.0.path(), &words)
            .spawn()
            .unwrap();
        let shown = finish(child, dir.0.path());
        assert_eq!(shown.status, Some(1), "{:.60}", text);
        assert!(!shown.stderr.contains("panicked"), "{:.200}", shown.stderr);
    }
}

/// Servers that answer nonsense: an error each, never a panic and never a hang.
#[test]
fn hostile_servers() {
    let dir = Dir::new();
    let answers: &[&str] = &[
        "",
        "hello",
        "[[[[",
        "{}",
        r#"{"id":ID,"result":5,"error":null}"#,
        r#"{"id":ID,"result":null,"error":null}"#,
        r#"{"id":ID,"result":{"name":"x","tables":{"t":{"columns":{"c":{"type":"integer"}}}}},"error":null}"#,
        r#"{"id":ID,"result":["x",5,{}],"error":null}"#,
        r#"{"id":ID,"result":["x"],"error":null}"#,
        r#"{"id":ID,"result":[{"rows":[5]}],"error":null}"#,
        r#"{"id":ID,"result":[true,5,{"t":5}],"error":null}"#,
        r#"{"id":ID,"result":null,"error":{"error":"x","details":7}}"#,
    ];
    for (at, answer) in answers.iter().enumerate() {
        let path = dir.0.path().join(format!("s{at}"));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let answer = (*answer).to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                // Each request gets the answer; then the connection ends.
                let mut buffer = [0; 65536];
                for _ in 0..4 {
                    let Ok(n @ 1..) = stream.read(&mut buffer) else {
                        break;
                    };
                    let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
                    let id = text
                        .split("\"id\":")
                        .nth(1)
                        .and_then(|rest| rest.split([',', '}']).next())
                        .unwrap_or("0")
                        .to_owned();
                    let _ = stream.write_all(answer.replace("ID", &id).as_bytes());
                }
            }
        });
        for line in [
            "list-dbs SERVER",
            "get-schema SERVER x",
            "list-columns SERVER x",
            "dump SERVER x t",
            "backup SERVER x",
            "monitor SERVER x t",
            "monitor-cond SERVER x [] t",
            "monitor-cond-since SERVER x [] t",
            "transact SERVER [\"x\"]",
            "query SERVER [\"x\"]",
            "lock SERVER l",
        ] {
            let line = line.replace("SERVER", &format!("unix:{}", path.display()));
            let shown = dir.run(&format!("-t1 {line}"));
            assert!(
                !shown.stderr.contains("panicked"),
                "{answers:?} {line}: {}",
                shown.stderr
            );
            assert!(
                matches!(shown.status, Some(0 | 1)) || shown.signal == Some(14),
                "{line}: {shown:?}"
            );
        }
    }
}
