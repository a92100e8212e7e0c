//! Waiting for a few microseconds for what is about to come, where that pays.
//!
//! To sleep and to be woken takes longer than many a peer needs to ask again ([`Vigil`]). Waiting
//! is given up for longer and longer where nobody comes ([`Patience`]).

use std::time::{Duration, Instant};

/// How long an event loop looks for the next event before it sleeps.
const VIGIL: Duration = Duration::from_micros(30);

/// The most occasions that are let pass after waiting was in vain.
const MAX_PAUSE: u32 = 64;

/// How often waiting is tried.
#[derive(Debug, Default)]
pub struct Patience {
    /// Occasions to let pass.
    pause: u32,
    /// How many the last pause had.
    last: u32,
}

impl Patience {
    /// Whether to let this occasion pass.
    pub fn passes(&mut self) -> bool {
        let passes = self.pause > 0;
        self.pause = self.pause.saturating_sub(1);
        passes
    }

    /// What waiting on this occasion came to.
    pub fn learn(&mut self, paid: bool) {
        self.last = match paid {
            true => 0,
            false => self.last.saturating_mul(2).clamp(1, MAX_PAUSE),
        };
        self.pause = self.last;
    }
}

/// When to put off sleep.
#[derive(Debug, Default)]
pub struct Vigil {
    until: Option<Instant>,
    patience: Patience,
}

impl Vigil {
    /// Something came that may be followed by more.
    pub fn begin(&mut self, now: Instant) {
        if self.until.is_some() {
            self.patience.learn(true);
        }
        self.until = match self.patience.passes() {
            true => None,
            false => now.checked_add(VIGIL),
        };
    }

    /// Whether it is too early to sleep.
    pub fn lasts(&mut self, now: Instant) -> bool {
        let Some(until) = self.until else {
            return false;
        };
        if now < until {
            return true;
        }
        self.until = None;
        self.patience.learn(false);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Instant {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *START + Duration::from_micros(us)
    }

    #[test]
    fn sleep_is_put_off_where_requests_follow_one_another() {
        let mut vigil = Vigil::default();
        assert!(!vigil.lasts(at(0)));
        for turn in 0..100 {
            vigil.begin(at(turn * 20));
            assert!(vigil.lasts(at(turn * 20 + 19)));
        }
        assert!(!vigil.lasts(at(3000)));
        assert!(!vigil.lasts(at(3001)));
        let lasting = |vigil: &mut Vigil, turn: u64| {
            vigil.begin(at(4000 + turn * 1000));
            vigil.lasts(at(4001 + turn * 1000)) && !vigil.lasts(at(4500 + turn * 1000))
        };
        let mut turns = Vec::new();
        for turn in 0..200u64 {
            if lasting(&mut vigil, turn) {
                turns.push(turn);
            }
        }
        assert_eq!(turns, [1, 4, 9, 18, 35, 68, 133, 198]);
    }
}
