//! The classifier against a linear scan: random rules, random changes, random packets.
//!
//! Two properties: a lookup finds a rule of the highest priority that matches, and any flow that
//! agrees with the packet under the returned mask gets the very same rule. Old snapshots must go on
//! answering as they did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ofproto::classifier::{Classified, Classifier, Editor};
use ofproto::classifier_pattern::{Pattern, PrefixField};
use ofproto::flow::{Flow, Mask};
use proptest::prelude::*;

#[derive(Debug)]
struct TestRule {
    pattern: Pattern,
    priority: u32,
}

impl Classified for TestRule {
    fn pattern(&self) -> &Pattern {
        &self.pattern
    }
    fn priority(&self) -> u32 {
        self.priority
    }
}

/// A few values and masks for a few fields of every stage, so that rules often share masks, nest
/// and overlap.
#[derive(Clone, Copy, Debug)]
struct Fields {
    in_port: u8,
    reg: u8,
    eth_dst: u8,
    vlan: u8,
    ip_src: u8,
    ip_dst: u8,
    ipv6_dst: u8,
    proto: u8,
    tp_src: u8,
    tp_dst: u8,
    flags: u8,
}

fn flow(f: &Fields) -> Flow {
    let mut flow = Flow::zero();
    flow.pipeline.in_port = u32::from(f.in_port & 3);
    flow.pipeline.regs[2] = u32::from(f.reg & 3);
    flow.key.eth_dst[5] = f.eth_dst & 3;
    flow.key.vlan0_tci[1] = f.vlan & 1;
    flow.key.ipv4_src = [10, 0, f.ip_src >> 4, f.ip_src << 4];
    flow.key.ipv4_dst = [10, f.ip_dst & 0x81, 0, f.ip_dst & 0x18];
    flow.key.ipv6_dst[0] = f.ipv6_dst;
    flow.key.ipv6_dst[15] = f.ipv6_dst;
    flow.key.ip_proto = f.proto & 1;
    flow.key.tp_src[1] = f.tp_src;
    flow.key.tp_dst[1] = f.tp_dst & 0x0f;
    flow.key.tcp_flags[1] = f.flags & 1;
    flow
}

fn mask(f: &Fields) -> Mask {
    let mut mask = Mask::empty();
    let m = &mut mask.0;
    let whole = |n: u8| if n & 3 == 0 { 0xff } else { 0 };
    m.pipeline.in_port = if f.in_port & 1 == 0 { !0 } else { 0 };
    m.pipeline.regs[2] = u32::from(f.reg & 3);
    m.key.eth_dst = [whole(f.eth_dst); 6];
    m.key.vlan0_tci[1] = whole(f.vlan);
    let v4 = |n: u8| u32::MAX.checked_shl(u32::from(n % 17) * 2).unwrap_or(0);
    m.key.ipv4_src = v4(f.ip_src).to_be_bytes();
    m.key.ipv4_dst = v4(f.ip_dst).to_be_bytes();
    if f.ip_dst & 0xe0 == 0xe0 {
        m.key.ipv4_dst = [0, 0xff, 0, 0x0f];
    }
    let v6 = u128::MAX.checked_shl(u32::from(f.ipv6_dst % 5) * 32);
    m.key.ipv6_dst = v6.unwrap_or(0).to_be_bytes();
    m.key.ip_proto = whole(f.proto);
    m.key.tp_src[1] = if f.tp_src & 3 == 0 { 0xf0 } else { 0 };
    m.key.tp_dst = [whole(f.tp_dst), whole(f.tp_dst)];
    m.key.tcp_flags[1] = whole(f.flags);
    mask
}

fn fields() -> impl Strategy<Value = Fields> {
    any::<[u8; 11]>().prop_map(|b| Fields {
        in_port: b[0],
        reg: b[1],
        eth_dst: b[2],
        vlan: b[3],
        ip_src: b[4],
        ip_dst: b[5],
        ipv6_dst: b[6],
        proto: b[7],
        tp_src: b[8],
        tp_dst: b[9],
        flags: b[10],
    })
}

/// Like `fields`, with most of them at a value that wildcards or matches much.
fn sparse_fields() -> impl Strategy<Value = Fields> {
    (fields(), any::<u16>()).prop_map(|(f, keep)| {
        let pick = |n: u32, v: u8, none: u8| if keep >> n & 1 == 0 { none } else { v };
        Fields {
            in_port: pick(0, f.in_port, 1),
            reg: pick(1, f.reg, 0),
            eth_dst: pick(2, f.eth_dst, 1),
            vlan: pick(3, f.vlan, 1),
            ip_src: pick(4, f.ip_src, 16),
            ip_dst: pick(5, f.ip_dst, 16),
            ipv6_dst: pick(6, f.ipv6_dst, 4),
            proto: pick(7, f.proto, 1),
            tp_src: pick(8, f.tp_src, 1),
            tp_dst: pick(9, f.tp_dst, 1),
            flags: pick(10, f.flags, 1),
        }
    })
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Fields, Fields, u32),
    Remove(prop::sample::Index),
    Snapshot,
    Prefixes(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (fields(), sparse_fields(), 0u32..6).prop_map(|(f, m, p)| Op::Insert(f, m, p)),
        4 => any::<prop::sample::Index>().prop_map(Op::Remove),
        1 => Just(Op::Snapshot),
        1 => (0u8..16).prop_map(Op::Prefixes),
    ]
}

fn check(
    classifier: &Classifier<TestRule>,
    model: &[Arc<TestRule>],
    packets: &[Flow],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(classifier.len(), model.len());
    prop_assert_eq!(classifier.iter().count(), model.len());
    for packet in packets {
        let mut mask = Mask::empty();
        let got = classifier.lookup(packet, &mut mask);
        let want = model
            .iter()
            .filter(|r| r.pattern.matches(packet))
            .map(|r| r.priority)
            .max();
        prop_assert_eq!(got.map(|r| r.priority), want);
        if let Some(rule) = got {
            prop_assert!(rule.pattern.matches(packet));
            prop_assert!(model.iter().any(|r| Arc::ptr_eq(r, rule)));
        }
        CASES.fetch_add(1, Ordering::Relaxed);
        for other in packets {
            let mut same = *other;
            for ((w, p), m) in same
                .words_mut()
                .iter_mut()
                .zip(packet.words())
                .zip(mask.words())
            {
                *w = *w & !m | p & m;
            }
            let mut second = Mask::empty();
            let again = classifier.lookup(&same, &mut second);
            prop_assert_eq!(
                again.map(Arc::as_ptr),
                got.map(Arc::as_ptr),
                "mask {:?}",
                mask
            );
            CASES.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

static CASES: AtomicU64 = AtomicU64::new(0);

#[test]
fn agrees_with_linear_scan() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let input = (
        prop::collection::vec(op(), 1..80),
        prop::collection::vec(fields(), 1..12),
    );
    runner
        .run(&input, |(ops, packets)| {
            let packets: Vec<Flow> = packets.iter().map(flow).collect();
            let mut editor = Editor::new(7);
            let mut model: Vec<Arc<TestRule>> = Vec::new();
            let mut snapshots = Vec::new();
            for op in ops {
                match op {
                    Op::Insert(f, m, priority) => {
                        let pattern = editor.pattern(&flow(&f), &mask(&m));
                        let same =
                            |r: &Arc<TestRule>| r.priority == priority && r.pattern == pattern;
                        let old = model.iter().position(same).map(|i| model.remove(i));
                        let rule = Arc::new(TestRule {
                            pattern: pattern.clone(),
                            priority,
                        });
                        model.push(Arc::clone(&rule));
                        let replaced = editor.insert(rule);
                        prop_assert_eq!(
                            replaced.as_ref().map(Arc::as_ptr),
                            old.as_ref().map(Arc::as_ptr)
                        );
                        let found = editor.find(&pattern, priority);
                        prop_assert_eq!(found.map(Arc::as_ptr), model.last().map(Arc::as_ptr));
                    }
                    Op::Remove(index) if !model.is_empty() => {
                        let rule = model.remove(index.index(model.len()));
                        let removed = editor.remove(&rule.pattern, rule.priority);
                        prop_assert_eq!(
                            removed.as_ref().map(Arc::as_ptr),
                            Some(Arc::as_ptr(&rule))
                        );
                        prop_assert!(editor.remove(&rule.pattern, rule.priority).is_none());
                    }
                    Op::Remove(_) => {}
                    Op::Snapshot => snapshots.push((editor.publish(), model.clone())),
                    Op::Prefixes(bits) => {
                        let fields: Vec<PrefixField> = PrefixField::ALL
                            .into_iter()
                            .enumerate()
                            .filter(|(n, _)| bits >> n & 1 != 0)
                            .map(|(_, f)| f)
                            .collect();
                        editor.set_prefix_fields(&fields);
                    }
                }
            }
            snapshots.push((editor.publish(), model));
            for (classifier, model) in snapshots {
                check(&classifier, &model, &packets)?;
            }
            Ok(())
        })
        .unwrap();
    println!("{} lookups agreed", CASES.load(Ordering::Relaxed));
}

/// `within` and `overlaps` against their definitions.
#[test]
fn loose_matching_agrees_with_linear_scan() {
    proptest!(ProptestConfig::with_cases(200), |(
        rules in prop::collection::vec((fields(), sparse_fields(), 0u32..4), 0..40),
        queries in prop::collection::vec((fields(), sparse_fields()), 1..10),
    )| {
        let mut editor = Editor::new(1);
        for (f, m, priority) in &rules {
            let pattern = editor.pattern(&flow(f), &mask(m));
            editor.insert(Arc::new(TestRule { pattern, priority: *priority }));
        }
        let view = editor.view();
        for (f, m) in &queries {
            let (f, m) = (flow(f), mask(m));
            let within = view.within(&f, &m).count();
            let want = view.iter().filter(|r| r.pattern.is_within(&f, &m)).count();
            prop_assert_eq!(within, want);
            for priority in 0..4 {
                let want = view
                    .iter()
                    .any(|r| r.priority == priority && r.pattern.overlaps(&f, &m));
                prop_assert_eq!(view.overlaps(&f, &m, priority), want);
            }
        }
        for rule in view.iter() {
            let (f, m) = (rule.pattern.flow(), *rule.pattern.mask());
            prop_assert!(view.within(&f, &m).any(|r| Arc::ptr_eq(r, rule)));
        }
    });
}
