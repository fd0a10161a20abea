//! What a disk takes its time for, on a thread beside the control thread: to make what was written
//! survive a power loss, and to put a snapshot in the place of what it replaces.

use super::{
    disk::{Disk, Sink},
    format::Kind,
};
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
};

/// Something to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// A segment is to survive a power loss, and its name where it is new.
    Sync {
        /// The segment.
        file: Arc<dyn Sink>,
        /// Its name is not on the disk yet.
        is_new: bool,
    },
    /// A snapshot is written: it is to have its name, and all older files are to go.
    Complete {
        /// Its number.
        number: u64,
        /// It.
        file: Arc<dyn Sink>,
    },
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Done {
    /// Of [`Job::Sync`].
    Synced(io::Result<()>),
    /// Of [`Job::Complete`], with the number.
    Completed(u64, io::Result<()>),
}

/// The control thread's side. Never more than a few jobs wait: one is given after the other is done.
#[derive(Debug)]
pub(crate) struct Syncer {
    // Invariant: `None` only while it is being dropped.
    jobs: Option<Sender<Job>>,
    done: Receiver<Done>,
    /// The other side, if it is a thread.
    thread: Option<JoinHandle<()>>,
}

/// The side that does it; it ends with the other one.
#[derive(Debug)]
pub(crate) struct Hand {
    disk: Arc<dyn Disk>,
    jobs: Receiver<Job>,
    done: Sender<Done>,
}

/// The name of a snapshot that is not whole yet.
pub(crate) fn unfinished(number: u64) -> String {
    Kind::Snapshot.name(number) + ".new"
}

/// Whether it is the name of such a one.
pub(crate) fn is_unfinished(name: &str) -> bool {
    let number = name
        .strip_suffix(".new")
        .and_then(|it| Kind::Snapshot.number(it));
    number.is_some()
}

/// Both sides.
pub(crate) fn syncer(disk: Arc<dyn Disk>) -> (Syncer, Hand) {
    let (jobs, taken) = unbounded();
    let (told, done) = unbounded();
    let hand = Hand {
        disk,
        jobs: taken,
        done: told,
    };
    let syncer = Syncer {
        jobs: Some(jobs),
        done,
        thread: None,
    };
    (syncer, hand)
}

impl Syncer {
    /// Has something done.
    pub(crate) fn give(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // Err: the thread has died, and says so by never being done.
            let _ = jobs.send(job);
        }
    }

    /// Has the other side work on a thread of its own.
    pub(crate) fn start(&mut self, hand: Hand) -> io::Result<()> {
        let thread = thread::Builder::new().name("tether-journal".to_owned());
        self.thread = Some(thread.spawn(move || while hand.step() {})?);
        Ok(())
    }

    /// What has been done since.
    pub(crate) fn done(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }
}

impl Drop for Syncer {
    /// Waits for the thread: until it is done, the directory is in use.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the journal's thread has panicked: this is a bug, please report it");
        }
    }
}

impl Hand {
    /// Waits for a job and does it; false when there will be none.
    pub(crate) fn step(&self) -> bool {
        let Ok(job) = self.jobs.recv() else {
            return false;
        };
        let done = match job {
            Job::Sync { file, is_new } => Done::Synced(self.sync(&*file, is_new)),
            Job::Complete { number, file } => {
                Done::Completed(number, self.complete(number, &*file))
            }
        };
        self.done.send(done).is_ok()
    }

    /// Whether a job waits.
    #[cfg(test)]
    pub(crate) fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    fn sync(&self, file: &dyn Sink, is_new: bool) -> io::Result<()> {
        file.sync()?;
        if is_new { self.disk.sync() } else { Ok(()) }
    }

    fn complete(&self, number: u64, file: &dyn Sink) -> io::Result<()> {
        file.sync()?;
        let name = Kind::Snapshot.name(number);
        self.disk.rename(&unfinished(number), &name)?;
        self.disk.sync()?;
        if let Err(error) = self.clear(number) {
            log::warn!("journal: what {name} replaces cannot be removed: {error}");
        }
        Ok(())
    }

    /// Removes what is older than the snapshot: first snapshots, so that what a crash leaves of the
    /// others has nothing to stand on.
    fn clear(&self, number: u64) -> io::Result<()> {
        let names = self.disk.names()?;
        for kind in [Kind::Snapshot, Kind::Segment] {
            let mut old: Vec<_> = names.iter().filter_map(|it| kind.number(it)).collect();
            old.retain(|it| *it < number);
            old.sort_unstable();
            for number in old {
                self.disk.remove(&kind.name(number))?;
            }
        }
        Ok(())
    }
}
