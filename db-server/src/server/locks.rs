//! Named locks: each has an owner and clients that wait for it.
//!
//! Source: RFC 7047, 4.1.8 to 4.1.10.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::SessionId;

/// The locks by name; the first claim in a queue is its owner's.
#[derive(Debug, Default)]
pub(super) struct Locks {
    queues: BTreeMap<String, VecDeque<Claim>>,
    /// Thieves that were stolen from and did not unlock since. They get nothing back.
    lost: BTreeSet<(SessionId, String)>,
}

#[derive(Debug)]
struct Claim {
    session: SessionId,
    /// Whether it came by `steal`.
    stole: bool,
}

impl Locks {
    pub fn owns(&self, session: SessionId, lock: &str) -> bool {
        let first = self.queues.get(lock).and_then(VecDeque::front);
        first.is_some_and(|claim| claim.session == session)
    }

    /// Whether the session owns the lock, waits for it or lost it: whether it may unlock it.
    pub fn has(&self, session: SessionId, lock: &str) -> bool {
        let queue = self.queues.get(lock);
        queue.is_some_and(|queue| queue.iter().any(|claim| claim.session == session))
            || self.lost.contains(&(session, lock.to_owned()))
    }

    /// Queues for the lock; true when it is had at once.
    pub fn lock(&mut self, session: SessionId, lock: &str) -> bool {
        let queue = self.queues.entry(lock.to_owned()).or_default();
        let stole = false;
        queue.push_back(Claim { session, stole });
        queue.len() == 1
    }

    /// Takes the lock in any case; gives the session that had it. It waits to get it back if it
    /// had it by `lock`, and not if it had stolen it too.
    pub fn steal(&mut self, session: SessionId, lock: &str) -> Option<SessionId> {
        let queue = self.queues.entry(lock.to_owned()).or_default();
        let victim = queue.front().map(|claim| claim.session);
        if let Some(thief) = queue.pop_front_if(|claim| claim.stole) {
            self.lost.insert((thief.session, lock.to_owned()));
        }
        let stole = true;
        queue.push_front(Claim { session, stole });
        victim
    }

    /// Gives the lock up or stops waiting; gives the session that has it now instead.
    pub fn unlock(&mut self, session: SessionId, lock: &str) -> Option<SessionId> {
        self.lost.remove(&(session, lock.to_owned()));
        let owned = self.owns(session, lock);
        let queue = self.queues.get_mut(lock)?;
        queue.retain(|claim| claim.session != session);
        let next = queue.front().map(|claim| claim.session);
        if next.is_none() {
            self.queues.remove(lock);
        }
        next.filter(|_| owned)
    }

    /// Drops everything of a session; gives the new owners of what it held.
    pub fn forget(&mut self, session: SessionId) -> Vec<(SessionId, String)> {
        self.lost.retain(|(thief, _)| *thief != session);
        let queues = self.queues.iter();
        let names: Vec<String> = queues
            .filter(|(_, queue)| queue.iter().any(|claim| claim.session == session))
            .map(|(name, _)| name.clone())
            .collect();
        names
            .into_iter()
            .filter_map(|name| Some((self.unlock(session, &name)?, name)))
            .collect()
    }

    /// How many locks a session owns, waits for or lost.
    pub fn count(&self, session: SessionId) -> usize {
        let claims = self.queues.values().flatten();
        let claims = claims.filter(|claim| claim.session == session).count();
        let lost = self.lost.iter().filter(|(thief, _)| *thief == session);
        claims.saturating_add(lost.count())
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
        // A thief gets nothing back.
        assert_eq!(locks.steal(5, "x"), Some(4));
        assert_eq!(locks.unlock(5, "x"), Some(1));
        assert_eq!((locks.has(4, "x"), locks.count(4)), (true, 1));
        assert_eq!((locks.unlock(4, "x"), locks.has(4, "x")), (None, false));
        assert_eq!(locks.steal(4, "x"), Some(1));
        assert_eq!(locks.forget(4), [(1, "x".to_owned())]);
        assert_eq!(locks.unlock(1, "x"), Some(3));
        assert_eq!(locks.count(3), 1);
        assert_eq!(locks.unlock(3, "x"), None);
        assert_eq!(locks.steal(5, "y"), None);
        assert!(locks.owns(5, "y"));
    }
}
