//! Event counters, as `coverage/show` lists them: how often the daemon did each kind of work, and
//! how often per second of late.
//!
//! Counting is one atomic addition; the event loop calls [`tick`] every five seconds to keep the
//! history. Source: ovs-appctl(8), "COVERAGE COMMANDS"; the names that Open vSwitch has for the
//! same event are kept, because monitoring asks for them.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])* #[allow(non_upper_case_globals)]
        pub static $name: Counter = Counter::new(stringify!($name));)*

        static ALL: &[&Counter] = &[$(&$name,)*];
    };
}

counters! {
    /// Configurations carried out.
    bridge_reconfigure;
    /// Packets that the datapath sent up.
    dpif_upcall;
    dpif_execute;
    dpif_flow_put;
    dpif_flow_del;
    dpif_flow_dump;
    dpif_port_add;
    dpif_port_del;
    dpif_operate_error;
    /// A megaflow was not installed because there are enough.
    upcall_flow_limit_hit;
    /// Another handler installed the same megaflow first.
    upcall_ukey_contention;
    revalidate_pass;
    ofproto_packet_out;
    ofproto_recv_openflow;
    rconn_sent;
    /// Packet-ins that a slow controller missed.
    rconn_overflow;
    netlink_received;
    unixctl_received;
}

/// One counter.
pub struct Counter {
    name: &'static str,
    total: AtomicU64,
}

impl Counter {
    const fn new(name: &'static str) -> Counter {
        Counter {
            name,
            total: AtomicU64::new(0),
        }
    }

    pub fn add(&self, n: u64) {
        self.total.fetch_add(n, Ordering::Relaxed);
    }

    pub fn inc(&self) {
        self.add(1);
    }

    fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

/// Seconds between two calls of [`tick`].
pub const TICK_SECONDS: u64 = 5;
/// An hour of ticks.
const HISTORY: usize = 720;
const MINUTE: usize = 12;

/// Totals at past ticks, the newest last.
static HISTORIES: Mutex<VecDeque<Vec<u64>>> = Mutex::new(VecDeque::new());

/// Notes the totals; to be called every [`TICK_SECONDS`].
pub fn tick() {
    let mut history = lock();
    if history.len() > HISTORY {
        history.pop_front();
    }
    history.push_back(ALL.iter().map(|counter| counter.total()).collect());
}

/// `coverage/show`.
pub fn show() -> String {
    let history = lock();
    let mut text =
        "Event coverage, avg rate over last: 5 seconds, last minute, last hour:\n".to_owned();
    let mut never = 0u32;
    for (index, counter) in ALL.iter().enumerate() {
        let total = counter.total();
        if total == 0 {
            never = never.saturating_add(1);
            continue;
        }
        let rate = |ticks: usize| {
            let newest = history.len().checked_sub(1);
            let at = |tick: usize| {
                history
                    .get(tick)
                    .and_then(|totals| totals.get(index))
                    .copied()
                    .unwrap_or(0)
            };
            let (Some(newest), seconds) = (newest, ticks as u64 * TICK_SECONDS) else {
                return 0.0;
            };
            let before = newest.checked_sub(ticks).map_or(0, at);
            at(newest).saturating_sub(before) as f64 / seconds as f64
        };
        let _ = writeln!(
            text,
            "{:<24} {:5.1}/sec {:9.3}/sec {:13.4}/sec   total: {total}",
            counter.name,
            rate(1),
            rate(MINUTE),
            rate(HISTORY),
        );
    }
    let _ = writeln!(text, "{never} events never hit");
    text
}

/// `coverage/read-counter COUNTER`.
pub fn read(name: &str) -> Result<String, String> {
    ALL.iter()
        .find(|counter| counter.name == name)
        .map(|counter| format!("{}\n", counter.total()))
        .ok_or_else(|| "No such counter".to_owned())
}

fn lock() -> std::sync::MutexGuard<'static, VecDeque<Vec<u64>>> {
    match HISTORIES.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        tick();
        unixctl_received.add(10);
        tick();
        let text = show();
        assert!(
            text.contains(
                "unixctl_received           2.0/sec     0.167/sec        0.0028/sec   total: 10\n"
            ),
            "{text}"
        );
        assert_eq!(read("unixctl_received"), Ok("10\n".to_owned()));
        assert!(read("nope").is_err());
    }
}
