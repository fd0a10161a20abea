//! Files, one after another, into one state.

use super::{
    super::{
        batches::{Batches, Piece},
        disk::{Disk, OpenError},
        format::{Batch, FORMAT, HEAD, Head, Kind, NoHead},
        record::{Name, Put, Reading, Record},
        stamp::{KernelBoot, Stamp},
    },
    Held, Key, Recovered, has_all,
};
use hashbrown::HashMap;
use std::io::{self, Read};
use tether_dataplane::limits;

const HEAD_BYTES: u64 = HEAD as u64;

/// What was read so far.
pub(super) struct Replay<'a> {
    disk: &'a dyn Disk,
    now: Stamp,
    /// The number of the first segment to be replayed.
    pub(super) base: u64,
    pub(super) state: Recovered,
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
    pub(super) fn new(disk: &'a dyn Disk, now: Stamp, base: u64) -> Self {
        Self {
            disk,
            now,
            base,
            state: Recovered {
                at: now,
                ..Recovered::default()
            },
            head: None,
            is_damaged: false,
            is_ended: false,
            service_places: HashMap::new(),
            owner_places: HashMap::new(),
        }
    }

    /// Whether it is whole.
    pub(super) fn snapshot(&mut self, number: u64) -> Result<bool, OpenError> {
        let (current, torn) = self.file(Kind::Snapshot, number)?;
        let is_whole = current.is_whole && current.is_ended;
        if torn.is_some() || (current.is_whole && !current.is_ended) {
            self.leave_out(format!("{}: its end is missing", current.name));
        }
        Ok(is_whole)
    }

    pub(super) fn segment(&mut self, number: u64, is_last: bool) -> Result<(), OpenError> {
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
            let affinities = usize::try_from(bytes / 24).unwrap_or_default();
            self.state.held.reserve(affinities.min(limits::AFFINITIES));
        }
    }

    fn batch(&mut self, batch: Batch<'_>, current: &mut Current) {
        if batch.sequence < current.sequence {
            current.lost += 1;
            return;
        }
        current.sequence = batch.sequence.saturating_add(1);
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
        let held = Held {
            owner,
            generation,
            duration_ms: put.duration_ms,
            remaining_ms: put.remaining_ms.map(|it| less(it, passed)),
            age_ms: put.age_ms.saturating_add(passed),
            boot_id: put.boot_id,
            keep_on_reboot: put.keep_on_reboot,
        };
        let source = put.name.source;
        let key = Key { service, source };
        match self.state.held.get_mut(&key) {
            None => self.state.held.insert(key, held),
            Some(known) if known.generation > generation => {}
            Some(known) if known.generation == generation => {
                let remaining_ms = later(known.remaining_ms, held.remaining_ms);
                *known = Held {
                    remaining_ms,
                    ..held
                };
            }
            Some(known) => *known = held,
        }
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
        let known = self.state.held.get_mut(&key);
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

    pub(super) fn check_numbers(&mut self, segments: &[u64]) {
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
    pub(super) fn conclude(mut self) -> Recovered {
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
