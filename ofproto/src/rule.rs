//! `Rule`: one OpenFlow flow entry.
//!
//! A rule never changes: modifying one puts a new rule in its place, which shares the counters of
//! the old one. So a snapshot goes on showing what it showed, while whoever still holds the old
//! rule credits its packets to counters that are shown. Counters are atomic because handler
//! threads, the revalidator and the main thread credit them.
//!
//! Source: OpenFlow 1.3.5, 5.2.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openflow::message::FlowModFlags;
use openflow::{Action, Match};

use crate::classifier::Classified;
use crate::classifier_pattern::Pattern;

/// Priority of the hidden rule that makes a bridge forward while its controllers are gone; above
/// all that OpenFlow can express.
pub const FAIL_OPEN_PRIORITY: u32 = 0x00f0_f0f0;

/// A flow entry.
#[derive(Debug)]
pub struct Rule {
    /// Unique in the process, in order of creation; a modified rule keeps its serial.
    pub serial: u64,
    /// Of the same order as serials: when the rule was added or last modified.
    pub changed: u64,
    pub table_id: u8,
    /// 0 to 65535; above that the rule is hidden.
    pub priority: u32,
    pub pattern: Pattern,
    pub cookie: u64,
    /// Seconds without a packet after which the rule expires, 0 for never.
    pub idle_timeout: u16,
    /// Seconds after creation or modification at which the rule expires, 0 for never.
    pub hard_timeout: u16,
    /// What is less important gives way first; statistics show it.
    pub importance: u16,
    /// As the flow-mod had them; statistics show them.
    pub flags: FlowModFlags,
    /// Actions and instructions; an empty list drops.
    pub actions: Arc<[Action]>,
    pub created: Instant,
    /// When the rule was added or last modified; the hard timeout counts from here.
    pub modified: Instant,
    pub stats: Arc<RuleStats>,
}

/// A rule's counters.
#[derive(Debug)]
pub struct RuleStats {
    base: Instant,
    packets: AtomicU64,
    bytes: AtomicU64,
    /// Nanoseconds after `base` at which a packet last matched.
    used_ns: AtomicU64,
}

impl Classified for Rule {
    fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    fn priority(&self) -> u32 {
        self.priority
    }
}

impl Rule {
    /// The match as OpenFlow has it.
    pub fn to_match(&self) -> Match {
        self.pattern.to_match()
    }

    /// Hidden rules are neither listed nor changed by controllers.
    pub fn is_hidden(&self) -> bool {
        self.priority > 0xffff
    }

    /// When the rule is due to expire as things stand, and why.
    pub fn expiry(&self) -> Option<(Instant, Timeout)> {
        let secs = |n: u16| Duration::from_secs(n.into());
        let hard = (self.hard_timeout != 0)
            .then(|| (self.modified + secs(self.hard_timeout), Timeout::Hard));
        let idle = (self.idle_timeout != 0)
            .then(|| (self.stats.used() + secs(self.idle_timeout), Timeout::Idle));
        match (hard, idle) {
            (Some(h), Some(i)) => Some(if i.0 < h.0 { i } else { h }),
            (hard, idle) => hard.or(idle),
        }
    }
}

/// Which of a rule's timeouts ran out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeout {
    Idle,
    Hard,
}

impl RuleStats {
    /// Counters at zero; the rule counts as used `now`.
    pub fn new(now: Instant) -> RuleStats {
        RuleStats {
            base: now,
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            used_ns: AtomicU64::new(0),
        }
    }

    /// Adds packets that matched, the last of them at `used`.
    pub fn credit(&self, packets: u64, bytes: u64, used: Instant) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let ns = used.saturating_duration_since(self.base).as_nanos();
        let ns = u64::try_from(ns).unwrap_or(u64::MAX);
        self.used_ns.fetch_max(ns, Ordering::Relaxed);
    }

    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When a packet last matched, or when counting began.
    pub fn used(&self) -> Instant {
        let ns = Duration::from_nanos(self.used_ns.load(Ordering::Relaxed));
        self.base.checked_add(ns).unwrap_or(self.base)
    }

    /// Counters that start with the values of these; the rule counts as used at `used`.
    pub fn carried_over(&self, used: Instant) -> RuleStats {
        let stats = RuleStats::new(used);
        stats.packets.store(self.packets(), Ordering::Relaxed);
        stats.bytes.store(self.bytes(), Ordering::Relaxed);
        stats
    }
}
