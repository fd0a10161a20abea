//! Least connections: the backend with the fewest live flows for its weight.
//!
//! The flows are those of the worker that decides; no count is shared (one shared counter costs more
//! than it is worth). Costs a look at every backend of the service for each new flow.

use super::{Candidate, is_less_loaded};
use crate::tables::id::BackendId;

/// Every candidate once.
pub(crate) fn fill(candidates: &[&Candidate]) -> Box<[BackendId]> {
    candidates.iter().map(|it| it.id).collect()
}

/// The slot of the least flows for its weight; of equal ones the first from `first` on, so that the
/// idle ones take turns.
#[inline]
pub(crate) fn choose(weights: &[u32], first: usize, flows: impl Fn(usize) -> u64) -> usize {
    let mut best = first;
    let mut load = (flows(first), weights[first]);
    for slot in (first + 1..weights.len()).chain(0..first) {
        let other = (flows(slot), weights[slot]);
        if is_less_loaded(other, load) {
            (best, load) = (slot, other);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn flows_are_in_proportion_to_weights() {
        let weights = [1, 2, 5];
        let mut flows = [0_u64; 3];
        for turn in 0..800 {
            let slot = choose(&weights, turn % 3, |slot| flows[slot]);
            flows[slot] += 1;
        }
        assert_eq!(flows, [100, 200, 500]);
    }

    #[test]
    fn idle_backends_take_turns() {
        let chosen = [0, 1, 2].map(|first| choose(&[1, 1, 1], first, |_| 0));
        assert_eq!(chosen, [0, 1, 2]);
    }

    proptest! {
        #![proptest_config(crate::models::cases(64))]
        #[test]
        fn nobody_has_fewer_for_its_weight(
            loads in prop::collection::vec((0_u64..50, 1_u32..10), 1..12),
            first in any::<prop::sample::Index>(),
        ) {
            let (flows, weights): (Vec<u64>, Vec<u32>) = loads.iter().copied().unzip();
            let first = first.index(loads.len());
            let chosen = choose(&weights, first, |slot| flows[slot]);
            let load = |slot: usize| f64::from(u32::try_from(flows[slot]).unwrap()) / f64::from(weights[slot]);
            let least = (0..loads.len()).map(load).fold(f64::INFINITY, f64::min);
            prop_assert!(load(chosen) <= least);
        }
    }
}
