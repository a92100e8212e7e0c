//! Servers that answer nonsense: each ends as a message and exit status 1, never as a crash.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output};

/// Runs `vsctl WORDS` against a server that sends `bytes` and hangs up.
fn against(bytes: Vec<u8>, words: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("db.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let output = Command::new(env!("CARGO_BIN_EXE_vsctl"))
        .arg(format!("--db=unix:{}", socket.display()))
        .args(["--no-wait", "-t10", "-vsyslog:off"])
        .args(words)
        .output()
        .unwrap();
    server.join().unwrap();
    output
}

fn complaint(bytes: impl Into<Vec<u8>>, words: &[&str]) -> String {
    let output = against(bytes.into(), words);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(!stderr.contains("panic"), "{stderr}");
    stderr
}

const SCHEMA: &str = include_str!("../../db-server/schema/vswitch.ovsschema");

/// The answers of a server up to the monitor, whose answer is `rows`.
fn answers(rows: &str) -> String {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    format!(
        r#"{{"id":1,"result":null,"error":"unknown method"}}
        {{"id":2,"result":{schema},"error":null}}
        {{"id":3,"result":[false,"00000000-0000-0000-0000-000000000000",{rows}],"error":null}}"#
    )
}

#[test]
fn no_messages() {
    let failed = |reason: &str| format!("database connection failed ({reason})\n");
    assert!(complaint("", &["list-br"]).ends_with(&failed("End of file")));
    for bytes in ["\u{16}\u{3}", "]", "{\"id\": nope}", "{\"id\": 1"] {
        let stderr = complaint(bytes, &["list-br"]);
        assert!(stderr.contains("database connection failed ("), "{stderr}");
    }
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    assert!(complaint(deep, &["list-br"]).contains("nested deeper"));
}

#[test]
fn answers_that_do_not_fit() {
    for (bytes, words) in [
        (r#"{"id":2,"result":null,"error":{"error":"unknown database"}}"#.to_owned(), "unknown database"),
        (r#"{"id":2,"result":{"name":5},"error":null}"#.to_owned(), "bad schema"),
        (r#"{"id":1,"result":{},"error":null}{"id":2,"result":{"name":"Open_vSwitch","tables":{}},"error":null}"#.to_owned(), "no such database"),
        (answers("5"), "not an object"),
        (answers(r#"{"Bridge":{"x":{"initial":{}}}}"#), "bad row UUID"),
        (answers(r#"{"Nope":{}}"#), "Nope"),
    ] {
        let stderr = complaint(bytes, &["list-br"]);
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn rows_that_refer_to_nothing() {
    let uuid = |n: u32| format!("00000000-0000-0000-0000-{n:012}");
    let rows = format!(
        r#"{{"Open_vSwitch":{{"{}":{{"initial":{{"bridges":["set",[["uuid","{}"],["uuid","{}"]]]}}}}}},
            "Bridge":{{"{}":{{"initial":{{"name":"br0","ports":["uuid","{}"]}}}}}}}}"#,
        uuid(1),
        uuid(2),
        uuid(3),
        uuid(2),
        uuid(9)
    );
    let output = against(answers(&rows).into_bytes(), &["list-br"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "\nbr0\n");
}

#[test]
fn transactions_without_sense() {
    let rows = r#"{"Open_vSwitch":{"00000000-0000-0000-0000-000000000001":{"initial":{}}}}"#;
    for result in ["5", "[]", "{}", "[null]", "[{}]", r#"[{"error":7},{}]"#] {
        let bytes = format!(
            "{}{{\"id\":4,\"result\":{result},\"error\":null}}",
            answers(rows)
        );
        let stderr = complaint(bytes, &["set", "Open_vSwitch", ".", "external_ids:a=b"]);
        assert!(stderr.contains("transaction error: "), "{result}: {stderr}");
    }
    let refused = format!(
        "{}{{\"id\":4,\"result\":null,\"error\":\"go away\"}}",
        answers(rows)
    );
    let stderr = complaint(refused, &["set", "Open_vSwitch", ".", "external_ids:a=b"]);
    assert!(
        stderr.ends_with("transaction error: \"go away\"\n"),
        "{stderr}"
    );
}
