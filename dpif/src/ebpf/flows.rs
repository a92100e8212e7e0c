//! The megaflow table: hash tables from masked key to slot, and what the slots hold.
//!
//! Order of writes, so that a program never sees half a flow: blocks, counters, slot, then the hash
//! table, then the live list. Deleting goes the other way: hash table, generation (which ends exact
//! entries), then the numbers rest for a grace period. Userspace keeps no copy of flows: dumps and
//! a successor's start read the maps.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use packet::abi::{ActionBlock, FlowCounters, FlowInfo, FlowSlot, NarrowKey, WideKey};
use packet::key::NARROW_WORDS;
use packet::{Action, DpPort, FlowKey, FlowMask};

use super::list;
use super::masks::Masks;
use super::pool::Pool;
use super::sys::{self, SharedArray};
use super::table::Table;
use crate::{Error, FlowEntry, FlowStats};

pub struct Flows {
    pub narrow: Table,
    pub wide: OwnedFd,
    pub slots: SharedArray<FlowSlot>,
    pub info: SharedArray<FlowInfo>,
    pub stats: SharedArray<FlowCounters>,
    pub blocks: SharedArray<ActionBlock>,
    pub masks: Masks,
    pub slot_pool: Pool,
    pub block_pool: Pool,
    pub installed: usize,
    /// Flows in the wide table.
    pub wide_flows: usize,
}

/// A masked key under its mask id, as the hash tables have it.
enum TableKey {
    Narrow(NarrowKey),
    Wide(WideKey),
}

impl TableKey {
    fn new(masked: &FlowKey, mask: &FlowMask, id: u16) -> TableKey {
        let (mask_id, words) = (u64::from(id), *masked.words());
        match words.first_chunk::<NARROW_WORDS>() {
            Some(narrow) if mask.is_narrow() => TableKey::Narrow(NarrowKey {
                mask_id,
                words: *narrow,
            }),
            _ => TableKey::Wide(WideKey { mask_id, words }),
        }
    }
}

/// A flow as the hash tables have it.
struct Entry {
    table_key: TableKey,
    mask_id: u16,
    /// Masked.
    key: FlowKey,
    slot: u32,
}

impl Flows {
    /// Takes over what the maps hold; deletes what is not whole.
    pub fn adopt(&mut self) -> Result<(), Error> {
        self.narrow.adopt().map_err(failed("reading flows"))?;
        // Until counted, there may be any number.
        self.wide_flows = usize::MAX;
        let (mut slots, mut blocks, mut at) = (Vec::new(), Vec::new(), Vec::new());
        let mut wide_flows = 0;
        for entry in self.entries()? {
            let Entry {
                table_key,
                mask_id,
                key,
                slot,
            } = entry;
            let known = self.masks.get(mask_id).is_some();
            let alive = self.slots.get(slot).is_some_and(|s| s.generation & 1 == 0);
            if !known || !alive {
                self.remove_key(&table_key)
                    .map_err(failed("deleting a flow"))?;
                continue;
            }
            wide_flows += usize::from(matches!(table_key, TableKey::Wide(_)));
            slots.push(slot);
            at.push((key.in_port, mask_id));
            let block = self.slots.get(slot).map_or(0, |s| s.block);
            blocks.extend(list::fetch(block, &self.blocks).1);
        }
        self.installed = slots.len();
        self.wide_flows = wide_flows;
        let mut in_use = vec![false; self.slots.entries() as usize];
        for slot in &slots {
            if let Some(used) = in_use.get_mut(*slot as usize) {
                *used = true;
            }
        }
        let whole = self.slots.whole().map_err(failed("mapping FLOWS"))?;
        for ((slot, mut held), used) in whole.iter().zip(&in_use) {
            if !used && held.generation & 1 == 0 {
                held.generation |= 1;
                whole.set(slot, held);
            }
        }
        drop(whole);
        self.slot_pool = Pool::with_used(self.slots.entries(), slots);
        self.block_pool = Pool::with_used(self.blocks.entries(), blocks);
        self.masks.adopt(at.into_iter());
        Ok(())
    }

    /// Installs a flow; see [`crate::DpOp::FlowPut`].
    pub fn put(
        &mut self,
        key: &FlowKey,
        mask: &FlowMask,
        actions: &[Action],
        replace: bool,
    ) -> Result<(), Error> {
        let all = u64::MAX;
        if mask.0.words().first() != Some(&all) {
            return Err(Error::Datapath(
                "the mask lacks in_port or recirc_id".to_string(),
            ));
        }
        let records = list::encode(actions)?;
        let known = self.masks.find(mask);
        let old = match known {
            Some(id) => self.find(&TableKey::new(&key.masked(mask), mask, id))?,
            None => None,
        };
        if let (Some(old), Some(id)) = (old, known) {
            if !replace {
                return Err(Error::Exists);
            }
            let table_key = TableKey::new(&key.masked(mask), mask, id);
            return self.replace(&table_key, old, actions, &records);
        }
        let limit = self.slots.entries() as usize - 1;
        if self.installed >= limit {
            return Err(Error::Full {
                what: "flows",
                limit,
            });
        }
        let Some((mask, id)) = self.masks.choose(key, mask) else {
            return Err(Error::Full {
                what: "masks",
                limit: packet::abi::MASK_SLOTS as usize,
            });
        };
        let table_key = TableKey::new(&key.masked(&mask), &mask, id);
        let result = self.insert(&table_key, actions, &records, sys::BPF_NOEXIST);
        match result {
            Ok(_) => {
                self.installed += 1;
                self.wide_flows += usize::from(matches!(table_key, TableKey::Wide(_)));
                self.masks.add_flow(key.in_port, id);
                Ok(())
            }
            Err(e) => {
                self.masks.drop_unused(id);
                Err(e)
            }
        }
    }

    /// Installs a flow of another table with what it counted.
    pub fn import(&mut self, flow: &FlowEntry, used_ns: u64) -> Result<(), Error> {
        self.put(&flow.key, &flow.mask, &flow.actions, true)?;
        let Some(id) = self.masks.find(&flow.mask) else {
            return Ok(());
        };
        if let Some(slot) = self.find(&TableKey::new(&flow.key, &flow.mask, id))? {
            let carried = FlowCounters {
                packets: flow.stats.packets,
                bytes: flow.stats.bytes,
                used_ns,
                tcp_flags: flow.stats.tcp_flags,
                pad: [0; 3],
            };
            self.info.set(slot, FlowInfo { carried });
        }
        Ok(())
    }

    /// Fills a slot and points the hash table at it.
    fn insert(
        &mut self,
        key: &TableKey,
        actions: &[Action],
        records: &[packet::ActionRecord],
        flags: u64,
    ) -> Result<u32, Error> {
        let limit = self.slots.entries() as usize - 1;
        let Some(slot) = self.slot_pool.take() else {
            return Err(Error::Full {
                what: "flows",
                limit,
            });
        };
        let fast_port = match actions {
            [Action::Output(DpPort(port))] => *port,
            _ => 0,
        };
        let block = if fast_port != 0 {
            0
        } else {
            list::store(records, &self.blocks, &mut self.block_pool)
                .inspect_err(|_| self.slot_pool.give_back_unseen(slot))?
        };
        self.info.set(slot, FlowInfo::default());
        for cpu in 0..self.cpus() {
            self.stats
                .set(cpu * self.slots.entries() + slot, FlowCounters::default());
        }
        let before = self.slots.get(slot).map_or(0, |s| s.generation);
        let generation = (before | 1).wrapping_add(1);
        self.slots.set(
            slot,
            FlowSlot {
                generation,
                fast_port,
                block,
                pad: 0,
            },
        );
        let updated = match key {
            TableKey::Narrow(k) => self.narrow.put(k, slot, flags, &mut self.masks),
            TableKey::Wide(k) => sys::update(self.wide.as_fd(), k, &slot, flags),
        };
        if let Err(e) = updated {
            self.end_generation(slot);
            for block in list::fetch(block, &self.blocks).1 {
                self.block_pool.give_back_unseen(block);
            }
            self.slot_pool.give_back_unseen(slot);
            return Err(match e.raw_os_error() {
                Some(libc::EEXIST) => Error::Exists,
                Some(libc::E2BIG | libc::ENOMEM) => Error::Full {
                    what: "flows",
                    limit,
                },
                _ => failed("inserting a flow")(e),
            });
        }
        Ok(slot)
    }

    fn replace(
        &mut self,
        key: &TableKey,
        old: u32,
        actions: &[Action],
        records: &[packet::ActionRecord],
    ) -> Result<(), Error> {
        let new = self.insert(key, actions, records, sys::BPF_EXIST)?;
        self.end_generation(old);
        // Packets that still run by the old slot are counted there and lost to the new one; this
        // is a matter of nanoseconds.
        self.info.set(
            new,
            FlowInfo {
                carried: self.counters(old),
            },
        );
        self.retire(old);
        Ok(())
    }

    /// Deletes a flow; see [`crate::DpOp::FlowDel`].
    pub fn delete(&mut self, key: &FlowKey, mask: &FlowMask) -> Result<(), Error> {
        let id = self.masks.find(mask).ok_or(Error::NoSuchFlow)?;
        let table_key = TableKey::new(&key.masked(mask), mask, id);
        let slot = self.find(&table_key)?.ok_or(Error::NoSuchFlow)?;
        self.remove_key(&table_key)
            .map_err(failed("deleting a flow"))?;
        self.end_generation(slot);
        self.retire(slot);
        self.installed = self.installed.saturating_sub(1);
        if matches!(table_key, TableKey::Wide(_)) {
            self.wide_flows = self.wide_flows.saturating_sub(1);
        }
        self.masks.remove_flow(key.in_port, id);
        Ok(())
    }

    pub fn flush(&mut self) -> Result<(), Error> {
        for entry in self.entries()? {
            self.remove_key(&entry.table_key)
                .map_err(failed("deleting a flow"))?;
            self.end_generation(entry.slot);
            self.retire(entry.slot);
        }
        self.installed = 0;
        self.wide_flows = 0;
        self.masks.clear();
        Ok(())
    }

    pub fn dump(&mut self) -> Result<Vec<FlowEntry>, Error> {
        self.masks.sort_live();
        let now_ns = monotonic_ns();
        let entries = self.entries()?;
        Ok(entries
            .into_iter()
            .filter_map(
                |Entry {
                     mask_id, key, slot, ..
                 }| {
                    let mask = self.masks.get(mask_id)?.mask;
                    let held = self.slots.get(slot)?;
                    let actions = if held.fast_port != 0 {
                        vec![Action::Output(DpPort(held.fast_port))]
                    } else {
                        list::decode(&list::fetch(held.block, &self.blocks).0)
                    };
                    let counted = self.counters(slot);
                    let idle_ns = now_ns.saturating_sub(counted.used_ns);
                    let stats = FlowStats {
                        packets: counted.packets,
                        bytes: counted.bytes,
                        idle: (counted.used_ns != 0).then(|| Duration::from_nanos(idle_ns)),
                        tcp_flags: counted.tcp_flags,
                    };
                    Some(FlowEntry {
                        key,
                        mask,
                        actions,
                        stats,
                    })
                },
            )
            .collect())
    }

    /// Every flow.
    fn entries(&self) -> Result<Vec<Entry>, Error> {
        let narrow = self.narrow.entries().map_err(failed("reading flows"))?;
        let mut wide: Vec<(WideKey, u32)> = Vec::new();
        if self.wide_flows > 0 {
            wide = sys::entries(self.wide.as_fd()).map_err(failed("reading flows"))?;
        }
        let narrow = narrow.into_iter().map(|(k, slot)| {
            let mut key = FlowKey::zero();
            for (to, from) in key.words_mut().iter_mut().zip(k.words) {
                *to = from;
            }
            Entry {
                table_key: TableKey::Narrow(k),
                mask_id: k.mask_id as u16,
                key,
                slot,
            }
        });
        let wide = wide.into_iter().map(|(k, slot)| {
            let key = FlowKey::from_words(k.words);
            Entry {
                table_key: TableKey::Wide(k),
                mask_id: k.mask_id as u16,
                key,
                slot,
            }
        });
        Ok(narrow.chain(wide).collect())
    }

    fn find(&self, key: &TableKey) -> Result<Option<u32>, Error> {
        match key {
            TableKey::Narrow(k) => self.narrow.find(k),
            TableKey::Wide(k) => sys::lookup(self.wide.as_fd(), k),
        }
        .map_err(failed("looking up a flow"))
    }

    fn remove_key(&mut self, key: &TableKey) -> std::io::Result<bool> {
        match key {
            TableKey::Narrow(k) => self.narrow.delete(k, &mut self.masks),
            TableKey::Wide(k) => sys::delete(self.wide.as_fd(), k),
        }
    }

    /// Ends every exact entry that was made from the slot.
    fn end_generation(&self, slot: u32) {
        if let Some(mut held) = self.slots.get(slot) {
            held.generation |= 1;
            self.slots.set(slot, held);
        }
    }

    fn retire(&mut self, slot: u32) {
        let block = self.slots.get(slot).map_or(0, |s| s.block);
        for block in list::fetch(block, &self.blocks).1 {
            self.block_pool.give_back(block);
        }
        self.slot_pool.give_back(slot);
    }

    fn counters(&self, slot: u32) -> FlowCounters {
        let mut sum = self.info.get(slot).map(|i| i.carried).unwrap_or_default();
        for cpu in 0..self.cpus() {
            let c = self
                .stats
                .get(cpu * self.slots.entries() + slot)
                .unwrap_or_default();
            sum.packets = sum.packets.wrapping_add(c.packets);
            sum.bytes = sum.bytes.wrapping_add(c.bytes);
            sum.used_ns = sum.used_ns.max(c.used_ns);
            sum.tcp_flags |= c.tcp_flags;
        }
        sum
    }

    fn cpus(&self) -> u32 {
        self.stats.entries() / self.slots.entries().max(1)
    }
}

/// `CLOCK_MONOTONIC`, which the programs stamp flows with.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the buffer is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    (now.tv_sec as u64)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec as u64)
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::System {
        what: what.to_string(),
        source,
    }
}
