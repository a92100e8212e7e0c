//! What a crash and a restart of the daemons do to traffic: nothing, for cached flows.

use std::time::Duration;

use anyhow::Result;
use tests::process::wait_for;
use tests::traffic::{BackgroundPing, ping};
use tests::{Host, Switch, require_root};

/// 1,000 packets per second over kill -9 and restart of vswitchd: none lost.
#[test]
fn cached_flows_survive_a_crash_of_vswitchd() -> Result<()> {
    if !require_root("cached_flows_survive_a_crash_of_vswitchd") {
        return Ok(());
    }
    let mut s = Switch::start("e2e-crash")?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    let _b = Host::new(&s, "e2e-b", "b0", "10.1.0.2/24")?;
    s.vsctl(&["add-br", "br0"])?;
    s.vsctl(&[
        "add-port", "br0", "a0", "tag=10", "--", "add-port", "br0", "b0", "tag=10",
    ])?;
    s.vsctl(&[
        "add-port",
        "br0",
        "i0",
        "tag=10",
        "--",
        "set",
        "Interface",
        "i0",
        "type=internal",
    ])?;
    s.ns.ip(&["addr", "add", "10.1.0.3/24", "dev", "i0"])?;
    s.ns.ip(&["link", "set", "i0", "up"])?;
    // Addresses are resolved before, and not asked for again during, the test.
    for to in ["10.1.0.2", "10.1.0.3"] {
        wait_for("a ping is answered", Duration::from_secs(5), || {
            ping(&a.ns, to, 1, "0.1").is_ok_and(|p| p.all())
        })?;
    }
    let ofports = s.vsctl(&["--columns=name,ofport", "list", "Interface"])?;
    let between = BackgroundPing::start(&a.ns, "10.1.0.2", 8000, "0.001")?;
    let internal = BackgroundPing::start(&a.ns, "10.1.0.3", 8000, "0.001")?;
    std::thread::sleep(Duration::from_secs(1));
    s.kill_vswitchd();
    std::thread::sleep(Duration::from_secs(2));
    s.start_vswitchd()?;
    let between = between.finish()?;
    let internal = internal.finish()?;
    println!("over the crash: {between:?} between hosts, {internal:?} to the internal port");
    assert!(between.all(), "between hosts: {between:?}");
    assert!(internal.all(), "to the internal port: {internal:?}");
    assert_eq!(
        ofports,
        s.vsctl(&["--columns=name,ofport", "list", "Interface"])?
    );
    // The restarted daemon is in charge: it answers new flows and obeys.
    s.ofctl(&["add-flow", "br0", "priority=100,icmp,actions=drop"])?;
    assert_eq!(ping(&a.ns, "10.1.0.2", 3, "0.05")?.received, 0);
    Ok(())
}

#[test]
fn a_tidy_restart_loses_nothing_either() -> Result<()> {
    if !require_root("a_tidy_restart_loses_nothing_either") {
        return Ok(());
    }
    let mut s = Switch::start("e2e-restart")?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    let _b = Host::new(&s, "e2e-b", "b0", "10.1.0.2/24")?;
    s.vsctl(&[
        "add-br", "br0", "--", "add-port", "br0", "a0", "--", "add-port", "br0", "b0",
    ])?;
    wait_for("a ping is answered", Duration::from_secs(5), || {
        ping(&a.ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
    })?;
    let pings = BackgroundPing::start(&a.ns, "10.1.0.2", 5000, "0.001")?;
    std::thread::sleep(Duration::from_millis(500));
    s.stop_vswitchd()?;
    s.start_vswitchd()?;
    let pings = pings.finish()?;
    println!("over the restart: {pings:?}");
    assert!(pings.all(), "{pings:?}");
    Ok(())
}

#[test]
fn vswitchd_follows_a_restarted_db_server() -> Result<()> {
    if !require_root("vswitchd_follows_a_restarted_db_server") {
        return Ok(());
    }
    let mut s = Switch::start("e2e-dbcrash")?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    let _b = Host::new(&s, "e2e-b", "b0", "10.1.0.2/24")?;
    s.vsctl(&["add-br", "br0", "--", "add-port", "br0", "a0"])?;
    s.kill_db_server();
    s.start_db_server()?;
    s.vsctl(&["add-port", "br0", "b0"])?;
    wait_for("a ping is answered", Duration::from_secs(5), || {
        ping(&a.ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
    })
}

/// `exit --cleanup` leaves nothing in the kernel.
#[test]
fn cleanup_removes_devices() -> Result<()> {
    if !require_root("cleanup_removes_devices") {
        return Ok(());
    }
    let s = Switch::start("e2e-clean")?;
    s.vsctl(&["add-br", "br0"])?;
    assert!(s.ns.ip(&["-o", "link", "show"])?.contains("br0"));
    s.appctl(&["exit", "--cleanup"])?;
    wait_for("the devices are gone", Duration::from_secs(5), || {
        s.ns.ip(&["-o", "link", "show"]).is_ok_and(|l| {
            // Only loopback and the kernel's own fallback devices are left.
            !l.contains("br0")
        })
    })
}
