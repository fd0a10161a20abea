//! The affinity table: which source sticks to which backend.
//!
//! Read by every worker for every new flow, written by the control thread. Keys of all three kinds
//! (address and port, address, subnet) are in one directory per address family; a service says
//! which kinds occur, so that a lookup makes only the probes that can hit. What changes without a
//! swap (deadline, hits, flows) is in a cell beside the buckets.
//!
//! A lookup of a client without an affinity reads one word for each kind that its service has, and
//! nothing where it has none (contract rule R10).

pub(crate) mod cell;
pub(crate) mod directory;
pub(crate) mod family;
#[cfg(test)]
mod model;
pub(crate) mod source;
mod writer;

pub use cell::{CellId, CellView, Grant};
pub use source::{Source, SourceError};
pub use writer::{AffinityKey, AffinityWriter, Found, Refused};

use crate::{
    clock::Millis,
    limits,
    port::BURST,
    rcu::Guard,
    simd::prefetch,
    sync::{Arc, AtomicU64, Ordering},
    tables::id::{BackendId, ServiceId},
};
use arrayvec::ArrayVec;
use cell::Cell;
use directory::{Directory, Entry};
pub(crate) use family::Query;
use family::{Family, Ranks, V4, V6, owner_and_cell};

/// An affinity that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The backend that signalled it.
    pub(crate) owner: BackendId,
    /// Its cell.
    pub(crate) cell: CellId,
}

/// One answer for each query of a burst.
pub(crate) type Hits = ArrayVec<Option<Hit>, BURST>;

/// The half that workers read, and whose cells they extend.
#[derive(Debug)]
pub(crate) struct AffinityTable {
    v4: Arc<Directory<2>>,
    v6: Arc<Directory<4>>,
    keys: crate::hash::HashKeys,
    cells: Box<[Cell]>,
    ranks: Box<[ServiceRanks]>,
}

/// Which kinds of key one service has.
#[derive(Debug)]
struct ServiceRanks {
    v4: AtomicU64,
    v6: [AtomicU64; 3],
}

impl ServiceRanks {
    fn new() -> Self {
        Self {
            v4: AtomicU64::new(0),
            v6: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl AffinityTable {
    /// Looks up a burst of IPv4 sources: the most specific affinity of each that routes at `now`.
    pub(crate) fn lookup4(
        &self,
        guard: Guard<'_>,
        now: Millis,
        queries: &[Query<u32>],
        hits: &mut Hits,
    ) {
        let ranks = |query: &Query<u32>| Ranks([self.ranks4(query.service), 0, 0]);
        self.lookup::<V4, 2>(&self.v4, guard, now, queries, ranks, hits);
    }

    /// Looks up a burst of IPv6 sources.
    pub(crate) fn lookup6(
        &self,
        guard: Guard<'_>,
        now: Millis,
        queries: &[Query<u128>],
        hits: &mut Hits,
    ) {
        let ranks = |query: &Query<u128>| Ranks(self.ranks6(query.service));
        self.lookup::<V6, 4>(&self.v6, guard, now, queries, ranks, hits);
    }

    /// The cell that a flow remembers.
    #[inline]
    pub(crate) fn cell(&self, id: CellId) -> &Cell {
        &self.cells[id.index as usize]
    }

    /// Asks for that cell's line.
    #[inline]
    pub(crate) fn prefetch_cell(&self, id: CellId) {
        prefetch(&raw const self.cells[id.index as usize]);
    }

    fn ranks4(&self, service: ServiceId) -> u64 {
        self.ranks[service.index()].v4.load(Ordering::Acquire)
    }

    fn ranks6(&self, service: ServiceId) -> [u64; 3] {
        let [a, b, c] = &self.ranks[service.index()].v6;
        [a, b, c].map(|word| word.load(Ordering::Acquire))
    }

    /// One round for each kind of key: hash all and prefetch the words, read all words and prefetch the
    /// buckets, compare and prefetch the cells, check the cells.
    fn lookup<F: Family<W>, const W: usize>(
        &self,
        directory: &Directory<W>,
        guard: Guard<'_>,
        now: Millis,
        queries: &[Query<F::Address>],
        ranks: impl Fn(&Query<F::Address>) -> Ranks,
        hits: &mut Hits,
    ) {
        hits.clear();
        let root = directory.root(guard);
        let mut probes: ArrayVec<Probe<W>, BURST> = ArrayVec::new();
        for (index, query) in (0_u8..).zip(queries) {
            hits.push(None);
            let ranks = ranks(query);
            probes.extend(self.probe::<F, W>(root, query, index, ranks));
        }
        while !probes.is_empty() {
            self.look_into(root, now, &probes, hits);
            let missed = probes.take();
            let missed = missed
                .iter()
                .filter(|it| hits[usize::from(it.index)].is_none());
            probes.extend(missed.filter_map(|it| {
                let query = &queries[usize::from(it.index)];
                self.probe::<F, W>(root, query, it.index, it.broader)
            }));
        }
    }

    /// What is looked for first of a query, with its word asked for.
    #[inline]
    fn probe<F: Family<W>, const W: usize>(
        &self,
        root: &directory::Root<W>,
        query: &Query<F::Address>,
        index: u8,
        mut ranks: Ranks,
    ) -> Option<Probe<W>> {
        let key = F::key(query, ranks.pop()?);
        let hash = F::hash(&self.keys, &key);
        root.prefetch(hash);
        Some(Probe {
            key,
            hash,
            broader: ranks,
            index,
        })
    }

    /// One probe for each query, all of them stage by stage.
    #[inline]
    fn look_into<const W: usize>(
        &self,
        root: &directory::Root<W>,
        now: Millis,
        probes: &[Probe<W>],
        hits: &mut Hits,
    ) {
        let mut words: ArrayVec<_, BURST> = ArrayVec::new();
        for probe in probes {
            words.extend(root.promising(probe.hash).map(|word| (word, probe)));
        }
        let mut found: ArrayVec<(u8, (BackendId, u32)), BURST> = ArrayVec::new();
        for (word, probe) in words {
            if let Some(value) = word.find(&probe.key) {
                let (owner, cell) = owner_and_cell(value);
                prefetch(&raw const self.cells[cell as usize]);
                found.push((probe.index, (owner, cell)));
            }
        }
        for (index, found) in found {
            hits[usize::from(index)] = self.alive(found, now);
        }
    }

    /// The hit, unless its deadline has come.
    #[inline]
    fn alive(&self, (owner, index): (BackendId, u32), now: Millis) -> Option<Hit> {
        let cell = &self.cells[index as usize];
        cell.routes(now).then(|| Hit {
            owner,
            cell: CellId {
                index,
                generation: cell.generation(),
            },
        })
    }
}

/// One key of one query.
#[derive(Debug)]
struct Probe<const W: usize> {
    key: Entry<W>,
    hash: u64,
    /// What is looked for where this misses.
    broader: Ranks,
    /// Of its query.
    index: u8,
}

/// Makes an empty table for at most `capacity` affinities, and its writer.
pub(crate) fn affinities(
    domain: &Arc<crate::rcu::Domain>,
    capacity: usize,
) -> (Arc<AffinityTable>, AffinityWriter) {
    let capacity = capacity.min(limits::AFFINITIES);
    let keys = crate::hash::HashKeys::random();
    let v4 = directory::DirectoryWriter::new(domain, keys, V4::hash);
    let v6 = directory::DirectoryWriter::new(domain, keys, V6::hash);
    let table = Arc::new(AffinityTable {
        v4: Arc::clone(v4.directory()),
        v6: Arc::clone(v6.directory()),
        keys,
        cells: (0..capacity + limits::LEAVING_AFFINITIES)
            .map(|_| Cell::new())
            .collect(),
        ranks: (0..limits::SERVICES).map(|_| ServiceRanks::new()).collect(),
    });
    let writer = AffinityWriter::new(Arc::clone(&table), domain, capacity, v4, v6);
    (table, writer)
}
