//! Random flow-mods, packets and passing time against a slow model: a list of entries, searched
//! linearly, with the rules of OpenFlow written down one by one.
//!
//! After each step the same entries must be there with the same counters, the same must have been
//! removed for the same reason, and errors must be equal.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ofproto::table::{Change, FlowTables, TableConf};
use openflow::message::{
    FlowMod, FlowModCommand, FlowModFlags, FlowRemovedReason, FlowStatsRequest, GROUP_ANY,
};
use openflow::{Action, Field, Match, OfError, OfPort, Version};
use proptest::prelude::*;

const MAX_RULES: usize = 6;

#[derive(Clone, PartialEq, Debug)]
struct Entry {
    table_id: u8,
    priority: u16,
    fields: Match,
    cookie: u64,
    idle_timeout: u16,
    hard_timeout: u16,
    actions: Vec<Action>,
    created: Instant,
    modified: Instant,
    used: Instant,
    packets: u64,
    bytes: u64,
    reset_counts: bool,
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
}

type Gone = (u8, u16, Match, FlowRemovedReason);

impl Model {
    fn selects(fm: &FlowMod, e: &Entry) -> bool {
        use FlowModCommand::*;
        let is_strict = matches!(fm.command, ModifyStrict | DeleteStrict);
        let is_delete = matches!(fm.command, Delete | DeleteStrict);
        fm.table_id.is_none_or(|t| t == 0xff || t == e.table_id)
            && (e.cookie ^ fm.cookie) & fm.cookie_mask == 0
            && if is_strict {
                e.fields == fm.fields && e.priority == fm.priority
            } else {
                e.fields.is_within(&fm.fields)
            }
            && (!is_delete
                || fm.out_port == OfPort::ANY
                || e.actions.contains(&Action::output(fm.out_port)))
    }

    fn apply(
        &mut self,
        fm: &FlowMod,
        version: Version,
        now: Instant,
    ) -> Result<Vec<Gone>, OfError> {
        match fm.command {
            FlowModCommand::Add => self.add(fm, version, now).map(|()| Vec::new()),
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => {
                let mut found = false;
                for e in self.entries.iter_mut().filter(|e| Model::selects(fm, e)) {
                    found = true;
                    e.actions = fm.actions.clone();
                    e.modified = now;
                    if fm.modify_cookie {
                        e.cookie = fm.new_cookie;
                    }
                    if fm.flags.reset_counts {
                        (e.packets, e.bytes) = (0, 0);
                    }
                }
                if !found && fm.modify_cookie && fm.cookie_mask == 0 {
                    self.add(fm, version, now)?;
                }
                Ok(Vec::new())
            }
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => {
                Ok(self.take(FlowRemovedReason::Delete, |e| Model::selects(fm, e)))
            }
        }
    }

    fn add(&mut self, fm: &FlowMod, version: Version, now: Instant) -> Result<(), OfError> {
        let table_id = fm.table_id.unwrap_or(0);
        let is_same = |e: &Entry| {
            e.table_id == table_id && e.priority == fm.priority && e.fields == fm.fields
        };
        let old = self.entries.iter().position(is_same);
        let mut table = self.entries.iter().filter(|e| e.table_id == table_id);
        if old.is_none() {
            let overlaps = |e: &Entry| e.priority == fm.priority && e.fields.overlaps(&fm.fields);
            if fm.flags.check_overlap && table.clone().any(overlaps) {
                return Err(OfError::FmfcOverlap);
            }
            if table_id == 1 && table.by_ref().count() >= MAX_RULES {
                return Err(OfError::FmfcTableFull);
            }
        }
        let is_plain_add = fm.command == FlowModCommand::Add;
        let reset_counts = fm.flags.reset_counts || version == Version::Of10 && is_plain_add;
        let mut entry = Entry {
            table_id,
            priority: fm.priority,
            fields: fm.fields.clone(),
            cookie: fm.new_cookie,
            idle_timeout: fm.idle_timeout,
            hard_timeout: fm.hard_timeout,
            actions: fm.actions.clone(),
            created: now,
            modified: now,
            used: now,
            packets: 0,
            bytes: 0,
            reset_counts,
        };
        if let Some(old) = old.map(|i| self.entries.remove(i))
            && !reset_counts
        {
            (entry.packets, entry.bytes) = (old.packets, old.bytes);
        }
        self.entries.push(entry);
        Ok(())
    }

    fn take(&mut self, reason: FlowRemovedReason, gone: impl Fn(&Entry) -> bool) -> Vec<Gone> {
        let (out, stay) = self.entries.drain(..).partition(gone);
        self.entries = stay;
        let out: Vec<Entry> = out;
        out.into_iter()
            .map(|e| (e.table_id, e.priority, e.fields, reason))
            .collect()
    }

    fn expire(&mut self, now: Instant) -> Vec<Gone> {
        let due = |since: Instant, secs: u16| {
            (secs != 0).then(|| since + Duration::from_secs(secs.into()))
        };
        let hard = |e: &Entry| due(e.modified, e.hard_timeout);
        let idle = |e: &Entry| due(e.used, e.idle_timeout);
        let is_first_idle =
            |e: &Entry| idle(e).is_some_and(|i| i <= now && hard(e).is_none_or(|h| i < h));
        let mut gone = self.take(FlowRemovedReason::IdleTimeout, is_first_idle);
        gone.extend(self.take(FlowRemovedReason::HardTimeout, |e| {
            hard(e).is_some_and(|h| h <= now)
        }));
        gone
    }
}

fn fields() -> impl Strategy<Value = Match> {
    let ip = || Match::new().with(Field::EthType, 0x0800);
    prop_oneof![
        Just(Match::new()),
        (1u128..3).prop_map(|p| Match::new().with(Field::InPort, p)),
        Just(ip()),
        (0u128..3).prop_map(move |n| ip().with(Field::Ipv4Dst, 0x0a00_0000 + n)),
        (0u32..3).prop_map(move |n| {
            ip().masked(Field::Ipv4Dst, 0x0a00_0000, u128::from(u32::MAX << (n * 8)))
        }),
        (0u128..2).prop_map(move |n| { ip().with(Field::IpProto, 6).with(Field::TcpDst, 80 + n) }),
    ]
}

fn flow_mod() -> impl Strategy<Value = FlowMod> {
    let command = prop_oneof![
        4 => Just(FlowModCommand::Add),
        1 => Just(FlowModCommand::Modify),
        1 => Just(FlowModCommand::ModifyStrict),
        1 => Just(FlowModCommand::Delete),
        1 => Just(FlowModCommand::DeleteStrict),
    ];
    let cookies = (
        0u64..3,
        0u64..3,
        prop_oneof![2 => Just(0), 1 => Just(1u64), 1 => Just(u64::MAX)],
    );
    let timeouts = (
        prop_oneof![Just(0u16), 1u16..6],
        prop_oneof![Just(0u16), 1u16..6],
    );
    let flags = any::<[bool; 4]>();
    (
        command,
        fields(),
        0u8..4,
        0u16..2,
        cookies,
        timeouts,
        flags,
        1u32..4,
        0u32..6,
    )
        .prop_map(
            |(command, fields, table, priority, cookies, timeouts, flags, action, out_port)| {
                FlowMod {
                    command,
                    table_id: (table < 3).then_some(table.min(1)),
                    priority,
                    new_cookie: cookies.0,
                    cookie: cookies.1,
                    cookie_mask: cookies.2,
                    modify_cookie: flags[0],
                    idle_timeout: timeouts.0,
                    hard_timeout: timeouts.1,
                    out_port: match out_port {
                        n @ 1..4 => OfPort(n),
                        _ => OfPort::ANY,
                    },
                    out_group: GROUP_ANY,
                    flags: FlowModFlags {
                        check_overlap: flags[1],
                        reset_counts: flags[2],
                        send_flow_rem: flags[3],
                        ..FlowModFlags::default()
                    },
                    fields,
                    actions: vec![Action::output(OfPort(action))],
                    ..FlowMod::add()
                }
            },
        )
}

#[derive(Clone, Debug)]
enum Step {
    FlowMod(FlowMod, bool),
    Packets(prop::sample::Index, u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (flow_mod(), any::<bool>()).prop_map(|(fm, old)| Step::FlowMod(fm, old)),
        2 => (any::<prop::sample::Index>(), 1u64..5).prop_map(|(i, n)| Step::Packets(i, n)),
        2 => (0u64..4_000).prop_map(Step::Pass),
    ]
}

static STEPS: AtomicU64 = AtomicU64::new(0);

fn same_entries(tables: &FlowTables, model: &Model) -> Result<(), TestCaseError> {
    let rules = tables.stats(&FlowStatsRequest::all()).unwrap();
    prop_assert_eq!(rules.len(), model.entries.len());
    let mut by_key = BTreeMap::new();
    for e in &model.entries {
        by_key.insert((e.table_id, e.priority, format!("{:?}", e.fields)), e);
    }
    for rule in rules {
        let key = (
            rule.table_id,
            rule.priority as u16,
            format!("{:?}", rule.to_match()),
        );
        let Some(e) = by_key.get(&key) else {
            return Err(TestCaseError::fail(format!("{key:?} should not be there")));
        };
        let got = Entry {
            table_id: rule.table_id,
            priority: rule.priority as u16,
            fields: rule.to_match(),
            cookie: rule.cookie,
            idle_timeout: rule.idle_timeout,
            hard_timeout: rule.hard_timeout,
            actions: rule.actions.to_vec(),
            created: rule.created,
            modified: rule.modified,
            used: rule.stats.used(),
            packets: rule.stats.packets(),
            bytes: rule.stats.bytes(),
            reset_counts: rule.flags.reset_counts,
        };
        prop_assert_eq!(&&got, e);
    }
    Ok(())
}

#[test]
fn agrees_with_the_model() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let steps = prop::collection::vec(step(), 1..60);
    runner
        .run(&steps, |steps| {
            let mut now = Instant::now();
            let mut tables = FlowTables::new(5);
            tables.set_conf(
                1,
                TableConf {
                    max_rules: MAX_RULES,
                    ..TableConf::default()
                },
            );
            let mut model = Model::default();
            for step in steps {
                STEPS.fetch_add(1, Ordering::Relaxed);
                let sorted = |mut gone: Vec<Gone>| {
                    gone.sort_by_key(|g| (g.0, g.1, format!("{:?}", g.2)));
                    gone
                };
                match step {
                    Step::FlowMod(fm, old) => {
                        let version = if old { Version::Of10 } else { Version::Of13 };
                        let want = model.apply(&fm, version, now).map(sorted);
                        let got = tables.flow_mod(&fm, version, now).map(|changes| {
                            let gone = changes.iter().filter_map(Change::removed).map(|r| {
                                (
                                    r.rule.table_id,
                                    r.rule.priority as u16,
                                    r.rule.to_match(),
                                    r.reason,
                                )
                            });
                            sorted(gone.collect())
                        });
                        prop_assert_eq!(got, want, "{:?}", fm);
                    }
                    Step::Packets(index, n) => {
                        let rules = tables.stats(&FlowStatsRequest::all()).unwrap();
                        if rules.is_empty() {
                            continue;
                        }
                        let rule = index.get(&rules);
                        rule.stats.credit(n, n * 100, now);
                        let fields = rule.to_match();
                        let entry = model.entries.iter_mut().find(|e| {
                            (e.table_id, u32::from(e.priority)) == (rule.table_id, rule.priority)
                                && e.fields == fields
                        });
                        let e = entry.unwrap();
                        e.packets += n;
                        e.bytes += n * 100;
                        e.used = now;
                    }
                    Step::Pass(ms) => {
                        now += Duration::from_millis(ms);
                        let want = sorted(model.expire(now));
                        let removed = tables.handle_timeout(now);
                        let gone = removed.into_iter().map(|r| {
                            (
                                r.rule.table_id,
                                r.rule.priority as u16,
                                r.rule.to_match(),
                                r.reason,
                            )
                        });
                        prop_assert_eq!(sorted(gone.collect()), want);
                        prop_assert!(tables.next_timeout().is_none_or(|at| at > now));
                    }
                }
                same_entries(&tables, &model)?;
            }
            Ok(())
        })
        .unwrap();
    println!("{} steps agreed", STEPS.load(Ordering::Relaxed));
}
