//! What survives the process: every change is appended to a file before it is acknowledged, and now
//! and then all that there is becomes a snapshot, which replaces what led to it (contract rule L1).
//!
//! ```text
//! a turn's records ─▶ one write ─▶ segment                      kill -9 loses nothing that was written
//!                                     │ once a second, by the syncer: fdatasync
//! long enough ─▶ next segment, then all places by cursor ─▶ snapshot.new ─▶ fsync, rename, clear
//! a write fails ─▶ signals are refused ─▶ once a second: the same, until a snapshot is there again
//! ```
//!
//! `control/record.rs` says what is written, `recover.rs` what it comes to. Costs one `write` a turn.

mod batches;
mod disk;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod record;
mod recover;
mod stamp;
mod syncer;
#[cfg(test)]
pub(crate) mod tests;
mod upkeep;
mod volume;

pub use disk::OpenError;
pub(crate) use recover::{Held, Recovered};
pub use stamp::{KernelBoot, Stamp, Stamps, system};
pub(crate) use volume::Volume;

use disk::{Directory, Disk};
use record::Record;
use std::{
    panic::resume_unwind,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};
use syncer::{Syncer, is_unfinished, syncer};
use tether_dataplane::clock::Millis;

/// Bytes of segments after which there is a snapshot, if the last one is less than half of them.
const ROTATE_BYTES: u64 = 64 << 20;
/// Between two calls to the disk to keep what was written, in milliseconds.
const SYNC_MS: u64 = 1000;
/// After an attempt at a snapshot has failed, in milliseconds.
const RETRY_MS: u64 = 1000;

/// Why signals are not decided, or what they were decided to be is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal in {directory} cannot be written: {why}; signals are refused until it can, forwarding goes on"
)]
pub struct NotRecorded {
    /// The state directory.
    pub directory: String,
    /// What the system said.
    pub why: String,
}

/// The journal of a control thread.
pub(crate) struct Journal {
    directory: String,
    disk: Arc<dyn Disk>,
    stamps: Stamps,
    syncer: Syncer,
    pub(crate) rotate_bytes: u64,
    epoch: u64,
    /// The number of the next segment.
    next: u64,
    // Invariant: `None` only while the journal is failing.
    segment: Option<Volume>,
    /// The segment was begun for a snapshot that is not there yet.
    owes_snapshot: bool,
    snapshot: Option<Snapshot>,
    /// Why nothing is recorded.
    failing: Option<String>,
    /// What was last said to be wrong, and is not said again.
    trouble: Option<String>,
    /// When the next snapshot may be attempted.
    not_before: Millis,
    keeping: Keeping,
    figures: Figures,
}

/// A snapshot that is being made.
#[derive(Debug)]
enum Snapshot {
    /// All places are being walked.
    Walking(Box<Volume>, u32),
    /// It is written, and is to be put in its place.
    Completing { number: u64, bytes: u64 },
}

/// How far the disk has kept the segment.
#[derive(Debug, Default)]
struct Keeping {
    asked: Millis,
    is_busy: bool,
    /// The segment's name may be lost.
    is_new: bool,
    /// Its bytes that are kept, or asked to be.
    bytes: u64,
}

/// What there is on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Segments before the one that is written.
    closed: u64,
    /// Their bytes.
    closed_bytes: u64,
    /// Bytes of the last snapshot.
    pub(crate) snapshot_bytes: u64,
    /// When it was complete, if it is of this run.
    pub(crate) snapshot_at: Option<Millis>,
}

/// A state directory, and what was in it.
pub struct Loaded {
    pub(crate) journal: Journal,
    pub(crate) recovered: Recovered,
}

/// A state directory that is being read, beside whatever else takes its time to start.
#[derive(Debug)]
pub struct Loading(JoinHandle<Result<Loaded, OpenError>>);

impl Loading {
    /// Begins, on a thread of its own, with the clocks of this machine.
    #[must_use]
    pub fn begin(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self(thread::spawn(move || load(&directory, system())))
    }

    /// Waits for the end of [`load`].
    ///
    /// # Errors
    /// As there.
    pub fn wait(self) -> Result<Loaded, OpenError> {
        self.0.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// Locks a state directory and reads what is in it.
///
/// # Errors
/// Another daemon has it, it cannot be read at all, or a later version has written it. What is damaged
/// in it is left out with a warning.
pub fn load(directory: &Path, stamps: Stamps) -> Result<Loaded, OpenError> {
    let name = directory.display().to_string();
    let disk = Arc::new(Directory::open(directory)?);
    let (mut syncer, hand) = syncer(Arc::clone(&disk) as _);
    syncer.start(hand).map_err(|error| OpenError::System {
        what: "start a thread for",
        path: directory.to_owned(),
        error,
    })?;
    Journal::load(name, disk, syncer, stamps)
}

impl Journal {
    fn load(
        directory: String,
        disk: Arc<dyn Disk>,
        syncer: Syncer,
        stamps: Stamps,
    ) -> Result<Loaded, OpenError> {
        let recovered = recover::recover(&*disk, stamps())?;
        for what in &recovered.left_out {
            log::warn!("journal in {directory}: left out: {what}");
        }
        clear_unfinished(&*disk);
        let journal = Self {
            directory,
            disk,
            stamps,
            syncer,
            rotate_bytes: ROTATE_BYTES,
            epoch: 0,
            next: recovered.number + 1,
            segment: None,
            owes_snapshot: recovered.number > 0,
            snapshot: None,
            failing: None,
            trouble: None,
            not_before: Millis::default(),
            keeping: Keeping::default(),
            figures: Figures {
                closed: recovered.segments.0,
                closed_bytes: recovered.segments.1,
                ..Figures::default()
            },
        };
        Ok(Loaded { journal, recovered })
    }

    /// Begins to write, for this epoch. What is in the directory stays until it is in a snapshot.
    pub(crate) fn begin(&mut self, now: Millis, epoch: u64, generation: u64) {
        self.epoch = epoch;
        let owes_snapshot = self.owes_snapshot;
        if let Err(error) = self.begin_segment(generation) {
            self.fail(now, &error);
        }
        self.owes_snapshot = owes_snapshot;
    }

    /// How many milliseconds have passed since.
    pub(crate) fn passed_since(&self, stamp: &Stamp) -> u64 {
        (self.stamps)().since(stamp)
    }

    /// Why nothing is recorded now, if it is so.
    pub(crate) fn failing(&self) -> Option<NotRecorded> {
        self.failing.as_ref().map(|why| NotRecorded {
            directory: self.directory.clone(),
            why: why.clone(),
        })
    }

    /// The state directory.
    pub(crate) fn directory(&self) -> &str {
        &self.directory
    }

    /// What there is on the disk.
    pub(crate) fn figures(&self) -> Figures {
        self.figures
    }

    /// How many segments there are, and their bytes.
    pub(crate) fn segments(&self) -> (u64, u64) {
        let current = self.segment.as_ref().map_or(0, Volume::bytes);
        let count = self.figures.closed + u64::from(self.segment.is_some());
        (count, self.figures.closed_bytes + current)
    }

    /// Begins a turn: hears of the disk, begins a snapshot if it is time, stamps what will be added.
    pub(crate) fn turn(&mut self, now: Millis, generation: u64) {
        while let Some(done) = self.syncer.done() {
            self.hear(now, done);
        }
        if self.snapshot.is_none() && self.wants_snapshot() && now >= self.not_before {
            self.not_before = now + RETRY_MS;
            if let Err(error) = self.begin_snapshot(generation) {
                self.give_up(now, &error);
            }
        }
        let stamp = (self.stamps)();
        for volume in self.segment.iter_mut().chain(walking(&mut self.snapshot)) {
            volume.begin(stamp);
        }
    }

    /// Where the records of the turn go; `None`: there is no place for them.
    pub(crate) fn segment(&mut self) -> Option<&mut Volume> {
        self.segment.as_mut()
    }

    /// The snapshot to be walked for, and the place to go on from.
    pub(crate) fn walk(&mut self) -> Option<(&mut Volume, &mut u32)> {
        match &mut self.snapshot {
            Some(Snapshot::Walking(volume, cursor)) => Some((volume, cursor)),
            Some(Snapshot::Completing { .. }) | None => None,
        }
    }

    /// Writes what was added in the turn. `has_walked`: the snapshot has all places.
    pub(crate) fn commit(&mut self, now: Millis, has_walked: bool) -> Result<(), NotRecorded> {
        if let Some(Err(error)) = self.segment.as_mut().map(Volume::commit) {
            self.fail(now, &error);
        }
        if let Err(error) = self.commit_snapshot(has_walked) {
            self.give_up(now, &error);
        }
        self.keep(now);
        self.failing().map_or(Ok(()), Err)
    }

    /// The last turn's records are added: writes them, and that nothing follows, and waits for the disk.
    pub(crate) fn end(mut self) -> Result<(), NotRecorded> {
        if let Some(failing) = self.failing() {
            return Err(failing);
        }
        let ended = self.segment.as_mut().map(|volume| {
            volume.add(&Record::Last);
            volume.commit()?;
            volume.file.sync()?;
            self.disk.sync()
        });
        match ended {
            Some(Err(error)) => Err(NotRecorded {
                directory: self.directory,
                why: error.to_string(),
            }),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Numbers may mean other backends from now on.
    pub(crate) fn forget_names(&mut self) {
        for volume in self.segment.iter_mut().chain(walking(&mut self.snapshot)) {
            volume.forget_names();
        }
    }
}

/// Removes snapshots that were not whole when the daemon ended.
fn clear_unfinished(disk: &dyn Disk) {
    let names = disk.names().unwrap_or_default();
    for name in names.iter().filter(|it| is_unfinished(it)) {
        if let Err(error) = disk.remove(name) {
            log::warn!("journal: {name} is of no use and cannot be removed: {error}");
        }
    }
}

/// The snapshot that is being walked for.
fn walking(snapshot: &mut Option<Snapshot>) -> Option<&mut Volume> {
    match snapshot {
        Some(Snapshot::Walking(volume, _)) => Some(volume),
        Some(Snapshot::Completing { .. }) | None => None,
    }
}
