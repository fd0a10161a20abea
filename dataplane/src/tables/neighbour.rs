//! Next hops and the MAC addresses at which they answer.
//!
//! The list is known from the configuration: backends on the link, and gateways. It is published
//! with the tables; the MAC address of each is an atomic beside it, so that the worker that hears
//! the answer makes it known to all at once. Written when an answer changes something, and once per
//! renewal: the packet path only reads it.

use super::id::{NeighbourId, PortId};
use crate::{
    answer::Learned,
    clock::Millis,
    sync::{AtomicU64, Ordering},
    wire::ethernet::Mac,
};
use std::{collections::BTreeMap, net::IpAddr};

/// An answer is asked for again when it is this old, in milliseconds (RFC 4861: 30 s reachable).
pub(crate) const RENEW_MS: u64 = 30_000;
/// An answer that was not renewed is given up when it is this old.
pub(crate) const GIVE_UP_MS: u64 = 35_000;
/// Between two questions about one neighbour, in milliseconds (RFC 4861 section 10).
pub(crate) const ASK_AGAIN_MS: u64 = 1000;
/// The same for the first questions, so that a start is quick.
pub(crate) const ASK_FIRST_MS: u64 = 200;
const QUICK_QUESTIONS: u64 = 5;

/// When a given address was confirmed: it never grows old.
const GIVEN: u64 = u64::MAX;
/// Marks a resolved address in its word, above its bytes: an all-zero MAC would otherwise look
/// unresolved.
const RESOLVED: u64 = 1 << 63;

/// One next hop.
#[derive(Debug)]
pub(crate) struct Neighbour {
    pub(crate) address: IpAddr,
    pub(crate) port: PortId,
    mac: AtomicU64,
    confirmed_ms: AtomicU64,
    asked_ms: AtomicU64,
    questions: AtomicU64,
}

/// What an operator sees of a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourView {
    /// Its address.
    pub address: IpAddr,
    /// The port behind which it is.
    pub port: PortId,
    /// Where it answers, if it does.
    pub mac: Option<Mac>,
    /// Whether that was given, and is not asked for.
    pub is_given: bool,
    /// When it last answered.
    pub confirmed: Option<Millis>,
}

/// What there is to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Ask everybody on the link.
    Anybody,
    /// Ask the station that answered before.
    Station(Mac),
}

impl Neighbour {
    fn new(address: IpAddr, port: PortId) -> Self {
        Self {
            address,
            port,
            mac: AtomicU64::new(0),
            confirmed_ms: AtomicU64::new(0),
            asked_ms: AtomicU64::new(0),
            questions: AtomicU64::new(0),
        }
    }

    /// Takes over what another life of the same neighbour knows.
    fn inherit(&self, other: &Self) {
        for (mine, theirs) in [
            (&self.mac, &other.mac),
            (&self.confirmed_ms, &other.confirmed_ms),
            (&self.asked_ms, &other.asked_ms),
        ] {
            mine.store(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Where it answers.
    #[inline]
    pub(crate) fn mac(&self) -> Option<Mac> {
        self.mac_word().map(Mac::from_word)
    }

    /// The same as [`Mac::word`] has it.
    #[inline]
    pub(crate) fn mac_word(&self) -> Option<u64> {
        let word = self.mac.load(Ordering::Relaxed);
        (word & RESOLVED != 0).then_some(word & !RESOLVED)
    }

    /// A neighbour says where it is. A claim that answers no question is used, and asked about at
    /// once; one that may not replace another address does not (RFC 4861 section 7.2.5).
    pub(crate) fn learn(&self, learned: &Learned, now: Millis) {
        let known = self.mac();
        if self.is_given() || (known.is_some_and(|known| known != learned.mac) && !learned.replaces)
        {
            return;
        }
        if learned.is_answer {
            self.confirmed_ms.store(now.0, Ordering::Relaxed);
            self.questions.store(0, Ordering::Relaxed);
        } else if known != Some(learned.mac) {
            let stale = now - RENEW_MS;
            self.confirmed_ms.store(stale.0, Ordering::Relaxed);
        }
        self.set_mac(learned.mac);
    }

    fn is_given(&self) -> bool {
        self.confirmed_ms.load(Ordering::Relaxed) == GIVEN
    }

    fn set_mac(&self, mac: Mac) {
        self.mac.store(mac.word() | RESOLVED, Ordering::Relaxed);
    }

    /// Whether there is something to ask at `now`; counts as asked. Gives up an answer that is too
    /// old. Two workers may ask twice: harmless.
    pub(crate) fn due(&self, now: Millis) -> Option<Question> {
        let confirmed = Millis(self.confirmed_ms.load(Ordering::Relaxed));
        let age = now.since(confirmed);
        let question = match self.mac() {
            Some(_) if age >= GIVE_UP_MS => {
                self.mac.store(0, Ordering::Relaxed);
                Question::Anybody
            }
            Some(mac) if age >= RENEW_MS => Question::Station(mac),
            Some(_) => return None,
            None => Question::Anybody,
        };
        let asked = Millis(self.asked_ms.load(Ordering::Relaxed));
        let questions = self.questions.load(Ordering::Relaxed);
        let pause = if questions < QUICK_QUESTIONS {
            ASK_FIRST_MS
        } else {
            ASK_AGAIN_MS
        };
        if now.since(asked) < pause {
            return None;
        }
        self.asked_ms.store(now.0, Ordering::Relaxed);
        self.questions.store(questions + 1, Ordering::Relaxed);
        Some(question)
    }

    fn view(&self) -> NeighbourView {
        let confirmed = self.confirmed_ms.load(Ordering::Relaxed);
        NeighbourView {
            address: self.address,
            port: self.port,
            mac: self.mac(),
            is_given: confirmed == GIVEN,
            confirmed: (confirmed != 0 && confirmed != GIVEN).then_some(Millis(confirmed)),
        }
    }
}

/// Every next hop, by its place.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    all: Vec<Neighbour>,
    /// Their places: there may be as many as backends, and every ARP and NDP message asks.
    places: BTreeMap<(IpAddr, PortId), NeighbourId>,
}

impl Neighbours {
    /// The place of a next hop, new or known.
    pub(crate) fn intern(&mut self, address: IpAddr, port: PortId) -> NeighbourId {
        let Self { all, places } = self;
        *places.entry((address, port)).or_insert_with(|| {
            all.push(Neighbour::new(address, port));
            NeighbourId(u16::try_from(all.len() - 1).unwrap_or(u16::MAX))
        })
    }

    /// Gives a next hop its MAC address, for good.
    pub(crate) fn fix(&mut self, address: IpAddr, port: PortId, mac: Mac) {
        let place = self.intern(address, port);
        let neighbour = self.get(place);
        neighbour.set_mac(mac);
        neighbour.confirmed_ms.store(GIVEN, Ordering::Relaxed);
    }

    /// Takes over what the tables before knew.
    pub(crate) fn inherit(&mut self, before: &Self) {
        for new in &self.all {
            let known = before.find(new.address, new.port);
            if let Some(old) = known.filter(|old| !new.is_given() && !old.is_given()) {
                new.inherit(old);
            }
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: NeighbourId) -> &Neighbour {
        &self.all[id.index()]
    }

    /// The next hop at a place below [`Neighbours::len`].
    pub(crate) fn at(&self, place: usize) -> &Neighbour {
        &self.all[place]
    }

    /// The next hop with this address behind this port.
    pub(crate) fn find(&self, address: IpAddr, port: PortId) -> Option<&Neighbour> {
        let place = self.places.get(&(address, port))?;
        self.all.get(place.index())
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// What an operator sees.
    pub(crate) fn views(&self) -> Vec<NeighbourView> {
        self.all.iter().map(Neighbour::view).collect()
    }
}

#[cfg(all(test, not(tether_loom)))]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn heard(mac: Mac, is_answer: bool, replaces: bool) -> Learned {
        Learned {
            address: ADDRESS,
            mac,
            is_answer,
            replaces,
        }
    }

    fn answer() -> Learned {
        heard(MAC, true, true)
    }

    #[test]
    fn a_claim_is_used_and_asked_about_at_once() {
        let neighbour = neighbour();
        let now = Millis(100_000);
        neighbour.learn(&heard(MAC, false, true), now);
        assert_eq!(neighbour.mac(), Some(MAC));
        assert_eq!(neighbour.due(now), Some(Question::Station(MAC)));
    }

    #[test]
    fn only_a_claim_that_may_replace_does() {
        let (neighbour, other) = (neighbour(), Mac([2, 0, 0, 0, 0, 8]));
        neighbour.learn(&answer(), Millis(100_000));
        neighbour.learn(&heard(other, true, false), Millis(100_000));
        assert_eq!(neighbour.mac(), Some(MAC));
        neighbour.learn(&heard(other, true, true), Millis(100_000));
        assert_eq!(neighbour.mac(), Some(other));
    }

    fn neighbour() -> Neighbour {
        Neighbour::new(ADDRESS, PortId(0))
    }

    #[test]
    fn it_asks_until_it_is_answered() {
        let neighbour = neighbour();
        assert_eq!(neighbour.due(Millis(1000)), Some(Question::Anybody));
        assert_eq!(neighbour.due(Millis(1001)), None);
        assert_eq!(neighbour.due(Millis(1200)), Some(Question::Anybody));
        neighbour.learn(&answer(), Millis(1300));
        assert_eq!(neighbour.mac(), Some(MAC));
        assert_eq!(neighbour.due(Millis(2300)), None);
    }

    #[test]
    fn a_given_address_is_neither_asked_for_nor_replaced() {
        let mut neighbours = Neighbours::default();
        neighbours.fix(ADDRESS, PortId(0), MAC);
        let neighbour = neighbours.get(NeighbourId(0));
        neighbour.learn(&heard(Mac([2, 0, 0, 0, 0, 8]), true, true), Millis(1));
        assert_eq!(neighbour.mac(), Some(MAC));
        assert_eq!(neighbour.due(Millis(1 << 40)), None);
    }

    #[test]
    fn an_address_behind_two_ports_is_two_neighbours() {
        let mut neighbours = Neighbours::default();
        let places = [0, 1, 0].map(|port| neighbours.intern(ADDRESS, PortId(port)));
        assert_eq!((places[0], neighbours.len()), (places[2], 2));
        assert_ne!(places[0], places[1]);
        for (port, place) in [(0, places[0]), (1, places[1])] {
            let found = neighbours.find(ADDRESS, PortId(port)).unwrap();
            assert!(std::ptr::eq(found, neighbours.get(place)));
            assert_eq!(found.port, PortId(port));
        }
        assert!(neighbours.find(ADDRESS, PortId(2)).is_none());
    }

    #[test]
    fn it_slows_down_when_nobody_answers() {
        let neighbour = neighbour();
        let asked = (1000..11_000).filter(|ms| neighbour.due(Millis(*ms)).is_some());
        assert_eq!(asked.count(), 14);
    }

    #[test]
    fn it_renews_an_answer_and_gives_up_an_old_one() {
        let neighbour = neighbour();
        neighbour.learn(&answer(), Millis(1000));
        assert_eq!(
            neighbour.due(Millis(1000 + RENEW_MS)),
            Some(Question::Station(MAC))
        );
        assert_eq!(neighbour.mac(), Some(MAC));
        assert_eq!(
            neighbour.due(Millis(1000 + GIVE_UP_MS)),
            Some(Question::Anybody)
        );
        assert_eq!(neighbour.mac(), None);
    }
}
