//! The thread that owns `ofproto`'s revalidator: dumps the datapath's flows twice a second, and
//! catches up with every published snapshot.
//!
//! Once it has caught up it tells the event loop, which lets barrier replies go. That a packet is
//! answered by nothing older takes three things: every handler is past older snapshots, their
//! records of installed megaflows have been taken, and all megaflows have been translated again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ahash::RandomState;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use dpif::{DpOp, Dpif, FlowEntry};
use ofproto::revalidate::{self, Revalidator, Settings, Swept};
use ofproto::snapshot::Snapshot;
use ofproto::ukey::Ukey;
use ofproto::upcall::Effect;
use tokio::sync::mpsc;

use crate::coverage;
use crate::shared::Shared;

/// Time between two dumps.
const PASS: Duration = Duration::from_millis(500);
/// How long to wait between two looks at whether a handler is done with an old snapshot.
const GRACE: Duration = Duration::from_micros(50);

/// What the event loop tells the packet threads, and what they tell each other.
#[derive(Debug)]
pub struct Control {
    pub stopped: AtomicBool,
    /// Neither misses are handled nor megaflows touched (`flow-restore-wait`).
    pub paused: AtomicBool,
    /// Megaflows of an earlier daemon may be translated again.
    pub adopting: AtomicBool,
    /// Milliseconds after which an idle megaflow is removed.
    pub max_idle_ms: AtomicU64,
    /// Megaflows installed, how many may be, and how many of these the machine keeps up with.
    pub flows: AtomicUsize,
    pub configured_limit: AtomicUsize,
    pub flow_limit: AtomicUsize,
}

impl Control {
    pub fn new(flow_limit: usize) -> Control {
        Control {
            stopped: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            adopting: AtomicBool::new(false),
            max_idle_ms: AtomicU64::new(10_000),
            flows: AtomicUsize::new(0),
            configured_limit: AtomicUsize::new(flow_limit),
            flow_limit: AtomicUsize::new(flow_limit),
        }
    }

    pub fn set_flow_limit(&self, limit: usize) {
        if self.configured_limit.swap(limit, Ordering::Relaxed) != limit {
            self.flow_limit.store(limit, Ordering::Relaxed);
        }
    }

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
}

/// Everything that the thread works with.
pub struct RevalidatorThread {
    pub dpif: Arc<dyn Dpif>,
    pub shared: Arc<Shared>,
    /// Its number among the users of snapshots.
    pub user: usize,
    pub control: Arc<Control>,
    pub ukeys: Receiver<Vec<Ukey>>,
    pub wake: Receiver<Wake>,
    pub reports: mpsc::UnboundedSender<Report>,
    pub effects: mpsc::Sender<Vec<Effect>>,
}

impl RevalidatorThread {
    /// Runs until the daemon ends.
    pub fn run(self) {
        let mut revalidator = Revalidator::new();
        let mut next_pass = Instant::now();
        let mut done = 0;
        while !self.control.stopped.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next_pass {
                self.pass(&mut revalidator);
                next_pass = now + PASS;
            }
            let pause = next_pass.saturating_duration_since(Instant::now());
            match self.wake.recv_timeout(pause) {
                // Many published snapshots are caught up with at once.
                Ok(Wake) => self.wake.try_iter().for_each(drop),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.catch_up(&mut revalidator, &mut done);
        }
    }

    /// Brings the cache to the newest snapshot, and says so.
    fn catch_up(&self, revalidator: &mut Revalidator, done: &mut u64) {
        let in_use = self.shared.take(self.user);
        let version = in_use.snapshot.version;
        if version <= *done {
            return;
        }
        // Whoever began with an older snapshot may still install a megaflow made from it.
        while !self.shared.is_past_but(version, self.user) {
            if self.control.stopped.load(Ordering::Relaxed) {
                return;
            }
            // A handler may be waiting to hand in its records.
            self.take_new(revalidator);
            std::thread::sleep(GRACE);
        }
        self.take_new(revalidator);
        if !self.is_paused() && revalidator.confirm_all(&in_use.snapshot, &self.settings()) {
            // What the megaflows counted so far is owed to the rules of the old tables.
            self.sweep(revalidator, &in_use.snapshot);
            let swept = revalidator.revalidate_all(&in_use.snapshot, &self.settings());
            self.carry_out(revalidator, swept);
        }
        *done = version;
        coverage::revalidate_pass.inc();
        // The event loop ends after its channel only.
        let _ = self.reports.send(Report::Done(version));
    }

    /// Credits what was counted, removes what is idle, adopts what an earlier daemon left.
    fn pass(&self, revalidator: &mut Revalidator) {
        let in_use = self.shared.take(self.user);
        self.take_new(revalidator);
        if self.is_paused() {
            return;
        }
        let begun = Instant::now();
        let flows = self.sweep(revalidator, &in_use.snapshot);
        let control = &self.control;
        control.flows.store(revalidator.len(), Ordering::Relaxed);
        let limit = revalidate::next_flow_limit(
            control.flow_limit.load(Ordering::Relaxed),
            control.configured_limit.load(Ordering::Relaxed),
            flows,
            begun.elapsed(),
        );
        control.flow_limit.store(limit, Ordering::Relaxed);
    }

    /// One dump; returns how many flows there were.
    fn sweep(&self, revalidator: &mut Revalidator, snapshot: &Snapshot) -> usize {
        coverage::dpif_flow_dump.inc();
        let begun = Instant::now();
        let mut dump = match self.dpif.flow_dump() {
            Ok(dump) => dump,
            Err(error) => {
                tracing::warn!("cannot read the datapath's megaflows: {error}");
                return 0;
            }
        };
        if !self.control.adopting.load(Ordering::Relaxed) {
            leave_unknown(revalidator, &mut dump);
        }
        let swept = revalidator.sweep(snapshot, &dump, begun, Instant::now(), &self.settings());
        self.carry_out(revalidator, swept);
        dump.len()
    }

    fn carry_out(&self, revalidator: &mut Revalidator, swept: Swept) {
        if !swept.effects.is_empty() {
            let _ = self.effects.blocking_send(swept.effects);
        }
        let mut ops = swept.ops;
        while !ops.is_empty() {
            for op in &ops {
                match op {
                    DpOp::FlowDel { .. } => coverage::dpif_flow_del.inc(),
                    _ => coverage::dpif_flow_put.inc(),
                }
            }
            let results = self.dpif.operate(&ops);
            let more = revalidator.settle(&ops, &results);
            // A deletion that fails does not lead to another one.
            ops = more;
        }
    }

    fn take_new(&self, revalidator: &mut Revalidator) {
        for ukeys in self.ukeys.try_iter() {
            revalidator.add(ukeys);
        }
    }

    fn is_paused(&self) -> bool {
        self.control.paused.load(Ordering::Relaxed)
    }

    fn settings(&self) -> Settings {
        Settings {
            max_idle: Duration::from_millis(self.control.max_idle_ms.load(Ordering::Relaxed)),
            flow_limit: self.control.flow_limit.load(Ordering::Relaxed),
            max_actions: self.dpif.limits().actions,
        }
    }
}

/// Takes from a dump what an earlier daemon left, while the tables are not what they were.
fn leave_unknown(revalidator: &Revalidator, dump: &mut Vec<FlowEntry>) {
    let known: HashSet<_, RandomState> = revalidator.ukeys().map(Ukey::id).collect();
    dump.retain(|entry| known.contains(&(entry.mask, entry.key.masked(&entry.mask))));
}
