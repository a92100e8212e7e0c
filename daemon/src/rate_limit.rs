//! Bounds how often one place logs, so that traffic or a broken peer cannot fill a disk.
//!
//! Source: OVS `lib/vlog.c`, `vlog_should_drop` (token bucket per call site).

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A token bucket for one log call site: a `burst` at once, then `per_minute`.
///
/// ```
/// use daemon::rate_limit::RateLimit;
/// static LIMIT: RateLimit = RateLimit::new(5, 5);
/// if let Some(dropped) = LIMIT.allow(std::time::Instant::now()) {
///     tracing::warn!("malformed message{dropped}");
/// }
/// ```
#[derive(Debug)]
pub struct RateLimit {
    per_minute: u32,
    burst: u32,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    tokens: u32,
    last_fill: Instant,
    dropped: u64,
    first_dropped: Option<Instant>,
}

/// How many messages were not logged since the last one that was. Prints as nothing when none
/// were, else as a suffix for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub count: u64,
    pub over: Duration,
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.count {
            0 => Ok(()),
            n => write!(
                f,
                " ({n} such messages dropped in the last {} seconds)",
                self.over.as_secs()
            ),
        }
    }
}

impl RateLimit {
    pub const fn new(per_minute: u32, burst: u32) -> Self {
        RateLimit {
            per_minute,
            burst,
            state: Mutex::new(None),
        }
    }

    /// `Some` when a message may be logged at `now`.
    pub fn allow(&self, now: Instant) -> Option<Dropped> {
        let mut guard = match self.state.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        };
        let state = guard.get_or_insert_with(|| State {
            tokens: self.burst,
            last_fill: now,
            dropped: 0,
            first_dropped: None,
        });
        if self.per_minute > 0 {
            let per_token = Duration::from_secs(60) / self.per_minute;
            let elapsed = now.saturating_duration_since(state.last_fill);
            let earned =
                u32::try_from(elapsed.as_nanos() / per_token.as_nanos().max(1)).unwrap_or(u32::MAX);
            if earned > 0 {
                state.tokens = state.tokens.saturating_add(earned).min(self.burst);
                // Less than one token's time is kept for the next call.
                state.last_fill = per_token
                    .checked_mul(earned)
                    .and_then(|time| state.last_fill.checked_add(time))
                    .filter(|fill| *fill <= now)
                    .unwrap_or(now);
            }
        }
        if state.tokens == 0 {
            state.dropped = state.dropped.saturating_add(1);
            state.first_dropped.get_or_insert(now);
            return None;
        }
        state.tokens = state.tokens.saturating_sub(1);
        let over = state
            .first_dropped
            .take()
            .map(|first| now.saturating_duration_since(first))
            .unwrap_or_default();
        Some(Dropped {
            count: std::mem::take(&mut state.dropped),
            over,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_then_rate() {
        let limit = RateLimit::new(60, 3);
        let start = Instant::now();
        let allowed = (0..10).filter(|_| limit.allow(start).is_some()).count();
        assert_eq!(allowed, 3);
        let later = start + Duration::from_millis(1100);
        let dropped = limit.allow(later).unwrap();
        assert_eq!(dropped.count, 7);
        assert!(limit.allow(later).is_none());
    }
}
