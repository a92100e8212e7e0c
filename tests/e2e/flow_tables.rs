//! Flow tables as the database configures them.

use anyhow::Result;
use tests::{Switch, require_root};

const OF14: [&str; 2] = ["-O", "OpenFlow14"];

fn ofctl(s: &Switch, args: &[&str]) -> Result<String> {
    s.ofctl(&[&OF14[..], args].concat())
}

/// The flows of a table by their cookies, sorted.
fn cookies(s: &Switch, table: u8) -> Result<Vec<String>> {
    let table = format!("table={table}");
    let text = ofctl(s, &["--no-stats", "dump-flows", "br0", &table])?;
    let cookie = |line: &str| {
        let (_, rest) = line.split_once("cookie=")?;
        rest.split_once(',').map(|(cookie, _)| cookie.to_owned())
    };
    let mut cookies: Vec<String> = text.lines().filter_map(cookie).collect();
    cookies.sort();
    Ok(cookies)
}

#[test]
fn limits_and_eviction() -> Result<()> {
    if !require_root("limits_and_eviction") {
        return Ok(());
    }
    let s = Switch::start("e2e-tables")?;
    s.vsctl(&[
        "add-br",
        "br0",
        "--",
        "set",
        "Bridge",
        "br0",
        "fail_mode=secure",
        "flow_tables:1=@t",
        "--",
        "--id=@t",
        "create",
        "Flow_Table",
        "name=first",
        "flow_limit=3",
    ])?;
    let add = |n: u8, timeout: &str| {
        let flow = format!("table=1,cookie={n},in_port={n}{timeout},actions=drop");
        ofctl(&s, &["add-flow", "br0", &flow])
    };
    add(1, "")?;
    add(2, ",idle_timeout=900")?;
    add(3, ",idle_timeout=800")?;
    let refused = format!("{:#}", add(4, "").unwrap_err());
    assert!(refused.contains("OFPFMFC_TABLE_FULL"), "{refused}");
    // One that takes another's place needs no room, and other tables have their own.
    add(3, ",idle_timeout=800")?;
    ofctl(&s, &["add-flow", "br0", "table=2,actions=drop"])?;
    assert_eq!(cookies(&s, 1)?, ["0x1", "0x2", "0x3"]);
    let features = ofctl(&s, &["dump-table-features", "br0"])?;
    assert!(features.contains("table 1 (\"first\"):"), "{features}");

    s.vsctl(&["set", "Flow_Table", "first", "overflow_policy=evict"])?;
    add(4, "")?;
    assert_eq!(cookies(&s, 1)?, ["0x1", "0x2", "0x4"], "the soonest gone");
    let described = ofctl(&s, &["dump-table-desc", "br0"])?;
    assert!(described.contains("eviction=on"), "{described}");
    // A limit that is lowered takes effect at once, but permanent flows stay.
    s.vsctl(&["set", "Flow_Table", "first", "flow_limit=1"])?;
    assert_eq!(cookies(&s, 1)?, ["0x1", "0x4"]);

    // Flows of the larger group go first, even if they would stay longer.
    s.vsctl(&[
        "set",
        "Flow_Table",
        "first",
        "flow_limit=3",
        "groups=\"NXM_OF_ETH_TYPE[]\"",
    ])?;
    ofctl(&s, &["del-flows", "br0", "table=1"])?;
    for flow in [
        "table=1,cookie=1,ip,idle_timeout=100,actions=drop",
        "table=1,cookie=2,arp,arp_op=1,idle_timeout=900,actions=drop",
        "table=1,cookie=3,arp,arp_op=2,idle_timeout=800,actions=drop",
        "table=1,cookie=4,ipv6,idle_timeout=100,actions=drop",
    ] {
        ofctl(&s, &["add-flow", "br0", flow])?;
    }
    assert_eq!(cookies(&s, 1)?, ["0x1", "0x2", "0x4"]);

    s.vsctl(&["clear", "Bridge", "br0", "flow_tables"])?;
    for n in 5..9 {
        add(n, "")?;
    }
    assert_eq!(cookies(&s, 1)?.len(), 7);
    let described = ofctl(&s, &["dump-table-desc", "br0"])?;
    assert!(!described.contains("eviction=on"), "{described}");

    ofctl(&s, &["mod-table", "br0", "1", "vacancy:20,60"])?;
    let described = ofctl(&s, &["dump-table-desc", "br0"])?;
    let vacancy = "vacancy=on vacancy_down=20% vacancy_up=60% vacancy=99%";
    assert!(described.contains(vacancy), "{described}");
    Ok(())
}
