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
    /// Each transaction's id and what it did, oldest first.
    entries: VecDeque<(Uuid, Arc<Delta>)>,
    rows: usize,
}

impl History {
    /// Bounds of what is kept.
    const MAX_ENTRIES: usize = 1000;
    const MAX_ROWS: usize = 20_000;

    /// A history that starts now, at a state with this id.
    pub fn new(base: Uuid) -> Self {
        Self {
            base,
            entries: VecDeque::new(),
            rows: 0,
        }
    }

    /// The id of the present state.
    pub fn last(&self) -> Uuid {
        self.entries.back().map_or(self.base, |(id, _)| *id)
    }

    pub fn push(&mut self, id: Uuid, delta: Arc<Delta>) {
        self.rows = self.rows.saturating_add(delta.len());
        self.entries.push_back((id, delta));
        while self.entries.len() > Self::MAX_ENTRIES || self.rows > Self::MAX_ROWS {
            let Some((id, delta)) = self.entries.pop_front() else {
                break;
            };
            self.rows = self.rows.saturating_sub(delta.len());
            self.base = id;
        }
    }

    /// Forgets the latest transaction.
    pub fn pop(&mut self) {
        if let Some((_, delta)) = self.entries.pop_back() {
            self.rows = self.rows.saturating_sub(delta.len());
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
                .position(|(entry, _)| *entry == id)?
                .saturating_add(1)
        };
        let mut delta = Delta::default();
        for (_, later) in self.entries.iter().skip(skip) {
            delta.append(later);
        }
        for changes in delta.tables.values_mut() {
            changes.retain(|_, change: &mut Change| change.old != change.new);
        }
        Some(delta)
    }
}
