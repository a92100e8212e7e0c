//! Figures for the sizes that the tables are made for; printed, with generous limits asserted.
//!
//! `cargo test -p ofproto --release --test scale -- --ignored --nocapture`

use std::time::Instant;

use ofproto::flow::{Flow, Mask};
use ofproto::ofproto::Ofproto;
use ofproto::snapshot::FailMode;
use openflow::message::{FlowMod, FlowModCommand};
use openflow::{Action, Field, Match, OfPort, Version};
use packet::EthAddr;

const RULES: u32 = 100_000;

fn flow_mod(n: u32) -> FlowMod {
    // The shapes of a typical table: exact addresses, prefixes, ports.
    let ip = Match::new().with(Field::EthType, 0x0800);
    let fields = match n % 4 {
        0 => Match::new()
            .with(Field::InPort, u128::from(n % 64))
            .with(Field::EthDst, u128::from(n) + 1),
        1 => ip.with(Field::Ipv4Dst, u128::from(n.wrapping_mul(2_654_435_761))),
        2 => ip.masked(
            Field::Ipv4Dst,
            u128::from(n.wrapping_mul(2_654_435_761)),
            0xffff_ff00,
        ),
        _ => ip
            .with(Field::IpProto, 6)
            .with(Field::Ipv4Src, u128::from(n))
            .with(Field::TcpDst, u128::from(n % 1000)),
    };
    FlowMod {
        fields,
        priority: 100 + (n % 4) as u16,
        actions: vec![Action::output(OfPort(1 + n % 64))],
        ..FlowMod::add()
    }
}

#[test]
#[ignore = "takes a release build to mean anything"]
fn a_hundred_thousand_rules() {
    let now = Instant::now();
    let mut ofproto = Ofproto::new(1);
    let bridge = ofproto
        .bridge_add("br0", 1, EthAddr::default(), FailMode::Secure, now)
        .unwrap();
    let messages: Vec<FlowMod> = (0..RULES).map(flow_mod).collect();

    let resident = resident_kib();
    let start = Instant::now();
    for message in &messages {
        ofproto
            .flow_mod(bridge, message, Version::Of13, now)
            .unwrap();
    }
    let snapshot = ofproto.publish();
    let took = start.elapsed();
    println!("{RULES} flow-mods, one publication: {took:?}");
    println!("resident memory: {} KiB more", resident_kib() - resident);
    assert!(took.as_secs_f64() < 2.0);

    let start = Instant::now();
    let mut kept = vec![snapshot];
    for message in messages.iter().step_by(100) {
        let mut message = message.clone();
        message.actions = vec![Action::output(OfPort(9))];
        ofproto
            .flow_mod(bridge, &message, Version::Of13, now)
            .unwrap();
        kept.push(ofproto.publish());
    }
    let each = start.elapsed() / (RULES / 100);
    println!("one flow-mod with its publication: {each:?} (all snapshots kept)");
    assert!(each.as_secs_f64() < 0.001);

    let snapshot = kept.pop().unwrap();
    let tables = &snapshot.bridge(bridge).unwrap().tables;
    let start = Instant::now();
    let mut found = 0;
    for n in 0..RULES {
        let mut flow = Flow::zero();
        flow.set(Field::EthType, 0x0800);
        flow.set(Field::Ipv4Dst, u128::from(n.wrapping_mul(2_654_435_761)));
        flow.set(Field::IpProto, 6);
        flow.set(Field::TcpDst, u128::from(n % 1000));
        let mut mask = Mask::empty();
        found += usize::from(tables.lookup(0, &flow, &mut mask).is_some());
    }
    println!("one lookup: {:?} ({found} found)", start.elapsed() / RULES);

    let start = Instant::now();
    for message in &messages {
        let message = FlowMod {
            command: FlowModCommand::DeleteStrict,
            ..message.clone()
        };
        ofproto
            .flow_mod(bridge, &message, Version::Of13, now)
            .unwrap();
    }
    ofproto.publish();
    println!("deleting all strictly: {:?}", start.elapsed());
    assert!(ofproto.tables(bridge).unwrap().is_empty());
}

/// Many masks are the worst case of tuple space search: each is a subtable to visit, and a
/// reference to copy for a snapshot.
#[test]
#[ignore = "takes a release build to mean anything"]
fn two_thousand_masks() {
    let now = Instant::now();
    let mut ofproto = Ofproto::new(1);
    let bridge = ofproto
        .bridge_add("br0", 1, EthAddr::default(), FailMode::Secure, now)
        .unwrap();
    let masks = 2000;
    let message = |n: u32| FlowMod {
        fields: Match::new()
            .masked(Field::EthDst, u128::from(n), u128::from(n % masks + 1))
            .masked(Field::Reg0, u128::from(n), 0xffff_0000),
        priority: (n % 1000) as u16,
        actions: vec![Action::output(OfPort(1))],
        ..FlowMod::add()
    };
    let start = Instant::now();
    let mut last = ofproto.publish();
    for n in 0..20_000 {
        ofproto
            .flow_mod(bridge, &message(n), Version::Of13, now)
            .unwrap();
        last = ofproto.publish();
    }
    println!(
        "{masks} masks: one flow-mod with its publication: {:?}",
        start.elapsed() / 20_000
    );
    let tables = &last.bridge(bridge).unwrap().tables;
    let start = Instant::now();
    for n in 0..1000 {
        let mut flow = Flow::zero();
        flow.set(Field::EthDst, n << 20 | n);
        tables.lookup(0, &flow, &mut Mask::empty());
    }
    println!("{masks} masks: one lookup: {:?}", start.elapsed() / 1000);
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS"));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
