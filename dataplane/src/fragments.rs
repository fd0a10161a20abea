//! Fragments on their way: where the first one of each packet went, and later ones that
//! came before their first. Fixed room for both: a flood takes the room of other fragments for a
//! while, and nothing else.

use crate::{
    clock::Millis,
    hash::HashKeys,
    limits::{FRAGMENT_MS, FRAGMENT_WAIT_MS, FRAGMENTED_PACKETS, FRAGMENTS_WAITING},
    parse::FragmentId,
    tables::{Toward, id::PortId},
};
use arrayvec::ArrayVec;

/// Places that a packet may be at.
const WAYS: usize = 4;
const _: () = assert!(FRAGMENTED_PACKETS.is_power_of_two() && FRAGMENTED_PACKETS > WAYS);

/// A packet whose first fragment was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    id: FragmentId,
    toward: Toward,
    /// Where this has come, its place is free.
    until: Millis,
}

/// A fragment that waits for the first one of its packet.
#[derive(Debug)]
pub(crate) struct Waiting<F> {
    pub(crate) frame: F,
    pub(crate) id: FragmentId,
    /// Where it came in, for its tag.
    pub(crate) came_by: PortId,
    pub(crate) since: Millis,
}

/// The fragments of one worker.
#[derive(Debug)]
pub(crate) struct Fragments<F> {
    keys: HashKeys,
    known: Box<[Known]>,
    waiting: ArrayVec<Waiting<F>, FRAGMENTS_WAITING>,
}

impl<F> Fragments<F> {
    pub(crate) fn new() -> Self {
        Self {
            keys: HashKeys::random(),
            known: vec![Known::default(); FRAGMENTED_PACKETS].into_boxed_slice(),
            waiting: ArrayVec::new(),
        }
    }

    /// How many fragments wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Remembers where a packet's first fragment goes, in place of whatever is nearest to its end.
    pub(crate) fn learn(&mut self, id: FragmentId, toward: Toward, now: Millis) {
        let places = self.places(&id);
        let known = &mut self.known[places];
        let same = known.iter().position(|it| it.id == id);
        let oldest = || (0..WAYS).min_by_key(|way| known[*way].until);
        if let Some(way) = same.or_else(oldest) {
            known[way] = Known {
                id,
                toward,
                until: now + FRAGMENT_MS,
            };
        }
    }

    /// Where the first fragment of this packet went.
    pub(crate) fn find(&self, id: &FragmentId, now: Millis) -> Option<Toward> {
        let mut known = self.known[self.places(id)].iter();
        let known = known.find(|it| it.until > now && it.id == *id);
        known.map(|it| it.toward)
    }

    /// Lets a fragment wait; gives it back where too many do.
    pub(crate) fn hold(&mut self, new: Waiting<F>) -> Result<(), F> {
        self.waiting
            .try_push(new)
            .map_err(|full| full.element().frame)
    }

    /// Takes out each that need not wait any longer, in order, with where its packet goes: `None`
    /// where it has waited too long.
    pub(crate) fn release(
        &mut self,
        now: Millis,
        mut each: impl FnMut(Waiting<F>, Option<Toward>),
    ) {
        let mut place = 0;
        while let Some(waiting) = self.waiting.get(place) {
            let toward = self.find(&waiting.id, now);
            if toward.is_some() || now.since(waiting.since) >= FRAGMENT_WAIT_MS {
                each(self.waiting.remove(place), toward);
            } else {
                place += 1;
            }
        }
    }

    fn places(&self, id: &FragmentId) -> std::ops::Range<usize> {
        let [source, destination] = id.addresses.map(|it| {
            let bits = u128::from_ne_bytes(it);
            #[expect(clippy::cast_possible_truncation, reason = "the halves of a u128")]
            self.keys.hash2((bits >> 64) as u64, bits as u64)
        });
        let rest = u64::from(id.identification) << 8 | u64::from(id.protocol);
        let hash = self.keys.hash4(source, destination, rest, 0);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of it do")]
        let set = hash as usize % (FRAGMENTED_PACKETS / WAYS);
        set * WAYS..(set + 1) * WAYS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::id::BackendId;

    fn backend(id: u16) -> Toward {
        Toward::Backend(BackendId(id))
    }

    fn id(identification: u32) -> FragmentId {
        FragmentId {
            identification,
            protocol: 17,
            ..FragmentId::default()
        }
    }

    fn waiting(frame: u32, identification: u32, since: u64) -> Waiting<u32> {
        Waiting {
            frame,
            id: id(identification),
            came_by: PortId(0),
            since: Millis(since),
        }
    }

    #[test]
    fn a_packet_is_known_for_so_long() {
        let mut fragments = Fragments::<u32>::new();
        fragments.learn(id(1), backend(7), Millis(5));
        let last = Millis(5 + FRAGMENT_MS - 1);
        assert_eq!(fragments.find(&id(1), last), Some(backend(7)));
        assert_eq!(fragments.find(&id(1), last + 1), None);
        assert_eq!(fragments.find(&id(2), Millis(5)), None);
    }

    #[test]
    fn a_new_packet_of_the_same_identification_takes_over() {
        let mut fragments = Fragments::<u32>::new();
        fragments.learn(id(1), backend(7), Millis(5));
        fragments.learn(id(1), backend(8), Millis(6));
        assert_eq!(fragments.find(&id(1), Millis(7)), Some(backend(8)));
    }

    #[test]
    fn a_flood_takes_the_oldest_places_and_no_more_room() {
        let mut fragments = Fragments::<u32>::new();
        let many = u32::try_from(FRAGMENTED_PACKETS * 4).unwrap();
        for number in 0..many {
            fragments.learn(id(number), backend(7), Millis(number.into()));
            assert!(fragments.find(&id(number), Millis(number.into())).is_some());
        }
        assert_eq!(fragments.known.len(), FRAGMENTED_PACKETS);
    }

    #[test]
    fn what_waits_leaves_with_its_packet_or_in_the_end() {
        let mut fragments = Fragments::new();
        for frame in 0..4 {
            fragments.hold(waiting(frame, frame % 2, 5)).unwrap();
        }
        fragments.learn(id(1), backend(7), Millis(6));
        let mut out = Vec::new();
        fragments.release(Millis(6), |it, to| out.push((it.frame, to)));
        assert_eq!(out, [(1, Some(backend(7))), (3, Some(backend(7)))]);
        out.clear();
        let late = Millis(5 + FRAGMENT_WAIT_MS);
        fragments.release(Millis(late.0 - 1), |_, _| unreachable!());
        fragments.release(late, |it, to| out.push((it.frame, to)));
        assert_eq!((out, fragments.waiting()), (vec![(0, None), (2, None)], 0));
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let mut fragments = Fragments::new();
        let kept = (0..1000).filter(|frame| fragments.hold(waiting(*frame, 1, 0)).is_ok());
        assert_eq!(kept.count(), FRAGMENTS_WAITING);
    }
}
