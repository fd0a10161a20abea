//! Captures: copies of frames that match a filter, with what became of them and who decided it.
//!
//! ```text
//!            worker: matches? ─ copy ─▶ full ─▶ collector
//!                                ▲───── free ◀──────┘
//! ```
//!
//! All records are made by the control plane before a worker gets its tap, and come back to be filled
//! again: the worker takes no memory, waits for nobody, and counts what it has no record for as missed.
//! A worker without a tap pays one look in each step; one with a tap that matches nothing compares a word
//! or two of the keys that its packets have anyway.

#[cfg(test)]
pub(crate) mod cases;
mod filter;
mod marked;
mod screen;
mod tap;

pub use filter::{Filter, Term, Test};
pub(crate) use marked::Marked;
pub(crate) use screen::{Screen, Screened};
pub use tap::Tap;

use crate::{
    fate::Fate,
    limits,
    simd::cycles,
    tables::{
        affinity::CellId,
        id::{BackendId, PortId},
    },
};
use crossbeam_queue::ArrayQueue;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Which way a frame went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It came.
    #[default]
    In,
    /// It left.
    Out,
}

/// What became of the packet of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It has met its fate.
    Fate(Fate),
    /// It waits, and is told of again when it leaves or is dropped.
    #[default]
    Held,
    /// The forwarder made it.
    Originated,
}

/// Who decided where a packet goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// Nobody: it was dropped before, or is for the forwarder.
    #[default]
    None,
    /// The flow that it is of.
    Flow,
    /// This affinity.
    Affinity(CellId),
    /// The service's scheduler.
    Scheduler,
    /// What it belongs to: the first fragment of its packet, the packet that an error is about, or,
    /// through NAT, the backend that it comes from.
    Related,
}

/// A captured frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When its burst was taken, by [`ticks`].
    pub at: u64,
    /// The port that it came or left by.
    pub port: PortId,
    /// Which of these.
    pub direction: Direction,
    /// What became of it.
    pub outcome: Outcome,
    /// Who decided.
    pub rule: Rule,
    /// Whom it went to, or through NAT came from.
    pub backend: Option<BackendId>,
    /// Length of the frame in bytes.
    pub len: usize,
    /// Its first bytes.
    pub bytes: Vec<u8>,
}

/// The control plane's end of a tap.
#[derive(Debug)]
pub struct Collector {
    shared: Arc<Shared>,
}

/// What both ends of a tap see.
#[derive(Debug)]
struct Shared {
    free: ArrayQueue<Box<Record>>,
    full: ArrayQueue<Box<Record>>,
    /// Frames that matched while no record was free; one worker writes it.
    missed: AtomicU64,
    closed: AtomicBool,
}

/// The time-stamp counter, by which records tell their time.
#[must_use]
pub fn ticks() -> u64 {
    cycles()
}

/// A tap for one worker, and its other end. Of each frame the first `snap_len` bytes are copied, within
/// [`limits::CAPTURED_BYTES`].
#[must_use]
pub fn tap(filter: Filter, snap_len: usize) -> (Box<Tap>, Collector) {
    let least = *limits::CAPTURED_BYTES.start();
    let snap_len = snap_len.clamp(least, *limits::CAPTURED_BYTES.end());
    let free = ArrayQueue::new(limits::CAPTURED_FRAMES);
    while free.push(Box::new(Record::with_room(snap_len))).is_ok() {}
    let shared = Arc::new(Shared {
        free,
        full: ArrayQueue::new(limits::CAPTURED_FRAMES),
        missed: AtomicU64::new(0),
        closed: AtomicBool::new(false),
    });
    let tap = Tap::new(filter, snap_len, Arc::clone(&shared));
    (Box::new(tap), Collector { shared })
}

impl Record {
    fn with_room(snap_len: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(snap_len),
            ..Self::default()
        }
    }

    /// Copies the frame, as far as there is room.
    #[inline]
    fn copy(&mut self, frame: &[u8]) {
        let len = frame.len().min(self.bytes.capacity());
        self.len = frame.len();
        self.bytes.clear();
        self.bytes.extend_from_slice(&frame[..len]);
    }
}

impl Collector {
    /// The next record, in the order of the worker's.
    pub fn take(&self, each: impl FnOnce(&Record)) -> bool {
        let Some(record) = self.shared.full.pop() else {
            return false;
        };
        each(&record);
        let back = self.shared.free.push(record);
        debug_assert!(back.is_ok(), "as many records as there is room for");
        true
    }

    /// How many frames matched for which no record was free.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.shared.missed.load(Ordering::Relaxed)
    }

    /// Nothing more is captured from the worker's next step on.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Hands over a record, whose memory is exchanged for that of a free one.
    #[inline]
    fn hand_over(&self, record: &mut Record) {
        let Some(mut free) = self.free.pop() else {
            let missed = self.missed.load(Ordering::Relaxed);
            self.missed.store(missed + 1, Ordering::Relaxed);
            return;
        };
        std::mem::swap(&mut *free, record);
        let handed = self.full.push(free);
        debug_assert!(handed.is_ok(), "as many records as there is room for");
    }
}
