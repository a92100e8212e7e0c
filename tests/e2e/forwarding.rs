//! Who can talk to whom: NORMAL with VLANs, trunks, native VLANs, internal and patch ports, both
//! IP versions, and OpenFlow rules.

use std::time::Duration;

use anyhow::Result;
use tests::process::wait_for;
use tests::traffic::{ping, tcp};
use tests::{Host, Switch, require_root};

fn reaches(from: &tests::NetNs, to: &str) -> Result<bool> {
    // The first answer may take address resolution and learning.
    let first = wait_for("a ping is answered", Duration::from_secs(3), || {
        ping(from, to, 1, "0.1").is_ok_and(|p| p.all())
    });
    Ok(first.is_ok() && ping(from, to, 5, "0.02")?.all())
}

fn unreachable(from: &tests::NetNs, to: &str) -> Result<bool> {
    Ok(ping(from, to, 3, "0.1")?.received == 0)
}

#[test]
fn access_ports_talk_within_their_vlan_only() -> Result<()> {
    if !require_root("access_ports_talk_within_their_vlan_only") {
        return Ok(());
    }
    let s = Switch::start("e2e-vlan")?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    let b = Host::new(&s, "e2e-b", "b0", "10.1.0.2/24")?;
    let _c = Host::new(&s, "e2e-c", "c0", "10.1.0.3/24")?;
    s.vsctl(&["add-br", "br0"])?;
    s.vsctl(&[
        "add-port", "br0", "a0", "tag=10", "--", "add-port", "br0", "b0", "tag=10",
    ])?;
    s.vsctl(&["add-port", "br0", "c0", "tag=20"])?;
    assert!(reaches(&a.ns, "10.1.0.2")?, "same VLAN");
    assert!(unreachable(&a.ns, "10.1.0.3")?, "other VLAN");
    tcp(&b.ns, &a.ns, "10.1.0.2", 16 << 20)?;

    // Nothing that it is told while running needs a restart.
    s.vsctl(&["set", "Port", "c0", "tag=10"])?;
    assert!(reaches(&a.ns, "10.1.0.3")?, "moved into the VLAN");
    s.vsctl(&["set", "Port", "b0", "tag=30"])?;
    assert!(unreachable(&a.ns, "10.1.0.2")?, "moved out of the VLAN");
    Ok(())
}

/// Two bridges with a cable between them: what one tags, the other reads.
#[test]
fn trunks_carry_tags_and_native_vlans() -> Result<()> {
    if !require_root("trunks_carry_tags_and_native_vlans") {
        return Ok(());
    }
    let s = Switch::start("e2e-trunk")?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    let b = Host::new(&s, "e2e-b", "b0", "10.1.0.2/24")?;
    s.ns.ip(&["link", "add", "t0", "type", "veth", "peer", "name", "t1"])?;
    s.ns.ip(&["link", "set", "t0", "up"])?;
    s.ns.ip(&["link", "set", "t1", "up"])?;
    s.vsctl(&["add-br", "br0", "--", "add-port", "br0", "a0", "tag=10"])?;
    s.vsctl(&["add-br", "br1", "--", "add-port", "br1", "b0", "tag=10"])?;
    s.vsctl(&[
        "add-port",
        "br0",
        "t0",
        "trunks=10",
        "--",
        "add-port",
        "br1",
        "t1",
    ])?;
    assert!(reaches(&a.ns, "10.1.0.2")?, "VLAN 10 over the trunk");
    tcp(&b.ns, &a.ns, "10.1.0.2", 16 << 20)?;
    tcp(&a.ns, &b.ns, "10.1.0.1", 16 << 20)?;

    s.vsctl(&["set", "Port", "b0", "tag=20"])?;
    assert!(unreachable(&a.ns, "10.1.0.2")?, "the VLANs differ");
    s.vsctl(&["set", "Port", "a0", "tag=20"])?;
    assert!(
        unreachable(&a.ns, "10.1.0.2")?,
        "VLAN 20 is not in the trunk"
    );
    s.vsctl(&["set", "Port", "t0", "trunks=10,20"])?;
    assert!(reaches(&a.ns, "10.1.0.2")?, "VLAN 20 is in the trunk now");

    // Untagged frames of the cable belong to the native VLAN.
    s.vsctl(&["set", "Port", "t0", "vlan_mode=native-untagged", "tag=20"])?;
    assert!(
        unreachable(&a.ns, "10.1.0.2")?,
        "the far end reads untagged frames as VLAN 0"
    );
    s.vsctl(&["remove", "Port", "b0", "tag", "20"])?;
    assert!(reaches(&a.ns, "10.1.0.2")?, "the far host is in VLAN 0");
    s.vsctl(&["set", "Port", "t0", "vlan_mode=native-tagged"])?;
    assert!(unreachable(&a.ns, "10.1.0.2")?, "native-tagged sends tags");
    s.vsctl(&["set", "Port", "b0", "tag=20"])?;
    assert!(reaches(&a.ns, "10.1.0.2")?, "and the far end reads them");
    Ok(())
}

#[test]
fn internal_ports_and_ipv6() -> Result<()> {
    if !require_root("internal_ports_and_ipv6") {
        return Ok(());
    }
    let s = Switch::start("e2e-int")?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    a.ns.ip(&["addr", "add", "fd00::1/64", "dev", "eth0"])?;
    s.vsctl(&["add-br", "br0", "--", "add-port", "br0", "a0"])?;
    s.vsctl(&[
        "add-port",
        "br0",
        "int0",
        "--",
        "set",
        "Interface",
        "int0",
        "type=internal",
    ])?;
    for (dev, v4, v6) in [
        ("br0", "10.1.0.10/24", "fd00::10/64"),
        ("int0", "10.1.0.11/32", "fd00::11/128"),
    ] {
        s.ns.ip(&["addr", "add", v4, "dev", dev])?;
        s.ns.ip(&["addr", "add", v6, "dev", dev, "nodad"])?;
        s.ns.ip(&["link", "set", dev, "up"])?;
    }
    assert!(reaches(&a.ns, "10.1.0.10")?, "LOCAL");
    assert!(reaches(&a.ns, "fd00::10")?, "LOCAL by IPv6");
    assert!(reaches(&s.ns, "10.1.0.1")?, "from LOCAL");
    assert!(reaches(&a.ns, "10.1.0.11")?, "internal port");
    tcp(&s.ns, &a.ns, "10.1.0.10", 32 << 20)?;
    tcp(&a.ns, &s.ns, "10.1.0.1", 32 << 20)?;
    tcp(&s.ns, &a.ns, "fd00::10", 16 << 20)?;
    Ok(())
}

#[test]
fn patch_ports_join_bridges() -> Result<()> {
    if !require_root("patch_ports_join_bridges") {
        return Ok(());
    }
    let s = Switch::start("e2e-patch")?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    let b = Host::new(&s, "e2e-b", "b0", "10.1.0.2/24")?;
    s.vsctl(&["add-br", "br0", "--", "add-port", "br0", "a0"])?;
    s.vsctl(&["add-br", "br1", "--", "add-port", "br1", "b0"])?;
    assert!(unreachable(&a.ns, "10.1.0.2")?, "two bridges");
    s.vsctl(&[
        "add-port",
        "br0",
        "p0",
        "--",
        "set",
        "Interface",
        "p0",
        "type=patch",
        "options:peer=p1",
        "--",
        "add-port",
        "br1",
        "p1",
        "--",
        "set",
        "Interface",
        "p1",
        "type=patch",
        "options:peer=p0",
    ])?;
    assert!(reaches(&a.ns, "10.1.0.2")?, "joined by a patch");
    tcp(&b.ns, &a.ns, "10.1.0.2", 16 << 20)?;
    s.vsctl(&["del-port", "p1"])?;
    assert!(unreachable(&a.ns, "10.1.0.2")?, "the patch is gone");
    Ok(())
}

#[test]
fn rules_rewrite_and_steer() -> Result<()> {
    if !require_root("rules_rewrite_and_steer") {
        return Ok(());
    }
    let s = Switch::start("e2e-rules")?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    let b = Host::new(&s, "e2e-b", "b0", "10.1.0.2/24")?;
    s.vsctl(&["add-br", "br0", "--", "set-fail-mode", "br0", "secure"])?;
    s.vsctl(&[
        "add-port",
        "br0",
        "a0",
        "--",
        "set",
        "Interface",
        "a0",
        "ofport_request=1",
    ])?;
    s.vsctl(&[
        "add-port",
        "br0",
        "b0",
        "--",
        "set",
        "Interface",
        "b0",
        "ofport_request=2",
    ])?;
    assert!(
        unreachable(&a.ns, "10.1.0.2")?,
        "secure: no rule, no traffic"
    );
    // a sees b as 10.1.0.77: addresses are rewritten both ways, checksums included.
    s.ofctl(&["add-flow", "br0", "arp,actions=FLOOD"])?;
    s.ofctl(&[
        "add-flow",
        "br0",
        "ip,in_port=1,nw_dst=10.1.0.77,actions=mod_nw_dst:10.1.0.2,output:2",
    ])?;
    s.ofctl(&[
        "add-flow",
        "br0",
        "ip,in_port=2,nw_src=10.1.0.2,actions=resubmit(,3)",
    ])?;
    s.ofctl(&[
        "add-flow",
        "br0",
        "table=3,ip,actions=set_field:10.1.0.77->ip_src,load:1->NXM_NX_REG0[],output:NXM_NX_REG0[]",
    ])?;
    let mac = b.mac()?;
    a.ns.ip(&["neigh", "add", "10.1.0.77", "lladdr", &mac, "dev", "eth0"])?;
    assert!(reaches(&a.ns, "10.1.0.77")?, "ICMP through the rewrite");
    let flows = s.ofctl(&["dump-flows", "br0", "table=3"])?;
    assert!(
        !flows.contains("n_packets=0,"),
        "the rule counts its packets: {flows}"
    );
    Ok(())
}
