//! A thread that answers one upcall ring: receives, translates against the newest snapshot, and
//! gives the datapath its operations.
//!
//! It keeps nothing between batches. What is to happen besides forwarding goes to the event loop,
//! records of installed megaflows go to the revalidator.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dpif::{DpOp, Dpif, Upcall};
use tokio::sync::mpsc;

use crate::coverage;
use crate::packets::{Answer, Consequence, NewUkey, answer};
use crate::revalidator::Control;
use crate::shared::Shared;

/// Upcalls of one batch.
const BATCH: usize = 64;
/// How soon the thread notices that it should end or pause.
const WAIT: Duration = Duration::from_millis(100);

/// Everything that a handler thread works with.
pub struct Handler {
    /// Also its number among the users of snapshots.
    pub ring: usize,
    pub dpif: Arc<dyn Dpif>,
    pub shared: Arc<Shared>,
    pub control: Arc<Control>,
    pub consequences: mpsc::Sender<Vec<Consequence>>,
    pub ukeys: crossbeam_channel::Sender<NewUkey>,
}

impl Handler {
    /// Runs until the daemon ends.
    pub fn run(self) {
        let mut upcalls = Vec::with_capacity(BATCH);
        let max_actions = self.dpif.limits().actions;
        while !self.control.stopped.load(Ordering::Relaxed) {
            if self.control.paused.load(Ordering::Relaxed) {
                std::thread::sleep(WAIT);
                continue;
            }
            match self.dpif.recv(self.ring, WAIT, BATCH, &mut upcalls) {
                Ok(_) => self.answer(&mut upcalls, max_actions),
                Err(error) => {
                    tracing::warn!("upcall ring {}: {error}", self.ring);
                    std::thread::sleep(WAIT);
                }
            }
        }
    }

    fn answer(&self, upcalls: &mut Vec<Upcall>, max_actions: usize) {
        if upcalls.is_empty() {
            return;
        }
        coverage::dpif_upcall.add(upcalls.len() as u64);
        let in_use = self.shared.take(self.ring);
        let now = Instant::now();
        let mut ops = Vec::with_capacity(upcalls.len().saturating_mul(2));
        let mut puts = Vec::new();
        let mut consequences = Vec::new();
        for upcall in upcalls.drain(..) {
            let Answer {
                put,
                execute,
                consequences: more,
            } = answer(&in_use.snapshot, upcall, max_actions, now);
            consequences.extend(more);
            if let Some(ukey) = put {
                if self.control.has_room() {
                    ops.push(DpOp::FlowPut {
                        key: ukey.key,
                        mask: ukey.mask,
                        actions: ukey.actions.clone(),
                        replace: false,
                    });
                    puts.push((ops.len().saturating_sub(1), ukey));
                } else {
                    coverage::upcall_flow_limit_hit.inc();
                }
            }
            if let Some(op) = execute {
                coverage::dpif_execute.inc();
                ops.push(op);
            }
        }
        // What was learnt must be on its way before an answer to these packets can come.
        if !consequences.is_empty() {
            // The event loop ends after its channel only.
            let _ = self.consequences.blocking_send(consequences);
        }
        let results = self.dpif.operate(&ops);
        for (at, ukey) in puts {
            match results.get(at) {
                Some(Ok(())) => {
                    coverage::dpif_flow_put.inc();
                    self.control.flows.fetch_add(1, Ordering::Relaxed);
                    let _ = self.ukeys.send(ukey);
                }
                // The same megaflow was installed for another packet of this batch or ring.
                Some(Err(dpif::Error::Exists)) => coverage::upcall_ukey_contention.inc(),
                Some(Err(error)) => self.complain(error),
                None => {}
            }
        }
    }

    fn complain(&self, error: &dpif::Error) {
        use daemon::rate_limit::RateLimit;
        static LIMIT: RateLimit = RateLimit::new(5, 5);
        coverage::dpif_operate_error.inc();
        if let Some(dropped) = LIMIT.allow(Instant::now()) {
            tracing::warn!("cannot install a megaflow: {error}{dropped}");
        }
    }
}
