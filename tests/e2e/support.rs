//! Settings that the switch does not carry out are told to whoever makes them; those that it does
//! carry out, and those that ask for nothing, are not mentioned.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use tests::process::{output, wait_for};
use tests::support::{check_part, table};
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
                "prefixes=tun_id",
            ],
            &["clear", "Bridge", "br0", "flow_tables"],
            "br0",
            "prefixes=tun_id",
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
            &["set", "Interface", "a0", "mac=\"02:00:00:00:00:09\""],
            &["clear", "Interface", "a0", "mac"],
            "a0",
            "mac=02:00:00:00:00:09",
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

/// The commands of Open vSwitch's tools and daemons, as `list-commands` of each has them.
const OFCTL: &str = "add-flow add-flows add-group add-groups add-meter add-tlv-map benchmark bundle \
    check-vlan compose-packet ct-flush ct-flush-zone del-flows del-groups del-meter \
    del-meters del-tlv-map diff-flows dump-aggregate dump-desc dump-flows \
    dump-group-features dump-group-stats dump-groups dump-ipfix-bridge dump-ipfix-flow \
    dump-meter dump-meters dump-ports dump-ports-desc dump-table-desc dump-table-features \
    dump-tables dump-tlv-map encode-error-reply encode-hello get-frags help insert-buckets \
    list-commands meter-features meter-stats mod-flows mod-group mod-meter mod-port \
    mod-table monitor ofp-parse ofp-parse-pcap ofp-print packet-out parse-actions parse-flow \
    parse-flows parse-group parse-instructions parse-key-value parse-nx-match parse-nxm \
    parse-ofp10-match parse-ofp11-match parse-oxm parse-packet parse-pcap ping print-error \
    probe queue-get-config queue-stats remove-buckets replace-flows set-frags show snoop";
const VSWITCHD: &str = "autoattach/show-isid autoattach/statistics autoattach/status bfd/set-forwarding bfd/show \
    bond/disable-member bond/enable-member bond/hash bond/list bond/migrate \
    bond/set-active-member bond/show bridge/dump-flows bridge/reconnect cfm/set-fault \
    cfm/show coverage/read-counter coverage/show dpctl/add-dp dpctl/add-flow dpctl/add-flows \
    dpctl/add-if dpctl/cache-get-size dpctl/cache-set-size dpctl/ct-bkts dpctl/ct-del-limits \
    dpctl/ct-disable-tcp-seq-chk dpctl/ct-enable-tcp-seq-chk dpctl/ct-get-limits \
    dpctl/ct-get-maxconns dpctl/ct-get-nconns dpctl/ct-get-tcp-seq-chk dpctl/ct-set-limits \
    dpctl/ct-set-maxconns dpctl/ct-stats-show dpctl/del-dp dpctl/del-flow dpctl/del-flows \
    dpctl/del-if dpctl/dump-conntrack dpctl/dump-dps dpctl/dump-flows dpctl/flush-conntrack \
    dpctl/get-flow dpctl/ipf-get-status dpctl/ipf-set-disabled dpctl/ipf-set-enabled \
    dpctl/ipf-set-max-nfrags dpctl/ipf-set-min-frag dpctl/list-commands dpctl/mod-flow \
    dpctl/mod-flows dpctl/normalize-actions dpctl/offload-stats-show dpctl/parse-actions \
    dpctl/set-if dpctl/show dpif-netdev/bond-show dpif-netdev/dpif-impl-get \
    dpif-netdev/dpif-impl-set dpif-netdev/miniflow-parser-get \
    dpif-netdev/miniflow-parser-set dpif-netdev/pmd-perf-log-set dpif-netdev/pmd-perf-show \
    dpif-netdev/pmd-rxq-rebalance dpif-netdev/pmd-rxq-show dpif-netdev/pmd-stats-clear \
    dpif-netdev/pmd-stats-show dpif-netdev/subtable-lookup-info-get \
    dpif-netdev/subtable-lookup-prio-set dpif-netlink/dispatch-mode dpif/dump-dps \
    dpif/dump-flows dpif/set-dp-features dpif/show dpif/show-dp-features exit fdb/add \
    fdb/del fdb/flush fdb/show fdb/stats-clear fdb/stats-show lacp/show lacp/show-stats \
    list-commands mdb/flush mdb/show memory/show odp-execute/action-impl-set \
    odp-execute/action-impl-show ofproto/list ofproto/trace ofproto/trace-packet-out \
    ovs/route/add ovs/route/del ovs/route/lookup ovs/route/show qos/show qos/show-types \
    revalidator/purge revalidator/wait rstp/show rstp/tcn stp/show stp/tcn tnl/arp/aging \
    tnl/arp/flush tnl/arp/set tnl/arp/show tnl/egress_port_range tnl/neigh/aging \
    tnl/neigh/flush tnl/neigh/set tnl/neigh/show tnl/ports/show upcall/disable-megaflows \
    upcall/disable-ufid upcall/enable-megaflows upcall/enable-ufid upcall/set-flow-limit \
    upcall/show version vlog/close vlog/disable-rate-limit vlog/enable-rate-limit vlog/list \
    vlog/list-pattern vlog/reopen vlog/set";
const DB_SERVER: &str = "coverage/read-counter coverage/show exit list-commands memory/show ovsdb-server/add-db \
    ovsdb-server/add-remote ovsdb-server/compact ovsdb-server/connect-active-ovsdb-server \
    ovsdb-server/disable-monitor-cond ovsdb-server/disconnect-active-ovsdb-server \
    ovsdb-server/get-active-ovsdb-server ovsdb-server/get-db-storage-status \
    ovsdb-server/get-sync-exclude-tables ovsdb-server/list-dbs ovsdb-server/list-remotes \
    ovsdb-server/memory-trim-on-compaction ovsdb-server/perf-counters-clear \
    ovsdb-server/perf-counters-show ovsdb-server/reconnect ovsdb-server/remove-db \
    ovsdb-server/remove-remote ovsdb-server/set-active-ovsdb-server \
    ovsdb-server/set-active-ovsdb-server-probe-interval ovsdb-server/set-sync-exclude-tables \
    ovsdb-server/sync-status ovsdb-server/tlog-list ovsdb-server/tlog-set version vlog/close \
    vlog/disable-rate-limit vlog/enable-rate-limit vlog/list vlog/list-pattern vlog/reopen \
    vlog/set";
const VSCTL: &str = "add add-aa-mapping add-bond add-bond-iface add-br add-port add-zone-tp br-exists \
    br-get-external-id br-set-external-id br-to-parent br-to-vlan clear comment create \
    del-aa-mapping del-bond-iface del-br del-controller del-fail-mode del-manager del-port \
    del-ssl del-zone-tp destroy emer-reset find get get-aa-mapping get-controller \
    get-fail-mode get-manager get-ssl iface-to-br init list list-br list-dp-cap list-ifaces \
    list-ports list-zone-tp port-to-br remove set set-controller set-fail-mode set-manager \
    set-ssl show wait-until";

/// ovsdb-tool's and ovsdb-client's together.
const DBCTL: &str = "backup check-cluster cluster-to-standalone compact compare-versions convert create \
    create-cluster db-cid db-cksum db-is-clustered db-is-standalone db-local-address db-name \
    db-sid db-version dump get-schema get-schema-cksum get-schema-version join-cluster \
    list-columns list-dbs list-tables lock monitor monitor-cond monitor-cond-since \
    needs-conversion query restore schema-cksum schema-name schema-version show-log steal \
    transact unlock wait";

/// First words of the lines of `list-commands`.
fn listed(text: &str) -> BTreeSet<String> {
    let lines = text.lines().skip(1);
    lines
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

/// One row per command of `stock` or of ours.
fn rows(program: &str, stock: &str, ours: &BTreeSet<String>) -> Vec<Vec<String>> {
    let stock: BTreeSet<String> = stock.split_whitespace().map(str::to_owned).collect();
    stock
        .union(ours)
        .map(|name| {
            let state = if ours.contains(name) {
                "supported"
            } else {
                "refused"
            };
            let note = if stock.contains(name) {
                ""
            } else {
                "not of Open vSwitch"
            };
            [program, name, state, note].map(str::to_owned).to_vec()
        })
        .collect()
}

#[test]
fn the_document_names_every_command() -> Result<()> {
    if !require_root("the_document_names_every_command") {
        return Ok(());
    }
    let s = Switch::start("e2e-commands")?;
    let ofctl = listed(&s.ofctl(&["list-commands"])?)
        .into_iter()
        .chain(["parse-flow", "parse-flows", "ofp-print"].map(str::to_owned))
        .collect();
    for name in OFCTL
        .split_whitespace()
        .filter(|name| !BTreeSet::contains(&ofctl, *name))
    {
        let error = s.ofctl(&[name]).expect_err("refused");
        let error = format!("{error:#}");
        assert!(
            error.contains(name) && error.contains("not supported"),
            "{error}"
        );
    }
    let vsctl: BTreeSet<String> = s
        .vsctl(&["--commands"])?
        .lines()
        .filter_map(|line| line.split(',').nth(1).map(str::to_owned))
        .collect();
    let vswitchd = listed(&s.appctl(&["list-commands"])?);
    let mut ask = s.tool("appctl")?;
    ask.arg("-t")
        .arg(s.dir().join("db-server.ctl"))
        .arg("list-commands");
    let db_server = listed(&output(&mut ask)?);
    let mut dbctl = listed(&output(s.tool("dbctl")?.arg("list-commands"))?);
    let cluster = s.dir().join("cluster.db");
    std::fs::write(&cluster, "OVSDB CLUSTER 1 x\n")?;
    for (name, args) in [
        ("check-cluster", 1),
        ("cluster-to-standalone", 2),
        ("create-cluster", 3),
        ("db-cid", 1),
        ("db-local-address", 1),
        ("db-sid", 1),
        ("join-cluster", 4),
    ] {
        let mut ask = s.tool("dbctl")?;
        ask.arg(name).args(std::iter::repeat_n(&cluster, args));
        let error = format!("{:#}", output(&mut ask).expect_err("refused"));
        assert!(
            error.contains(name) && error.contains("not supported"),
            "{error}"
        );
        dbctl.remove(name);
    }
    let all = [
        rows("vsctl", VSCTL, &vsctl),
        rows("dbctl", DBCTL, &dbctl),
        rows("ofctl", OFCTL, &ofctl),
        rows("appctl (vswitchd)", VSWITCHD, &vswitchd),
        rows("appctl (db-server)", DB_SERVER, &db_server),
    ];
    let text = table(&["Program", "Command", "State", "Notes"], all.concat());
    check_part("commands", &text)
}
