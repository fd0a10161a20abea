//! Maglev's table (Eisenbud et al., NSDI 2016, section 3.4): every backend fills slots in the order
//! of its own permutation, turn by turn, in proportion to its weight.
//!
//! Another forwarder with the same names and weights fills the same table; adding or removing one
//! of *n* backends moves about 1/*n* of the flows and few others (`docs/schedulers.md` has numbers),
//! as long as the configured weights are of the same size of table. Costs 2 bytes for each slot.

use super::Candidate;
use crate::tables::id::BackendId;
use siphasher::sip::SipHasher13;
use std::{cmp::Reverse, collections::BinaryHeap, hash::Hasher};

/// Table sizes, primes. A fuzzer fills tables for every input.
const SIZES: [usize; 5] = [SMALLEST, 65_521, 262_139, 1_048_573, 4_194_301];
const SMALLEST: usize = if cfg!(fuzzing) { 251 } else { 16_381 };
/// Slots that the backend of the least weight is to have: then every share is within 1 %.
const LEAST_SLOTS: u64 = 100;
/// The largest table that is made for uneven weights; more backends may need a larger one.
const LARGEST_FOR_WEIGHTS: u64 = 1_048_573;

/// One backend's way through the table.
struct Walk<'a> {
    id: BackendId,
    name: &'a str,
    at: usize,
    skip: usize,
    weight: u64,
    taken: u64,
}

/// How many slots a service's table has: by the weights of its configuration, so that a backend
/// that is out or comes up slowly leaves it as it is.
pub(crate) fn size_for(all: &[Candidate]) -> usize {
    let weights = || {
        let weights = all.iter().map(|it| u64::from(it.nominal_weight));
        weights.filter(|weight| *weight > 0)
    };
    let total: u64 = weights().sum();
    let for_weights = total * LEAST_SLOTS / weights().min().unwrap_or(1);
    let wanted = (all.len() as u64 * LEAST_SLOTS).max(for_weights.min(LARGEST_FOR_WEIGHTS));
    let [.., largest] = SIZES;
    SIZES
        .into_iter()
        .find(|size| *size as u64 >= wanted)
        .unwrap_or(largest)
}

/// Fills a table with candidates of a weight above zero; empty for none.
pub(crate) fn fill(candidates: &[&Candidate], size: usize) -> Box<[BackendId]> {
    let mut walks: Vec<Walk<'_>> = candidates.iter().map(|it| Walk::new(it, size)).collect();
    walks.sort_by_key(|walk| walk.name);
    let mut turns: BinaryHeap<_> = (0..walks.len())
        .map(|walk| Reverse((walks[walk].next_turn(), walk)))
        .collect();
    let mut slots: Vec<Option<BackendId>> = vec![None; size];
    for _ in 0..size {
        let Some(mut first) = turns.peek_mut() else {
            break;
        };
        let Reverse((turn, walk)) = &mut *first;
        let walk = &mut walks[*walk];
        walk.take_slot(&mut slots);
        *turn = walk.next_turn();
    }
    slots.into_iter().flatten().collect()
}

impl<'a> Walk<'a> {
    fn new(candidate: &'a Candidate, size: usize) -> Self {
        Self {
            id: candidate.id,
            name: &candidate.name,
            at: remainder(hash(&candidate.name, 0), size),
            skip: 1 + remainder(hash(&candidate.name, 1), size - 1),
            weight: u64::from(candidate.weight),
            taken: 0,
        }
    }

    /// When it takes its next slot, in a time in which a weight of one takes one slot every 2^33:
    /// the first at once, each other when half of it is due (Sainte-Laguë: at any time every share
    /// is rounded to its nearest, so that the light ones are not short of slots).
    fn next_turn(&self) -> u64 {
        match self.taken {
            0 => 0,
            taken => ((2 * taken + 1) << 32) / self.weight,
        }
    }

    /// Takes the next free slot on its way.
    fn take_slot(&mut self, slots: &mut [Option<BackendId>]) {
        while slots[self.at].is_some() {
            self.at = (self.at + self.skip) % slots.len();
        }
        slots[self.at] = Some(self.id);
        self.taken += 1;
    }
}

fn remainder(hash: u64, size: usize) -> usize {
    usize::try_from(hash % size as u64).unwrap_or(0)
}

/// `SipHash` 1-3 with zero keys over the name and one byte: the same on every machine.
fn hash(name: &str, which: u8) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(name.as_bytes());
    hasher.write(&[which]);
    hasher.finish()
}

#[cfg(test)]
mod disruption;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let weights = (0_u16..).zip(weights);
        weights
            .map(|(id, weight)| Candidate {
                id: BackendId(id),
                name: format!("b{id}"),
                weight: *weight,
                nominal_weight: *weight,
            })
            .collect()
    }

    fn table(candidates: &[Candidate]) -> Box<[BackendId]> {
        fill(&candidates.iter().collect::<Vec<_>>(), size_for(candidates))
    }

    /// Panics where a share is further from its weight than `most` of itself.
    fn assert_shares(weights: &[u32], most: f64) {
        let slots = table(&candidates(weights));
        let total: u32 = weights.iter().sum();
        let mut shares = vec![0_u32; weights.len()];
        for id in &slots {
            shares[id.index()] += 1;
        }
        let size = f64::from(u32::try_from(slots.len()).unwrap());
        for (share, weight) in shares.iter().zip(weights) {
            let exact = size * f64::from(*weight) / f64::from(total);
            let off = (f64::from(*share) - exact).abs() / exact;
            assert!(off <= most, "{share} of {exact}: {weight} in {weights:?}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "nothing in it is unsafe, and it is slow there")]
    fn many_backends_and_uneven_weights_are_within_one_percent() {
        assert_shares(&[1; 2], 0.01);
        assert_shares(&[1; 1000], 0.01);
        assert_shares(&[1, 2, 3, 5, 8, 13, 21, 34, 55, 89], 0.01);
        assert_shares(&[1, 10_000], 0.01);
        assert_shares(&[&[1; 300][..], &[97; 3]].concat(), 0.01);
    }

    #[test]
    #[cfg_attr(miri, ignore = "nothing in it is unsafe, and it is slow there")]
    fn the_lightest_has_a_slot() {
        let weights = [65_535, 65_535, 1];
        let slots = table(&candidates(&weights));
        assert!(slots.contains(&BackendId(2)));
    }

    #[test]
    fn a_backend_that_is_out_leaves_the_size() {
        let mut all = candidates(&[1; 200]);
        let size = size_for(&all);
        assert_eq!(size, 65_521);
        all[..100].iter_mut().for_each(|it| it.weight = 0);
        assert_eq!(size_for(&all), size);
    }

    #[test]
    #[cfg_attr(miri, ignore = "nothing in it is unsafe, and it is slow there")]
    fn places_in_a_list_do_not_matter() {
        let forwards = candidates(&[1, 2, 3, 4]);
        let backwards: Vec<_> = forwards.iter().rev().cloned().collect();
        assert!(table(&forwards) == table(&backwards));
    }

    proptest! {
        #![proptest_config(crate::models::cases(48))]
        #[test]
        #[cfg_attr(miri, ignore = "nothing in it is unsafe, and it is slow there")]
        fn every_share_is_within_one_percent_of_its_weight(
            weights in prop::collection::vec(1_u32..100, 1..60),
        ) {
            assert_shares(&weights, 0.01);
        }
    }
}
