//! The power of two choices (Mitzenmacher, 2001): of two slots taken at random the one whose
//! backend has fewer live flows for its weight.
//!
//! Nearly as even as [least connections](super::least_connections) at the cost of two looks, however
//! many backends there are; and workers that decide apart do not all run to the same backend.

use super::{is_less_loaded, reduce};

/// The slot, of those that stand in the shares of the weights. `turn` is a worker's count of
/// decisions: the randomness need not be hidden from anybody, only be even.
#[inline]
pub(crate) fn choose(weights: &[u32], turn: u32, flows: impl Fn(usize) -> u64) -> usize {
    let (one, other) = two_of(weights.len(), turn);
    let load = |slot| (flows(slot), weights[slot]);
    if is_less_loaded(load(other), load(one)) {
        other
    } else {
        one
    }
}

/// Two of `n` slots; the same one twice only where there is but one.
#[inline]
fn two_of(n: usize, turn: u32) -> (usize, usize) {
    let random = mixed(turn.into());
    let one = reduce(random << 32, n);
    let distance = 1 + reduce(random & 0xffff_ffff_0000_0000, n.saturating_sub(1).max(1));
    (one, (one + distance) % n)
}

/// `SplitMix64` (Steele et al., 2014): consecutive numbers become independent ones.
#[inline]
fn mixed(turn: u64) -> u64 {
    let z = turn.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slots_are_two_and_every_pair_comes() {
        assert_eq!(two_of(1, 7), (0, 0));
        let mut pairs = [[0_u32; 5]; 5];
        for turn in 0..20_000 {
            let (one, other) = two_of(5, turn);
            pairs[one][other] += 1;
        }
        for (one, others) in pairs.iter().enumerate() {
            for (other, count) in others.iter().enumerate() {
                let expected = if one == other { 0..1 } else { 850..1150 };
                assert!(expected.contains(count), "{one}, {other}: {count}");
            }
        }
    }

    #[test]
    fn the_one_with_fewer_flows_for_its_weight_is_chosen() {
        for turn in 0..100 {
            assert_eq!(choose(&[1, 1], turn, |slot| [5, 4][slot]), 1);
            assert_eq!(choose(&[2, 1], turn, |slot| [7, 4][slot]), 0);
        }
    }

    #[test]
    fn flows_come_close_to_the_weights() {
        // Three slots of one backend, one of another, as the weights 3 and 1 fill them.
        let (weights, backends) = ([3, 3, 1, 3], [0, 0, 1, 0]);
        let mut flows = [0_u64; 2];
        for turn in 0..4000 {
            let slot = choose(&weights, turn, |slot| flows[backends[slot]]);
            flows[backends[slot]] += 1;
        }
        assert!(flows[0].abs_diff(3000) < 20, "{flows:?}");
    }
}
