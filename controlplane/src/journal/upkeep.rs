//! What the journal does for itself: segments and snapshots begin and end, the disk is asked to
//! keep what was written, and a disk that says no is asked again.

use super::{
    Figures, Journal, RETRY_MS, SYNC_MS, Snapshot,
    format::{Head, Kind},
    record::Record,
    syncer::{Done, Job, unfinished},
    volume::Volume,
};
use std::{io, sync::Arc};
use tether_dataplane::clock::Millis;

impl Journal {
    pub(super) fn wants_snapshot(&self) -> bool {
        let longest = self.rotate_bytes.max(2 * self.figures.snapshot_bytes);
        self.failing.is_some() || self.owes_snapshot || self.segments().1 > longest
    }

    fn head(&self, kind: Kind, number: u64, generation: u64) -> Head {
        Head {
            kind,
            number,
            epoch: self.epoch,
            generation,
            kernel: (self.stamps)().kernel,
        }
    }

    pub(super) fn begin_segment(&mut self, generation: u64) -> io::Result<()> {
        let head = self.head(Kind::Segment, self.next, generation);
        let name = Kind::Segment.name(self.next);
        let volume = Volume::create(&*self.disk, &name, &head)?;
        self.next += 1;
        self.owes_snapshot = true;
        self.keeping.is_new = true;
        self.keeping.bytes = 0;
        if let Some(old) = self.segment.replace(volume) {
            self.figures.closed += 1;
            self.figures.closed_bytes += old.bytes();
            let (file, is_new) = (old.file, false);
            self.syncer.give(Job::Sync { file, is_new });
        }
        Ok(())
    }

    /// A snapshot replaces all that is older than a segment which was begun before it: the one that
    /// is written, if it was begun for a snapshot that has failed, else another.
    pub(super) fn begin_snapshot(&mut self, generation: u64) -> io::Result<()> {
        let number = match &self.segment {
            Some(segment) if self.owes_snapshot => segment.number,
            Some(_) | None => {
                self.begin_segment(generation)?;
                self.next - 1
            }
        };
        let head = self.head(Kind::Snapshot, number, generation);
        let volume = Volume::create(&*self.disk, &unfinished(number), &head)?;
        self.snapshot = Some(Snapshot::Walking(Box::new(volume), 0));
        Ok(())
    }

    pub(super) fn commit_snapshot(&mut self, has_walked: bool) -> io::Result<()> {
        let Some(Snapshot::Walking(volume, _)) = &mut self.snapshot else {
            return Ok(());
        };
        if has_walked {
            volume.add(&Record::Last);
        }
        volume.commit()?;
        if has_walked {
            let (number, bytes) = (volume.number, volume.bytes());
            let file = Arc::clone(&volume.file);
            self.syncer.give(Job::Complete { number, file });
            self.snapshot = Some(Snapshot::Completing { number, bytes });
        }
        Ok(())
    }

    /// Has the disk keep what was written, about once a second.
    pub(super) fn keep(&mut self, now: Millis) {
        let Some(segment) = &self.segment else {
            return;
        };
        let is_kept = segment.bytes() == self.keeping.bytes;
        if is_kept || self.keeping.is_busy || now.since(self.keeping.asked) < SYNC_MS {
            return;
        }
        let file = Arc::clone(&segment.file);
        let is_new = std::mem::take(&mut self.keeping.is_new);
        self.keeping.asked = now;
        self.keeping.is_busy = true;
        self.keeping.bytes = segment.bytes();
        self.syncer.give(Job::Sync { file, is_new });
    }

    pub(super) fn hear(&mut self, now: Millis, done: Done) {
        match done {
            Done::Synced(Ok(())) => self.keeping.is_busy = false,
            Done::Synced(Err(error)) => {
                self.keeping.is_busy = false;
                // What the kernel could not write it may have forgotten: the file counts no more.
                self.fail(now, &error);
            }
            Done::Completed(number, result) => self.completed(now, number, result),
        }
    }

    fn completed(&mut self, now: Millis, number: u64, result: io::Result<()>) {
        let expected = match &self.snapshot {
            Some(Snapshot::Completing { number: it, bytes }) if *it == number => *bytes,
            // Given up meanwhile.
            _ => return,
        };
        if let Err(error) = result {
            return self.give_up(now, &error);
        }
        self.snapshot = None;
        self.trouble = None;
        self.owes_snapshot = false;
        self.figures = Figures {
            closed: 0,
            closed_bytes: 0,
            snapshot_bytes: expected,
            snapshot_at: Some(now),
        };
        log::debug!("journal: snapshot {number} is complete, {expected} bytes");
        if self.failing.take().is_some() {
            let directory = &self.directory;
            log::warn!("the journal in {directory} can be written again: signals are decided");
        }
    }

    /// From here on nothing is recorded until there is a new snapshot, over a new segment.
    pub(super) fn fail(&mut self, now: Millis, error: &io::Error) {
        if let Some(segment) = self.segment.take() {
            self.close(&segment);
        }
        if self.failing.is_none() {
            self.failing = Some(error.to_string());
            self.trouble = None;
        }
        self.give_up(now, error);
    }

    /// A segment that has nothing in it makes room for the next attempt: a full disk is not filled
    /// with attempts.
    fn close(&mut self, segment: &Volume) {
        let is_used = matches!(&self.snapshot, Some(Snapshot::Completing { .. }));
        let name = Kind::Segment.name(segment.number);
        if segment.is_empty() && !is_used && self.disk.remove(&name).is_ok() {
            self.next = segment.number;
            return;
        }
        self.figures.closed += 1;
        self.figures.closed_bytes += segment.bytes();
    }

    /// A snapshot could not be made. Where the segment is as it should be, all else goes on.
    pub(super) fn give_up(&mut self, now: Millis, error: &io::Error) {
        self.abandon_snapshot();
        self.not_before = now + RETRY_MS;
        let why = error.to_string();
        if self.trouble.as_ref() == Some(&why) {
            return;
        }
        self.trouble = Some(why.clone());
        if let Some(failing) = &mut self.failing {
            *failing = why;
        }
        match self.failing() {
            Some(failing) => log::error!("{failing}"),
            None => log::warn!(
                "no snapshot of the journal in {}: {error}; trying again every second",
                self.directory
            ),
        }
    }

    fn abandon_snapshot(&mut self) {
        if let Some(Snapshot::Walking(volume, _)) = self.snapshot.take() {
            // It may be gone, or not be removable: it is made anew under the same name, or cleared
            // at the next start.
            drop(self.disk.remove(&unfinished(volume.number)));
        }
    }
}
