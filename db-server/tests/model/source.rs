//! Where random choices come from: a seed, or the bytes of a fuzzer's input.

/// A stream of choices. One made from bytes gives zeros when they are used up.
pub struct Source<'a> {
    state: u64,
    bytes: Option<&'a [u8]>,
}

impl<'a> Source<'a> {
    pub fn seeded(seed: u64) -> Self {
        Self {
            state: seed,
            bytes: None,
        }
    }

    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Self {
            state: 0,
            bytes: Some(bytes),
        }
    }

    /// Whether the bytes are used up.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_some_and(<[u8]>::is_empty)
    }

    /// A number below `n`, which is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        let Some(bytes) = &mut self.bytes else {
            // splitmix64.
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            return ((z ^ (z >> 31)) % n as u64) as usize;
        };
        let Some((first, rest)) = bytes.split_first() else {
            return 0;
        };
        *bytes = rest;
        usize::from(*first) % n
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}
