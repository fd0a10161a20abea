//! Publish, snapshot, quiesce, reclaim: how workers read tables without a lock.
//!
//! Workers never sleep, so they are always online. The publisher swaps a pointer (release) and
//! advances the domain's generation (release); a worker that has let go of all it read reports the
//! generation it sees (acquire) into its own padded cell (release); what was retired under
//! generation *g* is freed once every cell holds *g* or more (acquire). Nobody waits for anybody.
//!
//! Why it is sound: a worker that reports *g* has acquired the advance to *g*, which came after the
//! swap, so all it loads from then on is the new pointer; and all that it read before happened
//! before its report, which the publisher acquires before it frees.

use crate::sync::{Arc, AtomicPtr, AtomicU64, Ordering};
use crossbeam_utils::CachePadded;
use std::{cell::Cell, collections::VecDeque, marker::PhantomData, ptr};

/// A count of publications; later ones are greater.
pub type Generation = u64;

/// What a cell holds when its worker has stopped: it has passed every generation.
const OFFLINE: Generation = Generation::MAX;

/// The publisher and the readers of one set of tables.
#[derive(Debug)]
pub(crate) struct Domain {
    generation: CachePadded<AtomicU64>,
    seen: Box<[CachePadded<AtomicU64>]>,
}

impl Domain {
    /// The generation that the next advance makes.
    fn next(&self) -> Generation {
        self.generation.load(Ordering::Relaxed) + 1
    }

    /// The generation that every reader has passed.
    fn passed(&self) -> Generation {
        let seen = self.seen.iter();
        seen.map(|cell| cell.load(Ordering::Acquire))
            .min()
            .unwrap_or(OFFLINE)
    }

    /// Whether every reader has stopped, for good.
    pub(crate) fn deserted(&self) -> bool {
        self.passed() == OFFLINE
    }
}

/// Makes a domain with one publisher and `readers` readers.
pub(crate) fn domain(readers: usize) -> (Publisher, Vec<Reader>) {
    let domain = Arc::new(Domain {
        generation: CachePadded::new(AtomicU64::new(0)),
        seen: (0..readers)
            .map(|_| CachePadded::new(AtomicU64::new(0)))
            .collect(),
    });
    let readers = (0..readers)
        .map(|index| Reader {
            domain: Arc::clone(&domain),
            index,
            not_sync: PhantomData,
        })
        .collect();
    let publisher = Publisher {
        domain,
        not_sync: PhantomData,
    };
    (publisher, readers)
}

/// The one side that publishes. `Send`, not `Sync`: one thread at a time.
#[derive(Debug)]
pub(crate) struct Publisher {
    domain: Arc<Domain>,
    not_sync: PhantomData<Cell<()>>,
}

impl Publisher {
    /// Ends a publication: all that was swapped before is seen by a reader that reports it.
    pub(crate) fn advance(&self) -> Generation {
        self.domain.generation.fetch_add(1, Ordering::Release) + 1
    }

    /// The generation that every reader has passed.
    pub(crate) fn passed(&self) -> Generation {
        self.domain.passed()
    }

    /// The generation that each reader has reported; `None` once it has stopped.
    pub(crate) fn seen(&self) -> Vec<Option<Generation>> {
        let seen = self.domain.seen.iter();
        seen.map(|cell| cell.load(Ordering::Acquire))
            .map(|generation| (generation != OFFLINE).then_some(generation))
            .collect()
    }

    /// The domain, for things that are published in it.
    pub(crate) fn domain(&self) -> &Arc<Domain> {
        &self.domain
    }
}

/// One worker's side. `Send`, not `Sync`: it belongs to one thread at a time.
#[derive(Debug)]
pub(crate) struct Reader {
    domain: Arc<Domain>,
    index: usize,
    not_sync: PhantomData<Cell<()>>,
}

impl Reader {
    /// Proof of being a reader that has not reported since: what is read through it lives as long.
    #[inline]
    pub(crate) fn guard(&self) -> Guard<'_> {
        Guard {
            domain: &self.domain,
        }
    }

    /// Reports that nothing read so far is still held. `&mut` ends every [`Guard`].
    #[inline]
    pub(crate) fn quiescent(&mut self) {
        let generation = self.domain.generation.load(Ordering::Acquire);
        self.domain.seen[self.index].store(generation, Ordering::Release);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.domain.seen[self.index].store(OFFLINE, Ordering::Release);
    }
}

/// While it lives, nothing published in its domain is freed under the holder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard<'a> {
    domain: &'a Arc<Domain>,
}

impl Guard<'_> {
    /// Holds the callers of [`Published::load`] and of the affinity table to their own domain.
    #[inline]
    pub(crate) fn assert_guards(self, domain: &Arc<Domain>) {
        assert!(
            Arc::ptr_eq(self.domain, domain),
            "a guard of another domain"
        );
    }
}

/// A pointer that is swapped whole.
#[derive(Debug)]
pub(crate) struct Published<T> {
    domain: Arc<Domain>,
    // Invariant: from `Box::into_raw`, never null; freed only through a `Retired` that every reader
    // has passed, or by `drop`, which holds the only reference.
    pointer: AtomicPtr<T>,
}

impl<T: Send + Sync> Published<T> {
    /// Published from the start.
    pub(crate) fn new(domain: &Arc<Domain>, value: T) -> Self {
        Self {
            domain: Arc::clone(domain),
            pointer: AtomicPtr::new(Box::into_raw(Box::new(value))),
        }
    }

    /// The current value, for as long as the guard lives.
    #[inline]
    pub(crate) fn load<'a>(&'a self, guard: Guard<'a>) -> &'a T {
        guard.assert_guards(&self.domain);
        let pointer = self.pointer.load(Ordering::Acquire);
        // SAFETY: never null (invariant); the guard's reader has not reported since, so what was
        // retired after this load is not reclaimed before the guard ends.
        #[expect(unsafe_code, reason = "RCU: the house allows it here")]
        unsafe {
            &*pointer
        }
    }

    /// Swaps in a new value; the old one is to be kept until every reader has passed.
    pub(crate) fn replace(&self, value: T) -> Retired<T> {
        let new = Box::into_raw(Box::new(value));
        Retired(self.pointer.swap(new, Ordering::AcqRel))
    }
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        let pointer = self.pointer.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: made by `Box::into_raw` (invariant), and `&mut self` shows that no `load` is
        // borrowed any more.
        #[expect(unsafe_code, reason = "RCU: the house allows it here")]
        drop(unsafe { Box::from_raw(pointer) });
    }
}

/// A value that was swapped out and that readers may still hold: freed when dropped.
///
/// Not a `Box`, which would claim to be the only pointer to it.
#[derive(Debug)]
pub(crate) struct Retired<T>(*mut T);

// SAFETY: it is the one owner of a `T`, as a `Box<T>` would be; readers only share it.
#[expect(unsafe_code, reason = "RCU: the house allows it here")]
unsafe impl<T: Send + Sync> Send for Retired<T> {}

impl<T> Drop for Retired<T> {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` in `Published`; dropped once, by a `Limbo` that every
        // reader has passed.
        #[expect(unsafe_code, reason = "RCU: the house allows it here")]
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// What was swapped out and may still be read, in order of generation.
#[derive(Debug)]
pub(crate) struct Limbo<T> {
    domain: Arc<Domain>,
    waiting: VecDeque<(Generation, T)>,
}

impl<T> Limbo<T> {
    /// Empty.
    pub(crate) fn new(domain: &Arc<Domain>) -> Self {
        Self {
            domain: Arc::clone(domain),
            waiting: VecDeque::new(),
        }
    }

    /// Keeps `item` until every reader has passed the publication that is being made.
    pub(crate) fn retire(&mut self, item: T) {
        self.waiting.push_back((self.domain.next(), item));
    }

    /// Takes out one item that every reader has passed; `passed` is [`Publisher::passed`].
    pub(crate) fn reclaim(&mut self, passed: Generation) -> Option<T> {
        let passed = passed.min(self.domain.next() - 1);
        let (generation, _) = self.waiting.front()?;
        if *generation > passed {
            return None;
        }
        self.waiting.pop_front().map(|(_, item)| item)
    }

    /// How many items wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl<T> Drop for Limbo<T> {
    /// Frees what every reader has passed and leaks the rest: a reader may still hold it.
    fn drop(&mut self) {
        let passed = self.domain.passed();
        while let Some(item) = self.reclaim(passed) {
            drop(item);
        }
        self.waiting.drain(..).for_each(std::mem::forget);
    }
}

#[cfg(all(test, not(tether_loom)))]
mod tests {
    use super::*;

    fn assert_send<T: Send>() {}

    #[test]
    fn publisher_and_readers_may_move_between_threads() {
        assert_send::<Publisher>();
        assert_send::<Reader>();
    }

    #[test]
    fn nothing_is_reclaimed_before_every_reader_has_passed() {
        let (publisher, mut readers) = domain(2);
        let shared = Published::new(publisher.domain(), 1);
        let mut limbo = Limbo::new(publisher.domain());
        limbo.retire(shared.replace(2));
        publisher.advance();
        assert!(limbo.reclaim(publisher.passed()).is_none());
        readers[0].quiescent();
        assert!(limbo.reclaim(publisher.passed()).is_none());
        readers[1].quiescent();
        assert!(limbo.reclaim(publisher.passed()).is_some());
        assert_eq!(limbo.len(), 0);
    }

    #[test]
    fn what_is_retired_after_the_last_advance_waits_for_the_next() {
        let (publisher, mut readers) = domain(1);
        let shared = Published::new(publisher.domain(), 1);
        let mut limbo = Limbo::new(publisher.domain());
        readers[0].quiescent();
        limbo.retire(shared.replace(2));
        assert!(limbo.reclaim(publisher.passed()).is_none());
        drop(readers);
        assert!(limbo.reclaim(publisher.passed()).is_none());
        publisher.advance();
        assert!(limbo.reclaim(publisher.passed()).is_some());
    }

    #[test]
    fn a_stopped_reader_is_not_waited_for() {
        let (publisher, readers) = domain(1);
        assert_eq!(publisher.seen(), [Some(0)]);
        drop(readers);
        assert_eq!(publisher.seen(), [None]);
        assert_eq!(publisher.passed(), OFFLINE);
    }

    #[test]
    #[should_panic(expected = "another domain")]
    fn a_guard_of_another_domain_is_refused() {
        let (publisher, _readers) = domain(1);
        let (_other, readers) = domain(1);
        let shared = Published::new(publisher.domain(), 1);
        shared.load(readers[0].guard());
    }
}

#[cfg(all(test, tether_loom))]
mod loom_tests {
    use super::*;
    use crate::sync::AtomicU32;
    use loom::thread;

    /// A value that knows whether it has been freed.
    struct Canary(Arc<AtomicU32>);

    impl Drop for Canary {
        fn drop(&mut self) {
            self.0.store(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_reader_never_holds_what_was_freed() {
        loom::model(|| {
            let (publisher, mut readers) = domain(1);
            let freed = Arc::new(AtomicU32::new(0));
            let shared = Arc::new(Published::new(
                publisher.domain(),
                Canary(Arc::clone(&freed)),
            ));
            let mut reader = readers.remove(0);
            let seen = Arc::clone(&shared);
            let worker = thread::spawn(move || {
                for _ in 0..2 {
                    let held = seen.load(reader.guard());
                    assert_eq!(held.0.load(Ordering::Relaxed), 0, "read after free");
                    reader.quiescent();
                }
            });
            let mut limbo = Limbo::new(publisher.domain());
            limbo.retire(shared.replace(Canary(Arc::new(AtomicU32::new(0)))));
            publisher.advance();
            drop(limbo.reclaim(publisher.passed()));
            worker.join().expect("the worker's assertions hold");
            drop(limbo.reclaim(publisher.passed()));
            assert_eq!(freed.load(Ordering::Relaxed), 1, "reclaimed in the end");
        });
    }
}
