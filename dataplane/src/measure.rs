//! A window for `benches`, no promise to anybody else: stages and tables by themselves, and a step
//! whose cycles are told apart.

pub use crate::probe::{Stage, StageCycles};

use crate::{
    classify, clock,
    flow_table::{self, Flow, FlowTable, Line4, Line6, Placement, Tick},
    key::Key4,
    parse,
    plane::Seat,
    port::{BURST, Frame, Port},
    rcu::Reader,
    rewrite,
    schedule::{Candidate, Slots},
    sync::Arc,
    tables::{
        Tables,
        affinity::{AffinityTable, Hits, Query},
        id::{BackendId, ServiceId},
        service::Scheduler,
    },
    wire::ethernet::Mac,
    worker::Worker,
};
use arrayvec::ArrayVec;

/// A step of a worker, as `Worker::step` makes it, with its cycles added to those of each stage.
pub fn step<P: Port>(worker: &mut Worker<P>, now: clock::Millis, cycles: &mut StageCycles) -> bool {
    worker.step_by(|| now, cycles)
}

/// Reports that the worker holds nothing, as the end of a step does, without taking packets.
pub fn rest<P: Port>(worker: &mut Worker<P>) {
    worker.report_quiescent();
}

/// Bytes of the flow tables of a worker that was asked for room for so many flows: IPv4, IPv6.
#[must_use]
pub fn flow_table_bytes(flows: usize) -> (usize, usize) {
    (
        FlowTable::<Line4>::bytes_for(flows),
        FlowTable::<Line6>::bytes_for(flows / 2),
    )
}

/// Whether a frame is TCP or UDP over IPv4, whole.
#[must_use]
pub fn parse(frame: &[u8]) -> Option<Key4> {
    match parse::parse(frame, None) {
        Ok(parse::Parsed::V4(packet)) => Some(packet.key),
        _ => None,
    }
}

/// The service that a new flow addresses.
#[must_use]
pub fn classify(tables: &Tables, key: &Key4) -> Option<ServiceId> {
    let service = classify::classify(key, tables);
    service.ok().map(|service| service.spec.id)
}

/// Writes the addresses of a link into a frame.
pub fn rewrite<F: Frame>(frame: &mut F, destination: Mac, source: Mac) -> bool {
    let link = rewrite::Link {
        destination,
        source,
        vlan_in: None,
        vlan_out: None,
    };
    rewrite::direct(frame, &link).is_ok()
}

/// A worker's IPv4 flows.
#[derive(Debug)]
pub struct Flows(FlowTable<Line4>);

impl Flows {
    /// Room for so many.
    #[must_use]
    pub fn new(flows: usize) -> Self {
        Self(FlowTable::new(flows))
    }

    /// Remembers an established flow; false where there is no place.
    pub fn insert(&mut self, key: &Key4, backend: BackendId) -> bool {
        let flow = Flow::opened(key.protocol, backend, Placement::Scheduler, Tick(0));
        let flow = flow.after(flow_table::TcpEvent::Other, Tick(0));
        let hash = self.0.hash(key);
        let inserted = self.0.insert(hash, key, flow, None, |_, _| false);
        inserted != flow_table::Inserted::NoPlace
    }

    /// Looks up a burst, as the path does it; how many are known.
    #[must_use]
    pub fn find(&self, keys: &[Key4]) -> usize {
        let hashes: ArrayVec<u64, BURST> = keys
            .iter()
            .map(|key| {
                let hash = self.0.hash(key);
                self.0.prefetch(hash);
                hash
            })
            .collect();
        let found = keys.iter().zip(hashes);
        found
            .filter(|(key, hash)| self.0.find(*hash, key).is_some())
            .count()
    }
}

/// A service's backends in the shares of its scheduler.
#[derive(Debug)]
pub struct Schedule {
    slots: Slots,
    turn: u32,
}

impl Schedule {
    /// So many backends of the same weight.
    #[must_use]
    pub fn new(scheduler: Scheduler, backends: u16) -> Self {
        let candidate = |id| Candidate {
            id: BackendId(id),
            name: format!("backend-{id}"),
            weight: 1,
            nominal_weight: 1,
        };
        let candidates = (0..backends).map(candidate).collect();
        Self {
            slots: Slots::new(scheduler, candidates),
            turn: 0,
        }
    }

    /// The backend of a new flow.
    pub fn choose(&mut self, key: &Key4) -> Option<BackendId> {
        let chosen = self.slots.choose(key, &mut self.turn, |_| 0);
        chosen.map(|(_, backend)| backend)
    }
}

/// Clients that look for their affinities, in bursts.
#[derive(Debug)]
pub struct Clients(Vec<Query<u32>>);

impl Clients {
    /// Clients of one service, by address, in host byte order.
    pub fn new(service: ServiceId, addresses: impl Iterator<Item = u32>) -> Self {
        let client = |source| Query {
            service,
            source,
            port: 1024,
        };
        Self(addresses.map(client).collect())
    }

    /// The burst of a number; they come round again after the last.
    #[must_use]
    pub fn burst(&self, number: usize) -> Burst<'_> {
        let start = number % (self.0.len() / BURST).max(1) * BURST;
        Burst(&self.0[start..self.0.len().min(start + BURST)])
    }
}

/// A burst of clients.
#[derive(Clone, Copy, Debug)]
pub struct Burst<'a>(&'a [Query<u32>]);

/// One worker's look into the affinity table.
#[derive(Debug)]
pub struct Affinities {
    table: Arc<AffinityTable>,
    reader: Reader,
    hits: Hits,
}

impl From<Seat> for Affinities {
    fn from(seat: Seat) -> Self {
        Self {
            table: seat.affinities,
            reader: seat.reader,
            hits: Hits::new(),
        }
    }
}

impl Affinities {
    /// Looks up a burst, reports quiescent, as a step does; how many have an affinity.
    pub fn look_up(&mut self, burst: Burst<'_>, now: clock::Millis) -> usize {
        let guard = self.reader.guard();
        self.table.lookup4(guard, now, burst.0, &mut self.hits);
        self.reader.quiescent();
        self.hits.iter().flatten().count()
    }
}
