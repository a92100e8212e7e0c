//! Narrow megaflows: a hash table in shared memory that the programs read without a call, and the
//! kernel's hash table for what finds no place there. See [`packet::abi::TableEntry`] for the order
//! of writes.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use packet::abi::{NarrowKey, TABLE_PROBES, TableEntry, table_hash};

use super::masks::Masks;
use super::pool::grace_period;
use super::sys::{self, SharedArray};

/// Entries that may wait for a grace period before one is awaited.
const MAX_RESTING: usize = 4096;

pub struct Table {
    entries: SharedArray<TableEntry>,
    spill: OwnedFd,
    seed: u64,
    /// Places whose old entry may still be looked at.
    resting: HashSet<u32>,
    /// A bit for each place in use, so that a dump of few flows reads few entries.
    used: Vec<u64>,
    /// Keys in `spill`.
    spilled: usize,
}

impl Table {
    pub fn new(entries: SharedArray<TableEntry>, spill: OwnedFd, seed: u64) -> Table {
        Table {
            used: vec![0; entries.entries().div_ceil(64) as usize],
            entries,
            spill,
            seed,
            resting: HashSet::new(),
            spilled: 0,
        }
    }

    /// Finds out what is in the tables.
    pub fn adopt(&mut self) -> io::Result<()> {
        let places: Vec<u32> = {
            let whole = self.entries.whole()?;
            let held = whole.iter().filter(|(_, entry)| entry.mask_id != 0);
            held.map(|(place, _)| place).collect()
        };
        for place in places {
            self.mark(place, true);
        }
        self.spilled = sys::entries::<NarrowKey, u32>(self.spill.as_fd())?.len();
        Ok(())
    }

    fn mark(&mut self, place: u32, used: bool) {
        if let Some(word) = self.used.get_mut(place as usize / 64) {
            let bit = 1 << (place % 64);
            *word = if used { *word | bit } else { *word & !bit };
        }
    }

    /// The slot of a key.
    pub fn find(&self, key: &NarrowKey) -> io::Result<Option<u32>> {
        match self.place_of(key) {
            Some((_, entry)) => Ok(Some(entry.slot)),
            None => sys::lookup(self.spill.as_fd(), key),
        }
    }

    /// Sets the slot of a key; `flags` as for the kernel's tables: [`sys::BPF_NOEXIST`],
    /// [`sys::BPF_EXIST`].
    pub fn put(
        &mut self,
        key: &NarrowKey,
        slot: u32,
        flags: u64,
        masks: &mut Masks,
    ) -> io::Result<()> {
        if let Some((place, entry)) = self.place_of(key) {
            if flags == sys::BPF_NOEXIST {
                return Err(io::Error::from_raw_os_error(libc::EEXIST));
            }
            self.entries.set(place, TableEntry { slot, ..entry });
            return Ok(());
        }
        if flags == sys::BPF_EXIST {
            return sys::update(self.spill.as_fd(), key, &slot, flags);
        }
        if self.resting.len() > MAX_RESTING {
            grace_period();
            self.resting.clear();
        }
        let free = self.places(key).find(|place| {
            let entry = self.entries.get(*place);
            entry.is_some_and(|e| e.mask_id == 0) && !self.resting.contains(place)
        });
        let Some(place) = free else {
            sys::update(self.spill.as_fd(), key, &slot, flags)?;
            masks.count_spilled(key.mask_id as u16, 1);
            self.spilled += 1;
            return Ok(());
        };
        let entry = TableEntry {
            words: key.words,
            slot,
            mask_id: 0,
        };
        self.entries.set(place, entry);
        fence(Ordering::Release);
        self.entries.set(
            place,
            TableEntry {
                mask_id: key.mask_id as u32,
                ..entry
            },
        );
        self.mark(place, true);
        Ok(())
    }

    /// False when there was no such key.
    pub fn delete(&mut self, key: &NarrowKey, masks: &mut Masks) -> io::Result<bool> {
        let Some((place, entry)) = self.place_of(key) else {
            let found = sys::delete(self.spill.as_fd(), key)?;
            if found {
                masks.count_spilled(key.mask_id as u16, -1);
                self.spilled = self.spilled.saturating_sub(1);
            }
            return Ok(found);
        };
        self.entries.set(
            place,
            TableEntry {
                mask_id: 0,
                ..entry
            },
        );
        fence(Ordering::Release);
        self.entries.set(place, TableEntry::default());
        self.resting.insert(place);
        self.mark(place, false);
        Ok(true)
    }

    /// Every key with its slot.
    pub fn entries(&self) -> io::Result<Vec<(NarrowKey, u32)>> {
        let mut all: Vec<(NarrowKey, u32)> = Vec::new();
        if self.spilled > 0 {
            all = sys::entries(self.spill.as_fd())?;
        }
        for (n, word) in self.used.iter().enumerate() {
            let mut word = *word;
            while word != 0 {
                let place = n as u32 * 64 + word.trailing_zeros();
                word &= word - 1;
                if let Some(e) = self.entries.get(place) {
                    let key = NarrowKey {
                        mask_id: u64::from(e.mask_id),
                        words: e.words,
                    };
                    all.push((key, e.slot));
                }
            }
        }
        Ok(all)
    }

    /// Where a key may lie.
    fn places(&self, key: &NarrowKey) -> impl Iterator<Item = u32> + use<> {
        let first = table_hash(&key.words, key.mask_id as u32, self.seed);
        let mask = self.entries.entries().wrapping_sub(1);
        (0..TABLE_PROBES).map(move |probe| first.wrapping_add(probe) & mask)
    }

    fn place_of(&self, key: &NarrowKey) -> Option<(u32, TableEntry)> {
        self.places(key).find_map(|place| {
            let entry = self.entries.get(place)?;
            let same = u64::from(entry.mask_id) == key.mask_id && entry.words == key.words;
            same.then_some((place, entry))
        })
    }
}
