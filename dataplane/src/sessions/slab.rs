//! One worker's ports of one local address, each with its session or free.

use super::{Ends, Session, SessionId};
use crate::{hash::HashKeys, tables::id::LocalId};

/// No place.
const NONE: u16 = u16::MAX;
/// How many free ports are looked at for one that suits.
const TRIES: u32 = 32;

/// The sessions of one worker at one local address.
#[derive(Debug)]
pub(crate) struct Slab {
    /// The lowest port, and from each to the next.
    first: u16,
    stride: u16,
    places: Box<[Session]>,
    /// The free places in a row: the next that is taken, and the last that was freed.
    head: u16,
    tail: u16,
    free: u32,
}

impl Slab {
    /// The ports from the lowest to the highest that are of worker `place`, all free, in an order that
    /// nobody can guess.
    pub(crate) fn new((low, high): (u16, u16), place: usize, workers: usize) -> Self {
        let stride = u16::try_from(workers.max(1)).unwrap_or(u16::MAX);
        let first = usize::from(low) + place;
        let ports = (usize::from(high) + 1).saturating_sub(first);
        let count = ports.div_ceil(stride.into());
        let order = shuffled(u16::try_from(count).unwrap_or(NONE));
        let mut places = vec![Session::free(NONE); order.len()].into_boxed_slice();
        for pair in order.windows(2) {
            places[usize::from(pair[0])].set_next(pair[1]);
        }
        Self {
            first: u16::try_from(first).unwrap_or(u16::MAX),
            stride,
            head: order.first().copied().unwrap_or(NONE),
            tail: order.last().copied().unwrap_or(NONE),
            free: u32::try_from(order.len()).unwrap_or(0),
            places,
        }
    }

    /// How many ports there are, free or not.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Takes the port that was free longest among those that suit; else the one after them.
    pub(super) fn open(
        &mut self,
        local: LocalId,
        ends: &Ends,
        suits: impl Fn(u16) -> bool,
    ) -> Option<SessionId> {
        for _ in 0..TRIES.min(self.free) {
            if suits(self.port_of(self.head)) {
                break;
            }
            let place = self.pop()?;
            self.push(place);
        }
        let place = self.pop()?;
        let port = self.port_of(place);
        let session = &mut self.places[usize::from(place)];
        session.take(ends);
        session.id(local, port)
    }

    /// Frees the port of a session; false where that was done before.
    pub(super) fn close(&mut self, id: SessionId) -> bool {
        let Some(place) = self.place_of(id.port()) else {
            return false;
        };
        let session = &mut self.places[usize::from(place)];
        if session.id(id.local(), id.port()) != Some(id) {
            return false;
        }
        session.leave(NONE);
        self.push(place);
        true
    }

    /// What is at a port, if it is one of these.
    #[inline]
    pub(super) fn at(&self, port: u16) -> Option<&Session> {
        self.places.get(usize::from(self.place_of(port)?))
    }

    #[inline]
    pub(super) fn at_mut(&mut self, port: u16) -> Option<&mut Session> {
        let place = self.place_of(port)?;
        self.places.get_mut(usize::from(place))
    }

    #[inline]
    fn place_of(&self, port: u16) -> Option<u16> {
        let beyond = port.checked_sub(self.first)?;
        let place = beyond / self.stride;
        let is_one = beyond % self.stride == 0 && usize::from(place) < self.places.len();
        is_one.then_some(place)
    }

    fn port_of(&self, place: u16) -> u16 {
        self.first.saturating_add(place.saturating_mul(self.stride))
    }

    fn pop(&mut self) -> Option<u16> {
        let place = self.head;
        let free = self.places.get(usize::from(place))?;
        self.head = free.next();
        self.free -= 1;
        Some(place)
    }

    fn push(&mut self, place: u16) {
        self.places[usize::from(place)].set_next(NONE);
        match self.places.get_mut(usize::from(self.tail)) {
            Some(last) if self.free > 0 => last.set_next(place),
            _ => self.head = place,
        }
        self.tail = place;
        self.free += 1;
    }
}

/// The numbers below `count`, in any order.
fn shuffled(count: u16) -> Vec<u16> {
    let keys = HashKeys::random();
    let mut order: Vec<u16> = (0..count).collect();
    for last in (1..order.len()).rev() {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of it do")]
        let other = keys.hash2(last as u64, 0) as usize % (last + 1);
        order.swap(last, other);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{flow_table::Tick, key::Protocol, tables::id::BackendId};
    use std::collections::BTreeSet;

    fn ends() -> Ends {
        Ends {
            protocol: Protocol::Tcp,
            client: "192.0.2.7:4000".parse().unwrap(),
            vip_port: 80,
            backend: BackendId(1),
            now: Tick(0),
        }
    }

    fn open(slab: &mut Slab) -> Option<u16> {
        Some(slab.open(LocalId(0), &ends(), |_| true)?.port())
    }

    #[test]
    fn workers_have_every_port_between_them_and_no_two_the_same() {
        let mut seen = BTreeSet::new();
        for place in 0..3 {
            let mut slab = Slab::new((2000, 2100), place, 3);
            while let Some(port) = open(&mut slab) {
                assert_eq!(usize::from(port - 2000) % 3, place);
                assert!(seen.insert(port));
            }
        }
        assert!(seen.into_iter().eq(2000..=2100));
    }

    #[test]
    fn the_highest_ports_and_the_narrowest_pools_are_there() {
        if !cfg!(miri) {
            let mut slab = Slab::new((1, 65_535), 0, 1);
            let all: BTreeSet<_> = std::iter::from_fn(|| open(&mut slab)).collect();
            assert_eq!(all.len(), 65_535);
        }
        assert_eq!(Slab::new((7, 8), 2, 4).len(), 0);
        assert_eq!(open(&mut Slab::new((7, 8), 2, 4)), None);
        assert_eq!(open(&mut Slab::new((65_535, 65_535), 0, 4)), Some(65_535));
    }

    #[test]
    fn a_freed_port_comes_last() {
        let mut slab = Slab::new((2000, 2009), 0, 1);
        let id = slab.open(LocalId(0), &ends(), |_| true).unwrap();
        assert!(slab.close(id) && !slab.close(id));
        let next: Vec<_> = std::iter::from_fn(|| open(&mut slab)).collect();
        assert_eq!((next.len(), next[9]), (10, id.port()));
    }

    #[test]
    fn a_port_that_suits_is_taken_where_there_is_one() {
        let mut slab = Slab::new((2000, 2029), 0, 1);
        for _ in 0..3 {
            let id = slab.open(LocalId(0), &ends(), |port| port % 10 == 7);
            assert_eq!(id.map(|id| id.port() % 10), Some(7));
        }
        assert!(
            slab.open(LocalId(0), &ends(), |port| port % 10 == 7)
                .is_some()
        );
    }
}
