//! A directory of RCU-swapped buckets: read by every worker, written by one thread.
//!
//! A directory word points to an immutable bucket and says a little of what is in it (`word.rs`). Most
//! lookups of clients without an affinity end at the word. To change a bucket the writer builds another
//! and swaps the word.

#[cfg(all(test, tether_loom))]
mod loom_tests;
mod pool;
#[cfg(test)]
mod tests;
mod word;

pub(crate) use word::{Entry, Word};

use crate::{
    hash::HashKeys,
    huge,
    rcu::{Domain, Generation, Guard, Limbo, Published, Retired},
    simd::prefetch,
    sync::{Arc, AtomicPtr, Ordering},
};
use arrayvec::ArrayVec;
use pool::Pool;
use std::ptr::{self, NonNull};
use word::{MOST_PER_BUCKET, bloom_of, find_in, low};

/// One under the model checker: a few entries make it grow.
const FEWEST_WORDS: usize = if cfg!(tether_loom) { 1 } else { 64 };
/// Entries for each word before the directory doubles.
const LOAD: usize = 2;

/// The bucket cannot take another entry: out of reach of a sender who does not know the hash keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BucketFull;

/// The array of words.
#[derive(Debug)]
pub(crate) struct Root<const W: usize> {
    words: Box<[AtomicPtr<u64>]>,
}

impl<const W: usize> Root<W> {
    fn new(words: usize) -> Self {
        Self {
            words: huge::slice(words, |_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    #[inline]
    fn slot(&self, hash: u64) -> &AtomicPtr<u64> {
        &self.words[low(hash) & (self.words.len() - 1)]
    }

    /// Asks for the word of `hash`.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(self.slot(hash));
    }

    /// The word of `hash`.
    #[inline]
    pub(crate) fn word(&self, hash: u64) -> Word<'_, W> {
        Word::of(self.slot(hash).load(Ordering::Acquire))
    }
}

/// The half that workers read.
#[derive(Debug)]
pub(crate) struct Directory<const W: usize> {
    // Invariant: every word is null or points to a bucket in a slab of the writer's pool, whose
    // entries were written before the word was stored (release) and are not written again until
    // every reader has passed the publication after the word was changed. A `&Root` is lent only
    // under a guard or to the writer.
    root: Published<Arc<Root<W>>>,
}

impl<const W: usize> Directory<W> {
    /// The words, for as long as the guard lives.
    #[inline]
    pub(crate) fn root<'a>(&'a self, guard: Guard<'a>) -> &'a Root<W> {
        self.root.load(guard)
    }
}

/// A bucket that was swapped out.
#[derive(Debug)]
struct OldBucket {
    bucket: NonNull<u64>,
    entries: usize,
}

// SAFETY: a token for memory of the writer's pool; it moves with the writer.
#[expect(unsafe_code, reason = "buckets: the house allows it here")]
unsafe impl Send for OldBucket {}

/// An array of words that was swapped out, with the buckets that no other points to.
#[derive(Debug)]
struct OldRoot<const W: usize> {
    buckets: Vec<OldBucket>,
    /// What readers hold: it is freed together with the buckets.
    _published: Retired<Arc<Root<W>>>,
}

/// The bucket that a word points to, if it does.
fn old_bucket<const W: usize>(tagged: *mut u64) -> Option<OldBucket> {
    let word = Word::<W>::of(tagged);
    NonNull::new(word.bucket()).map(|bucket| OldBucket {
        bucket,
        entries: word.count(),
    })
}

/// How a directory's keys are hashed.
pub(crate) type Hasher<const W: usize> = fn(&HashKeys, &Entry<W>) -> u64;

/// The half that the control thread writes.
#[derive(Debug)]
pub(crate) struct DirectoryWriter<const W: usize> {
    directory: Arc<Directory<W>>,
    root: Arc<Root<W>>,
    entries: usize,
    keys: HashKeys,
    hasher: Hasher<W>,
    pool: Pool<W>,
    buckets: Limbo<OldBucket>,
    roots: Limbo<OldRoot<W>>,
}

impl<const W: usize> DirectoryWriter<W> {
    /// An empty directory in `domain`.
    pub(crate) fn new(domain: &Arc<Domain>, keys: HashKeys, hasher: Hasher<W>) -> Self {
        let root = Arc::new(Root::new(FEWEST_WORDS));
        Self {
            directory: Arc::new(Directory {
                root: Published::new(domain, Arc::clone(&root)),
            }),
            root,
            entries: 0,
            keys,
            hasher,
            pool: Pool::new(domain),
            buckets: Limbo::new(domain),
            roots: Limbo::new(domain),
        }
    }

    /// The half for workers.
    pub(crate) fn directory(&self) -> &Arc<Directory<W>> {
        &self.directory
    }

    /// Entries that are in it.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// Changes that wait for workers.
    pub(crate) fn waiting(&self) -> usize {
        self.buckets.len() + self.roots.len()
    }

    /// Bytes of what workers read: words and buckets, those waiting and free included.
    pub(crate) fn bytes(&self) -> usize {
        self.pool.bytes() + self.root.words.len() * size_of::<usize>()
    }

    /// The last word of the entry with this key, as the next packet would find it.
    pub(crate) fn get(&self, key: &Entry<W>) -> Option<u64> {
        self.root.word(self.hash(key)).find(key)
    }

    /// Asks for the word of a key; or, once that is there, for the bucket.
    pub(crate) fn ask_for(&self, key: &Entry<W>, word: bool) {
        let hash = self.hash(key);
        if word {
            self.root.prefetch(hash);
        } else {
            self.root.word(hash).prefetch();
        }
    }

    /// Puts an entry in, in place of the one with the same key if there is one.
    pub(crate) fn put(&mut self, entry: &Entry<W>) -> Result<(), BucketFull> {
        self.grow_if_due();
        let hash = self.hash(entry);
        let old = self.root.word(hash).entries();
        let place = find_in(old, entry);
        let count = old.len() + usize::from(place.is_none());
        if count > MOST_PER_BUCKET {
            if self.root.words.len() > self.entries {
                return Err(BucketFull);
            }
            self.grow();
            return self.put(entry);
        }
        let mut entries = [[0; W]; MOST_PER_BUCKET];
        entries[..old.len()].copy_from_slice(old);
        entries[place.unwrap_or(old.len())] = *entry;
        self.swap(hash, &entries[..count]);
        self.entries += usize::from(place.is_none());
        Ok(())
    }

    /// Takes the entry with this key out, if it is there.
    pub(crate) fn remove(&mut self, key: &Entry<W>) {
        let hash = self.hash(key);
        let old = self.root.word(hash).entries();
        let Some(place) = find_in(old, key) else {
            return;
        };
        let mut entries = [[0; W]; MOST_PER_BUCKET];
        let last = old.len() - 1;
        entries[..=last].copy_from_slice(old);
        entries[place] = old[last];
        self.swap(hash, &entries[..last]);
        self.entries -= 1;
    }

    /// Gives back what every reader has passed.
    pub(crate) fn reclaim(&mut self, passed: Generation) {
        while let Some(old) = self.buckets.reclaim(passed) {
            self.pool.give(old.bucket, old.entries);
        }
        while let Some(old) = self.roots.reclaim(passed) {
            for bucket in old.buckets {
                self.pool.give(bucket.bucket, bucket.entries);
            }
        }
    }

    fn hash(&self, key: &Entry<W>) -> u64 {
        (self.hasher)(&self.keys, key)
    }

    /// Stores a bucket of `entries` in the word of `hash` and retires the one that was there.
    fn swap(&mut self, hash: u64, entries: &[Entry<W>]) {
        let new = self.bucket_of(entries);
        let old = self.root.slot(hash).swap(new, Ordering::AcqRel);
        if let Some(old) = old_bucket::<W>(old) {
            self.buckets.retire(old);
        }
    }

    /// A bucket in memory that no reader looks at, as a word; null for no entries.
    fn bucket_of(&mut self, entries: &[Entry<W>]) -> *mut u64 {
        if entries.is_empty() {
            return ptr::null_mut();
        }
        let bloom = entries
            .iter()
            .fold(0, |bloom, entry| bloom | bloom_of(self.hash(entry)));
        word::tagged(self.pool.put(entries), entries.len(), bloom)
    }

    fn grow_if_due(&mut self) {
        if self.entries >= self.root.words.len() * LOAD {
            self.grow();
        }
    }

    /// Twice as many words.
    fn grow(&mut self) {
        let old = Arc::clone(&self.root);
        let grown = Root::new(old.words.len() * 2);
        let mut buckets = Vec::new();
        for word in &old.words {
            let tagged = word.load(Ordering::Relaxed);
            if self.split(tagged, &grown, old.words.len()) {
                buckets.extend(old_bucket::<W>(tagged));
            }
        }
        self.root = Arc::new(grown);
        let published = self.directory.root.replace(Arc::clone(&self.root));
        self.roots.retire(OldRoot {
            buckets,
            _published: published,
        });
    }

    /// Puts one word's entries where they belong in the words of `grown`; true where they were copied to
    /// two buckets. Else the old bucket serves both the old words, which nobody changes any more, and one
    /// of the new ones.
    fn split(&mut self, tagged: *mut u64, grown: &Root<W>, words: usize) -> bool {
        let mut halves = [const { ArrayVec::<Entry<W>, MOST_PER_BUCKET>::new_const() }; 2];
        let mut hashes = [0; 2];
        for entry in Word::<W>::of(tagged).entries() {
            let hash = self.hash(entry);
            let half = usize::from(low(hash) & words != 0);
            halves[half].push(*entry);
            hashes[half] = hash;
        }
        let is_split = halves.iter().all(|half| !half.is_empty());
        for (half, hash) in halves.iter().zip(hashes) {
            if !half.is_empty() {
                let bucket = if is_split {
                    self.bucket_of(half)
                } else {
                    tagged
                };
                grown.slot(hash).store(bucket, Ordering::Release);
            }
        }
        is_split
    }
}
