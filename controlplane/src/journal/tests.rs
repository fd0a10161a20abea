//! The journal on disks of memory, which can be copied at any moment, cut, flipped and full.

mod damage;
pub(crate) mod memory;
mod model;
mod trouble;

use super::{
    Journal, Loaded, NotRecorded, Stamp,
    record::{Name, Put, Record},
    recover::{Recovered, recover},
    syncer::{Hand, syncer},
};
use memory::Memory;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tether_dataplane::{clock::Millis, tables::affinity::Source};

const SERVICE: &str = "shop";
const OWNERS: [&str; 2] = ["shop-1", "shop-2"];
/// What affinities there can be: each has a place, as in the tables.
const PLACES: usize = 6;

/// An affinity of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Affinity {
    owner: usize,
    generation: u64,
    deadline: u64,
    /// The deadline that was written.
    written: u64,
}

type State = [Option<Affinity>; PLACES];

/// A journal, and what it is to come to. Time is the bench's own.
struct Bench {
    disk: Arc<Memory>,
    hand: Hand,
    journal: Journal,
    now: Arc<AtomicU64>,
    generation: u64,
    /// As it is now.
    state: State,
    /// As it was when a turn was acknowledged last.
    acked: State,
}

fn stamp(now: u64) -> Stamp {
    Stamp {
        kernel: [1; 16],
        boottime_ms: now,
        wall_ms: now + (1 << 40),
    }
}

fn source(place: usize) -> Source {
    let host = u8::try_from(place).unwrap();
    Source::host([192, 0, 2, host].into()).unwrap()
}

/// What is on a disk of memory, for a control thread; with a syncer at work.
pub(crate) fn load(disk: &Arc<Memory>, stamps: super::Stamps) -> Loaded {
    let (mut syncer, hand) = syncer(Arc::clone(disk) as _);
    syncer.start(hand).unwrap();
    Journal::load("memory".into(), Arc::clone(disk) as _, syncer, stamps).unwrap()
}

impl Bench {
    fn new() -> Self {
        Self::on(Arc::new(Memory::default()), 10_000)
    }

    /// Begins on what is there.
    fn on(disk: Arc<Memory>, begun: u64) -> Self {
        let now = Arc::new(AtomicU64::new(begun));
        let stamps = Arc::clone(&now);
        let stamps = Box::new(move || stamp(stamps.load(Ordering::Relaxed)));
        let (syncer, hand) = syncer(Arc::clone(&disk) as _);
        let loaded = Journal::load("state".into(), Arc::clone(&disk) as _, syncer, stamps);
        let Loaded {
            mut journal,
            recovered,
        } = loaded.unwrap();
        journal.rotate_bytes = 600;
        let epoch = recovered.epoch.unwrap_or(77);
        journal.begin(Millis(begun), epoch, recovered.generation);
        let state = state_of(&recovered, begun);
        Self {
            disk,
            hand,
            journal,
            now,
            generation: recovered.generation,
            state,
            acked: state,
        }
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn wait(&self, ms: u64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
    }

    fn name(&self, place: usize) -> Name {
        let known = self.state[place].unwrap();
        Name {
            owner: u16::try_from(known.owner).unwrap(),
            source: source(place),
            generation: known.generation,
        }
    }

    fn add(&mut self, owner: usize, record: &Record<'_>) {
        if let Some(volume) = self.journal.segment() {
            let number = u16::try_from(owner).unwrap();
            volume.define(number, || (SERVICE, OWNERS[owner]));
            volume.add(record);
        }
    }

    /// A start that replaces what is there, or refreshes it.
    fn put(&mut self, place: usize, owner: usize, ms: u64) {
        let until = self.now() + ms;
        let known = self.state[place].filter(|it| it.owner == owner && it.deadline > self.now());
        let deadline = known.map_or(until, |it| it.deadline.max(until));
        let generation = known.map_or(self.generation + 1, |it| it.generation);
        self.generation = self.generation.max(generation);
        self.state[place] = Some(Affinity {
            owner,
            generation,
            deadline,
            written: deadline,
        });
        let put = self.put_record(place);
        self.add(owner, &put);
    }

    fn put_record(&self, place: usize) -> Record<'static> {
        let known = self.state[place].unwrap();
        Record::Put(Put {
            name: self.name(place),
            duration_ms: Some(60_000),
            remaining_ms: Some(known.deadline.saturating_sub(self.now())),
            age_ms: 0,
            boot_id: 0,
            keep_on_reboot: false,
        })
    }

    fn end(&mut self, place: usize) {
        if let Some(known) = self.state[place] {
            let name = self.name(place);
            self.add(known.owner, &Record::End(name));
            self.state[place] = None;
        }
    }

    /// A packet moves a deadline, which is not written.
    fn packet(&mut self, place: usize, ms: u64) {
        let until = self.now() + ms;
        let now = self.now();
        if let Some(known) = &mut self.state[place]
            && known.deadline > now
        {
            known.deadline = known.deadline.max(until);
        }
    }

    /// What packets have moved is written.
    fn touch(&mut self, place: usize) {
        let now = self.now();
        if let Some(known) = &mut self.state[place]
            && known.deadline > now
        {
            known.written = known.deadline;
            let (owner, deadline) = (known.owner, known.deadline);
            let name = self.name(place);
            let remaining_ms = deadline.saturating_sub(now);
            self.add(owner, &Record::Touch { name, remaining_ms });
        }
    }

    /// Begins a turn.
    fn begin(&mut self) {
        self.journal.turn(Millis(self.now()), self.generation);
    }

    /// Ends it, with one place for the snapshot.
    fn commit(&mut self) -> Result<(), NotRecorded> {
        let state = self.state;
        let now = self.now();
        let mut has_walked = false;
        if let Some((volume, cursor)) = self.journal.walk() {
            let place = *cursor as usize;
            if let Some(known) = state[place].filter(|it| it.deadline > now) {
                let number = u16::try_from(known.owner).unwrap();
                volume.define(number, || (SERVICE, OWNERS[known.owner]));
                volume.add(&Record::Put(Put {
                    name: Name {
                        owner: number,
                        source: source(place),
                        generation: known.generation,
                    },
                    duration_ms: Some(60_000),
                    remaining_ms: Some(known.deadline.saturating_sub(now)),
                    age_ms: 0,
                    boot_id: 0,
                    keep_on_reboot: false,
                }));
            }
            *cursor += 1;
            has_walked = *cursor as usize == PLACES;
        }
        let committed = self.journal.commit(Millis(now), has_walked);
        if committed.is_ok() {
            self.acked = self.state;
        }
        committed
    }

    /// A turn with what the closure does.
    fn turn(&mut self, what: impl FnOnce(&mut Self)) -> Result<(), NotRecorded> {
        self.begin();
        what(self);
        self.commit()
    }

    /// The syncer does one thing, if there is one to do.
    fn sync(&self) {
        if self.hand.has_work() {
            self.hand.step();
        }
    }

    /// Turns and jobs until a snapshot is there and all else is gone.
    fn settle(&mut self) {
        for _ in 0..100 {
            let _ = self.turn(|_| {});
            self.sync();
            self.wait(100);
            if !self.journal.wants_snapshot() && self.journal.snapshot.is_none() {
                return;
            }
        }
        panic!("no snapshot came about: {:?}", self.disk);
    }

    /// What a daemon would find that began now.
    fn recovered(&self) -> Recovered {
        recover(&self.disk.copy(), stamp(self.now())).unwrap()
    }

    /// What was acknowledged is there, and nothing else.
    #[track_caller]
    fn check(&self) {
        let recovered = self.recovered();
        assert_eq!(recovered.left_out, Vec::<String>::new());
        assert_eq!(recovered.epoch, Some(77));
        let found = state_of(&recovered, self.now());
        assert_matches(&found, &self.acked, self.now());
    }
}

/// What was recovered, as the model has it.
fn state_of(recovered: &Recovered, now: u64) -> State {
    let mut state = State::default();
    for (key, held) in recovered.held.iter() {
        let (service, owner) = &recovered.owners[held.owner as usize];
        assert_eq!(recovered.services[*service as usize], SERVICE);
        assert_eq!(key.service, *service);
        let std::net::IpAddr::V4(v4) = key.source.address() else {
            panic!("{key:?}");
        };
        let deadline = now.saturating_add_signed(held.remaining_ms.unwrap());
        state[usize::from(v4.octets()[3])] = Some(Affinity {
            owner: OWNERS.iter().position(|it| it == owner).unwrap(),
            generation: held.generation,
            deadline,
            written: deadline,
        });
    }
    state
}

/// The same affinities, with no less remaining than was written and no more than there was.
#[track_caller]
fn assert_matches(found: &State, expected: &State, now: u64) {
    let lives = |it: &Option<Affinity>| it.filter(|it| it.deadline > now);
    for (found, expected) in found.iter().zip(expected) {
        match (lives(found), lives(expected)) {
            (None, None) => {}
            (Some(found), Some(expected)) => {
                let is_same =
                    (found.owner, found.generation) == (expected.owner, expected.generation);
                let is_between = (expected.written..=expected.deadline).contains(&found.deadline);
                assert!(
                    is_same && is_between,
                    "{found:?} instead of {expected:?} at {now}"
                );
            }
            // It was not written that packets have moved its deadline.
            (None, Some(expected)) if expected.written <= now => {}
            _ => panic!("{found:?} instead of {expected:?} at {now}"),
        }
    }
}
