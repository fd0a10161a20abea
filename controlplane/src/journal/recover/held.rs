//! The affinities that are being recovered: in one array, so that a million are written and read in
//! a row, with an index by key.

use super::{Held, Key};
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher as _;

/// Affinities by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Affinities {
    entries: Vec<(Key, Held)>,
    index: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Affinities {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Key, Held)> {
        self.entries.iter()
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, affinities: usize) {
        let Self {
            entries,
            index,
            hasher,
        } = self;
        entries.reserve(affinities);
        index.reserve(affinities, |place| hash_at(entries, hasher, *place));
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Held> {
        let place = self.place(key)?;
        self.entries.get_mut(place as usize).map(|(_, held)| held)
    }

    /// Adds one whose key there is none of.
    pub(super) fn insert(&mut self, key: Key, held: Held) {
        let place = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push((key, held));
        let (entries, hasher) = (&self.entries, &self.hasher);
        let hash = hasher.hash_one(key);
        let hash_of = |place: &u32| hash_at(entries, hasher, *place);
        self.index.insert_unique(hash, place, hash_of);
    }

    /// Takes one out; the last one comes to its place.
    pub(super) fn remove(&mut self, key: &Key) {
        let Some(place) = self.place(key) else {
            return;
        };
        self.forget(key, place);
        let last = u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX);
        self.entries.swap_remove(place as usize);
        if let Some((moved, _)) = self.entries.get(place as usize) {
            let hash = self.hasher.hash_one(moved);
            if let Some(known) = self.index.find_mut(hash, |it| *it == last) {
                *known = place;
            }
        }
    }

    fn forget(&mut self, key: &Key, place: u32) {
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.index.find_entry(hash, |it| *it == place) {
            entry.remove();
        }
    }

    fn place(&self, key: &Key) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let is_it = |place: &u32| self.entries[*place as usize].0 == *key;
        self.index.find(hash, is_it).copied()
    }
}

fn hash_at(entries: &[(Key, Held)], hasher: &DefaultHashBuilder, place: u32) -> u64 {
    let entry = entries.get(place as usize);
    entry.map_or(0, |(key, _)| hasher.hash_one(key))
}
