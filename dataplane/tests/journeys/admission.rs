//! Whose new flows a service takes and how many, and what a flood does to everybody else (contract
//! rules R1, R2 and R7).

use crate::{
    frames::{Conversation, from_to},
    world::{
        B1, B2, B3, Counts, DNS, DNS4, OUTSIDE_PORT, Size, USUAL, WEB, WEB4, WEB6, World, moved,
        usual,
    },
};
use std::net::Ipv4Addr;
use tether_dataplane::tables::{
    TablesSpec, backend::BackendState, id::BackendId, prefix::Prefix, service::FlowLimits,
};

const CLIENT: &str = "198.51.100.7";
const MINUTE: u32 = 60_000;

fn flow(port: u16) -> Conversation {
    from_to(&format!("{CLIENT}:{port}"), WEB4)
}

/// A flow of a client that nobody has seen before.
fn stranger(number: u32) -> Conversation {
    let address = Ipv4Addr::from_bits(0x0b00_0000 + number);
    from_to(&format!("{address}:1024"), WEB4)
}

/// The usual tables, with these limits of the web service.
pub(crate) fn limited(per_second: Option<u32>, per_second_per_source: Option<u32>) -> TablesSpec {
    let mut spec = usual();
    spec.services[0].limits = FlowLimits {
        per_second,
        per_second_per_source,
    };
    spec
}

pub(crate) fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), length.parse().unwrap()).unwrap()
}

/// The usual tables; the web services take and refuse these.
fn listed(allow: &[&str], deny: &[&str]) -> TablesSpec {
    let mut spec = usual();
    for service in &mut spec.services[..2] {
        let is_six = service.address.is_ipv6();
        let of_family = |texts: &[&str]| {
            let texts = texts.iter().filter(|text| text.contains(':') == is_six);
            texts.map(|text| prefix(text)).collect()
        };
        (service.clients.allow, service.clients.deny) = (of_family(allow), of_family(deny));
    }
    spec
}

/// What a step with the SYNs of these flows moves, of what says who was placed and who was not.
fn sent(world: &mut World, flows: &[Conversation]) -> Counts {
    let syns: Vec<_> = flows.iter().map(|flow| flow.syn()).collect();
    let (_, mut moved) = world.observed(&syns);
    for name in [
        "forwarded_bytes",
        "flows_by_scheduler",
        "flows_by_affinity",
        "flows",
        "refreshes",
    ] {
        moved.remove(name);
    }
    moved
}

fn placed(forwarded: i64, others: &[(&'static str, i64)]) -> Counts {
    let forwarded = (forwarded > 0).then_some(("forwarded", forwarded));
    others.iter().copied().chain(forwarded).collect()
}

#[test]
fn a_service_takes_so_many_new_flows_a_second() {
    let mut world = World::of(limited(Some(10), None), USUAL);
    let flows: Vec<_> = (0..25).map(stranger).collect();
    assert_eq!(
        sent(&mut world, &flows),
        placed(10, &[("service_rate", 15)])
    );
    // Those that were taken go on; a SYN that comes again is the flow's own.
    let (_, moved) = world.observed(&[flows[0].ack(), flows[9].syn(), flows[24].ack()]);
    assert_eq!((moved["forwarded"], moved["service_rate"]), (2, 1));
    world.pass(298);
    assert_eq!(
        sent(&mut world, &flows[10..]),
        placed(3, &[("service_rate", 12)])
    );
    // Another service has its own, here none.
    let datagrams: Vec<_> = (1..40)
        .map(|port| from_to(&format!("{CLIENT}:{port}"), DNS4).datagram())
        .collect();
    let (left, _) = world.observed(&datagrams);
    assert_eq!(left.len(), 39);
}

#[test]
fn a_source_opens_so_many_flows_a_second() {
    let mut world = World::of(limited(None, Some(5)), USUAL);
    let flows: Vec<_> = (1..9).map(flow).collect();
    assert_eq!(sent(&mut world, &flows), placed(5, &[("source_rate", 3)]));
    // Others are not concerned.
    let others: Vec<_> = (0..20).map(stranger).collect();
    assert_eq!(sent(&mut world, &others), placed(20, &[]));
    world.pass(198);
    assert_eq!(
        sent(&mut world, &flows[5..]),
        placed(1, &[("source_rate", 2)])
    );
}

#[test]
fn the_parts_of_a_limit_are_the_workers() {
    let size = Size {
        workers: 4,
        ..USUAL
    };
    let mut world = World::of(limited(Some(40), None), size);
    for worker in 0..4 {
        for number in 0..20 {
            let syn = stranger(number).syn();
            world.put(worker, OUTSIDE_PORT, &syn);
        }
        assert_eq!(world.step(worker).len(), 10);
        assert_eq!(world.counts(worker)["service_rate"], 10);
    }
}

#[test]
fn r7_an_affinity_is_past_the_limit_of_the_service_and_not_of_its_source() {
    let mut world = World::of(limited(Some(3), Some(5)), USUAL);
    world.start(WEB, CLIENT, B2, MINUTE);
    let flood: Vec<_> = (0..50).map(stranger).collect();
    assert_eq!(sent(&mut world, &flood), placed(3, &[("service_rate", 47)]));
    let flows: Vec<_> = (1..9).map(flow).collect();
    assert_eq!(sent(&mut world, &flows), placed(5, &[("source_rate", 3)]));
    assert_eq!(world.counts(0)["flows_by_affinity"], 5);
    // Without its owner the client is one of all.
    let mut world = World::of(limited(Some(1), Some(5)), USUAL);
    world.start(WEB, CLIENT, B2, MINUTE);
    world.set_state(B2, BackendState::Disabled);
    assert_eq!(sent(&mut world, &[stranger(1)]), placed(1, &[]));
    let counted = placed(0, &[("service_rate", 1), ("fallback_disabled", 1)]);
    assert_eq!(sent(&mut world, &[flow(20)]), counted);
}

#[test]
fn r1_a_flow_that_moves_is_not_a_new_one() {
    let mut world = World::of(limited(Some(3), Some(1)), USUAL);
    let flows: Vec<_> = (0..3).map(stranger).collect();
    assert_eq!(sent(&mut world, &flows), placed(3, &[]));
    world.set_state(B1, BackendState::Down);
    let (left, moved) = world.observed(&[flows[0].ack(), flows[1].ack(), flows[2].ack()]);
    assert_eq!(left.len(), 3);
    assert_eq!(moved["flows_moved"], 1);
    assert_eq!(
        sent(&mut world, &[stranger(9)]),
        placed(0, &[("service_rate", 1)])
    );
}

#[test]
fn a_limit_that_is_taken_back_is_gone_at_once() {
    let mut world = World::of(limited(Some(1), Some(1)), USUAL);
    let flows: Vec<_> = (1..9).map(flow).collect();
    assert_eq!(sent(&mut world, &flows), placed(1, &[("source_rate", 7)]));
    world.spec.services[0].limits = FlowLimits::default();
    world.publish_tables();
    assert_eq!(sent(&mut world, &flows), placed(8, &[]));
}

#[test]
fn the_lists_of_a_service_decide_about_new_flows() {
    let spec = listed(
        &["198.51.100.0/24", "2001:db8:7::/48"],
        &["198.51.100.64/26", "2001:db8:7:9::/64"],
    );
    let mut world = World::of(spec, USUAL);
    let from = |clients: &[&str], service| -> Vec<_> {
        clients
            .iter()
            .map(|client| from_to(client, service))
            .collect()
    };
    let taken = from(
        &["198.51.100.1:1", "198.51.100.63:1", "198.51.100.128:1"],
        WEB4,
    );
    assert_eq!(sent(&mut world, &taken), placed(3, &[]));
    let refused = from(
        &["198.51.100.64:1", "198.51.100.127:1", "198.51.99.1:1"],
        WEB4,
    );
    assert_eq!(
        sent(&mut world, &refused),
        placed(0, &[("denied_source", 3)])
    );
    let six = from(
        &[
            "[2001:db8:7::1]:1",
            "[2001:db8:7:9::1]:1",
            "[2001:db8:8::1]:1",
        ],
        WEB6,
    );
    assert_eq!(sent(&mut world, &six), placed(1, &[("denied_source", 2)]));
    // Another service of the VIP takes them.
    let datagram = from_to("198.51.99.1:1", DNS4).datagram();
    assert!(world.receiver(&datagram).is_some());
}

#[test]
fn r1_a_list_that_changes_lets_live_flows_go_on() {
    let mut world = World::new();
    let before = world.receiver(&flow(1).syn());
    assert!(before.is_some());
    world.start(WEB, CLIENT, B3, MINUTE);
    world.spec.services[0].clients.deny = vec![prefix("198.51.100.0/24")];
    world.publish_tables();
    assert_eq!(world.receiver(&flow(1).ack()), before);
    // An affinity is past the scheduler, not past the list.
    assert_eq!(
        sent(&mut world, &[flow(2)]),
        placed(0, &[("denied_source", 1)])
    );
    world.spec.services[0].clients.deny.clear();
    world.publish_tables();
    assert_eq!(world.receiver(&flow(2).syn()), Some(B3));
}

/// A SYN flood of spoofed sources, many times the places that a worker has.
fn flood(world: &mut World, syns: u32, first: u32) {
    for burst in 0..syns / 50 {
        for number in 0..50 {
            let syn = stranger(first + burst * 50 + number).syn();
            world.put(0, OUTSIDE_PORT, &syn);
        }
        if burst % 20 == 0 {
            world.pass(1);
        }
        world.step(0);
    }
}

/// Flows of the scheduler and of affinities, established; each with who has it.
fn established(world: &mut World) -> Vec<(Conversation, Option<BackendId>)> {
    let flows = (1..100).map(|port| {
        let client = format!("198.51.100.{}:{port}", port % 20);
        from_to(&client, if port % 3 == 0 { DNS4 } else { WEB4 })
    });
    let flows: Vec<_> = flows.collect();
    let mut list = Vec::new();
    for flow in flows {
        let is_udp = flow.service.port() == 53;
        let first = if is_udp { flow.datagram() } else { flow.syn() };
        let second = if is_udp { flow.datagram() } else { flow.ack() };
        let backend = world.receiver(&first);
        assert!(backend.is_some());
        assert_eq!(world.receiver(&second), backend);
        list.push((flow, backend));
    }
    list
}

fn assert_unharmed(world: &mut World, flows: &[(Conversation, Option<BackendId>)]) {
    for (flow, backend) in flows {
        let is_udp = flow.service.port() == 53;
        let next = if is_udp { flow.datagram() } else { flow.ack() };
        assert_eq!(world.receiver(&next), *backend, "{flow:?}");
    }
}

#[test]
fn r7_a_syn_flood_harms_no_established_flow_and_no_affinity() {
    for limits in [(None, None), (Some(1000), Some(100))] {
        let size = Size {
            flows: 512,
            ..USUAL
        };
        let mut world = World::of(limited(limits.0, limits.1), size);
        world.start(WEB, "198.51.100.7", B2, MINUTE);
        world.start(WEB, "198.51.102.0/24", B3, MINUTE);
        world.start(DNS, "198.51.100.8", BackendId(8), MINUTE);
        let flows = established(&mut world);
        let before = world.counts(0);
        let syns = 20_000;
        flood(&mut world, syns, 0);
        let moved = moved(&before, &world.counts(0));
        let count = |name| moved.get(name).copied().unwrap_or(0);
        assert_eq!(count("received"), i64::from(syns));
        let all = count("forwarded") + count("service_rate");
        assert_eq!(all, i64::from(syns), "{moved:?}");
        if limits.0.is_none() {
            // The table is small: half-open flows push out each other.
            assert!(
                count("flows_evicted") + count("flows_unremembered") > 15_000,
                "{moved:?}"
            );
        } else {
            // A second's worth and what came due meanwhile.
            assert!((1000..1030).contains(&count("forwarded")), "{moved:?}");
        }
        assert_unharmed(&mut world, &flows);
        // In the midst of it clients with an affinity open flows, and reach their owners.
        for port in 2000..2060_u16 {
            flood(&mut world, 50, 1_000_000 + u32::from(port) * 50);
            let client = format!("198.51.102.{}:{port}", port % 100);
            let flow = from_to(&client, WEB4);
            assert_eq!(world.receiver(&flow.syn()), Some(B3));
            assert_eq!(world.receiver(&flow.ack()), Some(B3));
        }
        assert_unharmed(&mut world, &flows);
        assert!(world.writer.affinities().len() == 3, "none is evicted");
    }
}

/// Of one greedy client among others, whose flood comes through every port of its own.
#[test]
fn one_greedy_source_leaves_the_others_their_room() {
    let mut world = World::of(limited(None, Some(20)), USUAL);
    let mut greedy: i64 = 0;
    for second in 0..5_u16 {
        for burst in 0..10_u16 {
            let ports = (0..50).map(|it| 1 + second * 500 + burst * 50 + it);
            let flows: Vec<_> = ports.map(flow).collect();
            let moved = sent(&mut world, &flows);
            greedy += moved.get("forwarded").copied().unwrap_or(0);
            let other = stranger(u32::from(second) * 10 + u32::from(burst) % 3);
            assert!(world.receiver(&other.syn()).is_some());
            world.pass(98);
        }
    }
    // A second's worth at once, then 20 a second for 4.9 s.
    assert!((116..=118).contains(&greedy), "{greedy}");
}
