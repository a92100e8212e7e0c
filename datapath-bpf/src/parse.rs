//! A packet's key: `packet::extract` over the packet's linear data.

use core::cell::Cell;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_skb_load_bytes;
use packet::FlowKey;
use packet::extract::{Chunk, Layers, Meta, Reader, extract};

use crate::maps;

/// The outermost tag where the kernel keeps it beside the frame: TPID and TCI.
#[inline(always)]
pub fn metadata_vlan(skb: *mut __sk_buff) -> Option<(u16, u16)> {
    // SAFETY: reads of context fields, checked by the verifier.
    unsafe {
        if (*skb).vlan_present == 0 {
            return None;
        }
        Some((
            u16::from_be((*skb).vlan_proto as u16),
            (*skb).vlan_tci as u16,
        ))
    }
}

/// Length of the frame with all its tags.
#[inline(always)]
pub fn frame_len(skb: *mut __sk_buff) -> u32 {
    // SAFETY: reads of context fields, checked by the verifier.
    unsafe { (*skb).len + if (*skb).vlan_present != 0 { 4 } else { 0 } }
}

/// Parses a packet that came in on `in_port`. `None`: the frame is too short.
#[inline(always)]
pub fn parse(skb: *mut __sk_buff, in_port: u32, key: &mut FlowKey) -> Option<Layers> {
    let mut packed = parse_linear(skb, key, in_port);
    if packed == INCOMPLETE {
        packed = parse_slowly(skb, key, u64::from(in_port));
    }
    (packed != 0).then_some(Layers {
        l3: packed as u16,
        l4: (packed >> 16) as u16,
        routing: packed >> 32 & 1 != 0,
        wide: packed >> 33 & 1 != 0,
    })
}

/// Layers in one word; a frame always has an `l3`.
#[inline(always)]
fn pack(layers: Layers) -> u64 {
    u64::from(layers.l3)
        | u64::from(layers.l4) << 16
        | u64::from(layers.routing) << 32
        | u64::from(layers.wide) << 33
}

/// The packet needs [`parse_slowly`].
const INCOMPLETE: u64 = u64::MAX;

/// Parses what lies in the packet's linear part; returns the layers packed, 0 when the frame is too
/// short, or [`INCOMPLETE`]. A subprogram for the stack that it then gives back.
#[inline(never)]
fn parse_linear(skb: *mut __sk_buff, key: &mut FlowKey, in_port: u32) -> u64 {
    let frame = Linear::new(skb);
    // SAFETY: a read of a context field, checked by the verifier.
    let mark = unsafe { (*skb).mark };
    let meta = Meta {
        in_port,
        recirc_id: 0,
        mark,
        vlan: metadata_vlan(skb),
    };
    let layers = extract(&frame, &meta, key);
    match layers {
        _ if frame.incomplete.get() => INCOMPLETE,
        Ok(layers) => pack(layers),
        Err(_) => 0,
    }
}

/// Parses packets whose headers lie in page fragments, or that have chains of headers.
///
/// Returns the layers packed into one word, 0 when the frame is too short. Exported, so that the
/// kernel verifies it once by itself.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn parse_slowly(skb: *mut __sk_buff, key: *mut FlowKey, in_port: u64) -> u64 {
    // SAFETY: the verifier checks callers' pointers against the type.
    let Some(key) = (unsafe { key.as_mut() }) else {
        return 0;
    };
    let mark = unsafe { (*skb).mark };
    let meta = Meta {
        in_port: in_port as u32,
        recirc_id: 0,
        mark,
        vlan: metadata_vlan(skb),
    };
    let Some(memory) = maps::scratch() else {
        return 0;
    };
    match extract(
        &Copying {
            skb,
            memory: memory.cast(),
        },
        &meta,
        key,
    ) {
        Ok(layers) => pack(layers),
        Err(_) => 0,
    }
}

/// The linear part of a packet.
struct Linear {
    data: usize,
    end: usize,
    len: usize,
    /// The packet needs the slow reader.
    incomplete: Cell<bool>,
}

impl Linear {
    #[inline(always)]
    fn new(skb: *mut __sk_buff) -> Linear {
        // SAFETY: reads of context fields, checked by the verifier.
        unsafe {
            Linear {
                data: (*skb).data as usize,
                end: (*skb).data_end as usize,
                len: (*skb).len as usize,
                incomplete: Cell::new(false),
            }
        }
    }
}

impl Reader for Linear {
    type Chunk<const N: usize> = Bytes;

    #[inline(always)]
    fn len_bytes(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn chunk<const N: usize>(&self, offset: usize) -> Option<Bytes> {
        let at = self.data + offset;
        if at + N > self.end {
            if offset + N <= self.len {
                self.incomplete.set(true);
            }
            return None;
        }
        Some(Bytes(at as *const u8))
    }

    #[inline(always)]
    fn follows_chains(&self) -> bool {
        self.incomplete.set(true);
        false
    }
}

/// Bytes of a packet that were checked to be there.
///
/// The kernel permits loads from packets at any address; volatile ones, as the compiler would read
/// what it cannot know to be aligned byte by byte. The verifier checks each once more.
struct Bytes(*const u8);

impl Chunk for Bytes {
    #[inline(always)]
    fn u8(&self, at: usize) -> u8 {
        // SAFETY: within the chunk, see `Linear::chunk`; else the verifier refuses the program.
        unsafe { self.0.add(at).read_volatile() }
    }
    #[inline(always)]
    fn u16(&self, at: usize) -> u16 {
        // SAFETY: as in `u8`.
        unsafe { self.0.add(at).cast::<u16>().read_volatile() }
    }
    #[inline(always)]
    fn u32(&self, at: usize) -> u32 {
        // SAFETY: as in `u8`.
        unsafe { self.0.add(at).cast::<u32>().read_volatile() }
    }
    #[inline(always)]
    fn u64(&self, at: usize) -> u64 {
        // SAFETY: as in `u8`.
        unsafe { self.0.add(at).cast::<u64>().read_volatile() }
    }
}

/// Any part of a packet, by copying it to memory that is not limited as the stack is.
///
/// Each chunk length has a place of its own there, so a chunk holds until the next one of its
/// length; `extract` is done with one before it asks for the next.
struct Copying {
    skb: *mut __sk_buff,
    memory: *mut u8,
}

/// Bytes of a chunk's place.
const PLACE: usize = 64;

impl Reader for Copying {
    type Chunk<const N: usize> = Bytes;

    #[inline(always)]
    fn len_bytes(&self) -> usize {
        // SAFETY: a read of a context field, checked by the verifier.
        unsafe { (*self.skb).len as usize }
    }

    #[inline(always)]
    fn chunk<const N: usize>(&self, offset: usize) -> Option<Bytes> {
        const { assert!(N <= PLACE && (N + 1) * PLACE <= maps::SCRATCH_BYTES) };
        // SAFETY: within the scratch value, as just asserted.
        unsafe {
            let to = self.memory.add(N * PLACE);
            if bpf_skb_load_bytes(self.skb.cast(), offset as u32, to.cast(), N as u32) != 0 {
                return None;
            }
            Some(Bytes(to))
        }
    }
}
