//! Mask ids, and which masks are live for which ingress port.
//!
//! A lookup visits the live masks of the packet's ingress port, at most [`MAX_LIVE_MASKS`]. A mask
//! that does not fit any more is replaced by the exact one (every bit matters), which needs no
//! further visits: slower to fill, never wrong. Two live places of each port are kept for that.

use std::collections::{BTreeSet, HashMap};

use packet::abi::{LiveMasks, MASK_SLOTS, MAX_LIVE_MASKS, MaskEntry, live_flags};
use packet::key::NARROW_WORDS;
use packet::{FlowKey, FlowMask};

use super::pool::Pool;
use super::sys::SharedArray;

/// Live places of a port that only the exact masks may take.
const RESERVED: usize = 2;

pub struct Masks {
    entries: SharedArray<MaskEntry>,
    live: SharedArray<LiveMasks>,
    hits: SharedArray<u64>,
    ids: HashMap<FlowMask, u16>,
    pool: Pool,
    /// Flows by ingress port and mask.
    flows: HashMap<(u32, u16), u32>,
    /// Flows that were installed with an exact mask because theirs did not fit.
    pub overflows: u64,
}

impl Masks {
    /// Starts without masks, whatever the maps hold.
    pub fn new(
        entries: SharedArray<MaskEntry>,
        live: SharedArray<LiveMasks>,
        hits: SharedArray<u64>,
    ) -> Masks {
        let pool = Pool::new(MASK_SLOTS);
        let (ids, flows) = (HashMap::new(), HashMap::new());
        Masks {
            entries,
            live,
            hits,
            ids,
            pool,
            flows,
            overflows: 0,
        }
    }

    /// Takes over the masks that `flows` (ingress port and mask id of each) use; the live lists are
    /// in the map already.
    pub fn adopt(&mut self, flows: impl Iterator<Item = (u32, u16)>) {
        for at in flows {
            *self.flows.entry(at).or_default() += 1;
        }
        let used: Vec<u32> = self.flows.keys().map(|(_, id)| u32::from(*id)).collect();
        for id in &used {
            if let Some(entry) = self.entries.get(*id) {
                self.ids.insert(entry.mask, *id as u16);
            }
        }
        self.pool = Pool::with_used(MASK_SLOTS, used);
        let mut ports: BTreeSet<u32> = self.flows.keys().map(|(port, _)| *port).collect();
        match self.live.whole() {
            Ok(whole) => {
                let listed = whole.iter().filter(|(_, live)| live.len != 0);
                ports.extend(listed.map(|(port, _)| port));
            }
            Err(_) => ports.extend(0..self.live.entries()),
        }
        for port in ports {
            self.rebuild(port);
        }
    }

    pub fn get(&self, id: u16) -> Option<MaskEntry> {
        self.entries.get(u32::from(id))
    }

    /// Counts a flow of the mask that came into the hash table (+1) or left it (-1).
    pub fn count_spilled(&mut self, id: u16, change: i32) {
        if let Some(mut entry) = self.get(id) {
            entry.spilled = entry.spilled.saturating_add_signed(change);
            self.entries.set(u32::from(id), entry);
        }
    }

    /// Masks in use.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn find(&self, mask: &FlowMask) -> Option<u16> {
        self.ids.get(mask).copied()
    }

    /// The mask to install a flow of `key` with, and its id: `mask`, or where that does not fit, an
    /// exact one. `None` when no mask fits.
    pub fn choose(&mut self, key: &FlowKey, mask: &FlowMask) -> Option<(FlowMask, u16)> {
        let exact = exact(key);
        let room = if *mask == exact {
            MAX_LIVE_MASKS
        } else {
            MAX_LIVE_MASKS - RESERVED
        };
        if let Some(id) = self.place(key.in_port, mask, room) {
            return Some((*mask, id));
        }
        self.overflows += 1;
        if self.overflows.is_power_of_two() {
            tracing::warn!(
                in_port = key.in_port,
                flows = self.overflows,
                "too many masks for one port: flows are installed for single connections"
            );
        }
        Some((exact, self.place(key.in_port, &exact, MAX_LIVE_MASKS)?))
    }

    fn place(&mut self, in_port: u32, mask: &FlowMask, room: usize) -> Option<u16> {
        let known = self.ids.get(mask).copied();
        if let Some(id) = known
            && self.flows.contains_key(&(in_port, id))
        {
            return Some(id);
        }
        if self.live.get(in_port)?.len as usize >= room {
            return None;
        }
        if known.is_some() {
            return known;
        }
        let id = self.pool.take()?;
        let narrow = u32::from(mask.is_narrow());
        self.entries.set(
            id,
            MaskEntry {
                mask: *mask,
                narrow,
                spilled: 0,
            },
        );
        self.ids.insert(*mask, id as u16);
        Some(id as u16)
    }

    /// Counts a flow that is in its hash table now.
    pub fn add_flow(&mut self, in_port: u32, id: u16) {
        let count = self.flows.entry((in_port, id)).or_default();
        *count += 1;
        if *count == 1 {
            self.change_live(in_port, |live| {
                if let Some(place) = live.ids.get_mut(live.len as usize) {
                    *place = id;
                    live.len += 1;
                }
            });
        }
    }

    /// Counts a flow that has left its hash table.
    pub fn remove_flow(&mut self, in_port: u32, id: u16) {
        let Some(count) = self.flows.get_mut(&(in_port, id)) else {
            return;
        };
        *count = count.saturating_sub(1);
        if *count > 0 {
            return;
        }
        self.flows.remove(&(in_port, id));
        self.change_live(in_port, |live| {
            let len = (live.len as usize).min(MAX_LIVE_MASKS);
            let kept: Vec<u16> = live
                .ids
                .iter()
                .take(len)
                .copied()
                .filter(|i| *i != id)
                .collect();
            live.len = kept.len() as u32;
            live.ids = [0; MAX_LIVE_MASKS];
            for (place, id) in live.ids.iter_mut().zip(kept) {
                *place = id;
            }
        });
        self.drop_unused(id);
    }

    /// Gives back a mask id that [`Masks::choose`] gave and no flow took.
    pub fn drop_unused(&mut self, id: u16) {
        if self.flows.keys().any(|(_, used)| *used == id) {
            return;
        }
        if let Some(entry) = self.get(id) {
            self.ids.remove(&entry.mask);
            self.pool.give_back(u32::from(id));
        }
    }

    /// Forgets every mask.
    pub fn clear(&mut self) {
        let ports: Vec<u32> = self.flows.keys().map(|(port, _)| *port).collect();
        for port in ports {
            self.live.set(port, LiveMasks::default());
        }
        for id in self.ids.values() {
            self.pool.give_back(u32::from(*id));
        }
        self.flows.clear();
        self.ids.clear();
    }

    /// Brings the masks that packets hit most to the front of each port's list.
    pub fn sort_live(&mut self) {
        let mut ports: Vec<u32> = self.flows.keys().map(|(port, _)| *port).collect();
        ports.sort_unstable();
        ports.dedup();
        let cpus = self.hits.entries() / MASK_SLOTS;
        let hits = |id: u16| -> u64 {
            let of_cpu = |cpu| self.hits.get(cpu * MASK_SLOTS + u32::from(id)).unwrap_or(0);
            (0..cpus).map(of_cpu).fold(0, u64::wrapping_add)
        };
        for port in ports {
            let Some(mut live) = self.live.get(port) else {
                continue;
            };
            let len = (live.len as usize).min(MAX_LIVE_MASKS);
            let Some(ids) = live.ids.get_mut(..len) else {
                continue;
            };
            if ids.is_sorted_by_key(|id| std::cmp::Reverse(hits(*id))) {
                continue;
            }
            ids.sort_by_cached_key(|id| std::cmp::Reverse(hits(*id)));
            self.live.set(port, live);
        }
    }

    fn change_live(&mut self, in_port: u32, change: impl FnOnce(&mut LiveMasks)) {
        let Some(mut live) = self.live.get(in_port) else {
            return;
        };
        change(&mut live);
        self.store_live(in_port, live);
    }

    fn store_live(&self, in_port: u32, mut live: LiveMasks) {
        // One narrow mask: looking it up costs less than the exact-match cache would save.
        let [first, ..] = live.ids;
        let one_narrow = live.len == 1 && self.get(first).is_some_and(|m| m.narrow != 0);
        live.flags = if one_narrow {
            live_flags::SKIP_EXACT
        } else {
            0
        };
        self.live.set(in_port, live);
    }

    /// Makes a port's live list what its flows say, keeping the order.
    fn rebuild(&mut self, in_port: u32) {
        let Some(mut live) = self.live.get(in_port) else {
            return;
        };
        let wanted = |id: &u16| self.flows.contains_key(&(in_port, *id));
        let len = (live.len as usize).min(MAX_LIVE_MASKS);
        let mut ids: Vec<u16> = live.ids.iter().take(len).copied().filter(wanted).collect();
        let mut missing: Vec<u16> = self
            .flows
            .keys()
            .filter(|(port, id)| *port == in_port && !ids.contains(id))
            .map(|(_, id)| *id)
            .collect();
        missing.sort_unstable();
        ids.append(&mut missing);
        if ids.is_empty() && live.len == 0 {
            return;
        }
        live.ids = [0; MAX_LIVE_MASKS];
        for (place, id) in live.ids.iter_mut().zip(&ids) {
            *place = *id;
        }
        live.len = ids.len().min(MAX_LIVE_MASKS) as u32;
        self.store_live(in_port, live);
    }
}

/// Every bit that a key like `key` can have matters. The Ethernet type is among them, so for a key
/// whose wide part is empty the narrow part is enough: packets of that type have no wide part.
fn exact(key: &FlowKey) -> FlowMask {
    if !key.is_narrow() {
        return FlowMask::exact();
    }
    let mut mask = FlowMask::empty();
    for word in mask.0.words_mut().iter_mut().take(NARROW_WORDS) {
        *word = u64::MAX;
    }
    mask
}
