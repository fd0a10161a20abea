//! What of an affinity changes without a swap: deadline, hits, flows. 32 bytes, at a stable index.
//!
//! Invariant: `deadline_ms` is 0 exactly while the cell belongs to no affinity (one that was replaced
//! keeps it until no worker finds it any more). The control thread sets it from 0 (start) and to 0
//! (end, expiry); workers only raise it, by compare-and-swap from a value that is not 0, so an
//! extension and an expiry cannot both win.
//!
//! A flow remembers its affinity's cell longer than the affinity lives. A worker that has seen the
//! deadline other than 0, and then the generation that the flow remembers, may write for the rest of
//! its step: a cell is given to another affinity only a grace period after its deadline became 0.

use crate::{
    clock::Millis,
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// Until ended: `limit_s` and `last_hit` that mean "none".
const NONE: u32 = u32::MAX;
/// `last_hit` counts units of so many milliseconds, so that 32 bits last two years.
const HIT_MS: u64 = 20;
/// Longer affinities are written at most once in a tick (contract rule T7).
const TICK_MS: u64 = 1000;
/// Affinities shorter than this are looked at and written with every packet, in milliseconds.
const SHORT_MS: u32 = 120_000;

/// An affinity's cell as something else remembers it: void once the generation differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CellId {
    /// Its place.
    pub index: u32,
    /// Which affinity of those that have had the place.
    pub generation: u32,
}

/// How long an affinity lasts, and how it is extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// When it stops to route.
    pub deadline: Millis,
    /// How far ahead of now a matching packet puts the deadline; 0: packets extend nothing.
    pub duration_ms: u32,
    /// What no packet extends beyond (contract rule T4), to the second.
    pub limit: Option<Millis>,
}

/// One hit in `Cell::traffic`.
const HIT: u64 = 1 << 32;

/// What an operator sees of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellView {
    /// When it stops to route.
    pub deadline: Millis,
    /// How far ahead of now a matching packet puts the deadline.
    pub duration_ms: u32,
    /// Connections that it has placed.
    pub hits: u32,
    /// Flows that it placed and that live.
    pub flows: u32,
    /// When a packet last matched, to 20 ms; where the duration is two minutes or more, to a second.
    pub last_hit: Option<Millis>,
}

#[derive(Debug)]
#[repr(C, align(32))]
pub(crate) struct Cell {
    deadline_ms: AtomicU64,
    limit_s: AtomicU32,
    duration_ms: AtomicU32,
    /// Hits in the high half, flows in the low one: a new flow counts as both at once.
    traffic: AtomicU64,
    generation: AtomicU32,
    last_hit: AtomicU32,
}

impl Cell {
    pub(crate) fn new() -> Self {
        Self {
            deadline_ms: AtomicU64::new(0),
            limit_s: AtomicU32::new(NONE),
            duration_ms: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            traffic: AtomicU64::new(0),
            last_hit: AtomicU32::new(NONE),
        }
    }

    // ---- the control thread ----

    /// Gives the free cell to a new affinity.
    pub(crate) fn start(&self, grant: Grant, generation: u32) {
        self.generation.store(generation, Ordering::Relaxed);
        self.traffic.store(0, Ordering::Relaxed);
        self.last_hit.store(NONE, Ordering::Relaxed);
        self.set_extension(grant.duration_ms, grant.limit);
        self.deadline_ms.store(grant.deadline.0, Ordering::Release);
    }

    /// Changes how packets extend it from now on.
    pub(crate) fn set_extension(&self, duration_ms: u32, limit: Option<Millis>) {
        let limit_s = limit.map_or(NONE, |limit| {
            u32::try_from(limit.0 / 1000).unwrap_or(NONE - 1)
        });
        self.limit_s.store(limit_s, Ordering::Relaxed);
        self.duration_ms.store(duration_ms, Ordering::Relaxed);
    }

    /// Puts the deadline at `deadline` or leaves it later; returns what it is.
    pub(crate) fn extend(&self, deadline: Millis) -> Millis {
        let before = self.deadline_ms.fetch_max(deadline.0, Ordering::AcqRel);
        Millis(before.max(deadline.0))
    }

    /// Puts the deadline at `deadline` or leaves it earlier. No packet puts it further than that again
    /// but by the extension that is set by now: whoever sees this deadline sees that too.
    pub(crate) fn lower(&self, deadline: Millis) {
        self.deadline_ms.fetch_min(deadline.0, Ordering::AcqRel);
    }

    /// Takes it from its affinity, whatever its deadline.
    pub(crate) fn end(&self) {
        self.deadline_ms.swap(0, Ordering::AcqRel);
    }

    /// Takes it from its affinity if the deadline has come; else says when that is.
    pub(crate) fn expire(&self, now: Millis) -> Result<(), Millis> {
        let mut seen = self.deadline_ms.load(Ordering::Acquire);
        while seen <= now.0 {
            match self.exchange(seen, 0) {
                Ok(()) => return Ok(()),
                Err(newer) => seen = newer,
            }
        }
        Err(Millis(seen))
    }

    /// What an operator sees.
    #[expect(clippy::cast_possible_truncation, reason = "the halves")]
    pub(crate) fn view(&self) -> CellView {
        let traffic = self.traffic.load(Ordering::Relaxed);
        let last_hit = self.last_hit.load(Ordering::Relaxed);
        CellView {
            deadline: self.deadline(),
            duration_ms: self.duration_ms.load(Ordering::Relaxed),
            hits: (traffic / HIT) as u32,
            flows: traffic as u32,
            last_hit: (last_hit != NONE).then(|| Millis(u64::from(last_hit) * HIT_MS)),
        }
    }

    // ---- both ----

    pub(crate) fn deadline(&self) -> Millis {
        Millis(self.deadline_ms.load(Ordering::Acquire))
    }

    // ---- workers ----

    /// Whether it routes at `now`: before the deadline, not at it (contract rule T5).
    #[inline]
    pub(crate) fn routes(&self, now: Millis) -> bool {
        self.deadline_ms.load(Ordering::Acquire) > now.0
    }

    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Whether its packets extend it one by one, not once in a tick.
    #[inline]
    pub(crate) fn is_short(&self) -> bool {
        self.duration_ms.load(Ordering::Relaxed) < SHORT_MS
    }

    /// The deadline, while the cell belongs to affinity `generation`: see the head of this file.
    #[inline]
    fn deadline_of(&self, generation: u32) -> Option<u64> {
        let deadline = self.deadline_ms.load(Ordering::Acquire);
        (deadline != 0 && self.generation() == generation).then_some(deadline)
    }

    /// A packet of affinity `generation` passed at `now`: extends it if it still lives (rule T2).
    #[inline]
    pub(crate) fn refresh(&self, generation: u32, now: Millis) {
        let Some(mut seen) = self.deadline_of(generation) else {
            return;
        };
        self.touch(now);
        let duration = u64::from(self.duration_ms.load(Ordering::Relaxed));
        if !self.is_short() && same_tick(seen.saturating_sub(duration), now.0) {
            return;
        }
        // Looked at anew for each deadline that is seen: it may have been lowered.
        while let wanted = self.reach(now)
            && seen > now.0
            && seen < wanted
        {
            match self.exchange(seen, wanted) {
                Ok(()) => return,
                Err(newer) => seen = newer,
            }
        }
    }

    /// Where a packet puts the deadline at `now`.
    #[inline]
    fn reach(&self, now: Millis) -> u64 {
        let duration = u64::from(self.duration_ms.load(Ordering::Relaxed));
        let limit_s = self.limit_s.load(Ordering::Relaxed);
        let limit = if limit_s == NONE {
            u64::MAX
        } else {
            u64::from(limit_s) * 1000
        };
        (now.0 + duration).min(limit)
    }

    /// A connection was placed by it, whose flow is remembered or not.
    pub(crate) fn placed(&self, remembered: bool, now: Millis) {
        let counted = HIT + u64::from(remembered);
        self.traffic.fetch_add(counted, Ordering::Relaxed);
        self.touch(now);
    }

    /// A flow that affinity `generation` placed is gone.
    pub(crate) fn flow_gone(&self, generation: u32) {
        if self.deadline_of(generation).is_some() {
            self.traffic.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "two years of uptime fit")]
    fn touch(&self, now: Millis) {
        let last = self.last_hit.load(Ordering::Relaxed);
        let hit = (now.0 / HIT_MS) as u32;
        let known = !self.is_short() && same_tick(u64::from(last) * HIT_MS, now.0);
        if last != hit && !known {
            self.last_hit.store(hit, Ordering::Relaxed);
        }
    }

    fn exchange(&self, from: u64, to: u64) -> Result<(), u64> {
        self.deadline_ms
            .compare_exchange_weak(from, to, Ordering::AcqRel, Ordering::Acquire)
            .map(|_| ())
    }
}

#[inline]
fn same_tick(a_ms: u64, b_ms: u64) -> bool {
    a_ms / TICK_MS == b_ms / TICK_MS
}

#[cfg(not(tether_loom))]
const _: () = assert!(size_of::<Cell>() == 32);
const _: () = assert!(TICK_MS.is_multiple_of(HIT_MS));

#[cfg(all(test, not(tether_loom)))]
mod tests {
    use super::*;

    fn started(deadline: u64, duration_ms: u32, limit: Option<u64>) -> Cell {
        let cell = Cell::new();
        cell.start(
            Grant {
                deadline: Millis(deadline),
                duration_ms,
                limit: limit.map(Millis),
            },
            7,
        );
        cell
    }

    #[test]
    fn it_routes_before_its_deadline_and_not_at_it() {
        let cell = started(5000, 1000, None);
        assert!(cell.routes(Millis(4999)));
        assert!(!cell.routes(Millis(5000)));
    }

    #[test]
    fn a_packet_extends_and_never_shortens() {
        let cell = started(5000, 1000, None);
        cell.refresh(7, Millis(3000));
        assert_eq!(cell.deadline(), Millis(5000));
        cell.refresh(7, Millis(4999));
        assert_eq!(cell.deadline(), Millis(5999));
    }

    #[test]
    fn a_packet_revives_nothing() {
        let cell = started(5000, 1000, None);
        cell.refresh(7, Millis(5000));
        assert_eq!(cell.deadline(), Millis(5000));
        assert_eq!(cell.expire(Millis(5000)), Ok(()));
        cell.refresh(7, Millis(4000));
        assert_eq!(cell.deadline(), Millis(0));
    }

    #[test]
    fn another_affinity_in_the_same_place_is_not_extended() {
        let cell = started(5000, 1000, None);
        cell.refresh(6, Millis(4900));
        assert_eq!(cell.deadline(), Millis(5000));
    }

    #[test]
    fn packets_extend_up_to_the_limit_and_servers_beyond() {
        let cell = started(5000, 10_000, Some(7000));
        cell.refresh(7, Millis(4000));
        assert_eq!(cell.deadline(), Millis(7000));
        assert_eq!(cell.extend(Millis(9000)), Millis(9000));
        assert_eq!(cell.expire(Millis(8999)), Err(Millis(9000)));
    }

    #[test]
    fn a_deadline_is_lowered_and_packets_extend_it_from_there() {
        let cell = started(50_000, 40_000, None);
        cell.set_extension(2_000, None);
        cell.lower(Millis(12_000));
        assert_eq!(cell.deadline(), Millis(12_000));
        cell.lower(Millis(13_000));
        cell.refresh(7, Millis(10_000));
        assert_eq!(cell.deadline(), Millis(12_000));
        cell.refresh(7, Millis(11_500));
        assert_eq!(cell.deadline(), Millis(13_500));
    }

    #[test]
    fn until_ended_never_expires() {
        let cell = started(u64::MAX, 0, None);
        assert_eq!(cell.expire(Millis(u64::MAX - 1)), Err(Millis::NEVER));
        cell.refresh(7, Millis(1 << 40));
        assert_eq!(cell.deadline(), Millis::NEVER);
    }
}

#[cfg(all(test, tether_loom))]
mod loom_tests {
    use super::*;
    use crate::{
        rcu::{self, Limbo},
        sync::Arc,
    };
    use loom::thread;

    #[test]
    fn t8_a_packet_does_not_undo_a_lowered_deadline() {
        loom::model(|| {
            let cell = Arc::new(Cell::new());
            let grant = Grant {
                deadline: Millis(5_000),
                duration_ms: 9_000,
                limit: None,
            };
            cell.start(grant, 1);
            let worker = {
                let cell = Arc::clone(&cell);
                thread::spawn(move || cell.refresh(1, Millis(1_000)))
            };
            cell.set_extension(2_000, None);
            cell.lower(Millis(3_000));
            worker.join().unwrap();
            assert_eq!(cell.deadline(), Millis(3_000));
        });
    }

    #[test]
    fn an_extension_and_an_expiry_do_not_both_win() {
        loom::model(|| {
            let cell = Arc::new(Cell::new());
            let grant = Grant {
                deadline: Millis(100),
                duration_ms: 50,
                limit: None,
            };
            cell.start(grant, 1);
            let worker = {
                let cell = Arc::clone(&cell);
                thread::spawn(move || cell.refresh(1, Millis(99)))
            };
            let expired = cell.expire(Millis(100));
            worker.join().expect("the worker ends");
            match expired {
                Ok(()) => assert_eq!(cell.deadline(), Millis(0)),
                Err(at) => {
                    assert_eq!(at, Millis(149));
                    assert_eq!(cell.deadline(), Millis(149));
                }
            }
        });
    }

    /// A worker's flow remembers affinity 1, which ends; its cell goes to affinity 2 once the worker
    /// has reported. Whatever the worker does in its two steps, affinity 2 is not touched.
    #[test]
    fn a_flow_of_an_ended_affinity_leaves_the_next_one_alone() {
        loom::model(|| {
            let (publisher, mut readers) = rcu::domain(1);
            let mut leaving = Limbo::new(publisher.domain());
            let cell = Arc::new(Cell::new());
            let grant = |deadline| Grant {
                deadline: Millis(deadline),
                duration_ms: 50,
                limit: None,
            };
            cell.start(grant(100), 1);
            cell.placed(true, Millis(90));
            cell.placed(true, Millis(90));
            let mut reader = readers.remove(0);
            let worker = {
                let cell = Arc::clone(&cell);
                thread::spawn(move || {
                    for now in [98, 99] {
                        cell.refresh(1, Millis(now));
                        cell.flow_gone(1);
                        reader.quiescent();
                    }
                })
            };
            cell.end();
            leaving.retire(());
            publisher.advance();
            let reused = leaving.reclaim(publisher.passed()).is_some();
            if reused {
                cell.start(grant(100), 2);
            }
            worker.join().expect("the worker ends");
            if reused {
                let view = cell.view();
                assert_eq!((view.deadline, view.flows), (Millis(100), 0));
            } else {
                assert_eq!(cell.deadline(), Millis(0));
            }
        });
    }

    #[test]
    fn two_workers_extensions_keep_the_later() {
        loom::model(|| {
            let cell = Arc::new(Cell::new());
            let grant = Grant {
                deadline: Millis(100),
                duration_ms: 50,
                limit: None,
            };
            cell.start(grant, 1);
            let workers = [60, 70].map(|now| {
                let cell = Arc::clone(&cell);
                thread::spawn(move || cell.refresh(1, Millis(now)))
            });
            workers
                .into_iter()
                .for_each(|worker| worker.join().expect("the worker ends"));
            assert_eq!(cell.deadline(), Millis(120));
        });
    }
}
