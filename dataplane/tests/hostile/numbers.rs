//! Numbers that look random: the same for the same seed, which `TETHER_SEED` says.

use std::env;

/// A generator (xorshift64).
pub(crate) struct Numbers(u64);

impl Numbers {
    /// One of several that differ, of this run's seed.
    pub(crate) fn new(which: u64) -> Self {
        let mixed = seed()
            .wrapping_add(which)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mixed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let number = self.next().to_be_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
        bytes
    }
}

/// The seed of this run.
pub(crate) fn seed() -> u64 {
    let given = env::var("TETHER_SEED").ok();
    given.map_or(0x7e7e_2026, |it| {
        it.parse().expect("TETHER_SEED is a number")
    })
}
