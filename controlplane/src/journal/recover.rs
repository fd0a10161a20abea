//! From files to what there was: the newest whole snapshot, and every segment from its number on.
//!
//! ```text
//! journal-1 ─ journal-2 ─┬─ journal-3 ── ..        a segment is begun, then all places are walked:
//!                        └▶ snapshot-3             what a walk met early may change in journal-3
//! ```
//!
//! Why replaying a segment over a snapshot that is younger than its first batches ends where the
//! control thread was: per key, generations only grow, and of one generation the deadline only grows.
//! A `Put` counts unless a greater generation is known, an `End` takes out its generation and
//! lesser ones. So records that are older than what the snapshot has change nothing, or are undone
//! by later ones of the same segment; those that are younger count as they come.
//!
//! What cannot be read is said and left out; the rest counts.

use super::{
    batches::{Batches, Piece},
    disk::{Disk, OpenError},
    format::{Batch, FORMAT, HEAD, Head, Kind, NoHead},
    record::{Name, Put, Reading, Record},
    stamp::{KernelBoot, Stamp},
};
use hashbrown::HashMap;
use std::io::{self, Read};
use tether_dataplane::tables::affinity::Source;

const HEAD_BYTES: u64 = HEAD as u64;

/// What was recovered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recovered {
    /// The life of the table; `None`: acked signals may be missing, or there was nothing.
    pub(crate) epoch: Option<u64>,
    /// The greatest generation that was seen.
    pub(crate) generation: u64,
    /// The names of services.
    pub(crate) services: Vec<String>,
    /// Backends: the place of the service in `services`, and the name.
    pub(crate) owners: Vec<(u32, String)>,
    /// Affinities.
    pub(crate) held: HashMap<Key, Held>,
    /// Current and previous boot ids, by the owner's place.
    pub(crate) boots: HashMap<u32, (u64, u64)>,
    /// What was left out, a sentence each.
    pub(crate) left_out: Vec<String>,
    /// The greatest number that a file has.
    pub(crate) number: u64,
    /// How many segments were read, and how many bytes they have.
    pub(crate) segments: (u64, u64),
}

/// What an affinity binds: the service's place in the list of names, and the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) service: u32,
    pub(crate) source: Source,
}

/// An affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Its owner's place in the list of names.
    pub(crate) owner: u32,
    pub(crate) generation: u64,
    pub(crate) duration_ms: Option<u64>,
    /// How far from now the deadline is, less than 0 where it has passed; `None`: there is none.
    pub(crate) remaining_ms: Option<i64>,
    /// How long ago it was started.
    pub(crate) age_ms: u64,
    pub(crate) boot_id: u64,
    pub(crate) keep_on_reboot: bool,
}

/// Reads all that there is.
pub(crate) fn recover(disk: &dyn Disk, now: Stamp) -> Result<Recovered, OpenError> {
    let names = disk.names().map_err(|error| OpenError::System {
        what: "list",
        path: ".".into(),
        error,
    })?;
    let numbers = |kind: Kind| {
        let mut numbers: Vec<_> = names.iter().filter_map(|it| kind.number(it)).collect();
        numbers.sort_unstable();
        numbers
    };
    let (snapshots, segments) = (numbers(Kind::Snapshot), numbers(Kind::Segment));
    let mut replay = base(disk, now, &snapshots, &segments)?;
    let from = replay.base;
    let segments: Vec<_> = segments.into_iter().filter(|it| *it >= from).collect();
    replay.check_numbers(&segments);
    for number in &segments {
        let is_last = segments.last() == Some(number);
        replay.segment(*number, is_last)?;
    }
    let newest = snapshots.last().max(segments.last());
    replay.state.number = newest.copied().unwrap_or_default();
    Ok(replay.conclude())
}

/// What the segments are replayed over: the newest snapshot that is whole and whose segments are
/// there; without one, nothing, if all segments are there; else what can be read of the newest.
fn base<'a>(
    disk: &'a dyn Disk,
    now: Stamp,
    snapshots: &[u64],
    segments: &[u64],
) -> Result<Replay<'a>, OpenError> {
    let mut damaged: Option<Replay<'a>> = None;
    let mut said = Vec::new();
    for number in snapshots.iter().rev() {
        let mut replay = Replay::new(disk, now, *number);
        let is_whole = replay.snapshot(*number)?;
        if is_whole && (damaged.is_none() || has_all(segments, *number)) {
            replay.state.left_out.extend(said);
            return Ok(replay);
        }
        said.extend(replay.state.left_out.iter().cloned());
        damaged = damaged.or(Some(replay));
    }
    match damaged {
        Some(replay) if !has_all(segments, 1) => Ok(replay),
        _ => {
            let mut replay = Replay::new(disk, now, 1);
            replay.state.left_out = said;
            Ok(replay)
        }
    }
}

/// Whether the segments from a number on are all there.
fn has_all(segments: &[u64], from: u64) -> bool {
    let mut wanted = from..;
    let mut there = segments.iter().filter(|it| **it >= from).peekable();
    there.peek().is_some() && there.all(|it| wanted.next() == Some(*it))
}

/// What was read so far.
struct Replay<'a> {
    disk: &'a dyn Disk,
    now: Stamp,
    /// The number of the first segment to be replayed.
    base: u64,
    state: Recovered,
    /// The newest head that could be read.
    head: Option<Head>,
    /// Whether more than an unfinished batch at the end is missing.
    is_damaged: bool,
    /// Whether the last file was ended in order.
    is_ended: bool,
    service_places: HashMap<String, u32>,
    owner_places: HashMap<(u32, String), u32>,
}

/// The file that is being read.
#[derive(Default)]
struct Current {
    name: String,
    kernel: KernelBoot,
    /// Service and owner by the numbers of this file.
    numbers: Vec<Option<(u32, u32)>>,
    /// The sequence of the next batch.
    sequence: u64,
    /// Records about backends whose names were lost, and that make no sense.
    lost: u64,
    is_ended: bool,
    is_whole: bool,
}

impl<'a> Replay<'a> {
    fn new(disk: &'a dyn Disk, now: Stamp, base: u64) -> Self {
        Self {
            disk,
            now,
            base,
            state: Recovered::default(),
            head: None,
            is_damaged: false,
            is_ended: false,
            service_places: HashMap::new(),
            owner_places: HashMap::new(),
        }
    }

    /// Whether it is whole.
    fn snapshot(&mut self, number: u64) -> Result<bool, OpenError> {
        let (current, torn) = self.file(Kind::Snapshot, number)?;
        let is_whole = current.is_whole && current.is_ended;
        if torn.is_some() || (current.is_whole && !current.is_ended) {
            self.leave_out(format!("{}: its end is missing", current.name));
        }
        Ok(is_whole)
    }

    fn segment(&mut self, number: u64, is_last: bool) -> Result<(), OpenError> {
        let (current, torn) = self.file(Kind::Segment, number)?;
        self.is_ended = current.is_ended;
        let Some((offset, bytes)) = torn else {
            return Ok(());
        };
        let name = &current.name;
        if is_last {
            log::warn!(
                "{name}: the last {bytes} bytes, from {offset} on, are of a batch that was not finished and not acknowledged: cut off"
            );
            // Where it cannot be cut, it is found and said again.
            drop(self.disk.cut(name, offset));
        } else {
            self.leave_out(format!("{name}: the last {bytes} bytes are no whole batch"));
        }
        Ok(())
    }

    /// Reads a file; returns also where a torn end is, and how long.
    fn file(
        &mut self,
        kind: Kind,
        number: u64,
    ) -> Result<(Current, Option<(u64, u64)>), OpenError> {
        let mut current = Current {
            name: kind.name(number),
            is_whole: true,
            ..Current::default()
        };
        let mut torn = None;
        let read = self.pieces((kind, number), &mut current, &mut torn);
        match read {
            Ok(Ok(())) => {}
            Ok(Err(format)) => {
                return Err(OpenError::Format {
                    file: current.name,
                    format,
                    known: FORMAT,
                });
            }
            Err(error) => {
                current.is_whole = false;
                self.leave_out(format!("{}: cannot be read: {error}", current.name));
            }
        }
        if current.lost > 0 {
            current.is_whole = false;
            let (name, lost) = (&current.name, current.lost);
            self.leave_out(format!("{name}: {lost} records without a name or sense"));
        }
        current.is_whole &= torn.is_none();
        Ok((current, torn))
    }

    /// The inner error is the format of a file that another version has written.
    fn pieces(
        &mut self,
        (kind, number): (Kind, u64),
        current: &mut Current,
        torn: &mut Option<(u64, u64)>,
    ) -> io::Result<Result<(), u16>> {
        let (mut file, length) = self.disk.open(&current.name)?;
        let mut bytes = Vec::with_capacity(HEAD);
        file.by_ref().take(HEAD_BYTES).read_to_end(&mut bytes)?;
        match Head::read(&bytes, kind, number) {
            Ok(head) => self.take_head(head, current),
            Err(NoHead::Format(format)) => return Ok(Err(format)),
            Err(NoHead::Damaged) => self.damaged_head(&bytes, current),
        }
        self.count(kind, length);
        let mut batches = Batches::new(file, bytes.len());
        while let Some(piece) = batches.next()? {
            match piece {
                Piece::Batch(batch) => self.batch(batch, current),
                Piece::Damaged { offset, bytes } => {
                    current.is_whole = false;
                    let name = &current.name;
                    self.leave_out(format!("{name}: {bytes} bytes at {offset} are damaged"));
                }
                Piece::Torn { offset, bytes } => *torn = Some((offset, bytes)),
            }
        }
        Ok(Ok(()))
    }

    fn take_head(&mut self, head: Head, current: &mut Current) {
        current.kernel = head.kernel;
        self.state.generation = self.state.generation.max(head.generation);
        self.head = Some(head);
    }

    /// A file that was created and not begun when the daemon was killed has nothing to lose.
    fn damaged_head(&mut self, bytes: &[u8], current: &mut Current) {
        if bytes.len() == HEAD || current.name.starts_with("snapshot") {
            current.is_whole = false;
            self.leave_out(format!("{}: its head is damaged", current.name));
        }
    }

    fn count(&mut self, kind: Kind, bytes: u64) {
        if kind == Kind::Segment {
            self.state.segments.0 += 1;
            self.state.segments.1 += bytes;
        } else {
            // An affinity takes about so many bytes: room for all at once.
            self.state
                .held
                .reserve(usize::try_from(bytes / 24).unwrap_or_default());
        }
    }

    fn batch(&mut self, batch: Batch<'_>, current: &mut Current) {
        if batch.sequence < current.sequence {
            current.lost += 1;
            return;
        }
        current.sequence = batch.sequence + 1;
        let stamp = Stamp {
            kernel: current.kernel,
            ..batch.stamp
        };
        let passed = self.now.since(&stamp);
        current.is_ended = false;
        for record in Reading(batch.records) {
            let done = record.ok().and_then(|it| self.record(&it, passed, current));
            current.lost += u64::from(done.is_none());
        }
    }

    /// `None`: it is about a backend that has no name, or makes no sense.
    fn record(&mut self, record: &Record<'_>, passed: u64, current: &mut Current) -> Option<()> {
        match record {
            Record::Define {
                number,
                service,
                backend,
            } => {
                let named = self.name(service, backend);
                let place = usize::from(*number);
                if current.numbers.len() <= place {
                    current.numbers.resize(place + 1, None);
                }
                current.numbers[place] = Some(named);
            }
            Record::Boot {
                owner,
                current: id,
                previous,
            } => {
                let (_, owner) = current.named(*owner)?;
                self.state.boots.insert(owner, (*id, *previous));
            }
            Record::Put(put) => self.put(put, passed, current.named(put.name.owner)?),
            Record::Touch { name, remaining_ms } => {
                let (service, _) = current.named(name.owner)?;
                self.touch(name, service, less(*remaining_ms, passed));
            }
            Record::End(name) => {
                let (service, _) = current.named(name.owner)?;
                self.end(name, service);
            }
            Record::Last => current.is_ended = true,
        }
        Some(())
    }

    fn put(&mut self, put: &Put, passed: u64, (service, owner): (u32, u32)) {
        let generation = put.name.generation;
        self.state.generation = self.state.generation.max(generation);
        let mut held = Held {
            owner,
            generation,
            duration_ms: put.duration_ms,
            remaining_ms: put.remaining_ms.map(|it| less(it, passed)),
            age_ms: put.age_ms.saturating_add(passed),
            boot_id: put.boot_id,
            keep_on_reboot: put.keep_on_reboot,
        };
        let source = put.name.source;
        let known = self.state.held.entry(Key { service, source });
        known
            .and_modify(|known| {
                if known.generation > generation {
                    return;
                }
                if known.generation == generation {
                    held.remaining_ms = later(known.remaining_ms, held.remaining_ms);
                }
                *known = held;
            })
            .or_insert(held);
    }

    fn touch(&mut self, name: &Name, service: u32, remaining_ms: i64) {
        let source = name.source;
        if let Some(known) = self.state.held.get_mut(&Key { service, source })
            && known.generation == name.generation
        {
            known.remaining_ms = later(known.remaining_ms, Some(remaining_ms));
        }
    }

    fn end(&mut self, name: &Name, service: u32) {
        self.state.generation = self.state.generation.max(name.generation);
        let source = name.source;
        let key = Key { service, source };
        let known = self.state.held.get(&key);
        if known.is_some_and(|it| it.generation <= name.generation) {
            self.state.held.remove(&key);
        }
    }

    fn name(&mut self, service: &str, backend: &str) -> (u32, u32) {
        let services = &mut self.state.services;
        let service = place(&mut self.service_places, services, service.to_owned());
        let owners = &mut self.state.owners;
        let owner = (service, backend.to_owned());
        (service, place(&mut self.owner_places, owners, owner))
    }

    fn check_numbers(&mut self, segments: &[u64]) {
        let is_new = segments.is_empty() && self.head.is_none();
        if !is_new && !has_all(segments, self.base) {
            let from = Kind::Segment.name(self.base);
            self.leave_out(format!("{from} or a later segment is missing"));
        }
    }

    fn leave_out(&mut self, what: String) {
        self.is_damaged = true;
        self.state.left_out.push(what);
    }

    /// A new epoch where acked signals may be missing: clients then assert again what they hold.
    fn conclude(mut self) -> Recovered {
        let head = self.head.filter(|head| {
            let is_same_kernel = head.kernel == self.now.kernel;
            !self.is_damaged && (is_same_kernel || self.is_ended)
        });
        self.state.epoch = head.map(|head| head.epoch);
        self.state
    }
}

impl Current {
    fn named(&self, number: u16) -> Option<(u32, u32)> {
        *self.numbers.get(usize::from(number))?
    }
}

/// The later of two deadlines.
fn later(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    Some(one?.max(other?))
}

fn less(remaining_ms: u64, passed: u64) -> i64 {
    let signed = |it| i64::try_from(it).unwrap_or(i64::MAX);
    signed(remaining_ms) - signed(passed)
}

/// The place of something in a list of such things, which it joins if it is not there.
fn place<T: Clone + Eq + std::hash::Hash>(
    places: &mut HashMap<T, u32>,
    list: &mut Vec<T>,
    what: T,
) -> u32 {
    if let Some(place) = places.get(&what) {
        return *place;
    }
    let place = u32::try_from(list.len()).unwrap_or(u32::MAX);
    list.push(what.clone());
    places.insert(what, place);
    place
}
