//! Whether a sync waits a little for those who are about to ask for one too.
//!
//! Clients that are answered together ask again together. If the first of them to come had a sync
//! for itself, the others would have to wait for it to end and for another one: two groups would
//! take turns, each with half of what a sync could carry.

use std::time::{Duration, Instant};

use daemon::vigil::Patience;

/// The share of a sync's time that is spent on waiting, and the most.
const SHARE: u32 = 4;
const LONGEST: Duration = Duration::from_micros(200);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// How many transactions the next sync may carry: those that wait already and those whose
    /// clients were just answered.
    expected: usize,
    /// When waiting began, and how many there were.
    began: Option<(Instant, usize)>,
    patience: Patience,
}

impl Company {
    /// A sync has ended that answered some transactions, and some wait already.
    pub fn synced(&mut self, answered: usize, pending: usize) {
        self.expected = answered.saturating_add(pending);
    }

    /// Whether a sync that takes about so long is better begun later than now, when so many
    /// transactions are there for it. If not, it is taken to begin.
    pub fn awaited(&mut self, pending: usize, took: Duration, now: Instant) -> bool {
        if self.began.is_none() {
            if pending >= self.expected || self.patience.passes() {
                return false;
            }
            self.began = Some((now, pending));
        }
        let Some((began, first)) = self.began else {
            return false;
        };
        let patience = (took / SHARE).min(LONGEST);
        if pending < self.expected && now.saturating_duration_since(began) < patience {
            return true;
        }
        self.began = None;
        let wanted = self.expected.saturating_sub(first);
        let came = pending.saturating_sub(first);
        self.patience.learn(came > 0 && came >= wanted / 4);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(400);

    fn at(us: u64) -> Instant {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *START + Duration::from_micros(us)
    }

    #[test]
    fn who_was_answered_is_awaited_for_a_quarter_of_a_sync() {
        let mut company = Company::default();
        // Nobody else is known.
        assert!(!company.awaited(1, SYNC, at(0)));
        company.synced(8, 4);
        assert!(company.awaited(4, SYNC, at(500)));
        assert!(company.awaited(9, SYNC, at(560)));
        assert!(!company.awaited(12, SYNC, at(570)));
        company.synced(12, 0);
        assert!(company.awaited(1, SYNC, at(1000)));
        assert!(company.awaited(5, SYNC, at(1099)));
        assert!(!company.awaited(5, SYNC, at(1100)));
        // However long the sync.
        company.synced(5, 0);
        assert!(company.awaited(1, Duration::from_secs(1), at(2000)));
        assert!(!company.awaited(2, Duration::from_secs(1), at(2200)));
    }

    #[test]
    fn waiting_in_vain_is_tried_more_and_more_rarely() {
        let mut company = Company::default();
        let mut now = 0;
        let mut waited = Vec::new();
        for sync in 0..190 {
            company.synced(4, 1);
            now += 1000;
            if company.awaited(1, SYNC, at(now)) {
                waited.push(sync);
                assert!(!company.awaited(1, SYNC, at(now + 100)));
            }
        }
        assert_eq!(waited, [0, 2, 5, 10, 19, 36, 69, 134]);
        // One success and it is worth it again.
        company.patience = Patience::default();
        company.synced(4, 1);
        assert!(company.awaited(1, SYNC, at(now + 1000)));
        assert!(!company.awaited(5, SYNC, at(now + 1010)));
        company.synced(5, 0);
        assert!(company.awaited(1, SYNC, at(now + 1020)));
    }
}
