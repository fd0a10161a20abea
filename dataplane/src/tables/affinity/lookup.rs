//! Looking up a burst: every loop asks for the memory that the next one reads.

use super::{
    AffinityTable, Hit, Hits,
    directory::{Directory, Entry, Root, Word},
    family::{Family, Query, Ranks},
    value::{Minute, Value},
};
use crate::{clock::Millis, port::BURST, rcu::Guard, simd::prefetch, tables::id::ServiceId};
use arrayvec::ArrayVec;

/// One key of one query.
#[derive(Clone, Copy, Debug)]
struct Probe<'a, const W: usize, const R: usize> {
    key: Entry<W>,
    hash: u64,
    /// Where an entry with the key would be, once that is read.
    word: Word<'a, W>,
    /// What is looked for where this misses.
    broader: Ranks<R>,
    /// Of its query.
    index: u8,
}

/// The probes of a burst, at most one for each query.
type Probes<'a, const W: usize, const R: usize> = ArrayVec<Probe<'a, W, R>, BURST>;

/// No hit for any query of a burst.
const NONE: [Option<Hit>; BURST] = [None; BURST];

impl AffinityTable {
    /// One round for each kind of key, the most specific first.
    pub(super) fn lookup<F: Family<W, R>, const W: usize, const R: usize>(
        &self,
        directory: &Directory<W>,
        guard: Guard<'_>,
        now: Millis,
        queries: &[Query<F::Address>],
        ranks: impl Fn(ServiceId) -> Ranks<R>,
        hits: &mut Hits,
    ) {
        hits.clear();
        hits.try_extend_from_slice(&NONE[..queries.len()])
            .expect("hits of as many as a burst");
        let root = directory.root(guard);
        let mut probes = Probes::new();
        let (mut index, mut is_last) = (0, true);
        // Those of nearly all queries of a burst are the same.
        for run in queries.chunk_by(|one, next| one.service == next.service) {
            let mut broader = ranks(run[0].service);
            let kind = broader.pop().map(F::kind);
            is_last &= broader.is_empty();
            for query in run {
                if let Some(kind) = kind {
                    probes.push(self.probe::<F, W, R>(root, query, index, kind, broader));
                }
                index += 1;
            }
        }
        self.look_into(root, now, &mut probes, hits);
        if !is_last {
            self.look_for_broader::<F, W, R>(root, now, queries, &mut probes, hits);
        }
    }

    /// Looks for the broader keys of those that have missed.
    fn look_for_broader<'a, F: Family<W, R>, const W: usize, const R: usize>(
        &self,
        root: &'a Root<W>,
        now: Millis,
        queries: &[Query<F::Address>],
        probes: &mut Probes<'a, W, R>,
        hits: &mut Hits,
    ) {
        while !probes.is_empty() {
            probes.retain(|it| {
                let mut broader = it.broader;
                let is_missing = hits[usize::from(it.index)].is_none();
                let next = is_missing.then(|| broader.pop()).flatten();
                if let Some(rank) = next {
                    let (query, kind) = (&queries[usize::from(it.index)], F::kind(rank));
                    *it = self.probe::<F, W, R>(root, query, it.index, kind, broader);
                }
                next.is_some()
            });
            self.look_into(root, now, probes, hits);
        }
    }

    /// What is looked for of a query, with its word asked for.
    #[inline]
    fn probe<'a, F: Family<W, R>, const W: usize, const R: usize>(
        &self,
        root: &'a Root<W>,
        query: &Query<F::Address>,
        index: u8,
        kind: F::Kind,
        broader: Ranks<R>,
    ) -> Probe<'a, W, R> {
        let key = F::key(query, kind);
        let hash = F::hash(&self.keys, &key);
        root.prefetch(hash);
        Probe {
            key,
            hash,
            word: Word::EMPTY,
            broader,
            index,
        }
    }

    /// All probes, stage by stage: reads the words and asks for the buckets; compares, and asks for the cells
    /// of those that do not route for sure; reads those.
    #[inline]
    fn look_into<'a, const W: usize, const R: usize>(
        &self,
        root: &'a Root<W>,
        now: Millis,
        probes: &mut [Probe<'a, W, R>],
        hits: &mut Hits,
    ) {
        let mut places = [0; BURST];
        let promising = promising(root, probes, &mut places);
        let minute = Minute::of(now);
        let mut unsure: ArrayVec<(Value, u8), BURST> = ArrayVec::new();
        for place in promising {
            let probe = &probes[usize::from(*place)];
            if let Some(value) = probe.word.find(&probe.key).map(Value) {
                hits[usize::from(probe.index)] = Some(value.into());
                if !value.surely_routes(minute) {
                    prefetch(&raw const self.cells[value.cell() as usize]);
                    unsure.push((value, probe.index));
                }
            }
        }
        for (value, index) in &unsure {
            hits[usize::from(*index)] = self.alive(*value, now);
        }
    }
}

/// Reads the words, and asks for the buckets that may hold the keys; gives the places of those probes.
#[inline]
fn promising<'a, 'b, const W: usize, const R: usize>(
    root: &'a Root<W>,
    probes: &mut [Probe<'a, W, R>],
    places: &'b mut [u8; BURST],
) -> &'b [u8] {
    let mut count = 0;
    for (place, probe) in (0..).zip(probes) {
        probe.word = root.word(probe.hash);
        places[count] = place;
        if probe.word.may_hold(probe.hash) {
            probe.word.prefetch();
            count += 1;
        }
    }
    &places[..count]
}
