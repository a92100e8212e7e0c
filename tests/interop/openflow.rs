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

/// Groups and meters that one tool adds and both show.
#[test]
fn both_ofctl_manage_groups_and_meters() -> Result<()> {
    if !ready("both_ofctl_manage_groups_and_meters", &["ovs-ofctl"]) {
        return Ok(());
    }
    let s = Switch::start("io-groups")?;
    s.vsctl(&["add-br", "br0"])?;
    let mgmt = s.mgmt("br0");
    let plain = |text: String| -> String {
        let line = |l: &str| {
            let l = l.split(" (xid=").next().unwrap_or(l);
            // Ages differ too.
            let (before, after) = l.split_once("duration").unwrap_or((l, ""));
            let after = after.split_once('s').map_or("", |(_, rest)| rest);
            format!("{before}{after}\n")
        };
        text.lines().map(line).collect()
    };
    for version in ["OpenFlow10", "OpenFlow13"] {
        let ours = |args: &[&str]| s.ofctl(&[&["-O", version], args].concat());
        let theirs = |args: &[&str]| stock(&s, "ovs-ofctl", &[&["-O", version], args].concat());
        ours(&["del-groups", &mgmt])?;
        for group in [
            "group_id=1,type=all,bucket=output:1,bucket=set_field:02:00:00:00:00:01->eth_dst,2",
            "group_id=2,type=ff,bucket=watch_port:1,output:1,bucket=watch_group:1,group:1",
        ] {
            ours(&["add-group", &mgmt, group])?;
        }
        for group in [
            "group_id=3,type=select,bucket=weight:3,actions=1,bucket=actions=2",
            "group_id=4,type=indirect,bucket=strip_vlan,3",
        ] {
            theirs(&["add-group", &mgmt, group])?;
        }
        theirs(&["mod-group", &mgmt, "group_id=4,type=indirect,bucket=4"])?;
        ours(&["--may-create", "mod-group", &mgmt, "group_id=5,type=all"])?;
        let mut shown = vec![
            vec!["dump-groups", &mgmt],
            vec!["dump-group-stats", &mgmt],
            vec!["dump-group-stats", &mgmt, "group_id=3"],
            vec!["dump-group-features", &mgmt],
        ];
        if version == "OpenFlow10" {
            let bucket = "group_id=3,command_bucket_id=first,bucket=bucket_id:9,actions=3";
            ours(&["insert-buckets", &mgmt, bucket])?;
            theirs(&["remove-buckets", &mgmt, "group_id=3,command_bucket_id=last"])?;
            shown.push(vec!["dump-groups", &mgmt, "3"]);
        } else {
            ours(&["del-meters", &mgmt])?;
            ours(&["add-meter", &mgmt, "meter=1,kbps,bands=type=drop,rate=100"])?;
            theirs(&[
                "add-meter",
                &mgmt,
                "meter=2,pktps,burst,stats,bands=type=drop,rate=9,burst_size=5,\
                 type=dscp_remark,rate=4,burst_size=3,prec_level=1",
            ])?;
            theirs(&["add-flow", &mgmt, "in_port=1,actions=meter:2,group:3"])?;
            shown.extend([
                vec!["dump-meters", &mgmt],
                vec!["dump-meter", &mgmt, "meter=2"],
                vec!["meter-stats", &mgmt],
                vec!["meter-features", &mgmt],
            ]);
        }
        for args in shown {
            let ours = plain(ours(&args)?);
            assert_eq!(ours, plain(theirs(&args)?), "{version} {args:?}");
            assert!(ours.lines().count() > 1, "{version} {args:?}: {ours}");
        }
    }
    Ok(())
}
