//! Contract rule R3: the schedulers, as packets see them.

use crate::{
    frames::{from_to, patched},
    related::error4,
    world::{B1, B2, B3, DNS, DNS4, USUAL, WEB, WEB_6, WEB4, WEB6, World, usual},
};
use tether_dataplane::tables::{TablesSpec, id::BackendId, service::Scheduler};

const MINUTE: u32 = 60_000;

/// The usual tables, all services with one scheduler.
fn scheduled(scheduler: Scheduler) -> TablesSpec {
    let mut spec = usual();
    for service in &mut spec.services {
        service.scheduler = scheduler;
    }
    spec
}

fn with_weights(scheduler: Scheduler, weights: [u32; 3]) -> TablesSpec {
    let mut spec = scheduled(scheduler);
    for (backend, weight) in spec.backends.iter_mut().zip(weights) {
        (backend.weight, backend.nominal_weight) = (weight, weight);
    }
    spec
}

/// The client's port of the flow with this number.
fn client(number: u16) -> String {
    format!("198.51.100.{}:{}", number % 250, 1000 + number)
}

/// Opens and establishes a flow; who has it.
fn open(world: &mut World, number: u16) -> BackendId {
    let flow = from_to(&client(number), WEB4);
    let backend = world.receiver(&flow.syn()).expect("a backend");
    assert_eq!(world.receiver(&flow.ack()), Some(backend), "R1");
    backend
}

fn flows(world: &World) -> [u64; 3] {
    [B1, B2, B3].map(|id| world.writer.backend_flows(id))
}

#[test]
fn r3_least_connections_keeps_flows_in_the_shares_of_the_weights() {
    let spec = with_weights(Scheduler::LeastConnections, [1, 2, 3]);
    let mut world = World::of(spec, USUAL);
    for number in 0..60 {
        open(&mut world, number);
    }
    assert_eq!(flows(&world), [10, 20, 30]);
    let counts = world.counts(0);
    assert_eq!((counts["flows_by_scheduler"], counts["flows"]), (60, 60));
}

#[test]
fn r3_least_connections_counts_what_ends_and_what_an_affinity_brings() {
    let mut world = World::of(scheduled(Scheduler::LeastConnections), USUAL);
    let placed: Vec<_> = (0..9)
        .map(|number| (number, open(&mut world, number)))
        .collect();
    assert_eq!(flows(&world), [3, 3, 3]);
    // The flows of one backend end and are swept: it gets the next three.
    for (number, _) in placed.iter().filter(|(_, backend)| *backend == B2) {
        world.send(&from_to(&client(*number), WEB4).rst());
    }
    for _ in 0..8 {
        world.pass(4000);
        world.step(0);
    }
    assert_eq!(flows(&world), [3, 0, 3]);
    let next: Vec<_> = (20..23).map(|number| open(&mut world, number)).collect();
    assert_eq!(next, [B2, B2, B2]);
    // An affinity brings one backend more than its share: the others make up for it.
    let affinity = world.start(WEB, "198.51.100.200", B1, MINUTE);
    for port in 1..4 {
        let flow = from_to(&format!("198.51.100.200:{port}"), WEB4);
        assert_eq!(world.receiver(&flow.syn()), Some(B1), "R2");
    }
    world.end(affinity);
    let mut next: Vec<_> = (30..36).map(|number| open(&mut world, number)).collect();
    next.sort();
    assert_eq!(next, [B2, B2, B2, B3, B3, B3]);
    assert_eq!(flows(&world), [6, 6, 6]);
}

#[test]
fn r3_power_of_two_comes_close_to_the_weights() {
    let spec = with_weights(Scheduler::PowerOfTwo, [1, 2, 3]);
    let mut world = World::of(spec, USUAL);
    for number in 0..240 {
        open(&mut world, number);
    }
    let [one, two, three] = flows(&world);
    assert_eq!(one + two + three, 240);
    assert!(
        one.abs_diff(40) <= 4 && two.abs_diff(80) <= 8,
        "{one} {two} {three}"
    );
}

#[test]
fn r3_source_hash_keeps_all_connections_of_a_client_together() {
    let mut world = World::of(scheduled(Scheduler::SourceHash), USUAL);
    let mut seen = [0; 3];
    for host in 1..40 {
        let backends: Vec<_> = (1..4)
            .map(|port| from_to(&format!("198.51.100.{host}:{port}"), WEB4).syn())
            .map(|syn| world.receiver(&syn).expect("a backend"))
            .collect();
        assert!(backends.iter().all(|it| *it == backends[0]), "{backends:?}");
        seen[backends[0].index() - 1] += 1;
    }
    assert!(seen.iter().all(|clients| *clients > 5), "{seen:?}");
    let v6 = |port| from_to(&format!("[2001:db8:7::7]:{port}"), WEB6).syn();
    assert_eq!(world.receiver(&v6(1)), world.receiver(&v6(2)));
}

#[test]
fn r8_with_source_hash_an_icmp_error_finds_the_backend_without_a_flow() {
    let mut world = World::of(scheduled(Scheduler::SourceHash), USUAL);
    let flow = from_to("198.51.100.7:4000", WEB4);
    let about_nothing = error4(3, 1, flow, 28);
    let told = world.receiver(&about_nothing).expect("a backend");
    assert_eq!(world.receiver(&flow.syn()), Some(told));
    for scheduler in [Scheduler::LeastConnections, Scheduler::PowerOfTwo] {
        let mut world = World::of(scheduled(scheduler), USUAL);
        let (left, moved) = world.observed(std::slice::from_ref(&about_nothing));
        assert!(left.is_empty());
        assert_eq!(moved, [("icmp_no_flow", 1)].into());
    }
}

#[test]
fn r2_an_affinity_outweighs_every_scheduler() {
    for scheduler in [
        Scheduler::LeastConnections,
        Scheduler::PowerOfTwo,
        Scheduler::SourceHash,
    ] {
        let mut world = World::of(with_weights(scheduler, [50, 1, 0]), USUAL);
        world.start(WEB, "198.51.100.7", B3, MINUTE);
        world.start(WEB_6, "2001:db8:7::/48", BackendId(6), MINUTE);
        world.start(DNS, "198.51.100.7", BackendId(8), MINUTE);
        let syn = from_to("198.51.100.7:1", WEB4).syn();
        for port in 1_u16..20 {
            let syn = patched(syn.clone(), 34, &port.to_be_bytes());
            assert_eq!(world.receiver(&syn), Some(B3), "{scheduler:?}");
            let v6 = from_to(&format!("[2001:db8:7::7]:{port}"), WEB6);
            assert_eq!(world.receiver(&v6.syn()), Some(BackendId(6)));
            let udp = from_to(&format!("198.51.100.7:{port}"), DNS4);
            assert_eq!(world.receiver(&udp.datagram()), Some(BackendId(8)));
        }
    }
}
