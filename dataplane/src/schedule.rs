//! Schedule: a new flow and its service's slots to a backend.
//!
//! Every scheduler is a table of slots that the control plane fills, with weights and states
//! already in it, and one way to choose a slot: by a hash, in turn, or by the flows that the backends
//! have. Turns and flows are those of each worker: no counter is shared.

mod least_connections;
pub(crate) mod maglev;
#[cfg(test)]
mod model;
mod power_of_two;
mod weighted;

use crate::{
    key::FlowKey,
    tables::{id::BackendId, service::Scheduler},
};
use siphasher::sip::SipHasher13;
use std::{collections::BTreeMap, net::IpAddr};

/// A service's backends in the shares of its scheduler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    scheduler: Scheduler,
    made_of: Vec<Candidate>,
    backends: Box<[BackendId]>,
    /// The weight of each slot's backend, where flows are weighed against it; empty elsewhere.
    weights: Box<[u32]>,
}

/// A backend of the service; of weight 0 where it may not be chosen now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: BackendId,
    pub(crate) name: String,
    pub(crate) weight: u32,
    /// Its weight by the configuration, whatever its state: what tables are sized for.
    pub(crate) nominal_weight: u32,
}

impl Slots {
    /// Fills the slots; candidates of weight 0 get none.
    pub(crate) fn new(scheduler: Scheduler, made_of: Vec<Candidate>) -> Self {
        let candidates: Vec<_> = made_of.iter().filter(|it| it.weight > 0).collect();
        let slots = match scheduler {
            // A backend that is out for a while must not change the size of the table.
            Scheduler::Maglev | Scheduler::SourceHash => {
                maglev::fill(&candidates, maglev::size_for(&made_of))
            }
            Scheduler::RoundRobin => candidates.iter().map(|it| it.id).collect(),
            Scheduler::WeightedRoundRobin | Scheduler::PowerOfTwo => weighted::fill(&candidates),
            Scheduler::LeastConnections => least_connections::fill(&candidates),
        };
        let weights = match scheduler {
            Scheduler::LeastConnections | Scheduler::PowerOfTwo => weights_of(&slots, &candidates),
            Scheduler::Maglev
            | Scheduler::SourceHash
            | Scheduler::RoundRobin
            | Scheduler::WeightedRoundRobin => Box::default(),
        };
        Self {
            scheduler,
            made_of,
            backends: slots,
            weights,
        }
    }

    /// Whether filling from these candidates would give the same slots.
    pub(crate) fn is_made_of(&self, scheduler: Scheduler, candidates: &[Candidate]) -> bool {
        self.scheduler == scheduler && self.made_of == candidates
    }

    /// The slots as they would be without one backend.
    pub(crate) fn without(&self, backend: BackendId) -> Self {
        let mut others = self.made_of.clone();
        let gone = others.iter_mut().filter(|it| it.id == backend);
        gone.for_each(|it| it.weight = 0);
        Self::new(self.scheduler, others)
    }

    /// The backend that every forwarder and worker would choose for a flow; `None` where that is a
    /// matter of turns or of a worker's own flows.
    pub(crate) fn agreed<K: FlowKey>(&self, key: &K) -> Option<BackendId> {
        match self.scheduler {
            Scheduler::Maglev | Scheduler::SourceHash => {
                self.choose(key, &mut 0, |_| 0).map(|(_, backend)| backend)
            }
            Scheduler::RoundRobin
            | Scheduler::WeightedRoundRobin
            | Scheduler::LeastConnections
            | Scheduler::PowerOfTwo => None,
        }
    }

    /// The slot and the backend of a new flow; `turn` is this worker's counter for the service,
    /// `flows` says how many of its flows a backend has.
    #[inline]
    pub(crate) fn choose<K: FlowKey>(
        &self,
        key: &K,
        turn: &mut u32,
        flows: impl Fn(BackendId) -> u64,
    ) -> Option<(usize, BackendId)> {
        if self.backends.is_empty() {
            return None;
        }
        let slots = self.backends.len();
        let flows = |slot: usize| flows(self.backends[slot]);
        let slot = match self.scheduler {
            Scheduler::Maglev => reduce(flow_hash(key), slots),
            Scheduler::SourceHash => reduce(source_hash(key), slots),
            Scheduler::RoundRobin | Scheduler::WeightedRoundRobin => next(turn) as usize % slots,
            Scheduler::LeastConnections => {
                least_connections::choose(&self.weights, next(turn) as usize % slots, flows)
            }
            Scheduler::PowerOfTwo => power_of_two::choose(&self.weights, next(turn), flows),
        };
        Some((slot, self.backends[slot]))
    }

    /// The weight of a slot's backend, where its flows are weighed against it.
    pub(crate) fn weight(&self, slot: usize) -> Option<u32> {
        self.weights.get(slot).copied()
    }
}

fn weights_of(slots: &[BackendId], candidates: &[&Candidate]) -> Box<[u32]> {
    let weights: BTreeMap<_, _> = candidates.iter().map(|it| (it.id, it.weight)).collect();
    slots.iter().map(|id| weights[id]).collect()
}

/// This turn; the next one is another's.
#[inline]
fn next(turn: &mut u32) -> u32 {
    let this = *turn;
    *turn = this.wrapping_add(1);
    this
}

/// Whether one has fewer flows for its weight than another: each is (flows, weight).
#[inline]
fn is_less_loaded(one: (u64, u32), other: (u64, u32)) -> bool {
    one.0.saturating_mul(other.1.into()) < other.0.saturating_mul(one.1.into())
}

/// A hash on `0..n`, without a division.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the high half of the product is below n"
)]
fn reduce(hash: u64, n: usize) -> usize {
    ((u128::from(hash) * n as u128) >> 64) as usize
}

/// The hash that every forwarder agrees on: `SipHash` 1-3, zero keys, over the 5-tuple as it stands
/// in the packet.
#[inline]
fn flow_hash<K: FlowKey>(key: &K) -> u64 {
    let mut bytes = [0; 40];
    let len = match (key.source(), key.destination()) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes[..16].copy_from_slice(&source.octets());
            bytes[16..32].copy_from_slice(&destination.octets());
            32
        }
        (source, destination) => {
            bytes[..4].copy_from_slice(&v4_octets(source));
            bytes[4..8].copy_from_slice(&v4_octets(destination));
            8
        }
    };
    bytes[len..len + 4].copy_from_slice(&key.ports().0.to_ne_bytes());
    bytes[len + 4] = key.protocol() as u8;
    SipHasher13::new().hash(&bytes[..len + 5])
}

/// The same over the client's address alone: all its connections have one hash.
#[inline]
fn source_hash<K: FlowKey>(key: &K) -> u64 {
    match key.source() {
        IpAddr::V4(v4) => SipHasher13::new().hash(&v4.octets()),
        IpAddr::V6(v6) => SipHasher13::new().hash(&v6.octets()),
    }
}

fn v4_octets(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(_) => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Key4, Ports, Protocol};
    use std::hash::Hasher;

    fn candidates(weights: &[u32]) -> Vec<(String, u32)> {
        let names = (0..weights.len()).map(|index| format!("backend-{index}"));
        names.zip(weights.iter().copied()).collect()
    }

    fn slots(scheduler: Scheduler, named: &[(String, u32)]) -> Slots {
        let candidates: Vec<_> = (0_u16..)
            .zip(named)
            .map(|(id, (name, weight))| Candidate {
                id: BackendId(id),
                name: name.clone(),
                weight: *weight,
                nominal_weight: *weight,
            })
            .collect();
        Slots::new(scheduler, candidates)
    }

    fn key(client: u32) -> Key4 {
        Key4 {
            source: client.to_be(),
            destination: 0x0a09_0064_u32.to_be(),
            ports: Ports::new(1024 + (client % 50_000) as u16, 80),
            protocol: Protocol::Tcp,
        }
    }

    fn shares(slots: &Slots, flows: u32, backends: usize) -> Vec<u32> {
        let (mut turn, mut shares) = (0, vec![0; backends]);
        for client in 0..flows {
            let (_, backend) = slots.choose(&key(client), &mut turn, |_| 0).unwrap();
            shares[backend.index()] += 1;
        }
        shares
    }

    #[test]
    fn round_robin_takes_each_in_turn_whatever_the_weight() {
        let slots = slots(Scheduler::RoundRobin, &candidates(&[1, 5, 1]));
        assert_eq!(shares(&slots, 9, 3), [3, 3, 3]);
    }

    #[test]
    fn weighted_round_robin_keeps_the_weights_and_interleaves() {
        let slots = slots(Scheduler::WeightedRoundRobin, &candidates(&[3, 1, 0]));
        assert_eq!(shares(&slots, 40, 3), [30, 10, 0]);
        let firsts: Vec<_> = slots.backends.iter().map(|it| it.0).collect();
        assert_eq!(firsts, [0, 0, 1, 0]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "40,000 flows take minutes there")]
    fn maglev_spreads_flows_by_weight_and_always_alike() {
        let named = candidates(&[1, 2, 1]);
        let (one, other) = (
            slots(Scheduler::Maglev, &named),
            slots(Scheduler::Maglev, &named),
        );
        assert_eq!(one, other);
        let shares = shares(&one, 40_000, 3);
        assert!((9_000..11_000).contains(&shares[0]), "{shares:?}");
        assert!((19_000..21_000).contains(&shares[1]), "{shares:?}");
    }

    #[test]
    fn source_hash_sees_the_client_alone() {
        let slots = slots(Scheduler::SourceHash, &candidates(&[1, 1, 1]));
        let mut chosen = [0; 3];
        for client in 0..300 {
            let backend = slots.agreed(&key(client)).unwrap();
            for port in [1, 2, 65_535] {
                let other = Key4 {
                    destination: port,
                    ports: Ports::new(u16::try_from(port).unwrap(), 443),
                    protocol: Protocol::Udp,
                    ..key(client)
                };
                assert_eq!(slots.agreed(&other), Some(backend));
            }
            chosen[backend.index()] += 1;
        }
        assert!(chosen.iter().all(|count| *count > 60), "{chosen:?}");
    }

    #[test]
    fn only_hashes_are_agreed_on() {
        for scheduler in [
            Scheduler::RoundRobin,
            Scheduler::WeightedRoundRobin,
            Scheduler::LeastConnections,
            Scheduler::PowerOfTwo,
        ] {
            let slots = slots(scheduler, &candidates(&[1, 1]));
            assert_eq!(slots.agreed(&key(1)), None, "{scheduler:?}");
        }
    }

    #[test]
    fn nobody_is_chosen_from_nobody() {
        let empty = slots(Scheduler::Maglev, &candidates(&[0, 0]));
        assert_eq!(empty.choose(&key(1), &mut 0, |_| 0), None);
    }

    #[test]
    fn the_flow_hash_is_the_same_on_every_machine() {
        let key = Key4 {
            source: u32::from_ne_bytes([192, 0, 2, 1]),
            destination: u32::from_ne_bytes([10, 9, 0, 100]),
            ports: Ports::new(40_000, 80),
            protocol: Protocol::Tcp,
        };
        let mut hasher = SipHasher13::new();
        hasher.write(&[192, 0, 2, 1, 10, 9, 0, 100, 0x9c, 0x40, 0, 80, 6]);
        assert_eq!(flow_hash(&key), hasher.finish());
    }
}
