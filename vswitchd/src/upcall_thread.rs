//! A thread that answers one upcall ring: receives, lets `ofproto` answer against the newest
//! snapshot, and gives the datapath its operations.
//!
//! It keeps nothing between batches. What is to happen besides forwarding goes to the event loop,
//! records of installed megaflows go to the revalidator.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use daemon::rate_limit::RateLimit;
use dpif::{DpOp, Dpif, Error, Upcall};
use ofproto::ukey::Ukey;
use ofproto::upcall::{self, Effect, Settings};
use tokio::sync::mpsc;

use crate::coverage;
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
    pub effects: mpsc::Sender<Vec<Effect>>,
    pub ukeys: crossbeam_channel::Sender<Vec<Ukey>>,
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
            upcalls.clear();
            match self.dpif.recv(self.ring, WAIT, BATCH, &mut upcalls) {
                Ok(0) => {}
                Ok(_) => self.answer(&upcalls, max_actions),
                Err(error) => {
                    static LIMIT: RateLimit = RateLimit::new(5, 5);
                    if let Some(dropped) = LIMIT.allow(Instant::now()) {
                        tracing::warn!("upcall ring {}: {error}{dropped}", self.ring);
                    }
                    std::thread::sleep(WAIT);
                }
            }
        }
    }

    fn answer(&self, upcalls: &[Upcall], max_actions: usize) {
        coverage::dpif_upcall.add(upcalls.len() as u64);
        let in_use = self.shared.take(self.ring);
        let settings = Settings {
            max_actions,
            install: self.control.has_room(),
        };
        if !settings.install {
            coverage::upcall_flow_limit_hit.inc();
        }
        let mut handled = upcall::handle(&in_use.snapshot, upcalls, settings, Instant::now());
        // What was learnt must be on its way before an answer to these packets can come.
        let effects = std::mem::take(&mut handled.effects);
        if !effects.is_empty() {
            // The event loop ends after its channel only.
            let _ = self.effects.blocking_send(effects);
        }
        let results = self.dpif.operate(&handled.ops);
        self.count(&handled.ops, &results);
        let installed = handled.installed(&results);
        if !installed.is_empty() {
            self.control
                .flows
                .fetch_add(installed.len(), Ordering::Relaxed);
            // It must be there before `in_use` says that the snapshot is out of use.
            let _ = self.ukeys.send(installed);
        }
    }

    fn count(&self, ops: &[DpOp], results: &[Result<(), Error>]) {
        static LIMIT: RateLimit = RateLimit::new(5, 5);
        for (op, result) in ops.iter().zip(results) {
            match (op, result) {
                (DpOp::FlowPut { .. }, Ok(())) => coverage::dpif_flow_put.inc(),
                // The same megaflow was installed for another packet.
                (DpOp::FlowPut { .. }, Err(Error::Exists)) => {
                    coverage::upcall_ukey_contention.inc();
                }
                (DpOp::FlowPut { .. }, Err(error)) => {
                    coverage::dpif_operate_error.inc();
                    if let Some(dropped) = LIMIT.allow(Instant::now()) {
                        tracing::warn!("cannot install a megaflow: {error}{dropped}");
                    }
                }
                (DpOp::Execute { .. }, _) => coverage::dpif_execute.inc(),
                (DpOp::FlowDel { .. }, _) => {}
            }
        }
    }
}
