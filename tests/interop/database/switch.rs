//! Stock `ovs-vsctl` and `ovsdb-client` configure and monitor a whole switch.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::process::wait_for;
use tests::traffic::ping;
use tests::{Host, Switch};

use crate::{ready, stock, stock_command};

#[test]
fn ovs_vsctl_configures_the_switch() -> Result<()> {
    if !ready("ovs_vsctl_configures_the_switch", &["ovs-vsctl"]) {
        return Ok(());
    }
    let s = Switch::start("io-vsctl")?;
    let a = Host::new(&s, "io-a", "a0", "10.1.0.1/24")?;
    let _b = Host::new(&s, "io-b", "b0", "10.1.0.2/24")?;
    let db = format!("--db={}", s.db());
    let vsctl = |words: &str| {
        let mut args = vec![db.as_str(), "--timeout=10"];
        args.extend(words.split(' '));
        stock(&s, "ovs-vsctl", &args)
    };
    // Without --no-wait: it waits until vswitchd has done it.
    vsctl("add-br br0 -- add-port br0 a0 tag=10 -- add-port br0 b0 tag=10")?;
    wait_for("a ping is answered", Duration::from_secs(5), || {
        ping(&a.ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
    })?;
    assert_eq!(vsctl("list-ports br0")?, "a0\nb0\n");
    assert_eq!(vsctl("port-to-br a0")?, "br0\n");
    assert_eq!(vsctl("get Interface a0 error")?, "[]\n");
    assert!(
        vsctl("get Interface a0 ofport")?
            .trim()
            .parse::<u32>()
            .is_ok()
    );
    vsctl("set Interface a0 external_ids:iface-id=vm1")?;
    assert_eq!(
        vsctl("--bare --columns=name find interf external_id:iface-id=vm1")?,
        "a0\n"
    );
    assert!(vsctl("show")?.contains("Bridge br0"));
    let missing = stock_command(&s, "ovs-vsctl")
        .args([&db, "br-exists", "nosuch"])
        .status()?;
    assert_eq!(missing.code(), Some(2));
    vsctl(
        "-- --id=@q create QoS type=linux-htb queues:0=@q0 -- --id=@q0 create Queue other_config:max-rate=1000 -- set Port a0 qos=@q",
    )?;
    vsctl("-- destroy QoS a0 -- clear Port a0 qos")?;
    assert_eq!(vsctl("list QoS")?, "");
    vsctl("--if-exists del-port a0 -- --if-exists del-port nosuch")?;
    assert_eq!(vsctl("list-ports br0")?, "b0\n");
    vsctl("del-br br0")?;
    assert_eq!(vsctl("list-br")?, "");
    Ok(())
}

#[test]
fn ovsdb_client_reads_transacts_and_monitors() -> Result<()> {
    if !ready(
        "ovsdb_client_reads_transacts_and_monitors",
        &["ovsdb-client"],
    ) {
        return Ok(());
    }
    let s = Switch::start("io-client")?;
    let db = s.db();
    let client = |args: &[&str]| stock(&s, "ovsdb-client", args);
    assert_eq!(client(&["list-dbs", &db])?, "Open_vSwitch\n_Server\n");
    assert!(client(&["get-schema-version", &db, "Open_vSwitch"])?.starts_with("8."));
    assert!(client(&["list-tables", &db, "Open_vSwitch"])?.contains("Interface"));
    // Its row is what the monitor begins with: then it is there.
    stock(
        &s,
        "ovs-vsctl",
        &[&format!("--db={db}"), "--no-wait", "add-br", "br6"],
    )?;
    let mut monitor = stock_command(&s, "ovsdb-client");
    let mut monitor = monitor
        .args([
            "--format=csv",
            "monitor",
            &db,
            "Open_vSwitch",
            "Bridge",
            "name",
        ])
        .stdout(Stdio::piped())
        .stdin(Stdio::null())
        .spawn()
        .context("ovsdb-client")?;
    let lines = BufReader::new(monitor.stdout.take().context("no output")?);
    let (tell, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                break;
            }
        }
    });
    let mut seen = String::new();
    let mut until = |word: &str| {
        let start = Instant::now();
        while !seen.contains(word) && start.elapsed() < Duration::from_secs(5) {
            if let Ok(line) = heard.recv_timeout(Duration::from_millis(100)) {
                seen.push_str(&line);
                seen.push('\n');
            }
        }
        seen.clone()
    };
    until("br6");
    let answer = client(&[
        "transact",
        &db,
        r#"["Open_vSwitch",
            {"op":"insert","table":"Bridge","row":{"name":"br7"},"uuid-name":"b"},
            {"op":"mutate","table":"Open_vSwitch","where":[],
             "mutations":[["bridges","insert",["named-uuid","b"]]]}]"#,
    ])?;
    assert!(answer.contains(r#""count":1"#), "{answer}");
    let seen = until("br7");
    let _ = monitor.kill();
    let _ = monitor.wait();
    assert!(
        seen.contains("insert") && seen.contains("br7"),
        "the monitor showed:\n{seen}"
    );
    assert!(client(&["dump", &db, "Open_vSwitch", "Bridge", "name"])?.contains("br7"));
    Ok(())
}
