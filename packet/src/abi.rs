//! Records that the eBPF programs and userspace share: map names, capacities, keys and values.
//!
//! Every array that both sides touch is `BPF_F_MMAPABLE`: userspace works on it as shared memory,
//! and only the hash tables and the ring buffer need system calls. Arrays that the programs count
//! in are indexed by `cpu * entries + index`, so no two CPUs write one cache line.
//!
//! | map | kind | index or key | value |
//! | --- | --- | --- | --- |
//! | [`maps::PORTS`] | array | datapath port | [`PortEntry`] |
//! | [`maps::IFINDEX`] | array | ifindex modulo [`IFINDEX_SLOTS`] | [`IfEntry`] |
//! | [`maps::IFINDEX_MORE`] | hash | ifindex whose array entry is another's | datapath port |
//! | [`maps::MASKS`] | array | mask id | [`MaskEntry`] |
//! | [`maps::LIVE`] | array | datapath port | [`LiveMasks`] |
//! | [`maps::MEGA_TABLE`] | array | see [`TableEntry`] | [`TableEntry`] |
//! | [`maps::MEGA_NARROW`] | hash | [`NarrowKey`] | flow slot; what did not fit in `MEGA_TABLE` |
//! | [`maps::MEGA_WIDE`] | hash | [`WideKey`] | flow slot |
//! | [`maps::FLOWS`] | array | flow slot | [`FlowSlot`] |
//! | [`maps::BLOCKS`] | array | block | [`ActionBlock`] |
//! | [`maps::FLOW_INFO`] | array | flow slot | [`FlowInfo`], userspace's own |
//! | [`maps::STATS`] | array | cpu, flow slot | [`FlowCounters`] |
//! | [`maps::EXACT_NARROW`] | array | cpu, hash | [`ExactNarrow`] |
//! | [`maps::EXACT_WIDE`] | array | cpu, hash | [`ExactWide`] |
//! | [`maps::CPU_COUNTERS`] | array | cpu | [`CpuCounters`] |
//! | [`maps::PORT_COUNTERS`] | array | cpu, datapath port | [`PortCounters`] |
//! | [`maps::MASK_HITS`] | array | cpu, mask id | `u64` |
//! | [`maps::DROPS`] | array | cpu, [`crate::DropReason`] | `u64` |
//! | [`maps::QUOTA`] | array | datapath port | [`TokenBucket`] |
//! | [`maps::METERS`] | array | meter | [`MeterEntry`] |
//! | [`maps::METER_COUNTERS`] | array | cpu, meter | [`MeterCounters`] |
//! | [`maps::PENDING`] | array | hash of a missed key | [`PendingEntry`] |
//! | [`maps::INJECT`] | array | injection slot | [`InjectSlot`] |
//! | [`maps::CONFIG`] | array | 0 | [`Config`] |
//! | [`maps::UPCALLS`] | ring buffer | | [`UpcallHeader`], then the frame |
//!
//! Slots and generations. A megaflow's value is a slot number; the slot's generation is even while
//! the slot is in use and odd while it is not. Exact entries remember slot and generation, so
//! making the generation odd ends every exact entry made from the flow. A slot is used again only
//! after a grace period in which every program run that saw the old content has ended.

use crate::action::ActionRecord;
use crate::drop_reason::DROP_REASONS;
use crate::key::{FlowKey, FlowMask, KEY_WORDS, NARROW_WORDS};
pub use crate::meter::{MeterCounters, MeterEntry};

/// Changes whenever a record or its meaning changes.
pub const ABI_VERSION: u32 = 3;

/// Map names, as the kernel shows them (at most 15 bytes).
pub mod maps {
    pub const PORTS: &str = "PORTS";
    pub const IFINDEX: &str = "IFINDEX";
    pub const IFINDEX_MORE: &str = "IFINDEX_MORE";
    pub const MASKS: &str = "MASKS";
    pub const LIVE: &str = "LIVE";
    pub const MEGA_TABLE: &str = "MEGA_TABLE";
    pub const MEGA_NARROW: &str = "MEGA_NARROW";
    pub const MEGA_WIDE: &str = "MEGA_WIDE";
    pub const FLOWS: &str = "FLOWS";
    pub const BLOCKS: &str = "BLOCKS";
    pub const FLOW_INFO: &str = "FLOW_INFO";
    pub const STATS: &str = "STATS";
    pub const EXACT_NARROW: &str = "EXACT_NARROW";
    pub const EXACT_WIDE: &str = "EXACT_WIDE";
    pub const CPU_COUNTERS: &str = "CPU_COUNTERS";
    pub const PORT_COUNTERS: &str = "PORT_COUNTERS";
    pub const MASK_HITS: &str = "MASK_HITS";
    pub const DROPS: &str = "DROPS";
    pub const QUOTA: &str = "QUOTA";
    pub const METERS: &str = "METERS";
    pub const METER_COUNTERS: &str = "METER_COUNTERS";
    pub const PENDING: &str = "PENDING";
    pub const INJECT: &str = "INJECT";
    pub const CONFIG: &str = "CONFIG";
    pub const UPCALLS: &str = "UPCALLS";
}

/// Constants of the programs that the loader sets.
pub mod globals {
    pub const FLOWS: &str = "FLOWS_CAPACITY";
    pub const PORTS: &str = "PORTS_CAPACITY";
    /// Entries of each exact-match cache on one CPU, less one; entries are a power of two.
    pub const EXACT_NARROW_MASK: &str = "EXACT_NARROW_INDEX";
    pub const EXACT_WIDE_MASK: &str = "EXACT_WIDE_INDEX";
    /// As the two before, for [`super::maps::MEGA_TABLE`].
    pub const TABLE_MASK: &str = "TABLE_INDEX";
    pub const HASH_SEED: &str = "HASH_SEED";
}

/// Entries of [`maps::IFINDEX`].
pub const IFINDEX_SLOTS: u32 = 4096;
/// Entries of [`maps::MASKS`]; id 0 is never used.
pub const MASK_SLOTS: u32 = 1024;
/// Masks that a lookup visits for one ingress port.
pub const MAX_LIVE_MASKS: usize = 64;
/// Entries of [`maps::PENDING`], a power of two.
pub const PENDING_SLOTS: u32 = 8192;
/// Entries of [`maps::INJECT`]. An injection slot number fits in a VLAN tag's 16 TCI bits.
pub const INJECT_SLOTS: u32 = 1024;
/// Entries of [`maps::METERS`]; 0 is never used.
pub const METER_SLOTS: u32 = 4096;
/// Counters of one CPU in [`maps::DROPS`].
pub const DROP_SLOTS: u32 = 32;
/// Steps that one packet's actions take at most: one for each action, each output on its own, and
/// one for each [`crate::action::kind::NEXT`].
pub const MAX_STEPS: u32 = 4096;

const _: () = assert!(DROP_REASONS <= DROP_SLOTS as usize);

/// A datapath port.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PortEntry {
    pub ifindex: u32,
    /// Bits of [`port_flags`]; 0: no such port.
    pub flags: u32,
    /// NUL-padded; userspace's own.
    pub name: [u8; 16],
}

/// Bits of [`PortEntry::flags`].
pub mod port_flags {
    pub const EXISTS: u32 = 1;
    /// Delivered to the host: the device's own stack receives what is sent to the port.
    pub const INTERNAL: u32 = 2;
    pub const RECEIVE: u32 = 4;
    pub const TRANSMIT: u32 = 8;
}

/// Datapath port of a network device.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct IfEntry {
    /// 0: unused.
    pub ifindex: u32,
    pub port: u32,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MaskEntry {
    pub mask: FlowMask,
    /// 1: words [`NARROW_WORDS`].. are zero and the flows are in [`maps::MEGA_NARROW`].
    pub narrow: u32,
    /// Flows of the mask that are in [`maps::MEGA_NARROW`]; 0: a lookup need not go there.
    pub spilled: u32,
}

/// Masks to visit for packets of one ingress port, most-hit first.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LiveMasks {
    /// How many of `ids` count.
    pub len: u32,
    /// Bits of [`live_flags`].
    pub flags: u32,
    pub ids: [u16; MAX_LIVE_MASKS],
}

impl Default for LiveMasks {
    fn default() -> LiveMasks {
        LiveMasks {
            len: 0,
            flags: 0,
            ids: [0; MAX_LIVE_MASKS],
        }
    }
}

/// Bits of [`LiveMasks::flags`].
pub mod live_flags {
    /// The masked lookup costs no more than the exact-match cache: packets with narrow keys pass
    /// the cache by.
    pub const SKIP_EXACT: u32 = 1;
}

/// Narrow megaflow in [`maps::MEGA_TABLE`]: one cache line.
///
/// The flow lies in one of [`TABLE_PROBES`] entries from [`table_hash`] on, modulo the number of
/// entries, a power of two; the rest is in [`maps::MEGA_NARROW`]. An entry counts while its
/// `mask_id` is not 0 and its words equal the masked key. Userspace writes the words first, then
/// slot and mask id at once; it clears them the other way, the first word included, and uses the
/// entry again only after a grace period. So no reader takes an old entry's words with a new one's
/// slot, in whatever order its loads are done: the first word of a key is never 0.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TableEntry {
    pub words: [u64; NARROW_WORDS],
    pub slot: u32,
    pub mask_id: u32,
}

/// Entries that a lookup in [`maps::MEGA_TABLE`] looks at.
pub const TABLE_PROBES: u32 = 4;

/// Key of [`maps::MEGA_NARROW`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct NarrowKey {
    pub mask_id: u64,
    pub words: [u64; NARROW_WORDS],
}

/// Key of [`maps::MEGA_WIDE`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WideKey {
    pub mask_id: u64,
    pub words: [u64; KEY_WORDS],
}

/// What to do with packets of a megaflow.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FlowSlot {
    /// Even: in use.
    pub generation: u32,
    /// The whole action list is one output, to this port; 0: see `block`.
    pub fast_port: u32,
    /// First block of the action list.
    pub block: u32,
    pub pad: u32,
}

/// Records in an [`ActionBlock`].
pub const BLOCK_RECORDS: usize = 4;

/// Part of an action list: one cache line. The list ends at [`crate::action::kind::END`], at the
/// end of the block, or goes on in the block that a [`crate::action::kind::NEXT`] names.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ActionBlock {
    pub records: [ActionRecord; BLOCK_RECORDS],
}

/// What userspace must know of a flow slot and a successor must find again.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FlowInfo {
    /// Counted under earlier actions of the same megaflow.
    pub carried: FlowCounters,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct FlowCounters {
    pub packets: u64,
    pub bytes: u64,
    /// `CLOCK_MONOTONIC` of the last packet, to the tick; 0: never.
    pub used_ns: u64,
    pub tcp_flags: u16,
    pub pad: [u16; 3],
}

/// Entry of the exact-match cache for keys whose words [`NARROW_WORDS`].. are zero: one cache line.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ExactNarrow {
    pub words: [u64; NARROW_WORDS],
    pub slot: u32,
    pub generation: u32,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ExactWide {
    pub words: [u64; KEY_WORDS],
    pub slot: u32,
    pub generation: u32,
}

/// Counters of one CPU over all ports.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CpuCounters {
    pub exact_hit: u64,
    pub megaflow_hit: u64,
    pub missed: u64,
    /// Misses and slow-path packets that did not reach userspace.
    pub lost: u64,
    /// Masks visited.
    pub mask_visited: u64,
    /// The time, and the tick of the kernel's clock at which it was read.
    pub now_ns: u64,
    pub tick: u64,
    pub pad: u64,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PortCounters {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
}

/// Upcall quota of a port. CPUs race on it: now and then a token is spent twice.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TokenBucket {
    pub tokens: u64,
    pub filled_ns: u64,
}

/// A miss that userspace was told of.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PendingEntry {
    pub hash: u64,
    pub expires_ns: u64,
    pub packets: u64,
}

/// How the program at the injection device treats a packet that names this slot.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct InjectSlot {
    pub in_port: u32,
    pub mark: u32,
    /// First block of the action list; 0: the slot is not filled.
    pub block: u32,
    pub pad: u32,
}

/// Settings that may change while the programs run.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Config {
    pub abi_version: u32,
    pub inject_ifindex: u32,
    /// Upcalls per second of one port, and how many may come at once.
    pub quota_rate: u64,
    pub quota_burst: u64,
    /// Packets of one missed key within `pending_ns` that are sent up.
    pub pending_packets: u64,
    pub pending_ns: u64,
    /// Seed of all hashes, so that the places of keys cannot be foreseen.
    pub hash_seed: u64,
    pub pad: [u64; 3],
}

/// Multipliers for each word: odd, without structure (digits of pi).
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

/// Hash of `words`; the products do not wait for each other.
#[inline(always)]
pub fn hash<const N: usize>(words: &[u64; N], seed: u64) -> u64 {
    const { assert!(N <= KEY_WORDS) };
    let mut h = seed;
    let mut i = 0;
    while i < N {
        let w = words[i] ^ seed;
        h = h.wrapping_add((w ^ (w >> 32)).wrapping_mul(FACTORS[i]));
        i += 1;
    }
    h ^= h >> 32;
    h = h.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h ^ (h >> 32)
}

/// Where to look for a masked key in [`maps::MEGA_TABLE`].
#[inline(always)]
pub fn table_hash(masked: &[u64; NARROW_WORDS], mask_id: u32, seed: u64) -> u32 {
    hash(
        masked,
        seed ^ (mask_id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    ) as u32
}

/// Start of every record in [`maps::UPCALLS`]; `data_len` bytes of the frame follow.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct UpcallHeader {
    /// [`upcall_kind`].
    pub kind: u8,
    /// [`crate::action::SlowReason`] for [`upcall_kind::ACTION`].
    pub reason: u8,
    /// 1: `vlan_tci` and `vlan_tpid` belong between the addresses and the rest of the data.
    pub vlan_present: u8,
    pub pad: u8,
    pub vlan_tci: u16,
    pub vlan_tpid: u16,
    pub data_len: u32,
    /// Segment size of a super-packet, else 0.
    pub gso_size: u32,
    pub gso_segs: u32,
    pub pad1: u32,
    pub key: FlowKey,
}

/// Values of [`UpcallHeader::kind`].
pub mod upcall_kind {
    pub const MISS: u8 = 1;
    pub const ACTION: u8 = 2;
}

/// Sizes of the records in [`maps::UPCALLS`], header included. The largest holds a super-packet of
/// 64 KiB with its Ethernet header.
pub const UPCALL_SMALL: usize = 384;
pub const UPCALL_MEDIUM: usize = 2048;
pub const UPCALL_LARGE: usize = 66 * 1024;

const _: () = assert!(size_of::<PortEntry>() == 24);
const _: () = assert!(size_of::<MaskEntry>() == 128);
const _: () = assert!(size_of::<LiveMasks>() == 136);
const _: () = assert!(size_of::<NarrowKey>() == 64);
const _: () = assert!(size_of::<TableEntry>() == 64);
const _: () = assert!(size_of::<WideKey>() == 128);
const _: () = assert!(size_of::<FlowSlot>() == 16);
const _: () = assert!(size_of::<ActionBlock>() == 64);
const _: () = assert!(size_of::<FlowCounters>() == 32);
const _: () = assert!(size_of::<ExactNarrow>() == 64);
const _: () = assert!(size_of::<ExactWide>() == 128);
const _: () = assert!(size_of::<CpuCounters>() == 64);
const _: () = assert!(size_of::<PortCounters>() == 48);
const _: () = assert!(size_of::<InjectSlot>() == 16);
const _: () = assert!(size_of::<Config>() == 72);
const _: () = assert!(size_of::<UpcallHeader>() == 24 + KEY_WORDS * 8);
