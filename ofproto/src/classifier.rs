//! The classifier: finds the highest-priority rule that matches a flow, and which bits decided.
//!
//! Tuple space search: one hash table (a [`Subtable`]) for each distinct mask, visited by
//! descending highest priority, until no subtable left could hold a better rule. Three things keep
//! the bits that a lookup un-wildcards few, because every bit more makes megaflows narrower:
//!
//! - *stages*: a subtable's mask is divided into four stages (pipeline state, Ethernet, network,
//!   transport), with an index of hashes up to each; a miss un-wildcards only the stages seen;
//! - *prefix trees* on the addresses, and one per subtable on the transport ports
//!   ([`crate::classifier_trie`]), that prove a miss with the leading bits alone;
//! - *priorities*: subtables that cannot beat the rule already found are not looked at.
//!
//! [`Classifier`] is an immutable value whose copies share everything; [`Editor`] owns the next
//! one. An editor changes in place what no copy holds and copies the path to what one does, so
//! publishing after each flow-mod is cheap at any size. docs/classifier.md tells more.
//!
//! Called by `xlate` for packets, by `table` for flow-mods; calls nothing. Left out: conjunctive
//! matches, and versions inside a classifier (a snapshot is the version).
//!
//! Source: OVS `lib/classifier.h` and `lib/classifier.c` describe the scheme.

use std::sync::Arc;

use crate::classifier_map::HashTrie;
use crate::classifier_pattern::{
    N_STAGES, PREFIX_STAGE, Pattern, PrefixField, Shape, hash_parts, ports_value, unwildcard_ports,
};
use crate::classifier_trie::{Found, PrefixTrie, prefix_mask};
use crate::flow::{Flow, Mask};

pub use crate::classifier_edit::Editor;

/// Something with a pattern and a priority, to be found by the flows that it matches.
pub trait Classified {
    fn pattern(&self) -> &Pattern;
    /// 0 to 65535, larger wins. Hidden rules may be above what OpenFlow can express.
    fn priority(&self) -> u32;
}

/// Rules to look flows up in; cheap to copy, never changed while somebody else holds it.
#[derive(Debug)]
pub struct Classifier<T> {
    /// By descending `max_priority`, among equals the older first.
    pub(crate) subtables: Vec<Arc<Subtable<T>>>,
    pub(crate) prefixes: [Prefixes; PrefixField::ALL.len()],
    pub(crate) len: usize,
    pub(crate) seed: u64,
}

/// The prefix tree of one field, over all subtables.
#[derive(Clone, Debug)]
pub(crate) struct Prefixes {
    /// Without it the field is matched like any other.
    pub enabled: bool,
    pub trie: PrefixTrie,
}

/// All rules with one mask.
#[derive(Debug)]
pub struct Subtable<T> {
    pub(crate) shape: Arc<Shape>,
    pub(crate) max_priority: u32,
    /// Order of creation.
    pub(crate) serial: u64,
    pub(crate) rules: HashTrie<Bucket<T>>,
    /// For each stage but the last, how many rules have a hash up to there; unused ones are empty.
    pub(crate) indices: [HashTrie<u32>; N_STAGES - 1],
    pub(crate) ports: PrefixTrie,
}

/// The rules under one hash, by descending priority: nearly always one.
#[derive(Debug)]
pub(crate) enum Bucket<T> {
    One(Arc<T>),
    Many(Arc<Vec<Arc<T>>>),
}

impl<T: Classified> Classifier<T> {
    /// Finds the highest-priority rule that matches `flow`.
    ///
    /// Un-wildcards into `mask` every bit that influenced the result, so that any flow equal to
    /// `flow` under `mask` gets the same answer. Extra 1-bits are safe; a missing 1-bit is a bug.
    ///
    /// Shapes: subtables are visited by descending `max_priority`; `mask` is only ever widened.
    /// Among matching rules of equal priority the one in the older subtable of the visiting order
    /// wins, which OpenFlow leaves undefined.
    /// Units: priority 0..=65535 (more for hidden rules), larger wins.
    /// Errors: none; a miss returns `None` with the bits that proved the miss in `mask`.
    /// Source: OVS `lib/classifier.c`, `classifier_lookup`.
    pub fn lookup(&self, flow: &Flow, mask: &mut Mask) -> Option<&Arc<T>> {
        let mut paths = Paths {
            classifier: self,
            flow,
            found: [None; PrefixField::ALL.len()],
        };
        let mut best: Option<&Arc<T>> = None;
        for subtable in &self.subtables {
            if best.is_some_and(|rule| rule.priority() >= subtable.max_priority) {
                break;
            }
            if let Some(rule) = subtable.lookup(self.seed, flow, &mut paths, mask)
                && best.is_none_or(|b| rule.priority() > b.priority())
            {
                best = Some(rule);
            }
        }
        best
    }

    /// Every rule that matches nothing but what `flow` under `mask` matches.
    pub fn within<'a>(
        &'a self,
        flow: &'a Flow,
        mask: &'a Mask,
    ) -> impl Iterator<Item = &'a Arc<T>> {
        let is_catchall = *mask == Mask::empty();
        self.subtables
            .iter()
            .filter(|s| s.shape.mask().covers(mask))
            .flat_map(move |s| {
                // Equal masks: only equal values are within, and those share a bucket.
                let exact = (s.shape.mask() == mask).then(|| s.bucket(self.seed, flow));
                let all = exact.is_none().then(|| s.iter());
                exact.into_iter().flatten().chain(all.into_iter().flatten())
            })
            .filter(move |rule| is_catchall || rule.pattern().is_within(flow, mask))
    }

    /// True when some packet matches both `flow` under `mask` and a rule of this very priority.
    pub fn overlaps(&self, flow: &Flow, mask: &Mask, priority: u32) -> bool {
        self.subtables
            .iter()
            .take_while(|s| s.max_priority >= priority)
            .flat_map(|s| s.iter())
            .any(|rule| rule.priority() == priority && rule.pattern().overlaps(flow, mask))
    }
}

impl<T> Classifier<T> {
    /// Number of rules.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every rule, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.subtables.iter().flat_map(|s| s.iter())
    }

    /// The masks in the order in which lookup visits them, each with its number of hashes.
    pub fn masks(&self) -> impl Iterator<Item = (&Mask, usize)> {
        self.subtables
            .iter()
            .map(|s| (s.shape.mask(), s.rules.len()))
    }
}

/// The flow's way through the prefix trees, looked up when first asked for.
struct Paths<'a, T> {
    classifier: &'a Classifier<T>,
    flow: &'a Flow,
    found: [Option<Found>; PrefixField::ALL.len()],
}

impl<T> Paths<'_, T> {
    /// True when a prefix tree shows that no rule of `shape` can match; the bits that show it are
    /// then in `mask`.
    fn rule_out(&mut self, shape: &Shape, mask: &mut Mask) -> bool {
        for (n, field) in PrefixField::ALL.into_iter().enumerate() {
            let len = shape.prefix_lens()[n];
            let prefixes = &self.classifier.prefixes[n];
            if len == 0 || !prefixes.enabled {
                continue;
            }
            let found =
                self.found[n].get_or_insert_with(|| prefixes.trie.lookup(field.value(self.flow)));
            if !found.contains(len) {
                // Whether a prefix of this length covers the value depends on `len` bits at most.
                field.unwildcard(mask, found.check_bits.min(len));
                return true;
            }
        }
        false
    }
}

impl<T: Classified> Subtable<T> {
    fn lookup(
        &self,
        seed: u64,
        flow: &Flow,
        paths: &mut Paths<'_, T>,
        mask: &mut Mask,
    ) -> Option<&Arc<T>> {
        let shape = &*self.shape;
        let mut hash = seed;
        for stage in 0..N_STAGES {
            if stage == PREFIX_STAGE && paths.rule_out(shape, mask) {
                return None;
            }
            hash = hash_parts(hash, shape.parts_of(stage), flow);
            if shape.has_index(stage) && self.indices[stage].get(hash).is_none() {
                Shape::unwildcard(shape.parts_to(stage), mask);
                return None;
            }
        }
        let rule = self
            .rules
            .get(hash)
            .and_then(|b| b.rules().iter().find(|r| r.pattern().matches(flow)));
        if rule.is_none() && shape.ports() != 0 {
            let found = self.ports.lookup(ports_value(flow) & shape.ports());
            if !found.contains(shape.ports_len()) {
                unwildcard_ports(mask, shape.ports() & prefix_mask(found.check_bits));
                return None;
            }
        }
        Shape::unwildcard(shape.parts(), mask);
        rule
    }

    /// The rule with this very pattern, whose mask is known to be the subtable's, and priority.
    pub(crate) fn find(&self, seed: u64, pattern: &Pattern, priority: u32) -> Option<&Arc<T>> {
        self.bucket(seed, &pattern.flow())
            .find(|rule| rule.priority() == priority && rule.pattern().same_values(pattern))
    }
}

impl<T> Subtable<T> {
    pub(crate) fn new(shape: Arc<Shape>, max_priority: u32, serial: u64) -> Subtable<T> {
        Subtable {
            shape,
            max_priority,
            serial,
            rules: HashTrie::default(),
            indices: Default::default(),
            ports: PrefixTrie::default(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.rules.iter().flat_map(|(_, bucket)| bucket.rules())
    }

    /// The rules under the hash of `flow`.
    fn bucket(&self, seed: u64, flow: &Flow) -> impl Iterator<Item = &Arc<T>> {
        let hash = hash_parts(seed, self.shape.parts(), flow);
        self.rules.get(hash).into_iter().flat_map(|b| b.rules())
    }
}

impl<T> Bucket<T> {
    pub(crate) fn rules(&self) -> &[Arc<T>] {
        match self {
            Bucket::One(rule) => std::slice::from_ref(rule),
            Bucket::Many(rules) => rules,
        }
    }
}

// Written by hand because `derive` would ask for `T: Clone`; only references are copied.
impl<T> Clone for Bucket<T> {
    fn clone(&self) -> Self {
        match self {
            Bucket::One(rule) => Bucket::One(Arc::clone(rule)),
            Bucket::Many(rules) => Bucket::Many(Arc::clone(rules)),
        }
    }
}

impl<T> Clone for Subtable<T> {
    fn clone(&self) -> Self {
        Subtable {
            shape: Arc::clone(&self.shape),
            max_priority: self.max_priority,
            serial: self.serial,
            rules: self.rules.clone(),
            indices: self.indices.clone(),
            ports: self.ports.clone(),
        }
    }
}

impl<T> Clone for Classifier<T> {
    fn clone(&self) -> Self {
        Classifier {
            subtables: self.subtables.clone(),
            prefixes: self.prefixes.clone(),
            len: self.len,
            seed: self.seed,
        }
    }
}
