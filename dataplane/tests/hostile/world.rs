//! The workers of the whole network on memory ports, and what must hold after each of its steps.

use super::{
    check::{Step, check_left},
    network::{INSIDE, Layout, OUTSIDE},
    plane::Plane,
};
use tether_dataplane::{
    CountersView, Exchange, Mac,
    fate::Fate,
    port::{
        Frame,
        memory::{MemoryPeer, MemoryPort},
    },
    tables::neighbour::NeighbourView,
    worker::Worker,
};

/// More than a worker can hold, and a burst.
const FRAMES: usize = 288;
/// What the transmit queue of a port takes before its peer looks.
const QUEUE: usize = 80;
const FLOWS: usize = 64;
/// Longer than a frame is held for anything.
const WAIT_MS: u64 = 5_000;
/// Longer than any flow is remembered.
const FORGET_MS: u64 = 400_000;

pub(crate) struct World {
    // Dropped first: tables that go before their readers leave their memory to them.
    workers: Vec<Worker<MemoryPort>>,
    pub(crate) plane: Plane,
    /// Whether checksums are made right in whatever is sent.
    pub(crate) is_summed: bool,
    /// By worker, then by port.
    peers: Vec<Vec<MemoryPeer>>,
    /// How many frames were put on the wires.
    put: usize,
    /// What was sent by each port since the last step.
    sent: Vec<Vec<Vec<u8>>>,
    /// The neighbours before and after each step whose frames are left in the queues, and how many
    /// frames these are.
    known: Vec<NeighbourView>,
    unread: usize,
}

impl World {
    pub(crate) fn new(layout: Layout, is_summed: bool) -> Self {
        let (plane, seats) = Plane::new(layout);
        let ports = plane.spec.ports.len();
        let exchange = Exchange::new(seats.len(), ports);
        let (mut workers, mut peers) = (Vec::new(), Vec::new());
        for seat in seats {
            let ends = (0..ports).map(|_| MemoryPort::new(FRAMES, QUEUE));
            let (near, far): (Vec<_>, Vec<_>) = ends.unzip();
            workers.push(Worker::new(seat, near, FLOWS).join(&exchange));
            peers.push(far);
        }
        Self {
            workers,
            plane,
            is_summed,
            peers,
            put: 0,
            sent: vec![Vec::new(); ports],
            known: Vec::new(),
            unread: 0,
        }
    }

    /// The port on a side, and its VLAN.
    pub(crate) fn port(&self, is_inside: bool) -> (usize, Mac, Option<u16>) {
        if is_inside && !self.plane.layout.has_one_port {
            (1, INSIDE, self.plane.layout.inside_vlan)
        } else {
            (0, OUTSIDE, self.plane.layout.outside_vlan)
        }
    }

    /// Sends a frame to a port: whole, as the first segment of a longer one, or where its buffer has no
    /// room before it.
    pub(crate) fn send(&mut self, worker: usize, port: usize, frame: Vec<u8>, shape: u8) {
        let peer = &self.peers[worker % self.peers.len()][port];
        let is_sent = match shape {
            0 => peer.send_segmented(&frame, frame.len().min(60)),
            1 => peer.send_without_headroom(&frame),
            _ => peer.send(&frame),
        };
        if is_sent {
            self.put += 1;
            self.sent[port].push(frame);
        }
    }

    /// A step, and everything that must hold after it. What left stays in the queue where `is_stuck`.
    pub(crate) fn step(&mut self, is_stuck: bool) {
        self.learn();
        for worker in 0..self.workers.len() {
            self.step_one(worker);
        }
        // What the last one has handed to the first one.
        if self.workers.len() > 1 {
            self.step_one(0);
        }
        self.learn();
        if !is_stuck {
            self.drain();
        }
        self.check_buffers();
        self.check_flows();
    }

    fn step_one(&mut self, worker: usize) {
        let before = self.counters(worker);
        self.workers[worker].step(self.plane.now);
        let after = self.counters(worker);
        assert!(after.adds_up(), "{after:?}");
        let left =
            |it: &CountersView| it.fate(Fate::Forwarded) + it.fate(Fate::Returned) + it.originated;
        self.unread += usize::try_from(left(&after) - left(&before)).unwrap();
    }

    fn learn(&mut self) {
        self.known.extend(self.plane.writer.tables().neighbours());
    }

    fn drain(&mut self) {
        let mut count = 0;
        let peers = self.peers.iter().flat_map(|peers| peers.iter().enumerate());
        for (place, peer) in peers {
            let step = Step {
                spec: &self.plane.spec,
                place,
                known: &self.known,
                sent: &self.sent[place],
                is_summed: self.is_summed,
            };
            while let Some(frame) = peer.receive() {
                check_left(&step, frame.bytes());
                count += 1;
            }
        }
        assert_eq!(count, self.unread, "what left is what was counted");
        self.unread = 0;
        self.known.clear();
        self.sent.iter_mut().for_each(Vec::clear);
    }

    /// No buffer is lost: all are free, held, or in a queue one way or the other.
    fn check_buffers(&self) {
        let peers = self.peers.iter().flatten();
        let free: usize = peers.clone().map(MemoryPeer::free_frames).sum();
        let held = usize::try_from(self.sum(|it| it.held)).unwrap();
        let waiting = self.put - usize::try_from(self.sum(|it| it.received)).unwrap();
        let all = FRAMES * peers.count();
        assert_eq!(free + held + self.unread + waiting, all);
    }

    /// Whoever counts flows counts as many, and nobody below zero.
    fn check_flows(&self) {
        let of_backends = self.plane.flows();
        let places = self.sum(|it| it.flow_places);
        assert!(
            of_backends <= places,
            "{of_backends} flows in {places} places"
        );
        let used = self.sum(|it| it.local_ports_used);
        assert!(used <= of_backends, "{used} ports of {of_backends} flows");
        for (key, cell) in &self.plane.affinities {
            let flows = self.plane.writer.affinities().view(*cell).flows;
            assert!(u64::from(flows) <= of_backends, "{flows} flows of {key:?}");
        }
    }

    fn counters(&self, worker: usize) -> CountersView {
        self.plane.writer.workers().remove(worker).counters
    }

    fn sum(&self, count: impl Fn(&CountersView) -> u64) -> u64 {
        let workers = self.plane.writer.workers();
        workers.iter().map(|it| count(&it.counters)).sum()
    }

    /// In the end nothing is held, no buffer is out, no flow is remembered and every port is free.
    pub(crate) fn finish(mut self) {
        for pause in [0, WAIT_MS, WAIT_MS, FORGET_MS, FORGET_MS] {
            self.plane.pass(pause);
            self.step(false);
        }
        assert_eq!((self.sum(|it| it.held), self.sum(|it| it.flows)), (0, 0));
        assert_eq!(
            (self.plane.flows(), self.sum(|it| it.local_ports_used)),
            (0, 0)
        );
        for (key, cell) in &self.plane.affinities {
            let flows = self.plane.writer.affinities().view(*cell).flows;
            assert_eq!(flows, 0, "{key:?}");
        }
    }
}
