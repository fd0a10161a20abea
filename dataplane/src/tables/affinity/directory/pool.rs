//! The memory of buckets: blocks that are cut from slabs, and given back after a grace period.
//!
//! A block has one, two or a multiple of four granules of 16 bytes. A small one lies within a line, a
//! larger one begins with one: a look-up waits for one line where the entries fit into one.

use super::word::{Entry, MOST_PER_BUCKET};
use crate::{huge, rcu::Domain, sync::Arc};
use std::{
    alloc::{self, Layout},
    mem::MaybeUninit,
    ptr::{self, NonNull},
};

/// As many as a huge page has.
const LINES_PER_SLAB: usize = if cfg!(miri) { 256 } else { 32_768 };
const WORDS_PER_GRANULE: usize = 2;
/// Of a line.
const GRANULES: usize = 4;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u64; 8]);

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

/// Blocks for buckets of entries of `W` words.
#[derive(Debug)]
pub(super) struct Pool<const W: usize> {
    domain: Arc<Domain>,
    /// Of so many lines each.
    slabs: Vec<NonNull<Line>>,
    /// Lines that were never cut, and how many.
    unused: Option<(NonNull<Line>, usize)>,
    /// By their granules.
    free: Vec<Vec<NonNull<u64>>>,
}

// SAFETY: the pool owns its slabs; the pointers in it are into those alone.
#[expect(unsafe_code, reason = "buckets: the house allows it here")]
unsafe impl<const W: usize> Send for Pool<W> {}

impl<const W: usize> Pool<W> {
    pub(super) fn new(domain: &Arc<Domain>) -> Self {
        Self {
            domain: Arc::clone(domain),
            slabs: Vec::new(),
            unused: None,
            free: vec![Vec::new(); Self::granules(MOST_PER_BUCKET) + 1],
        }
    }

    /// Granules of a block for so many entries.
    pub(super) const fn granules(entries: usize) -> usize {
        match entries * W / WORDS_PER_GRANULE {
            few @ ..=2 => few,
            more => more.next_multiple_of(GRANULES),
        }
    }

    /// Bytes of all slabs, what is free in them included.
    pub(super) fn bytes(&self) -> usize {
        self.slabs.len() * SLAB.size()
    }

    /// Granules that were cut from slabs and are not free.
    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        let unused = self.unused.map_or(0, |(_, lines)| lines);
        let free = self.free.iter().enumerate();
        let free: usize = free.map(|(granules, blocks)| granules * blocks.len()).sum();
        (self.slabs.len() * LINES_PER_SLAB - unused) * GRANULES - free
    }

    /// Entries in a block that nobody else reads or writes.
    pub(super) fn put(&mut self, entries: &[Entry<W>]) -> NonNull<u64> {
        let block = self.take(entries.len());
        // SAFETY: the block has room for `entries.len()` entries, is aligned for words, and nobody else
        // reads or writes it; `entries` is elsewhere.
        #[expect(unsafe_code, reason = "buckets: the house allows it here")]
        unsafe {
            ptr::copy_nonoverlapping(entries.as_ptr().cast(), block.as_ptr(), entries.len() * W);
        }
        block
    }

    /// Room for so many entries: a free block, the front of a larger one, or new memory.
    pub(super) fn take(&mut self, entries: usize) -> NonNull<u64> {
        let wanted = Self::granules(entries);
        let free = (wanted..).zip(&mut self.free[wanted..]);
        let found = free
            .into_iter()
            .find_map(|(has, blocks)| Some((blocks.pop()?, has)));
        let (block, has) = found.unwrap_or_else(|| self.cut(wanted.div_ceil(GRANULES)));
        self.free_behind(block, wanted, has);
        block
    }

    /// Makes free blocks of what a block of `has` granules has behind the first `used`.
    fn free_behind(&mut self, block: NonNull<u64>, mut used: usize, has: usize) {
        while used < has {
            let granules = match used % GRANULES {
                0 => has - used,
                2 => 2,
                _ => 1,
            };
            // SAFETY: the block is of `has` granules, which are more than `used`.
            #[expect(unsafe_code, reason = "buckets: the house allows it here")]
            let rest = unsafe { block.add(used * WORDS_PER_GRANULE) };
            self.free[granules].push(rest);
            used += granules;
        }
    }

    /// New memory of so many lines, and its granules.
    fn cut(&mut self, lines: usize) -> (NonNull<u64>, usize) {
        let (start, left) = match self.unused.take() {
            Some((start, left)) if left >= lines => (start, left),
            _ => self.slab(),
        };
        // SAFETY: `left >= lines` lines of one slab follow `start`.
        #[expect(unsafe_code, reason = "buckets: the house allows it here")]
        let rest = unsafe { start.add(lines) };
        self.unused = Some((rest, left - lines));
        (start.cast(), lines * GRANULES)
    }

    fn slab(&mut self) -> (NonNull<Line>, usize) {
        let slab = new_slab();
        self.slabs.push(slab);
        (slab, LINES_PER_SLAB)
    }

    /// Takes back a block that had room for so many entries, and that nobody reads any more.
    pub(super) fn give(&mut self, block: NonNull<u64>, entries: usize) {
        self.free[Self::granules(entries)].push(block);
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
