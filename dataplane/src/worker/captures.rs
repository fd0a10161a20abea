//! What a tap wants of a burst, by the keys of its packets, is what its filter takes of each frame by itself.

use super::*;
use crate::{
    capture::{
        Collector, Direction, Filter, Outcome, Term, Test,
        cases::{ADDRESSES4, filter, frame, usual},
        tap,
    },
    fate::Fate,
    key::Protocol,
    parse::{Parsed, parse},
    plane::{Writer, data_plane},
    port::{
        BURST,
        memory::{MemoryPeer, MemoryPort},
    },
    samples::{CLIENT4, NEIGHBOUR_MAC, OUR_MAC, OURS4, OURS6, VLAN, tagged, udp6},
    tables::{
        PortSpec, TablesSpec,
        backend::{BackendSpec, BackendState},
        clients::ClientLists,
        id::{BackendId, PortId, ServiceId},
        pool::PoolSpec,
        service::{FlowLimits, Forward, OnBackendDown, Refresh, Scheduler, ServiceSpec},
    },
};
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::TestRunner};
use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
};

const NOW: Millis = Millis(1_000_000);

/// A forwarder with a port without a VLAN and one with.
struct World {
    worker: Worker<MemoryPort>,
    peers: [MemoryPeer; 2],
    _writer: Writer,
}

impl World {
    fn new() -> Self {
        let (writer, seats) = data_plane(&tables(), 1, 64).unwrap();
        let [(outside, to_outside), (inside, to_inside)] =
            [(); 2].map(|()| MemoryPort::new(8 * BURST, 2 * BURST));
        let seat = seats.into_iter().next().unwrap();
        Self {
            worker: Worker::new(seat, vec![outside, inside], 256),
            peers: [to_outside, to_inside],
            _writer: writer,
        }
    }

    /// Gives the worker a tap with this filter.
    fn arm(&mut self, filter: Filter) -> Collector {
        let (tap, collector) = tap(filter, 64);
        self.worker.own.tap = Some(tap);
        collector
    }

    /// Passes a burst through the worker, each frame whole or only so many bytes in its first segment.
    fn pass(&mut self, port: usize, frames: &[(Vec<u8>, usize)]) {
        self.stuff(port, frames);
        for peer in &self.peers {
            while peer.receive().is_some() {}
        }
    }

    /// The same, and what the worker sends stays where it may have no room for more.
    fn stuff(&mut self, port: usize, frames: &[(Vec<u8>, usize)]) {
        for (frame, len) in frames {
            let sent = if *len == frame.len() {
                self.peers[port].send(frame)
            } else {
                self.peers[port].send_segmented(frame, *len)
            };
            assert!(sent);
        }
        assert!(self.worker.step(NOW));
    }
}

/// One service by direct server return, one by full NAT, whose local address packets are sent to.
fn tables() -> TablesSpec {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let port = |vlan, addresses: [(&str, u8); 2], neighbour| PortSpec {
        mac: OUR_MAC,
        vlan,
        addresses: addresses.map(|(it, length)| (ip(it), length)).to_vec(),
        gateways: vec![neighbour],
        mtu: 1500,
        neighbours: vec![(neighbour, NEIGHBOUR_MAC)],
        spread: None,
    };
    let service = |id, protocol, address, port, forward| ServiceSpec {
        id: ServiceId(id),
        protocol,
        address,
        prefix_length: if address.is_ipv4() { 32 } else { 128 },
        port,
        scheduler: Scheduler::Maglev,
        forward,
        flow_timeout_s: 300,
        affinity: true,
        refresh: Refresh::Packet,
        on_backend_down: OnBackendDown::Balance,
        clients: ClientLists::default(),
        limits: FlowLimits::default(),
        proxy_protocol: false,
    };
    let backend = |id, address| BackendSpec {
        id: BackendId(id),
        name: format!("backend-{id}"),
        service: ServiceId(id),
        address,
        port: 0,
        weight: 1,
        nominal_weight: 1,
        state: BackendState::Up,
    };
    let (direct, translated) = (ip("fd00::1"), ip("10.0.0.1"));
    TablesSpec {
        ports: vec![
            port(
                None,
                [("192.0.2.2", 24), ("2001:db8::2", 64)],
                CLIENT4.into(),
            ),
            port(Some(VLAN), [("10.0.0.2", 24), ("fd00::2", 64)], direct),
        ],
        services: vec![
            service(0, Protocol::Udp, OURS6.into(), 53, Forward::Dsr),
            service(1, Protocol::Tcp, OURS4.into(), 80, Forward::Fullnat),
        ],
        backends: vec![backend(0, direct), backend(1, translated)],
        pools: vec![PoolSpec {
            service: ServiceId(1),
            addresses: vec![ADDRESSES4[2].into()],
            ports: (1024, 2047),
        }],
    }
}

/// Frames, and how many bytes of each are in its first segment: mostly all.
fn burst() -> impl Strategy<Value = Vec<(Vec<u8>, usize)>> {
    let cut = prop::option::weighted(0.05, any::<Index>());
    let received = (frame(), cut).prop_map(|(frame, cut)| {
        let len = cut.map_or(frame.len(), |at| at.index(frame.len() + 1));
        (frame, len)
    });
    let whole = |frame: Vec<u8>| {
        let len = frame.len();
        (frame, len)
    };
    prop_oneof![
        4 => vec(received, 1..=BURST),
        1 => any::<bool>().prop_flat_map(move |is_v4| vec(usual(is_v4).prop_map(whole), BURST)),
    ]
}

/// Whether the parser makes a key of it.
fn has_key(frame: &[u8], port: usize) -> bool {
    let parsed = parse(frame, [None, Some(VLAN)][port]);
    parsed.is_ok_and(|it| {
        use Parsed::{First4, First6, V4, V6};
        matches!(it, V4(_) | V6(_) | First4(_) | First6(_))
    })
}

#[test]
fn a_tap_wants_what_its_filter_takes_of_each_frame() {
    let world = RefCell::new(World::new());
    let counts = [(); 4].map(|()| Cell::new(0));
    let seen = |(filter, frames, port): (Filter, Vec<(Vec<u8>, usize)>, usize)| {
        let mut world = world.borrow_mut();
        let _collector = world.arm(filter);
        world.pass(port, &frames);
        let tap = world.worker.own.tap.as_ref().unwrap();
        for (index, (frame, len)) in (0_u8..).zip(&frames) {
            let is_taken = tap.takes(&frame[..*len]);
            prop_assert_eq!(tap.wants(index), is_taken, "{}: {:02x?}", index, frame);
            let kind = usize::from(is_taken) * 2 + usize::from(has_key(frame, port));
            counts[kind].set(counts[kind].get() + 1);
        }
        Ok(())
    };
    let mut runner = TestRunner::new(crate::models::cases(1024));
    runner.run(&(filter(), burst(), 0..2_usize), seen).unwrap();
    let counts = counts.each_ref().map(Cell::get);
    assert!(
        cfg!(miri) || counts.iter().all(|it| *it > 1000),
        "{counts:?}"
    );
}

/// Frames, how many bytes of each are in its first segment, and the port that they come by.
type Received = (Vec<(Vec<u8>, usize)>, usize);

/// What a capture tells of frames that came: the port, the bytes, what became of them.
type Came = (PortId, Vec<u8>, Outcome);

fn came(collector: &Collector) -> Vec<Came> {
    let mut all = Vec::new();
    while collector.take(|it| {
        if it.direction == Direction::In {
            all.push((it.port, it.bytes.clone(), it.outcome));
        }
    }) {}
    all
}

/// A burst as above, or one of which every frame goes to the server on the port that it came by.
fn passed_on() -> impl Strategy<Value = Received> {
    let frame = tagged(udp6(), VLAN);
    let len = frame.len();
    let alike = (1..=BURST).prop_map(move |count| (vec![(frame.clone(), len); count], 1));
    prop_oneof![2 => (burst(), 0..2_usize), 1 => alike]
}

#[test]
fn what_is_told_of_drops_is_what_is_told_of_them_among_all() {
    let worlds = RefCell::new(Box::new((World::new(), World::new())));
    let full = Cell::new(0);
    let seen = |bursts: Vec<(Received, bool)>| {
        let (all, drops) = &mut **worlds.borrow_mut();
        let dropped = Term {
            negated: false,
            test: Test::Dropped,
        };
        let (of_all, of_drops) = (
            all.arm(Filter::default()),
            drops.arm(Filter::new(vec![dropped])),
        );
        for ((frames, port), drained) in bursts {
            for world in [&mut *all, &mut *drops] {
                if drained {
                    world.pass(port, &frames);
                } else {
                    world.stuff(port, &frames);
                }
            }
            let is_drop = |it: &Came| matches!(it.2, Outcome::Fate(fate) if fate.is_drop());
            let expected: Vec<_> = came(&of_all).into_iter().filter(is_drop).collect();
            let is_full = |it: &&Came| it.2 == Outcome::Fate(Fate::TransmitFull);
            full.set(full.get() + expected.iter().filter(is_full).count());
            prop_assert_eq!(came(&of_drops), expected);
        }
        Ok(())
    };
    let bursts = vec((passed_on(), prop::bool::weighted(0.2)), 1..8);
    let mut runner = TestRunner::new(crate::models::cases(256));
    runner.run(&bursts, seen).unwrap();
    assert!(cfg!(miri) || full.get() > 1000, "{}", full.get());
}
