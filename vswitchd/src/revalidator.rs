//! The thread that keeps the datapath's cache in step with the tables, and counts.
//!
//! It owns every ukey, the userspace record of one installed megaflow: what it does, which
//! snapshot it was made from, and whom to credit with its packets. Twice a second it reads the
//! statistics of all megaflows, credits them, and removes what is idle. When a snapshot is
//! published, or somebody waits for one, it translates again whatever was made from an older one.
//!
//! A megaflow stays when it is still right: the new translation has the same actions and looks at
//! no bit that the megaflow leaves out. Its actions are replaced in place when only they differ.
//! Otherwise it is deleted, and the next packet makes a new one.
//!
//! Megaflows without a ukey are what an earlier daemon left; they are adopted by translating them
//! once the tables are what they were.
//!
//! Source: OVS `ofproto/ofproto-dpif-upcall.c`, `revalidate`, has the same role.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ahash::RandomState;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use dpif::{DpOp, Dpif, FlowEntry};
use ofproto::snapshot::Snapshot;
use ofproto::xlate::{Credit, Station, XlateIn, Xlated, xlate};
use packet::{Action, FlowKey, FlowMask};
use tokio::sync::mpsc;

use crate::coverage;
use crate::packets::{NewUkey, credit};
use crate::shared::Shared;

/// Time between two readings of the statistics.
const PASS: Duration = Duration::from_millis(500);
/// How long to wait between two looks at whether a handler is done with an old snapshot.
const GRACE: Duration = Duration::from_micros(50);

/// What the event loop tells the packet threads, and what they tell each other.
#[derive(Debug, Default)]
pub struct Control {
    pub stopped: AtomicBool,
    /// Neither misses are handled nor megaflows touched (`flow-restore-wait`).
    pub paused: AtomicBool,
    /// Megaflows of an earlier daemon may be translated again.
    pub adopting: AtomicBool,
    /// Milliseconds after which an idle megaflow is removed.
    pub max_idle_ms: AtomicU64,
    /// Megaflows installed, and how many may be.
    pub flows: AtomicUsize,
    pub flow_limit: AtomicUsize,
}

impl Control {
    pub fn has_room(&self) -> bool {
        self.flows.load(Ordering::Relaxed) < self.flow_limit.load(Ordering::Relaxed)
    }
}

/// A snapshot was published: the revalidator should not sleep.
#[derive(Debug)]
pub struct Wake;

/// What the revalidator tells the event loop.
#[derive(Debug)]
pub enum Report {
    /// Every packet is answered by this snapshot or a later one.
    Done(u64),
    /// Stations that sent packets, which keeps them from aging.
    Seen(Vec<Station>),
    /// Packets and bytes that crossed patch ports since the last report.
    Patches(Vec<(Credit, u64, u64)>),
}

pub struct Revalidator {
    pub dpif: Arc<dyn Dpif>,
    pub shared: Arc<Shared>,
    /// Its number among the users of snapshots.
    pub user: usize,
    pub control: Arc<Control>,
    pub new_ukeys: Receiver<NewUkey>,
    pub wake: Receiver<Wake>,
    pub reports: mpsc::UnboundedSender<Report>,
}

type Name = (FlowMask, FlowKey);

struct Ukey {
    actions: Vec<Action>,
    credits: Vec<Credit>,
    version: u64,
    /// Statistics that were credited already.
    packets: u64,
    bytes: u64,
    created: Instant,
}

#[derive(Default)]
struct Ukeys {
    by_name: HashMap<Name, Ukey, RandomState>,
    /// Every ukey was made from this version or a later one.
    version: u64,
}

impl Revalidator {
    /// Runs until the daemon ends.
    pub fn run(self) {
        let mut ukeys = Ukeys::default();
        let mut next_pass = Instant::now();
        while !self.control.stopped.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next_pass {
                if !self.control.paused.load(Ordering::Relaxed) {
                    self.pass(&mut ukeys, now);
                }
                next_pass = now + PASS;
            }
            let pause = next_pass.saturating_duration_since(Instant::now());
            match self.wake.recv_timeout(pause) {
                // Many published snapshots are caught up with at once.
                Ok(Wake) => self.wake.try_iter().for_each(drop),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.catch_up(&mut ukeys);
        }
    }

    /// Brings the cache to the newest snapshot, and says so.
    fn catch_up(&self, ukeys: &mut Ukeys) {
        let in_use = self.shared.take(self.user);
        let snapshot = &in_use.snapshot;
        let version = snapshot.version;
        if ukeys.version >= version {
            return;
        }
        // Whoever began with an older snapshot may still install a megaflow made from it.
        while !self.shared.is_past_but(version, self.user) {
            if self.control.stopped.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(GRACE);
        }
        self.take_new(ukeys);
        if !self.control.paused.load(Ordering::Relaxed) {
            let ops = stale_ops(ukeys, snapshot, self.dpif.limits().actions);
            if !ops.is_empty() {
                // What the megaflows counted so far is owed to the rules of the old tables.
                self.credit_all(ukeys, snapshot);
                self.carry_out(ukeys, ops);
            }
        }
        ukeys.version = version;
        coverage::revalidate_pass.inc();
        let _ = self.reports.send(Report::Done(version));
    }

    /// Reads statistics, removes what is idle, adopts what an earlier daemon left.
    fn pass(&self, ukeys: &mut Ukeys, now: Instant) {
        let in_use = self.shared.take(self.user);
        self.take_new(ukeys);
        let Some(entries) = self.credit_all(ukeys, &in_use.snapshot) else {
            return;
        };
        let max_idle = Duration::from_millis(self.control.max_idle_ms.load(Ordering::Relaxed));
        let mut ops = Vec::new();
        let mut there = HashSet::with_capacity_and_hasher(entries.len(), RandomState::new());
        for entry in &entries {
            let name = (entry.mask, entry.key);
            there.insert(name);
            match ukeys.by_name.get(&name) {
                Some(ukey) => {
                    let idle = entry
                        .stats
                        .idle
                        .unwrap_or_else(|| now.saturating_duration_since(ukey.created));
                    if idle > max_idle {
                        ops.push(Step {
                            name,
                            op: Verdict::Delete,
                        });
                    }
                }
                None if self.control.adopting.load(Ordering::Relaxed) => {
                    let step = adopt(ukeys, entry, &in_use.snapshot, &*self.dpif, now);
                    ops.extend(step);
                }
                None => {}
            }
        }
        // Deleted by somebody else; a ukey made since the dump began is new to it.
        ukeys
            .by_name
            .retain(|name, ukey| there.contains(name) || ukey.created >= now);
        self.carry_out(ukeys, ops);
        self.control
            .flows
            .store(ukeys.by_name.len(), Ordering::Relaxed);
    }

    fn take_new(&self, ukeys: &mut Ukeys) {
        for new in self.new_ukeys.try_iter() {
            let ukey = Ukey {
                actions: new.actions,
                credits: new.credits,
                version: new.version,
                packets: 0,
                bytes: 0,
                created: Instant::now(),
            };
            ukeys.version = ukeys.version.min(ukey.version);
            ukeys.by_name.insert((new.mask, new.key), ukey);
        }
    }

    /// Credits what megaflows counted since the last time.
    fn credit_all(&self, ukeys: &mut Ukeys, snapshot: &Snapshot) -> Option<Vec<FlowEntry>> {
        coverage::dpif_flow_dump.inc();
        let entries = match self.dpif.flow_dump() {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!("cannot read the datapath's megaflows: {error}");
                return None;
            }
        };
        let now = Instant::now();
        let mut stations = HashSet::with_hasher(RandomState::new());
        let mut patches = Vec::new();
        for entry in &entries {
            let Some(ukey) = ukeys.by_name.get_mut(&(entry.mask, entry.key)) else {
                continue;
            };
            let packets = entry.stats.packets.saturating_sub(ukey.packets);
            let bytes = entry.stats.bytes.saturating_sub(ukey.bytes);
            ukey.packets = entry.stats.packets;
            ukey.bytes = entry.stats.bytes;
            if packets == 0 {
                continue;
            }
            let used = entry
                .stats
                .idle
                .and_then(|idle| now.checked_sub(idle))
                .unwrap_or(now);
            credit(snapshot, &ukey.credits, packets, bytes, used);
            for credit in &ukey.credits {
                match credit {
                    Credit::Station(station) => {
                        stations.insert(*station);
                    }
                    Credit::PatchSent(..) | Credit::PatchReceived(..) => {
                        patches.push((credit.clone(), packets, bytes));
                    }
                    Credit::Rule(..) | Credit::Table(..) => {}
                }
            }
        }
        if !stations.is_empty() {
            let _ = self
                .reports
                .send(Report::Seen(stations.into_iter().collect()));
        }
        if !patches.is_empty() {
            let _ = self.reports.send(Report::Patches(patches));
        }
        Some(entries)
    }

    fn carry_out(&self, ukeys: &mut Ukeys, steps: Vec<Step>) {
        let ops: Vec<DpOp> = steps
            .iter()
            .map(|Step { name, op }| match op {
                Verdict::Delete => DpOp::FlowDel {
                    key: name.1,
                    mask: name.0,
                },
                Verdict::Replace(actions) => DpOp::FlowPut {
                    key: name.1,
                    mask: name.0,
                    actions: actions.clone(),
                    replace: true,
                },
            })
            .collect();
        let results = self.dpif.operate(&ops);
        for (step, result) in steps.into_iter().zip(results) {
            match (&step.op, result) {
                (Verdict::Delete, Ok(()) | Err(dpif::Error::NoSuchFlow)) => {
                    coverage::dpif_flow_del.inc();
                    ukeys.by_name.remove(&step.name);
                }
                (Verdict::Replace(_), Ok(())) => coverage::dpif_flow_put.inc(),
                (_, Err(error)) => {
                    tracing::warn!("cannot bring a megaflow up to date: {error}");
                    ukeys.by_name.remove(&step.name);
                }
            }
        }
    }
}

/// What is to be done about one megaflow.
struct Step {
    name: Name,
    op: Verdict,
}

enum Verdict {
    Delete,
    Replace(Vec<Action>),
}

/// Translates again what older snapshots made.
fn stale_ops(ukeys: &mut Ukeys, snapshot: &Snapshot, max_actions: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    for (name, ukey) in &mut ukeys.by_name {
        if ukey.version >= snapshot.version {
            continue;
        }
        let xlated = translate(snapshot, &name.1, max_actions);
        match judge(&xlated, &name.0, &ukey.actions) {
            Judgement::Right => {
                ukey.credits = xlated.credits;
                ukey.version = snapshot.version;
            }
            Judgement::OtherActions(actions) => {
                ukey.actions.clone_from(&actions);
                ukey.credits = xlated.credits;
                ukey.version = snapshot.version;
                steps.push(Step {
                    name: *name,
                    op: Verdict::Replace(actions),
                });
            }
            Judgement::Wrong => steps.push(Step {
                name: *name,
                op: Verdict::Delete,
            }),
        }
    }
    steps
}

/// Makes a ukey for a megaflow that an earlier daemon left; a step when it is no longer right.
fn adopt(
    ukeys: &mut Ukeys,
    entry: &FlowEntry,
    snapshot: &Snapshot,
    dpif: &dyn Dpif,
    now: Instant,
) -> Option<Step> {
    let name = (entry.mask, entry.key);
    let xlated = translate(snapshot, &entry.key, dpif.limits().actions);
    let judgement = judge(&xlated, &entry.mask, &entry.actions);
    let (actions, step) = match judgement {
        Judgement::Right => (entry.actions.clone(), None),
        Judgement::OtherActions(actions) => (
            actions.clone(),
            Some(Step {
                name,
                op: Verdict::Replace(actions),
            }),
        ),
        Judgement::Wrong => (
            Vec::new(),
            Some(Step {
                name,
                op: Verdict::Delete,
            }),
        ),
    };
    ukeys.by_name.insert(
        name,
        Ukey {
            actions,
            credits: xlated.credits,
            version: snapshot.version,
            packets: entry.stats.packets,
            bytes: entry.stats.bytes,
            created: now,
        },
    );
    ukeys.version = ukeys.version.min(snapshot.version);
    step
}

fn translate(snapshot: &Snapshot, key: &FlowKey, max_actions: usize) -> Xlated {
    match XlateIn::received(snapshot, key, max_actions) {
        Some(input) => xlate(snapshot, &input),
        None => Xlated::unknown_port(key),
    }
}

enum Judgement {
    Right,
    OtherActions(Vec<Action>),
    Wrong,
}

/// Compares a megaflow with what translation says now of the packets that it matches.
fn judge(xlated: &Xlated, mask: &FlowMask, actions: &[Action]) -> Judgement {
    if !mask.covers(&xlated.mask) {
        // Packets that it takes for equal may now be different.
        return Judgement::Wrong;
    }
    let now = xlated.megaflow_actions();
    if now == actions {
        Judgement::Right
    } else {
        Judgement::OtherActions(now)
    }
}
