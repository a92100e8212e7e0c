//! The maps of `packet::abi`, the constants that the loader sets, and typed lookups.
//!
//! Entry counts here are placeholders where capacities are configuration; the loader sets them.

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use packet::FlowKey;

use crate::execute::Execution;
use packet::abi::*;
use packet::action::ActionRecord;

const MMAPABLE: u32 = 1 << 10;
const NO_PREALLOC: u32 = 1;

#[map]
static PORTS: Array<PortEntry> = Array::pinned(1, MMAPABLE);
#[map]
static IFINDEX: Array<IfEntry> = Array::pinned(IFINDEX_SLOTS, MMAPABLE);
#[map]
static IFINDEX_MORE: HashMap<u32, u32> = HashMap::pinned(1, NO_PREALLOC);
#[map]
static MASKS: Array<MaskEntry> = Array::pinned(MASK_SLOTS, MMAPABLE);
#[map]
static LIVE: Array<LiveMasks> = Array::pinned(1, MMAPABLE);
#[map]
static MEGA_TABLE: Array<TableEntry> = Array::pinned(1, MMAPABLE);
#[map]
static MEGA_NARROW: HashMap<NarrowKey, u32> = HashMap::pinned(1, NO_PREALLOC);
#[map]
static MEGA_WIDE: HashMap<WideKey, u32> = HashMap::pinned(1, NO_PREALLOC);
#[map]
static FLOWS: Array<FlowSlot> = Array::pinned(1, MMAPABLE);
#[map]
static BLOCKS: Array<ActionBlock> = Array::pinned(1, MMAPABLE);
#[map]
static FLOW_INFO: Array<FlowInfo> = Array::pinned(1, MMAPABLE);
#[map]
static STATS: Array<FlowCounters> = Array::pinned(1, MMAPABLE);
#[map]
static EXACT_NARROW: Array<ExactNarrow> = Array::pinned(1, MMAPABLE);
#[map]
static EXACT_WIDE: Array<ExactWide> = Array::pinned(1, MMAPABLE);
#[map]
static CPU_COUNTERS: Array<CpuCounters> = Array::pinned(1, MMAPABLE);
#[map]
static PORT_COUNTERS: Array<PortCounters> = Array::pinned(1, MMAPABLE);
#[map]
static MASK_HITS: Array<u64> = Array::pinned(1, MMAPABLE);
#[map]
static DROPS: Array<u64> = Array::pinned(1, MMAPABLE);
#[map]
static QUOTA: Array<TokenBucket> = Array::pinned(1, MMAPABLE);
#[map]
static METERS: Array<MeterEntry> = Array::pinned(METER_SLOTS, MMAPABLE);
#[map]
static METER_COUNTERS: Array<MeterCounters> = Array::pinned(1, MMAPABLE);
#[map]
static PENDING: Array<PendingEntry> = Array::pinned(PENDING_SLOTS, MMAPABLE);
#[map]
static INJECT: Array<InjectSlot> = Array::pinned(INJECT_SLOTS, MMAPABLE);
#[map]
static CONFIG: Array<Config> = Array::pinned(1, MMAPABLE);
#[map]
pub static UPCALLS: RingBuf = RingBuf::pinned(4096, 0);

/// Memory for what does not fit on the stack; no two users of one run use it at a time.
#[map]
static SCRATCH: PerCpuArray<[u8; SCRATCH_BYTES]> = PerCpuArray::with_max_entries(1, 0);

/// The packet's key: in memory of its own, as the stack is small. Only a nested run, which a copy of
/// the packet may cause, overwrites it; by then the key is done with.
#[map]
static KEY: PerCpuArray<FlowKey> = PerCpuArray::with_max_entries(1, 0);

/// Runs of this program that are under way on this CPU, one in the other, in their actions.
#[map]
static DEPTH: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
#[map]
static EXECUTIONS: PerCpuArray<Execution> = PerCpuArray::with_max_entries(MAX_DEPTH, 0);

const MAX_DEPTH: u32 = 4;

pub const SCRATCH_BYTES: usize = 4096;

#[unsafe(no_mangle)]
static FLOWS_CAPACITY: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
static PORTS_CAPACITY: Global<u32> = Global::new(1);
#[unsafe(no_mangle)]
static EXACT_NARROW_INDEX: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static EXACT_WIDE_INDEX: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TABLE_INDEX: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static HASH_SEED: Global<u64> = Global::new(0);

#[inline(always)]
pub fn hash_seed() -> u64 {
    HASH_SEED.load()
}

#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: no arguments.
    unsafe { bpf_get_smp_processor_id() }
}

/// An entry of a shared array. Races with other CPUs and with userspace are part of each record's
/// meaning; no two fields that must agree are read apart without a generation between them.
#[inline(always)]
fn at<T>(array: &'static Array<T>, index: u32) -> Option<&'static mut T> {
    // SAFETY: array entries live as long as the map, which the program holds.
    array.get_ptr_mut(index).map(|p| unsafe { &mut *p })
}

/// 0 when the device is no port.
#[inline(always)]
pub fn port_of(ifindex: u32) -> u32 {
    if let Some(entry) = at(&IFINDEX, ifindex % IFINDEX_SLOTS)
        && entry.ifindex == ifindex
    {
        return entry.port;
    }
    // SAFETY: values are not deleted while in use: the map's elements are freed after a grace period.
    unsafe { IFINDEX_MORE.get(ifindex) }.copied().unwrap_or(0)
}

/// `None` when there is no such port.
#[inline(always)]
pub fn port(port_no: u32) -> Option<&'static PortEntry> {
    let entry = at(&PORTS, port_no)?;
    (entry.flags & port_flags::EXISTS != 0).then_some(&*entry)
}

#[inline(always)]
pub fn live(port_no: u32) -> Option<&'static LiveMasks> {
    at(&LIVE, port_no).map(|e| &*e)
}

#[inline(always)]
pub fn mask(id: u32) -> Option<&'static MaskEntry> {
    at(&MASKS, id).map(|e| &*e)
}

/// The entry of a narrow megaflow at a place in the table.
#[inline(always)]
pub fn mega_table(place: u32) -> Option<&'static TableEntry> {
    at(&MEGA_TABLE, place & TABLE_INDEX.load()).map(|e| &*e)
}

#[inline(always)]
pub fn mega_narrow(key: &NarrowKey) -> Option<u32> {
    // SAFETY: as in `port_of`.
    unsafe { MEGA_NARROW.get(key) }.copied()
}

#[inline(always)]
pub fn mega_wide(key: &WideKey) -> Option<u32> {
    // SAFETY: as in `port_of`.
    unsafe { MEGA_WIDE.get(key) }.copied()
}

#[inline(always)]
pub fn flow(slot: u32) -> Option<&'static FlowSlot> {
    at(&FLOWS, slot).map(|e| &*e)
}

#[inline(always)]
pub fn record(block: u32, index: usize) -> Option<&'static ActionRecord> {
    let block = at(&BLOCKS, block)?;
    block.records.get(index).map(|r| &*r)
}

#[inline(always)]
pub fn stats(slot: u32) -> Option<&'static mut FlowCounters> {
    at(
        &STATS,
        cpu().wrapping_mul(FLOWS_CAPACITY.load()).wrapping_add(slot),
    )
}

#[inline(always)]
pub fn exact_narrow(hash: u64) -> Option<&'static mut ExactNarrow> {
    let mask = EXACT_NARROW_INDEX.load();
    at(
        &EXACT_NARROW,
        cpu()
            .wrapping_mul(mask.wrapping_add(1))
            .wrapping_add(hash as u32 & mask),
    )
}

#[inline(always)]
pub fn exact_wide(hash: u64) -> Option<&'static mut ExactWide> {
    let mask = EXACT_WIDE_INDEX.load();
    at(
        &EXACT_WIDE,
        cpu()
            .wrapping_mul(mask.wrapping_add(1))
            .wrapping_add(hash as u32 & mask),
    )
}

#[inline(always)]
pub fn cpu_counters() -> Option<&'static mut CpuCounters> {
    at(&CPU_COUNTERS, cpu())
}

#[inline(always)]
pub fn port_counters(port_no: u32) -> Option<&'static mut PortCounters> {
    at(
        &PORT_COUNTERS,
        cpu()
            .wrapping_mul(PORTS_CAPACITY.load())
            .wrapping_add(port_no),
    )
}

#[inline(always)]
pub fn mask_hits(id: u32) -> Option<&'static mut u64> {
    at(&MASK_HITS, cpu().wrapping_mul(MASK_SLOTS).wrapping_add(id))
}

#[inline(always)]
pub fn drops(reason: u32) -> Option<&'static mut u64> {
    at(&DROPS, cpu().wrapping_mul(DROP_SLOTS).wrapping_add(reason))
}

#[inline(always)]
pub fn quota(port_no: u32) -> Option<&'static mut TokenBucket> {
    at(&QUOTA, port_no)
}

/// `None` when there is no such meter.
#[inline(always)]
pub fn meter(id: u32) -> Option<&'static mut MeterEntry> {
    at(&METERS, id).filter(|m| m.exists())
}

#[inline(always)]
pub fn meter_counters(id: u32) -> Option<&'static mut MeterCounters> {
    at(
        &METER_COUNTERS,
        cpu().wrapping_mul(METER_SLOTS).wrapping_add(id),
    )
}

#[inline(always)]
pub fn pending(hash: u64) -> Option<&'static mut PendingEntry> {
    at(&PENDING, hash as u32 % PENDING_SLOTS)
}

#[inline(always)]
pub fn config() -> Option<&'static Config> {
    at(&CONFIG, 0).map(|e| &*e)
}

/// `None` when userspace has not filled the slot.
#[inline(always)]
pub fn inject_slot(slot_no: u16) -> Option<&'static InjectSlot> {
    let slot = at(&INJECT, u32::from(slot_no))?;
    (slot.block != 0).then_some(&*slot)
}

/// Memory for this run's key, with an earlier one's content.
#[inline(always)]
pub fn key() -> Option<&'static mut FlowKey> {
    // SAFETY: per-CPU, and every bit pattern is a key.
    KEY.get_ptr_mut(0).map(|p| unsafe { &mut *p })
}

#[inline(always)]
pub fn depth() -> Option<&'static mut u32> {
    // SAFETY: as in `key`.
    DEPTH.get_ptr_mut(0).map(|p| unsafe { &mut *p })
}

/// `None` when runs are nested too deep.
#[inline(always)]
pub fn execution(depth: u32) -> Option<&'static mut Execution> {
    // SAFETY: as in `key`.
    EXECUTIONS.get_ptr_mut(depth).map(|p| unsafe { &mut *p })
}

#[inline(always)]
pub fn scratch() -> Option<*mut [u8; SCRATCH_BYTES]> {
    SCRATCH.get_ptr_mut(0)
}
