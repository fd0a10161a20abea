//! What of a turn is written down (contract rule L1).
//!
//! Every affinity but those that are bound to a session, which ends with the daemon (S6). Expiry
//! is not written: the deadline says it. A deadline that packets have moved is written once it has
//! moved by a second, or by a 64th of the duration where that is more: a sweep looks at all places
//! about once a second, and so much remaining time at most is lost by `kill -9`. A stop in order
//! loses none.

use super::Control;
use crate::{
    journal::{Journal, NotRecorded, Volume, record},
    master::{Event, Happened, Master, Record},
};
use tether_dataplane::{
    clock::Millis,
    tables::{affinity::AffinityWriter, id::BackendId},
};

/// Milliseconds in which the sweep passes all places.
const SWEEP_MS: u64 = 1000;
/// Places that a turn sweeps at most: more than a million affinities take longer than a second.
const SWEPT: u64 = 16_384;
/// Places of which a turn writes a snapshot.
const COPIED: u32 = 8_192;
/// What a deadline moves by before that is written, in milliseconds.
const MOVED_MS: u64 = 1000;
/// The same as a part of the duration.
const MOVED_PART: u64 = 64;

/// Writes down what happens.
pub(crate) struct Recorder {
    pub(crate) journal: Journal,
    /// Signals that were not decided or not acknowledged because they could not be written.
    pub(crate) not_recorded: u64,
    /// By place, the deadline that was written last.
    written: Vec<Millis>,
    /// Where the sweep goes on, and since when it has not.
    sweep: (u32, Millis),
    /// Backends whose process has begun another life in this turn.
    boots: Vec<BackendId>,
}

/// What there is to be written down.
#[derive(Clone, Copy)]
struct Living<'a> {
    master: &'a Master,
    cells: &'a AffinityWriter,
    now: Millis,
}

impl Control {
    /// Whether what is decided can be written down: if not, nothing is decided.
    pub(crate) fn check_recorded(&self) -> Result<(), NotRecorded> {
        let recorder = self.recorder.as_ref();
        let failing = recorder.and_then(|it| it.journal.failing());
        failing.map_or(Ok(()), Err)
    }

    pub(super) fn count_not_recorded(&mut self, signals: usize) {
        if let Some(recorder) = &mut self.recorder {
            recorder.not_recorded += u64::try_from(signals).unwrap_or_default();
        }
    }

    /// From here on a crash loses nothing of the turn (contract rule L1).
    pub(super) fn record(&mut self, now: Millis) -> Result<(), NotRecorded> {
        let Some(recorder) = &mut self.recorder else {
            return Ok(());
        };
        let living = Living {
            master: &self.master,
            cells: self.writer.affinities(),
            now,
        };
        recorder.turn(living, &self.events)
    }

    /// Leaves everything as it is for the next daemon.
    pub(super) fn end_journal(&mut self, now: Millis) {
        let Some(recorder) = self.recorder.take() else {
            return;
        };
        let living = Living {
            master: &self.master,
            cells: self.writer.affinities(),
            now,
        };
        if let Err(error) = recorder.end(living, &self.events) {
            log::error!("the last changes are not recorded: {error}");
        }
    }
}

impl Recorder {
    /// Nothing is written yet; with room for so many affinities, as growing would stop the thread.
    pub(super) fn new(journal: Journal, affinities: usize, now: Millis) -> Self {
        Self {
            journal,
            not_recorded: 0,
            written: Vec::with_capacity(affinities),
            sweep: (0, now),
            boots: Vec::new(),
        }
    }

    /// What the journal says already of an affinity.
    pub(super) fn knows(&mut self, place: u32, deadline: Millis) {
        note(&mut self.written, place, deadline);
    }

    /// A backend's process has begun another life.
    pub(super) fn has_booted(&mut self, backend: BackendId) {
        self.boots.push(backend);
    }

    /// Writes a turn: what has happened, what packets have moved, a part of a snapshot.
    fn turn(&mut self, living: Living<'_>, events: &[Event]) -> Result<(), NotRecorded> {
        self.journal.turn(living.now, living.master.generation);
        let range = self.sweep_range(living);
        self.add(living, events);
        if let Some(volume) = self.journal.segment() {
            for place in range {
                let moved = living.moved(place, &self.written, MOVED_MS);
                touch(moved, living, volume, &mut self.written);
            }
        }
        let has_walked = match self.journal.walk() {
            Some((volume, cursor)) => living.copy(volume, cursor),
            None => false,
        };
        self.journal.commit(living.now, has_walked)
    }

    /// Writes the last turn, and every deadline as it is.
    fn end(mut self, living: Living<'_>, events: &[Event]) -> Result<(), NotRecorded> {
        self.journal.turn(living.now, living.master.generation);
        self.add(living, events);
        if let Some(volume) = self.journal.segment() {
            for place in 0..living.master.records.end() {
                let moved = living.moved(place, &self.written, 0);
                touch(moved, living, volume, &mut self.written);
            }
        }
        self.journal.end()
    }

    fn add(&mut self, living: Living<'_>, events: &[Event]) {
        let boots = self.boots.drain(..);
        let Some(volume) = self.journal.segment() else {
            return;
        };
        for backend in boots {
            living.write_boots(backend, volume);
        }
        for event in events {
            if let Some(deadline) = living.write_event(event, &self.written, volume) {
                note(&mut self.written, event.record.cell.index, deadline);
            }
        }
    }

    /// The places to look at in this turn.
    fn sweep_range(&mut self, living: Living<'_>) -> std::ops::Range<u32> {
        let end = living.master.records.end();
        let (cursor, since) = self.sweep;
        let due = u64::from(end) * living.now.since(since) / SWEEP_MS;
        if due == 0 {
            return 0..0;
        }
        let from = if cursor < end { cursor } else { 0 };
        let due = u32::try_from(due.min(SWEPT)).unwrap_or(u32::MAX);
        let to = from.saturating_add(due).min(end);
        self.sweep = (to, living.now);
        from..to
    }
}

impl Living<'_> {
    /// Writes what has happened; returns the deadline that was written.
    fn write_event(
        &self,
        event: &Event,
        written: &[Millis],
        volume: &mut Volume,
    ) -> Option<Millis> {
        let record = &event.record;
        match event.what {
            Happened::Started | Happened::Refreshed | Happened::Extended
                if record.session.is_none() =>
            {
                // Of one generation the later deadline counts, unless it was ended in between: a
                // lowered cap has brought this one nearer (contract rule T8).
                let known = written.get(record.cell.index as usize);
                if known.is_some_and(|known| *known > event.view.deadline) {
                    self.define(record.owner, volume);
                    volume.add(&record::Record::End(name(record)));
                }
                self.put(record, event.view.deadline, volume);
                Some(event.view.deadline)
            }
            // What is bound to a session may have been there without one.
            Happened::Started | Happened::Refreshed | Happened::Extended | Happened::Ended(_) => {
                self.define(record.owner, volume);
                volume.add(&record::Record::End(name(record)));
                None
            }
            // The winner's record follows.
            Happened::Expired | Happened::Replaced { .. } => None,
        }
    }

    fn put(&self, record: &Record, deadline: Millis, volume: &mut Volume) {
        self.define(record.owner, volume);
        let has_deadline = deadline != Millis::NEVER;
        volume.add(&record::Record::Put(record::Put {
            name: name(record),
            duration_ms: record.duration_ms,
            remaining_ms: has_deadline.then(|| deadline.since(self.now)),
            age_ms: record.created.age(self.now),
            boot_id: record.boot_id,
            keep_on_reboot: record.keep_on_reboot,
        }));
    }

    fn write_boots(&self, backend: BackendId, volume: &mut Volume) {
        let known = self.master.registry.backend(backend);
        let (current, previous) = known.map_or((0, 0), |it| it.boots.known());
        self.define(backend, volume);
        volume.add(&record::Record::Boot {
            owner: backend.0,
            current,
            previous,
        });
    }

    /// Says what a backend's number stands for, where the file does not say it yet.
    fn define(&self, backend: BackendId, volume: &mut Volume) {
        volume.define(backend.0, || {
            let known = self.master.registry.backend(backend);
            known.map_or(("", ""), |it| (&it.service_name, it.name()))
        });
    }

    /// The affinity at a place, if packets have moved its deadline by more than that.
    fn moved(&self, place: u32, written: &[Millis], by_ms: u64) -> Option<(Record, Millis)> {
        let record = self.lasting(place)?;
        let deadline = self.cells.view(record.cell).deadline;
        if deadline == Millis::NEVER {
            return None;
        }
        let known = written.get(place as usize).copied().unwrap_or_default();
        let part = record.duration_ms.unwrap_or(u64::MAX) / MOVED_PART;
        let least = if by_ms == 0 { 0 } else { part.max(by_ms) };
        let has_moved = deadline.since(known) > least && deadline > self.now;
        has_moved.then_some((*record, deadline))
    }

    /// The affinity at a place, if it is one that is written down.
    fn lasting(&self, place: u32) -> Option<&Record> {
        let record = self.master.records.at(place);
        record.filter(|it| it.session.is_none())
    }

    /// Goes on with a snapshot; true when it has all places.
    fn copy(&self, volume: &mut Volume, cursor: &mut u32) -> bool {
        let records = &self.master.records;
        if *cursor == 0 {
            let backends = self.master.registry.backends();
            for backend in backends.filter(|it| it.boots.known().0 != 0) {
                self.write_boots(backend.id, volume);
            }
        }
        let until = cursor.saturating_add(COPIED).min(records.end());
        for place in *cursor..until {
            if let Some(record) = self.lasting(place) {
                let deadline = self.cells.view(record.cell).deadline;
                if deadline > self.now {
                    self.put(record, deadline, volume);
                }
            }
        }
        *cursor = until;
        until == records.end()
    }
}

fn touch(
    moved: Option<(Record, Millis)>,
    living: Living<'_>,
    volume: &mut Volume,
    written: &mut Vec<Millis>,
) {
    let Some((record, deadline)) = moved else {
        return;
    };
    living.define(record.owner, volume);
    volume.add(&record::Record::Touch {
        name: name(&record),
        remaining_ms: deadline.since(living.now),
    });
    note(written, record.cell.index, deadline);
}

fn name(record: &Record) -> record::Name {
    record::Name {
        owner: record.owner.0,
        source: record.key.source,
        generation: record.generation,
    }
}

fn note(written: &mut Vec<Millis>, place: u32, deadline: Millis) {
    let place = place as usize;
    if written.len() <= place {
        written.resize(place + 1, Millis::default());
    }
    written[place] = deadline;
}
