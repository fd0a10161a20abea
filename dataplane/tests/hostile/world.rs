//! One worker of the whole network on memory ports, and what must hold after each of its steps.

use super::{
    check::{Step, check_left},
    network::{INSIDE, Layout, OUTSIDE},
    plane::Plane,
};
use tether_dataplane::{
    CountersView, Mac,
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
    worker: Worker<MemoryPort>,
    pub(crate) plane: Plane,
    /// Whether checksums are made right in whatever is sent.
    pub(crate) is_summed: bool,
    peers: Vec<MemoryPeer>,
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
        let (plane, of_worker) = Plane::new(layout);
        let ends = plane.spec.ports.iter();
        let ends = ends.map(|_| MemoryPort::new(FRAMES, QUEUE));
        let (ports, peers): (Vec<_>, Vec<_>) = ends.unzip();
        let sent = vec![Vec::new(); peers.len()];
        Self {
            worker: Worker::new(of_worker, ports, FLOWS),
            plane,
            is_summed,
            peers,
            put: 0,
            sent,
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
    pub(crate) fn send(&mut self, port: usize, frame: Vec<u8>, shape: u8) {
        let peer = &self.peers[port];
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
        let before = self.counters();
        self.learn();
        self.worker.step(self.plane.now);
        let after = self.counters();
        assert!(after.adds_up(), "{after:?}");
        let left =
            |it: &CountersView| it.fate(Fate::Forwarded) + it.fate(Fate::Returned) + it.originated;
        self.unread += usize::try_from(left(&after) - left(&before)).unwrap();
        self.learn();
        if !is_stuck {
            self.drain();
        }
        self.check_buffers(&after);
        self.check_flows();
    }

    fn learn(&mut self) {
        self.known.extend(self.plane.writer.tables().neighbours());
    }

    fn drain(&mut self) {
        let mut count = 0;
        for (place, peer) in self.peers.iter().enumerate() {
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
    fn check_buffers(&self, counters: &CountersView) {
        let free: usize = self.peers.iter().map(MemoryPeer::free_frames).sum();
        let held = usize::try_from(counters.held).unwrap();
        let waiting = self.put - usize::try_from(counters.received).unwrap();
        let all = FRAMES * self.peers.len();
        assert_eq!(free + held + self.unread + waiting, all);
    }

    /// Whoever counts flows counts as many, and nobody below zero.
    fn check_flows(&self) {
        let of_backends = self.plane.flows();
        let places = self.counters().flow_places;
        assert!(
            of_backends <= places,
            "{of_backends} flows in {places} places"
        );
        for (key, cell) in &self.plane.affinities {
            let flows = self.plane.writer.affinities().view(*cell).flows;
            assert!(u64::from(flows) <= of_backends, "{flows} flows of {key:?}");
        }
    }

    fn counters(&self) -> CountersView {
        self.plane.writer.workers().remove(0).counters
    }

    /// In the end nothing is held, no buffer is out and no flow is remembered.
    pub(crate) fn finish(mut self) {
        for pause in [0, WAIT_MS, WAIT_MS, FORGET_MS, FORGET_MS] {
            self.plane.pass(pause);
            self.step(false);
        }
        let counters = self.counters();
        assert_eq!((counters.held, counters.flows), (0, 0));
        assert_eq!(self.plane.flows(), 0);
        for (key, cell) in &self.plane.affinities {
            assert_eq!(
                self.plane.writer.affinities().view(*cell).flows,
                0,
                "{key:?}"
            );
        }
    }
}
