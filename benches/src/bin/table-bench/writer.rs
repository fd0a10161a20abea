//! A thread that changes one of the tables at a rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Changes so many entries of one table, visible to lookups when it returns.
pub(crate) type Changer = Box<dyn FnMut(u64) + Send>;

/// Changes at once.
const TURN: u64 = 256;
const PAUSE: Duration = Duration::from_micros(100);

/// The thread.
#[derive(Debug)]
pub(crate) struct Writing {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    table: AtomicUsize,
    /// 0: pause.
    per_second: AtomicU64,
    ends: AtomicBool,
}

impl Writing {
    /// Starts it, on pause.
    pub(crate) fn start(changers: Vec<Changer>) -> Self {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || of_thread.run(changers));
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// From now on the table at this place is changed.
    pub(crate) fn go_on(&self, table: usize, per_second: u64) {
        self.shared.table.store(table, Ordering::Relaxed);
        self.shared.per_second.store(per_second, Ordering::Release);
    }

    /// Nothing is changed any more, but for a turn that has begun.
    pub(crate) fn pause(&self) {
        self.shared.per_second.store(0, Ordering::Relaxed);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Err: it has panicked and said so.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, mut changers: Vec<Changer>) {
        let mut due = Instant::now();
        while !self.ends.load(Ordering::Relaxed) {
            let per_second = self.per_second.load(Ordering::Acquire);
            let now = Instant::now();
            if per_second == 0 || now < due {
                thread::sleep(PAUSE);
                continue;
            }
            // What could not be done in time is not made up for.
            let turn = Duration::from_nanos(TURN * 1_000_000_000 / per_second);
            due = due.max(now.checked_sub(turn).unwrap_or(now)) + turn;
            let table = self.table.load(Ordering::Relaxed);
            if let Some(change) = changers.get_mut(table) {
                change(TURN);
            }
        }
    }
}
