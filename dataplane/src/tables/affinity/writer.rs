//! The half of the affinity table that the control thread writes.
//!
//! It stores what it is told: who may start, extend or end is decided before, by the master table.
//! A change costs one small bucket and one atomic store.

use super::{
    AffinityTable,
    cell::{Cell, CellId, CellView, Grant},
    directory::{BucketFull, DirectoryWriter, Entry},
    family::{Family, Query, Ranks, V4, V6, rank_of},
    source::Source,
    value::Value,
};
use crate::{
    clock::Millis,
    limits,
    rcu::{Domain, Generation, Limbo},
    sync::{Arc, Ordering},
    tables::id::{BackendId, ServiceId},
};
use std::{collections::VecDeque, net::IpAddr};

/// What an affinity binds: a source, as far as it addresses one service (contract rule R6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AffinityKey {
    /// The service.
    pub service: ServiceId,
    /// The client's side.
    pub source: Source,
}

/// Why a start could not be stored. Nothing is ever evicted for it (contract rule R7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Every place is taken.
    #[error("the affinity table is full: {0} affinities")]
    Full(usize),
    /// A worker has not reported for so long that memory cannot be reclaimed.
    #[error("a worker has stopped reporting: {0} changes wait for it")]
    Waiting(usize),
}

/// An affinity that would decide, as `explain` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its source.
    pub source: Source,
    /// The backend that signalled it.
    pub owner: BackendId,
    /// Its cell.
    pub cell: CellId,
}

/// A cell that nothing new refers to.
#[derive(Debug)]
enum Leaving {
    /// Its affinity was replaced: workers may still find it, and its owner is as right as the new one
    /// (contract rule S2).
    Replaced(u32),
    /// Its affinity has ended: flows may still touch it.
    Ended(u32),
}

/// The one writer of the affinity table.
#[derive(Debug)]
pub struct AffinityWriter {
    table: Arc<AffinityTable>,
    v4: DirectoryWriter<2>,
    v6: DirectoryWriter<4>,
    free: VecDeque<u32>,
    untouched: u32,
    leaving: Limbo<Leaving>,
    capacity: usize,
    /// For each service: how many affinities each rank has, IPv4 then IPv6.
    counts: Vec<Option<Box<[[u32; 130]; 2]>>>,
}

impl AffinityWriter {
    pub(super) fn new(
        table: Arc<AffinityTable>,
        domain: &Arc<Domain>,
        capacity: usize,
        v4: DirectoryWriter<2>,
        v6: DirectoryWriter<4>,
    ) -> Self {
        Self {
            table,
            v4,
            v6,
            free: VecDeque::new(),
            untouched: 0,
            leaving: Limbo::new(domain),
            capacity,
            counts: (0..limits::SERVICES).map(|_| None).collect(),
        }
    }

    /// Stores a new affinity, or one in place of `instead`, which has the same key.
    pub fn start(
        &mut self,
        key: &AffinityKey,
        owner: BackendId,
        generation: u32,
        grant: Grant,
        instead: Option<CellId>,
    ) -> Result<CellId, Refused> {
        if instead.is_none() && self.len() >= self.capacity {
            return Err(Refused::Full(self.capacity));
        }
        let index = self.take_cell()?;
        self.table.cells[index as usize].start(grant, generation);
        if self
            .put(key, Value::new(owner, index, grant.deadline))
            .is_err()
        {
            self.free_cell(index);
            return Err(Refused::Full(self.capacity));
        }
        match instead {
            Some(old) => self.leaving.retire(Leaving::Replaced(old.index)),
            None => self.count(key, 1),
        }
        Ok(CellId { index, generation })
    }

    /// Takes an affinity out: the next new flow is balanced.
    pub fn end(&mut self, key: &AffinityKey, cell: CellId) {
        self.cell(cell).end();
        match key.source.address() {
            IpAddr::V4(_) => self.v4.remove(&key4(key)),
            IpAddr::V6(_) => self.v6.remove(&key6(key)),
        }
        self.count(key, -1);
        self.free_cell(cell.index);
    }

    /// Takes it out if its deadline has come; else says when that is.
    pub fn expire(&mut self, key: &AffinityKey, cell: CellId, now: Millis) -> Result<(), Millis> {
        self.cell(cell).expire(now)?;
        self.end(key, cell);
        Ok(())
    }

    /// Puts the deadline at `deadline`, or leaves it where it is later; returns what it is.
    pub fn extend(&mut self, cell: CellId, deadline: Millis) -> Millis {
        self.cell(cell).extend(deadline)
    }

    /// Puts the deadline at `deadline`, or leaves it where it is earlier; packets extend it from there
    /// as [`Self::set_extension`] has said before.
    pub fn lower(&mut self, key: &AffinityKey, cell: CellId, deadline: Millis) {
        // First what workers take for sure: that is never later than the deadline.
        if self.cell(cell).deadline() > deadline {
            self.assure(key, deadline);
        }
        self.cell(cell).lower(deadline);
    }

    /// Changes how packets extend it: by `duration_ms` (0: not at all), never beyond `limit`.
    pub fn set_extension(&mut self, cell: CellId, duration_ms: u32, limit: Option<Millis>) {
        self.cell(cell).set_extension(duration_ms, limit);
    }

    /// Asks for the memory that changes of these keys need.
    pub fn ask_for(&self, keys: &[AffinityKey]) {
        for word in [true, false] {
            for key in keys {
                match key.source.address() {
                    IpAddr::V4(_) => self.v4.ask_for(&key4(key), word),
                    IpAddr::V6(_) => self.v6.ask_for(&key6(key), word),
                }
            }
        }
    }

    /// What an operator sees of it.
    #[must_use]
    pub fn view(&self, cell: CellId) -> CellView {
        self.cell(cell).view()
    }

    /// The affinity that would decide about a new flow from this client at `now`.
    #[must_use]
    pub fn find(
        &self,
        service: ServiceId,
        address: IpAddr,
        port: u16,
        now: Millis,
    ) -> Option<Found> {
        let (mut ranks, bits) = match address {
            IpAddr::V4(_) => (Ranks([self.table.ranks4(service), 0, 0]), 32),
            IpAddr::V6(_) => (Ranks(self.table.ranks6(service)), 128),
        };
        std::iter::from_fn(|| ranks.pop()).find_map(|rank| {
            let word = self.get(service, address, port, rank)?;
            let hit = self.table.alive(Value(word), now)?;
            Some(Found {
                source: source_of(address, port, bits, rank)?,
                owner: hit.owner(),
                cell: self.table.cell_of(hit),
            })
        })
    }

    /// Tells workers until when it routes for sure.
    fn assure(&mut self, key: &AffinityKey, deadline: Millis) {
        let stored = match key.source.address() {
            IpAddr::V4(_) => self.v4.get(&key4(key)),
            IpAddr::V6(_) => self.v6.get(&key6(key)),
        };
        let Some(value) = stored.map(Value) else {
            return;
        };
        let stored = self.put(key, value.until(deadline));
        debug_assert!(stored.is_ok(), "a bucket that grows by nothing");
    }

    /// Stores what workers read of it, in place of what they have read.
    fn put(&mut self, key: &AffinityKey, value: Value) -> Result<(), BucketFull> {
        match key.source.address() {
            IpAddr::V4(_) => self.v4.put(&with_value(&key4(key), value)),
            IpAddr::V6(_) => self.v6.put(&with_value(&key6(key), value)),
        }
    }

    fn get(&self, service: ServiceId, address: IpAddr, port: u16, rank: u8) -> Option<u64> {
        match address {
            IpAddr::V4(v4) => self.v4.get(&V4::key(
                &Query {
                    service,
                    source: v4.to_bits(),
                    port,
                },
                V4::kind(rank),
            )),
            IpAddr::V6(v6) => self.v6.get(&V6::key(
                &Query {
                    service,
                    source: v6.to_bits(),
                    port,
                },
                V6::kind(rank),
            )),
        }
    }

    /// Affinities that are stored, expired ones that were not collected yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether none is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Affinities at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Changes whose memory waits until every worker has passed them.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.v4.waiting() + self.v6.waiting() + self.leaving.len()
    }

    /// Bytes of what workers read.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let cells = self.len() * size_of::<Cell>();
        self.v4.bytes() + self.v6.bytes() + cells
    }

    pub(crate) fn reclaim(&mut self, passed: Generation) {
        self.v4.reclaim(passed);
        self.v6.reclaim(passed);
        while let Some(leaving) = self.leaving.reclaim(passed) {
            match leaving {
                Leaving::Replaced(cell) => self.free_cell(cell),
                Leaving::Ended(cell) => self.free.push_back(cell),
            }
        }
    }

    /// A cell by the name that a start gave it; who uses the name after the end breaks another's.
    fn cell(&self, id: CellId) -> &Cell {
        let cell = self.table.cell(id);
        debug_assert_eq!(cell.generation(), id.generation, "another's cell");
        cell
    }

    fn take_cell(&mut self) -> Result<u32, Refused> {
        let waiting = self.waiting();
        if waiting > limits::WAITING_BUCKETS {
            return Err(Refused::Waiting(waiting));
        }
        if (self.untouched as usize) < self.table.cells.len() {
            self.untouched += 1;
            return Ok(self.untouched - 1);
        }
        self.free.pop_front().ok_or(Refused::Waiting(waiting))
    }

    /// Gives the cell to nobody until every worker has let go of it.
    fn free_cell(&mut self, index: u32) {
        self.table.cells[index as usize].end();
        self.leaving.retire(Leaving::Ended(index));
    }

    /// Counts the key's rank up or down, and shows workers a rank's first or hides its last.
    fn count(&mut self, key: &AffinityKey, by: i32) {
        let (family, bits) = match key.source.address() {
            IpAddr::V4(_) => (0, 32),
            IpAddr::V6(_) => (1, 128),
        };
        let rank = rank_of(bits, key.source.prefix(), key.source.port().is_some());
        let counts =
            self.counts[key.service.index()].get_or_insert_with(|| Box::new([[0; 130]; 2]));
        let count = &mut counts[family][usize::from(rank)];
        *count = count.saturating_add_signed(by);
        let shown = &self.table.ranks[key.service.index()];
        let word = match family {
            0 => &shown.v4,
            _ => &shown.v6[usize::from(rank / 64)],
        };
        let bit = 1 << (rank % 64);
        let bits = word.load(Ordering::Relaxed);
        let bits = if *count > 0 { bits | bit } else { bits & !bit };
        word.store(bits, Ordering::Release);
    }
}

fn key4(key: &AffinityKey) -> [u64; 2] {
    let source = match key.source.address() {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(_) => 0,
    };
    let (port, rank) = port_and_rank(key, 32);
    V4::key(
        &Query {
            service: key.service,
            source,
            port,
        },
        V4::kind(rank),
    )
}

fn key6(key: &AffinityKey) -> [u64; 4] {
    let source = match key.source.address() {
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let (port, rank) = port_and_rank(key, 128);
    V6::key(
        &Query {
            service: key.service,
            source,
            port,
        },
        V6::kind(rank),
    )
}

fn port_and_rank(key: &AffinityKey, bits: u8) -> (u16, u8) {
    let port = key.source.port();
    (
        port.map_or(0, std::num::NonZeroU16::get),
        rank_of(bits, key.source.prefix(), port.is_some()),
    )
}

fn with_value<const W: usize>(key: &Entry<W>, value: Value) -> Entry<W> {
    let mut entry = *key;
    entry[W - 1] |= value.0;
    entry
}

/// The source that a key of this rank names.
fn source_of(address: IpAddr, port: u16, bits: u8, rank: u8) -> Option<Source> {
    if rank == 0 {
        return Source::host_port(address, port.try_into().ok()?).ok();
    }
    Source::subnet(address, bits - (rank - 1)).ok()
}
