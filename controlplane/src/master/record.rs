//! Every affinity that was started and not yet taken out, by its cell, by its key, by its owner
//! and by its session.
//!
//! A record stands at the place of its cell, which an affinity keeps for life: a cursor that goes
//! through the places meets each that exists throughout exactly once. About 110 bytes an affinity,
//! with room for all of them from the start.

use crate::chain::Chains;
use arrayvec::ArrayVec;
use hashbrown::{HashMap, HashSet, HashTable};
use std::{
    hash::{BuildHasher, RandomState},
    hint::black_box,
    net::IpAddr,
    num::{NonZeroU16, NonZeroU64},
};
use tether_dataplane::clock::Millis;
use tether_dataplane::tables::{
    affinity::{AffinityKey, CellId},
    id::{BackendId, ServiceId},
};

/// What the control thread knows of an affinity; deadline, hits and flows are in its cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The service and the source.
    pub key: AffinityKey,
    /// The backend that signalled it.
    pub owner: BackendId,
    /// Which affinity of all of this epoch; its cell has the low 32 bits.
    pub generation: u64,
    /// How far ahead of now a matching packet puts the deadline; `None`: it was started to last
    /// until it is ended.
    pub duration_ms: Option<u64>,
    /// When it was started.
    pub created: Created,
    /// The life of its owner; 0: not stated.
    pub boot_id: u64,
    /// It survives a new life of its owner (contract rule S7).
    pub keep_on_reboot: bool,
    /// It ends with this session (contract rule S6).
    pub session: Option<NonZeroU64>,
    /// Where its deadline is.
    pub cell: CellId,
}

/// Keys whose memory is asked for at once: few enough to be still in the cache when they are decided.
pub const AHEAD: usize = 64;

const _: () = assert!(size_of::<Option<Record>>() <= 88);

/// When an affinity was started, which may be before this daemon was: milliseconds of its clock, less
/// than 0 there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Created(i64);

impl From<Millis> for Created {
    fn from(now: Millis) -> Self {
        Self::ago(now, 0)
    }
}

impl Created {
    /// So many milliseconds before `now`.
    #[must_use]
    pub fn ago(now: Millis, ms: u64) -> Self {
        Self(signed(now.0).saturating_sub(signed(ms)))
    }

    /// How many milliseconds ago that was.
    #[must_use]
    pub fn age(self, now: Millis) -> u64 {
        let age = signed(now.0).saturating_sub(self.0);
        u64::try_from(age).unwrap_or_default()
    }

    /// The instant so many milliseconds later; the beginning of the clock where that is before it.
    #[must_use]
    pub fn plus(self, ms: u64) -> Millis {
        let later = self.0.saturating_add(signed(ms));
        Millis(u64::try_from(later).unwrap_or_default())
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// What kind of source an affinity has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address.
    Address,
    /// An address and port.
    AddressAndPort,
    /// A subnet.
    Subnet,
}

/// How many kinds there are.
pub const KINDS: usize = 3;

impl Kind {
    /// Every kind, in the order of its count.
    pub const ALL: [Self; KINDS] = [Self::Address, Self::AddressAndPort, Self::Subnet];

    /// The name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Address => "ip",
            Self::AddressAndPort => "ip_port",
            Self::Subnet => "subnet",
        }
    }
}

impl Record {
    /// What kind of source it has.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.key.source {
            source if source.port().is_some() => Kind::AddressAndPort,
            source if source.is_subnet() => Kind::Subnet,
            _ => Kind::Address,
        }
    }
}

/// All records.
#[derive(Debug, Default)]
pub struct Records {
    places: Vec<Option<Record>>,
    /// By key. Keyed at start: clients choose their addresses.
    index: HashTable<u32>,
    hasher: RandomState,
    owned: Chains,
    owned_counts: Vec<[u32; KINDS]>,
    service_counts: Vec<u32>,
    sessions: HashMap<NonZeroU64, HashSet<u32>>,
}

impl Records {
    /// None, with room for so many: growing later would stop the thread for a copy.
    #[must_use]
    pub fn with_capacity(affinities: usize) -> Self {
        Self {
            places: Vec::with_capacity(affinities),
            index: HashTable::with_capacity(affinities),
            ..Self::default()
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The record of a key.
    #[must_use]
    pub fn get(&self, key: &AffinityKey) -> Option<&Record> {
        let hash = hash(&self.hasher, key);
        let place = self.index.find(hash, |place| self.has_key(*place, key))?;
        self.at(*place)
    }

    /// Looks at the records of these keys, for their memory to be at hand: first all hashes, then all
    /// places in the index, then all records, so that nothing waits for one before the next is looked at.
    pub fn ask_for(&self, keys: &ArrayVec<AffinityKey, AHEAD>) {
        let hashes = keys.iter().map(|it| hash(&self.hasher, it));
        let hashes: ArrayVec<u64, AHEAD> = hashes.collect();
        let mut places: ArrayVec<u32, AHEAD> = ArrayVec::new();
        for hash in hashes {
            // It is another's now and then, which does no harm.
            self.index.find(hash, |place| {
                places.push(*place);
                true
            });
        }
        for record in places.iter().filter_map(|place| self.at(*place)) {
            black_box((record.key.source, record.cell));
        }
    }

    /// The record at a place.
    #[must_use]
    pub fn at(&self, place: u32) -> Option<&Record> {
        self.places.get(place as usize)?.as_ref()
    }

    /// One past the last place that may have a record.
    #[must_use]
    pub fn end(&self) -> u32 {
        u32::try_from(self.places.len()).unwrap_or(u32::MAX)
    }

    /// How many a backend owns.
    #[must_use]
    pub fn owned_count(&self, owner: BackendId) -> u32 {
        self.owned_by_kind(owner).iter().sum()
    }

    /// How many of each [`Kind`] a backend owns.
    #[must_use]
    pub fn owned_by_kind(&self, owner: BackendId) -> [u32; KINDS] {
        let counts = self.owned_counts.get(owner.index());
        counts.copied().unwrap_or_default()
    }

    /// How many a service has.
    #[must_use]
    pub fn service_count(&self, service: ServiceId) -> u32 {
        let counts = self.service_counts.get(service.index());
        counts.copied().unwrap_or_default()
    }

    /// Those of a backend, the latest first.
    pub fn owned(&self, owner: BackendId) -> impl Iterator<Item = &Record> {
        let places = self.owned.iter(u32::from(owner.0));
        places.filter_map(|place| self.at(place))
    }

    /// Those of a session.
    pub fn of_session(&self, session: u64) -> impl Iterator<Item = &Record> {
        let bound = NonZeroU64::new(session).and_then(|it| self.sessions.get(&it));
        let places = bound.into_iter().flatten();
        places.filter_map(|place| self.at(*place))
    }

    /// Adds a record whose key there is none of, at the place of its cell.
    pub fn insert(&mut self, record: Record) {
        let place = record.cell.index;
        if self.places.len() <= place as usize {
            self.places.resize(place as usize + 1, None);
        }
        self.places[place as usize] = Some(record);
        let (places, hasher) = (&self.places, &self.hasher);
        let hash_of = |place: &u32| {
            let record = places[*place as usize].as_ref();
            record.map_or(0, |record| hash(hasher, &record.key))
        };
        let hash = hash(hasher, &record.key);
        self.index.insert_unique(hash, place, hash_of);
        self.owned.push(u32::from(record.owner.0), place);
        counter(&mut self.owned_counts, record.owner.index())[record.kind() as usize] += 1;
        *counter(&mut self.service_counts, record.key.service.index()) += 1;
        self.bind(place, record.session);
    }

    /// Takes the record at a place out.
    pub fn remove(&mut self, place: u32) -> Option<Record> {
        let record = *self.at(place)?;
        let hash = hash(&self.hasher, &record.key);
        if let Ok(entry) = self.index.find_entry(hash, |it| *it == place) {
            entry.remove();
        }
        self.places[place as usize] = None;
        self.owned.remove(place);
        counter(&mut self.owned_counts, record.owner.index())[record.kind() as usize] -= 1;
        *counter(&mut self.service_counts, record.key.service.index()) -= 1;
        self.unbind(place, record.session);
        Some(record)
    }

    /// Replaces the record at its place by one with the same key, owner and generation.
    pub fn update(&mut self, record: Record) {
        let place = record.cell.index;
        let Some(known) = self.places.get_mut(place as usize) else {
            return;
        };
        let session = known.replace(record).and_then(|before| before.session);
        self.unbind(place, session);
        self.bind(place, record.session);
    }

    fn has_key(&self, place: u32, key: &AffinityKey) -> bool {
        self.at(place).is_some_and(|record| record.key == *key)
    }

    fn bind(&mut self, place: u32, session: Option<NonZeroU64>) {
        if let Some(session) = session {
            self.sessions.entry(session).or_default().insert(place);
        }
    }

    fn unbind(&mut self, place: u32, session: Option<NonZeroU64>) {
        let Some(session) = session else {
            return;
        };
        if let Some(bound) = self.sessions.get_mut(&session) {
            bound.remove(&place);
            if bound.is_empty() {
                self.sessions.remove(&session);
            }
        }
    }
}

/// All that is in a key, as two numbers: a field at a time takes the hasher twice as long.
fn hash(hasher: &RandomState, key: &AffinityKey) -> u64 {
    let (family, address): (u8, u128) = match key.source.address() {
        IpAddr::V4(v4) => (4, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (6, v6.to_bits()),
    };
    let port = key.source.port().map_or(0, NonZeroU16::get);
    let rest = u64::from(family)
        | u64::from(key.source.prefix()) << 8
        | u64::from(port) << 16
        | u64::from(key.service.0) << 32;
    hasher.hash_one((address, rest))
}

fn counter<T: Default + Clone>(counts: &mut Vec<T>, place: usize) -> &mut T {
    if counts.len() <= place {
        counts.resize(place + 1, T::default());
    }
    &mut counts[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_affinity_may_be_older_than_the_daemon() {
        let now = Millis(1_000);
        let created = Created::ago(now, 5_000);
        assert_eq!(created.age(now + 7), 5_007);
        assert_eq!(created.plus(9_000), Millis(5_000));
        assert_eq!(created.plus(3_000), Millis(0));
        assert_eq!(Created::from(now).age(now), 0);
        assert_eq!(Created::ago(now, u64::MAX).plus(u64::MAX), Millis(1_000));
    }
}
