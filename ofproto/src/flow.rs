//! `Flow`: one packet's match fields together with its pipeline state, as twenty-five 64-bit words.
//!
//! A [`Flow`] is the datapath's [`FlowKey`] (words 0 to 14, see `packet::key` for their layout and
//! conventions) followed by what exists only while a packet travels through OpenFlow tables:
//!
//! ```text
//! 15      in_port (OpenFlow number, host order):4   pad:4
//! 16      metadata (host order)
//! 17..25  reg0 to reg15, two to a word, host order
//! ```
//!
//! `key.in_port` is the datapath port that the packet came in on; it never changes during
//! translation and is exact in every megaflow. `pipeline.in_port` is what OpenFlow calls `in_port`:
//! it is relative to a bridge, so crossing a patch port changes it.
//!
//! [`Mask`] has the same shape; a 1 bit means that the bit matters. Everything that compares,
//! hashes or widens works on words; named access to fields is in [`crate::flow_field`].
//!
//! Source: OVS `struct flow` and `struct flow_wildcards` (`include/openvswitch/flow.h`) have the
//! same role.

use std::hash::{Hash, Hasher};

use packet::key::KEY_WORDS;
use packet::{FlowKey, FlowMask, OfPort};

/// 64-bit words in a [`Flow`].
pub const FLOW_WORDS: usize = KEY_WORDS + 10;
/// OpenFlow registers (`reg0` and up).
pub const N_REGS: usize = 16;

/// State of a packet in the OpenFlow pipeline that the datapath knows nothing of.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Pipeline {
    /// Ingress port in the numbers of the bridge that is being traversed.
    pub in_port: u32,
    pub pad: u32,
    pub metadata: u64,
    pub regs: [u32; N_REGS],
}

/// A packet's match fields at one point of translation.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flow {
    pub key: FlowKey,
    pub pipeline: Pipeline,
}

/// A mask over [`Flow`].
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Mask(pub Flow);

const _: () = assert!(size_of::<Flow>() == FLOW_WORDS * 8);
const _: () = assert!(core::mem::offset_of!(Flow, pipeline) == KEY_WORDS * 8);

/// Words at once, where field by field takes several times as long.
impl Hash for Flow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.bytes());
    }
}

impl Flow {
    /// The flow of a packet that enters a bridge on `in_port`: registers and metadata are zero.
    pub fn new(key: FlowKey, in_port: OfPort) -> Flow {
        Flow {
            key,
            pipeline: Pipeline {
                in_port: in_port.0,
                ..Pipeline::zero()
            },
        }
    }

    pub const fn zero() -> Flow {
        Flow {
            key: FlowKey::zero(),
            pipeline: Pipeline::zero(),
        }
    }

    #[inline(always)]
    pub fn words(&self) -> &[u64; FLOW_WORDS] {
        // SAFETY: `Flow` is `repr(C, align(8))` of exactly FLOW_WORDS * 8 bytes (asserted above)
        // without implicit padding, and every bit pattern is valid for both types.
        unsafe { &*(self as *const Flow).cast() }
    }

    #[inline(always)]
    pub fn words_mut(&mut self) -> &mut [u64; FLOW_WORDS] {
        // SAFETY: as in `words`.
        unsafe { &mut *(self as *mut Flow).cast() }
    }

    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8; FLOW_WORDS * 8] {
        // SAFETY: as in `words`; bytes need no alignment.
        unsafe { &*(self as *const Flow).cast() }
    }

    #[inline(always)]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; FLOW_WORDS * 8] {
        // SAFETY: as in `bytes`.
        unsafe { &mut *(self as *mut Flow).cast() }
    }

    pub fn from_words(words: [u64; FLOW_WORDS]) -> Flow {
        let mut flow = Flow::zero();
        *flow.words_mut() = words;
        flow
    }

    pub fn in_port(&self) -> OfPort {
        OfPort(self.pipeline.in_port)
    }

    /// `self` with every bit outside `mask` cleared.
    pub fn masked(&self, mask: &Mask) -> Flow {
        let mut out = *self;
        for (w, m) in out.words_mut().iter_mut().zip(mask.words()) {
            *w &= m;
        }
        out
    }

    /// True when `self` and `other` agree in every bit of `mask`.
    pub fn matches(&self, other: &Flow, mask: &Mask) -> bool {
        self.words()
            .iter()
            .zip(other.words())
            .zip(mask.words())
            .all(|((a, b), m)| (a ^ b) & m == 0)
    }
}

impl Pipeline {
    pub const fn zero() -> Pipeline {
        Pipeline {
            in_port: 0,
            pad: 0,
            metadata: 0,
            regs: [0; N_REGS],
        }
    }
}

impl Mask {
    /// Nothing matters.
    pub const fn empty() -> Mask {
        Mask(Flow::zero())
    }

    /// Every bit matters.
    pub fn exact() -> Mask {
        Mask(Flow::from_words([u64::MAX; FLOW_WORDS]))
    }

    #[inline(always)]
    pub fn words(&self) -> &[u64; FLOW_WORDS] {
        self.0.words()
    }

    #[inline(always)]
    pub fn words_mut(&mut self) -> &mut [u64; FLOW_WORDS] {
        self.0.words_mut()
    }

    /// Adds the bits of `other`.
    pub fn widen(&mut self, other: &Mask) {
        for (a, b) in self.words_mut().iter_mut().zip(other.words()) {
            *a |= b;
        }
    }

    /// True when every bit of `other` is in `self`.
    pub fn covers(&self, other: &Mask) -> bool {
        self.words()
            .iter()
            .zip(other.words())
            .all(|(a, b)| b & !a == 0)
    }

    /// The bits in both.
    pub fn intersect(&self, other: &Mask) -> Mask {
        let mut out = *self;
        for (a, b) in out.words_mut().iter_mut().zip(other.words()) {
            *a &= b;
        }
        out
    }

    pub fn is_empty(&self) -> bool {
        self.words().iter().all(|w| *w == 0)
    }

    /// The part that the datapath can match on, as a megaflow mask: `in_port` and `recirc_id`
    /// are always whole.
    pub fn datapath_mask(&self) -> FlowMask {
        let mut key = self.0.key;
        key.in_port = u32::MAX;
        key.recirc_id = u32::MAX;
        FlowMask(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cover_key_and_pipeline() {
        let mut flow = Flow::new(FlowKey::zero(), OfPort(7));
        flow.pipeline.metadata = 5;
        flow.pipeline.regs[15] = 1;
        assert_eq!(flow.words()[16], 5);
        assert_ne!(flow.words()[15], 0);
        assert_ne!(flow.words()[24], 0);
        assert_eq!(Flow::from_words(*flow.words()), flow);
        let mut mask = Mask::empty();
        assert!(mask.is_empty());
        mask.0.pipeline.metadata = 4;
        assert_eq!(flow.masked(&mask).pipeline.metadata, 4);
        assert!(mask.datapath_mask().0.in_port == u32::MAX);
        assert!(Mask::exact().covers(&mask));
        assert!(!mask.covers(&Mask::exact()));
    }
}
