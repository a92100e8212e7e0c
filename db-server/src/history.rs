//! The latest transactions of a database, for clients that come back.
//!
//! Source: ovsdb-server(7), 4.1.15, "Monitor_cond_since".

use std::collections::VecDeque;
use std::sync::Arc;

use ovsdb::Uuid;

use crate::database::{Change, Delta};

/// What happened lately, so that a client that was away can be told only what it missed.
#[derive(Debug)]
pub struct History {
    /// The state before the first entry.
    base: Uuid,
    /// What each transaction did, oldest first.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Whether somebody may ask.
    kept: bool,
}

#[derive(Debug)]
struct Entry {
    id: Uuid,
    delta: Arc<Delta>,
    /// What the entry keeps in memory, about.
    bytes: usize,
}

impl History {
    /// Bounds of what is kept.
    const MAX_ENTRIES: usize = 1000;
    const MAX_BYTES: usize = 32 << 20;

    /// A history that starts now, at a state with this id.
    pub fn new(base: Uuid) -> Self {
        Self {
            base,
            entries: VecDeque::new(),
            bytes: 0,
            kept: false,
        }
    }

    /// Begins to keep transactions. Before a client is told the id of a state for the first time,
    /// none can ask what has happened since one, and rows that nobody needs are better freed while
    /// the processor has them at hand.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// The id of the present state.
    pub fn last(&self) -> Uuid {
        self.entries.back().map_or(self.base, |entry| entry.id)
    }

    pub fn push(&mut self, id: Uuid, delta: &Arc<Delta>) {
        if !self.kept {
            self.base = id;
            return;
        }
        let bytes = weight(delta);
        self.bytes = self.bytes.saturating_add(bytes);
        let delta = delta.clone();
        self.entries.push_back(Entry { id, delta, bytes });
        while self.entries.len() > Self::MAX_ENTRIES || self.bytes > Self::MAX_BYTES {
            let Some(entry) = self.entries.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(entry.bytes);
            self.base = entry.id;
        }
    }

    /// Forgets the latest transaction.
    pub fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_back() {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    /// Everything since the state `id`, as one delta; `None` when that is too long ago or never
    /// was.
    pub fn since(&self, id: Uuid) -> Option<Delta> {
        let skip = if id == self.base {
            0
        } else {
            self.entries
                .iter()
                .position(|entry| entry.id == id)?
                .saturating_add(1)
        };
        let mut delta = Delta::default();
        for later in self.entries.iter().skip(skip) {
            delta.append(&later.delta);
        }
        delta.drop_unchanged();
        Some(delta)
    }
}

/// About how much memory a delta keeps that is not kept anyway: the rows that were, without the
/// values that they share with the ones that came after them.
pub(crate) fn weight(delta: &Delta) -> usize {
    let changes = delta.changes().map(|(_, _, change)| {
        let old = change.old.as_ref().map_or(0, |old| match &change.new {
            Some(new) => old.weight_beside(new),
            None => old.weight(),
        });
        old.saturating_add(size_of::<(Uuid, Change)>())
    });
    changes.fold(size_of::<Entry>(), usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;
    use ovsdb::{DatabaseSchema, Datum};
    use serde_json::json;

    /// A transaction that changes a string of `len` bytes.
    fn change(len: usize) -> Arc<Delta> {
        let schema = json!({"name": "d", "tables": {"T": {"columns": {"s": {"type": "string"}}}}});
        let db = Database::new(DatabaseSchema::from_json(&schema).unwrap());
        let table = db.table(0).unwrap();
        let row = |letter: &str| {
            let mut row = table.default_row(Uuid::from_u128(1));
            let text = letter.repeat(len);
            row.set(table.column_id("s").unwrap(), Datum::string(&text));
            Some(Arc::new(row))
        };
        let (old, new) = (row("a"), row("b"));
        let rows = [(Uuid::from_u128(1), Change { old, new })].into();
        Arc::new(Delta {
            tables: [(0, rows)].into(),
        })
    }

    #[test]
    fn nothing_is_kept_that_nobody_can_ask_for() {
        let id = |n: u128| Uuid::from_u128(n);
        let mut history = History::new(id(0));
        let delta = change(1);
        history.push(id(1), &delta);
        history.push(id(2), &delta);
        assert_eq!((history.last(), history.entries.len()), (id(2), 0));
        history.keep();
        assert!(history.since(id(1)).is_none());
        history.push(id(3), &delta);
        assert_eq!(history.since(id(2)), Some((*delta).clone()));
        // What was done before is not there to be forgotten.
        history.pop();
        history.pop();
        assert_eq!(history.last(), id(2));
    }

    #[test]
    fn few_large_transactions_are_kept_and_many_small_ones() {
        let id = |n: u128| Uuid::from_u128(n);
        for (len, kept) in [(10, History::MAX_ENTRIES), (8 << 20, 3), (40 << 20, 0)] {
            let mut history = History::new(id(0));
            history.keep();
            let delta = change(len);
            let count = kept as u128 + 5;
            for n in 1..=count {
                history.push(id(n), &delta);
            }
            assert_eq!(history.entries.len(), kept, "{len} bytes");
            assert_eq!(history.last(), id(count));
            let oldest = count - kept as u128;
            assert!(history.since(id(oldest)).is_some());
            assert!(history.since(id(oldest - 1)).is_none());
            for _ in 0..kept {
                history.pop();
            }
            assert_eq!(history.bytes, 0);
        }
    }
}
