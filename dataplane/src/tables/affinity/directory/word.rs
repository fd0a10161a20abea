//! What one word of a directory says, and the entries that it leads to.
//!
//! A word is a pointer to a bucket, with a 16-bit Bloom filter of the hashes in it in the high bits and
//! the count of entries in the low four.
//!
//! ```text
//! word   [ bloom:16 | pointer:44 | count:4 ] ──▶ entries of W words
//! entry  [ key .. , prefix:8 | value:56 ]
//! ```

use super::super::value::VALUE_BITS;
use crate::simd::{prefetch, same_words};
use std::{
    marker::PhantomData,
    ptr::{self, NonNull},
};

/// An affinity as workers read it: the key in all words, but for the value in the low bits of the last.
pub(crate) type Entry<const W: usize> = [u64; W];

/// The part of an entry's last word that belongs to its key.
pub(super) const KEY_BITS: u64 = !VALUE_BITS;
const COUNT_BITS: usize = 0xf;
const BLOOM_SHIFT: u32 = 48;
pub(super) const MOST_PER_BUCKET: usize = COUNT_BITS;
/// Entries that are compared without a branch: nearly all buckets have no more.
const AT_ONCE: usize = 4;

/// What one word says, for as long as its bucket may be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a, const W: usize> {
    tagged: *mut u64,
    held: PhantomData<&'a u64>,
}

impl<'a, const W: usize> Word<'a, W> {
    /// Without a bucket.
    pub(crate) const EMPTY: Self = Self::of(ptr::null_mut());

    /// What was stored in a directory, which keeps the bucket as long as `'a` lasts.
    pub(super) const fn of(tagged: *mut u64) -> Self {
        Self {
            tagged,
            held: PhantomData,
        }
    }

    pub(super) fn count(self) -> usize {
        self.tagged.addr() & COUNT_BITS
    }

    pub(super) fn bucket(self) -> *mut u64 {
        self.tagged
            .map_addr(|address| address & !(COUNT_BITS | (0xffff << BLOOM_SHIFT)))
    }

    /// Whether the bucket may hold a key with this hash.
    #[inline]
    pub(crate) fn may_hold(self, hash: u64) -> bool {
        let wanted = low(bloom_of(hash));
        (self.tagged.addr() >> BLOOM_SHIFT) & wanted == wanted
    }

    /// Asks for the lines of the first and the last entry, which are all but for a bucket that is far from
    /// the usual.
    #[inline]
    pub(crate) fn prefetch(self) {
        let first = self.bucket();
        prefetch(first);
        prefetch(first.wrapping_add(self.count().saturating_sub(1) * W));
    }

    /// The last word of the entry with this key. Compares the first four at once: how many entries a
    /// bucket has, and which of them it is, no branch could foresee.
    #[inline]
    pub(crate) fn find(self, key: &Entry<W>) -> Option<u64> {
        let entries = self.entries();
        let last = entries.len().checked_sub(1)?;
        let mut same = same_at_once(entries, last, key);
        // Keys that differ in their prefix lengths only are rare.
        while same != 0 {
            let word = entries[last.min(same.trailing_zeros() as usize)][W - 1];
            if (word ^ key[W - 1]) & KEY_BITS == 0 {
                return Some(word);
            }
            same &= same - 1;
        }
        let others = entries.get(AT_ONCE..)?;
        find_in(others, key).map(|place| others[place][W - 1])
    }

    #[inline]
    pub(super) fn entries(self) -> &'a [Entry<W>] {
        if self.count() == 0 {
            return &[];
        }
        // SAFETY: a word that is not null points to `count` initialised entries (invariant of
        // `Directory::root`), and nobody writes to them while `'a`, the guard or the writer's own
        // borrow under which the word was read, lasts.
        #[expect(unsafe_code, reason = "buckets: the house allows it here")]
        unsafe {
            std::slice::from_raw_parts(self.bucket().cast(), self.count())
        }
    }
}

/// A word for a bucket of `count` entries.
pub(super) fn tagged(bucket: NonNull<u64>, count: usize, bloom: u64) -> *mut u64 {
    bucket.as_ptr().map_addr(|address| {
        debug_assert!(address & COUNT_BITS == 0 && address >> BLOOM_SHIFT == 0);
        address | count | (low(bloom) << BLOOM_SHIFT)
    })
}

/// The low bits of a word on this machine's pointer width.
#[expect(clippy::cast_possible_truncation, reason = "64-bit machines only")]
pub(super) const fn low(word: u64) -> usize {
    word as usize
}
const _: () = assert!(usize::BITS == 64);

/// Two of sixteen bits, from the high end of the hash; the low end chooses the word.
#[inline]
pub(super) fn bloom_of(hash: u64) -> u64 {
    (1 << (hash >> 60)) | (1 << ((hash >> 56) & 15))
}

/// Which of the first entries have this key but for its prefix length, lowest bit first; behind the last
/// one that says again.
#[inline]
fn same_at_once<const W: usize>(entries: &[Entry<W>], last: usize, key: &Entry<W>) -> u32 {
    let at = |place: usize| &entries[place.min(last)];
    if W == 2 {
        return same_words([0, 1, 2, 3].map(|place| at(place)[0]), key[0]);
    }
    (0..AT_ONCE).fold(0, |same, place| {
        same | u32::from(differs(at(place), key) == 0) << place
    })
}

/// The bits in which an entry has another key, but for its prefix length.
#[inline]
fn differs<const W: usize>(entry: &Entry<W>, key: &Entry<W>) -> u64 {
    (0..W - 1).fold(0, |bits, word| bits | (entry[word] ^ key[word]))
}

/// Whether an entry has this key.
fn is_same<const W: usize>(entry: &Entry<W>, key: &Entry<W>) -> bool {
    differs(entry, key) | ((entry[W - 1] ^ key[W - 1]) & KEY_BITS) == 0
}

/// The entry with this key among `entries`.
pub(super) fn find_in<const W: usize>(entries: &[Entry<W>], key: &Entry<W>) -> Option<usize> {
    entries.iter().position(|entry| is_same(entry, key))
}
