//! A worker: one thread, its queues, its flows, its counters, and one step of its life after
//! another. It shares nothing that it writes but atomics that others only read.

#[cfg(test)]
mod captures;
mod housekeeping;

use crate::{
    allowance::Allowance,
    capture::{Rule, Tap},
    clock::{Clock, Millis},
    counters::Counters,
    exchange::{Exchange, Times},
    flow_table::{FlowTable, Line4, Line6, Tick},
    forward::{Findings, Lanes, View, forward, pass_on},
    fragments::Fragments,
    held::Held,
    limits,
    plane::{Desk, Seat},
    port::{Burst, Port},
    probe::{Probe, Stage, Tapped, Unwatched},
    rates::Rates,
    rcu::{Published, Reader},
    sessions::Sessions,
    simd::cycles,
    sync::Arc,
    tables::{Tables, affinity::AffinityTable, id::PortId},
    taps::{TapSpec, Taps},
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
    /// Committed to the desk's at the end of each step.
    pub(crate) counters: Counters,
    pub(crate) flows: Flows,
    /// What full NAT knows of them.
    pub(crate) sessions: Sessions,
    /// The queues to the other workers.
    pub(crate) exchange: Option<std::sync::Arc<Exchange<F>>>,
    /// How often the first frames of the burst were handed over.
    pub(crate) times: Times,
    /// The next turn of each service's scheduler.
    pub(crate) turns: Box<[u32]>,
    pub(crate) rates: Rates,
    pub(crate) held: Held<F>,
    pub(crate) fragments: Fragments<F>,
    pub(crate) findings: Findings,
    /// What a capture sees by, while one is under way.
    pub(crate) tap: Option<Box<Tap>>,
    /// ICMP errors that it may send.
    pub(crate) errors: Allowance,
    /// Of which ports the kernel has a part.
    pub(crate) taps: Taps<F>,
    /// Frames to send, for each port.
    pub(crate) outgoing: Vec<Burst<F>>,
    /// A burst for a single frame.
    pub(crate) alone: Burst<F>,
}

impl<F> Own<F> {
    /// Takes the ports of the local addresses that the control plane has brought.
    pub(crate) fn adopt(&mut self) {
        while let Some((local, slab)) = self.desk.slabs.pop() {
            self.sessions.adopt(local, slab);
        }
    }

    /// Counts the local ports of full NAT.
    pub(crate) fn count_local_ports(&self) {
        self.counters.local_ports_used.set(self.sessions.len());
        self.counters.local_ports.set(self.sessions.capacity());
    }

    /// Counts the frames that it holds: they have no fate yet.
    pub(crate) fn count_held(&self) {
        let held = self.held.len() + self.fragments.waiting();
        self.counters.held.set(held as u64);
    }

    /// Tells a capture who decided about a packet of the burst.
    #[inline]
    pub(crate) fn decided_by(&mut self, index: u8, rule: Rule) {
        if let Some(tap) = self.tap.as_mut().filter(|tap| tap.wants(index)) {
            tap.decided_by(index, rule);
        }
    }
}

/// One poll-mode worker, with its queue on every port.
#[derive(Debug)]
pub struct Worker<P: Port> {
    reader: Reader,
    tables: Arc<Published<Arc<Tables>>>,
    affinities: Arc<AffinityTable>,
    /// Its taps stand behind them.
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
        let flows = Flows {
            v4: FlowTable::new(flows),
            v6: FlowTable::new(flows / 2),
        };
        let counters = seat.desk.counters.of_worker();
        let places = flows.v4.capacity() + flows.v6.capacity();
        counters.flow_places.set(places as u64);
        let mut own = Own {
            desk: seat.desk,
            counters,
            flows,
            sessions: Sessions::new(seat.place, seat.workers),
            exchange: None,
            times: Times::new(),
            // Workers begin at different backends.
            turns: vec![u32::try_from(seat.place).unwrap_or(0); limits::SERVICES]
                .into_boxed_slice(),
            rates: Rates::new(seat.workers),
            held: Held::new(),
            fragments: Fragments::new(),
            findings: Findings::new(),
            tap: None,
            errors: Allowance::new(limits::ERRORS_PER_SECOND, limits::ERRORS_AT_ONCE),
            taps: Taps::new(),
            outgoing: ports.iter().map(|_| Burst::new()).collect(),
            alone: Burst::new(),
        };
        own.adopt();
        own.count_local_ports();
        own.counters.commit(&own.desk.counters);
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

    /// Joins the queues between the workers, without which packets of another worker's flows are
    /// dropped (`handoff_full`).
    #[must_use]
    pub fn join(mut self, exchange: &std::sync::Arc<Exchange<P::Frame>>) -> Self {
        self.own.exchange = Some(std::sync::Arc::clone(exchange));
        self
    }

    /// The same worker, with a tap beside this port: what is not for the forwarder goes there, and what the kernel
    /// sends there leaves by the port. Call it before the worker takes steps, at most once for each port.
    #[must_use]
    pub fn with_tap(mut self, port: PortId, tap: P, spec: TapSpec) -> Self {
        let place = self.ports.len() - self.own.outgoing.len();
        self.own.taps.add(port, place, spec);
        self.ports.push(tap);
        self
    }

    /// Steps until it is told to stop.
    pub fn run(&mut self, clock: &Clock, idle: Idle) {
        let mut before = cycles();
        while !self.own.desk.stop.load(Ordering::Relaxed) {
            let busy = self.step_at(|| clock.now());
            let now = cycles();
            let counters = &self.own.counters;
            let spent = if busy {
                &counters.busy_cycles
            } else {
                &counters.idle_cycles
            };
            spent.add(now.wrapping_sub(before));
            before = now;
            if !busy && idle == Idle::Yield {
                std::thread::yield_now();
            }
        }
        self.own.counters.commit(&self.own.desk.counters);
    }

    /// One step at `now`: receive, forward, housekeeping, quiescent. Whether anything came.
    pub fn step(&mut self, now: Millis) -> bool {
        self.step_at(|| now)
    }

    /// A step, seen by a capture if there is one.
    #[inline]
    fn step_at(&mut self, clock: impl Fn() -> Millis) -> bool {
        if self.own.tap.is_some() {
            return self.step_seen(clock);
        }
        self.step_by(clock, &mut Unwatched)
    }

    /// The same with a tap. Out of line, so that the step without one stays as it was.
    #[inline(never)]
    fn step_seen(&mut self, clock: impl Fn() -> Millis) -> bool {
        if self.own.tap.as_ref().is_some_and(|tap| tap.is_open()) {
            self.step_by(clock, &mut Tapped)
        } else {
            self.step_by(clock, &mut Unwatched)
        }
    }

    /// The end of a step by itself.
    pub(crate) fn report_quiescent(&mut self) {
        self.reader.quiescent();
    }

    /// A step that reads the clock after each burst was received: a packet that arrives at a
    /// deadline is never judged by an instant before it (contract rule T5).
    pub(crate) fn step_by(&mut self, clock: impl Fn() -> Millis, probe: &mut impl Probe) -> bool {
        let guard = self.reader.guard();
        // Loaded after frames were received: those that arrive after a publication are routed by it.
        let snapshot = || {
            let now = clock();
            View {
                guard,
                tables: self.tables.load(guard),
                affinities: &self.affinities,
                now,
                tick: Tick::at(now),
            }
        };
        let mut busy = false;
        let count = self.own.outgoing.len();
        for port in crate::tables::port_ids(count) {
            if let Some(exchange) = &self.own.exchange {
                self.own.times.clear();
                let worker = self.own.sessions.place();
                exchange.take(worker, port, &mut self.incoming, &mut self.own.times);
                self.own.counters.taken_over.add(self.incoming.len() as u64);
            }
            self.ports[port.index()].receive(&mut self.incoming);
            probe.ended(Stage::Receive);
            if !self.incoming.is_empty() {
                busy = true;
                forward(
                    &mut self.incoming,
                    port,
                    snapshot(),
                    &mut self.own,
                    &mut self.lanes,
                    &mut self.ports,
                    probe,
                );
            }
        }
        if !self.own.taps.is_empty() {
            let (own, ports) = (&mut self.own, &mut self.ports[..]);
            busy |= pass_on(&mut self.incoming, snapshot(), own, ports);
        }
        self.housekeeping
            .run(snapshot(), &mut self.own, &mut self.ports[..count]);
        self.own.counters.steps.add(1);
        self.own.counters.busy_steps.add(u64::from(busy));
        self.own.counters.commit(&self.own.desk.counters);
        self.reader.quiescent();
        probe.ended(Stage::Housekeeping);
        busy
    }
}
