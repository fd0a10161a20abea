//! Schedule: a new flow and its service's slots to a backend.
//!
//! Every scheduler is a table of slots that the control plane fills, with weights and states
//! already in it, and one way to choose a slot: by the flow's hash, or in turn. In turn means in
//! turn on each worker: no counter is shared.

pub(crate) mod maglev;
#[cfg(test)]
mod model;
mod weighted;

use crate::{
    key::FlowKey,
    tables::{id::BackendId, service::Scheduler},
};
use siphasher::sip::SipHasher13;
use std::{hash::Hasher, net::IpAddr};

/// A service's backends in the shares of its scheduler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    scheduler: Scheduler,
    made_of: Vec<Candidate>,
    backends: Box<[BackendId]>,
}

/// A backend of the service; of weight 0 where it may not be chosen now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: BackendId,
    pub(crate) name: String,
    pub(crate) weight: u32,
}

impl Slots {
    /// Fills the slots; candidates of weight 0 get none.
    pub(crate) fn new(scheduler: Scheduler, made_of: Vec<Candidate>) -> Self {
        let candidates: Vec<_> = made_of.iter().filter(|it| it.weight > 0).collect();
        let slots = match scheduler {
            // A backend that is out for a while must not change the size of the table.
            Scheduler::Maglev => maglev::fill(&candidates, made_of.len()),
            Scheduler::RoundRobin => candidates.iter().map(|it| it.id).collect(),
            Scheduler::WeightedRoundRobin => weighted::fill(&candidates),
        };
        Self {
            scheduler,
            made_of,
            backends: slots,
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
    /// matter of turns.
    pub(crate) fn agreed<K: FlowKey>(&self, key: &K) -> Option<BackendId> {
        match self.scheduler {
            Scheduler::Maglev => self.choose(key, &mut 0).map(|(_, backend)| backend),
            Scheduler::RoundRobin | Scheduler::WeightedRoundRobin => None,
        }
    }

    /// The slot and the backend of a new flow; `turn` is this worker's counter for the service.
    #[inline]
    pub(crate) fn choose<K: FlowKey>(&self, key: &K, turn: &mut u32) -> Option<(usize, BackendId)> {
        if self.backends.is_empty() {
            return None;
        }
        let slot = match self.scheduler {
            Scheduler::Maglev => reduce(flow_hash(key), self.backends.len()),
            Scheduler::RoundRobin | Scheduler::WeightedRoundRobin => {
                let slot = *turn as usize % self.backends.len();
                *turn = turn.wrapping_add(1);
                slot
            }
        };
        Some((slot, self.backends[slot]))
    }
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
    let mut hasher = SipHasher13::new();
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
    hasher.write(&bytes[..len + 5]);
    hasher.finish()
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
            let (_, backend) = slots.choose(&key(client), &mut turn).unwrap();
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
    fn nobody_is_chosen_from_nobody() {
        let empty = slots(Scheduler::Maglev, &candidates(&[0, 0]));
        assert_eq!(empty.choose(&key(1), &mut 0), None);
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
