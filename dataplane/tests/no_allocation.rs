//! A worker takes no memory after its start and gives none back: ten thousand bursts, counted by
//! the allocator of its thread.

#![cfg(test)]

#[path = "journeys/frames.rs"]
#[allow(dead_code, reason = "shared with the journeys, which use all of it")]
mod frames;
#[path = "journeys/world.rs"]
#[allow(dead_code, reason = "shared with the journeys, which use all of it")]
mod world;

use allocation_counter::AllocationInfo;
use frames::{from_to, patched};
use tether_dataplane::{
    TapSpec,
    plane::{FlowFilter, Question},
    port::memory::MemoryPort,
    tables::{
        TablesSpec,
        backend::BackendState,
        id::{BackendId, PortId},
        pool::PoolSpec,
        prefix::Prefix,
        service::{Forward, Scheduler},
        tunnel::{Encapsulation, GueVariant, TunnelSpec},
    },
};
use world::{
    Affinity, B1, B2, B3, DNS, DNS4, INSIDE_PORT, OUTSIDE_PORT, Size, USUAL, WEB, WEB_6, WEB4,
    WEB6, World, answer_to, usual,
};

const BURSTS: u64 = if cfg!(miri) { 20 } else { 10_000 };
/// Packets to backends that they bring at least.
const FORWARDED: i64 = 300_000;
const HALF_HOUR: u32 = 1_800_000;

/// Where the source port stands in a frame of each family.
const PORT4: usize = 34;
const PORT6: usize = 54;

/// A frame and where its source port is.
type Template = (Vec<u8>, usize);

/// The tables with schedulers that weigh flows, and with limits and lists.
fn admitted(mut spec: TablesSpec) -> TablesSpec {
    let schedulers = [
        Scheduler::LeastConnections,
        Scheduler::PowerOfTwo,
        Scheduler::SourceHash,
    ];
    for (service, scheduler) in spec.services.iter_mut().zip(schedulers) {
        service.scheduler = scheduler;
        service.limits.per_second_per_source = Some(80);
    }
    spec.services[0].limits.per_second = Some(70);
    let denied = Prefix::new("198.51.100.9".parse().unwrap(), 32);
    spec.services[0].clients.deny = denied.into_iter().collect();
    spec
}

/// What opens flows: scheduled and by affinity, long and short, over both families.
fn openings() -> Vec<Template> {
    let v4 = |client| (from_to(client, WEB4).syn(), PORT4);
    let v6 = |client| (from_to(client, WEB6).syn(), PORT6);
    vec![
        v4("198.51.100.7:1"),
        v4("198.51.100.8:1"),
        v4("198.51.99.9:1"),
        v4("198.51.100.9:1"),
        v4("198.51.98.1:1"),
        v6("[2001:db8:7::7]:1"),
        v6("[2001:db8:8::8]:1"),
        (from_to("198.51.100.7:1", DNS4).datagram(), PORT4),
        (from_to("198.51.99.9:1", DNS4).datagram(), PORT4),
    ]
}

/// What follows a flow that stays.
fn following() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for port in 50_000..50_008 {
        for client in ["198.51.100.7", "198.51.100.8", "198.51.99.9"] {
            frames.push(from_to(&format!("{client}:{port}"), WEB4).ack());
        }
        frames.push(from_to(&format!("[2001:db8:7::7]:{port}"), WEB6).ack());
    }
    frames
}

fn start_all(world: &mut World) {
    world.start(WEB, "198.51.100.7", B1, HALF_HOUR);
    world.start(WEB, "198.51.99.0/24", B2, 90_000);
    world.start(WEB_6, "2001:db8:7::/48", BackendId(5), HALF_HOUR);
    world.start(DNS, "198.51.100.7", BackendId(8), 90_000);
}

/// What the control thread does meanwhile: affinities come and go, a backend drains, flows are asked
/// for.
fn turn_of_control(world: &mut World, burst: u64, coming: &mut Option<Affinity>) {
    match coming.take() {
        Some(affinity) => world.end(affinity),
        None => *coming = Some(world.start(WEB, "198.51.100.8", B3, 5000)),
    }
    let states = [BackendState::Up, BackendState::Draining, BackendState::Down];
    world.set_state(B3, states[usize::try_from(burst / 100 % 3).unwrap()]);
    let flows = Question::Flows {
        cursor: 0,
        filter: FlowFilter::default(),
        room: Vec::with_capacity(64),
    };
    world.writer.ask(0, flows).unwrap();
}

/// One step of the worker, counted; its neighbours then answer.
fn step(world: &mut World) -> AllocationInfo {
    let (worker, now) = (&mut world.workers[0], world.now);
    let counted = allocation_counter::measure(|| {
        worker.step(now);
    });
    for left in world.left(0) {
        if let Some(reply) = answer_to(&left.frame) {
            world.put(0, left.port, &reply);
        }
    }
    drop(world.writer.answer(0));
    counted
}

#[test]
fn ten_thousand_bursts_take_no_memory_and_give_none_back() {
    let world = ten_thousand_bursts(usual(), &[]);
    let counts = world.counts(0);
    assert!(counts["forwarded"] > FORWARDED, "{counts:?}");
}

/// Over both families, with what is too big.
#[test]
fn nor_do_tunnels() {
    let mut spec = usual();
    let [web, web6, dns] = &mut spec.services[..] else {
        panic!("three services")
    };
    for (service, encapsulation) in [
        (web, Encapsulation::Ipip),
        (web6, Encapsulation::Gre),
        (
            dns,
            Encapsulation::Gue {
                port: 6080,
                variant: GueVariant::Direct,
            },
        ),
    ] {
        service.forward = Forward::Tunnel(TunnelSpec {
            encapsulation,
            source_v4: None,
            source_v6: Some(("fd00:99::".parse().unwrap(), 48)),
            mss_clamp: Some(1300),
        });
    }
    let addresses = ["10.0.0.1", "fd00::2", "10.0.0.3"];
    for (backend, address) in spec.backends.iter_mut().zip(addresses) {
        backend.address = address.parse().unwrap();
    }
    let too_big = from_to("198.51.100.7:50000", DNS4).datagram_of(&[7; 1470]);
    let world = ten_thousand_bursts(spec, &[too_big]);
    let counts = world.counts(0);
    assert!(counts["forwarded"] > FORWARDED, "{counts:?}");
    assert!(counts["told_too_big"] > 0, "{counts:?}");
}

/// With answers, and with packets of no service.
#[test]
fn nor_does_nat() {
    let mut spec = usual();
    for service in &mut spec.services {
        service.forward = Forward::Nat;
    }
    let routers = ["192.0.2.1", "2001:db8::1"].map(|it| it.parse().unwrap());
    spec.ports[OUTSIDE_PORT].gateways = routers.to_vec();
    // All frames come by the port to the clients: let it be that to the backends too.
    let inside = std::mem::take(&mut spec.ports[INSIDE_PORT].addresses);
    spec.ports[OUTSIDE_PORT].addresses.extend(inside);
    let answers = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.99:80"];
    let answers = answers.map(|from| from_to(from, "198.51.100.7:50000").ack());
    let world = ten_thousand_bursts(spec, &answers);
    let counts = world.counts(0);
    assert!(counts["returned"] > 10_000, "{counts:?}");
}

/// With answers, between families too, with PROXY headers and with packets that begin nothing.
#[test]
fn nor_does_full_nat() {
    let mut spec = usual();
    let pool: Vec<std::net::IpAddr> = ["10.0.0.200", "10.0.0.201", "fd00::200"]
        .map(|it| it.parse().unwrap())
        .to_vec();
    for service in &mut spec.services {
        service.forward = Forward::Fullnat;
        service.proxy_protocol = true;
        spec.pools.push(PoolSpec {
            service: service.id,
            addresses: pool.clone(),
            ports: (1024, 9000),
        });
    }
    for (backend, address) in spec.backends.iter_mut().zip(["10.0.0.1", "fd00::2"]) {
        backend.address = address.parse().unwrap();
    }
    let routers = ["192.0.2.1", "2001:db8::1"].map(|it| it.parse().unwrap());
    spec.ports[OUTSIDE_PORT].gateways = routers.to_vec();
    let inside = std::mem::take(&mut spec.ports[INSIDE_PORT].addresses);
    spec.ports[OUTSIDE_PORT].addresses.extend(inside);
    // Some of the ports are those of sessions by the first one, most of the time.
    let mut others: Vec<_> = (0..16)
        .map(|it| {
            let answer = from_to("10.0.0.1:80", &format!("10.0.0.200:{}", 1024 + it * 300));
            // Every other one begins a stream, at the number of the client's packets.
            answer.tcp(|tcp| {
                (tcp.syn, tcp.ack, tcp.acknowledgment_number) = (it % 2 == 1, true, 1);
            })
        })
        .collect();
    others.push(from_to("198.51.100.7:60000", WEB4).fin());
    let world = ten_thousand_bursts(spec, &others);
    let counts = world.counts(0);
    assert!(counts["returned"] > 1000, "{counts:?}");
    assert!(counts["no_session"] > 1000, "{counts:?}");
    assert!(counts["no_local_port"] > 0, "{counts:?}");
    assert_eq!(counts["local_ports"], 3 * 7977);
}

/// With a tap, both ways, and a limit.
#[test]
fn nor_does_the_kernels_part() {
    let mut world = settled(usual());
    let (tap, kernel) = MemoryPort::new(1024, 512);
    let spec = TapSpec {
        per_second: 100,
        mtu: 1500,
    };
    let worker = world.workers.remove(0);
    world.workers.push(worker.with_tap(PortId(0), tap, spec));
    let bgp = from_to("192.0.2.1:40000", "192.0.2.2:179").ack();
    let others = [bgp.clone(), bgp.clone(), bgp.clone()];
    let world = ten_thousand_bursts_of(world, &others, || {
        while kernel.receive().is_some() {}
        assert!(kernel.free_frames() < 1000 || kernel.send(&bgp));
    });
    let counts = world.counts(0);
    for name in ["to_kernel", "from_kernel", "kernel_rate_limited"] {
        assert!(counts[name] > 5000, "{name}: {counts:?}");
    }
}

fn settled(spec: TablesSpec) -> World {
    let size = Size {
        flows: 16_384,
        ..USUAL
    };
    World::settled(admitted(spec), size)
}

fn ten_thousand_bursts(spec: TablesSpec, others: &[Vec<u8>]) -> World {
    ten_thousand_bursts_of(settled(spec), others, || ())
}

fn ten_thousand_bursts_of(
    mut world: World,
    others: &[Vec<u8>],
    mut meanwhile: impl FnMut(),
) -> World {
    start_all(&mut world);
    let mut coming = None;
    let (openings, following) = (openings(), following());
    for burst in 0..BURSTS {
        for (at, (frame, place)) in (0_u64..).zip(&openings) {
            let port = u16::try_from((burst * 7 + at) % 50_000).unwrap() + 1;
            let frame = patched(frame.clone(), *place, &port.to_be_bytes());
            world.put(0, OUTSIDE_PORT, &frame);
        }
        for frame in following.iter().chain(others) {
            world.put(0, OUTSIDE_PORT, frame);
        }
        if burst.is_multiple_of(100) {
            turn_of_control(&mut world, burst, &mut coming);
        }
        meanwhile();
        world.pass(11);
        let counted = step(&mut world);
        let (taken, balance) = (counted.count_total, counted.count_current);
        assert_eq!((taken, balance), (0, 0), "burst {burst}: {counted:?}");
    }
    let counts = world.counts(0);
    let all = [
        "flows_by_affinity",
        "flows_by_scheduler",
        "refreshes",
        "flows_expired",
        "flows_moved",
        "fallback_down",
        "learned",
        "originated",
        "denied_source",
        "service_rate",
        "source_rate",
    ];
    let missing: Vec<_> = all.iter().filter(|name| counts[*name] == 0).collect();
    assert!(missing.is_empty(), "{missing:?} did not happen");
    world
}
