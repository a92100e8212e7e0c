//! When to connect, when to probe and when to give up: a state machine without I/O.
//!
//! The caller tells what happened (`handle_*`, each with the time), asks what to do
//! ([`Reconnect::poll`]) and sleeps until [`Reconnect::deadline`].
//!
//! ```text
//!            connect                    connected
//! Backoff ────────────► Connecting ─────────────────► Active ──(silence: probe)──► Idle
//!    ▲                      │ failed, timed out          │ closed                   │ silence
//!    └──────────────────────┴────────────────────────────┴──────────────────────────┘
//! ```
//!
//! The back-off doubles from `min_backoff` to `max_backoff` with each attempt that does not lead
//! to a connection which lives at least as long as the back-off.
//!
//! Source: OVS `lib/reconnect.c`; defaults of ovs-vswitchd.conf.db(5), Controller.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub min_backoff: Duration,
    pub max_backoff: Duration,
    /// Silence after which the peer is asked for a sign of life, and after as much again given
    /// up. `None` turns probes off.
    pub probe_interval: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(8),
            probe_interval: Some(Duration::from_secs(5)),
        }
    }
}

/// What the caller should do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start to connect.
    Connect,
    /// Close the connection, or stop connecting: the peer did not answer in time.
    Disconnect,
    /// Send an echo request.
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Backoff {
        until: Instant,
    },
    /// `poll` said `Connect`.
    Connecting {
        since: Instant,
    },
    Active {
        since: Instant,
        last_heard: Instant,
    },
    /// `poll` said `Probe`.
    Idle {
        since: Instant,
        probed: Instant,
    },
    /// `poll` said `Disconnect`; waits for `handle_disconnected`.
    Closing,
}

/// The names that the database columns `Controller.status:state` and `Manager.status:state` use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateName {
    Backoff,
    Connecting,
    Active,
    Idle,
}

impl StateName {
    pub fn as_str(self) -> &'static str {
        match self {
            StateName::Backoff => "BACKOFF",
            StateName::Connecting => "CONNECTING",
            StateName::Active => "ACTIVE",
            StateName::Idle => "IDLE",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Reconnect {
    config: Config,
    state: State,
    backoff: Duration,
    last_connected: Option<Instant>,
    last_disconnected: Option<Instant>,
}

impl Reconnect {
    /// Wants to connect at once.
    pub fn new(config: Config, now: Instant) -> Reconnect {
        Reconnect {
            config,
            state: State::Backoff { until: now },
            backoff: Duration::ZERO,
            last_connected: None,
            last_disconnected: None,
        }
    }

    /// Takes new limits into effect without breaking a connection.
    pub fn set_config(&mut self, config: Config, now: Instant) {
        self.config = config;
        self.backoff = self.backoff.min(config.max_backoff);
        if let State::Backoff { until } = &mut self.state {
            *until = (*until).min(after(now, self.backoff));
        }
    }

    pub fn config(&self) -> Config {
        self.config
    }

    /// What to do at `now`; `None` when only to wait. Ask until it says `None`.
    pub fn poll(&mut self, now: Instant) -> Option<Action> {
        if now < self.deadline()? {
            return None;
        }
        match self.state {
            State::Backoff { .. } => {
                self.state = State::Connecting { since: now };
                Some(Action::Connect)
            }
            State::Connecting { .. } | State::Idle { .. } => {
                self.state = State::Closing;
                Some(Action::Disconnect)
            }
            State::Active { since, .. } => {
                self.state = State::Idle { since, probed: now };
                Some(Action::Probe)
            }
            State::Closing => None,
        }
    }

    /// When `poll` has something to say next; `None` when only an input can change anything.
    pub fn deadline(&self) -> Option<Instant> {
        let probe = self.config.probe_interval.filter(|d| !d.is_zero());
        match self.state {
            State::Backoff { until } => Some(until),
            State::Connecting { since } => {
                Some(after(since, self.backoff.max(Duration::from_secs(1))))
            }
            State::Active { last_heard, .. } => probe.map(|probe| after(last_heard, probe)),
            State::Idle { probed, .. } => probe.map(|probe| after(probed, probe)),
            State::Closing => None,
        }
    }

    pub fn handle_connected(&mut self, now: Instant) {
        self.last_connected = Some(now);
        self.state = State::Active {
            since: now,
            last_heard: now,
        };
    }

    /// Any bytes from the peer are a sign of life.
    pub fn handle_activity(&mut self, now: Instant) {
        if let State::Active { since, .. } | State::Idle { since, .. } = self.state {
            self.state = State::Active {
                since,
                last_heard: now,
            };
        }
    }

    /// The connection ended, or an attempt failed, or `Disconnect` was carried out.
    pub fn handle_disconnected(&mut self, now: Instant) {
        let lived = match (self.state, self.last_connected) {
            (State::Active { since, .. } | State::Idle { since, .. }, _) => {
                now.saturating_duration_since(since)
            }
            (State::Closing, Some(connected))
                if self.last_disconnected.is_none_or(|gone| gone < connected) =>
            {
                now.saturating_duration_since(connected)
            }
            _ => Duration::ZERO,
        };
        if self
            .last_connected
            .is_some_and(|at| self.last_disconnected.is_none_or(|gone| gone < at))
        {
            self.last_disconnected = Some(now);
        }
        self.backoff = if !lived.is_zero() && lived >= self.backoff {
            self.config.min_backoff
        } else {
            self.backoff.saturating_mul(2).clamp(
                self.config.min_backoff,
                self.config.max_backoff.max(self.config.min_backoff),
            )
        };
        self.state = State::Backoff {
            until: after(now, self.backoff),
        };
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.state, State::Active { .. } | State::Idle { .. })
    }

    pub fn state(&self) -> StateName {
        match self.state {
            State::Backoff { .. } | State::Closing => StateName::Backoff,
            State::Connecting { .. } => StateName::Connecting,
            State::Active { .. } => StateName::Active,
            State::Idle { .. } => StateName::Idle,
        }
    }

    pub fn last_connected(&self) -> Option<Instant> {
        self.last_connected
    }

    pub fn last_disconnected(&self) -> Option<Instant> {
        self.last_disconnected
    }
}

fn after(time: Instant, delay: Duration) -> Instant {
    // A delay that no clock can express is as good as a day.
    time.checked_add(delay)
        .or_else(|| time.checked_add(Duration::from_secs(86_400)))
        .unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn backoff_doubles_and_is_reset_by_a_lasting_connection() {
        let mut now = Instant::now();
        let mut r = Reconnect::new(Config::default(), now);
        let mut delays = Vec::new();
        for _ in 0..6 {
            assert_eq!(r.poll(now), Some(Action::Connect));
            assert_eq!(r.poll(now), None);
            r.handle_disconnected(now);
            let next = r.deadline().unwrap();
            delays.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(delays, [1, 2, 4, 8, 8, 8]);
        assert_eq!(r.poll(now), Some(Action::Connect));
        r.handle_connected(now);
        now += 20 * SECOND;
        r.handle_activity(now);
        r.handle_disconnected(now);
        assert_eq!(r.deadline(), Some(now + SECOND));
        assert_eq!(r.last_disconnected(), Some(now));
    }

    #[test]
    fn probes_then_gives_up() {
        let mut now = Instant::now();
        let mut r = Reconnect::new(Config::default(), now);
        assert_eq!(r.poll(now), Some(Action::Connect));
        r.handle_connected(now);
        assert_eq!(r.poll(now), None);
        now += 5 * SECOND;
        assert_eq!(r.poll(now), Some(Action::Probe));
        assert_eq!(r.state(), StateName::Idle);
        r.handle_activity(now + SECOND);
        assert_eq!(r.state(), StateName::Active);
        now += 6 * SECOND;
        assert_eq!(r.poll(now), Some(Action::Probe));
        now += 5 * SECOND;
        assert_eq!(r.poll(now), Some(Action::Disconnect));
        assert_eq!(r.poll(now), None);
        r.handle_disconnected(now);
        assert!(!r.is_connected());
        assert_eq!(r.poll(now), None);
        assert_eq!(r.poll(now + SECOND), Some(Action::Connect));
    }

    #[test]
    fn no_probes_when_turned_off() {
        let now = Instant::now();
        let config = Config {
            probe_interval: None,
            ..Config::default()
        };
        let mut r = Reconnect::new(config, now);
        r.poll(now);
        r.handle_connected(now);
        assert_eq!(r.deadline(), None);
    }
}
