//! Stock `ovs-ofctl` on our bridge, OpenFlow 1.0 and 1.3.

use anyhow::Result;
use tests::Switch;

use crate::{ready, stock};

const FLOWS: &[&str] = &[
    "priority=10,in_port=1,actions=output:2",
    "priority=20,tcp,nw_src=10.0.0.0/8,tp_dst=80,actions=mod_dl_dst:02:00:00:00:00:01,output:2",
    "priority=30,ipv6,ipv6_dst=fd00::/64,actions=NORMAL",
    "table=1,priority=5,dl_vlan=10,dl_vlan_pcp=3,actions=strip_vlan,output:3",
    "table=1,priority=6,reg1=0x7/0xff,actions=load:0x5->NXM_NX_REG2[],resubmit(,2)",
    "table=2,priority=1,arp,arp_tpa=10.0.0.1,actions=CONTROLLER:128",
    "table=2,priority=0,actions=drop",
    "cookie=0x1234,priority=7,udp6,tp_src=53,actions=IN_PORT",
];

#[test]
fn ovs_ofctl_adds_and_dumps_flows() -> Result<()> {
    if !ready("ovs_ofctl_adds_and_dumps_flows", &["ovs-ofctl"]) {
        return Ok(());
    }
    let s = Switch::start("io-ofctl")?;
    s.vsctl(&["add-br", "br0"])?;
    s.vsctl(&["set", "Bridge", "br0", "protocols=OpenFlow10,OpenFlow13"])?;
    let mgmt = s.mgmt("br0");
    for version in ["OpenFlow10", "OpenFlow13"] {
        let ofctl = |args: &[&str]| {
            let mut all = vec!["-O", version, "--timeout=10"];
            all.extend(args);
            stock(&s, "ovs-ofctl", &all)
        };
        ofctl(&["del-flows", &mgmt])?;
        for flow in FLOWS {
            ofctl(&["add-flow", &mgmt, flow])?;
        }
        // The stock parser's own canonical form of each flow is in the dump.
        let dump = ofctl(&["--no-stats", "--sort=priority", "dump-flows", &mgmt])?;
        assert_eq!(
            dump.lines().filter(|l| l.contains("actions=")).count(),
            FLOWS.len(),
            "{dump}"
        );
        for part in [
            "priority=20,tcp,nw_src=10.0.0.0/8,tp_dst=80 actions=mod_dl_dst:02:00:00:00:00:01,output:2",
            "ipv6_dst=fd00::/64 actions=NORMAL",
            "reg1=0x7/0xff actions=load:0x5->NXM_NX_REG2[],resubmit(,2)",
            "arp,arp_tpa=10.0.0.1 actions=CONTROLLER:128",
            "actions=drop",
        ] {
            let spelled = if version == "OpenFlow13" {
                part.replace(
                    "mod_dl_dst:02:00:00:00:00:01",
                    "set_field:02:00:00:00:00:01->eth_dst",
                )
            } else {
                part.to_owned()
            };
            assert!(
                dump.contains(&spelled),
                "{version}: {spelled} is in\n{dump}"
            );
        }
        assert!(
            ofctl(&["dump-aggregate", &mgmt])?.contains(&format!("flow_count={}", FLOWS.len()))
        );
        ofctl(&["--strict", "del-flows", &mgmt, "priority=10,in_port=1"])?;
        ofctl(&["mod-flows", &mgmt, "table=2,arp,actions=drop"])?;
        ofctl(&["del-flows", &mgmt, "cookie=0x1234/-1"])?;
        assert!(
            ofctl(&["dump-aggregate", &mgmt])?.contains(&format!("flow_count={}", FLOWS.len() - 2))
        );
        for command in [
            "show",
            "dump-tables",
            "dump-ports",
            "dump-ports-desc",
            "dump-desc",
        ] {
            ofctl(&[command, &mgmt])?;
        }
    }
    Ok(())
}

/// Our `ofctl` and the stock one print the same of the same switch.
#[test]
fn both_ofctl_print_the_same() -> Result<()> {
    if !ready("both_ofctl_print_the_same", &["ovs-ofctl"]) {
        return Ok(());
    }
    let s = Switch::start("io-same")?;
    s.vsctl(&["add-br", "br0"])?;
    let mgmt = s.mgmt("br0");
    s.ofctl(&["del-flows", "br0"])?;
    for flow in FLOWS {
        s.ofctl(&["add-flow", "br0", flow])?;
    }
    for args in [
        &["--no-stats", "--sort=priority", "dump-flows"][..],
        &["dump-aggregate"],
        &["dump-desc"],
        &[
            "-O",
            "OpenFlow13",
            "--no-stats",
            "--sort=priority",
            "dump-flows",
        ],
        &["-O", "OpenFlow13", "dump-ports-desc"],
        &["show"],
    ] {
        let with: Vec<&str> = args.iter().copied().chain([mgmt.as_str()]).collect();
        // Transaction ids differ from run to run.
        let plain = |text: String| -> String {
            text.lines()
                .map(|l| l.split(" (xid=").next().unwrap_or(l).to_owned() + "\n")
                .collect()
        };
        assert_eq!(
            plain(s.ofctl(&with)?),
            plain(stock(&s, "ovs-ofctl", &with)?),
            "{args:?}"
        );
    }
    Ok(())
}
