//! Where the planes meet: the tables that are published, the counters that come back, the
//! questions that a worker answers between two bursts, and the seat from which a worker is started.

use crate::{
    clock::Millis,
    counters::{Counters, CountersView},
    limits,
    rcu::{self, Generation, Limbo, Published, Publisher, Reader, Retired},
    sessions::Slab,
    sync::Arc,
    tables::{
        Tables, TablesError, TablesSpec,
        affinity::{AffinityTable, AffinityWriter, affinities},
        id::{BackendId, LocalId},
        pool::{PoolSpec, Pools},
    },
};
use crossbeam_queue::ArrayQueue;
use std::sync::atomic::{AtomicBool, Ordering};

pub use crate::inspect::{Answer, FlowFilter, FlowView, Question};

/// Questions that may wait for one worker.
const QUESTIONS: usize = 4;

/// What a worker and the control thread share besides what is published.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) counters: Counters,
    pub(crate) questions: ArrayQueue<Question>,
    pub(crate) answers: ArrayQueue<Answer>,
    /// Ports of local addresses on their way to the worker, there before the tables that have them.
    pub(crate) slabs: ArrayQueue<(LocalId, Slab)>,
    pub(crate) stop: AtomicBool,
}

impl Desk {
    fn new() -> Self {
        Self {
            counters: Counters::new(),
            questions: ArrayQueue::new(QUESTIONS),
            answers: ArrayQueue::new(QUESTIONS),
            slabs: ArrayQueue::new(limits::LOCAL_ADDRESSES),
            stop: AtomicBool::new(false),
        }
    }
}

/// What a worker is made of, to be moved to its thread.
#[derive(Debug)]
pub struct Seat {
    pub(crate) reader: Reader,
    pub(crate) tables: Arc<Published<Arc<Tables>>>,
    pub(crate) affinities: Arc<AffinityTable>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) place: usize,
    /// How many workers there are.
    pub(crate) workers: usize,
}

/// The control plane's side: writes the tables, reads the counters, asks and stops the workers.
#[derive(Debug)]
pub struct Writer {
    publisher: Publisher,
    published: Arc<Published<Arc<Tables>>>,
    tables: Arc<Tables>,
    old_tables: Limbo<Retired<Arc<Tables>>>,
    affinities: AffinityWriter,
    desks: Vec<Arc<Desk>>,
}

/// What the control plane sees of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// The generation that it has passed; `None` once it has stopped.
    pub seen: Option<Generation>,
    /// Its counters.
    pub counters: CountersView,
}

/// Makes the tables of a data plane with `workers` workers and room for `capacity` affinities.
pub fn data_plane(
    spec: &TablesSpec,
    workers: usize,
    capacity: usize,
) -> Result<(Writer, Vec<Seat>), TablesError> {
    let tables = Arc::new(Tables::build(spec, None)?);
    let (publisher, readers) = rcu::domain(workers);
    let (affinity_table, writer) = affinities(publisher.domain(), capacity);
    let shared = Arc::new(Published::new(publisher.domain(), Arc::clone(&tables)));
    let desks: Vec<_> = readers.iter().map(|_| Arc::new(Desk::new())).collect();
    bring_slabs(&desks, &tables, 0);
    let seats = readers.into_iter().zip(&desks).enumerate();
    let seats = seats.map(|(place, (reader, desk))| Seat {
        reader,
        tables: Arc::clone(&shared),
        affinities: Arc::clone(&affinity_table),
        desk: Arc::clone(desk),
        place,
        workers,
    });
    let seats = seats.collect();
    let writer = Writer {
        old_tables: Limbo::new(publisher.domain()),
        publisher,
        published: shared,
        tables,
        affinities: writer,
        desks,
    };
    Ok((writer, seats))
}

/// Brings every worker its ports of the local addresses beyond the first `known`: a worker takes no
/// memory itself. The queue has room for every address that there can be.
fn bring_slabs(desks: &[Arc<Desk>], tables: &Tables, known: usize) {
    for (local, spec) in tables.pools.numbered().skip(known) {
        for (place, desk) in desks.iter().enumerate() {
            let slab = Slab::new(spec.ports, place, desks.len());
            let brought = desk.slabs.push((local, slab));
            debug_assert!(brought.is_ok(), "there is room for every address");
        }
    }
}

impl Writer {
    /// The tables that were published last.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Whether the local addresses of a new description can be had beside those that there are.
    pub fn check_pools(&self, specs: &[PoolSpec]) -> Result<(), TablesError> {
        Pools::new(specs, Some(&self.tables.pools)).map(drop)
    }

    /// Builds tables from a new description and swaps them in; on an error nothing has changed.
    pub fn set_tables(&mut self, spec: &TablesSpec) -> Result<(), TablesError> {
        let known = self.tables.pools.numbered().count();
        self.tables = Arc::new(Tables::build(spec, Some(&self.tables))?);
        bring_slabs(&self.desks, &self.tables, known);
        let old = self.published.replace(Arc::clone(&self.tables));
        self.old_tables.retire(old);
        Ok(())
    }

    /// The affinity table, to change.
    pub fn affinities_mut(&mut self) -> &mut AffinityWriter {
        &mut self.affinities
    }

    /// The affinity table.
    #[must_use]
    pub fn affinities(&self) -> &AffinityWriter {
        &self.affinities
    }

    /// Ends one turn's changes: from here on every packet that arrives is routed by them (contract
    /// rule S1). Takes back what every worker has passed; waits for none.
    pub fn publish(&mut self) -> Generation {
        let generation = self.publisher.advance();
        self.reclaim();
        generation
    }

    /// As [`Self::publish`], before there are workers: those that will take these seats have read
    /// nothing yet. So a table of any size can be built without waiting for them.
    pub fn settle(&mut self, seats: &mut [Seat]) -> Generation {
        let generation = self.publisher.advance();
        for seat in seats {
            seat.reader.quiescent();
        }
        self.reclaim();
        generation
    }

    /// Takes back the memory that every worker has passed.
    pub fn reclaim(&mut self) {
        let passed = self.publisher.passed();
        self.affinities.reclaim(passed);
        while let Some(old) = self.old_tables.reclaim(passed) {
            drop(old);
        }
    }

    /// Every worker's progress and counters.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerView> {
        let seen = self.publisher.seen().into_iter().zip(&self.desks);
        seen.map(|(seen, desk)| WorkerView {
            seen,
            counters: desk.counters.view(),
        })
        .collect()
    }

    /// Live flows of a backend, over all workers.
    #[must_use]
    pub fn backend_flows(&self, backend: BackendId) -> u64 {
        let desks = self.desks.iter();
        desks
            .map(|desk| desk.counters.backend_flows(backend).get())
            .fold(0, u64::wrapping_add)
    }

    /// Puts a question to a worker; gives it back where too many wait already.
    pub fn ask(&self, worker: usize, question: Question) -> Result<(), Question> {
        self.desks[worker].questions.push(question)
    }

    /// An answer of a worker, if there is one. Answers come in the order of the questions.
    #[must_use]
    pub fn answer(&self, worker: usize) -> Option<Answer> {
        self.desks[worker].answers.pop()
    }

    /// Tells every worker to stop. Frames that wait for a MAC address are dropped, still counted as held.
    pub fn stop(&self) {
        for desk in &self.desks {
            desk.stop.store(true, Ordering::Release);
        }
    }

    /// Which backend a new flow would get, and why.
    #[must_use]
    pub fn explain(
        &self,
        packet: &crate::explain::Packet,
        now: Millis,
    ) -> crate::explain::Explanation {
        let flows = |backend| self.backend_flows(backend);
        crate::explain::explain(&self.tables, &self.affinities, packet, now, flows)
    }

    /// The frame that would leave for this packet to a backend; `None` where the backend is no more.
    #[must_use]
    pub fn leaving(
        &self,
        packet: &crate::explain::Packet,
        backend: BackendId,
    ) -> Option<crate::explain::Leaving> {
        crate::explain::leaving(&self.tables, packet, backend)
    }
}

#[cfg(all(test, not(tether_loom)))]
mod tests {
    use super::*;
    use crate::tables::{
        affinity::{AffinityKey, Grant, Source},
        id::ServiceId,
    };
    use std::net::Ipv4Addr;

    #[test]
    fn a_table_can_be_built_before_there_are_workers() {
        let (mut writer, mut seats) = data_plane(&TablesSpec::default(), 2, 2_000).unwrap();
        let grant = Grant {
            deadline: Millis(9_000),
            duration_ms: 0,
            limit: None,
        };
        for client in 0..1_000 {
            let source = Source::host(Ipv4Addr::from_bits(0x0a00_0000 + client).into()).unwrap();
            let service = ServiceId(0);
            let key = AffinityKey { service, source };
            let affinities = writer.affinities_mut();
            affinities
                .start(&key, BackendId(0), client, grant, None)
                .unwrap();
        }
        writer.publish();
        assert!(
            writer.affinities().waiting() > 0,
            "nobody has said that it reads nothing"
        );
        writer.settle(&mut seats);
        assert_eq!(writer.affinities().waiting(), 0);
        assert_eq!(writer.affinities().len(), 1_000);
    }
}
