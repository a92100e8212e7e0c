//! Random flow-mods and group-mods given to the stock switch and to ours: both must refuse the same
//! ones with the same error, and hold the same flows and groups at the end.
//!
//! Runs `ovsdb-server` and `ovs-vswitchd` with its dummy datapath, which needs neither root nor
//! network, in a directory of its own. Skipped, and says so, where they are not installed.
//! `SLUICE_STOCK_OPS` sets how many of each are tried.

mod common;

use common::Switch;
use ofproto::group::Groups;
use openflow::message::{FlowModCommand, GroupCommand, GroupDesc};
use openflow::text::{Names, group, message_bytes};
use openflow::{Message, Version, codec};
use tests::StockSwitch;

struct Stock(StockSwitch);

impl Stock {
    fn start(test: &str) -> Option<Stock> {
        let switch = StockSwitch::start(test).unwrap()?;
        let add = "add-br br0 -- set bridge br0 fail-mode=secure datapath_type=dummy \
                   protocols=OpenFlow10,OpenFlow13";
        switch.vsctl(add).unwrap();
        Some(Stock(switch))
    }

    /// The name of the error that a flow-mod gets, if any.
    fn flow_mod(&self, command: FlowModCommand, text: &str, version: Version) -> Option<String> {
        let args: &[&str] = match command {
            FlowModCommand::Add => &["add-flow"],
            FlowModCommand::Modify => &["mod-flows"],
            FlowModCommand::ModifyStrict => &["--strict", "mod-flows"],
            FlowModCommand::Delete => &["del-flows"],
            FlowModCommand::DeleteStrict => &["--strict", "del-flows"],
        };
        let versions = ["-O", version.name(), "-vconsole:off"];
        let output = self
            .0
            .output("ovs-ofctl", &[&versions[..], args, &["br0", text]].concat())
            .unwrap();
        if output.status.success() {
            return None;
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let error = stderr.split_once("): ").map(|(_, rest)| rest);
        let name = error.and_then(|e| e.lines().next());
        Some(
            name.unwrap_or_else(|| panic!("{text}: {stderr}"))
                .to_owned(),
        )
    }

    fn dump(&self) -> Vec<String> {
        let args = ["-O", "OpenFlow13", "--no-stats", "dump-flows", "br0"];
        let text = self.0.run("ovs-ofctl", &args).unwrap();
        let mut lines: Vec<String> = text
            .lines()
            .filter(|l| !l.starts_with("OFPST"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

const MATCHES: &[&str] = &[
    "",
    "ip",
    "tcp",
    "udp",
    "arp",
    "icmp6",
    "in_port=1",
    "in_port=2,ip",
    "ip,nw_dst=10.0.0.0/8",
    "ip,nw_dst=10.1.0.0/16",
    "ip,nw_dst=10.1.2.3",
    "tcp,tp_dst=80",
    "tcp,nw_dst=10.1.2.3,tp_dst=80",
    "tcp,tp_dst=0x50/0xfff0",
    "udp,tp_dst=53",
    "dl_vlan=5",
    "dl_vlan=5,dl_vlan_pcp=3",
    "vlan_tci=0x1000/0x1000",
    "vlan_tci=0/0x1fff",
    "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00",
    "dl_src=00:11:22:33:44:55",
    "arp,arp_op=1",
    "arp,arp_tpa=10.0.0.1",
    "ipv6,ipv6_dst=fe80::/64",
    "icmp6,icmp_type=135,nd_target=fe80::1",
    "icmp,icmp_type=8,icmp_code=0",
    "reg4=1",
    "reg0=0x10/0xf0",
    "metadata=7",
    "ip,ip_frag=later",
    "ip,nw_tos=0x20",
    "ip,nw_ttl=64,nw_ecn=1",
    "tcp,tcp_flags=+syn-ack",
    "pkt_mark=5/0xff",
];

const ACTIONS: &[&str] = &[
    "drop",
    "output:1",
    "output:2",
    "output:1,output:2",
    "NORMAL",
    "FLOOD",
    "CONTROLLER:65535",
    "LOCAL",
    "IN_PORT",
    "load:5->NXM_NX_REG0[],resubmit(,3)",
    "move:NXM_NX_REG0[]->NXM_NX_REG1[],output:1",
    "resubmit:2",
    "group:7",
    "resubmit(1,4),output:2",
    "note:01.02.03.04.05.06",
    "exit",
];

const ACTIONS_13: &[&str] = &[
    "set_field:1->reg3,output:3",
    "goto_table:5",
    "goto_table:1",
    "write_metadata:0x5/0xff,goto_table:9",
    "clear_actions,write_actions(output:2),goto_table:8",
    "push_vlan:0x8100,set_field:4099->vlan_vid,output:1",
    "output:1,goto_table:7",
    "meter:3,output:1",
];

fn random_flow_mod(random: &mut Random, version: Version) -> (FlowModCommand, String) {
    use FlowModCommand::*;
    let command = match random.below(10) {
        0..=4 => Add,
        5 => Modify,
        6 => ModifyStrict,
        7 | 8 => DeleteStrict,
        _ => Delete,
    };
    let is_delete = matches!(command, Delete | DeleteStrict);
    let mut parts: Vec<String> = Vec::new();
    if !random.one_in(3) {
        let table = match random.below(12) {
            0 => 254,
            1 => 253,
            n => n % 4,
        };
        // The stock switch has rules of its own in table 254, which a change runs into; ours has
        // no such table.
        if table != 254 || command == Add {
            parts.push(format!("table={table}"));
        }
    }
    if command != Modify && command != Delete && random.one_in(2) {
        parts.push(format!(
            "priority={}",
            random.pick(&["0", "1", "10", "32768", "65535"])
        ));
    }
    match command {
        Add if random.one_in(2) => parts.push(format!("cookie={}", random.below(4))),
        Modify | ModifyStrict if random.one_in(3) => {
            parts.push(format!("cookie={}", random.below(4)));
        }
        Modify | ModifyStrict | Delete | DeleteStrict if random.one_in(3) => {
            let mask = random.pick(&["-1", "0x1", "0x3"]);
            let cookie = random.below(4);
            parts.push(format!("cookie={cookie}/{mask}"));
        }
        _ => {}
    }
    if is_delete && random.one_in(3) {
        parts.push(format!(
            "out_port={}",
            random.pick(&["1", "2", "LOCAL", "CONTROLLER"])
        ));
    }
    if command == Add {
        for timeout in ["idle_timeout=600", "hard_timeout=900", "send_flow_rem"] {
            if random.one_in(6) {
                parts.push(timeout.to_owned());
            }
        }
        if random.one_in(4) {
            parts.push("check_overlap".to_owned());
        }
        if version == Version::Of13 {
            for flag in ["reset_counts", "no_packet_counts", "no_byte_counts"] {
                if random.one_in(8) {
                    parts.push(flag.to_owned());
                }
            }
        }
    }
    // Deleting everything too often would leave little to compare.
    let what = match command {
        Delete if !random.one_in(5) => random.pick(&MATCHES[7..]),
        _ => random.pick(MATCHES),
    };
    if !what.is_empty() {
        parts.push(what.to_owned());
    }
    if !is_delete {
        let actions = match version {
            Version::Of13 if random.one_in(3) => random.pick(ACTIONS_13),
            _ => random.pick(ACTIONS),
        };
        let is_unknown = actions.starts_with("group") || actions.starts_with("meter");
        let actions = match (version, command) {
            // 1.0 has no groups; the tool would not send it.
            (Version::Of10, _) if is_unknown => "output:4",
            // The stock switch looks for the group of a modification only when there is something
            // to modify; ours always.
            (_, Modify | ModifyStrict) if is_unknown => "output:4",
            _ => actions,
        };
        parts.push(format!("actions={actions}"));
    }
    (command, parts.join(","))
}

/// Instructions that lead back are caught by the stock tool itself.
fn is_refused_by_tool(text: &str) -> bool {
    let table = text.split(',').find_map(|p| p.strip_prefix("table="));
    let table: u32 = table.and_then(|t| t.parse().ok()).unwrap_or(0);
    let target = text.split(',').find_map(|p| {
        let p = p.strip_prefix("actions=").unwrap_or(p);
        p.strip_prefix("goto_table:")
    });
    target.is_some_and(|t| t.parse::<u32>().unwrap() <= table)
}

#[test]
fn agrees_with_the_stock_switch() {
    let Some(stock) = Stock::start("agrees_with_the_stock_switch") else {
        return;
    };
    let ops = std::env::var("SLUICE_STOCK_OPS").ok();
    let ops: usize = ops.and_then(|n| n.parse().ok()).unwrap_or(250);
    let mut random = Random(0x5eed_cafe_f00d);
    let mut ours = Switch::new();
    let mut log = Vec::new();
    let (mut refused, mut compared) = (0, 0);
    for n in 0..ops {
        let version = match random.one_in(2) {
            true => Version::Of10,
            false => Version::Of13,
        };
        let (command, text) = random_flow_mod(&mut random, version);
        if is_refused_by_tool(&text) {
            continue;
        }
        log.push(format!("{version} {command:?} {text}"));
        let theirs = stock.flow_mod(command, &text, version);
        let result = ours.flow_mod(command, &text, version);
        let error = result.err().map(|e| e.name().to_owned());
        refused += usize::from(error.is_some());
        assert_eq!(error, theirs, "{}", log.last().unwrap());
        if n % 5 == 4 || n + 1 == ops {
            let mut dump = ours.dump("", false);
            dump.sort();
            compared += dump.len();
            let stock = stock.dump();
            let missing: Vec<_> = stock.iter().filter(|l| !dump.contains(l)).collect();
            let extra: Vec<_> = dump.iter().filter(|l| !stock.contains(l)).collect();
            assert!(
                dump == stock,
                "missing {missing:#?}\nextra {extra:#?}\nafter\n{}",
                log.join("\n")
            );
        }
    }
    println!(
        "{} flow-mods, {refused} refused alike, {compared} flows compared",
        log.len()
    );
}

/// A command of the tool and its text. Groups lead to higher numbers only: the stock switch takes
/// loops, ours refuses them.
fn random_group_mod(random: &mut Random) -> (&'static str, GroupCommand, String) {
    use GroupCommand::*;
    let (tool, command) = match random.below(10) {
        0..=2 => ("add-group", Add),
        3 => ("mod-group", Modify),
        4 => ("del-groups", Delete),
        5..=7 => ("insert-buckets", InsertBucket),
        _ => ("remove-buckets", RemoveBucket),
    };
    let id = match random.below(30) {
        0 => 0xffff_ff00,
        1 => 0xffff_ff01,
        n => n % 5,
    };
    let mut text = format!("group_id={id}");
    if matches!(command, InsertBucket | RemoveBucket) && !random.one_in(12) {
        let at = random.pick(&["first", "last", "all", "0", "1", "2", "3", "4294967041"]);
        text += &format!(",command_bucket_id={at}");
    }
    let mut group_type = "all";
    if matches!(command, Add | Modify) {
        group_type = random.pick(&["all", "select", "select", "indirect", "ff", "foo"]);
        text += &format!(",type={group_type}");
        if random.one_in(4) {
            text += random.pick(&[
                ",selection_method=hash",
                ",selection_method=dp_hash,selection_method_param=5",
                ",selection_method=hash,fields(ip_src=255.255.0.0,tcp_dst,eth_src)",
                ",selection_method=hash,fields=reg0=0xff",
                ",selection_method=foo",
                ",fields=ip_src",
            ]);
        }
    }
    if command == Delete || command == RemoveBucket && !random.one_in(12) {
        return (tool, command, text);
    }
    // Numbers for all buckets or for none: where some have one, the stock tool gives it twice.
    let numbered = random.one_in(2);
    // An insertion of no buckets makes ovs-vswitchd 3.1 loop for ever.
    let at_least = u64::from(command == InsertBucket);
    for _ in 0..random.below(4).max(at_least) {
        text += ",bucket=";
        if numbered {
            text += &format!("bucket_id:{},", random.below(5));
        }
        if random.one_in(4) {
            text += &format!("weight:{},", random.below(5));
        }
        if group_type == "ff" && !random.one_in(5) || random.one_in(12) {
            text += random.pick(&["watch_port:1,", "watch_port:9,", "watch_group:7,"]);
        }
        text += random.pick(&["actions=output:1", "actions=drop", "2", "actions=group:7"]);
    }
    (tool, command, text)
}

/// What our tool or our switch has against a group-mod, if anything.
fn our_answer(groups: &mut Groups, command: GroupCommand, text: &str) -> Option<String> {
    let parsed = match group::parse(text, command, &Names::none()) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Where in the text is said by ours alone.
            let said = error.to_string();
            let words = said
                .split_once(" (column ")
                .map(|(words, _)| words.to_owned());
            return Some(words.unwrap_or(said));
        }
    };
    let bytes = codec::encode(&Message::GroupMod(parsed), Version::Of10, 1).unwrap();
    let decoded = match codec::decode(&bytes, &Version::Of10.into()) {
        Ok(decoded) => decoded.message,
        Err(error) => return Some(error.error().name().to_owned()),
    };
    let Message::GroupMod(group_mod) = decoded else {
        panic!("{decoded:?}");
    };
    let result = groups.group_mod(&group_mod, std::time::Instant::now());
    result.err().map(|error| error.name().to_owned())
}

fn our_groups(groups: &Groups) -> Vec<String> {
    let descriptions = groups.iter().map(|group| GroupDesc {
        group_id: group.id,
        group_type: group.group_type,
        selection: group.selection.clone(),
        buckets: group.buckets.iter().map(|b| b.bucket.clone()).collect(),
    });
    let reply = Message::GroupDescReply(descriptions.collect());
    let bytes = codec::encode(&reply, Version::Of10, 1).unwrap();
    let text = message_bytes::print(&bytes, &Names::none(), 1);
    let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn groups_agree_with_the_stock_switch() {
    let Some(stock) = Stock::start("groups_agree_with_the_stock_switch") else {
        return;
    };
    let ops = std::env::var("SLUICE_STOCK_OPS").ok();
    let ops: usize = ops.and_then(|n| n.parse().ok()).unwrap_or(250);
    let mut random = Random(0x9e37_79b9);
    let mut ours = Groups::default();
    let (mut refused, mut compared) = (0, 0);
    for n in 0..ops {
        let (tool, command, text) = random_group_mod(&mut random);
        let args = ["-O", "OpenFlow10", "-vconsole:off", tool, "br0", &text];
        let output = stock.0.output("ovs-ofctl", &args).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let theirs = (!output.status.success()).then(|| {
            let line = stderr.lines().next().unwrap_or_default();
            let error = line.split_once("): ").map(|(_, rest)| rest);
            let said = error.or(line.strip_prefix("ovs-ofctl: "));
            said.unwrap_or_else(|| panic!("{stderr}")).to_owned()
        });
        let answer = our_answer(&mut ours, command, &text);
        assert_eq!(answer, theirs, "{tool} {text}");
        refused += usize::from(answer.is_some());
        if n % 5 == 4 || n + 1 == ops {
            let args = ["-O", "OpenFlow10", "dump-groups", "br0"];
            let dump = stock.0.run("ovs-ofctl", &args).unwrap();
            let mut lines: Vec<String> = dump.lines().skip(1).map(str::to_owned).collect();
            lines.sort();
            compared += lines.len();
            assert_eq!(our_groups(&ours), lines, "after {tool} {text}");
        }
    }
    println!("{ops} group-mods, {refused} refused alike, {compared} groups compared");
    assert!(refused < ops * 9 / 10 && compared > ops / 4);
}
