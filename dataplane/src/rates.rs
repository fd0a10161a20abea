//! How fast new flows may come: token buckets of a worker's own, one for each service and one for each
//! of the sources that came last.
//!
//! A limit is that of all workers together; each holds its part of it, and nothing is shared. A bucket
//! is one word, the instant at which all that it has let through will have been due (the "generic cell
//! rate algorithm"). It holds one second's worth and at least one flow. Of fixed size: 8 bytes for each
//! service, 16 for each source. A source whose word is not in the future needs no place; where four of
//! them compete for one, the most frugal is forgotten, so that a flood of sources that come once takes
//! the places of its like and not those of a client that comes too often.

use crate::{clock::Millis, hash::HashKeys, limits, tables::id::ServiceId};
use std::net::IpAddr;

const WAYS: usize = 4;
const SETS: usize = limits::RATED_SOURCES / WAYS;
const SECOND_NS: u64 = 1_000_000_000;

const _: () = assert!(SETS.is_power_of_two());

/// The sources of one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Set {
    /// Keyed hashes of (service, source): two that are alike share a bucket.
    sources: [u64; WAYS],
    due_ns: [u64; WAYS],
}

/// A worker's buckets.
#[derive(Debug)]
pub(crate) struct Rates {
    workers: u64,
    keys: HashKeys,
    services: Box<[u64]>,
    sources: Box<[Set]>,
}

impl Rates {
    /// The buckets of one of so many workers, all full.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers: workers.max(1) as u64,
            keys: HashKeys::random(),
            services: vec![0; limits::SERVICES].into_boxed_slice(),
            sources: vec![Set::default(); SETS].into_boxed_slice(),
        }
    }

    /// Takes a new flow's worth out of a service's bucket, if it is there.
    #[inline]
    pub(crate) fn take_of_service(&mut self, id: ServiceId, limit: u32, now: Millis) -> bool {
        let interval_ns = self.interval_ns(limit);
        take(&mut self.services[id.index()], interval_ns, now)
    }

    /// Takes a new flow's worth out of the bucket of a source at a service: of an IPv4 address, or of
    /// the /64 of an IPv6 address, which is one host's or one link's.
    #[inline]
    pub(crate) fn take_of_source(
        &mut self,
        (id, source): (ServiceId, IpAddr),
        limit: u32,
        now: Millis,
    ) -> bool {
        let interval_ns = self.interval_ns(limit);
        let hash = self.hash(id, source);
        let Set { sources, due_ns } = &mut self.sources[place(hash)];
        let way = match sources.iter().position(|it| *it == hash) {
            Some(way) => way,
            None => most_frugal(due_ns),
        };
        if sources[way] != hash {
            (sources[way], due_ns[way]) = (hash, 0);
        }
        take(&mut due_ns[way], interval_ns, now)
    }

    /// The time between two flows on this worker.
    #[inline]
    fn interval_ns(&self, limit: u32) -> u64 {
        self.workers * SECOND_NS / u64::from(limit.max(1))
    }

    #[inline]
    fn hash(&self, id: ServiceId, source: IpAddr) -> u64 {
        let source = match source {
            IpAddr::V4(v4) => u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
        };
        self.keys.hash2(source, id.0.into())
    }
}

/// Where in the table a hash is at home.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "any bits of the hash do")]
fn place(hash: u64) -> usize {
    hash as usize & (SETS - 1)
}

fn most_frugal(due_ns: &[u64; WAYS]) -> usize {
    let ways = due_ns.iter().enumerate();
    ways.min_by_key(|(_, due)| **due).map_or(0, |(way, _)| way)
}

/// Takes one flow's worth where no more than a second's worth is then out. `due_ns`: when all that
/// was taken will have been due. Another limit than before holds nobody up for more than a second.
#[inline]
fn take(due_ns: &mut u64, interval_ns: u64, now: Millis) -> bool {
    let now_ns = now.0.saturating_mul(1_000_000);
    let latest_ns = now_ns + SECOND_NS.max(interval_ns);
    *due_ns = (*due_ns).clamp(now_ns, latest_ns);
    let taken = *due_ns + interval_ns <= latest_ns;
    if taken {
        *due_ns += interval_ns;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SERVICE: ServiceId = ServiceId(7);

    fn source(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    /// How many of `tries` at `now` are let through.
    fn taken(rates: &mut Rates, tries: u32, limit: u32, now: u64) -> u32 {
        let now = Millis(now);
        (0..tries)
            .map(|_| u32::from(rates.take_of_service(SERVICE, limit, now)))
            .sum()
    }

    #[test]
    fn a_second_at_once_and_then_at_the_pace() {
        let mut rates = Rates::new(1);
        assert_eq!(taken(&mut rates, 50, 10, 5000), 10);
        assert_eq!(taken(&mut rates, 50, 10, 5099), 0);
        assert_eq!(taken(&mut rates, 50, 10, 5100), 1);
        assert_eq!(taken(&mut rates, 50, 10, 5350), 2);
        assert_eq!(taken(&mut rates, 50, 10, 9000), 10);
    }

    #[test]
    fn workers_have_their_parts() {
        let mut rates = Rates::new(4);
        assert_eq!(taken(&mut rates, 50, 40, 5000), 10);
        // Less than one a second for each: one, then one every four seconds.
        let mut rates = Rates::new(4);
        assert_eq!(taken(&mut rates, 50, 1, 5000), 1);
        assert_eq!(taken(&mut rates, 50, 1, 8999), 0);
        assert_eq!(taken(&mut rates, 50, 1, 9000), 1);
    }

    #[test]
    fn another_limit_holds_up_for_a_second() {
        let mut rates = Rates::new(1);
        assert_eq!(taken(&mut rates, 1000, 1000, 5000), 1000);
        assert_eq!(taken(&mut rates, 9, 1, 5000), 0);
        assert_eq!(taken(&mut rates, 9, 1, 6000), 1);
        // A raised one too: from one in four seconds to one in one.
        let mut rates = Rates::new(4);
        assert_eq!(taken(&mut rates, 9, 1, 5000), 1);
        assert_eq!(taken(&mut rates, 9, 4, 5500), 0);
        assert_eq!(taken(&mut rates, 9, 4, 6500), 1);
    }

    #[test]
    fn sources_and_services_are_apart() {
        let mut rates = Rates::new(1);
        let now = Millis(1000);
        for (id, client) in [(1, 1), (1, 2), (2, 1)] {
            let of = (ServiceId(id), source(client));
            let taken = (0..9).filter(|_| rates.take_of_source(of, 3, now));
            assert_eq!(taken.count(), 3, "{id} {client}");
        }
        let six = |text: &str| (SERVICE, text.parse().unwrap());
        for (text, taken) in [
            ("2001:db8::1", true),
            ("2001:db8::2", false),
            ("2001:db8:0:1::1", true),
        ] {
            assert_eq!(rates.take_of_source(six(text), 1, now), taken, "{text}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "a flood takes minutes there")]
    fn a_flood_of_sources_forgets_nobody_who_comes_too_often() {
        let mut rates = Rates::new(1);
        let now = Millis(1000);
        let greedy: Vec<_> = (0..100).map(|it| (SERVICE, source(it))).collect();
        for of in &greedy {
            (0..10).for_each(|_| assert!(rates.take_of_source(*of, 10, now)));
        }
        for client in 1000..1_000_000 {
            assert!(rates.take_of_source((SERVICE, source(client)), 10, now));
        }
        let freed = greedy
            .iter()
            .filter(|of| rates.take_of_source(**of, 10, now));
        assert_eq!(freed.count(), 0);
    }

    proptest! {
        #![proptest_config(crate::models::cases(128))]
        /// Over any time no more than a second's worth above the rate, and all of the rate to who
        /// asks every 50 ms; where a second's worth is one flow, it can come so much late.
        #[test]
        fn it_keeps_to_the_rate(limit in 1_u32..500, workers in 1_usize..5, pauses in prop::collection::vec(0_u64..50, 50..300)) {
            let mut rates = Rates::new(workers);
            let (mut now, mut all) = (1000, 0);
            for pause in pauses {
                now += pause;
                all += taken(&mut rates, 40, limit, now);
            }
            let part = f64::from(limit) / f64::from(u32::try_from(workers).unwrap());
            let elapsed = f64::from(u32::try_from(now - 1000).unwrap()) / 1000.0;
            let most = part.max(1.0) + part * elapsed;
            prop_assert!(f64::from(all) <= most + 1e-3, "{} of {}", all, most);
            let late = if part > 1.1 { 0.0 } else { 0.05 };
            let least = elapsed / (1.0 / part + late) - 1.0;
            prop_assert!(f64::from(all) >= least, "{} of {}", all, least);
        }
    }
}
