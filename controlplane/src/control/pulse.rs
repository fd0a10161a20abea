//! Whether workers say that they live: by what they report and count, looked at now and then.

use tether_dataplane::{Generation, clock::Millis, plane::Writer};

/// Between two looks, in milliseconds.
const LOOK_MS: u64 = 250;
/// A worker that has not moved for so long is not reporting, in milliseconds.
const SILENT_MS: u64 = 1000;

/// What was seen of every worker, and when it last moved.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    looked: Millis,
    workers: Vec<Beat>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Beat {
    seen: Option<Generation>,
    steps: u64,
    moved: Millis,
}

impl Pulse {
    /// Looks at the workers, if it is time to.
    pub(crate) fn feel(&mut self, writer: &Writer, now: Millis) {
        if now.since(self.looked) < LOOK_MS {
            return;
        }
        self.looked = now;
        let views = writer.workers();
        self.workers.resize(views.len(), Beat::default());
        for (beat, view) in self.workers.iter_mut().zip(views) {
            let has_moved = (beat.seen, beat.steps) != (view.seen, view.counters.steps);
            *beat = Beat {
                seen: view.seen,
                steps: view.counters.steps,
                moved: if has_moved { now } else { beat.moved },
            };
        }
    }

    /// Whether a worker has moved lately.
    pub(crate) fn is_reporting(&self, worker: usize, now: Millis) -> bool {
        let beat = self.workers.get(worker);
        beat.is_some_and(|it| it.seen.is_some() && now.since(it.moved) < SILENT_MS)
    }
}
