//! A persistent hash map from 64-bit hashes to small values, for the classifier.
//!
//! The map is a hash array mapped trie, 32 ways at each of up to 13 levels. Copies share all nodes,
//! so cloning is one reference count; a change copies only the nodes on the path to its slot that
//! somebody else still holds, and changes the others in place. So a stream of changes between two
//! snapshots runs at the speed of an ordinary hash table, and the first change after a snapshot
//! costs a few small allocations, whatever the number of entries.
//!
//! Keys are hashes alone: whoever stores values under them tells colliding ones apart. The hash
//! decides the iteration order, so that is stable for equal contents but otherwise arbitrary.

use std::sync::Arc;

const BITS: u32 = 5;
const LAST_SHIFT: u32 = 60;

/// Persistent map from hash to `V`.
#[derive(Debug)]
pub struct HashTrie<V> {
    root: Option<Arc<Node<V>>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Node<V> {
    /// Bit n is set when there is a slot for digit n; slots are in digit order.
    bitmap: u32,
    slots: Vec<Slot<V>>,
}

#[derive(Clone, Debug)]
enum Slot<V> {
    Leaf(u64, V),
    Node(Arc<Node<V>>),
}

impl<V> Clone for HashTrie<V> {
    fn clone(&self) -> Self {
        HashTrie {
            root: self.root.clone(),
            len: self.len,
        }
    }
}

impl<V> Default for HashTrie<V> {
    fn default() -> Self {
        HashTrie { root: None, len: 0 }
    }
}

impl<V> HashTrie<V> {
    /// Number of distinct hashes.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, hash: u64) -> Option<&V> {
        let mut node = self.root.as_deref()?;
        let mut shift = 0;
        loop {
            match node.slots.get(node.slot(digit(hash, shift))?)? {
                Slot::Leaf(h, value) => return (*h == hash).then_some(value),
                Slot::Node(next) => node = next,
            }
            shift += BITS;
        }
    }

    pub fn iter(&self) -> Iter<'_, V> {
        Iter {
            stack: self.root.iter().map(|n| n.slots.iter()).collect(),
        }
    }
}

impl<V: Clone> HashTrie<V> {
    /// The value under `hash`, put there by `make` if there was none.
    pub fn get_or_insert_with(&mut self, hash: u64, make: impl FnOnce() -> V) -> &mut V {
        let root = self.root.get_or_insert_with(|| Arc::new(Node::empty()));
        let mut node = Arc::make_mut(root);
        let mut shift = 0;
        loop {
            let d = digit(hash, shift);
            let index = match node.slot(d) {
                Some(index) => index,
                None => {
                    self.len += 1;
                    let index = node.rank(d);
                    node.bitmap |= 1 << d;
                    node.slots.insert(index, Slot::Leaf(hash, make()));
                    return match &mut node.slots[index] {
                        Slot::Leaf(_, value) => value,
                        Slot::Node(_) => unreachable!("a leaf was just put here"),
                    };
                }
            };
            // A leaf with another hash moves one level down; the digits of two different hashes
            // differ somewhere within the 64 bits, so this ends.
            if let Slot::Leaf(h, value) = &node.slots[index]
                && *h != hash
            {
                let moved = Node {
                    bitmap: 1 << digit(*h, shift + BITS),
                    slots: vec![Slot::Leaf(*h, value.clone())],
                };
                node.slots[index] = Slot::Node(Arc::new(moved));
            }
            match &mut node.slots[index] {
                Slot::Leaf(_, value) => return value,
                Slot::Node(next) => node = Arc::make_mut(next),
            }
            shift += BITS;
        }
    }

    /// The value under `hash`, to be changed in place.
    pub fn get_mut(&mut self, hash: u64) -> Option<&mut V> {
        // Look first, so that a miss copies nothing.
        self.get(hash)?;
        let mut node = Arc::make_mut(self.root.as_mut()?);
        let mut shift = 0;
        loop {
            let index = node.slot(digit(hash, shift))?;
            match node.slots.get_mut(index)? {
                Slot::Leaf(_, value) => return Some(value),
                Slot::Node(next) => node = Arc::make_mut(next),
            }
            shift += BITS;
        }
    }

    /// Takes out the value under `hash`.
    pub fn remove(&mut self, hash: u64) -> Option<V> {
        self.get(hash)?;
        let root = self.root.as_mut()?;
        let value = remove_from(Arc::make_mut(root), hash, 0);
        if root.slots.is_empty() {
            self.root = None;
        }
        self.len -= usize::from(value.is_some());
        value
    }
}

fn remove_from<V: Clone>(node: &mut Node<V>, hash: u64, shift: u32) -> Option<V> {
    let d = digit(hash, shift);
    let index = node.slot(d)?;
    if let Slot::Node(next) = node.slots.get_mut(index)? {
        let child = Arc::make_mut(next);
        let value = remove_from(child, hash, shift + BITS);
        // A lone leaf moves up, so that the shape depends on the contents alone.
        if matches!(child.slots[..], [Slot::Leaf(..)])
            && let Some(leaf) = child.slots.pop()
        {
            node.slots[index] = leaf;
        }
        return value;
    }
    node.bitmap &= !(1 << d);
    match node.slots.remove(index) {
        Slot::Leaf(_, value) => Some(value),
        Slot::Node(_) => None,
    }
}

impl<V> Node<V> {
    fn empty() -> Node<V> {
        Node {
            bitmap: 0,
            slots: Vec::new(),
        }
    }

    #[inline]
    fn rank(&self, digit: u32) -> usize {
        (self.bitmap & ((1u32 << digit) - 1)).count_ones() as usize
    }

    #[inline]
    fn slot(&self, digit: u32) -> Option<usize> {
        (self.bitmap & (1 << digit) != 0).then(|| self.rank(digit))
    }
}

#[inline]
fn digit(hash: u64, shift: u32) -> u32 {
    debug_assert!(shift <= LAST_SHIFT);
    ((hash >> shift) & 0x1f) as u32
}

/// Every hash with its value.
pub struct Iter<'a, V> {
    stack: Vec<std::slice::Iter<'a, Slot<V>>>,
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (u64, &'a V);

    fn next(&mut self) -> Option<(u64, &'a V)> {
        loop {
            match self.stack.last_mut()?.next() {
                Some(Slot::Leaf(hash, value)) => return Some((*hash, value)),
                Some(Slot::Node(node)) => self.stack.push(node.slots.iter()),
                None => {
                    self.stack.pop();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Random changes agree with an ordinary map, and copies taken on the way do not change.
        #[test]
        fn agrees_with_btreemap(ops in prop::collection::vec((0u8..4, 0u64..40, 0u32..3), 0..200)) {
            let mut trie = HashTrie::default();
            let mut model = BTreeMap::new();
            let mut copies = Vec::new();
            for (op, key, spread) in ops {
                // Keys that share many low digits force deep nodes.
                let hash = key.rotate_right(spread * 5 + 4);
                match op {
                    0 | 1 => {
                        *trie.get_or_insert_with(hash, || 0) += 1;
                        *model.entry(hash).or_insert(0) += 1;
                    }
                    2 => prop_assert_eq!(trie.remove(hash), model.remove(&hash)),
                    _ => copies.push((trie.clone(), model.clone())),
                }
                if let Some(v) = trie.get_mut(hash) {
                    *v += 10;
                    *model.get_mut(&hash).unwrap() += 10;
                }
                prop_assert_eq!(trie.len(), model.len());
                prop_assert_eq!(trie.get(hash), model.get(&hash));
            }
            copies.push((trie, model));
            for (trie, model) in copies {
                let got: BTreeMap<u64, u32> = trie.iter().map(|(h, v)| (h, *v)).collect();
                prop_assert_eq!(got, model);
            }
        }
    }
}
