//! From a key to its flow: the exact-match cache, then the megaflows of the masks that are live
//! for the ingress port.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use packet::FlowKey;
use packet::abi::{FlowSlot, MAX_LIVE_MASKS, NarrowKey, WideKey, live_flags};
use packet::key::{KEY_WORDS, NARROW_WORDS};

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
        // SAFETY: no arguments.
        stats.used_ns = unsafe { bpf_ktime_get_coarse_ns() };
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
    let Some(entry) = maps::exact_narrow(hash::<NARROW_WORDS>(words)) else {
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
    let counters = maps::cpu_counters();
    for i in 0..MAX_LIVE_MASKS {
        if i as u32 >= live.len {
            break;
        }
        let id = u32::from(live.ids[i]);
        let Some(entry) = maps::mask(id) else { break };
        let (words, mask) = (key.words(), entry.mask.0.words());
        let slot = if entry.narrow != 0 {
            let mut masked = MaybeUninit::<NarrowKey>::uninit();
            fill::<{ NARROW_WORDS + 1 }>(masked.as_mut_ptr().cast(), id, words, mask);
            // SAFETY: `fill` has written every word.
            maps::mega_narrow(unsafe { masked.assume_init_ref() })
        } else {
            let Some(memory) = maps::scratch() else { break };
            fill::<{ KEY_WORDS + 1 }>(memory.cast(), id, words, mask);
            // SAFETY: as above; the scratch value has room for the key.
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

/// Multipliers for each word, odd and without structure (digits of pi).
const FACTORS: [u64; KEY_WORDS] = [
    0x243f_6a88_85a3_08d3,
    0x1319_8a2e_0370_7345,
    0xa409_3822_299f_31d1,
    0x082e_fa98_ec4e_6c89,
    0x4528_21e6_38d0_1377,
    0xbe54_66cf_34e9_0c6d,
    0xc0ac_29b7_c97c_50dd,
    0x3f84_d5b5_b547_0917,
    0x9216_d5d9_8979_fb1b,
    0xd131_0ba6_98df_b5ad,
    0x2ffd_72db_d01a_dfb7,
    0xb8e1_afed_6a26_7e97,
    0xba7c_9045_f12c_7f99,
    0x24a1_9947_b391_6cf7,
    0x0801_f2e2_858e_fc17,
];

/// Hashes the whole key.
#[inline(never)]
pub fn hash_all(key: &FlowKey) -> u64 {
    hash::<KEY_WORDS>(key.words())
}

/// Hashes the first `N` words. The seed is the loader's, so that the places of keys in the cache
/// cannot be foreseen; colliding keys only push each other out of the cache.
#[inline(always)]
fn hash<const N: usize>(words: &[u64; KEY_WORDS]) -> u64 {
    let seed = maps::hash_seed();
    let mut h = seed;
    for i in 0..N {
        let w = words[i] ^ seed;
        h = h.wrapping_add((w ^ (w >> 32)).wrapping_mul(FACTORS[i]));
    }
    h ^= h >> 32;
    h = h.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h ^ (h >> 32)
}
