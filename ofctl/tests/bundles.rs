//! Bundles and flow monitors: this tool and stock ovs-ofctl against the same stock switch.

#[allow(dead_code, reason = "other tests use the rest")]
mod stock_switch;

use stock_switch::{Output, Switch};

/// Runs both tools from the same flows and groups; output, status and what is there afterwards are
/// equal.
fn same(switch: &Switch, version: &str, args: &[&str]) -> Output {
    let before = switch.write("before", "priority=1,in_port=7,actions=1\n");
    let mut results = Vec::new();
    for stock in [true, false] {
        switch.stock(&["del-flows", "br0"]).ok();
        switch.stock(&["add-flows", "br0", &before]).ok();
        switch
            .stock(&["-O", "OpenFlow15", "del-groups", "br0"])
            .ok();
        let group = "group_id=3,type=all,bucket=bucket_id=4,actions=output:1";
        switch
            .stock(&["-O", "OpenFlow15", "add-group", "br0", group])
            .ok();
        let args: Vec<&str> = ["-O", version].iter().chain(args).copied().collect();
        let mut output = match stock {
            true => switch.stock(&args),
            false => switch.ours(&args),
        };
        // This tool says where in a line the error is, too.
        if let Some(at) = output.stderr.find(" (column") {
            output.stderr.replace_range(at.., "\n");
        }
        let table = switch.stock(&["--no-stats", "dump-flows", "br0"]);
        let groups = switch.stock(&["-O", "OpenFlow15", "dump-groups", "br0"]);
        // Their order is that of a hash table.
        let mut groups: Vec<String> = groups.stdout.lines().skip(1).map(str::to_owned).collect();
        groups.sort();
        results.push((output, table.stdout, groups));
    }
    assert_eq!(results[1], results[0], "{version} {args:?}");
    results.swap_remove(0).0
}

#[test]
fn bundles_say_and_do_the_same() {
    let Some(switch) = Switch::start("bundles") else {
        return;
    };
    let good = switch.write(
        "good",
        "flow add in_port=1,actions=2\n# a comment\nflow in_port=p2,actions=p1\n\
         flow modify in_port=1,actions=1\nflow delete in_port=7\n\
         packet-out in_port=1 packet=0001020304050001020304050800 actions=2\n",
    );
    let overlap = switch.write(
        "overlap",
        "flow add in_port=1,actions=2\nflow add check_overlap,in_port=2,actions=drop\n\
         flow add check_overlap,tcp,actions=1\nflow add in_port=3,actions=3\n",
    );
    let refused = switch.write(
        "refused",
        "flow add in_port=1,actions=2\nflow add in_port=1,table=254,actions=1\n\
         flow add in_port=2,table=254,actions=1\n",
    );
    let word = switch.write("word", "flow add actions=1\nfloe add actions=2\n");
    let syntax = switch.write("syntax", "flow add actions=1\n\nflow add\n");
    let empty = switch.write("empty", "");
    let flows = switch.write("flows", "in_port=1,actions=2\nmodify in_port=1,actions=3\n");
    let bad_flows = switch.write("bad", "in_port=1,actions=2\ntable=254,actions=drop\n");
    for args in [
        vec!["bundle", "br0", &good],
        vec!["bundle", "br0", &overlap],
        vec!["--no-names", "bundle", "br0", &overlap],
        vec!["bundle", "br0", &refused],
        vec!["bundle", "br0", &word],
        vec!["bundle", "br0", &syntax],
        vec!["bundle", "br0", &empty],
        vec!["bundle", "br0", "/nonexistent"],
        vec!["bundle", "br0"],
        vec!["bundle", "nobr", &good],
        vec!["--read-only", "bundle", "br0", &good],
        vec!["--bundle", "add-flows", "br0", &flows],
        vec!["--bundle", "add-flows", "br0", &bad_flows],
        vec!["--bundle", "add-flow", "br0", "in_port=4,actions=drop"],
        vec!["--bundle", "add-flow", "br0", "table=254,actions=drop"],
        vec!["--bundle", "mod-flows", "br0", "in_port=7,actions=2"],
        vec!["--bundle", "del-flows", "br0", "in_port=7"],
        vec!["--bundle", "--strict", "del-flows", "br0", "in_port=7"],
        vec!["--bundle", "del-flows", "br0"],
        vec!["--bundle", "replace-flows", "br0", &flows],
    ] {
        for version in ["OpenFlow13", "OpenFlow14", "OpenFlow15"] {
            same(&switch, version, &args);
        }
    }
    // 1.4 is used unless the user says which.
    same(&switch, "OpenFlow10", &["bundle", "br0", &overlap]);
    same(
        &switch,
        "OpenFlow10,OpenFlow13",
        &["--bundle", "add-flows", "br0", &bad_flows],
    );
    let said = same(&switch, "OpenFlow13", &["bundle", "br0", &overlap]);
    assert!(
        said.stderr
            .contains("Error OFPFMFC_OVERLAP for: OFPT_FLOW_MOD")
    );
}

/// Flows are sent while the file is read; what is wrong at its end still undoes its beginning.
#[test]
fn a_wrong_line_at_the_end_of_many() {
    let Some(switch) = Switch::start("bundle_end") else {
        return;
    };
    let many: String = (0..20_000)
        .map(|n| format!("priority={n},in_port=1,actions=2\n"))
        .collect();
    let syntax = switch.write("syntax", &format!("{many}in_port=1\n"));
    let refused = switch.write("refused", &format!("table=254,actions=drop\n{many}"));
    for file in [&syntax, &refused] {
        let args = ["--bundle", "add-flows", "br0", file];
        let output = same(&switch, "OpenFlow14", &args);
        assert_ne!(output.status, 0);
        let flows = switch.stock(&["--no-stats", "dump-flows", "br0"]);
        assert_eq!(flows.stdout.lines().count(), 1);
    }
}

#[test]
fn bundled_groups_say_and_do_the_same() {
    let Some(switch) = Switch::start("bundled-groups") else {
        return;
    };
    let good = switch.write(
        "good",
        "group group_id=1,type=all,bucket=actions=output:1\n\
         group add group_id=2,type=select,bucket=weight:2,actions=output:p2\n\
         flow add in_port=1,actions=group:1\n\
         gr mod group_id=1,type=indirect,bucket=actions=group:2\n\
         packet-out in_port=1 packet=0001020304050001020304050800 actions=group:2\n",
    );
    // No deletion comes before what is refused: ovs-vswitchd 3.1 ends when it undoes one.
    let exists = switch.write(
        "exists",
        "group add group_id=1,type=all,bucket=actions=output:1\n\
         flow add in_port=1,actions=group:1\n\
         group add group_id=3,type=all\n\
         group add group_id=3,type=all\n",
    );
    let missing = switch.write(
        "missing",
        "flow add in_port=1,actions=group:1\n\
         group add group_id=1,type=all,bucket=actions=output:1\n",
    );
    let deleted = switch.write(
        "deleted",
        "group add group_id=1,type=all,bucket=actions=output:1\n\
         flow add in_port=1,actions=group:1\n\
         flow add in_port=2,actions=2\n\
         group delete group_id=1\n",
    );
    let buckets = switch.write(
        "buckets",
        "group add group_id=1,type=all,bucket=actions=output:1\n\
         group insert_bucket group_id=1,command_bucket_id=last,\
         bucket=bucket_id=7,actions=output:2\n\
         group remove_bucket group_id=1,command_bucket_id=first\n",
    );
    let syntax = switch.write("syntax", "group add group_id=1,type=most\n");
    let groups = switch.write(
        "groups",
        "group_id=1,type=all,bucket=actions=output:1\n\
         modify group_id=1,type=all,bucket=actions=output:2\n\
         add group_id=2,type=all\n",
    );
    let bad_groups = switch.write(
        "bad",
        "group_id=1,type=all,bucket=actions=output:1\nmodify group_id=2,type=all\n",
    );
    let group = "group_id=5,type=all,bucket=actions=output:1";
    for version in ["OpenFlow13", "OpenFlow14", "OpenFlow15"] {
        for args in [
            vec!["bundle", "br0", &good],
            vec!["bundle", "br0", &exists],
            vec!["--no-names", "bundle", "br0", &exists],
            vec!["bundle", "br0", &missing],
            vec!["bundle", "br0", &deleted],
            vec!["bundle", "br0", &buckets],
            vec!["bundle", "br0", &syntax],
            vec!["--bundle", "add-groups", "br0", &groups],
            vec!["--bundle", "add-groups", "br0", &bad_groups],
            vec!["--bundle", "add-group", "br0", group],
            vec!["--bundle", "mod-group", "br0", group],
            vec!["--bundle", "--may-create", "mod-group", "br0", group],
            vec!["--bundle", "del-groups", "br0"],
            vec!["--bundle", "del-groups", "br0", "group_id=3"],
            vec![
                "--bundle",
                "insert-buckets",
                "br0",
                "group_id=3,command_bucket_id=first,bucket=bucket_id=9,actions=output:1",
            ],
            vec![
                "--bundle",
                "remove-buckets",
                "br0",
                "group_id=3,command_bucket_id=all",
            ],
        ] {
            same(&switch, version, &args);
        }
    }
    // 1.4 is used unless the user says which.
    same(
        &switch,
        "OpenFlow10",
        &["--bundle", "add-group", "br0", group],
    );
}

#[test]
fn a_switch_without_bundles() {
    let Some(switch) = Switch::start("no-bundles") else {
        return;
    };
    switch.set_protocols("OpenFlow10");
    let ours = switch.ours(&["--bundle", "add-flow", "br0", "actions=drop"]);
    let stock = switch.stock(&["--bundle", "add-flow", "br0", "actions=drop"]);
    assert_eq!((ours.status, stock.status), (1, 1));
    assert!(
        ours.stderr.contains("failed to connect to socket"),
        "{ours:?}"
    );
}

/// What a monitor of each tool prints while the same changes are made.
#[test]
fn watching_flows() {
    let Some(switch) = Switch::start("watch") else {
        return;
    };
    let cases = [
        ("OpenFlow10", "watch:"),
        ("OpenFlow10", "watch:!own,!actions"),
        ("OpenFlow13", "watch:"),
        ("OpenFlow13", "watch:!initial,!delete,table=0,in_port=1"),
        ("OpenFlow13", "watch:out_port=2,!own"),
        ("OpenFlow13", "watch:tcp,!modify"),
        ("OpenFlow14", "watch:"),
        ("OpenFlow14", "watch:!own,!actions"),
        ("OpenFlow15", "watch:out_port=2"),
    ];
    for (version, spec) in cases {
        let texts: Vec<(String, String)> = [true, false]
            .into_iter()
            .map(|stock| watch(&switch, version, spec, stock))
            .collect();
        assert_eq!(texts[1], texts[0], "{version} {spec}");
        assert!(texts[0].1.contains("FLOW_MOD"), "{}", texts[0].1);
    }
    for spec in ["watch:foo=1", "watch:table", "watch:table=x", "watch:!foo"] {
        for version in ["OpenFlow10", "OpenFlow13"] {
            let args = ["-O", version, "monitor", "br0", spec];
            let (ours, stock) = (switch.ours(&args), switch.stock(&args));
            // This tool says where in the text it is, too.
            let place = ours
                .stderr
                .find(" (column")
                .unwrap_or(ours.stderr.len() - 1);
            assert_eq!(&ours.stderr[..place], stock.stderr.trim_end());
            assert_eq!(ours.status, stock.status);
        }
    }
}

fn watch(switch: &Switch, version: &str, spec: &str, stock: bool) -> (String, String) {
    switch.stock(&["del-flows", "br0"]).ok();
    switch
        .stock(&["add-flow", "br0", "in_port=2,priority=7,actions=1"])
        .ok();
    let log = switch.path("watch.log");
    let first = switch.path("watch.out");
    let mut monitor = switch.spawn_watch(stock, version, spec, &first, &log);
    let change = |args: &[&str]| switch.stock(args).ok();
    let of13 = |command: &str, flow: &str| change(&["-O", "OpenFlow13", command, "br0", flow]);
    of13("add-flow", "in_port=1,cookie=0x10,actions=output:2");
    of13(
        "add-flow",
        "idle_timeout=50,hard_timeout=60,in_port=1,cookie=0x11,actions=output:1",
    );
    of13("mod-flows", "in_port=1,actions=output:2");
    of13("mod-flows", "in_port=1,actions=output:2");
    change(&["mod-flows", "br0", "in_port=1,cookie=0x12,actions=output:2"]);
    of13("add-flow", "table=3,reg0=5,actions=goto_table:4");
    of13("add-flow", "tcp,in_port=1,priority=3,actions=drop");
    of13("add-flow", "actions=drop");
    of13("del-flows", "in_port=1");
    let socket = switch.monitor_socket();
    // Its own: an addition and, in 1.3, a deletion of all.
    let zeros = |bytes: usize| "00".repeat(bytes);
    let own = match version {
        "OpenFlow10" => vec![format!(
            "010e004800000009003820ff{}8000ffffffffffff0000",
            zeros(36 + 8 + 6)
        )],
        version => [("09", "0500"), ("0a", "ff03")]
            .into_iter()
            .map(|(xid, table_and_command)| {
                let wire = match version {
                    "OpenFlow13" => "04",
                    "OpenFlow14" => "05",
                    _ => "06",
                };
                format!(
                    "{wire}0e0038000000{xid}{}{table_and_command}000000008000{}00000000\
                     0001000400000000",
                    zeros(16),
                    "ff".repeat(12)
                )
            })
            .collect(),
    };
    // What others did has come before it says that it sends.
    let barriers = |n: usize| move |text: &str| text.matches("BARRIER_REPLY").count() == n;
    switch.appctl(&["-t", &socket, "ofctl/barrier"]).ok();
    switch.wait_for(&log, barriers(1));
    for message in &own {
        let sent = switch.appctl(&["-t", &socket, "ofctl/send", message]);
        assert_eq!(sent.stdout, "sent\n", "{sent:?}");
    }
    switch.appctl(&["-t", &socket, "ofctl/barrier"]).ok();
    let text = switch.wait_for(&log, barriers(2));
    switch.appctl(&["-t", &socket, "exit"]).ok();
    monitor.wait().expect("monitor");
    let first = std::fs::read_to_string(&first).expect("standard output");
    (first, text)
}
