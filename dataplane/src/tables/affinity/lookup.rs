//! Looking up a burst: every loop asks for the memory that the next one reads.

use super::{
    AffinityTable, Hits,
    directory::{Directory, Entry, Root},
    family::{Family, Query, Ranks, owner_and_cell},
};
use crate::{clock::Millis, port::BURST, rcu::Guard, simd::prefetch};
use arrayvec::ArrayVec;

/// One key of one query.
#[derive(Clone, Copy, Debug)]
struct Probe<const W: usize, const R: usize> {
    key: Entry<W>,
    hash: u64,
    /// What is looked for where this misses.
    broader: Ranks<R>,
    /// Of its query.
    index: u8,
}

/// The probes of a burst, at most one for each query.
type Probes<const W: usize, const R: usize> = ArrayVec<Probe<W, R>, BURST>;

/// What queries are looked for by, where the ranks of their services are these: those of nearly all
/// queries of a burst are the same.
struct Plan<const R: usize, K> {
    ranks: Ranks<R>,
    first: Option<K>,
    broader: Ranks<R>,
}

impl<const R: usize, K> Plan<R, K> {
    fn of<F: Family<W, R, Kind = K>, const W: usize>(ranks: Ranks<R>) -> Self {
        let mut broader = ranks;
        Self {
            ranks,
            first: broader.pop().map(F::kind),
            broader,
        }
    }
}

impl AffinityTable {
    /// One round for each kind of key, the most specific first.
    pub(super) fn lookup<F: Family<W, R>, const W: usize, const R: usize>(
        &self,
        directory: &Directory<W>,
        guard: Guard<'_>,
        now: Millis,
        queries: &[Query<F::Address>],
        ranks: impl Fn(&Query<F::Address>) -> Ranks<R>,
        hits: &mut Hits,
    ) {
        hits.clear();
        hits.extend(queries.iter().map(|_| None));
        let root = directory.root(guard);
        let mut probes = Probes::new();
        let mut plan = Plan::of::<F, W>(Ranks([0; R]));
        let mut is_last = true;
        for (index, query) in (0_u8..).zip(queries) {
            let ranks = ranks(query);
            if ranks != plan.ranks {
                plan = Plan::of::<F, W>(ranks);
                is_last &= plan.broader.is_empty();
            }
            if let Some(kind) = plan.first {
                probes.push(self.probe::<F, W, R>(root, query, index, kind, plan.broader));
            }
        }
        self.look_into(root, now, &probes, hits);
        if !is_last {
            self.look_for_broader::<F, W, R>(root, now, queries, &mut probes, hits);
        }
    }

    /// Looks for the broader keys of those that have missed.
    fn look_for_broader<F: Family<W, R>, const W: usize, const R: usize>(
        &self,
        root: &Root<W>,
        now: Millis,
        queries: &[Query<F::Address>],
        probes: &mut Probes<W, R>,
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
    fn probe<F: Family<W, R>, const W: usize, const R: usize>(
        &self,
        root: &Root<W>,
        query: &Query<F::Address>,
        index: u8,
        kind: F::Kind,
        broader: Ranks<R>,
    ) -> Probe<W, R> {
        let key = F::key(query, kind);
        let hash = F::hash(&self.keys, &key);
        root.prefetch(hash);
        Probe {
            key,
            hash,
            broader,
            index,
        }
    }

    /// All probes, stage by stage: reads the words and asks for the buckets, compares and asks for the
    /// cells, reads the cells.
    #[inline]
    fn look_into<const W: usize, const R: usize>(
        &self,
        root: &Root<W>,
        now: Millis,
        probes: &[Probe<W, R>],
        hits: &mut Hits,
    ) {
        let mut words: ArrayVec<_, BURST> = ArrayVec::new();
        for probe in probes {
            if let Some(word) = root.promising(probe.hash) {
                words.push((word, probe));
            }
        }
        let mut found: ArrayVec<(u64, u8), BURST> = ArrayVec::new();
        for (word, probe) in &words {
            if let Some(value) = word.find(&probe.key) {
                let (_, cell) = owner_and_cell(value);
                prefetch(&raw const self.cells[cell as usize]);
                found.push((value, probe.index));
            }
        }
        for (value, index) in &found {
            hits[usize::from(*index)] = self.alive(*value, now);
        }
    }
}
