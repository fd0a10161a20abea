//! The hash of the process's own tables: keyed at start, since clients choose what is hashed.
//!
//! Two folded multiplications over 16 bytes, as in wyhash and aHash's fallback: without the keys a
//! sender cannot aim at a bucket. Hashes that other machines must agree on use `SipHash` instead
//! (`schedule/maglev.rs`).

use std::hash::{BuildHasher, RandomState};

/// The secret that makes a process's hashes its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HashKeys([u64; 4]);

impl HashKeys {
    /// Keys from the operating system's randomness.
    pub(crate) fn random() -> Self {
        let state = RandomState::new();
        Self(std::array::from_fn(|index| state.hash_one(index)))
    }

    /// Hashes two words.
    #[inline]
    pub(crate) fn hash2(&self, a: u64, b: u64) -> u64 {
        let [k0, k1, k2, k3] = self.0;
        folded(folded(a ^ k0, b ^ k1) ^ k2, k3 | 1)
    }

    /// Hashes four words.
    #[inline]
    pub(crate) fn hash4(&self, a: u64, b: u64, c: u64, d: u64) -> u64 {
        let [k0, k1, k2, k3] = self.0;
        self.hash2(
            folded(a ^ k1, b ^ k2).rotate_left(23) ^ c,
            folded(c ^ k3, d ^ k0) ^ a.rotate_left(29),
        )
    }
}

/// The two halves of the 128-bit product, xored.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves of a u128")]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest of 1024 bins after 64 Ki sequential keys: about 64 each, and never a pile.
    fn largest_bin(hash: impl Fn(u64) -> u64) -> usize {
        let mut bins = vec![0_usize; 1024];
        for key in 0..65_536 {
            bins[usize::try_from(hash(key) & 1023).unwrap()] += 1;
        }
        bins.into_iter().max().unwrap()
    }

    #[test]
    fn sequential_keys_spread_in_every_word() {
        let keys = HashKeys::random();
        assert!(largest_bin(|key| keys.hash2(key, 7)) < 130);
        assert!(largest_bin(|key| keys.hash2(7, key << 32)) < 130);
        for word in 0..4 {
            let spread = largest_bin(|key| {
                let mut words = [3, 5, 7, 9];
                words[word] = key << 16;
                let [a, b, c, d] = words;
                keys.hash4(a, b, c, d)
            });
            assert!(spread < 130, "word {word}: {spread}");
        }
    }

    #[test]
    fn two_processes_hash_differently() {
        assert_ne!(
            HashKeys::random().hash2(1, 2),
            HashKeys::random().hash2(1, 2)
        );
    }
}
