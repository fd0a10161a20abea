//! A directory of RCU-swapped buckets: read by every worker, written by one thread.
//!
//! A directory word is a pointer to an immutable bucket, with a 16-bit Bloom filter of the hashes
//! in it in the high bits and the count of entries in the low six. Most lookups of clients without
//! an affinity end at the word. To change a bucket the writer builds another and swaps the word.
//!
//! ```text
//! words  [ bloom:16 | pointer:42 | count:6 ] ──▶ entries of W words, in lines of 64 bytes
//! entry  [ key .. , prefix:8 | 0:8 | backend:16 | cell:32 ]
//! ```

#[cfg(all(test, tether_loom))]
mod loom_tests;
#[cfg(test)]
mod tests;

use crate::{
    hash::HashKeys,
    huge,
    rcu::{Domain, Generation, Guard, Limbo, Published, Retired},
    simd::prefetch,
    sync::{Arc, AtomicPtr, Ordering},
};
use arrayvec::ArrayVec;
use std::{
    alloc::{self, Layout},
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::{self, NonNull},
};

/// An affinity as workers read it: the key in all words but the low half of the last.
pub(crate) type Entry<const W: usize> = [u64; W];

/// The part of an entry's last word that belongs to its key.
const KEY_BITS: u64 = 0xff << 56;
const COUNT_BITS: usize = 0x3f;
const BLOOM_SHIFT: u32 = 48;
const MOST_PER_BUCKET: usize = COUNT_BITS;
/// One under the model checker: a few entries make it grow.
const FEWEST_WORDS: usize = if cfg!(tether_loom) { 1 } else { 64 };
/// Entries for each word before the directory doubles.
const LOAD: usize = 4;
/// As many as a huge page has.
const LINES_PER_SLAB: usize = if cfg!(miri) { 256 } else { 32_768 };

/// The bucket cannot take another entry: out of reach of a sender who does not know the hash keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BucketFull;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// What one word says, for as long as its bucket may be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a, const W: usize> {
    tagged: *mut u64,
    held: PhantomData<&'a u64>,
}

impl<'a, const W: usize> Word<'a, W> {
    fn count(self) -> usize {
        self.tagged.addr() & COUNT_BITS
    }

    fn bucket(self) -> *mut u64 {
        self.tagged
            .map_addr(|address| address & !(COUNT_BITS | (0xffff << BLOOM_SHIFT)))
    }

    /// Whether the bucket may hold a key with this hash.
    #[inline]
    pub(crate) fn may_hold(self, hash: u64) -> bool {
        let wanted = low(bloom_of(hash));
        (self.tagged.addr() >> BLOOM_SHIFT) & wanted == wanted
    }

    /// Asks for the bucket's lines: the first and the last, which are all but for a bucket that is far from
    /// the usual.
    #[inline]
    pub(crate) fn prefetch(self) {
        let first = self.bucket();
        prefetch(first);
        if self.count() > 8 / W {
            prefetch(first.wrapping_add((self.count() - 1) * W));
        }
    }

    /// The last word of the entry with this key. Compares a line at once: how many entries a bucket has,
    /// and which of them it is, no branch could foresee.
    #[inline]
    pub(crate) fn find(self, key: &Entry<W>) -> Option<u64> {
        let mut left = self.count();
        for line in self.lines() {
            let entries = line.as_chunks::<W>().0;
            let same = (0..).zip(entries).fold(0_u32, |same, (place, entry)| {
                same | u32::from(differs(entry, key) == 0) << place
            });
            let mut here = same & ((1 << left.min(8 / W)) - 1);
            // Keys that differ in their prefix lengths only are rare.
            while here != 0 {
                let last = entries[here.trailing_zeros() as usize & (8 / W - 1)][W - 1];
                if (last ^ key[W - 1]) & KEY_BITS == 0 {
                    return Some(last);
                }
                here &= here - 1;
            }
            left = left.saturating_sub(8 / W);
        }
        None
    }

    /// The lines that the entries are in. What stands behind the last entry is old.
    #[inline]
    fn lines(self) -> &'a [[u64; 8]] {
        if self.count() == 0 {
            return &[];
        }
        // SAFETY: a word that is not null points to whole lines, of memory that came zeroed and is of one
        // bucket as long as a reader may look into it (invariant of `Directory::root`); nobody writes to
        // them while `'a` lasts, as in `entries`.
        #[expect(unsafe_code, reason = "buckets: the house allows it here")]
        unsafe {
            std::slice::from_raw_parts(self.bucket().cast(), Pool::<W>::lines(self.count()))
        }
    }

    fn entries(self) -> &'a [Entry<W>] {
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
fn tagged(bucket: NonNull<u64>, count: usize, bloom: u64) -> *mut u64 {
    bucket.as_ptr().map_addr(|address| {
        debug_assert!(address & COUNT_BITS == 0 && address >> BLOOM_SHIFT == 0);
        address | count | (low(bloom) << BLOOM_SHIFT)
    })
}

/// The low bits of a word on this machine's pointer width.
#[expect(clippy::cast_possible_truncation, reason = "64-bit machines only")]
const fn low(word: u64) -> usize {
    word as usize
}
const _: () = assert!(usize::BITS == 64);

/// Two of sixteen bits, from the high end of the hash; the low end chooses the word.
#[inline]
fn bloom_of(hash: u64) -> u64 {
    (1 << (hash >> 60)) | (1 << ((hash >> 56) & 15))
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
fn find_in<const W: usize>(entries: &[Entry<W>], key: &Entry<W>) -> Option<usize> {
    entries.iter().position(|entry| is_same(entry, key))
}

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

    /// Asks for what `hash` may be in, and gives the word; none where no entry can have it.
    #[inline]
    pub(crate) fn promising(&self, hash: u64) -> Option<Word<'_, W>> {
        let word = self.word(hash);
        let promises = word.may_hold(hash);
        if promises {
            word.prefetch();
        }
        promises.then_some(word)
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
        Word {
            tagged: self.slot(hash).load(Ordering::Acquire),
            held: PhantomData,
        }
    }
}

/// The half that workers read.
#[derive(Debug)]
pub(crate) struct Directory<const W: usize> {
    // Invariant: every word is null or points to a bucket in a slab of the `DirectoryWriter`, whose
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

/// A slab in memory.
const SLAB: Layout = match Layout::from_size_align(LINES_PER_SLAB * size_of::<Line>(), huge::PAGE) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two, and not too large"),
};

/// A slab of zeros: one huge page, where the system has one.
fn new_slab() -> NonNull<Line> {
    // SAFETY: the layout's size is not zero.
    #[expect(unsafe_code, reason = "buckets: the house allows it here")]
    let start = unsafe { alloc::alloc(SLAB) };
    let Some(start) = NonNull::new(start) else {
        alloc::handle_alloc_error(SLAB)
    };
    let start: NonNull<MaybeUninit<Line>> = start.cast();
    // SAFETY: it was just allocated, for so many lines and aligned as they are; they may be uninitialised.
    #[expect(unsafe_code, reason = "buckets: the house allows it here")]
    let lines = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), LINES_PER_SLAB) };
    huge::advise(lines);
    lines.fill(MaybeUninit::new(Line([0; 8])));
    start.cast()
}

/// Buckets by their number of lines, cut from slabs, given back after a grace period.
#[derive(Debug)]
struct Pool<const W: usize> {
    domain: Arc<Domain>,
    /// Of so many lines each.
    slabs: Vec<NonNull<Line>>,
    unused: Option<(NonNull<Line>, usize)>,
    free: Vec<Vec<NonNull<u64>>>,
}

// SAFETY: the pool owns its slabs; the pointers in it are into those alone.
#[expect(unsafe_code, reason = "buckets: the house allows it here")]
unsafe impl<const W: usize> Send for Pool<W> {}

impl<const W: usize> Pool<W> {
    const fn lines(entries: usize) -> usize {
        (entries * W).div_ceil(8)
    }

    fn new(domain: &Arc<Domain>) -> Self {
        Self {
            domain: Arc::clone(domain),
            slabs: Vec::new(),
            unused: None,
            free: vec![Vec::new(); Self::lines(MOST_PER_BUCKET) + 1],
        }
    }

    /// Room for so many entries: a free bucket, the front of a larger one, or new memory.
    fn take(&mut self, entries: usize) -> NonNull<u64> {
        let lines = Self::lines(entries);
        let free = &mut self.free[lines..];
        let found = (0..)
            .zip(free)
            .find_map(|(spare, it)| Some((spare, it.pop()?)));
        let Some((spare, bucket)) = found else {
            return self.cut(lines);
        };
        if spare > 0 {
            // SAFETY: the bucket is of `lines + spare` lines, of eight words each.
            #[expect(unsafe_code, reason = "buckets: the house allows it here")]
            let rest = unsafe { bucket.add(lines * 8) };
            self.free[spare].push(rest);
        }
        bucket
    }

    fn cut(&mut self, lines: usize) -> NonNull<u64> {
        let (start, left) = match self.unused.take() {
            Some((start, left)) if left >= lines => (start, left),
            _ => self.slab(),
        };
        // SAFETY: `left >= lines` lines of one slab follow `start`.
        #[expect(unsafe_code, reason = "buckets: the house allows it here")]
        let rest = unsafe { start.add(lines) };
        self.unused = Some((rest, left - lines));
        start.cast()
    }

    fn slab(&mut self) -> (NonNull<Line>, usize) {
        let slab = new_slab();
        self.slabs.push(slab);
        (slab, LINES_PER_SLAB)
    }

    fn give(&mut self, bucket: NonNull<u64>, entries: usize) {
        self.free[Self::lines(entries)].push(bucket);
    }
}

impl<const W: usize> Drop for Pool<W> {
    /// Frees the slabs once no reader is left; leaks them while there is one.
    fn drop(&mut self) {
        if !self.domain.deserted() {
            return;
        }
        for slab in self.slabs.drain(..) {
            // SAFETY: allocated in `new_slab` with this layout, and given back once; readers, who alone look
            // into buckets, are gone for good.
            #[expect(unsafe_code, reason = "buckets: the house allows it here")]
            unsafe {
                alloc::dealloc(slab.as_ptr().cast(), SLAB);
            }
        }
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

/// An array of words that was swapped out, with the buckets that its words point to.
#[derive(Debug)]
struct OldRoot<const W: usize> {
    root: Arc<Root<W>>,
    /// What readers hold: it is freed together with the buckets.
    _published: Retired<Arc<Root<W>>>,
}

/// The bucket that a word points to, if it does.
fn old_bucket<const W: usize>(tagged: *mut u64) -> Option<OldBucket> {
    let word: Word<'_, W> = Word {
        tagged,
        held: PhantomData,
    };
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
        let slabs = self.pool.slabs.len() * LINES_PER_SLAB * size_of::<Line>();
        slabs + self.root.words.len() * size_of::<usize>()
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
            return Err(BucketFull);
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
            let words = old.root.words.iter();
            for bucket in words.filter_map(|word| old_bucket::<W>(word.load(Ordering::Relaxed))) {
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
        let bucket = self.pool.take(entries.len());
        // SAFETY: the pool gave room for `entries.len()` entries, aligned to a line, that nobody
        // else reads or writes; `entries` is elsewhere.
        #[expect(unsafe_code, reason = "buckets: the house allows it here")]
        unsafe {
            ptr::copy_nonoverlapping(entries.as_ptr().cast(), bucket.as_ptr(), entries.len() * W);
        }
        tagged(bucket, entries.len(), bloom)
    }

    fn grow_if_due(&mut self) {
        if self.entries < self.root.words.len() * LOAD {
            return;
        }
        let old = Arc::clone(&self.root);
        let grown = Root::new(old.words.len() * 2);
        for word in &old.words {
            self.split(word.load(Ordering::Relaxed), &grown, old.words.len());
        }
        self.root = Arc::new(grown);
        let published = self.directory.root.replace(Arc::clone(&self.root));
        self.roots.retire(OldRoot {
            root: old,
            _published: published,
        });
    }

    /// Copies one word's entries to the two words of `grown` that they belong to. The old bucket stays
    /// with the old words, which nobody changes any more.
    fn split(&mut self, tagged: *mut u64, grown: &Root<W>, words: usize) {
        let word: Word<'_, W> = Word {
            tagged,
            held: PhantomData,
        };
        let mut halves = [const { ArrayVec::<Entry<W>, MOST_PER_BUCKET>::new_const() }; 2];
        let mut hashes = [0; 2];
        for entry in word.entries() {
            let hash = self.hash(entry);
            let half = usize::from(low(hash) & words != 0);
            halves[half].push(*entry);
            hashes[half] = hash;
        }
        for (half, hash) in halves.iter().zip(hashes) {
            if !half.is_empty() {
                let bucket = self.bucket_of(half);
                grown.slot(hash).store(bucket, Ordering::Release);
            }
        }
    }
}
