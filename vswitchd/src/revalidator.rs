//! The thread that owns `ofproto`'s revalidator: dumps the datapath's flows twice a second, and
//! catches up with every published snapshot.
//!
//! Once it has caught up it tells the event loop, which lets barrier replies go. That a packet is
//! answered by nothing older takes three things: every handler is past older snapshots, their
//! records of installed megaflows have been taken, and all megaflows have been translated again.
//!
//! Most flow-mods concern no megaflow. While there are few of those, the event loop finds that out
//! by itself ([`Records::try_confirm`]) rather than wait for two changes of thread.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ahash::RandomState;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use daemon::rate_limit::RateLimit;
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

    pub fn settings(&self, dpif: &dyn Dpif) -> Settings {
        Settings {
            max_idle: Duration::from_millis(self.max_idle_ms.load(Ordering::Relaxed)),
            flow_limit: self.flow_limit.load(Ordering::Relaxed),
            max_actions: dpif.limits().actions,
        }
    }

    pub fn has_room(&self) -> bool {
        self.flows.load(Ordering::Relaxed) < self.flow_limit.load(Ordering::Relaxed)
    }
}

/// A snapshot was published: the revalidator should not sleep.
#[derive(Debug)]
pub struct Wake;

/// The revalidator has caught up: [`Records::done`] says how far.
#[derive(Debug)]
pub struct CaughtUp;

/// The records of all megaflows. They are the revalidator thread's; the event loop looks at them
/// when the thread does not.
pub struct Records {
    revalidator: Mutex<Revalidator>,
    /// Records of megaflows that handlers have installed.
    new: Receiver<Vec<Ukey>>,
    /// The version that every packet is answered by, or a later one.
    done: AtomicU64,
}

/// With more megaflows the event loop would stand still for too long.
const FEW: usize = 1024;

impl Records {
    pub fn new(new: Receiver<Vec<Ukey>>) -> Records {
        Records {
            revalidator: Mutex::new(Revalidator::new()),
            new,
            done: AtomicU64::new(0),
        }
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }

    /// Finds out whether the cache is right for the newest snapshot as it is, if that can be told
    /// at once.
    pub fn try_confirm(
        &self,
        snapshot: &Arc<Snapshot>,
        shared: &Shared,
        user: usize,
        settings: &Settings,
    ) -> bool {
        let Ok(mut revalidator) = self.revalidator.try_lock() else {
            return false;
        };
        if !shared.is_past_but(snapshot.version, user) {
            return false;
        }
        self.take_new(&mut revalidator);
        if revalidator.len() > FEW || revalidator.confirm_all(snapshot, settings) {
            return false;
        }
        self.done.fetch_max(snapshot.version, Ordering::SeqCst);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Revalidator> {
        match self.revalidator.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    fn take_new(&self, revalidator: &mut Revalidator) {
        for ukeys in self.new.try_iter() {
            revalidator.add(ukeys);
        }
    }
}

/// Everything that the thread works with.
pub struct RevalidatorThread {
    pub dpif: Arc<dyn Dpif>,
    pub shared: Arc<Shared>,
    /// Its number among the users of snapshots.
    pub user: usize,
    pub control: Arc<Control>,
    pub records: Arc<Records>,
    pub wake: Receiver<Wake>,
    pub reports: mpsc::Sender<CaughtUp>,
    pub effects: mpsc::Sender<Vec<Effect>>,
}

impl RevalidatorThread {
    /// Runs until the daemon ends.
    pub fn run(self) {
        let mut next_pass = Instant::now();
        while !self.control.stopped.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next_pass {
                self.pass();
                next_pass = now + PASS;
            }
            let pause = next_pass.saturating_duration_since(Instant::now());
            match self.wake.recv_timeout(pause) {
                // Many published snapshots are caught up with at once.
                Ok(Wake) => self.wake.try_iter().for_each(drop),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.catch_up();
        }
    }

    /// Brings the cache to the newest snapshot, and says so.
    fn catch_up(&self) {
        let revalidator = &mut *self.records.lock();
        let in_use = self.shared.take(self.user);
        let version = in_use.snapshot.version;
        if version <= self.records.done() {
            return;
        }
        // Whoever began with an older snapshot may still install a megaflow made from it.
        while !self.shared.is_past_but(version, self.user) {
            if self.control.stopped.load(Ordering::Relaxed) {
                return;
            }
            // A handler may be waiting to hand in its records.
            self.records.take_new(revalidator);
            std::thread::sleep(GRACE);
        }
        self.records.take_new(revalidator);
        if !self.is_paused() && revalidator.confirm_all(&in_use.snapshot, &self.settings()) {
            // What the megaflows counted so far is owed to the rules of the old tables.
            self.sweep(revalidator, &in_use.snapshot);
            let swept = revalidator.revalidate_all(&in_use.snapshot, &self.settings());
            self.carry_out(revalidator, swept);
        }
        self.records.done.fetch_max(version, Ordering::SeqCst);
        coverage::revalidate_pass.inc();
        // A report that is waiting already is as good.
        let _ = self.reports.try_send(CaughtUp);
    }

    /// Credits what was counted, removes what is idle, adopts what an earlier daemon left.
    fn pass(&self) {
        let revalidator = &mut *self.records.lock();
        let in_use = self.shared.take(self.user);
        self.records.take_new(revalidator);
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
                static LIMIT: RateLimit = RateLimit::new(5, 5);
                if let Some(dropped) = LIMIT.allow(begun) {
                    tracing::warn!("cannot read the datapath's megaflows: {error}{dropped}");
                }
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

    fn is_paused(&self) -> bool {
        self.control.paused.load(Ordering::Relaxed)
    }

    fn settings(&self) -> Settings {
        self.control.settings(&*self.dpif)
    }
}

/// Takes from a dump what an earlier daemon left, while the tables are not what they were.
fn leave_unknown(revalidator: &Revalidator, dump: &mut Vec<FlowEntry>) {
    let known: HashSet<_, RandomState> = revalidator.ukeys().map(Ukey::id).collect();
    dump.retain(|entry| known.contains(&(entry.mask, entry.key.masked(&entry.mask))));
}
