//! Prefix trees that prove misses with few bits.
//!
//! A [`PrefixTrie`] holds the prefixes that rules have on one field. Looking a packet's value up
//! tells which prefix lengths any rule could match with, and how many leading bits had to be seen
//! to know that. A subtable whose prefix length is not among them cannot match, and only those
//! leading bits need to be un-wildcarded, rather than the field at the subtable's full length.
//!
//! The tree is binary and path-compressed, with shared nodes that are copied when they are changed
//! while a snapshot still holds them. Values are left-aligned in 128 bits.
//!
//! Source: the idea is that of OVS `lib/classifier.c`, `trie_lookup`.

use std::sync::Arc;

#[derive(Clone, Default, Debug)]
pub struct PrefixTrie {
    root: Option<Arc<Node>>,
}

#[derive(Clone, Debug)]
struct Node {
    /// Bits from the most significant on; those past `len` are zero.
    prefix: u128,
    len: u8,
    /// Rules with exactly this prefix.
    rules: u32,
    edges: [Option<Arc<Node>>; 2],
}

/// What a value's path through the tree shows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Found {
    /// Bit n-1 is set when a rule has a prefix of length n that covers the value.
    lens: u128,
    /// Any value with the same first `check_bits` bits has the same `lens`.
    pub check_bits: u8,
}

impl Found {
    /// True when some rule has a prefix of length `len` that covers the value.
    pub fn contains(&self, len: u8) -> bool {
        len == 0 || self.lens & len_bit(len) != 0
    }
}

impl PrefixTrie {
    pub fn lookup(&self, value: u128) -> Found {
        let mut found = Found::default();
        let mut next = self.root.as_deref();
        while let Some(node) = next {
            let common = common_bits(node.prefix, value, node.len);
            if common < node.len {
                found.check_bits = common + 1;
                break;
            }
            if node.rules > 0 {
                found.lens |= len_bit(node.len);
            }
            found.check_bits = node.len;
            if node.edges.iter().all(Option::is_none) {
                break;
            }
            // The next bit chooses an edge, also when there is none on that side.
            found.check_bits = node.len + 1;
            next = node.edges[bit(value, node.len)].as_deref();
        }
        found
    }

    /// Adds a rule with the first `len` (1 to 128) bits of `value` as its prefix.
    pub fn insert(&mut self, value: u128, len: u8) {
        insert(&mut self.root, truncate(value, len), len);
    }

    /// Takes a rule back out.
    pub fn remove(&mut self, value: u128, len: u8) {
        remove(&mut self.root, truncate(value, len), len);
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

fn insert(slot: &mut Option<Arc<Node>>, prefix: u128, len: u8) {
    let Some(node) = slot else {
        *slot = Some(Arc::new(Node::leaf(prefix, len)));
        return;
    };
    let common = common_bits(node.prefix, prefix, node.len.min(len));
    if common < node.len {
        let mut edges = [None, None];
        edges[bit(node.prefix, common)] = Some(Arc::clone(node));
        let mut rules = 0;
        if len == common {
            rules = 1;
        } else {
            edges[bit(prefix, common)] = Some(Arc::new(Node::leaf(prefix, len)));
        }
        *slot = Some(Arc::new(Node {
            prefix: truncate(prefix, common),
            len: common,
            rules,
            edges,
        }));
        return;
    }
    let node = Arc::make_mut(node);
    if len == node.len {
        node.rules += 1;
    } else {
        insert(&mut node.edges[bit(prefix, node.len)], prefix, len);
    }
}

fn remove(slot: &mut Option<Arc<Node>>, prefix: u128, len: u8) {
    let Some(node) = slot else { return };
    if node.len > len || common_bits(node.prefix, prefix, node.len) < node.len {
        return;
    }
    let node = Arc::make_mut(node);
    if node.len == len {
        node.rules = node.rules.saturating_sub(1);
    } else {
        remove(&mut node.edges[bit(prefix, node.len)], prefix, len);
    }
    // Nodes without rules exist only where two branches part.
    if node.rules == 0 {
        match &mut node.edges {
            [Some(_), Some(_)] => {}
            [edge, None] | [None, edge] => *slot = edge.take(),
        }
    }
}

impl Node {
    fn leaf(prefix: u128, len: u8) -> Node {
        Node {
            prefix,
            len,
            rules: 1,
            edges: [None, None],
        }
    }
}

/// Leading bits that `a` and `b` share, at most `limit`.
fn common_bits(a: u128, b: u128, limit: u8) -> u8 {
    ((a ^ b).leading_zeros() as u8).min(limit)
}

/// Bit `n` of `value`, 0 being the most significant.
fn bit(value: u128, n: u8) -> usize {
    usize::from(value.checked_shl(n.into()).unwrap_or(0) >> 127 != 0)
}

/// The first `len` bits of `value`, the others zero.
pub fn truncate(value: u128, len: u8) -> u128 {
    value & prefix_mask(len)
}

/// `len` leading one bits.
pub fn prefix_mask(len: u8) -> u128 {
    match len {
        0 => 0,
        1..=127 => u128::MAX << (128 - len),
        _ => u128::MAX,
    }
}

fn len_bit(len: u8) -> u128 {
    match len {
        1..=128 => 1 << (len - 1),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Lengths found equal those of a linear search, and so they do for every value that
        /// agrees in the first `check_bits` bits.
        #[test]
        fn agrees_with_linear_search(
            ops in prop::collection::vec((any::<bool>(), 0u8..16, 1u8..9), 0..60),
            values in prop::collection::vec(any::<u8>(), 1..20),
        ) {
            let mut trie = PrefixTrie::default();
            let mut model: Vec<(u128, u8)> = Vec::new();
            for (add, value, len) in ops {
                let value = truncate(u128::from(value.wrapping_mul(37)) << 120, len);
                if add {
                    trie.insert(value, len);
                    model.push((value, len));
                } else if let Some(i) = model.iter().position(|e| *e == (value, len)) {
                    model.remove(i);
                    trie.remove(value, len);
                }
            }
            prop_assert_eq!(trie.is_empty(), model.is_empty());
            let expect = |v: u128| {
                (1..=128u8).filter(|l| model.contains(&(truncate(v, *l), *l))).collect::<Vec<_>>()
            };
            for v in &values {
                let v = u128::from(*v) << 120 | 0x55;
                let found = trie.lookup(v);
                let got: Vec<u8> = (1..=128).filter(|l| found.contains(*l)).collect();
                prop_assert_eq!(&got, &expect(v));
                for other in &values {
                    let m = prefix_mask(found.check_bits);
                    let other = v & m | (u128::from(*other) << 120) & !m;
                    prop_assert_eq!(&got, &expect(other));
                }
            }
        }
    }
}
