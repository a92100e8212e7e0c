//! Numbers of slots that the eBPF programs look into: given out, and taken back only after a grace
//! period in which every program run that may have seen the old content has ended.

use std::time::Duration;

/// Numbers 1..`capacity`; 0 is never given out.
pub struct Pool {
    free: Vec<u32>,
    /// Everything from here on was never given out.
    fresh: u32,
    capacity: u32,
    /// Given back, but perhaps still looked at.
    resting: Vec<u32>,
}

impl Pool {
    pub fn new(capacity: u32) -> Pool {
        Pool {
            free: Vec::new(),
            fresh: 1,
            capacity,
            resting: Vec::new(),
        }
    }

    /// A pool where the numbers of `used` are given out already.
    pub fn with_used(capacity: u32, mut used: Vec<u32>) -> Pool {
        used.sort_unstable();
        used.dedup();
        used.retain(|n| *n < capacity);
        let mut pool = Pool::new(capacity);
        for n in used {
            pool.free.extend(pool.fresh..n);
            pool.fresh = pool.fresh.max(n + 1);
        }
        pool
    }

    /// `None` when all are in use.
    pub fn take(&mut self) -> Option<u32> {
        if let Some(n) = self.free.pop() {
            return Some(n);
        }
        if self.fresh < self.capacity {
            self.fresh += 1;
            return Some(self.fresh - 1);
        }
        if self.resting.is_empty() {
            return None;
        }
        grace_period();
        self.free.append(&mut self.resting);
        self.free.pop()
    }

    /// Numbers that [`Pool::take`] could give out.
    pub fn left(&self) -> usize {
        self.free.len() + self.resting.len() + (self.capacity - self.fresh) as usize
    }

    pub fn give_back(&mut self, n: u32) {
        self.resting.push(n);
    }

    /// As [`Pool::give_back`], for a number that no program has seen.
    pub fn give_back_unseen(&mut self, n: u32) {
        self.free.push(n);
    }
}

/// Waits until every program that runs now has ended.
pub fn grace_period() {
    /// `MEMBARRIER_CMD_GLOBAL`: the kernel waits for an RCU grace period, and programs run inside
    /// RCU read sections.
    const GLOBAL: libc::c_long = 1;
    // SAFETY: no pointers.
    let done = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) } == 0;
    if !done {
        // Kernels with full dynamic ticks refuse; no program runs for long.
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_comes_again_last() {
        let mut pool = Pool::new(4);
        assert_eq!([pool.take(), pool.take()], [Some(1), Some(2)]);
        pool.give_back(1);
        assert_eq!(pool.left(), 2);
        assert_eq!(
            [pool.take(), pool.take(), pool.take()],
            [Some(3), Some(1), None]
        );
    }

    #[test]
    fn numbers_in_use_are_not_given_out() {
        let mut pool = Pool::with_used(6, vec![4, 2, 2, 9]);
        let mut rest: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        rest.sort_unstable();
        assert_eq!(rest, [1, 3, 5]);
    }
}
