//! The stock controller runs our bridge.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;
use tests::process::{Background, wait_for};
use tests::traffic::ping;
use tests::{Host, Switch};

use crate::{connected, ready, stock_command};

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
