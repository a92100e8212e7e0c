//! This tool and stock ovs-ofctl against the same stock switch: same commands, same output.
//!
//! The switch is ovs-vswitchd with dummy devices and a stopped clock, in a directory of its own.
//! Where Open vSwitch is not installed, the tests say so and pass, unless SLUICE_REQUIRE_ROOT=1.

#[allow(dead_code, reason = "other tests use the rest")]
mod stock_switch;

use stock_switch::{Output, Switch};

/// Commands whose whole output and status must be equal, with each version of OpenFlow.
const COMMANDS: &[&str] = &[
    "show br0",
    "dump-flows br0",
    "dump-flows br0 in_port=1",
    "dump-flows br0 table=2,tcp",
    "dump-flows br0 cookie=1/-1",
    "--names dump-flows br0",
    "--no-stats dump-flows br0",
    "--names --no-stats dump-flows br0",
    "--sort dump-flows br0",
    "--rsort=priority dump-flows br0",
    "dump-aggregate br0",
    "dump-aggregate br0 table=2",
    "dump-tables br0",
    "dump-ports br0",
    "dump-ports br0 p1",
    "dump-ports br0 1",
    "dump-ports br0 LOCAL",
    "dump-ports br0 nope",
    "--names dump-ports br0",
    "dump-ports-desc br0",
    "dump-desc br0",
    "get-frags br0",
    "probe br0",
    "queue-stats br0",
    "queue-get-config br0",
    "queue-get-config br0 1",
    "add-flow br0 table=254,actions=1",
    "add-flow br0 check_overlap,in_port=1,tcp,actions=1",
    "mod-port br0 p1 up",
    "mod-port br0 p9 up",
    "mod-port br0 p1 foo",
    "set-frags br0 foo",
    "set-frags br0 normal",
    "show nobr",
    "foo",
    "",
    "show",
    "show br0 x",
    "show tcp:127.0.0.1:1",
    "show unix:/nonexistent",
    "-O OpenFlow99 show br0",
    "-F foo dump-flows br0",
    "--timeout=x show br0",
    "--sort=foo dump-flows br0",
    "add-flows br0 /nonexistent",
    "--read-only del-flows br0",
    "monitor br0 foo",
    "ping br0 70000",
    "dump-tlv-map br0",
    "add-tlv-map br0 {class=0xffff,type=0,len=5}->tun_metadata0",
    "add-tlv-map br0 {class=0xffff,type=0,len=4}->tun_metadata64",
    "add-tlv-map br0 {class=0xffff,type=0,len=4}->tun_metadata1,{class=0xffff,type=2,len=8}->tun_metadata1",
    "add-tlv-map br0 foo",
    "dump-tlv-map br0",
    "del-tlv-map br0 {class=0xffff,type=1,len=4}->tun_metadata1",
    "del-tlv-map br0",
];

#[test]
fn commands_say_the_same() {
    let Some(switch) = Switch::start("commands") else {
        return;
    };
    switch
        .stock(&["add-flow", "br0", "in_port=1,actions=2"])
        .ok();
    switch
        .stock(&["add-flow", "br0", "cookie=1,udp,actions=1"])
        .ok();
    switch
        .stock(&[
            "-O",
            "OpenFlow13",
            "add-flow",
            "br0",
            "table=2,priority=7,cookie=0x77,idle_timeout=60,hard_timeout=70,send_flow_rem,tcp \
             actions=set_field:5->reg0,load:5->NXM_NX_REG0[],set_field:1.2.3.4->ip_src,dec_ttl,\
             write_actions(output:1),goto_table:9",
        ])
        .ok();
    for version in ["OpenFlow10", "OpenFlow13"] {
        for command in COMMANDS {
            let args: Vec<&str> = ["-O", version]
                .into_iter()
                .chain(command.split_whitespace())
                .collect();
            assert_eq!(
                switch.ours(&args),
                switch.stock(&args),
                "{version} {command}"
            );
        }
    }
}

#[test]
fn a_switch_without_our_version() {
    let Some(switch) = Switch::start("version") else {
        return;
    };
    switch.set_protocols("OpenFlow10");
    let ours = switch.ours(&["-O", "OpenFlow13", "show", "br0"]);
    let stock = switch.stock(&["-O", "OpenFlow13", "show", "br0"]);
    assert_eq!(ours.status, stock.status);
    // The reason in parentheses depends on who closes first.
    for output in [&ours, &stock] {
        let refused = "ovs-ofctl: br0: failed to connect to socket (";
        assert!(output.stderr.contains(refused), "{output:?}");
    }
    assert!(
        ours.stderr
            .contains("we support version 0x04, peer supports version 0x01"),
        "{}",
        ours.stderr
    );
}

/// Flows whose form on the switch is the same whoever adds them.
#[test]
fn flows_arrive_the_same() {
    let Some(switch) = Switch::start("flows") else {
        return;
    };
    let data = include_str!("../../openflow/tests/data/text/flows.txt");
    let lines: Vec<&str> = data.lines().filter(|l| !l.starts_with('#')).collect();
    let mut compared = 0;
    for version in ["OpenFlow10", "OpenFlow13"] {
        for case in lines.chunks_exact(2) {
            let (flow, answer) = (case[0], case[1]);
            if answer.starts_with("\terror") || differs_on_purpose(version, flow) {
                continue;
            }
            let add = ["-O", version, "add-flow", "br0", flow];
            let dump = ["-O", version, "--no-stats", "dump-flows", "br0"];
            switch.stock(&["del-flows", "br0"]).ok();
            let by_stock = switch.stock(&add);
            let expected = switch.stock(&dump);
            assert_eq!(switch.ours(&dump), expected, "{version} {flow}");
            switch.ours(&["del-flows", "br0"]).ok();
            let by_us = switch.ours(&add);
            assert_eq!(by_us.status, by_stock.status, "{version} {flow} {by_us:?}");
            assert_eq!(switch.stock(&dump), expected, "{version} {flow}");
            compared += 1;
        }
    }
    println!("{compared} flows compared");
    assert!(compared > 200);
}

/// Open vSwitch's tool takes these and leaves parts of them out; this one refuses what OpenFlow
/// 1.0 cannot say, keeps masks and says the rest as it was asked.
fn differs_on_purpose(version: &str, flow: &str) -> bool {
    const OPENFLOW10: [&str; 7] = [
        "write_actions",
        "clear_actions",
        "reset_counts",
        "group:",
        "write_metadata:",
        "vlan_vid=5",
        "/",
    ];
    version == "OpenFlow10" && OPENFLOW10.iter().any(|part| flow.contains(part))
        || flow.contains("write_metadata:0x105/0xff")
        || flow.contains("vlan_tci=0x0005 ")
        // Not an action of the action set, OpenFlow 1.3.5, 5.10.
        || flow.contains("write_actions(resubmit")
}

#[test]
fn a_file_of_flows() {
    let Some(switch) = Switch::start("files") else {
        return;
    };
    let mut text = String::from("# flows\n\n");
    for i in 0..5000 {
        text.push_str(&format!(
            "priority={},in_port={},ip,actions=2\n",
            i + 1,
            i % 9
        ));
    }
    let file = switch.write("flows", &text);
    switch.ours(&["add-flows", "br0", &file]).ok();
    let counted = switch.stock(&["dump-aggregate", "br0"]);
    assert!(counted.stdout.contains("flow_count=5000"), "{counted:?}");

    // The whole file is checked before anything is sent.
    let file = switch.write("bad", "in_port=1,actions=1\n\ntcp,foo=1,actions=2\n");
    switch.stock(&["del-flows", "br0"]).ok();
    let refused = switch.ours(&["add-flows", "br0", &file]);
    assert_eq!(refused.status, 1);
    let want = format!("ovs-ofctl: {file}:3: unknown keyword foo (column 5)\n");
    assert_eq!(refused.stderr, want);
    let counted = switch.stock(&["dump-aggregate", "br0"]);
    assert!(counted.stdout.contains("flow_count=0"), "{counted:?}");

    // What the switch refuses is named by its line; the other flows are there.
    let flows = "in_port=1,actions=1\ncheck_overlap,in_port=1,tcp,actions=2\nin_port=2,actions=1\n";
    let file = switch.write("overlap", flows);
    let refused = switch.ours(&["add-flows", "br0", &file]);
    assert_eq!(refused.status, 1);
    assert!(
        refused
            .stderr
            .starts_with(&format!("ovs-ofctl: {file}:2: OFPT_ERROR")),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("OFPFMFC_OVERLAP"), "{refused:?}");
    let counted = switch.stock(&["dump-aggregate", "br0"]);
    assert!(counted.stdout.contains("flow_count=2"), "{counted:?}");

    // Each line may say what to do.
    let file = switch.write(
        "mixed",
        "delete in_port=2\nmodify in_port=1,actions=7\nadd udp,actions=3",
    );
    switch.ours(&["add-flows", "br0", &file]).ok();
    let dump = switch.stock(&["--no-stats", "dump-flows", "br0"]);
    assert_eq!(
        dump.stdout,
        " in_port=1 actions=output:7\n udp actions=output:3\n"
    );
}

#[test]
fn flows_from_standard_input_and_names() {
    let Some(switch) = Switch::start("stdin") else {
        return;
    };
    let out = switch.ours_with_input(&["add-flow", "br0", "-"], "in_port=p1,actions=p2\n");
    out.ok();
    let dump = switch.stock(&["--no-stats", "dump-flows", "br0"]);
    assert_eq!(dump.stdout, " in_port=1 actions=output:2\n");
    let refused = switch.ours(&["--no-names", "add-flow", "br0", "in_port=p1,actions=2"]);
    assert_eq!(refused.status, 1);
    let refused = switch.ours(&["add-flow", "br0", "in_port=p7,actions=2"]);
    assert_eq!(
        refused.stderr,
        "ovs-ofctl: p7: invalid or unknown port for in_port (column 9)\n"
    );
}

#[test]
fn replacing_and_comparing() {
    let Some(switch) = Switch::start("replace") else {
        return;
    };
    let a = switch.write(
        "a",
        "in_port=1,actions=2\ncookie=1,udp,actions=set_field:10.0.0.1->ip_src,1\npriority=5,tcp,actions=drop\n",
    );
    let b = switch.write("b", "in_port=1,actions=3\ncookie=2,udp,actions=1\n");
    assert_eq!(switch.ours(&["diff-flows", &a, &a]).status, 0);
    let diff = switch.ours(&["diff-flows", &a, &b]);
    assert_eq!(diff.status, 2, "{diff:?}");
    assert_eq!(
        diff.stdout,
        "-in_port=1 actions=output:2\n\
         +in_port=1 actions=output:3\n\
         -udp cookie=0x1 actions=set_field:10.0.0.1->ip_src,output:1\n\
         +udp cookie=0x2 actions=output:1\n\
         -priority=5,tcp actions=drop\n"
    );
    switch.ours(&["replace-flows", "br0", &a]).ok();
    let same = switch.ours(&["diff-flows", "br0", &a]);
    assert_eq!((same.status, same.stdout.as_str()), (0, ""), "{same:?}");
    switch.ours(&["replace-flows", "br0", &b]).ok();
    assert_eq!(switch.ours(&["diff-flows", &b, "br0"]).status, 0);
    let dump = switch.stock(&["--no-stats", "dump-flows", "br0"]);
    assert_eq!(
        dump.stdout,
        " in_port=1 actions=output:3\n cookie=0x2, udp actions=output:1\n"
    );
    let table = switch.write("t", "table=3,in_port=1,actions=2\n");
    for version in ["OpenFlow10", "OpenFlow13"] {
        switch
            .ours(&["-O", version, "replace-flows", "br0", &table])
            .ok();
        let same = switch.ours(&["-O", version, "diff-flows", "br0", &table]);
        assert_eq!(same.status, 0, "{same:?}");
    }
}

#[test]
fn what_a_flow_is_sent_as() {
    let Some(switch) = Switch::start("parse") else {
        return;
    };
    // Behind the two lines about formats, which name versions that this tool has not.
    let messages = |o: Output| {
        let lines: Vec<String> = o.stdout.lines().skip(2).map(str::to_owned).collect();
        lines
    };
    for flow in [
        "in_port=1,actions=output:2",
        "reg0=5,actions=drop",
        "table=3,cookie=7,idle_timeout=5,tcp,tp_dst=80,actions=mod_nw_src:1.2.3.4,normal",
    ] {
        for version in ["OpenFlow10", "OpenFlow13"] {
            let args = ["-O", version, "parse-flow", flow];
            let (ours, stock) = (switch.ours(&args), switch.stock(&args));
            assert_eq!(ours.status, stock.status, "{flow}");
            assert_eq!(messages(ours), messages(stock), "{flow}");
        }
    }
}

#[test]
fn monitor_prints_what_comes() {
    let Some(switch) = Switch::start("monitor") else {
        return;
    };
    switch
        .stock(&[
            "add-flow",
            "br0",
            "in_port=1,cookie=9,send_flow_rem,actions=set_field:5->reg0,controller",
        ])
        .ok();
    let mut texts = Vec::new();
    for stock in [true, false] {
        let log = switch.path(if stock { "stock.log" } else { "ours.log" });
        let mut monitor = switch.spawn_monitor(stock, &log);
        switch.receive(
            "p1",
            "in_port(1),eth(src=50:54:00:00:00:05,dst=50:54:00:00:00:07),eth_type(0x0800),\
             ipv4(src=192.168.0.1,dst=192.168.0.2,proto=6,tos=0,ttl=64,frag=no),\
             tcp(src=16,dst=22),tcp_flags(syn)",
        );
        switch.receive(
            "p1",
            "in_port(1),eth(src=50:54:00:00:00:05,dst=50:54:00:00:00:07),eth_type(0x8100),\
             vlan(vid=5,pcp=3),encap(eth_type(0x0806),arp(sip=1.2.3.4,tip=2.3.4.5,op=1,\
             sha=00:01:02:03:04:05,tha=00:00:00:00:00:00))",
        );
        let text = switch.wait_for(&log, |text| text.matches("PACKET_IN").count() == 2);
        let exit = switch.appctl(&["-t", &switch.monitor_socket(), "exit"]);
        assert_eq!(exit.status, 0, "{exit:?}");
        assert!(monitor.wait().unwrap().success());
        texts.push(text);
    }
    assert_eq!(texts[1], texts[0]);
}

#[test]
fn monitor_in_the_background() {
    let Some(switch) = Switch::start("detach") else {
        return;
    };
    let pidfile = switch.path("monitor.pid");
    let socket = switch.monitor_socket();
    let log = switch.path("detached.log");
    let status = switch.ours_detached(
        &[
            "monitor",
            "br0",
            "--detach",
            "--no-chdir",
            &format!("--pidfile={pidfile}"),
            &format!("--unixctl={socket}"),
        ],
        &log,
    );
    assert_eq!(status, 0);
    // Both are there when the parent has left.
    assert!(std::path::Path::new(&pidfile).exists());
    let sent = switch.appctl(&["-t", &socket, "ofctl/send", "0102000800000009"]);
    assert_eq!(sent.stdout, "sent\n", "{sent:?}");
    switch.wait_for(&log, |text| text.contains("OFPT_ECHO_REPLY (xid=0x9)"));
    switch.appctl(&["-t", &socket, "exit"]).ok();
    switch.wait_until_gone(&pidfile);
}
