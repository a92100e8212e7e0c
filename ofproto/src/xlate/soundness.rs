//! Megaflow soundness: for random bridges, tables and packets, a packet that equals another one
//! under the mask of its translation is translated the same.
//!
//! `SLUICE_CASES` sets the number of compared pairs. A failure prints its seed and the flows.

use packet::key::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, FRAG_ANY, FRAG_LATER, NARROW_WORDS, VLAN_PRESENT,
};
use packet::{EthAddr, FlowKey, OfPort};

use super::{Credit, Effect, Xlated};
use crate::port::{PriorityTags, VlanConf, VlanMode};
use crate::snapshot::BridgeId;
use crate::testing::{Switch, megaflow_text};

const DEFAULT_CASES: usize = 60_000;
const PACKETS_PER_SWITCH: usize = 24;
const VARIANTS_PER_PACKET: usize = 12;

#[test]
fn equal_under_the_mask_is_translated_the_same() {
    let cases = std::env::var("SLUICE_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(DEFAULT_CASES);
    let (mut compared, mut wild_bits, mut switches, mut seed) = (0usize, 0u64, 0u64, 1u64);
    while compared < cases {
        seed += 1;
        switches += 1;
        let (n, wild) = one_switch(seed);
        compared += n;
        wild_bits += wild;
    }
    println!(
        "megaflow soundness: {compared} pairs compared over {switches} random switches, \
         {} bits changed each on average",
        wild_bits / compared as u64
    );
}

fn one_switch(seed: u64) -> (usize, u64) {
    let mut r = Random(seed);
    let (mut switch, text) = random_switch(&mut r);
    let (mut compared, mut changed) = (0, 0);
    for _ in 0..PACKETS_PER_SWITCH {
        let key = random_key(&mut r);
        let xlated = switch.xlate(&key);
        for _ in 0..VARIANTS_PER_PACKET {
            let other = variant(&mut r, &key, &xlated);
            if other == key || !other.matches(&key, &xlated.mask) {
                continue;
            }
            let again = switch.xlate(&other);
            compared += 1;
            changed += std::iter::zip(other.words(), key.words())
                .map(|(a, b)| u64::from((a ^ b).count_ones()))
                .sum::<u64>();
            assert!(
                answer(&xlated) == answer(&again),
                "seed {seed}: {}\n  gave {:?}\nbut {}\n  gave {:?}\nmegaflow {}\n{text}",
                crate::testing::megaflow_text(&key, &packet::FlowMask::exact()),
                answer(&xlated),
                megaflow_text(&other, &packet::FlowMask::exact()),
                answer(&again),
                megaflow_text(&key, &xlated.mask),
            );
        }
    }
    (compared, changed)
}

/// What must be equal: everything but the packet's own bytes, and the mask: a classifier may
/// prove the same by different bits.
fn answer(x: &Xlated) -> (Vec<packet::Action>, String, Vec<String>) {
    let effects = x.effects.iter().map(|e| match e {
        Effect::PacketIn(p) => format!(
            "{:?} {:?} {:?} {} {} {}",
            p.bridge, p.reason, p.miss, p.table_id, p.cookie, p.after
        ),
        Effect::Learn(station) => format!("{station:?}"),
    });
    let credits = x.credits.iter().map(|c| match c {
        Credit::Rule(bridge, rule) => format!("{bridge:?} rule {}", rule.serial),
        other => format!("{other:?}"),
    });
    (
        x.actions.clone(),
        format!("{:?} {:?} {:?}", x.slow, x.drop, x.error),
        effects.chain(credits).collect(),
    )
}

/// `key` with bits outside the mask changed: all from another packet, or a few at random.
fn variant(r: &mut Random, key: &FlowKey, xlated: &Xlated) -> FlowKey {
    let mut other = match r.below(3) {
        0 => FlowKey::from_words(std::array::from_fn(|_| r.next())),
        1 => random_key(r),
        _ => {
            let mut k = *key;
            for _ in 0..=r.below(4) {
                let bit = r.below(64 * k.words().len());
                k.words_mut()[bit / 64] ^= 1 << (bit % 64);
            }
            k
        }
    };
    let masks = std::iter::zip(key.words(), xlated.mask.0.words());
    for (word, (k, m)) in other.words_mut().iter_mut().zip(masks) {
        *word = *word & !m | k & m;
    }
    canonical(&mut other);
    other
}

/// Makes zero what is zero in every key that comes from a packet.
fn canonical(key: &mut FlowKey) {
    if !key.is_ipv6() && !key.is_arp() {
        key.words_mut()[NARROW_WORDS..].fill(0);
    }
    if !key.is_ipv4() && !key.is_ipv6() {
        key.ip_frag = 0;
    }
    (key.pad0, key.pad1) = ([0; 2], [0; 2]);
}

fn random_switch(r: &mut Random) -> (Switch, String) {
    let mut s = Switch::new();
    let mut text = String::new();
    let bridges: Vec<BridgeId> = (0..1 + r.below(2))
        .map(|n| s.bridge(&format!("br{n}")))
        .collect();
    for (n, bridge) in bridges.iter().enumerate() {
        for port in 1..=4 {
            s.port(*bridge, n as u32 * 10 + port, random_vlan(r));
        }
    }
    if let [a, b] = bridges.as_slice() {
        s.patch((*a, 5), (*b, 15));
    }
    for bridge in &bridges {
        let mut flows = String::new();
        for _ in 0..4 + r.below(16) {
            flows += &random_flow(r);
            flows += "\n";
        }
        text += &format!("{bridge:?}\n{flows}");
        s.flows(*bridge, &flows);
        let now = s.now;
        for _ in 0..r.below(4) {
            let (vlan, mac) = (r.pick(&VLANS), random_mac(r));
            s.ofproto
                .learn_mac(*bridge, vlan, mac, OfPort(1 + r.below(4) as u32), now);
        }
    }
    (s, text)
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

fn random_flow(r: &mut Random) -> String {
    let mut m = vec![
        format!("table={}", r.below(4)),
        format!("priority={}", r.below(6)),
    ];
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
            0 => format!("in_port={}", 1 + r.below(5)),
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
    let mut actions: Vec<String> = (0..1 + r.below(5)).map(|_| random_action(r)).collect();
    if r.below(6) == 0 {
        actions.push("write_metadata:1/3".to_owned());
    }
    if r.below(4) == 0 {
        actions.push(format!("goto_table:{}", 4 + r.below(2)));
    }
    let mut seen = std::collections::BTreeSet::new();
    m.retain(|f| seen.insert(f.split('=').next().map(str::to_owned)));
    format!("{},actions={}", m.join(","), actions.join(","))
}

fn random_action(r: &mut Random) -> String {
    let port = 1 + r.below(5);
    let small = r.below(4);
    let table = r.below(6);
    match r.below(40) {
        0..=5 => format!("output:{port}"),
        6 => "in_port".to_owned(),
        7 | 8 => "normal".to_owned(),
        9 => "flood".to_owned(),
        10 => "all".to_owned(),
        11 => format!("controller:{}", 64 + small),
        12..=15 => format!("resubmit(,{table})"),
        16 => format!("resubmit({port},{table})"),
        17 => format!("mod_dl_dst:02:00:00:00:00:0{small}"),
        18 => format!("mod_dl_src:02:00:00:00:00:0{small}"),
        19 => format!("load:{small}->NXM_OF_ETH_DST[0..{}]", 1 + r.below(20)),
        20 => "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]".to_owned(),
        21 => format!("mod_vlan_vid:{}", r.pick(&VLANS)),
        22 => format!("mod_vlan_pcp:{small}"),
        23 => "strip_vlan".to_owned(),
        24 => format!("push_vlan:{}", r.pick(&["0x8100", "0x88a8"])),
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
        35 => "dec_ttl".to_owned(),
        36 => format!("set_queue:{small}"),
        37 => "pop_queue".to_owned(),
        38 => "exit".to_owned(),
        _ => format!("mod_nw_tos:{}", small * 4),
    }
}

fn random_key(r: &mut Random) -> FlowKey {
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
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
