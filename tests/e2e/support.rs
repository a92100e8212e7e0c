//! Settings that the switch does not carry out are told to whoever makes them; those that it does
//! carry out, and those that ask for nothing, are not mentioned.

use std::time::Duration;

use anyhow::Result;
use tests::process::wait_for;
use tests::traffic::ping;
use tests::{Host, Switch, require_root};

/// Runs vsctl, which must succeed; gives what it said on stderr.
fn said(s: &Switch, args: &[&str]) -> Result<String> {
    let out = s.vsctl_raw(args)?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{args:?}: {text}");
    Ok(text)
}

fn get(s: &Switch, table: &str, record: &str, column: &str) -> Result<String> {
    Ok(s.vsctl(&["get", table, record, column])?.trim().to_owned())
}

#[test]
fn what_is_not_supported_is_refused_by_name() -> Result<()> {
    if !require_root("what_is_not_supported_is_refused_by_name") {
        return Ok(());
    }
    let s = Switch::start("e2e-refuse")?;
    let _a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    s.vsctl(&["add-br", "br0", "--", "add-port", "br0", "a0"])?;
    s.vsctl(&["set-controller", "br0", "ptcp:0:127.0.0.1"])?;

    // What is set, how to take it back, and what the complaint names.
    let cases: &[(&[&str], &[&str], &str, &str)] = &[
        (
            &["set", "Bridge", "br0", "stp_enable=true"],
            &["set", "Bridge", "br0", "stp_enable=false"],
            "br0",
            "stp_enable=true",
        ),
        (
            &[
                "--", "--id=@m", "create", "Mirror", "name=m", "--", "add", "Bridge", "br0",
                "mirrors", "@m",
            ],
            &["clear", "Bridge", "br0", "mirrors"],
            "br0",
            "mirrors=",
        ),
        (
            &["set", "Bridge", "br0", "protocols=OpenFlow13,OpenFlow15"],
            &["clear", "Bridge", "br0", "protocols"],
            "br0",
            "protocols=OpenFlow15",
        ),
        (
            &["set", "Controller", "br0", "connection_mode=in-band"],
            &["set", "Controller", "br0", "connection_mode=out-of-band"],
            "br0",
            "connection_mode=in-band",
        ),
        (
            &[
                "set",
                "Bridge",
                "br0",
                "flow_tables:0=@t",
                "--",
                "--id=@t",
                "create",
                "Flow_Table",
                "flow_limit=5",
            ],
            &["clear", "Bridge", "br0", "flow_tables"],
            "br0",
            "flow_limit=5",
        ),
        (
            &[
                "set",
                "Port",
                "a0",
                "qos=@q",
                "--",
                "--id=@q",
                "create",
                "QoS",
                "type=linux-htb",
            ],
            &["clear", "Port", "a0", "qos"],
            "a0",
            "qos=",
        ),
        (
            &["set", "Port", "a0", "lacp=active"],
            &["set", "Port", "a0", "lacp=off"],
            "a0",
            "lacp=active",
        ),
        (
            &["set", "Interface", "a0", "ingress_policing_rate=1000"],
            &["set", "Interface", "a0", "ingress_policing_rate=0"],
            "a0",
            "ingress_policing_rate=1000",
        ),
        (
            &["set", "Interface", "a0", "bfd:enable=true"],
            &["clear", "Interface", "a0", "bfd"],
            "a0",
            "bfd:enable=true",
        ),
        (
            &["set", "Interface", "a0", "cfm_mpid=3"],
            &["clear", "Interface", "a0", "cfm_mpid"],
            "a0",
            "cfm_mpid=3",
        ),
    ];
    let number = get(&s, "Interface", "a0", "ofport")?;
    for (set, unset, at, names) in cases {
        let text = said(&s, set)?;
        assert!(
            text.contains(&format!("Error detected while setting up '{at}'"))
                && text.contains(names),
            "{set:?}: {text:?}"
        );
        assert!(
            get(&s, "Interface", at, "error")?.contains(names),
            "{set:?}"
        );
        let log = std::fs::read_to_string(s.dir().join("vswitchd.log"))?;
        let warnings = log
            .lines()
            .filter(|line| line.contains("|WARN|") && line.contains(names));
        assert_eq!(warnings.count(), 1, "{set:?} is in the log once");
        assert_eq!(said(&s, unset)?, "", "{unset:?}");
        assert_eq!(get(&s, "Interface", at, "error")?, "[]", "{unset:?}");
    }
    assert_eq!(
        get(&s, "Interface", "a0", "ofport")?,
        number,
        "the port went on working"
    );

    // Nothing to show it at but the log.
    said(
        &s,
        &["set", "Open_vSwitch", ".", "other_config:hw-offload=true"],
    )?;
    let log = std::fs::read_to_string(s.dir().join("vswitchd.log"))?;
    assert!(log.contains("other_config:hw-offload=true"), "{log}");
    Ok(())
}

#[test]
fn a_port_that_cannot_be_says_why() -> Result<()> {
    if !require_root("a_port_that_cannot_be_says_why") {
        return Ok(());
    }
    let s = Switch::start("e2e-cannot")?;
    let _a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    let _b = Host::new(&s, "e2e-b", "b0", "10.1.0.2/24")?;
    s.vsctl(&["add-br", "br0"])?;
    let cases: &[(&[&str], &str)] = &[
        (
            &[
                "add-port",
                "br0",
                "v0",
                "--",
                "set",
                "Interface",
                "v0",
                "type=vxlan",
                "options:remote_ip=10.9.9.9",
            ],
            "interface type \"vxlan\" is not supported",
        ),
        (
            &["add-bond", "br0", "bond0", "a0", "b0"],
            "bonds are not supported",
        ),
    ];
    for (add, names) in cases {
        let out = s.vsctl_raw(add)?;
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success(), "{add:?}");
        assert!(text.contains(names), "{add:?}: {text:?}");
    }
    assert_eq!(get(&s, "Interface", "v0", "ofport")?, "-1");
    Ok(())
}

#[test]
fn what_clients_always_set_is_not_mentioned() -> Result<()> {
    if !require_root("what_clients_always_set_is_not_mentioned") {
        return Ok(());
    }
    let s = Switch::start("e2e-silent")?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    let text = said(
        &s,
        &[
            "add-br",
            "br0",
            "--",
            "add-port",
            "br0",
            "a0",
            "--",
            "set-controller",
            "br0",
            "ptcp:0:127.0.0.1",
            "--",
            "set",
            "Controller",
            "br0",
            "connection_mode=out-of-band",
            "inactivity_probe=10000",
            "max_backoff=1000",
            "controller_rate_limit=100",
            "controller_burst_limit=25",
            "enable_async_messages=true",
            "--",
            "set",
            "Bridge",
            "br0",
            "fail_mode=standalone",
            "datapath_type=system",
            "stp_enable=false",
            "rstp_enable=false",
            "mcast_snooping_enable=false",
            "protocols=OpenFlow10,OpenFlow13",
            "external_ids:bridge-id=br0",
            "other_config:disable-in-band=true",
            "other_config:datapath-id=0000000000000042",
            "other_config:mac-table-size=50000",
            "other_config:mac-aging-time=60",
            "other_config:dp-desc=d",
            "other_config:dp-sn=42",
            "other_config:forward-bpdu=true",
            "--",
            "set",
            "Port",
            "a0",
            "lacp=off",
            "other_config:priority-tags=never",
            "other_config:segmentation_id=7",
            "other_config:transient=true",
            "vlan_mode=trunk",
            "bond_mode=active-backup",
            "--",
            "set",
            "Interface",
            "a0",
            "external_ids:iface-id=x",
            "mtu_request=1400",
            "ingress_policing_rate=0",
            "ingress_policing_burst=0",
            "bfd:enable=false",
            "lldp:enable=false",
            "ofport_request=9",
            "--",
            "set",
            "Open_vSwitch",
            ".",
            "external_ids:system-id=s",
            "other_config:max-idle=30000",
            "other_config:max-revalidator=200",
            "other_config:n-handler-threads=2",
            "other_config:hw-offload=false",
            "other_config:stats-update-interval=10000",
        ],
    )?;
    assert_eq!(text, "");
    for interface in ["br0", "a0"] {
        assert_eq!(get(&s, "Interface", interface, "error")?, "[]");
    }
    let log = std::fs::read_to_string(s.dir().join("vswitchd.log"))?;
    assert!(!log.contains(" is not supported ("), "{log}");
    assert!(
        s.ofctl(&["dump-desc", &s.mgmt("br0")])?
            .contains("Serial Num: 42")
    );
    s.vsctl(&["del-controller", "br0"])?;
    s.ns.ip(&["addr", "add", "10.1.0.2/24", "dev", "br0"])?;
    s.ns.ip(&["link", "set", "br0", "up"])?;
    wait_for("a ping is answered", Duration::from_secs(5), || {
        ping(&a.ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
    })
}
