//! From a key to its flow: the exact-match cache, then the megaflows of the masks that are live
//! for the ingress port.

use packet::FlowKey;
use packet::abi::{
    FlowSlot, MAX_LIVE_MASKS, NarrowKey, TABLE_PROBES, WideKey, hash, live_flags, table_hash,
};
use packet::extract::Layers;
use packet::key::{KEY_WORDS, NARROW_WORDS};

use crate::counters::now_ns;
use crate::maps;

/// Finds the flow of a packet and counts the packet on it.
#[inline(always)]
pub fn lookup(key: &FlowKey, layers: Layers, len_bytes: u32) -> Option<&'static FlowSlot> {
    let slot = if layers.wide { wide(key) } else { narrow(key) };
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

#[inline(always)]
fn narrow(key: &FlowKey) -> u64 {
    let Some(live) = maps::live(key.in_port) else {
        return NO_SLOT;
    };
    if live.flags & live_flags::SKIP_EXACT != 0 {
        return one_mask(key, u32::from(live.ids[0]));
    }
    let words = narrow_words(key);
    let Some(entry) = maps::exact_narrow(hash(words, maps::hash_seed())) else {
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

/// The lookup where one narrow mask is live: the most common one, so without a subprogram.
#[inline(always)]
fn one_mask(key: &FlowKey, id: u32) -> u64 {
    let Some(entry) = maps::mask(id) else {
        return NO_SLOT;
    };
    let (words, mask) = (key.words(), entry.mask.0.words());
    let mut masked = [0; NARROW_WORDS];
    for w in 0..NARROW_WORDS {
        masked[w] = words[w] & mask[w];
    }
    let Some(slot) = narrow_megaflow(&masked, id) else {
        // To count the miss, or to find what did not fit in the table.
        return visit_masks(key);
    };
    if let Some(c) = maps::cpu_counters() {
        c.megaflow_hit += 1;
        c.mask_visited += 1;
    }
    u64::from(slot)
}

#[inline(always)]
fn wide(key: &FlowKey) -> u64 {
    let cached = wide_cached(key);
    if cached != NO_SLOT {
        return cached;
    }
    let slot = visit_masks(key);
    if slot != NO_SLOT {
        cache_wide(key, slot);
    }
    slot
}

/// The exact-match cache's answer for a wide key. Subprograms, for the stack that they give back.
#[inline(never)]
fn wide_cached(key: &FlowKey) -> u64 {
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
    NO_SLOT
}

#[inline(never)]
fn cache_wide(key: &FlowKey, slot: u64) -> u64 {
    let words = key.words();
    if let Some(entry) = maps::exact_wide(hash_all(key))
        && let Some(flow) = maps::flow(slot as u32)
        && flow.generation & 1 == 0
    {
        for i in 0..KEY_WORDS {
            entry.words[i] = words[i];
        }
        entry.slot = slot as u32;
        entry.generation = flow.generation;
    }
    0
}

const NO_SLOT: u64 = u64::MAX;

/// The flow slot of a key's megaflow, or [`NO_SLOT`]. Exported, so that the kernel verifies it once
/// by itself and not for every call.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn visit_masks(key: *const FlowKey) -> u64 {
    // SAFETY: the verifier checks callers' pointers against the type.
    let Some(key) = (unsafe { key.as_ref() }) else {
        return NO_SLOT;
    };
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
            match narrow_megaflow(&masked.words, id) {
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
fn narrow_megaflow(masked: &[u64; NARROW_WORDS], mask_id: u32) -> Option<u32> {
    let place = table_hash(masked, mask_id, maps::hash_seed());
    for probe in 0..TABLE_PROBES {
        let entry = maps::mega_table(place.wrapping_add(probe))?;
        if entry.mask_id != mask_id {
            continue;
        }
        let mut differs = 0;
        for w in 0..NARROW_WORDS {
            differs |= entry.words[w] ^ masked[w];
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
