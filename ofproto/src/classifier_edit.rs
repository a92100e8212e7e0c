//! `Editor`: the owner of a classifier that changes.
//!
//! It keeps what only changes need (how many rules of each priority a subtable has, where a mask's
//! subtable is) apart from what lookups need, which [`Editor::publish`] hands out as a shared
//! value. See [`crate::classifier`] for the whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::HashMap;

use crate::classifier::{Bucket, Classified, Classifier, Prefixes, Subtable};
use crate::classifier_map::HashTrie;
use crate::classifier_pattern::{N_STAGES, Pattern, PrefixField, Shape, hash_parts, ports_value};
use crate::classifier_trie::PrefixTrie;
use crate::flow::{Flow, Mask};

/// A classifier that rules are added to and taken from.
#[derive(Debug)]
pub struct Editor<T> {
    current: Arc<Classifier<T>>,
    masks: HashMap<Mask, MaskInfo>,
    next_serial: u64,
}

#[derive(Debug)]
struct MaskInfo {
    shape: Arc<Shape>,
    serial: u64,
    /// Number of rules of each priority.
    priorities: BTreeMap<u32, u32>,
}

impl MaskInfo {
    fn max_priority(&self) -> u32 {
        self.priorities.last_key_value().map_or(0, |(p, _)| *p)
    }
}

impl<T: Classified> Editor<T> {
    /// An empty classifier; `seed` starts every hash, so that it differs from host to host.
    pub fn new(seed: u64) -> Editor<T> {
        Editor {
            current: Arc::new(Classifier {
                subtables: Vec::new(),
                prefixes: std::array::from_fn(|_| Prefixes {
                    enabled: true,
                    trie: PrefixTrie::default(),
                }),
                len: 0,
                seed,
            }),
            masks: HashMap::default(),
            next_serial: 0,
        }
    }

    /// The classifier as it is now; later changes do not reach it.
    pub fn publish(&self) -> Arc<Classifier<T>> {
        Arc::clone(&self.current)
    }

    /// The classifier as it is now, to look at.
    pub fn view(&self) -> &Classifier<T> {
        &self.current
    }

    /// The pattern of `flow` under `mask`, sharing its shape with the rules that have one alike.
    pub fn pattern(&self, flow: &Flow, mask: &Mask) -> Pattern {
        let shape = match self.masks.get(mask) {
            Some(info) => Arc::clone(&info.shape),
            None => Arc::new(Shape::new(mask)),
        };
        Pattern::new(shape, flow)
    }

    /// The rule with exactly this pattern and priority.
    pub fn find(&self, pattern: &Pattern, priority: u32) -> Option<&Arc<T>> {
        let info = self.masks.get(pattern.mask())?;
        let index = position(&self.current.subtables, info.max_priority(), info.serial);
        let subtable = self.current.subtables.get(index)?;
        subtable.find(self.current.seed, pattern, priority)
    }

    /// Puts a rule in; returns the one of equal pattern and priority that it replaces.
    pub fn insert(&mut self, rule: Arc<T>) -> Option<Arc<T>> {
        let priority = rule.priority();
        let kept = Arc::clone(&rule);
        let pattern = kept.pattern();
        let flow = pattern.flow();
        let this = Arc::make_mut(&mut self.current);

        let next_serial = &mut self.next_serial;
        let info = self.masks.entry(*pattern.mask()).or_insert_with(|| {
            *next_serial += 1;
            MaskInfo {
                shape: Arc::clone(pattern.shape()),
                serial: *next_serial,
                priorities: BTreeMap::new(),
            }
        });
        let old_max = info.max_priority();
        let is_new = info.priorities.is_empty();
        let new_max = old_max.max(priority);
        let index = if is_new {
            let subtable = Subtable::new(Arc::clone(&info.shape), new_max, info.serial);
            let index = position(&this.subtables, new_max, info.serial);
            this.subtables.insert(index, Arc::new(subtable));
            index
        } else {
            move_subtable(&mut this.subtables, info.serial, old_max, new_max)
        };
        let subtable = Arc::make_mut(&mut this.subtables[index]);
        let replaced = subtable.insert(this.seed, &flow, rule);
        if replaced.is_some() {
            return replaced;
        }
        *info.priorities.entry(priority).or_insert(0) += 1;
        this.len += 1;
        for (n, field) in PrefixField::ALL.into_iter().enumerate() {
            let len = info.shape.prefix_lens()[n];
            if len != 0 && this.prefixes[n].enabled {
                this.prefixes[n].trie.insert(field.value(&flow), len);
            }
        }
        None
    }

    /// Takes out the rule with this pattern and priority.
    pub fn remove(&mut self, pattern: &Pattern, priority: u32) -> Option<Arc<T>> {
        let info = self.masks.get_mut(pattern.mask())?;
        let old_max = info.max_priority();
        let flow = pattern.flow();
        let index = position(&self.current.subtables, old_max, info.serial);
        // Look first, so that a miss copies nothing.
        let subtable = self.current.subtables.get(index)?;
        subtable.find(self.current.seed, pattern, priority)?;
        let this = Arc::make_mut(&mut self.current);
        let subtable = Arc::make_mut(this.subtables.get_mut(index)?);
        let removed = subtable.remove(this.seed, &flow, pattern, priority)?;

        this.len -= 1;
        for (n, field) in PrefixField::ALL.into_iter().enumerate() {
            let len = info.shape.prefix_lens()[n];
            if len != 0 && this.prefixes[n].enabled {
                this.prefixes[n].trie.remove(field.value(&flow), len);
            }
        }
        if let Some(count) = info.priorities.get_mut(&priority) {
            *count -= 1;
            if *count == 0 {
                info.priorities.remove(&priority);
            }
        }
        if info.priorities.is_empty() {
            this.subtables.remove(index);
            self.masks.remove(pattern.mask());
        } else {
            let new_max = info.max_priority();
            move_subtable(&mut this.subtables, info.serial, old_max, new_max);
        }
        Some(removed)
    }

    /// Takes out every rule; returns the classifier as it was.
    pub fn clear(&mut self) -> Arc<Classifier<T>> {
        self.masks.clear();
        let old = &self.current;
        let empty = Arc::new(Classifier {
            subtables: Vec::new(),
            prefixes: std::array::from_fn(|n| Prefixes {
                enabled: old.prefixes[n].enabled,
                trie: PrefixTrie::default(),
            }),
            len: 0,
            seed: old.seed,
        });
        std::mem::replace(&mut self.current, empty)
    }

    /// Chooses the fields that prefix trees are kept for, and builds them anew.
    pub fn set_prefix_fields(&mut self, fields: &[PrefixField]) {
        let this = Arc::make_mut(&mut self.current);
        for (n, field) in PrefixField::ALL.into_iter().enumerate() {
            let enabled = fields.contains(&field);
            if this.prefixes[n].enabled == enabled {
                continue;
            }
            let mut trie = PrefixTrie::default();
            if enabled {
                for rule in this.subtables.iter().flat_map(|s| s.iter()) {
                    let pattern = rule.pattern();
                    let len = pattern.shape().prefix_lens()[n];
                    if len != 0 {
                        trie.insert(field.value(&pattern.flow()), len);
                    }
                }
            }
            this.prefixes[n] = Prefixes { enabled, trie };
        }
    }
}

/// Where the subtable with these properties is, or belongs.
fn position<T>(subtables: &[Arc<Subtable<T>>], max_priority: u32, serial: u64) -> usize {
    subtables.partition_point(|s| {
        s.max_priority > max_priority || s.max_priority == max_priority && s.serial < serial
    })
}

/// Gives a subtable its new highest priority and its place by it; returns the place.
fn move_subtable<T>(
    subtables: &mut Vec<Arc<Subtable<T>>>,
    serial: u64,
    old_max: u32,
    new_max: u32,
) -> usize {
    let index = position(subtables, old_max, serial);
    if old_max == new_max {
        return index;
    }
    let mut subtable = subtables.remove(index);
    Arc::make_mut(&mut subtable).max_priority = new_max;
    let index = position(subtables, new_max, serial);
    subtables.insert(index, subtable);
    index
}

impl<T: Classified> Subtable<T> {
    fn insert(&mut self, seed: u64, flow: &Flow, rule: Arc<T>) -> Option<Arc<T>> {
        let shape = Arc::clone(&self.shape);
        let hash = hash_parts(seed, shape.parts(), flow);
        let mut is_new = false;
        let bucket = self.rules.get_or_insert_with(hash, || {
            is_new = true;
            Bucket::One(Arc::clone(&rule))
        });
        if !is_new {
            let replaced = bucket.insert(rule);
            if replaced.is_some() {
                return replaced;
            }
        }
        let mut hash = seed;
        for stage in 0..N_STAGES - 1 {
            hash = hash_parts(hash, shape.parts_of(stage), flow);
            if shape.has_index(stage) {
                *self.indices[stage].get_or_insert_with(hash, || 0) += 1;
            }
        }
        if shape.ports() != 0 {
            self.ports
                .insert(ports_value(flow) & shape.ports(), shape.ports_len());
        }
        None
    }

    fn remove(
        &mut self,
        seed: u64,
        flow: &Flow,
        pattern: &Pattern,
        priority: u32,
    ) -> Option<Arc<T>> {
        let shape = Arc::clone(&self.shape);
        let hash = hash_parts(seed, shape.parts(), flow);
        let bucket = self.rules.get_mut(hash)?;
        let removed = bucket.remove(pattern, priority)?;
        if bucket.rules().is_empty() || matches!(bucket, Bucket::One(r) if Arc::ptr_eq(r, &removed))
        {
            self.rules.remove(hash);
        }
        let mut hash = seed;
        for stage in 0..N_STAGES - 1 {
            hash = hash_parts(hash, shape.parts_of(stage), flow);
            if shape.has_index(stage) {
                decrement(&mut self.indices[stage], hash);
            }
        }
        if shape.ports() != 0 {
            self.ports
                .remove(ports_value(flow) & shape.ports(), shape.ports_len());
        }
        Some(removed)
    }
}

fn decrement(index: &mut HashTrie<u32>, hash: u64) {
    match index.get(hash) {
        Some(1) => {
            index.remove(hash);
        }
        Some(_) => {
            if let Some(n) = index.get_mut(hash) {
                *n -= 1;
            }
        }
        None => {}
    }
}

impl<T: Classified> Bucket<T> {
    /// Puts a rule in its place by priority, or in that of the one it replaces.
    fn insert(&mut self, rule: Arc<T>) -> Option<Arc<T>> {
        let same =
            |r: &Arc<T>| r.priority() == rule.priority() && r.pattern().same_values(rule.pattern());
        match self {
            Bucket::One(old) if same(old) => Some(std::mem::replace(old, rule)),
            Bucket::One(old) => {
                let mut rules = vec![Arc::clone(old)];
                let index = rules.partition_point(|r| r.priority() >= rule.priority());
                rules.insert(index, rule);
                *self = Bucket::Many(Arc::new(rules));
                None
            }
            Bucket::Many(rules) => {
                let rules = Arc::make_mut(rules);
                if let Some(old) = rules.iter_mut().find(|r| same(r)) {
                    return Some(std::mem::replace(old, rule));
                }
                let index = rules.partition_point(|r| r.priority() >= rule.priority());
                rules.insert(index, rule);
                None
            }
        }
    }

    /// Takes a rule out; a bucket of that one rule alone stays as it is.
    fn remove(&mut self, pattern: &Pattern, priority: u32) -> Option<Arc<T>> {
        let index = self
            .rules()
            .iter()
            .position(|r| r.priority() == priority && r.pattern().same_values(pattern))?;
        match self {
            Bucket::One(rule) => Some(Arc::clone(rule)),
            Bucket::Many(rules) => {
                let rules = Arc::make_mut(rules);
                let removed = rules.remove(index);
                if let [last] = rules.as_slice() {
                    *self = Bucket::One(Arc::clone(last));
                }
                Some(removed)
            }
        }
    }
}
