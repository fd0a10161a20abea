//! A worker: one thread, its queues, its flows, its counters, and one step of its life after
//! another. It shares nothing that it writes but atomics that others only read.

mod housekeeping;

use crate::{
    clock::{Clock, Millis},
    flow_table::{FlowTable, Line4, Line6, Tick},
    forward::{Findings, Lanes, View, forward},
    held::Held,
    limits,
    plane::{Desk, Seat},
    port::{Burst, Port},
    rcu::{Published, Reader},
    sync::Arc,
    tables::{Tables, affinity::AffinityTable},
};
use housekeeping::Housekeeping;
use std::sync::atomic::Ordering;

/// What a worker does while nothing arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// It goes on polling.
    #[default]
    Poll,
    /// It offers its core to others, for machines with fewer cores than threads.
    Yield,
}

/// The flows of both families.
#[derive(Debug)]
pub(crate) struct Flows {
    pub(crate) v4: FlowTable<Line4>,
    pub(crate) v6: FlowTable<Line6>,
}

/// What a worker owns and the stages change.
#[derive(Debug)]
pub(crate) struct Own<F> {
    pub(crate) desk: Arc<Desk>,
    pub(crate) flows: Flows,
    /// The next turn of each service's scheduler.
    pub(crate) turns: Box<[u32]>,
    pub(crate) held: Held<F>,
    pub(crate) findings: Findings,
    /// Frames to send, for each port.
    pub(crate) outgoing: Vec<Burst<F>>,
    /// A burst for a single frame.
    pub(crate) alone: Burst<F>,
}

/// One poll-mode worker, with its queue on every port.
#[derive(Debug)]
pub struct Worker<P: Port> {
    reader: Reader,
    tables: Arc<Published<Arc<Tables>>>,
    affinities: Arc<AffinityTable>,
    ports: Vec<P>,
    incoming: Burst<P::Frame>,
    lanes: Lanes,
    own: Own<P::Frame>,
    housekeeping: Housekeeping,
}

impl<P: Port> Worker<P> {
    /// A worker with its queues, in the order of the ports in the tables, and room for `flows` IPv4
    /// flows and half as many IPv6 flows. All memory that it will use is taken here.
    #[must_use]
    pub fn new(seat: Seat, ports: Vec<P>, flows: usize) -> Self {
        let own = Own {
            desk: seat.desk,
            flows: Flows {
                v4: FlowTable::new(flows),
                v6: FlowTable::new(flows / 2),
            },
            // Workers begin at different backends.
            turns: vec![u32::try_from(seat.place).unwrap_or(0); limits::SERVICES]
                .into_boxed_slice(),
            held: Held::new(),
            findings: Findings::new(),
            outgoing: ports.iter().map(|_| Burst::new()).collect(),
            alone: Burst::new(),
        };
        Self {
            reader: seat.reader,
            tables: seat.tables,
            affinities: seat.affinities,
            housekeeping: Housekeeping::new(seat.place == 0),
            ports,
            incoming: Burst::new(),
            lanes: Lanes::new(),
            own,
        }
    }

    /// Steps until it is told to stop.
    pub fn run(&mut self, clock: &Clock, idle: Idle) {
        while !self.own.desk.stop.load(Ordering::Relaxed) {
            let busy = self.step(clock.now());
            if !busy && idle == Idle::Yield {
                std::thread::yield_now();
            }
        }
    }

    /// One step at `now`: receive, forward, housekeeping, quiescent. Whether anything came.
    pub fn step(&mut self, now: Millis) -> bool {
        let guard = self.reader.guard();
        // Loaded after frames were received: those that arrive after a publication are routed by it.
        let snapshot = || View {
            guard,
            tables: self.tables.load(guard),
            affinities: &self.affinities,
            now,
            tick: Tick::at(now),
        };
        self.own.desk.counters.begin();
        let mut busy = false;
        for port in crate::tables::port_ids(self.ports.len()) {
            self.ports[port.index()].receive(&mut self.incoming);
            if !self.incoming.is_empty() {
                busy = true;
                forward(
                    &mut self.incoming,
                    port,
                    snapshot(),
                    &mut self.own,
                    &mut self.lanes,
                    &mut self.ports,
                );
            }
        }
        self.housekeeping
            .run(snapshot(), &mut self.own, &mut self.ports);
        self.own.desk.counters.steps.add(1);
        self.own.desk.counters.busy_steps.add(u64::from(busy));
        self.own.desk.counters.end();
        self.reader.quiescent();
        busy
    }
}
