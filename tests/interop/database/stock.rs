//! Every command of stock `ovsdb-client`, and `ovs-vsctl` over restarts: the same words to our
//! server and to the stock one, the same answers expected.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tests::process::wait_for;

use super::server::{BOTH, Server, ready, vswitch_schema};
use crate::driver::Driver;

/// Inserts bridge number `n`; its UUID is given, so that both servers print the same.
fn insert(n: u32) -> String {
    format!(
        r#"["Open_vSwitch",
            {{"op":"insert","table":"Bridge","uuid":"00000000-0000-4000-8000-00000000000{n}",
              "uuid-name":"b","row":{{"name":"br{n}",
              "external_ids":["map",[["n","{n}"]]],"stp_enable":true}}}},
            {{"op":"mutate","table":"Open_vSwitch","where":[],
              "mutations":[["bridges","insert",["named-uuid","b"]]]}}]"#
    )
}

const ROOT: &str = r#"["Open_vSwitch",{"op":"insert","table":"Open_vSwitch",
    "uuid":"00000000-0000-4000-8000-000000000000",
    "row":{"other_config":["map",[["a","b"],["c","d e"]]]}}]"#;

/// What both say to the same commands.
fn compare(test: &str, run: impl Fn(&Server) -> Result<Vec<String>>) -> Result<()> {
    let mut answers = Vec::new();
    for kind in BOTH {
        let server = Server::start(kind)?;
        assert!(server.client(&["transact", "DB", ROOT])?.contains("uuid"));
        answers.push(run(&server)?);
    }
    let (stock, ours) = (&answers[0], &answers[1]);
    for (stock, ours) in stock.iter().zip(ours) {
        assert_eq!(stock, ours, "{test}: left the stock server, right ours");
    }
    assert_eq!(stock.len(), ours.len());
    Ok(())
}

#[test]
fn ovsdb_client_asks_and_changes() -> Result<()> {
    if !ready("ovsdb_client_asks_and_changes") {
        return Ok(());
    }
    compare("ovsdb_client_asks_and_changes", |server| {
        let (one, two) = (insert(1), insert(2));
        let select = r#"["Open_vSwitch",{"op":"select","table":"Bridge","where":[["name","==","br1"]],
            "columns":["name","external_ids","fail_mode","ports"]}]"#;
        let refused = r#"["Open_vSwitch",{"op":"insert","table":"Nope","row":{}}]"#;
        let again = r#"["Open_vSwitch",{"op":"wait","table":"Bridge","where":[["name","==","br1"]],
            "columns":["name"],"until":"!=","timeout":0,"rows":[{"name":"br1"}]}]"#;
        let commands: &[&[&str]] = &[
            &["list-dbs", "DB"],
            &["get-schema-version", "DB", "Open_vSwitch"],
            &["get-schema-cksum", "DB", "Open_vSwitch"],
            &["list-tables", "DB", "Open_vSwitch"],
            &["list-columns", "DB", "Open_vSwitch", "Bridge"],
            &["list-columns", "DB", "_Server"],
            &["transact", "DB", &one],
            &["transact", "DB", &two],
            &["transact", "DB", &one],
            &["transact", "DB", select],
            &["transact", "DB", refused],
            &["transact", "DB", again],
            &["transact", "DB", "[\"Nope\"]"],
            &["query", "DB", select],
            &[
                "query",
                "DB",
                r#"["Open_vSwitch",{"op":"delete","table":"Bridge","where":[]}]"#,
            ],
            &["dump", "DB", "Open_vSwitch", "Bridge"],
            &["--format=json", "dump", "DB", "Open_vSwitch"],
            &[
                "--format=csv",
                "dump",
                "DB",
                "Open_vSwitch",
                "Open_vSwitch",
                "other_config",
                "bridges",
            ],
            &["dump", "DB", "Open_vSwitch", "Nope"],
            &["wait", "DB", "Open_vSwitch", "added"],
            &["wait", "DB", "Open_vSwitch", "connected"],
            &["--timeout=1", "wait", "DB", "Open_vSwitch", "removed"],
            &["--timeout=1", "wait", "DB", "Nope", "added"],
            &["get-schema", "DB", "Nope"],
            &["needs-conversion", "DB", "/nonexistent"],
        ];
        let answers = commands.iter().map(|args| {
            let mut answer = server.client(args)?;
            if args.first() == Some(&"list-columns") {
                // In the order of a hash table.
                let mut lines: Vec<&str> = answer.lines().collect();
                lines.sort_unstable();
                answer = lines.join("\n");
            }
            Ok(format!("{args:?}\n{answer}"))
        });
        answers.collect()
    })
}

#[test]
fn ovsdb_client_monitors() -> Result<()> {
    if !ready("ovsdb_client_monitors") {
        return Ok(());
    }
    let condition = r#"[["name","==","br2"],["name","==","br3"]]"#;
    let nil = "00000000-0000-0000-0000-000000000000";
    let monitors: &[&[&str]] = &[
        &[
            "monitor",
            "DB",
            "Open_vSwitch",
            "Bridge",
            "name",
            "stp_enable",
            "external_ids",
        ],
        &[
            "monitor",
            "DB",
            "Open_vSwitch",
            "Bridge",
            "name,!initial,!delete",
        ],
        &["monitor", "DB", "ALL"],
        &[
            "monitor-cond",
            "DB",
            "Open_vSwitch",
            condition,
            "Bridge",
            "name,external_ids",
        ],
        &[
            "monitor-cond",
            "DB",
            "Open_vSwitch",
            "[false]",
            "Bridge",
            "name",
        ],
        &[
            "monitor-cond-since",
            "DB",
            "Open_vSwitch",
            nil,
            condition,
            "Bridge",
            "name",
        ],
    ];
    for monitor in monitors {
        let never = monitor.contains(&"[false]");
        compare(&format!("{monitor:?}"), |server| {
            server.client(&["transact", "DB", &insert(1)])?;
            server.client(&["transact", "DB", &insert(2)])?;
            let db = server.db();
            let mut command = server.tool("ovsdb-client");
            command.arg("--format=csv").args(
                monitor
                    .iter()
                    .map(|arg| if *arg == "DB" { db.as_str() } else { *arg }),
            );
            let mut monitor = Driver::start(&mut command)?;
            wait_for("the monitor is there", Duration::from_secs(10), || {
                let memory = server.appctl("memory/show");
                memory.is_ok_and(|text| text.contains("monitors:1"))
            })?;
            let change = |operation: &str| {
                let transaction = format!(r#"["Open_vSwitch",{operation}]"#);
                server.client(&["transact", "DB", &transaction])
            };
            change(
                r#"{"op":"mutate","table":"Bridge","where":[["name","!=","br1"]],
                    "mutations":[["external_ids","insert",["map",[["x","y"]]]]]}"#,
            )?;
            change(
                r#"{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["bridges",
                    "delete",["uuid","00000000-0000-4000-8000-000000000002"]]]}"#,
            )?;
            // The last of all: a change that every monitor but one is about.
            server.client(&["transact", "DB", &insert(3)])?;
            std::thread::sleep(Duration::from_millis(700));
            let lines = monitor.stop();
            let shown = lines.iter().any(|line| line.contains("br3"));
            assert_eq!(shown, !never, "{lines:#?}");
            // Each server has transaction ids and row versions of its own.
            Ok(lines.iter().map(|line| without_random(line)).collect())
        })?;
    }
    Ok(())
}

/// `line` with UUIDs that the server made up blanked.
fn without_random(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let candidate = rest.get(..36).unwrap_or_default();
        let is_uuid = candidate.len() == 36
            && candidate.bytes().enumerate().all(|(i, byte)| match i {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if is_uuid && !candidate.starts_with("00000000-0000-4000-8000-") {
            out.push_str("<random>");
            rest = &rest[36..];
            continue;
        }
        let mut chars = rest.chars();
        out.extend(chars.next());
        rest = chars.as_str();
    }
    out
}

#[test]
fn ovsdb_client_backs_up_and_restores() -> Result<()> {
    if !ready("ovsdb_client_backs_up_and_restores") {
        return Ok(());
    }
    compare("ovsdb_client_backs_up_and_restores", |server| {
        server.client(&["transact", "DB", &insert(1)])?;
        let db = server.db();
        let mut command = server.tool("ovsdb-client");
        let backup = tests::process::raw_output(command.args(["backup", &db, "Open_vSwitch"]))?;
        assert!(backup.status.success(), "{backup:?}");
        server.client(&["transact", "DB", &insert(2)])?;
        let copy = server.file().with_extension("backup");
        std::fs::write(&copy, &backup.stdout)?;
        let mut command = server.tool("ovsdb-client");
        let restored = command
            .args(["restore", &db, "Open_vSwitch"])
            .stdin(std::fs::File::open(&copy)?)
            .output()?;
        let said = String::from_utf8_lossy(&restored.stderr).into_owned();
        // Restored rows get new UUIDs, unless --force is given.
        Ok(vec![
            format!("{:?} {}", restored.status.code(), server.plain(&said)),
            server.client(&[
                "dump",
                "DB",
                "Open_vSwitch",
                "Bridge",
                "name",
                "external_ids",
            ])?,
            server.client(&["dump", "DB", "Open_vSwitch", "Open_vSwitch", "other_config"])?,
        ])
    })
}

/// The schema of a switch with bridges changed by `change`.
fn changed_schema(version: &str, change: impl Fn(&mut Value)) -> Result<NamedTempFile> {
    let mut schema: Value = serde_json::from_slice(&std::fs::read(vswitch_schema())?)?;
    schema["version"] = json!(version);
    change(&mut schema["tables"]["Bridge"]["columns"]);
    let file = NamedTempFile::new()?;
    std::fs::write(file.path(), schema.to_string())?;
    Ok(file)
}

#[test]
fn ovsdb_client_converts() -> Result<()> {
    if !ready("ovsdb_client_converts") {
        return Ok(());
    }
    let old = vswitch_schema().display().to_string();
    let more = changed_schema("9.0.0", |columns| {
        columns["note"] = json!({"type": {"key": "string", "min": 0}});
        columns["stp_enable"]["type"] = json!({"key": "boolean", "min": 0});
    })?;
    let less = changed_schema("9.1.0", |columns| {
        columns["external_ids"] = json!({"type": "string"});
    })?;
    let (more, less) = (
        more.path().display().to_string(),
        less.path().display().to_string(),
    );
    let (note, column) = (
        r#"["Open_vSwitch",{"op":"update","table":"Bridge","where":[],"row":{"note":"x"}}]"#,
        "name,note",
    );
    compare("ovsdb_client_converts", |server| {
        let commands: &[&[&str]] = &[
            &["transact", "DB", &insert(1)],
            &["transact", "DB", note],
            &["needs-conversion", "DB", &old],
            &["needs-conversion", "DB", &more],
            &["convert", "DB", &more],
            &["needs-conversion", "DB", &more],
            &["get-schema-version", "DB", "Open_vSwitch"],
            &["transact", "DB", note],
            &["dump", "DB", "Open_vSwitch", "Bridge"],
            // A map of one is no string.
            &["convert", "DB", &less],
            &["dump", "DB", "Open_vSwitch", "Bridge"],
            // The column goes, and comes back empty.
            &["convert", "DB", &old],
            &["convert", "DB", &more],
            &["dump", "DB", "Open_vSwitch", "Bridge", column],
            &["dump", "DB", "Open_vSwitch", "Bridge", "name", "note"],
        ];
        let answers = commands.iter().map(|args| {
            let answer = server.client(args)?;
            Ok(format!("{args:?}\n{answer}"))
        });
        answers.collect()
    })
}

#[test]
fn ovsdb_client_locks() -> Result<()> {
    if !ready("ovsdb_client_locks") {
        return Ok(());
    }
    compare("ovsdb_client_locks", |server| {
        let db = server.db();
        let lock = |args: &[&str]| {
            // It keeps what it says for itself while nobody looks.
            let mut command = server.tool("stdbuf");
            command.args(["-oL", "ovsdb-client", args[0], &db]);
            Driver::start(command.args(&args[1..]))
        };
        let mut said = Vec::new();
        let first = lock(&["lock", "l"])?;
        said.extend(first.until("locked")?);
        let second = lock(&["lock", "l"])?;
        said.extend(second.until("locked")?);
        let thief = lock(&["steal", "l"])?;
        said.extend(thief.until("locked")?);
        said.extend(first.until("stolen")?);
        drop(thief);
        // The one that it was stolen from is the first in line.
        said.extend(first.until("[\"l\"]")?);
        said.extend(first.until("locked")?);
        drop(first);
        said.extend(second.until("locked")?);
        said.push(server.client(&["--timeout=1", "unlock", "DB", "l"])?);
        Ok(said)
    })
}

#[test]
fn ovs_vsctl_waits_over_a_restart() -> Result<()> {
    if !ready("ovs_vsctl_waits_over_a_restart") {
        return Ok(());
    }
    for kind in BOTH {
        let mut server = Server::start(kind)?;
        server.vsctl(&["init", "--", "add-br", "br0"])?;
        let db = format!("--db={}", server.db());
        let wait = |args: &[&str]| {
            let mut command = server.tool("ovs-vsctl");
            Driver::start(command.args([&db, "--timeout=30"]).args(args))
        };
        let waiting = wait(&[
            "--no-wait",
            "--retry",
            "wait-until",
            "Bridge",
            "br0",
            "external_ids:x=y",
        ])?;
        std::thread::sleep(Duration::from_millis(300));
        server.restart()?;
        let db = format!("--db={}", server.db());
        server.kill();
        // Started while there is no server.
        let mut command = server.tool("ovs-vsctl");
        command.args([&db, "--timeout=30", "--no-wait", "--retry", "add-br", "br1"]);
        let retrying = Driver::start(&mut command)?;
        std::thread::sleep(Duration::from_millis(300));
        server.restart()?;
        assert_eq!(
            retrying.finish(Duration::from_secs(20))?,
            Some(0),
            "{kind:?}"
        );
        assert_eq!(server.vsctl(&["list-br"])?, "br0\nbr1\n");
        server.vsctl(&["set", "Bridge", "br0", "external_ids:x=y"])?;
        let code = waiting.finish(Duration::from_secs(20))?;
        assert_eq!(code, Some(0), "{kind:?}");
    }
    Ok(())
}
