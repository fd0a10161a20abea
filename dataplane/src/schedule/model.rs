//! What every scheduler keeps to, for any weights: nobody without a weight, shares in proportion,
//! and one choice for one flow.

use super::*;
use crate::key::{Key4, Ports, Protocol};
use proptest::prelude::*;

fn slots(scheduler: Scheduler, weights: &[u32]) -> Slots {
    let candidates = (0_u16..).zip(weights).map(|(id, weight)| Candidate {
        id: BackendId(id),
        name: format!("shop-{id}"),
        weight: *weight,
        nominal_weight: *weight,
    });
    Slots::new(scheduler, candidates.collect())
}

fn count(slots: &Slots, id: usize) -> usize {
    slots.backends.iter().filter(|it| it.index() == id).count()
}

fn key(client: u32) -> Key4 {
    Key4 {
        source: client,
        destination: 1,
        ports: Ports::new(1, 80),
        protocol: Protocol::Tcp,
    }
}

const ALL: [Scheduler; 6] = [
    Scheduler::Maglev,
    Scheduler::RoundRobin,
    Scheduler::WeightedRoundRobin,
    Scheduler::LeastConnections,
    Scheduler::PowerOfTwo,
    Scheduler::SourceHash,
];

proptest! {
    #![proptest_config(crate::models::cases(64))]

    #[test]
    fn weighted_round_robin_is_exact(weights in prop::collection::vec(0_u32..30, 1..12)) {
        let slots = slots(Scheduler::WeightedRoundRobin, &weights);
        let total: u32 = weights.iter().sum();
        let round = slots.backends.len();
        for (id, weight) in weights.iter().enumerate() {
            prop_assert_eq!(count(&slots, id) * total as usize, *weight as usize * round);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "nothing in it is unsafe, and it is slow there")]
    fn maglev_is_in_proportion(weights in prop::collection::vec(0_u32..30, 1..12)) {
        let slots = slots(Scheduler::Maglev, &weights);
        let total: u32 = weights.iter().sum();
        prop_assert_eq!(slots.backends.is_empty(), total == 0);
        for (id, weight) in weights.iter().enumerate() {
            let exact = (slots.backends.len() * *weight as usize).checked_div(total as usize).unwrap_or(0);
            let share = count(&slots, id);
            prop_assert!(share.abs_diff(exact) <= 30, "{} of {}", share, exact);
            prop_assert_eq!(share == 0, *weight == 0);
        }
    }

    /// A backend that goes leaves others' flows alone, but for a few.
    #[test]
    #[cfg_attr(miri, ignore = "nothing in it is unsafe, and it is slow there")]
    fn maglev_moves_little(backends in 2_usize..12, gone in any::<prop::sample::Index>()) {
        let gone = gone.index(backends);
        let before = slots(Scheduler::Maglev, &vec![1; backends]);
        let after = before.without(BackendId(u16::try_from(gone).unwrap()));
        let pairs = before.backends.iter().zip(&after.backends);
        let moved = pairs.filter(|(old, new)| old != new && old.index() != gone).count();
        prop_assert!(moved * 100 <= before.backends.len() * 20, "{moved}");
        prop_assert_eq!(count(&after, gone), 0);
    }

    #[test]
    fn only_candidates_with_a_weight_are_chosen(weights in prop::collection::vec(0_u32..3, 0..6), client: u32, turn: u32, flows in any::<[u16; 6]>()) {
        let flows = |backend: BackendId| u64::from(flows[backend.index()]);
        for scheduler in ALL {
            let slots = slots(scheduler, &weights);
            let chosen = slots.choose(&key(client), &mut turn.clone(), flows);
            prop_assert_eq!(chosen.is_none(), weights.iter().all(|weight| *weight == 0));
            if let Some((slot, backend)) = chosen {
                prop_assert!(weights[backend.index()] > 0);
                prop_assert_eq!(slots.backends[slot], backend);
                prop_assert_eq!(slots.choose(&key(client), &mut turn.clone(), flows), chosen);
            }
        }
    }
}
