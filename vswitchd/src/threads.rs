//! The packet threads and the ends of their channels that the event loop holds.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use anyhow::Context as _;
use dpif::Dpif;
use ofproto::snapshot::Snapshot;
use ofproto::upcall::Effect;
use tokio::sync::mpsc;

use crate::revalidator::{CaughtUp, Control, Records, RevalidatorThread, Wake};
use crate::shared::Shared;
use crate::upcall_thread::Handler;

/// Batches of effects that wait for the event loop; handlers wait when there are more.
const EFFECTS: usize = 256;
/// Batches of records of megaflows on their way to the revalidator; handlers wait when there are
/// more.
const UKEYS: usize = 4096;

pub struct Threads {
    shared: Arc<Shared>,
    pub control: Arc<Control>,
    pub effects: mpsc::Receiver<Vec<Effect>>,
    pub reports: mpsc::Receiver<CaughtUp>,
    records: Arc<Records>,
    dpif: Arc<dyn Dpif>,
    revalidator_user: usize,
    pub wake: crossbeam_channel::Sender<Wake>,
    published: u64,
    /// The revalidator does not know of what was published.
    behind: bool,
    joins: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts one thread for each upcall ring, and the revalidator.
    pub fn start(dpif: &Arc<dyn Dpif>, snapshot: Arc<Snapshot>) -> anyhow::Result<Threads> {
        let rings = dpif.upcall_rings();
        let published = snapshot.version;
        let shared = Arc::new(Shared::new(snapshot, rings.saturating_add(1)));
        let control = Arc::new(Control::new(dpif.limits().flows));
        let (effect_sender, effects) = mpsc::channel(EFFECTS);
        let (report_sender, reports) = mpsc::channel(1);
        let (ukey_sender, ukeys) = crossbeam_channel::bounded(UKEYS);
        // One wake-up is as good as many.
        let (wake, wakes) = crossbeam_channel::bounded(1);
        let mut joins = Vec::new();
        for ring in 0..rings {
            let handler = Handler {
                ring,
                dpif: Arc::clone(dpif),
                shared: Arc::clone(&shared),
                control: Arc::clone(&control),
                effects: effect_sender.clone(),
                ukeys: ukey_sender.clone(),
            };
            joins.push(spawn(format!("handler{ring}"), move || handler.run())?);
        }
        let records = Arc::new(Records::new(ukeys));
        let revalidator = RevalidatorThread {
            dpif: Arc::clone(dpif),
            shared: Arc::clone(&shared),
            user: rings,
            control: Arc::clone(&control),
            records: Arc::clone(&records),
            wake: wakes,
            reports: report_sender,
            effects: effect_sender,
        };
        joins.push(spawn("revalidator".to_owned(), move || revalidator.run())?);
        Ok(Threads {
            shared,
            control,
            effects,
            reports,
            records,
            dpif: Arc::clone(dpif),
            revalidator_user: rings,
            wake,
            published,
            behind: false,
            joins,
        })
    }

    /// Lets the threads use a snapshot from now on. With `awaited` somebody waits for the cache to
    /// agree with it.
    pub fn publish(&mut self, snapshot: &Arc<Snapshot>, awaited: bool) {
        if snapshot.version != self.published {
            self.published = snapshot.version;
            self.shared.publish(Arc::clone(snapshot));
            self.behind = true;
        }
        if !self.behind || (awaited && self.try_confirm(snapshot)) {
            self.behind = false;
            return;
        }
        self.behind = false;
        // A wake-up that is waiting already is for this snapshot, too.
        let _ = self.wake.try_send(Wake);
    }

    /// The version that every packet is answered by, or a later one.
    pub fn done(&self) -> u64 {
        self.records.done()
    }

    fn try_confirm(&self, snapshot: &Arc<Snapshot>) -> bool {
        let settings = self.control.settings(&*self.dpif);
        self.records
            .try_confirm(snapshot, &self.shared, self.revalidator_user, &settings)
    }

    /// Ends the threads and waits for them.
    pub fn stop(&mut self) {
        self.control.stopped.store(true, Ordering::Relaxed);
        let _ = self.wake.try_send(Wake);
        // A handler may be waiting to hand something in.
        self.effects.close();
        for join in self.joins.drain(..) {
            let _ = join.join();
        }
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            // Without this thread packets would go unanswered; a supervisor can start anew.
            if std::panic::catch_unwind(AssertUnwindSafe(run)).is_err() {
                std::process::abort();
            }
        })
        .with_context(|| format!("cannot start thread {name}"))
}
