//! Controllers written by others run our bridge.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::process::{Background, wait_for};
use tests::traffic::ping;
use tests::{Host, Switch};

use crate::{ready, stock_command};

fn connected(s: &Switch) -> bool {
    s.vsctl(&["--bare", "--columns=is_connected", "list", "Controller"])
        .is_ok_and(|t| t.trim() == "true")
}

/// A bridge in secure mode with two hosts: only a controller makes them talk.
fn bridge_with_controller(name: &str, port: u16) -> Result<(Switch, Host, Host)> {
    let s = Switch::start(name)?;
    let a = Host::new(&s, "io-a", "a0", "10.1.0.1/24")?;
    let b = Host::new(&s, "io-b", "b0", "10.1.0.2/24")?;
    s.vsctl(&["add-br", "br0", "--", "set-fail-mode", "br0", "secure"])?;
    s.vsctl(&["add-port", "br0", "a0", "--", "add-port", "br0", "b0"])?;
    assert_eq!(
        ping(&a.ns, "10.1.0.2", 2, "0.1")?.received,
        0,
        "no controller, no traffic"
    );
    s.vsctl(&["set-controller", "br0", &format!("tcp:127.0.0.1:{port}")])?;
    Ok((s, a, b))
}

fn hosts_talk(a: &Host) -> Result<()> {
    wait_for(
        "hosts talk through the controller's rules",
        Duration::from_secs(10),
        || ping(&a.ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all()),
    )?;
    assert!(ping(&a.ns, "10.1.0.2", 10, "0.05")?.all());
    Ok(())
}

#[test]
fn ovs_testcontroller_runs_the_bridge() -> Result<()> {
    if !ready(
        "ovs_testcontroller_runs_the_bridge",
        &["ovs-testcontroller"],
    ) {
        return Ok(());
    }
    let (s, a, _b) = bridge_with_controller("io-tc", 6653)?;
    let mut controller = s.ns.command("ovs-testcontroller");
    controller
        .arg("ptcp:6653:127.0.0.1")
        .env("OVS_RUNDIR", s.dir())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _controller = Background::spawn(&mut controller)?;
    wait_for(
        "the controller is connected",
        Duration::from_secs(15),
        || connected(&s),
    )?;
    hosts_talk(&a)?;
    let _ = stock_command(&s, "true").status()?;
    Ok(())
}

/// The example application of the framework, OpenFlow 1.3.
#[test]
fn os_ken_simple_switch_13_runs_the_bridge() -> Result<()> {
    if !ready("os_ken_simple_switch_13_runs_the_bridge", &["python3"]) {
        return Ok(());
    }
    let venv = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../target/venv")
        .canonicalize()
        .context("the controller framework is not installed: cargo xtask setup installs it")?;
    let (s, a, _b) = bridge_with_controller("io-osken", 6633)?;
    s.vsctl(&["set", "Bridge", "br0", "protocols=OpenFlow13"])?;
    let log = std::fs::File::create(s.dir().join("os-ken.log"))?;
    let mut controller = s.ns.command(venv.join("bin/python"));
    controller
        .args(["-m", "os_ken.cmd.manager", "--ofp-tcp-listen-port", "6633"])
        .args(["--ofp-listen-host", "127.0.0.1"])
        .arg(venv.join("simple_switch_13.py"))
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut controller = Background::spawn(&mut controller)?;
    let up = wait_for(
        "the controller is connected",
        Duration::from_secs(20),
        || connected(&s),
    );
    let said = tests::process::tail(&s.dir().join("os-ken.log"), 30);
    assert!(controller.running(), "the controller ended: {said}");
    up.with_context(|| format!("the controller said: {said}"))?;
    hosts_talk(&a)?;
    let flows = s.ofctl(&["-O", "OpenFlow13", "dump-flows", "br0"])?;
    assert!(
        flows.contains("CONTROLLER:65535"),
        "its table-miss rule: {flows}"
    );
    assert!(
        flows.contains("eth_dst=") || flows.contains("dl_dst="),
        "its learned rules: {flows}"
    );
    Ok(())
}
