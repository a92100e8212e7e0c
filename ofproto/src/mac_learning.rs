//! MAC learning table of a bridge: on which port each station of each VLAN was seen last.
//!
//! Source: IEEE 802.1Q, 8.8 (filtering database); limits, fairness and text as OVS
//! `lib/mac-learning.c`. `xlate` (the NORMAL action) reads a [`MacView`], the immutable part that
//! a snapshot holds, and asks for learning with an effect; the owner of the switch applies it
//! here. Ages are not in the view: a packet that refreshes an entry changes nothing that
//! translation could see, so only [`Learned::New`] and [`Learned::Moved`] need a new snapshot.
//!
//! Left out: static entries, and the lock against gratuitous ARP that bonds need.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::RandomState;
use packet::{EthAddr, OfPort};

/// Entries unused for this long are forgotten, by default.
pub const DEFAULT_AGING: Duration = Duration::from_secs(300);
/// Most entries, by default.
pub const DEFAULT_LIMIT: usize = 8192;

const AGING_RANGE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(3600));
const LIMIT_RANGE: (usize, usize) = (10, 1_000_000);
/// Parts of a view that are copied apart when they change.
const SHARDS: usize = 64;

/// The table as translation sees it; cloning is cheap and shares memory.
#[derive(Clone, Debug)]
pub struct MacView {
    shards: [Arc<HashMap<Station, OfPort, RandomState>>; SHARDS],
}

/// The table with what its owner needs to age it.
#[derive(Debug)]
pub struct MacTable {
    view: MacView,
    entries: HashMap<Station, Entry, RandomState>,
    /// Stations of each port, least recently used first.
    by_port: BTreeMap<OfPort, BTreeSet<(Instant, u64, Station)>>,
    /// Number of stations and port, so that the last has most.
    crowded: BTreeSet<(usize, OfPort)>,
    aging: Duration,
    limit: usize,
    /// Keeps entries of equal time in the order of their use.
    uses: u64,
    evicted: u64,
}

/// What [`MacTable::learn`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learned {
    New,
    /// The station was on another port.
    Moved,
    /// Nothing but its age changed.
    Refreshed,
}

/// One line of [`MacTable::entries`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacEntry {
    pub port: OfPort,
    pub vlan: u16,
    pub mac: EthAddr,
    pub age: Duration,
}

/// VLAN and address in one word.
type Station = u64;

#[derive(Clone, Copy, Debug)]
struct Entry {
    port: OfPort,
    used: Instant,
    use_number: u64,
}

impl Default for MacView {
    fn default() -> MacView {
        let seed = RandomState::new();
        MacView {
            shards: std::array::from_fn(|_| Arc::new(HashMap::with_hasher(seed.clone()))),
        }
    }
}

impl MacView {
    /// The port on which `mac` was seen last in `vlan` (0: untagged).
    pub fn lookup(&self, vlan: u16, mac: EthAddr) -> Option<OfPort> {
        let station = station(vlan, mac);
        self.shards.get(shard(station))?.get(&station).copied()
    }

    /// True when the two share all memory: then nothing is different.
    pub fn is_same(&self, other: &MacView) -> bool {
        std::iter::zip(&self.shards, &other.shards).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    fn set(&mut self, station: Station, port: Option<OfPort>) {
        // `shard` is below SHARDS for every station.
        let Some(shard) = self.shards.get_mut(shard(station)) else {
            return;
        };
        let shard = Arc::make_mut(shard);
        match port {
            Some(port) => shard.insert(station, port),
            None => shard.remove(&station),
        };
    }
}

impl Default for MacTable {
    fn default() -> MacTable {
        MacTable::new(DEFAULT_AGING, DEFAULT_LIMIT)
    }
}

impl MacTable {
    /// An empty table; see [`MacTable::set_aging`] and [`MacTable::set_limit`] for the ranges.
    pub fn new(aging: Duration, limit: usize) -> MacTable {
        let mut table = MacTable {
            view: MacView::default(),
            entries: HashMap::default(),
            by_port: BTreeMap::new(),
            crowded: BTreeSet::new(),
            aging: DEFAULT_AGING,
            limit: DEFAULT_LIMIT,
            uses: 0,
            evicted: 0,
        };
        table.set_aging(aging);
        table.set_limit(limit);
        table
    }

    /// What a snapshot takes.
    pub fn view(&self) -> MacView {
        self.view.clone()
    }

    /// As [`MacView::lookup`].
    pub fn lookup(&self, vlan: u16, mac: EthAddr) -> Option<OfPort> {
        self.view.lookup(vlan, mac)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries that made room for newer ones, since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    pub fn aging(&self) -> Duration {
        self.aging
    }

    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Sets how long an unused entry stays: 15 to 3600 seconds, others are moved into the range
    /// as OVS does.
    pub fn set_aging(&mut self, aging: Duration) {
        self.aging = aging.clamp(AGING_RANGE.0, AGING_RANGE.1);
    }

    /// Sets how many entries there may be: 10 to 1,000,000. Returns true when entries had to go.
    pub fn set_limit(&mut self, limit: usize) -> bool {
        self.limit = limit.clamp(LIMIT_RANGE.0, LIMIT_RANGE.1);
        let mut changed = false;
        while self.entries.len() > self.limit && self.evict() {
            changed = true;
        }
        changed
    }

    /// Notes that `mac` sent a packet in `vlan` from `port`.
    ///
    /// A full table first forgets the least recently used station of the port that has most, so
    /// that one port cannot push out the stations of the others.
    pub fn learn(&mut self, now: Instant, vlan: u16, mac: EthAddr, port: OfPort) -> Learned {
        let station = station(vlan, mac);
        let learned = match self.entries.get(&station).copied() {
            Some(entry) => {
                self.unlist(station, &entry);
                match entry.port == port {
                    true => Learned::Refreshed,
                    false => Learned::Moved,
                }
            }
            None => {
                while self.entries.len() >= self.limit && self.evict() {}
                Learned::New
            }
        };
        self.uses = self.uses.wrapping_add(1);
        let entry = Entry {
            port,
            used: now,
            use_number: self.uses,
        };
        self.entries.insert(station, entry);
        self.list(station, &entry);
        if learned != Learned::Refreshed {
            self.view.set(station, Some(port));
        }
        learned
    }

    /// Forgets what was not used for the aging time; returns how many entries that were.
    pub fn expire(&mut self, now: Instant) -> usize {
        let mut gone = Vec::new();
        for stations in self.by_port.values() {
            gone.extend(
                stations
                    .iter()
                    .take_while(|(used, ..)| now.saturating_duration_since(*used) >= self.aging)
                    .map(|(_, _, station)| *station),
            );
        }
        gone.iter().for_each(|station| self.forget(*station));
        gone.len()
    }

    /// When [`MacTable::expire`] has something to do, if nothing is used before.
    pub fn next_expiry(&self) -> Option<Instant> {
        let oldest = self.by_port.values().filter_map(|s| s.first());
        oldest
            .map(|(used, ..)| *used)
            .min()?
            .checked_add(self.aging)
    }

    /// Forgets everything; returns how many entries there were.
    pub fn flush(&mut self) -> usize {
        let n = self.entries.len();
        self.entries.clear();
        self.by_port.clear();
        self.crowded.clear();
        self.view = MacView::default();
        n
    }

    /// Forgets the stations of a port; returns how many there were.
    pub fn flush_port(&mut self, port: OfPort) -> usize {
        self.forget_where(|entry_port, _| entry_port == port)
    }

    /// Forgets the stations of a VLAN on every port; returns how many there were.
    pub fn flush_vlan(&mut self, vlan: u16) -> usize {
        self.forget_where(|_, station| split(station).0 == vlan)
    }

    /// Every entry, least recently used first.
    pub fn entries(&self, now: Instant) -> Vec<MacEntry> {
        let mut all: Vec<_> = self.by_port.values().flatten().collect();
        all.sort();
        all.into_iter()
            .filter_map(|(used, _, station)| {
                let (vlan, mac) = split(*station);
                Some(MacEntry {
                    port: self.entries.get(station)?.port,
                    vlan,
                    mac,
                    age: now.saturating_duration_since(*used),
                })
            })
            .collect()
    }

    /// The text of `fdb/show`.
    pub fn show(&self, now: Instant) -> String {
        let mut text = String::from(" port  VLAN  MAC                Age\n");
        for e in self.entries(now) {
            let port = match e.port {
                OfPort::LOCAL => "LOCAL".to_owned(),
                OfPort(n) => n.to_string(),
            };
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{port:>5}  {:>4}  {}  {:>3}",
                e.vlan,
                e.mac,
                e.age.as_secs()
            );
        }
        text
    }

    fn forget_where(&mut self, which: impl Fn(OfPort, Station) -> bool) -> usize {
        let gone: Vec<Station> = self
            .entries
            .iter()
            .filter(|(station, entry)| which(entry.port, **station))
            .map(|(station, _)| *station)
            .collect();
        gone.iter().for_each(|station| self.forget(*station));
        gone.len()
    }

    /// Returns false when there was nothing to forget.
    fn evict(&mut self) -> bool {
        let Some((_, port)) = self.crowded.last() else {
            return false;
        };
        let oldest = self.by_port.get(port).and_then(|s| s.first());
        let Some((_, _, station)) = oldest.copied() else {
            return false;
        };
        self.forget(station);
        self.evicted = self.evicted.saturating_add(1);
        true
    }

    fn forget(&mut self, station: Station) {
        if let Some(entry) = self.entries.remove(&station) {
            self.unlist(station, &entry);
            self.view.set(station, None);
        }
    }

    fn list(&mut self, station: Station, entry: &Entry) {
        let stations = self.by_port.entry(entry.port).or_default();
        self.crowded.remove(&(stations.len(), entry.port));
        stations.insert((entry.used, entry.use_number, station));
        self.crowded.insert((stations.len(), entry.port));
    }

    fn unlist(&mut self, station: Station, entry: &Entry) {
        let Some(stations) = self.by_port.get_mut(&entry.port) else {
            return;
        };
        self.crowded.remove(&(stations.len(), entry.port));
        stations.remove(&(entry.used, entry.use_number, station));
        if stations.is_empty() {
            self.by_port.remove(&entry.port);
        } else {
            self.crowded.insert((stations.len(), entry.port));
        }
    }
}

fn station(vlan: u16, mac: EthAddr) -> Station {
    u64::from(vlan) << 48 | mac.to_u64()
}

fn split(station: Station) -> (u16, EthAddr) {
    ((station >> 48) as u16, EthAddr::from_u64(station))
}

/// Neighbouring addresses are in different shards.
fn shard(station: Station) -> usize {
    let mixed = station ^ (station >> 6) ^ (station >> 24) ^ (station >> 48);
    (mixed % SHARDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: EthAddr = EthAddr([2, 0, 0, 0, 0, 1]);
    const B: EthAddr = EthAddr([2, 0, 0, 0, 0, 2]);

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn stations_are_learned_move_and_age() {
        let t0 = Instant::now();
        let mut t = MacTable::default();
        assert_eq!(t.learn(t0, 0, A, OfPort(1)), Learned::New);
        assert_eq!(t.learn(t0 + secs(1), 5, A, OfPort(2)), Learned::New);
        assert_eq!(t.learn(t0 + secs(2), 0, A, OfPort(1)), Learned::Refreshed);
        assert_eq!(t.learn(t0 + secs(3), 0, A, OfPort(3)), Learned::Moved);
        assert_eq!(t.view().lookup(0, A), Some(OfPort(3)));
        assert_eq!(t.view().lookup(5, A), Some(OfPort(2)));
        assert_eq!(t.view().lookup(6, A), None);
        assert_eq!(t.next_expiry(), Some(t0 + secs(301)));
        assert_eq!(t.expire(t0 + secs(300)), 0);
        assert_eq!(t.expire(t0 + secs(301)), 1);
        assert_eq!(t.view().lookup(5, A), None);
        assert_eq!(t.len(), 1);
    }

    #[test]
    fn a_view_does_not_change() {
        let t0 = Instant::now();
        let mut t = MacTable::default();
        t.learn(t0, 0, A, OfPort(1));
        let view = t.view();
        t.learn(t0, 0, A, OfPort(2));
        t.learn(t0, 0, B, OfPort(2));
        t.flush();
        assert_eq!(view.lookup(0, A), Some(OfPort(1)));
        assert_eq!(view.lookup(0, B), None);
    }

    #[test]
    fn show_is_the_stock_text() {
        let t0 = Instant::now();
        let mut t = MacTable::default();
        t.learn(t0, 0, A, OfPort(1));
        t.learn(t0 + secs(7), 4095, B, OfPort::LOCAL);
        assert_eq!(
            t.show(t0 + secs(10)),
            " port  VLAN  MAC                Age\n    \
             1     0  02:00:00:00:00:01   10\nLOCAL  4095  02:00:00:00:00:02    3\n"
        );
    }

    #[test]
    fn a_full_table_takes_from_the_port_with_most() {
        let t0 = Instant::now();
        let mut t = MacTable::new(DEFAULT_AGING, 10);
        t.learn(t0, 0, A, OfPort(1));
        for n in 0..100 {
            t.learn(t0 + secs(n), 1, EthAddr::from_u64(n * 2), OfPort(2));
        }
        assert_eq!(t.len(), 10);
        assert_eq!(t.evicted(), 91);
        assert_eq!(t.view().lookup(0, A), Some(OfPort(1)));
        assert_eq!(t.view().lookup(1, EthAddr::from_u64(198)), Some(OfPort(2)));
        assert_eq!(t.view().lookup(1, EthAddr::from_u64(180)), None);
        assert_eq!(t.flush_port(OfPort(2)), 9);
        assert_eq!(t.flush_vlan(0), 1);
        assert!(t.is_empty());
    }

    proptest! {
        #[test]
        fn the_view_says_what_the_table_says(
            steps in proptest::collection::vec((0u8..8, 0u64..40, 0u16..3, 1u32..5), 1..200),
        ) {
            let t0 = Instant::now();
            let mut t = MacTable::new(secs(15), 20);
            let mut last = HashMap::new();
            for (i, (op, mac, vlan, port)) in steps.into_iter().enumerate() {
                let now = t0 + secs(i as u64);
                match op {
                    0 => { t.expire(now); }
                    1 => { t.flush_port(OfPort(port)); }
                    _ => {
                        t.learn(now, vlan, EthAddr::from_u64(mac), OfPort(port));
                        last.insert((vlan, mac), OfPort(port));
                        let seen = t.view().lookup(vlan, EthAddr::from_u64(mac));
                        prop_assert_eq!(seen, Some(OfPort(port)));
                    }
                }
                prop_assert!(t.len() <= 20);
                let entries = t.entries(now);
                prop_assert_eq!(entries.len(), t.len());
                let seen: usize = t.view().shards.iter().map(|s| s.len()).sum();
                prop_assert_eq!(seen, t.len());
                prop_assert_eq!(t.crowded.iter().map(|(n, _)| n).sum::<usize>(), t.len());
                for e in entries {
                    prop_assert_eq!(t.view().lookup(e.vlan, e.mac), Some(e.port));
                    prop_assert_eq!(last.get(&(e.vlan, e.mac.to_u64())), Some(&e.port));
                }
            }
        }
    }
}
