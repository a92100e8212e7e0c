//! Random bridges, flows and packets for the tests of translation.

use packet::key::{ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, FRAG_ANY, FRAG_LATER, VLAN_PRESENT};
use packet::{EthAddr, FlowKey, OfPort};

use crate::port::{PriorityTags, VlanConf, VlanMode};
use crate::testing::Switch;

/// Ports of a bridge that lead somewhere; the one after them is a patch port.
pub const PORTS: u32 = 4;

/// Which actions there are besides those that every version has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// OpenFlow 1.0 with Nicira's extensions.
    Nicira,
    /// OpenFlow 1.3.
    Standard,
}

/// One or two bridges with ports 1 to 4 and, on the second, 11 to 14; ports 5 and 15 join them.
#[derive(Debug)]
pub struct Scenario {
    pub dialect: Dialect,
    pub bridges: Vec<RandomBridge>,
}

#[derive(Debug)]
pub struct RandomBridge {
    /// Of ports `base + 1` and up.
    pub vlans: Vec<VlanConf>,
    pub base: u32,
    pub flows: String,
    /// VLAN, address and port.
    pub macs: Vec<(u16, EthAddr, u32)>,
}

impl Scenario {
    pub fn random(r: &mut Random) -> Scenario {
        let dialect = r.pick(&[Dialect::Nicira, Dialect::Standard]);
        let bridges = (0..1 + r.below(2) as u32).map(|n| {
            let base = n * 10;
            let mut flows = String::new();
            // Most packets find a rule in most tables.
            for table in 0..6 {
                if r.below(8) != 0 {
                    let actions = random_actions(r, base as usize, dialect, table, false);
                    flows += &format!("table={table},priority=0,actions={actions}\n");
                }
            }
            for priority in 1..5 + r.below(16) {
                flows += &random_flow_of(r, base as usize, dialect, priority);
                flows += "\n";
            }
            RandomBridge {
                vlans: (0..PORTS).map(|_| random_vlan(r)).collect(),
                base,
                flows,
                macs: (0..r.below(4))
                    .map(|_| (r.pick(&VLANS), random_mac(r), base + 1 + r.below(4) as u32))
                    .collect(),
            }
        });
        Scenario {
            bridges: bridges.collect(),
            dialect,
        }
    }

    /// Leads some flows through groups; returns the groups of each bridge.
    pub fn lead_through_groups(&mut self, r: &mut Random) -> Vec<Vec<String>> {
        let through = |r: &mut Random, line: &str| match r.below(3) {
            0 => line.replacen("actions=", &format!("actions=group:{},", 1 + r.below(6)), 1),
            _ => line.to_owned(),
        };
        let mut all = Vec::new();
        for bridge in &mut self.bridges {
            let lines: Vec<String> = bridge.flows.lines().map(|l| through(r, l)).collect();
            bridge.flows = lines.join("\n");
            // Only to higher numbers, so that none leads back; the last is not there.
            let groups = (1..6).map(|id| random_group(r, bridge.base as usize, id));
            all.push(groups.collect());
        }
        all
    }

    /// Leads some flows through the meters 1 and 2, which come before all other actions.
    pub fn lead_through_meters(&mut self, r: &mut Random) {
        for bridge in &mut self.bridges {
            let lines = bridge.flows.lines().map(|line| match r.below(3) {
                0 => line.replacen("actions=", &format!("actions=meter:{},", 1 + r.below(2)), 1),
                _ => line.to_owned(),
            });
            bridge.flows = lines.collect::<Vec<_>>().join("\n");
        }
    }

    pub fn build(&self) -> Switch {
        let mut s = Switch::new();
        let mut ids = Vec::new();
        for (n, bridge) in self.bridges.iter().enumerate() {
            let id = s.bridge(&format!("br{n}"));
            for (port, vlan) in std::iter::zip(1.., &bridge.vlans) {
                s.port(id, bridge.base + port, vlan.clone());
            }
            s.local(id, 100 + n as u32);
            ids.push(id);
        }
        if let [a, b] = ids.as_slice() {
            s.patch((*a, 5), (*b, 15));
        }
        for (id, bridge) in std::iter::zip(&ids, &self.bridges) {
            s.flows(*id, &bridge.flows);
            let now = s.now;
            for (vlan, mac, port) in &bridge.macs {
                s.ofproto.learn_mac(*id, *vlan, *mac, OfPort(*port), now);
            }
        }
        s
    }
}

fn random_group(r: &mut Random, base: usize, id: usize) -> String {
    let group_type = r.pick(&["all", "select", "select", "select", "indirect", "ff"]);
    let mut text = format!("group_id={id},type={group_type}");
    if group_type == "select" {
        text += r.pick(&[
            "",
            ",selection_method=dp_hash,selection_method_param=7",
            ",selection_method=hash",
            ",selection_method=hash,fields(ip_src=255.255.255.254,tcp_dst,ipv6_dst)",
            ",selection_method=hash,fields(vlan_vid,eth_src,reg0=0x1)",
            ",selection_method=hash,fields(nw_ttl,metadata,udp_src,arp_spa)",
        ]);
    }
    let buckets = match group_type {
        "indirect" => 1,
        _ => 1 + r.below(3),
    };
    for _ in 0..buckets {
        text += ",bucket=";
        if group_type == "select" {
            text += &format!("weight:{},", r.below(4));
        }
        if group_type == "ff" || group_type == "select" && r.below(3) == 0 {
            text += &format!("watch_port:{},", base + 1 + r.below(6));
        }
        text += "actions=";
        if r.below(2) == 0 {
            let field = r.pick(&["eth_src", "eth_dst"]);
            text += &format!("set_field:02:00:00:00:00:0{}->{field},", r.below(4));
        }
        text += &match r.below(6) {
            0 => "in_port".to_owned(),
            1 => format!("resubmit(,{})", r.below(6)),
            2 | 3 => format!("group:{}", id + 1),
            _ => format!("output:{}", base + 1 + r.below(5)),
        };
    }
    text
}

const VLANS: [u16; 4] = [0, 1, 10, 20];

fn random_vlan(r: &mut Random) -> VlanConf {
    let tag = r.pick(&VLANS);
    let mode = match r.below(6) {
        0 => return VlanConf::access(tag),
        1 => VlanMode::NativeTagged,
        2 => VlanMode::NativeUntagged,
        _ => VlanMode::Trunk,
    };
    VlanConf {
        mode,
        tag,
        priority_tags: r.pick(&[
            PriorityTags::Never,
            PriorityTags::IfNonzero,
            PriorityTags::Always,
        ]),
        ..VlanConf::trunk_all()
    }
}

fn random_mac(r: &mut Random) -> EthAddr {
    EthAddr([2, 0, 0, 0, 0, r.below(4) as u8])
}

/// `base`: what the bridge's port numbers start from. `dialect`: which actions there are.
/// Each flow has a priority of its own: which of two with the same one wins is not defined.
pub fn random_flow_of(r: &mut Random, base: usize, dialect: Dialect, priority: usize) -> String {
    let table = r.below(4);
    let mut m = vec![format!("table={table}"), format!("priority={priority}")];
    let protocol = r.pick(&[
        "", "", "ip", "tcp", "udp", "icmp", "sctp", "arp", "ipv6", "tcp6", "udp6", "icmp6",
    ]);
    if !protocol.is_empty() {
        m.push(protocol.to_owned());
    }
    let v4 = matches!(protocol, "ip" | "tcp" | "udp" | "icmp" | "sctp");
    let v6 = matches!(protocol, "ipv6" | "tcp6" | "udp6" | "icmp6");
    for _ in 0..r.below(3) {
        m.push(match r.below(9) {
            0 => format!("in_port={}", base + 1 + r.below(5)),
            1 => format!("dl_src=02:00:00:00:00:0{}", r.below(4)),
            2 => format!("dl_dst=02:00:00:00:00:0{}", r.below(4)),
            3 => "dl_dst=00:00:00:00:00:02/00:00:00:00:00:0e".to_owned(),
            4 => format!("dl_vlan={}", r.pick(&VLANS)),
            5 => "vlan_tci=0x0000/0x1fff".to_owned(),
            6 => format!("reg0={}", r.below(3)),
            7 => format!("metadata={}/0x3", r.below(4)),
            _ => format!("pkt_mark={}/0x5", r.pick(&[0, 1, 4, 5])),
        });
    }
    if v4 && r.below(2) == 0 {
        let len = r.pick(&[8, 24, 32, 31]);
        let side = r.pick(&["nw_src", "nw_dst"]);
        m.push(format!("{side}=10.0.{}.{}/{len}", r.below(2), r.below(4)));
    }
    if v6 && r.below(2) == 0 {
        let len = r.pick(&[16, 64, 126, 128]);
        let side = r.pick(&["ipv6_src", "ipv6_dst"]);
        m.push(format!("{side}=fe80::{}/{len}", r.below(4)));
    }
    if v4 || v6 {
        match r.below(8) {
            0 => m.push(format!("nw_ttl={}", r.below(3))),
            1 => m.push(format!("nw_tos={}", r.below(2) * 4)),
            2 => m.push(format!("nw_ecn={}", r.below(4))),
            3 => m.push(format!(
                "nw_frag={}",
                r.pick(&["no", "first", "later", "not_later", "yes"])
            )),
            _ => {}
        }
    }
    match protocol {
        "tcp" | "udp" | "sctp" | "tcp6" | "udp6" if !m.iter().any(|f| f.ends_with("later")) => {
            match r.below(4) {
                0 => m.push(format!("tp_dst={}", r.below(4))),
                1 => m.push(format!("tp_src={}/0xfffe", r.below(2) * 2)),
                2 if protocol.starts_with("tcp") => {
                    m.push(r.pick(&["tcp_flags=+syn-ack", "tcp_flags=-syn"]).to_owned());
                }
                _ => {}
            }
        }
        "icmp" if r.below(2) == 0 => m.push(format!("icmp_type={}", r.pick(&[0, 8]))),
        "icmp6" if r.below(2) == 0 => {
            let (kind, option) = r.pick(&[(135, "nd_sll"), (136, "nd_tll"), (128, "")]);
            m.push(format!("icmp_type={kind}"));
            if !option.is_empty() {
                m.push(match r.below(2) {
                    0 => format!("nd_target=fe80::{}", r.below(3)),
                    _ => format!("{option}=02:00:00:00:00:0{}", r.below(3)),
                });
            }
        }
        "arp" if r.below(2) == 0 => m.push(match r.below(4) {
            0 => format!("arp_op={}", 1 + r.below(2)),
            1 => format!("arp_spa=10.0.0.{}", r.below(3)),
            2 => format!("arp_tpa=10.0.0.{}/31", r.below(2) * 2),
            _ => format!("arp_sha=02:00:00:00:00:0{}", r.below(3)),
        }),
        _ => {}
    }
    // A field that is there twice, or without what it needs: the parser refuses those lines.
    let actions = random_actions(r, base, dialect, table, v4 || v6);
    let mut seen = std::collections::BTreeSet::new();
    m.retain(|f| seen.insert(f.split('=').next().map(str::to_owned)));
    format!("{},actions={actions}", m.join(","))
}

/// `ip`: the match says that the packet is IP, which OpenFlow 1.3 wants for some actions.
fn random_actions(r: &mut Random, base: usize, dialect: Dialect, table: usize, ip: bool) -> String {
    let mut actions: Vec<String> = (0..1 + r.below(5))
        .map(|_| random_action(r, base, dialect, table))
        .collect();
    if dialect == Dialect::Standard && ip && r.below(4) == 0 {
        let ttl = ["dec_ttl", "mod_nw_tos:8", "dec_ttl,mod_nw_ttl:7"];
        actions.insert(0, r.pick(&ttl).to_owned());
    }
    if dialect == Dialect::Standard && r.below(4) == 0 {
        if r.below(3) == 0 {
            actions.push("clear_actions".to_owned());
        }
        actions.push(format!(
            "write_actions(set_field:02:00:00:00:00:0{}->eth_dst,output:{})",
            r.below(4),
            base + 1 + r.below(5)
        ));
    }
    if dialect == Dialect::Standard && r.below(5) == 0 {
        actions.push("write_metadata:1/3".to_owned());
    }
    if table < 5 && r.below(3) == 0 {
        let to = table + 1 + r.below(5 - table);
        // OpenFlow 1.0 has no such instruction.
        actions.push(match dialect {
            Dialect::Standard => format!("goto_table:{to}"),
            Dialect::Nicira => format!("resubmit(,{to})"),
        });
    }
    actions.join(",")
}

fn random_action(r: &mut Random, base: usize, dialect: Dialect, table: usize) -> String {
    let port = base + 1 + r.below(5);
    let small = r.below(4);
    // Mostly on to later tables: what leads back ends in too deep a recursion.
    let table = match r.below(20) {
        0 => r.below(6),
        _ => table + 1 + r.below(2),
    };
    if dialect == Dialect::Nicira && r.below(5) == 0 {
        return match r.below(3) {
            0 => format!("mod_vlan_vid:{}", r.pick(&VLANS)),
            1 => format!("mod_vlan_pcp:{small}"),
            _ => "load:5->NXM_NX_PKT_MARK[0..3]".to_owned(),
        };
    }
    if dialect == Dialect::Standard && r.below(5) == 0 {
        return match r.below(3) {
            0 => "push_vlan:0x8100".to_owned(),
            1 => "push_vlan:0x88a8".to_owned(),
            _ => format!("push_vlan:0x8100,set_field:{}->vlan_vid", 4096 + small),
        };
    }
    match r.below(36) {
        0..=5 => format!("output:{port}"),
        6 => "in_port".to_owned(),
        7 | 8 => "normal".to_owned(),
        9 => "flood".to_owned(),
        10 => "all".to_owned(),
        11 => format!("controller:{}", 64 + small),
        12..=15 => format!("resubmit(,{table})"),
        16 => format!("resubmit({port},{table})"),
        17 | 18 if dialect == Dialect::Standard => {
            let field = r.pick(&["eth_src", "eth_dst"]);
            format!("set_field:02:00:00:00:00:0{small}->{field}")
        }
        17 => format!("mod_dl_dst:02:00:00:00:00:0{small}"),
        18 => format!("mod_dl_src:02:00:00:00:00:0{small}"),
        19 => format!("load:{small}->NXM_OF_ETH_DST[0..{}]", 1 + r.below(20)),
        20 => "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]".to_owned(),
        21 if dialect == Dialect::Standard => {
            format!("set_field:02:00:00:00:00:0{small}/00:00:00:00:00:0f->eth_src")
        }
        22 => format!("load:{small}->NXM_NX_REG0[4..5]"),
        23 if dialect == Dialect::Nicira => "strip_vlan".to_owned(),
        24 => format!("set_field:{small}->metadata"),
        25 => format!("load:{}->NXM_OF_VLAN_TCI[0..11]", r.pick(&VLANS)),
        26 => "load:0x1005->NXM_OF_VLAN_TCI[]".to_owned(),
        27 => "move:NXM_OF_VLAN_TCI[0..11]->NXM_NX_REG0[0..11]".to_owned(),
        28 => format!("load:{small}->NXM_NX_REG0[]"),
        29 => "output:NXM_NX_REG0[0..15]".to_owned(),
        30 => "push:NXM_OF_ETH_DST[0..15]".to_owned(),
        31 => "pop:NXM_NX_REG0[0..15]".to_owned(),
        32 => "move:NXM_OF_ETH_DST[0..1]->NXM_NX_REG0[0..1]".to_owned(),
        33 => "pop:NXM_OF_ETH_SRC[16..31]".to_owned(),
        34 => "load:5->NXM_NX_PKT_MARK[]".to_owned(),
        35 if dialect == Dialect::Nicira => "dec_ttl".to_owned(),
        36 => format!("set_queue:{small}"),
        37 => "pop_queue".to_owned(),
        38 => "exit".to_owned(),
        _ if dialect == Dialect::Nicira => format!("mod_nw_tos:{}", small * 4),
        _ => "flood".to_owned(),
    }
}

pub fn random_key(r: &mut Random) -> FlowKey {
    let mut k = FlowKey::zero();
    k.in_port = 1 + r.below(4) as u32;
    if r.below(3) == 0 {
        k.in_port += 10;
    }
    k.eth_src = random_mac(r).0;
    k.eth_dst = match r.below(8) {
        0 => [0xff; 6],
        1 => [1, 0x80, 0xc2, 0, 0, 2],
        _ => random_mac(r).0,
    };
    k.pkt_mark = r.below(8) as u32;
    for n in 0..r.below(3) {
        let tci = r.pick(&VLANS) | (r.below(8) as u16) << 13 | VLAN_PRESENT;
        let tpid = r.pick(&[[0x81, 0], [0x88, 0xa8]]);
        match n {
            0 => (k.vlan0_tci, k.vlan0_tpid) = (tci.to_be_bytes(), tpid),
            _ => (k.vlan1_tci, k.vlan1_tpid) = (tci.to_be_bytes(), tpid),
        }
    }
    let eth_type = r.pick(&[
        0x88b5,
        ETH_TYPE_IPV4,
        ETH_TYPE_IPV4,
        ETH_TYPE_IPV6,
        ETH_TYPE_IPV6,
        ETH_TYPE_ARP,
    ]);
    k.eth_type = eth_type.to_be_bytes();
    match eth_type {
        ETH_TYPE_IPV4 | ETH_TYPE_IPV6 => {
            k.ip_proto = match eth_type {
                ETH_TYPE_IPV4 => r.pick(&[1, 6, 17, 132, 0]),
                _ => r.pick(&[58, 58, 6, 17, 0]),
            };
            k.ip_ttl = r.below(4) as u8;
            k.ip_tos = r.below(8) as u8;
            k.ip_frag = r.pick(&[0, 0, 0, FRAG_ANY, FRAG_ANY | FRAG_LATER]);
            if k.ip_frag & FRAG_LATER == 0 && k.ip_proto != 0 {
                k.tp_src = [0, r.below(4) as u8];
                k.tp_dst = [0, r.below(4) as u8];
            }
        }
        _ => {}
    }
    match eth_type {
        ETH_TYPE_IPV4 => {
            k.ipv4_src = [10, 0, r.below(2) as u8, r.below(4) as u8];
            k.ipv4_dst = [10, 0, r.below(2) as u8, r.below(4) as u8];
        }
        ETH_TYPE_IPV6 => {
            for a in [&mut k.ipv6_src, &mut k.ipv6_dst] {
                (a[0], a[1], a[15]) = (0xfe, 0x80, r.below(4) as u8);
            }
            k.ipv6_label = [0, 0, 0, r.below(4) as u8];
            if k.ip_proto == 58 && k.ip_frag & FRAG_LATER == 0 {
                k.tp_src[1] = r.pick(&[135, 136, 128]);
                k.tp_dst[1] = r.pick(&[0, 0, 0, 1]);
                if k.tp_src[1] != 128 && k.tp_dst[1] == 0 {
                    (k.nd_target[0], k.nd_target[1]) = (0xfe, 0x80);
                    k.nd_target[15] = r.below(3) as u8;
                    k.arp_sha = random_mac(r).0;
                    k.arp_tha = random_mac(r).0;
                }
            }
        }
        ETH_TYPE_ARP => {
            k.ip_proto = r.below(3) as u8;
            k.ipv4_src = [10, 0, 0, r.below(4) as u8];
            k.ipv4_dst = [10, 0, 0, r.below(4) as u8];
            k.arp_sha = random_mac(r).0;
            k.arp_tha = random_mac(r).0;
        }
        _ => {}
    }
    if k.ip_proto == 6 && k.ip_frag & FRAG_LATER == 0 && !k.is_arp() {
        k.tcp_flags = [0, r.pick(&[2, 0x12, 0x10])];
    }
    k
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
