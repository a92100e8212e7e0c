//! Ports that fail, vanish and return; what the database and the terminal say of them.

use std::time::Duration;

use anyhow::Result;
use tests::process::wait_for;
use tests::traffic::ping;
use tests::{Host, Switch, require_root};

fn get(s: &Switch, table: &str, record: &str, column: &str) -> Result<String> {
    Ok(s.vsctl(&["get", table, record, column])?.trim().to_owned())
}

#[test]
fn a_port_without_a_device_says_so_on_the_terminal() -> Result<()> {
    if !require_root("a_port_without_a_device_says_so_on_the_terminal") {
        return Ok(());
    }
    let s = Switch::start("e2e-nodev")?;
    s.vsctl(&["add-br", "br0"])?;
    let out = s.vsctl_raw(&["add-port", "br0", "nosuchdev"])?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        said.contains("nosuchdev"),
        "the reason is printed: {said:?}"
    );
    assert!(
        said.contains("No such device"),
        "the reason is precise: {said:?}"
    );
    assert_eq!(get(&s, "Interface", "nosuchdev", "ofport")?, "-1");
    assert!(get(&s, "Interface", "nosuchdev", "error")?.contains("No such device"));

    // The device comes: the port works without another word.
    let a = Host::new(&s, "e2e-a", "nosuchdev", "10.1.0.1/24")?;
    wait_for("the port has a number", Duration::from_secs(5), || {
        get(&s, "Interface", "nosuchdev", "ofport").is_ok_and(|n| n != "-1" && n != "[]")
    })?;
    assert_eq!(get(&s, "Interface", "nosuchdev", "error")?, "[]");
    s.ns.ip(&["addr", "add", "10.1.0.2/24", "dev", "br0"])?;
    s.ns.ip(&["link", "set", "br0", "up"])?;
    wait_for("a ping is answered", Duration::from_secs(5), || {
        ping(&a.ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
    })?;
    Ok(())
}

#[test]
fn a_device_that_vanishes_and_returns_keeps_its_number() -> Result<()> {
    if !require_root("a_device_that_vanishes_and_returns_keeps_its_number") {
        return Ok(());
    }
    let s = Switch::start("e2e-vanish")?;
    let b = Host::new(&s, "e2e-b", "b0", "10.1.0.2/24")?;
    s.vsctl(&["add-br", "br0", "--", "add-port", "br0", "b0"])?;
    {
        let _a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
        s.vsctl(&["add-port", "br0", "a0"])?;
        s.vsctl(&["set", "Interface", "a0", "ofport_request=7"])?;
        wait_for("the port has the number", Duration::from_secs(5), || {
            get(&s, "Interface", "a0", "ofport").is_ok_and(|n| n == "7")
        })?;
        s.ns.ip(&["link", "del", "a0"])?;
    }
    wait_for("the port reports the loss", Duration::from_secs(5), || {
        get(&s, "Interface", "a0", "ofport").is_ok_and(|n| n == "-1")
    })?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    wait_for(
        "the port has its number again",
        Duration::from_secs(5),
        || get(&s, "Interface", "a0", "ofport").is_ok_and(|n| n == "7"),
    )?;
    wait_for("a ping is answered", Duration::from_secs(5), || {
        ping(&a.ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
    })?;
    drop(b);
    Ok(())
}

#[test]
fn status_columns_follow_the_device() -> Result<()> {
    if !require_root("status_columns_follow_the_device") {
        return Ok(());
    }
    let s = Switch::start("e2e-status")?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    s.vsctl(&["add-br", "br0", "--", "add-port", "br0", "a0"])?;
    let is = |column: &str, want: &str| {
        wait_for(
            &format!("{column} is {want}"),
            Duration::from_secs(6),
            || get(&s, "Interface", "a0", column).is_ok_and(|v| v == want),
        )
    };
    is("link_state", "up")?;
    is("admin_state", "up")?;
    is("mtu", "1500")?;
    s.ns.ip(&["link", "set", "a0", "mtu", "1400"])?;
    is("mtu", "1400")?;
    a.ns.ip(&["link", "set", "eth0", "down"])?;
    is("link_state", "down")?;
    s.vsctl(&["set", "Interface", "a0", "mtu_request=1300"])?;
    is("mtu", "1300")?;
    let statistics = get(&s, "Interface", "a0", "statistics")?;
    for key in [
        "rx_packets",
        "tx_packets",
        "rx_bytes",
        "tx_bytes",
        "rx_dropped",
        "tx_errors",
    ] {
        assert!(statistics.contains(key), "{key} is in {statistics}");
    }
    Ok(())
}

#[test]
fn a_port_in_another_bridge_is_refused() -> Result<()> {
    if !require_root("a_port_in_another_bridge_is_refused") {
        return Ok(());
    }
    let s = Switch::start("e2e-twice")?;
    let _a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    s.vsctl(&[
        "add-br", "br0", "--", "add-br", "br1", "--", "add-port", "br0", "a0",
    ])?;
    let out = s.vsctl_raw(&["add-port", "br1", "a0"])?;
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success());
    assert!(
        said.contains("a0") && said.contains("br0"),
        "says where it is: {said:?}"
    );
    Ok(())
}
