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
mod lookup;
#[cfg(test)]
mod model;
pub(crate) mod source;
mod value;
mod writer;

pub use cell::{CellId, CellView, Grant};
pub use source::{Source, SourceError};
pub use writer::{AffinityKey, AffinityWriter, Found, Refused};

use crate::{
    clock::Millis,
    huge, limits,
    port::BURST,
    rcu::Guard,
    simd::prefetch,
    sync::{Arc, AtomicU64, Ordering},
    tables::id::{BackendId, ServiceId},
};
use arrayvec::ArrayVec;
use cell::Cell;
use directory::Directory;
pub(crate) use family::Query;
use family::{Family, Ranks, V4, V6};
use std::num::NonZero;
use value::Value;

/// An affinity that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit(NonZero<u64>);

impl Hit {
    /// A bit that no value has.
    const MARK: NonZero<u64> = NonZero::new(1 << 63).expect("a bit");

    /// The backend that signalled it.
    #[inline]
    pub(crate) fn owner(self) -> BackendId {
        Value(self.0.get()).owner()
    }

    /// The place of its cell, which is this affinity's until the worker reports.
    #[inline]
    pub(crate) fn cell(self) -> u32 {
        Value(self.0.get()).cell()
    }
}

impl From<Value> for Hit {
    #[inline]
    fn from(value: Value) -> Self {
        Self(Self::MARK | value.0)
    }
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
        let ranks = |service| Ranks([self.ranks4(service)]);
        self.lookup::<V4, 2, 1>(&self.v4, guard, now, queries, ranks, hits);
    }

    /// Looks up a burst of IPv6 sources.
    pub(crate) fn lookup6(
        &self,
        guard: Guard<'_>,
        now: Millis,
        queries: &[Query<u128>],
        hits: &mut Hits,
    ) {
        let ranks = |service| Ranks(self.ranks6(service));
        self.lookup::<V6, 4, 3>(&self.v6, guard, now, queries, ranks, hits);
    }

    /// The cell that a flow remembers.
    #[inline]
    pub(crate) fn cell(&self, id: CellId) -> &Cell {
        &self.cells[id.index as usize]
    }

    /// Asks for the line of the cell in this place.
    #[inline]
    pub(crate) fn prefetch_cell(&self, index: u32) {
        prefetch(&raw const self.cells[index as usize]);
    }

    /// What a flow that a hit places remembers of it.
    #[inline]
    pub(crate) fn cell_of(&self, hit: Hit) -> CellId {
        CellId {
            index: hit.cell(),
            generation: self.cells[hit.cell() as usize].generation(),
        }
    }

    fn ranks4(&self, service: ServiceId) -> u64 {
        self.ranks[service.index()].v4.load(Ordering::Acquire)
    }

    fn ranks6(&self, service: ServiceId) -> [u64; 3] {
        let [a, b, c] = &self.ranks[service.index()].v6;
        [a, b, c].map(|word| word.load(Ordering::Acquire))
    }

    /// The hit, unless its deadline has come.
    #[inline]
    fn alive(&self, value: Value, now: Millis) -> Option<Hit> {
        let cell = &self.cells[value.cell() as usize];
        cell.routes(now).then(|| value.into())
    }
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
        cells: huge::slice(capacity + limits::LEAVING_AFFINITIES, |_| Cell::new()),
        ranks: (0..limits::SERVICES).map(|_| ServiceRanks::new()).collect(),
    });
    let writer = AffinityWriter::new(Arc::clone(&table), domain, capacity, v4, v6);
    (table, writer)
}
