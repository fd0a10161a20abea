//! Services of several VIPs: who is found, what an affinity covers, and what is answered.

use crate::{
    frames::{OUTSIDE, ROUTER, arp, from_to},
    world::{B1, B2, OUTSIDE_PORT, USUAL, World, backend, service, usual},
};
use etherparse::ArpOperation;
use tether_dataplane::{
    Mac,
    key::Protocol,
    tables::{
        TablesSpec,
        id::{BackendId, ServiceId},
    },
};

/// TCP to 203.0.113.0/24, port 80.
const NET: ServiceId = ServiceId(10);
/// TCP to 203.0.113.64/28, every port.
const INNER: ServiceId = ServiceId(11);
const B21: BackendId = BackendId(21);
const B22: BackendId = BackendId(22);
const B23: BackendId = BackendId(23);
const MINUTE: u32 = 60_000;

/// The usual tables, and services of the net of the usual VIP and of a part of it.
fn nets() -> TablesSpec {
    let mut spec = usual();
    for (id, address, length, port) in
        [(NET, "203.0.113.0", 24, 80), (INNER, "203.0.113.64", 28, 0)]
    {
        let mut net = service(id, Protocol::Tcp, address, port);
        net.prefix_length = length;
        spec.services.push(net);
    }
    spec.backends.push(backend(21, NET, "10.0.0.21"));
    spec.backends.push(backend(22, NET, "10.0.0.22"));
    spec.backends.push(backend(23, INNER, "10.0.0.23"));
    spec
}

fn syn(client: &str, service: &str) -> Vec<u8> {
    from_to(client, service).syn()
}

#[test]
fn the_exact_service_wins_then_the_longest_prefix() {
    let mut world = World::of(nets(), USUAL);
    let client = "198.51.100.7:1";
    assert_eq!(
        world.receiver(&syn(client, "203.0.113.80:80")),
        Some(B1),
        "exact"
    );
    assert_eq!(world.receiver(&syn(client, "203.0.113.1:80")), Some(B21));
    assert_eq!(world.receiver(&syn(client, "203.0.113.255:80")), Some(B22));
    assert_eq!(
        world.receiver(&syn(client, "203.0.113.64:80")),
        Some(B23),
        "longer"
    );
    assert_eq!(
        world.receiver(&syn(client, "203.0.113.79:9")),
        Some(B23),
        "every port"
    );
    for nobody in ["203.0.113.1:81", "203.0.112.255:80", "203.0.114.0:80"] {
        let (left, moved) = world.observed(&[syn(client, nobody)]);
        assert!(left.is_empty(), "{nobody}");
        assert_eq!(moved, [("no_service", 1)].into(), "{nobody}");
    }
}

#[test]
fn r1_flows_to_each_address_are_their_own() {
    let mut world = World::of(nets(), USUAL);
    let to = |last: u8| from_to("198.51.100.7:1", &format!("203.0.113.{last}:80"));
    let placed: Vec<_> = (1..9).map(|last| world.receiver(&to(last).syn())).collect();
    assert_eq!(placed[..4], [Some(B21), Some(B22), Some(B21), Some(B22)]);
    for (last, backend) in (1..9).zip(placed) {
        assert_eq!(world.receiver(&to(last).ack()), backend);
    }
}

#[test]
fn r6_an_affinity_covers_the_addresses_of_its_service_and_no_other() {
    let mut world = World::of(nets(), USUAL);
    world.start(NET, "198.51.100.7", B22, MINUTE);
    for last in [1, 2, 3, 100, 255] {
        let syn = syn("198.51.100.7:1", &format!("203.0.113.{last}:80"));
        assert_eq!(world.receiver(&syn), Some(B22), "{last}");
    }
    // The exact VIP and the longer prefix are other services, and so is another port.
    let client = "198.51.100.7:2";
    assert_eq!(world.receiver(&syn(client, "203.0.113.80:80")), Some(B1));
    assert_eq!(world.receiver(&syn(client, "203.0.113.80:80")), Some(B1));
    assert_eq!(
        world.receiver(&syn("198.51.100.7:3", "203.0.113.80:80")),
        Some(B2)
    );
    assert_eq!(world.receiver(&syn(client, "203.0.113.65:80")), Some(B23));
}

#[test]
fn every_address_of_a_prefix_is_answered_for() {
    let mut world = World::of(nets(), USUAL);
    let asks = |target: &str| {
        let router = (ROUTER, [192, 0, 2, 1].into());
        let target = (Mac([0; 6]), target.parse().unwrap());
        arp(
            (ROUTER, Mac([255; 6])),
            ArpOperation::REQUEST,
            router,
            target,
        )
    };
    for ours in ["203.0.113.0", "203.0.113.77", "203.0.113.255"] {
        let left = world.send(&asks(ours));
        let ours = (OUTSIDE, ours.parse().unwrap());
        let router = (ROUTER, [192, 0, 2, 1].into());
        let answer = arp((OUTSIDE, ROUTER), ArpOperation::REPLY, ours, router);
        assert_eq!(left.len(), 1);
        assert_eq!(
            (left[0].port, &left[0].frame[..42]),
            (OUTSIDE_PORT, &answer[..42])
        );
    }
    let (left, moved) = world.observed(&[asks("203.0.114.0")]);
    assert!(left.is_empty());
    assert!(!moved.contains_key("answered"), "{moved:?}");
}
