//! Requests to the daemons' control sockets that are no requests.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::process::raw_output;
use tests::require_root;

use super::{Random, Rig, connect, exchange};

#[test]
fn bad_control_requests() -> Result<()> {
    if !require_root("bad_control_requests") {
        return Ok(());
    }
    let mut rig = Rig::start("e2e-badctl")?;
    let sockets = [rig.s.vswitchd_ctl(), rig.s.dir().join("db-server.ctl")];
    for socket in &sockets {
        hostile(socket)?;
        rig.well()?;
    }
    // What the tool prints: an unknown command, too few and too many arguments, bad ones.
    for (args, expected) in [
        (&["no/such-command"][..], "is not a valid command"),
        (&["fdb/show"], "requires at least 1"),
        (&["fdb/show", "br0", "br0"], "takes at most 1"),
        (&["fdb/show", "nosuch"], "no such bridge"),
        (&["ofproto/trace"], "requires at least"),
        (
            &["ofproto/trace", "br0", "in_port=1,nonsense=5"],
            "nonsense",
        ),
        (&["ofproto/trace", "nosuch", "in_port=1"], "nosuch"),
        (
            &["ofproto/trace", "br0", "in_port=1", "zz"],
            "not supported",
        ),
        (&["dpctl/dump-flows", "nosuch"], "nosuch"),
        (&["vlog/set", "nosuch:dbg"], "nosuch"),
    ] {
        let mut command = rig.s.tool("appctl")?;
        let output = raw_output(command.arg("-t").arg(rig.s.vswitchd_ctl()).args(args))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "{args:?}: {said}");
        ensure!(said.contains(expected), "{args:?}: {said}");
    }
    rig.well()
}

fn hostile(socket: &Path) -> Result<()> {
    let whole = json!({"id": 0, "method": "list-commands", "params": []}).to_string();
    let listed = exchange(socket, whole.as_bytes())?;
    ensure!(
        String::from_utf8_lossy(&listed).contains("list-commands"),
        "the socket answers"
    );
    for cut in 0..whole.len() {
        exchange(socket, &whole.as_bytes()[..cut])?;
    }
    let deep = |n: usize| {
        format!(
            "{{\"id\":0,\"method\":\"version\",\"params\":[{}",
            "[".repeat(n)
        )
    };
    for bytes in [
        deep(100).into_bytes(),
        deep(100_000).into_bytes(),
        b"[]".to_vec(),
        b"nonsense".to_vec(),
        b"{}".to_vec(),
        b"{\"id\":0}".to_vec(),
        b"{\"id\":0,\"method\":5,\"params\":[]}".to_vec(),
        b"{\"id\":0,\"method\":\"version\",\"params\":{}}".to_vec(),
        b"{\"id\":0,\"method\":\"version\",\"params\":[5]}".to_vec(),
        b"{\"id\":0,\"method\":\"version\",\"params\":[null,[\"x\"]]}".to_vec(),
        b"{\"id\":0,\"method\":\"\\ud800\",\"params\":[]}".to_vec(),
        b"{\"id\":0,\"result\":\"x\",\"error\":null}".to_vec(),
        b"\xff\xfe\x00\x00".to_vec(),
        [b"{\"id\":\"".to_vec(), vec![b'x'; 3 << 20]].concat(),
    ] {
        let answer = exchange(socket, &bytes)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(!answer.contains("panic"), "{answer}");
    }
    let mut random = Random(0x5eed_0001_5eed_0001);
    for _ in 0..200 {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        exchange(socket, &bytes)?;
    }
    // Every command that exists, with no arguments and with far too many; none that ends the
    // daemon or waits on purpose.
    let answer: Value = serde_json::from_slice(&listed)?;
    let text = answer["result"].as_str().unwrap_or_default();
    let commands: Vec<&str> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "exit")
        .collect();
    ensure!(commands.len() > 10, "commands are listed: {text}");
    for name in commands {
        for count in [0, 1, 2, 3, 40] {
            for argument in ["", "br0\u{0}", "no such thing", "-", "99999999999999999999"] {
                let params = vec![argument; count];
                let request = json!({"id": 1, "method": name, "params": params}).to_string();
                let mut stream = connect(socket)?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                use std::io::Read as _;
                use std::io::Write as _;
                stream.write_all(request.as_bytes())?;
                let mut first = [0; 1];
                let n = stream.read(&mut first).unwrap_or(0);
                ensure!(
                    n == 1,
                    "{name} with {count} times {argument:?} has no answer"
                );
                if count == 0 {
                    break;
                }
            }
        }
    }
    Ok(())
}
