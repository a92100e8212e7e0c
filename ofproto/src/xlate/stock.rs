//! Translation against the stock switch: for random bridges, flows and packets, the datapath
//! actions of `ofproto/trace` have the same outcome, that is the same packets on the same ports.
//! The actions themselves may differ: ours set fields that the stock switch matches on.
//!
//! Runs `ovsdb-server` and `ovs-vswitchd` with its dummy datapath, without root or network, in a
//! directory of its own; skipped where they are not installed. `SLUICE_STOCK_CASES` sets the
//! number of switches tried, each with several packets.

use packet::action::SetField;
use packet::key::VLAN_PRESENT;
use packet::{Action, DpPort, FlowKey};
use std::collections::BTreeMap;
use tests::StockSwitch;

use super::random::{Dialect, PORTS, Random, RandomBridge, Scenario, random_key};
use super::{Effect, XlateIn, Xlated, xlate_traced};
use crate::port::{PriorityTags, VlanConf, VlanMode};
use crate::testing::{MAX_ACTIONS, key as parse_key};

const DEFAULT_CASES: u64 = 8;
const PACKETS: usize = 12;
/// Stands for the controller among the ports.
const CONTROLLER: DpPort = DpPort(u32::MAX);

#[test]
fn outcomes_are_the_stock_switch_s() {
    let Some(stock) = Stock::start() else {
        return;
    };
    let cases = std::env::var("SLUICE_STOCK_CASES").ok();
    let cases = cases.and_then(|n| n.parse().ok()).unwrap_or(DEFAULT_CASES);
    let (mut compared, mut outputs, mut skipped, mut same_text) = (0, 0, 0, 0);
    for seed in 1..=cases {
        let mut r = Random(seed.wrapping_mul(0x1234_5677));
        let mut scenario = Scenario::random(&mut r);
        stock.set_up(&mut scenario);
        let mut switch = scenario.build();
        for _ in 0..PACKETS {
            let mut key = random_key(&mut r);
            if scenario.bridges.len() == 1 {
                key.in_port = 1 + key.in_port % 4;
            }
            let text = key_text(&key);
            // What cannot be said in text is not what we have.
            // The stock switch takes protocol 0 for the sign of a bad header and sets nothing.
            let bad_header = (key.is_ipv4() || key.is_ipv6()) && key.ip_proto == 0;
            if bad_header || parse_key(&text) != key {
                skipped += 1;
                continue;
            }
            let trace = stock.trace(&text);
            let Some(theirs) = trace
                .lines()
                .find_map(|l| l.strip_prefix("Datapath actions: "))
            else {
                skipped += 1;
                continue;
            };
            let snapshot = switch.snapshot();
            let input = XlateIn::received(&snapshot, &key, MAX_ACTIONS).unwrap();
            let (xlated, nodes) = xlate_traced(&snapshot, &input);
            let our_trace = crate::trace::text(&input, &xlated, &nodes);
            let ours = outcome(&key, &our_actions(&xlated));
            let theirs = outcome(&key, &parse(theirs));
            // A packet that goes round in circles is dropped by ours as a whole.
            // The stock switch loses tags beyond the second; its NORMAL also loses an inner tag
            // that says nothing, and knows of tunnels in VLANs, which ours does not.
            let most = if trace.contains("NORMAL") { 1 } else { 2 };
            if most_tags(&key, &trace) > most || trace.contains("over max") {
                skipped += 1;
                continue;
            }
            compared += 1;
            if told(&our_trace) == told(&trace) {
                same_text += 1;
            } else if std::env::var_os("SLUICE_STOCK_SHOW").is_some() {
                println!("OURS\n{our_trace}\nTHEIRS\n{trace}\n----");
            }
            outputs += ours.len();
            assert!(
                ours == theirs,
                "seed {seed}: ours {ours:?}\n{:?}\n{:?}\ntheirs {theirs:?}\n{trace}\n{scenario:#?}",
                xlated.actions,
                xlated.error,
            );
        }
    }
    println!(
        "translation agrees with the stock switch: {compared} packets through {cases} switches, \
         {outputs} outputs, {skipped} skipped; {same_text} traces are the same text"
    );
    assert!(
        same_text * 4 > compared * 3,
        "the text of traces has changed"
    );
    assert!(compared * 4 > skipped, "too few of the cases say anything");
}

/// What a trace tells of the way through the tables.
fn told(trace: &str) -> &str {
    let start = trace.find("\nbridge(").unwrap_or(0);
    let end = trace.find("\nFinal flow:").unwrap_or(trace.len());
    &trace[start..end]
}

/// How many tags the packet may have had at a time.
fn most_tags(key: &FlowKey, trace: &str) -> usize {
    let at_first = usize::from(key.vlan0_tci() != 0) + usize::from(key.vlan1_tci() != 0);
    let made = usize::from(trace.contains("mod_vlan") || trace.contains("VLAN_TCI[]"));
    at_first + made + trace.matches("push_vlan:").count()
}

fn key_text(key: &FlowKey) -> String {
    super::super::testing::megaflow_text(key, &packet::FlowMask::exact())
}

/// A packet where it leaves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct State {
    /// Without the tags.
    key: FlowKey,
    /// Outermost first: TPID and TCI.
    tags: Vec<(u16, u16)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tags {:x?} {}", self.tags, key_text(&self.key))
    }
}

/// What is done with a packet, as both switches say it.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Act(Action),
    /// On a copy.
    Clone(Vec<Op>),
}

pub(super) fn our_actions(xlated: &Xlated) -> Vec<Op> {
    let mut list = Vec::new();
    let to_controller = |at: usize| {
        let at_this = |e: &&Effect| matches!(e, Effect::PacketIn(p) if p.after == at);
        xlated.effects.iter().filter(at_this).count()
    };
    for at in 0..=xlated.actions.len() {
        let copies = std::iter::repeat_n(Op::Act(Action::Output(CONTROLLER)), to_controller(at));
        list.extend(copies);
        list.extend(xlated.actions.get(at).map(|a| Op::Act(*a)));
    }
    list
}

/// Who gets what, in an order that does not depend on the actions'.
pub(super) fn outcome(key: &FlowKey, ops: &[Op]) -> Vec<(u32, State)> {
    let mut state = State {
        key: *key,
        tags: Vec::new(),
    };
    for (tpid, tci) in [
        (key.vlan0_tpid, key.vlan0_tci),
        (key.vlan1_tpid, key.vlan1_tci),
    ] {
        let tci = u16::from_be_bytes(tci);
        if tci & VLAN_PRESENT != 0 {
            state.tags.push((u16::from_be_bytes(tpid), tci));
        }
    }
    let k = &mut state.key;
    (k.vlan0_tci, k.vlan0_tpid) = ([0; 2], [0; 2]);
    (k.vlan1_tci, k.vlan1_tpid) = ([0; 2], [0; 2]);
    let mut out = Vec::new();
    run(&mut state, ops, &mut out);
    out.sort();
    out
}

fn run(state: &mut State, ops: &[Op], out: &mut Vec<(u32, State)>) {
    for op in ops {
        match op {
            Op::Clone(inner) => run(&mut state.clone(), inner, out),
            Op::Act(Action::Output(port)) => out.push((port.0, state.clone())),
            Op::Act(Action::PushVlan { tpid, tci }) => {
                state.tags.insert(0, (*tpid, tci | VLAN_PRESENT));
            }
            Op::Act(Action::PopVlan) => {
                if !state.tags.is_empty() {
                    state.tags.remove(0);
                }
            }
            Op::Act(Action::Set { field, value, mask }) => set(&mut state.key, *field, value, mask),
            Op::Act(Action::Meter(_) | Action::Drop(_) | Action::SlowPath(_)) => {}
        }
    }
}

fn set(k: &mut FlowKey, field: SetField, value: &[u8; 6], mask: &[u8; 6]) {
    use SetField as F;
    let mut mark = k.pkt_mark.to_ne_bytes();
    let mut no_priority = [0; 4];
    let part = |n: u8| usize::from(n % 4) * 4;
    let to: &mut [u8] = match field {
        F::EthDst => &mut k.eth_dst,
        F::EthSrc => &mut k.eth_src,
        F::Ipv4Src | F::ArpSpa => &mut k.ipv4_src,
        F::Ipv4Dst | F::ArpTpa => &mut k.ipv4_dst,
        F::IpTos => std::slice::from_mut(&mut k.ip_tos),
        F::IpTtl => std::slice::from_mut(&mut k.ip_ttl),
        F::TpSrc => &mut k.tp_src,
        F::TpDst => &mut k.tp_dst,
        F::IcmpType => &mut k.tp_src[1..],
        F::IcmpCode => &mut k.tp_dst[1..],
        F::Ipv6Label => &mut k.ipv6_label,
        F::Ipv6Src0 | F::Ipv6Src1 | F::Ipv6Src2 | F::Ipv6Src3 => {
            &mut k.ipv6_src[part(field as u8 - F::Ipv6Src0 as u8)..]
        }
        F::Ipv6Dst0 | F::Ipv6Dst1 | F::Ipv6Dst2 | F::Ipv6Dst3 => {
            &mut k.ipv6_dst[part(field as u8 - F::Ipv6Dst0 as u8)..]
        }
        F::ArpOp => std::slice::from_mut(&mut k.ip_proto),
        F::ArpSha | F::NdSll => &mut k.arp_sha,
        F::ArpTha | F::NdTll => &mut k.arp_tha,
        F::NdTarget0 | F::NdTarget1 | F::NdTarget2 | F::NdTarget3 => {
            &mut k.nd_target[part(field as u8 - F::NdTarget0 as u8)..]
        }
        F::PktMark => &mut mark,
        F::SkbPriority => &mut no_priority,
    };
    let skip = usize::from(field == F::ArpOp);
    for (b, (v, m)) in to.iter_mut().zip(value.iter().zip(mask).skip(skip)) {
        *b = *b & !m | v & m;
    }
    k.pkt_mark = u32::from_ne_bytes(mark);
}

/// The stock switch's text of datapath actions.
fn parse(text: &str) -> Vec<Op> {
    let mut ops = Vec::new();
    for item in split(text) {
        let (name, args) = match item.split_once('(') {
            Some((name, rest)) => (name, rest.strip_suffix(')').unwrap_or(rest)),
            None => (item, ""),
        };
        match name {
            "drop" => {}
            "pop_vlan" => ops.push(Op::Act(Action::PopVlan)),
            "push_vlan" => {
                let a: BTreeMap<&str, &str> = pairs(args);
                let number = |name: &str| a.get(name).map_or(0, |v| int(v)) as u16;
                let tpid = match number("tpid") {
                    0 => 0x8100,
                    tpid => tpid,
                };
                ops.push(Op::Act(Action::PushVlan {
                    tpid,
                    tci: number("vid") | number("pcp") << 13,
                }));
            }
            "userspace" => ops.push(Op::Act(Action::Output(CONTROLLER))),
            "clone" => ops.push(Op::Clone(parse(args))),
            "set" => {
                let (header, fields) = args.split_once('(').unwrap();
                let fields = fields.strip_suffix(')').unwrap();
                ops.extend(sets(header, fields).into_iter().map(Op::Act));
            }
            port => ops.push(Op::Act(Action::Output(DpPort(
                port.parse().unwrap_or_else(|_| panic!("{port} in {text}")),
            )))),
        }
    }
    ops
}

/// Splits at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn pairs(text: &str) -> BTreeMap<&str, &str> {
    text.split(',').filter_map(|p| p.split_once('=')).collect()
}

fn int(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

fn sets(header: &str, fields: &str) -> Vec<Action> {
    use SetField as F;
    let act = |field, value: &[u8], mask: &[u8]| {
        let (mut v, mut m) = ([0; 6], [0; 6]);
        v[..value.len()].copy_from_slice(value);
        m[..mask.len()].copy_from_slice(mask);
        Action::Set {
            field,
            value: v,
            mask: m,
        }
    };
    if let "skb_mark" | "skb_priority" = header {
        let (value, mask) = fields.split_once('/').unwrap_or((fields, "0xffffffff"));
        let field = match header {
            "skb_mark" => F::PktMark,
            _ => F::SkbPriority,
        };
        let bytes = |t| (int(t) as u32).to_ne_bytes();
        return vec![act(field, &bytes(value), &bytes(mask))];
    }
    let mut out = Vec::new();
    for (name, text) in pairs(fields) {
        let (value, mask) = match text.split_once('/') {
            Some((v, m)) => (v, Some(m)),
            None => (text, None),
        };
        let field = match (header, name) {
            ("eth", "src") => F::EthSrc,
            ("eth", "dst") => F::EthDst,
            ("ipv4", "src") => F::Ipv4Src,
            ("ipv4", "dst") => F::Ipv4Dst,
            ("ipv4", "tos") | ("ipv6", "tclass") => F::IpTos,
            ("ipv4", "ttl") | ("ipv6", "hlimit") => F::IpTtl,
            ("tcp" | "udp" | "sctp", "src") => F::TpSrc,
            ("tcp" | "udp" | "sctp", "dst") => F::TpDst,
            // Read-only parts that the stock switch shows beside the others.
            (_, "proto" | "frag") => continue,
            other => panic!("{other:?}"),
        };
        let bytes = |t: &str| -> Vec<u8> {
            if t.contains(':') {
                t.split(':')
                    .map(|h| u8::from_str_radix(h, 16).unwrap())
                    .collect()
            } else if t.contains('.') {
                t.split('.').map(|d| d.parse().unwrap()).collect()
            } else if field.len_bytes() == 1 {
                vec![int(t) as u8]
            } else {
                (int(t) as u16).to_be_bytes().to_vec()
            }
        };
        let mask = mask.map_or(vec![0xff; field.len_bytes()], bytes);
        out.push(act(field, &bytes(value), &mask));
    }
    out
}

struct Stock(StockSwitch);

impl Stock {
    fn start() -> Option<Stock> {
        let stock = Stock(StockSwitch::start("outcomes_are_the_stock_switch_s").unwrap()?);
        // Two tags are parsed, as ours are.
        stock.vsctl("set Open_vSwitch . other_config:vlan-limit=2");
        for (bridge, base) in [("br0", 0), ("br1", 10)] {
            let mut command = format!(
                "add-br {bridge} -- set bridge {bridge} fail-mode=secure datapath_type=dummy \
                 protocols=OpenFlow10,OpenFlow13"
            );
            for n in 1..=PORTS + 1 {
                let port = base + n;
                let kind = match n <= PORTS {
                    true => "dummy".to_owned(),
                    false => format!("patch options:peer=p{}", 20 - port),
                };
                command += &format!(
                    " -- add-port {bridge} p{port} -- set interface p{port} \
                     ofport_request={port} type={kind}"
                );
            }
            stock.vsctl(&command);
        }
        Some(stock)
    }

    /// Flows that the stock switch refuses are taken out of the scenario.
    fn set_up(&self, scenario: &mut Scenario) {
        let version = match scenario.dialect {
            Dialect::Nicira => "OpenFlow10",
            Dialect::Standard => "OpenFlow13",
        };
        // One bridge that there is nobody to answer for forwards nothing.
        let two = scenario.bridges.len() == 2;
        let mut empty = RandomBridge {
            vlans: vec![VlanConf::trunk_all(); PORTS as usize],
            base: 10,
            flows: String::new(),
            macs: Vec::new(),
        };
        let bridges = scenario.bridges.iter_mut().chain([&mut empty]).take(2);
        for (name, bridge) in std::iter::zip(["br0", "br1"], bridges) {
            let mut command = Vec::new();
            for (n, vlan) in std::iter::zip(1.., &bridge.vlans) {
                command.push(vlan_command(bridge.base + n, vlan));
            }
            self.vsctl(&command.join(" -- "));
            while let Err(line) = self.add_flows(version, name, &bridge.flows) {
                let lines = bridge.flows.lines().enumerate();
                let kept = lines.filter(|(n, _)| n + 1 != line).map(|(_, l)| l);
                bridge.flows = kept.collect::<Vec<_>>().join("\n");
            }
            // A flush leaves what was added by hand.
            let fdb = self.0.run("ovs-appctl", &["fdb/show", name]).unwrap();
            for line in fdb.lines().skip(1) {
                let words: Vec<&str> = line.split_whitespace().collect();
                self.0
                    .run("ovs-appctl", &["fdb/del", name, words[1], words[2]])
                    .unwrap();
            }
            for (vlan, mac, port) in &bridge.macs {
                let (vlan, mac) = (vlan.to_string(), mac.to_string());
                let port = format!("p{port}");
                self.0
                    .run("ovs-appctl", &["fdb/add", name, &port, &vlan, &mac])
                    .unwrap();
            }
        }
        // With the patch port there is one port more to flood to.
        let peer = match two {
            false => "--if-exists del-port br0 p5 -- --if-exists del-port br1 p15",
            true => {
                "--may-exist add-port br0 p5 -- --may-exist add-port br1 p15 -- set interface p5 \
                 ofport_request=5 type=patch options:peer=p15 -- set interface p15 \
                 ofport_request=15 type=patch options:peer=p5"
            }
        };
        self.vsctl(peer);
    }

    /// Replaces a bridge's flows; an error is the number of the line that was refused.
    fn add_flows(&self, version: &str, bridge: &str, flows: &str) -> Result<(), usize> {
        let file = self.0.path("flows");
        std::fs::write(&file, flows).unwrap();
        let delete = ["-O", version, "del-flows", bridge];
        self.0.run("ovs-ofctl", &delete).unwrap();
        let file = file.to_string_lossy();
        let args = ["-O", version, "add-flows", bridge, &file];
        let output = self.0.output("ovs-ofctl", &args).unwrap();
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said
            .split_once("flows:")
            .and_then(|(_, rest)| rest.split_once(':')?.0.parse().ok());
        Err(line.unwrap_or_else(|| panic!("{said}\n{flows}")))
    }

    fn trace(&self, flow: &str) -> String {
        let args = ["ofproto/trace", "ovs-dummy", flow];
        let output = self.0.output("ovs-appctl", &args).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn vsctl(&self, command: &str) {
        self.0.vsctl(command).unwrap();
    }
}

fn vlan_command(port: u32, vlan: &VlanConf) -> String {
    let mode = match vlan.mode {
        VlanMode::Access => "access",
        VlanMode::Trunk => "trunk",
        VlanMode::NativeTagged => "native-tagged",
        VlanMode::NativeUntagged => "native-untagged",
    };
    let tags = match vlan.priority_tags {
        PriorityTags::Never => "never",
        PriorityTags::IfNonzero => "if-nonzero",
        PriorityTags::Always => "always",
    };
    let tag = match vlan.mode {
        VlanMode::Trunk => "[]".to_owned(),
        _ => vlan.tag.to_string(),
    };
    format!("set port p{port} vlan_mode={mode} tag={tag} other_config:priority-tags={tags}")
}
