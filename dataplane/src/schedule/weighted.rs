//! Smooth weighted round-robin: a sequence in which every backend stands as often as its weight,
//! spread out (the method of nginx).

use super::Candidate;
use crate::tables::id::BackendId;

/// The longest sequence; larger weights are scaled down to it.
const LONGEST: u64 = 65_536;

/// The sequence of one round; empty for no candidates.
pub(crate) fn fill(candidates: &[&Candidate]) -> Box<[BackendId]> {
    let weights = scaled(candidates);
    let total: i64 = weights.iter().sum();
    let mut current = vec![0; weights.len()];
    (0..total)
        .filter_map(|_| {
            for (credit, weight) in current.iter_mut().zip(&weights) {
                *credit += weight;
            }
            let (first, _) = current
                .iter()
                .enumerate()
                .max_by_key(|(index, credit)| (**credit, std::cmp::Reverse(*index)))?;
            current[first] -= total;
            Some(candidates[first].id)
        })
        .collect()
}

/// The weights without their common divisor, and small enough for the longest sequence.
fn scaled(candidates: &[&Candidate]) -> Vec<i64> {
    let weights = || candidates.iter().map(|it| u64::from(it.weight));
    let divisor = weights().fold(0, greatest_common_divisor).max(1);
    let total: u64 = weights().map(|weight| weight / divisor).sum();
    let shrink = total.div_ceil(LONGEST).max(1);
    weights()
        .map(|weight| i64::try_from((weight / divisor / shrink).max(1)).unwrap_or(1))
        .collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}
