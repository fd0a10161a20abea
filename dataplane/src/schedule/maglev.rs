//! Maglev's table (Eisenbud et al., NSDI 2016, section 3.4): every backend fills slots in the order
//! of its own permutation, turn by turn, in proportion to its weight.
//!
//! Another forwarder with the same names and weights fills the same table; adding or removing one
//! of *n* backends moves about 1/*n* of the flows, as long as the service has as many in all as one
//! size of table is for.

use super::Candidate;
use crate::tables::id::BackendId;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Table sizes, primes: at least a hundred slots for each backend keep shares within 1 %.
const SIZES: [usize; 7] = [1021, 4093, 16_381, 65_521, 262_139, 1_048_573, 4_194_301];
const SLOTS_PER_BACKEND: usize = 100;

/// One backend's way through the table.
struct Walk<'a> {
    id: BackendId,
    name: &'a str,
    at: usize,
    skip: usize,
    /// Slots that it is behind its share, in units of the largest weight.
    credit: u64,
    weight: u64,
}

/// Fills a table with candidates of a weight above zero, out of `backends` in all; empty for none.
pub(crate) fn fill(candidates: &[&Candidate], backends: usize) -> Box<[BackendId]> {
    let Some(heaviest) = candidates.iter().map(|it| u64::from(it.weight)).max() else {
        return Box::default();
    };
    let size = size_for(backends);
    let mut walks: Vec<Walk<'_>> = candidates.iter().map(|it| walk(it, size)).collect();
    walks.sort_by_key(|walk| walk.name);
    let mut slots: Vec<Option<BackendId>> = vec![None; size];
    let mut filled = 0;
    while filled < size {
        for walk in &mut walks {
            walk.credit += walk.weight;
            if walk.credit < heaviest || filled == size {
                continue;
            }
            walk.credit -= heaviest;
            while slots[walk.at].is_some() {
                walk.at = (walk.at + walk.skip) % size;
            }
            slots[walk.at] = Some(walk.id);
            filled += 1;
        }
    }
    slots.into_iter().flatten().collect()
}

fn size_for(backends: usize) -> usize {
    let wanted = backends * SLOTS_PER_BACKEND;
    let [.., largest] = SIZES;
    SIZES
        .into_iter()
        .find(|size| *size >= wanted)
        .unwrap_or(largest)
}

fn walk(candidate: &Candidate, size: usize) -> Walk<'_> {
    Walk {
        id: candidate.id,
        name: &candidate.name,
        at: remainder(hash(&candidate.name, 0), size),
        skip: 1 + remainder(hash(&candidate.name, 1), size - 1),
        credit: 0,
        weight: u64::from(candidate.weight),
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
mod tests {
    use super::*;

    fn table(names: &[&str]) -> Vec<String> {
        let candidates: Vec<_> = (0_u16..)
            .zip(names)
            .map(|(id, name)| Candidate {
                id: BackendId(id),
                name: (*name).to_owned(),
                weight: 1,
            })
            .collect();
        let slots = fill(&candidates.iter().collect::<Vec<_>>(), names.len());
        slots
            .iter()
            .map(|id| names[id.index()].to_owned())
            .collect()
    }

    #[test]
    fn shares_are_within_one_percent() {
        let names: Vec<String> = (0..10).map(|index| format!("b{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let slots = table(&names);
        for name in &names {
            let share = slots.iter().filter(|it| it == name).count();
            assert!(share.abs_diff(slots.len() / 10) <= slots.len() / 100);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "nothing in it is unsafe, and it is slow there")]
    fn places_in_a_list_do_not_matter() {
        let names = ["a", "b", "c", "d", "e"];
        let backwards: Vec<&str> = names.iter().rev().copied().collect();
        assert!(table(&names) == table(&backwards));
    }

    #[test]
    #[cfg_attr(miri, ignore = "nothing in it is unsafe, and it is slow there")]
    fn removing_one_of_five_moves_little_else() {
        let before = table(&["a", "b", "c", "d", "e"]);
        let after = table(&["a", "b", "d", "e"]);
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| *before != "c" && before != after)
            .count();
        assert!(
            moved * 100 < before.len() * 15,
            "{moved} of {}",
            before.len()
        );
    }
}
