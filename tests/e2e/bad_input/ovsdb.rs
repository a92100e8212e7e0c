//! Requests to the database that are no requests, ask for the impossible, or come from a client
//! that never reads.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tests::require_root;

use super::{Random, Rig, connect, exchange, resident};

/// A client that sends one request at a time.
pub struct Client {
    stream: UnixStream,
}

impl Client {
    pub fn connect(path: &Path) -> Result<Client> {
        Ok(Client {
            stream: connect(path)?,
        })
    }

    /// Result and error of a request.
    pub fn call(&mut self, method: &str, params: Value) -> Result<(Value, Value)> {
        let request = json!({"id": 1, "method": method, "params": params});
        self.stream.write_all(request.to_string().as_bytes())?;
        let mut answers =
            serde_json::Deserializer::from_reader(&mut self.stream).into_iter::<Value>();
        loop {
            let mut answer = answers.next().context("the server hung up")??;
            if answer["method"].is_null() {
                return Ok((answer["result"].take(), answer["error"].take()));
            }
        }
    }

    /// Results of a transaction's operations; whatever error there is is an error.
    pub fn transact(&mut self, operations: &[Value]) -> Result<Vec<Value>> {
        let mut params = vec![json!("Open_vSwitch")];
        params.extend(operations.iter().cloned());
        let (result, error) = self.call("transact", params.into())?;
        if !error.is_null() {
            bail!("{error}");
        }
        let results = result.as_array().cloned().unwrap_or_default();
        if let Some(bad) = results.iter().find(|r| !r["error"].is_null()) {
            bail!("{bad}");
        }
        Ok(results)
    }
}

fn bridges(client: &mut Client) -> Result<Value> {
    let select =
        json!({"op": "select", "table": "Bridge", "where": [], "columns": ["name", "_uuid"]});
    Ok(client.transact(&[select])?[0]["rows"].take())
}

#[test]
fn bad_database_requests() -> Result<()> {
    if !require_root("bad_database_requests") {
        return Ok(());
    }
    let mut rig = Rig::start("e2e-baddb")?;
    let socket = rig.s.dir().join("db.sock");
    let mut good = Client::connect(&socket)?;
    let before = bridges(&mut good)?;

    // Cut at every byte: nothing of it happens.
    let delete = json!({"id": 1, "method": "transact", "params": ["Open_vSwitch",
        {"op": "mutate", "table": "Open_vSwitch", "where": [],
         "mutations": [["bridges", "delete", before[0]["_uuid"]]]}]})
    .to_string();
    for cut in 0..delete.len() {
        exchange(&socket, &delete.as_bytes()[..cut])?;
    }
    ensure!(bridges(&mut good)? == before, "the bridge is still there");

    let open = |n: usize, with: &str| {
        format!(
            "{{\"id\":1,\"method\":\"echo\",\"params\":{}",
            with.repeat(n)
        )
        .into_bytes()
    };
    for bytes in [
        open(200, "["),
        open(100_000, "["),
        open(100_000, "{\"a\":"),
        b"\x16\x03\x01\x02\x00".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"[]".to_vec(),
        b"{\"id\":null,\"method\":\"transact\",\"params\":null}".to_vec(),
        b"{\"id\":1,\"method\":[],\"params\":[]}".to_vec(),
        b"{\"id\":1,\"result\":[],\"error\":null}".to_vec(),
    ] {
        exchange(&socket, &bytes)?;
        ensure!(bridges(&mut good)? == before);
    }
    let mut random = Random(0x0123_4567_89ab_cdef);
    let select = json!({"id": 1, "method": "transact", "params": ["Open_vSwitch",
        {"op": "select", "table": "Bridge", "where": [["name", "==", "br0"]],
         "columns": ["ports", "other_config"]}, {"op": "comment", "comment": "x"}]})
    .to_string();
    for _ in 0..1000 {
        let mut bytes = select.clone().into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        exchange(&socket, &bytes)?;
    }
    ensure!(bridges(&mut good)? == before);
    refused(&mut good, &before[0]["_uuid"])?;
    ensure!(bridges(&mut good)? == before);
    rig.well()
}

/// Requests that are well-formed JSON and cannot be granted; each says why.
fn refused(good: &mut Client, bridge: &Value) -> Result<()> {
    let nobody = json!(["uuid", "00000000-0000-4000-8000-000000000001"]);
    let insert = |table: &str, row: Value| json!({"op": "insert", "table": table, "row": row});
    let update = |row: Value| json!({"op": "update", "table": "Bridge", "where": [], "row": row});
    for (operation, expected) in [
        (
            json!({"op": "select", "table": "Nope", "where": []}),
            "Nope",
        ),
        (json!({"op": "frobnicate"}), "frobnicate"),
        (json!({"table": "Bridge"}), "op"),
        (json!(7), "Object expected"),
        (
            json!({"op": "select", "table": "Bridge", "where": 3}),
            "where",
        ),
        (
            json!({"op": "select", "table": "Bridge", "where": [["nope", "==", 1]]}),
            "nope",
        ),
        (
            json!({"op": "select", "table": "Bridge", "where": [["name", "~", "x"]]}),
            "~",
        ),
        (
            json!({"op": "select", "table": "Bridge", "where": [["name", "==", 1]]}),
            "string",
        ),
        (
            json!({"op": "select", "table": "Bridge", "where": [], "columns": ["nope"]}),
            "nope",
        ),
        (insert("Bridge", json!({"nope": 1})), "nope"),
        (insert("Bridge", json!({"name": 5})), "string"),
        (
            insert("Port", json!({"name": "p", "tag": 4096})),
            "constraint violation",
        ),
        (
            insert("Port", json!({"name": "p", "tag": -1})),
            "constraint violation",
        ),
        (insert("Port", json!({"name": "p", "tag": "x"})), "integer"),
        (
            insert("Port", json!({"name": "p", "tag": 1e300})),
            "integer",
        ),
        (
            insert("Port", json!({"name": "p", "vlan_mode": "x"})),
            "constraint violation",
        ),
        (
            insert("Port", json!({"name": "p", "interfaces": nobody})),
            "referential",
        ),
        (
            insert("Interface", json!({"name": "p", "mtu_request": 0})),
            "constraint violation",
        ),
        (
            insert("Interface", json!({"name": "p", "ofport_request": 70000})),
            "constraint violation",
        ),
        (
            update(json!({"ports": nobody})),
            "referential integrity violation",
        ),
        (update(json!({"ports": ["set", [["uuid", "zz"]]]})), "zz"),
        (
            update(json!({"ports": ["named-uuid", "nobody"]})),
            "referential integrity violation",
        ),
        (
            update(json!({"other_config": ["map", [["a", "b"], ["a", "c"]]]})),
            "a",
        ),
        (
            update(json!({"other_config": ["map", [["a"]]]})),
            "2-element array",
        ),
        (update(json!({"_uuid": nobody})), "_uuid"),
        (
            json!({"op": "mutate", "table": "Bridge", "where": [], "mutations": [["name", "+=", 1]]}),
            "name",
        ),
        (
            json!({"op": "mutate", "table": "Open_vSwitch", "where": [],
                   "mutations": [["next_cfg", "/=", 0]]}),
            "zero",
        ),
        (
            json!({"op": "mutate", "table": "Open_vSwitch", "where": [],
                   "mutations": [["next_cfg", "*=", i64::MAX], ["next_cfg", "*=", i64::MAX]]}),
            "",
        ),
        (
            json!({"op": "wait", "table": "Bridge", "where": [], "columns": ["name"],
                   "until": "==", "rows": [{"name": "other"}], "timeout": 0}),
            "timed out",
        ),
        (json!({"op": "assert", "lock": "nobody"}), "not owner"),
        (json!({"op": "abort"}), "aborted"),
        (
            json!({"op": "delete", "table": "Bridge", "where": [["_uuid", "==", "br0"]]}),
            "uuid",
        ),
    ] {
        // A second operation that would succeed must not take effect alone.
        let also = json!({"op": "update", "table": "Bridge", "where": [["_uuid", "==", bridge]],
                          "row": {"external_ids": ["map", [["half", "done"]]]}});
        match good.transact(&[also, operation.clone()]) {
            Ok(result) if expected.is_empty() => drop(result),
            Ok(result) => bail!("{operation} is granted: {result:?}"),
            Err(error) => {
                let said = error.to_string();
                ensure!(said.contains(expected), "{operation}: {said}");
                ensure!(said.contains("details") || said.contains("error"), "{said}");
            }
        }
    }
    let second = json!({"op": "insert", "table": "Bridge", "uuid-name": "second",
                        "row": {"name": "br0"}});
    let refer = json!({"op": "mutate", "table": "Open_vSwitch", "where": [],
                       "mutations": [["bridges", "insert", ["named-uuid", "second"]]]});
    let said = good.transact(&[second, refer]).map_err(|e| e.to_string());
    ensure!(
        said.as_ref()
            .is_err_and(|s| s.contains("constraint violation") && s.contains("br0")),
        "two bridges of one name: {said:?}"
    );
    let half = json!({"op": "select", "table": "Bridge", "columns": ["external_ids"],
                      "where": [["external_ids", "includes", ["map", [["half", "done"]]]]]});
    let rows = good.transact(&[half])?[0]["rows"].take();
    println!("left by half transactions: {rows}");
    for (method, params) in [
        ("transact", json!([])),
        ("transact", json!(["Nope"])),
        ("transact", json!([5, {}])),
        ("nope", json!([])),
        ("get_schema", json!([])),
        ("get_schema", json!(["Nope"])),
        ("monitor", json!(["Open_vSwitch"])),
        ("monitor", json!(["Open_vSwitch", 1, {"Nope": {}}])),
        (
            "monitor",
            json!(["Open_vSwitch", 2, {"Bridge": {"columns": ["nope"]}}]),
        ),
        ("monitor", json!(["Open_vSwitch", 3, {"Bridge": 7}])),
        (
            "monitor_cond",
            json!(["Open_vSwitch", 4, {"Bridge": [{"where": [["nope", "==", 1]]}]}]),
        ),
        (
            "monitor_cond_since",
            json!(["Open_vSwitch", 5, {"Bridge": [{}]}, "not a uuid"]),
        ),
        ("monitor_cond_change", json!([99, 100, {}])),
        ("monitor_cancel", json!(["never made"])),
        ("lock", json!([])),
        ("unlock", json!(["not mine"])),
        ("set_db_change_aware", json!([])),
        (
            "convert",
            json!(["Open_vSwitch", {"name": "Other", "tables": {}}]),
        ),
    ] {
        let (result, error) = good.call(method, params.clone())?;
        ensure!(
            !error.is_null() && error != json!(""),
            "{method} {params}: {result}"
        );
    }
    Ok(())
}

#[test]
fn clients_of_the_database_that_never_read() -> Result<()> {
    if !require_root("clients_of_the_database_that_never_read") {
        return Ok(());
    }
    let mut rig = Rig::start("e2e-baddm")?;
    let socket = rig.s.dir().join("db.sock");
    let pid = rig.s.db_server_pid().context("db-server runs")?;
    let before = resident(pid)?;
    // Some watch, some ask for everything again and again; none reads.
    let mut deaf = Vec::new();
    for i in 0..6 {
        let mut stream = connect(&socket)?;
        let watch = json!({"id": i, "method": "monitor", "params": ["Open_vSwitch", i,
            {"Bridge": {}, "Port": {}, "Interface": {}, "Queue": {}}]});
        stream.write_all(watch.to_string().as_bytes())?;
        deaf.push(stream);
    }
    for _ in 0..4 {
        let mut stream = connect(&socket)?;
        let ask = json!({"id": 1, "method": "get_schema", "params": ["Open_vSwitch"]}).to_string();
        let sent = super::flood(&mut stream, ask.repeat(100).as_bytes(), 2 << 20)?;
        println!("{sent} bytes of requests taken from a client that never reads");
        deaf.push(stream);
    }
    let mut good = Client::connect(&socket)?;
    let text = "x".repeat(1 << 19);
    for n in 0..20 {
        let delete = json!({"op": "delete", "table": "Queue", "where": []});
        let insert = json!({"op": "insert", "table": "Queue",
            "row": {"external_ids": ["map", [["text", text], ["n", n.to_string()]]]}});
        good.transact(&[delete, insert])?;
    }
    let after = resident(pid)?;
    println!("resident before {before} MiB, with 10 deaf clients {after} MiB");
    ensure!(after < before + 300, "{before} MiB grew to {after} MiB");
    // What was shut out reads no garbage: whole messages up to an end.
    let mut first = deaf.swap_remove(0);
    let mut text = Vec::new();
    let _ = first.read_to_end(&mut text);
    println!(
        "the first watcher gets {} bytes before it is cut off",
        text.len()
    );
    drop(deaf);
    rig.well()
}
