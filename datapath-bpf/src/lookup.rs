//! From a key to its flow: the exact-match cache, then the megaflows of the masks that are live
//! for the ingress port.

use packet::FlowKey;
use packet::abi::{
    FlowSlot, MAX_LIVE_MASKS, NarrowKey, TABLE_PROBES, WideKey, hash, live_flags, table_hash,
};
use packet::key::{KEY_WORDS, NARROW_WORDS};

use crate::counters::now_ns;
use crate::maps;

/// Finds the flow of a packet and counts the packet on it.
///
/// The steps are subprograms, so that each gives back its stack.
#[inline(always)]
pub fn lookup(key: &FlowKey, len_bytes: u32) -> Option<&'static FlowSlot> {
    let slot = if key.is_narrow() {
        narrow(key)
    } else {
        wide(key)
    };
    if slot == NO_SLOT {
        return None;
    }
    let slot = slot as u32;
    let flow = maps::flow(slot)?;
    if let Some(stats) = maps::stats(slot) {
        stats.packets += 1;
        stats.bytes += u64::from(len_bytes);
        stats.used_ns = now_ns();
        stats.tcp_flags |= key.tcp_flags();
    }
    Some(flow)
}

#[inline(never)]
fn narrow(key: &FlowKey) -> u64 {
    let Some(live) = maps::live(key.in_port) else {
        return NO_SLOT;
    };
    let words = key.words();
    if live.flags & live_flags::SKIP_EXACT != 0 {
        return visit_masks(key);
    }
    let Some(entry) = maps::exact_narrow(hash(narrow_words(key), maps::hash_seed())) else {
        return NO_SLOT;
    };
    let mut differs = 0;
    for i in 0..NARROW_WORDS {
        differs |= entry.words[i] ^ words[i];
    }
    if differs == 0
        && let Some(flow) = maps::flow(entry.slot)
        && flow.generation == entry.generation
    {
        if let Some(c) = maps::cpu_counters() {
            c.exact_hit += 1;
        }
        return u64::from(entry.slot);
    }
    let slot = visit_masks(key);
    if slot != NO_SLOT
        && let Some(flow) = maps::flow(slot as u32)
        && flow.generation & 1 == 0
    {
        for i in 0..NARROW_WORDS {
            entry.words[i] = words[i];
        }
        entry.slot = slot as u32;
        entry.generation = flow.generation;
    }
    slot
}

#[inline(never)]
fn wide(key: &FlowKey) -> u64 {
    let words = key.words();
    let Some(entry) = maps::exact_wide(hash_all(key)) else {
        return NO_SLOT;
    };
    let mut differs = 0;
    for i in 0..KEY_WORDS {
        differs |= entry.words[i] ^ words[i];
    }
    if differs == 0
        && let Some(flow) = maps::flow(entry.slot)
        && flow.generation == entry.generation
    {
        if let Some(c) = maps::cpu_counters() {
            c.exact_hit += 1;
        }
        return u64::from(entry.slot);
    }
    let slot = visit_masks(key);
    if slot != NO_SLOT
        && let Some(flow) = maps::flow(slot as u32)
        && flow.generation & 1 == 0
    {
        for i in 0..KEY_WORDS {
            entry.words[i] = words[i];
        }
        entry.slot = slot as u32;
        entry.generation = flow.generation;
    }
    slot
}

const NO_SLOT: u64 = u64::MAX;

/// The flow slot of a key's megaflow, or [`NO_SLOT`].
#[inline(never)]
fn visit_masks(key: &FlowKey) -> u64 {
    let Some(live) = maps::live(key.in_port) else {
        return NO_SLOT;
    };
    let Some(memory) = maps::scratch() else {
        return NO_SLOT;
    };
    let counters = maps::cpu_counters();
    for i in 0..MAX_LIVE_MASKS {
        if i as u32 >= live.len {
            break;
        }
        let id = u32::from(live.ids[i]);
        let Some(entry) = maps::mask(id) else { break };
        let (words, mask) = (key.words(), entry.mask.0.words());
        let slot = if entry.narrow != 0 {
            fill::<{ NARROW_WORDS + 1 }>(memory.cast(), id, words, mask);
            // SAFETY: `fill` has written every word; the scratch value has room for the key.
            let masked = unsafe { &*memory.cast::<NarrowKey>() };
            match narrow_megaflow(masked, id) {
                Some(slot) => Some(slot),
                None if entry.spilled != 0 => maps::mega_narrow(masked),
                None => None,
            }
        } else {
            fill::<{ KEY_WORDS + 1 }>(memory.cast(), id, words, mask);
            // SAFETY: as above.
            maps::mega_wide(unsafe { &*memory.cast::<WideKey>() })
        };
        if let Some(slot) = slot {
            if let Some(hits) = maps::mask_hits(id) {
                *hits += 1;
            }
            if let Some(c) = counters {
                c.megaflow_hit += 1;
                c.mask_visited += i as u64 + 1;
            }
            return u64::from(slot);
        }
    }
    if let Some(c) = counters {
        c.missed += 1;
        c.mask_visited += u64::from(live.len);
    }
    NO_SLOT
}

#[inline(always)]
fn narrow_megaflow(masked: &NarrowKey, mask_id: u32) -> Option<u32> {
    let place = table_hash(&masked.words, mask_id, maps::hash_seed());
    for probe in 0..TABLE_PROBES {
        let entry = maps::mega_table(place.wrapping_add(probe))?;
        if entry.mask_id != mask_id {
            continue;
        }
        let mut differs = 0;
        for w in 0..NARROW_WORDS {
            differs |= entry.words[w] ^ masked.words[w];
        }
        if differs == 0 {
            return Some(entry.slot);
        }
    }
    None
}

/// Writes the `N` words of a table key: the mask id and the masked words. Done word by word into
/// memory that is not cleared first, which the compiler would do by a loop over bytes.
#[inline(always)]
fn fill<const N: usize>(to: *mut u64, id: u32, words: &[u64; KEY_WORDS], mask: &[u64; KEY_WORDS]) {
    // SAFETY: `to` has room for `N` words.
    unsafe {
        to.write(u64::from(id));
        for w in 1..N {
            to.add(w).write(words[w - 1] & mask[w - 1]);
        }
    }
}

/// Hashes the whole key.
#[inline(never)]
pub fn hash_all(key: &FlowKey) -> u64 {
    hash(key.words(), maps::hash_seed())
}

#[inline(always)]
fn narrow_words(key: &FlowKey) -> &[u64; NARROW_WORDS] {
    // SAFETY: a key has at least so many words.
    unsafe { &*key.words().as_ptr().cast() }
}
