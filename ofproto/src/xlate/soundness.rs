//! Megaflow soundness: for random bridges, tables and packets, a packet that equals another one
//! under the mask of its translation is translated the same.
//!
//! `SLUICE_CASES` sets the number of compared pairs. A failure prints its seed and the flows.

use packet::FlowKey;
use packet::key::NARROW_WORDS;

use super::random::{Random, Scenario, random_key};
use super::stock::{our_actions, outcome};
use super::{Credit, Effect, Xlated};
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
    let mut scenario = Scenario::random(&mut r);
    let groups = match r.below(2) {
        0 => Vec::new(),
        _ => scenario.lead_through_groups(&mut r),
    };
    if r.below(2) == 0 {
        scenario.lead_through_meters(&mut r);
    }
    let mut switch = build(&scenario, &groups, "type=dscp_remark,rate=1,prec_level=1");
    let text = (&scenario, &groups);
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
                "seed {seed}: {}\n  gave {:?}\nbut {}\n  gave {:?}\nmegaflow {}\n{text:#?}",
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

/// A switch whose first meter has one band.
fn build(scenario: &Scenario, groups: &[Vec<String>], band: &str) -> Switch {
    let mut switch = scenario.build();
    for n in 0..scenario.bridges.len() {
        let bridge = switch.ofproto.bridge_by_name(&format!("br{n}")).unwrap();
        for group in groups.get(n).into_iter().flatten() {
            switch.group(bridge, group);
        }
        switch.meter(bridge, &format!("meter=1,pktps,bands={band}"));
        switch.meter(bridge, "meter=2,pktps,bands=type=drop,rate=1");
    }
    switch
}

/// A packet that no meter re-marks leaves as if none could.
#[test]
fn a_meter_that_may_re_mark_is_no_other_while_it_does_not() {
    let (mut outputs, mut different) = (0, 0);
    for seed in 1..=400 {
        let mut r = Random(seed);
        let mut scenario = Scenario::random(&mut r);
        let groups = scenario.lead_through_groups(&mut r);
        scenario.lead_through_meters(&mut r);
        let mut remarks = build(&scenario, &groups, "type=dscp_remark,rate=1,prec_level=1");
        let mut drops = build(&scenario, &groups, "type=drop,rate=1");
        for _ in 0..PACKETS_PER_SWITCH {
            let key = random_key(&mut r);
            let (a, b) = (remarks.xlate(&key), drops.xlate(&key));
            let [x, y] = [&a, &b].map(|xlated| outcome(&key, &our_actions(xlated)));
            assert!(
                x == y,
                "seed {seed}: {x:?}\n{:?}\nand {y:?}\n{:?}\n{scenario:#?}\n{groups:#?}",
                a.actions,
                b.actions
            );
            outputs += x.len();
            different += usize::from(a.actions != b.actions);
        }
    }
    println!("{outputs} outputs; {different} packets have other actions for the meters' sake");
    assert!(outputs > 5000 && different > 100);
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
        Credit::Group(bridge, group, bucket) => format!("{bridge:?} group {} {bucket:?}", group.id),
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
