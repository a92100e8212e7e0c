//! What the event loop and the packet threads share: the newest snapshot, and which snapshot each
//! thread is using.
//!
//! The event loop publishes; threads read. A thread says which version it works with before it
//! uses it, so that somebody who must know that an old snapshot is out of use can wait for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use ofproto::snapshot::Snapshot;

/// No snapshot is in use.
const IDLE: u64 = u64::MAX;
/// One is about to be taken; it may be any that was published by now.
const TAKING: u64 = 0;

pub struct Shared {
    snapshot: ArcSwap<Snapshot>,
    users: Vec<AtomicU64>,
}

impl Shared {
    /// For `users` threads, numbered from 0.
    pub fn new(snapshot: Arc<Snapshot>, users: usize) -> Shared {
        Shared {
            snapshot: ArcSwap::new(snapshot),
            users: (0..users).map(|_| AtomicU64::new(IDLE)).collect(),
        }
    }

    /// Makes `snapshot` the one that everybody takes from now on.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
    }

    /// The newest snapshot, in use by thread `user` until the guard is dropped.
    pub fn take(&self, user: usize) -> InUse<'_> {
        // The store must be seen by whoever looks for old users before the load happens, so both
        // are sequentially consistent.
        if let Some(slot) = self.users.get(user) {
            slot.store(TAKING, Ordering::SeqCst);
        }
        let snapshot = self.snapshot.load_full();
        if let Some(slot) = self.users.get(user) {
            slot.store(snapshot.version.max(1), Ordering::SeqCst);
        }
        InUse {
            snapshot,
            slot: self.users.get(user),
        }
    }

    /// True when no thread but `user` uses a snapshot older than `version`, nor will: to be asked
    /// after `version` was published.
    pub fn is_past_but(&self, version: u64, user: usize) -> bool {
        self.users
            .iter()
            .enumerate()
            .all(|(number, slot)| number == user || slot.load(Ordering::SeqCst) >= version)
    }
}

/// A snapshot in use.
pub struct InUse<'a> {
    pub snapshot: Arc<Snapshot>,
    slot: Option<&'a AtomicU64>,
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            slot.store(IDLE, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(version: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            version,
            ..Snapshot::default()
        })
    }

    #[test]
    fn old_users_are_seen() {
        let shared = Shared::new(snapshot(1), 2);
        assert!(shared.is_past_but(1, 9));
        let old = shared.take(0);
        shared.publish(snapshot(2));
        let new = shared.take(1);
        assert_eq!(new.snapshot.version, 2);
        assert!(shared.is_past_but(1, 9));
        assert!(!shared.is_past_but(2, 9));
        drop(old);
        assert!(shared.is_past_but(2, 9));
    }
}
