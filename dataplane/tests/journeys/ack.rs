//! Ack means effective (contract rule S1): after `publish`, every worker routes by what was changed.

use crate::{
    frames::{Conversation, from_to},
    world::{B1, B2, B3, OUTSIDE_PORT, Size, USUAL, WEB, WEB4, World, mac_at, usual},
};
use std::{cell::RefCell, rc::Rc};
use tether_dataplane::{
    clock::Millis,
    fate::Fate,
    plane::{Writer, data_plane},
    port::{
        Burst, Port,
        memory::{MemoryFrame, MemoryPort},
    },
    tables::{TablesSpec, backend::BackendState, id::BackendId},
    worker::Worker,
};

const CLIENT: &str = "198.51.100.7";
const MINUTE: u32 = 60_000;
const SYNS: u16 = 50;

fn two_workers() -> World {
    let size = Size {
        workers: 2,
        ..USUAL
    };
    World::of(usual(), size)
}

fn flow(port: u16) -> Conversation {
    from_to(&format!("{CLIENT}:{port}"), WEB4)
}

/// SYNs from these ports, in turn to both workers, then a step of each: who got them.
fn receivers(world: &mut World, ports: impl Iterator<Item = u16>) -> Vec<Option<BackendId>> {
    let frames: Vec<_> = ports.map(|port| flow(port).syn()).collect();
    for (frame, worker) in frames.iter().zip([0, 1].into_iter().cycle()) {
        world.put(worker, OUTSIDE_PORT, frame);
    }
    world.pass(1);
    let left = world.step_all();
    let to = |frame: &Vec<u8>| world.receiver_among(&left, frame);
    frames.iter().map(to).collect()
}

#[test]
fn s1_every_syn_after_a_start_goes_to_the_owner() {
    let mut world = two_workers();
    let mut ports = 1..;
    for owner in [B1, B2, B3] {
        let affinity = world.start(WEB, CLIENT, owner, MINUTE);
        let got = receivers(&mut world, ports.by_ref().take(usize::from(SYNS)));
        assert_eq!(got, vec![Some(owner); usize::from(SYNS)]);
        world.end(affinity);
        let got = receivers(&mut world, ports.by_ref().take(usize::from(SYNS)));
        assert!(got.contains(&Some(B1)) && got.contains(&Some(B2)));
        assert!(!got.contains(&None));
    }
}

#[test]
fn s1_the_workers_may_be_in_other_threads() {
    let mut world = two_workers();
    for round in 0..20 {
        let owner = [B1, B2, B3][round % 3];
        let affinity = world.start(WEB, CLIENT, owner, MINUTE);
        for port in 0..SYNS {
            let port = 1000 + u16::try_from(round).unwrap() * SYNS + port;
            world.put(usize::from(port % 2), OUTSIDE_PORT, &flow(port).syn());
        }
        world.pass(1);
        let now = world.now;
        std::thread::scope(|scope| {
            for worker in &mut world.workers {
                scope.spawn(move || worker.step(now));
            }
        });
        let left = world.left(0).into_iter().chain(world.left(1));
        let to = mac_at(format!("10.0.0.{}", owner.0).parse().unwrap());
        let wrong = left.filter(|it| it.frame[..6] != to.0).count();
        assert_eq!(wrong, 0, "round {round}");
        world.end(affinity);
    }
}

#[test]
fn s1_a_batch_is_effective_as_a_whole() {
    let mut world = two_workers();
    for port in 1..=SYNS {
        let source = format!("{CLIENT}:{port}");
        world.start(WEB, &source, [B1, B2, B3][usize::from(port) % 3], MINUTE);
    }
    let got = receivers(&mut world, 1..=SYNS);
    let expected = (1..=SYNS).map(|port| Some([B1, B2, B3][usize::from(port) % 3]));
    assert!(got.into_iter().eq(expected));
}

/// What the control thread does at the moment at which a port is looked at.
type Meddling = Rc<RefCell<Box<dyn FnMut()>>>;

/// A port that lets the control thread in before it receives.
struct Meddled {
    port: MemoryPort,
    before: Meddling,
}

impl Port for Meddled {
    type Frame = MemoryFrame;

    fn receive(&mut self, burst: &mut Burst<MemoryFrame>) {
        (self.before.borrow_mut())();
        self.port.receive(burst);
    }

    fn transmit(&mut self, burst: &mut Burst<MemoryFrame>) {
        self.port.transmit(burst);
    }

    fn allocate(&mut self) -> Option<MemoryFrame> {
        self.port.allocate()
    }
}

/// What came of a SYN that arrived right after `change` was published, in the middle of a step.
fn fate_after(change: impl Fn(&mut TablesSpec) + 'static) -> Vec<&'static str> {
    let mut spec = usual();
    let given = spec
        .backends
        .iter()
        .map(|it| (it.address, mac_at(it.address)));
    spec.ports[1].neighbours = given.collect();
    let (writer, seats) = data_plane(&spec, 1, 16).unwrap();
    let writer: Rc<RefCell<Writer>> = Rc::new(RefCell::new(writer));
    let before: Meddling = Rc::new(RefCell::new(Box::new(|| {})));
    let (ports, peers): (Vec<_>, Vec<_>) = (0..2)
        .map(|_| {
            let (port, peer) = MemoryPort::new(64, 64);
            let before = Rc::clone(&before);
            (Meddled { port, before }, peer)
        })
        .unzip();
    let seat = seats.into_iter().next().unwrap();
    let mut worker = Worker::new(seat, ports, 64);
    worker.step(Millis(5000));
    let writing = Rc::clone(&writer);
    *before.borrow_mut() = Box::new(move || {
        change(&mut spec);
        writing.borrow_mut().set_tables(&spec).unwrap();
        writing.borrow_mut().publish();
    });
    assert!(peers[OUTSIDE_PORT].send(&flow(1).syn()));
    worker.step(Millis(5001));
    let counters = writer.borrow().workers()[0].counters.clone();
    let met = Fate::ALL.iter().filter(|fate| counters.fate(**fate) > 0);
    met.map(|fate| fate.name()).collect()
}

#[test]
fn a_packet_that_arrives_after_tables_were_published_is_routed_by_them() {
    let disable = |spec: &mut TablesSpec| {
        for backend in &mut spec.backends {
            backend.state = BackendState::Disabled;
        }
    };
    assert_eq!(fate_after(|_| ()), ["forwarded"]);
    assert_eq!(fate_after(disable), ["no_backend"]);
}

#[test]
fn what_waits_for_workers_is_given_back() {
    let mut world = two_workers();
    for _ in 0..100 {
        let affinity = world.start(WEB, CLIENT, B1, MINUTE);
        world.end(affinity);
    }
    world.step(0);
    world.writer.publish();
    assert!(
        world.writer.affinities().waiting() > 0,
        "worker 1 has not passed"
    );
    for _ in 0..2 {
        world.step_all();
        world.writer.publish();
    }
    world.step_all();
    world.writer.reclaim();
    assert_eq!(world.writer.affinities().waiting(), 0);
}

#[test]
fn tables_for_other_ports_are_refused_and_change_nothing() {
    let mut world = World::new();
    for ports in [1, 3] {
        let mut spec = world.spec.clone();
        let port = spec.ports[0].clone();
        spec.ports.resize(ports, port);
        spec.backends.clear();
        let refused = world.writer.set_tables(&spec).unwrap_err();
        assert!(refused.to_string().contains("restart"), "{refused}");
        world.writer.publish();
        assert!(world.receiver(&flow(1).syn()).is_some());
    }
}
