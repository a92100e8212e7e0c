//! Named locks: each has an owner and clients that wait for it.
//!
//! Source: RFC 7047, 4.1.8 to 4.1.10.

use std::collections::{BTreeMap, VecDeque};

use super::SessionId;

/// The locks by name; the first session in a queue owns the lock.
#[derive(Debug, Default)]
pub(super) struct Locks {
    queues: BTreeMap<String, VecDeque<SessionId>>,
}

impl Locks {
    pub fn owns(&self, session: SessionId, lock: &str) -> bool {
        self.queues.get(lock).and_then(VecDeque::front) == Some(&session)
    }

    /// Whether the session owns the lock or waits for it.
    pub fn has(&self, session: SessionId, lock: &str) -> bool {
        self.queues
            .get(lock)
            .is_some_and(|queue| queue.contains(&session))
    }

    /// Queues for the lock; true when it is had at once.
    pub fn lock(&mut self, session: SessionId, lock: &str) -> bool {
        let queue = self.queues.entry(lock.to_owned()).or_default();
        queue.push_back(session);
        queue.len() == 1
    }

    /// Takes the lock in any case; gives the session that had it, which from now on waits.
    pub fn steal(&mut self, session: SessionId, lock: &str) -> Option<SessionId> {
        let queue = self.queues.entry(lock.to_owned()).or_default();
        let victim = queue.front().copied();
        queue.push_front(session);
        victim
    }

    /// Gives the lock up or stops waiting; gives the session that has it now instead.
    pub fn unlock(&mut self, session: SessionId, lock: &str) -> Option<SessionId> {
        let queue = self.queues.get_mut(lock)?;
        let owned = queue.front() == Some(&session);
        queue.retain(|other| *other != session);
        let next = queue.front().copied();
        if queue.is_empty() {
            self.queues.remove(lock);
        }
        next.filter(|_| owned)
    }

    /// Drops everything of a session; gives the new owners of what it held.
    pub fn forget(&mut self, session: SessionId) -> Vec<(SessionId, String)> {
        let names: Vec<String> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.contains(&session))
            .map(|(name, _)| name.clone())
            .collect();
        names
            .into_iter()
            .filter_map(|name| Some((self.unlock(session, &name)?, name)))
            .collect()
    }

    /// How many locks a session owns or waits for.
    pub fn count(&self, session: SessionId) -> usize {
        self.queues
            .values()
            .filter(|queue| queue.contains(&session))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pass_on_in_order() {
        let mut locks = Locks::default();
        assert!(locks.lock(1, "x"));
        assert!(!locks.lock(2, "x"));
        assert!(!locks.lock(3, "x"));
        assert_eq!(locks.unlock(2, "x"), None);
        assert_eq!(locks.steal(4, "x"), Some(1));
        assert!(locks.owns(4, "x") && locks.has(1, "x") && !locks.owns(1, "x"));
        assert_eq!(locks.forget(4), [(1, "x".to_owned())]);
        assert_eq!(locks.unlock(1, "x"), Some(3));
        assert_eq!(locks.count(3), 1);
        assert_eq!(locks.unlock(3, "x"), None);
        assert_eq!(locks.steal(5, "y"), None);
        assert!(locks.owns(5, "y"));
    }
}
