//! `Pattern`: what one rule matches, in a compact form that all rules of a subtable share.
//!
//! The rules of one subtable have equal masks. The mask is kept once, as a [`Shape`]: the words
//! that it touches, in the order of the stages in which lookup visits them. A [`Pattern`] adds the
//! rule's values for those words, so a rule that matches on three fields stores about three words
//! rather than the fifty of a [`Flow`] and a [`Mask`].

use std::sync::Arc;

use openflow::{Field, Match};
use packet::FlowKey;

use crate::classifier_trie::prefix_mask;
use crate::flow::{Flow, Mask, Pipeline};
use crate::flow_field::{plain_fields, to_match};

/// Stages of a lookup: pipeline state and ports, Ethernet and VLAN, network layer, transport.
pub const N_STAGES: usize = 4;

/// The bits of a flow that each stage looks at; every bit is in exactly one stage.
///
/// Source: OVS `FLOW_SEGMENT_*_ENDS_AT` (`include/openvswitch/flow.h`) divides the same way.
const STAGE_BITS: [Flow; N_STAGES - 1] = [
    Flow {
        key: FlowKey {
            in_port: !0,
            recirc_id: !0,
            pkt_mark: !0,
            ..FlowKey::zero()
        },
        pipeline: Pipeline {
            in_port: !0,
            pad: !0,
            metadata: !0,
            regs: [!0; 16],
        },
    },
    Flow {
        key: FlowKey {
            eth_dst: [!0; 6],
            eth_src: [!0; 6],
            eth_type: [!0; 2],
            vlan0_tci: [!0; 2],
            vlan0_tpid: [!0; 2],
            vlan1_tci: [!0; 2],
            vlan1_tpid: [!0; 2],
            ..FlowKey::zero()
        },
        pipeline: Pipeline::zero(),
    },
    Flow {
        key: FlowKey {
            ip_proto: !0,
            ip_tos: !0,
            ip_ttl: !0,
            ip_frag: !0,
            ipv4_src: [!0; 4],
            ipv4_dst: [!0; 4],
            ipv6_label: [!0; 4],
            ipv6_src: [!0; 16],
            ipv6_dst: [!0; 16],
            ..FlowKey::zero()
        },
        pipeline: Pipeline::zero(),
    },
];

/// The stage that the fields of [`PrefixField`] are in.
pub const PREFIX_STAGE: usize = 2;

/// A field that the classifier can keep a prefix tree for (`Flow_Table.prefixes`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PrefixField {
    Ipv4Src,
    Ipv4Dst,
    Ipv6Src,
    Ipv6Dst,
}

impl PrefixField {
    pub const ALL: [PrefixField; 4] = [
        PrefixField::Ipv4Src,
        PrefixField::Ipv4Dst,
        PrefixField::Ipv6Src,
        PrefixField::Ipv6Dst,
    ];

    /// The field's value, left-aligned.
    pub fn value(self, flow: &Flow) -> u128 {
        let key = &flow.key;
        match self {
            PrefixField::Ipv4Src => u128::from(u32::from_be_bytes(key.ipv4_src)) << 96,
            PrefixField::Ipv4Dst => u128::from(u32::from_be_bytes(key.ipv4_dst)) << 96,
            PrefixField::Ipv6Src => u128::from_be_bytes(key.ipv6_src),
            PrefixField::Ipv6Dst => u128::from_be_bytes(key.ipv6_dst),
        }
    }

    /// Length of the mask on this field; 0 when it is no prefix.
    pub fn prefix_len(self, mask: &Mask) -> u8 {
        let bits = self.value(&mask.0);
        let len = bits.leading_ones() as u8;
        if bits == prefix_mask(len) { len } else { 0 }
    }

    /// Un-wildcards the first `len` bits.
    pub fn unwildcard(self, mask: &mut Mask, len: u8) {
        let bits = prefix_mask(len);
        let key = &mut mask.0.key;
        let or = |field: &mut [u8], bytes: &[u8]| {
            for (f, b) in field.iter_mut().zip(bytes) {
                *f |= b;
            }
        };
        let bytes = bits.to_be_bytes();
        match self {
            PrefixField::Ipv4Src => or(&mut key.ipv4_src, &bytes),
            PrefixField::Ipv4Dst => or(&mut key.ipv4_dst, &bytes),
            PrefixField::Ipv6Src => or(&mut key.ipv6_src, &bytes),
            PrefixField::Ipv6Dst => or(&mut key.ipv6_dst, &bytes),
        }
    }
}

/// The bits of one word that a mask has in one stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    pub word: u8,
    pub bits: u64,
}

/// A mask, taken apart for lookup.
#[derive(PartialEq, Eq, Debug)]
pub struct Shape {
    mask: Mask,
    parts: Box<[Part]>,
    /// `parts[..ends[n]]` are those of stages 0 to n.
    ends: [u8; N_STAGES],
    prefix_lens: [u8; PrefixField::ALL.len()],
    /// The mask on `tp_src` and `tp_dst` together, left-aligned in 128 bits.
    ports: u128,
    /// See [`plain_fields`].
    plain_fields: Box<[Field]>,
}

impl Shape {
    pub fn new(mask: &Mask) -> Shape {
        let mut rest = *mask;
        let mut parts = Vec::new();
        let mut ends = [0; N_STAGES];
        for (stage, end) in ends.iter_mut().enumerate() {
            let bits = match STAGE_BITS.get(stage) {
                Some(bits) => Mask(*bits).intersect(&rest),
                None => rest,
            };
            for (n, w) in bits.words().iter().enumerate() {
                if *w != 0 {
                    parts.push(Part {
                        word: n as u8,
                        bits: *w,
                    });
                }
            }
            for (r, b) in rest.words_mut().iter_mut().zip(bits.words()) {
                *r &= !b;
            }
            *end = parts.len() as u8;
        }
        Shape {
            mask: *mask,
            parts: parts.into(),
            ends,
            prefix_lens: PrefixField::ALL.map(|f| f.prefix_len(mask)),
            ports: ports_value(&mask.0),
            plain_fields: plain_fields(mask),
        }
    }

    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The parts of stages 0 to `stage`.
    pub fn parts_to(&self, stage: usize) -> &[Part] {
        let end = self.ends.get(stage).copied().unwrap_or(u8::MAX);
        self.parts.get(..end.into()).unwrap_or(&self.parts)
    }

    /// The parts of `stage` alone.
    pub fn parts_of(&self, stage: usize) -> &[Part] {
        let before = match stage.checked_sub(1) {
            Some(s) => self.parts_to(s).len(),
            None => 0,
        };
        self.parts_to(stage).get(before..).unwrap_or(&[])
    }

    /// True when `stage` is not empty and some later stage is not either: then the classifier
    /// keeps an index of the hashes up to this stage.
    pub fn has_index(&self, stage: usize) -> bool {
        !self.parts_of(stage).is_empty() && self.parts_to(stage).len() < self.parts.len()
    }

    /// Prefix length on `PrefixField::ALL[n]`, 0 without one.
    pub fn prefix_lens(&self) -> &[u8; PrefixField::ALL.len()] {
        &self.prefix_lens
    }

    /// Mask over the two transport ports, as [`ports_value`] gives them.
    pub fn ports(&self) -> u128 {
        self.ports
    }

    /// Position of the last masked transport port bit, counted from 1; 0 without any.
    pub fn ports_len(&self) -> u8 {
        match self.ports {
            0 => 0,
            bits => 128 - bits.trailing_zeros() as u8,
        }
    }

    /// Un-wildcards `parts`.
    pub fn unwildcard(parts: &[Part], mask: &mut Mask) {
        let words = mask.words_mut();
        for p in parts {
            if let Some(w) = words.get_mut(usize::from(p.word)) {
                *w |= p.bits;
            }
        }
    }
}

/// `tp_src` and `tp_dst`, left-aligned.
pub fn ports_value(flow: &Flow) -> u128 {
    let [a, b] = flow.key.tp_src;
    let [c, d] = flow.key.tp_dst;
    u128::from(u32::from_be_bytes([a, b, c, d])) << 96
}

/// Un-wildcards the bits of `ports` (as [`ports_value`] gives them).
pub fn unwildcard_ports(mask: &mut Mask, ports: u128) {
    let [a, b, c, d] = ((ports >> 96) as u32).to_be_bytes();
    let key = &mut mask.0.key;
    key.tp_src = [key.tp_src[0] | a, key.tp_src[1] | b];
    key.tp_dst = [key.tp_dst[0] | c, key.tp_dst[1] | d];
}

/// Continues `hash` over the bits of `parts` in `flow`.
#[inline]
pub fn hash_parts(hash: u64, parts: &[Part], flow: &Flow) -> u64 {
    let words = flow.words();
    parts.iter().fold(hash, |h, p| {
        hash_word(h, words[usize::from(p.word)] & p.bits)
    })
}

/// Multiply and fold: every input bit reaches the low output bits, which the hash tries use first.
#[inline]
fn hash_word(hash: u64, word: u64) -> u64 {
    const K1: u64 = 0x9e37_79b9_7f4a_7c15;
    const K2: u64 = 0xa076_1d64_78bd_642f;
    let wide = u128::from(word ^ hash.rotate_left(25) ^ K1) * u128::from(K2);
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// What a rule matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    shape: Arc<Shape>,
    /// One masked word for each of the shape's parts.
    values: Box<[u64]>,
}

impl Pattern {
    /// Matches the packets that equal `flow` under the mask of `shape`.
    pub fn new(shape: Arc<Shape>, flow: &Flow) -> Pattern {
        let words = flow.words();
        let values = shape
            .parts
            .iter()
            .map(|p| words[usize::from(p.word)] & p.bits)
            .collect();
        Pattern { shape, values }
    }

    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    pub fn mask(&self) -> &Mask {
        &self.shape.mask
    }

    /// The values matched, every other bit zero.
    pub fn flow(&self) -> Flow {
        let mut flow = Flow::zero();
        let words = flow.words_mut();
        for (p, v) in self.shape.parts.iter().zip(&self.values) {
            words[usize::from(p.word)] |= v;
        }
        flow
    }

    #[inline]
    pub fn matches(&self, flow: &Flow) -> bool {
        let words = flow.words();
        self.shape
            .parts
            .iter()
            .zip(&self.values)
            .all(|(p, v)| words[usize::from(p.word)] & p.bits == *v)
    }

    /// True when every packet that this pattern matches also matches `flow` under `mask`.
    pub fn is_within(&self, flow: &Flow, mask: &Mask) -> bool {
        self.mask().covers(mask) && self.flow().matches(flow, mask)
    }

    /// True when some packet matches both this pattern and `flow` under `mask`.
    pub fn overlaps(&self, flow: &Flow, mask: &Mask) -> bool {
        let both = self.mask().intersect(mask);
        self.flow().matches(flow, &both)
    }

    /// The match as OpenFlow has it.
    pub fn to_match(&self) -> Match {
        to_match(&self.flow(), self.mask(), &self.shape.plain_fields)
    }

    /// Equal values; for patterns whose masks are known to be equal.
    pub fn same_values(&self, other: &Pattern) -> bool {
        self.values == other.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_divide_all_bits() {
        let shape = Shape::new(&Mask::exact());
        let mut sum = Mask::empty();
        for part in shape.parts() {
            let word = &mut sum.words_mut()[usize::from(part.word)];
            assert_eq!(*word & part.bits, 0, "word {} is in two stages", part.word);
            *word |= part.bits;
        }
        assert_eq!(sum, Mask::exact());
        assert_eq!(shape.prefix_lens(), &[32, 32, 128, 128]);
        assert_eq!(shape.ports_len(), 32);
    }

    #[test]
    fn pattern_keeps_the_masked_bits() {
        let mut mask = Mask::empty();
        mask.0.key.ipv4_dst = [255, 255, 255, 0];
        mask.0.key.tp_dst = [255, 255];
        mask.0.pipeline.regs[3] = 0xff;
        let mut flow = Flow::zero();
        flow.key.ipv4_dst = [10, 1, 2, 3];
        flow.key.tp_dst = [0, 80];
        flow.key.tp_src = [9, 9];
        flow.pipeline.regs[3] = 0x1234;
        let pattern = Pattern::new(Arc::new(Shape::new(&mask)), &flow);
        assert_eq!(pattern.flow(), flow.masked(&mask));
        assert!(pattern.matches(&flow));
        flow.key.ipv4_dst[2] = 3;
        assert!(!pattern.matches(&flow));
        assert_eq!(pattern.shape().parts().len(), 3);
        assert_eq!(pattern.shape().prefix_lens()[1], 24);
    }
}
