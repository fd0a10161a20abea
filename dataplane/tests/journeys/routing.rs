//! The routing rules of the affinity contract, section 2, as packets see them.

use crate::{
    frames::{Conversation, from_to},
    world::{
        Affinity, B1, B2, B3, DNS, DNS4, Size, USUAL, VIP4, WEB, WEB_6, WEB4, WEB6, World, backend,
        service, usual,
    },
};
use tether_dataplane::{
    explain,
    key::Protocol,
    tables::{
        TablesSpec,
        affinity::Grant,
        backend::BackendState,
        id::{BackendId, ServiceId},
        service::OnBackendDown,
    },
};

const CLIENT: &str = "198.51.100.7";
const MINUTE: u32 = 60_000;

/// A connection of the client, from this port.
fn flow(port: u16) -> Conversation {
    from_to(&format!("{CLIENT}:{port}"), WEB4)
}

#[test]
fn r1_nothing_moves_a_live_flow() {
    let mut world = World::new();
    let (a, b, c, d) = (flow(1), flow(2), flow(3), flow(4));
    assert_eq!(world.receiver(&a.syn()), Some(B1));
    let mut affinity = world.start(WEB, CLIENT, B2, MINUTE);
    assert_eq!(world.receiver(&a.ack()), Some(B1), "start");
    assert_eq!(world.receiver(&b.syn()), Some(B2));
    world.end(affinity);
    assert_eq!(world.receiver(&b.ack()), Some(B2), "end");

    affinity = world.start(WEB, CLIENT, B3, 1000);
    assert_eq!(world.receiver(&c.syn()), Some(B3));
    world.pass(1500);
    assert_eq!(world.receiver(&c.ack()), Some(B3), "expiry");

    let grant = Grant {
        deadline: world.now + 60_000,
        duration_ms: MINUTE,
        limit: None,
    };
    affinity = world.start_with(WEB, CLIENT, B1, grant, Some(affinity));
    assert_eq!(world.receiver(&c.ack()), Some(B3), "replacement");
    assert_eq!(world.receiver(&d.syn()), Some(B1));
    for state in [BackendState::Draining, BackendState::Disabled] {
        world.set_state(B1, state);
        assert_eq!(world.receiver(&d.ack()), Some(B1), "{state:?}");
    }
    world.end(affinity);
    assert_eq!(world.receiver(&d.ack()), Some(B1));
}

#[test]
fn r2_a_new_flow_goes_to_the_owner_past_the_scheduler() {
    let mut world = World::new();
    world.start(WEB, CLIENT, B3, MINUTE);
    world.start(WEB_6, "2001:db8:7::/48", BackendId(6), MINUTE);
    world.start(DNS, "198.51.100.7:53", BackendId(8), MINUTE);
    for port in 1..10 {
        assert_eq!(world.receiver(&flow(port).syn()), Some(B3));
        let v6 = from_to(&format!("[2001:db8:7::{port}]:4000"), WEB6);
        assert_eq!(world.receiver(&v6.syn()), Some(BackendId(6)));
    }
    let datagram = from_to("198.51.100.7:53", DNS4).datagram();
    assert_eq!(world.receiver(&datagram), Some(BackendId(8)));
    assert_eq!(world.counts(0)["flows_by_affinity"], 19);
    // The scheduler has not had a turn.
    let other = from_to("198.51.100.8:1", WEB4);
    assert_eq!(world.receiver(&other.syn()), Some(B1));
}

#[test]
fn r3_without_a_match_the_scheduler_decides() {
    let mut world = World::new();
    world.start(WEB, "198.51.100.7:9", B3, MINUTE);
    world.start(WEB, "198.51.100.8", B3, MINUTE);
    world.start(WEB, "198.51.101.0/24", B3, MINUTE);
    let owners: Vec<_> = (1..=4)
        .map(|port| world.receiver(&flow(port).syn()))
        .collect();
    assert_eq!(owners, [Some(B1), Some(B2), Some(B3), Some(B1)]);
    let datagram = from_to("198.51.100.8:9", DNS4).datagram();
    assert_eq!(
        world.receiver(&datagram),
        Some(BackendId(7)),
        "another protocol"
    );
}

#[test]
fn r3_the_switch_of_a_service_turns_affinities_off() {
    let mut world = World::new();
    world.start(WEB, CLIENT, B3, MINUTE);
    world.spec.services[0].affinity = false;
    world.publish_tables();
    assert_eq!(world.receiver(&flow(1).syn()), Some(B1));
    world.spec.services[0].affinity = true;
    world.publish_tables();
    assert_eq!(world.receiver(&flow(2).syn()), Some(B3));
}

#[test]
fn r4_a_retransmitted_syn_follows_its_flow_over_a_start() {
    let mut world = World::new();
    assert_eq!(world.receiver(&flow(1).syn()), Some(B1));
    world.start(WEB, CLIENT, B2, MINUTE);
    world.pass(15_000);
    assert_eq!(world.receiver(&flow(1).syn()), Some(B1));
    assert_eq!(world.receiver(&flow(2).syn()), Some(B2));
}

/// A client that goes on after "its" RST did not send it, in the same burst as well as later.
#[test]
fn r1_a_forged_reset_ends_no_flow_that_goes_on_in_the_same_burst() {
    let mut world = World::new();
    for frames in [vec![flow(1).syn()], vec![flow(1).ack(); 2]] {
        world.send_all(&frames);
    }
    world.send_all(&[flow(1).rst(), flow(1).ack()]);
    for _ in 0..40 {
        world.pass(1000);
        world.step(0);
    }
    assert_eq!(world.counts(0)["flows_expired"], 0);
}

#[test]
fn r4_a_syn_after_the_end_opens_a_new_flow() {
    let mut world = World::new();
    for (port, end) in [(1, flow(1).fin()), (2, flow(2).rst())] {
        let before = world.receiver(&flow(port).syn());
        assert_eq!(world.receiver(&end), before);
        let affinity = world.start(WEB, CLIENT, B3, MINUTE);
        assert_eq!(world.receiver(&flow(port).syn()), Some(B3));
        world.end(affinity);
    }
    let counts = world.counts(0);
    assert_eq!((counts["flows_expired"], counts["flows_moved"]), (0, 0));
}

// ---- R5 ----

const KINDS4: [&str; 4] = [
    "198.51.100.7:4000",
    "198.51.100.7",
    "198.51.100.0/24",
    "198.51.0.0/16",
];
const KINDS6: [&str; 4] = [
    "[2001:db8:7::7]:4000",
    "2001:db8:7::7",
    "2001:db8:7::/64",
    "2001:db8::/32",
];

/// Every order of the first `n` numbers.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(n - 1);
    let insert = |order: &Vec<usize>, at| {
        let mut order = order.clone();
        order.insert(at, n - 1);
        order
    };
    shorter
        .iter()
        .flat_map(|order| (0..n).map(|at| insert(order, at)))
        .collect()
}

/// One backend for each kind and one for the rest: backend 10 + kind, and 20.
fn by_kind() -> TablesSpec {
    let mut spec = usual();
    spec.backends.clear();
    for (service, base) in [(WEB, "10.0.0."), (WEB_6, "fd00::")] {
        let first = if service == WEB { 10 } else { 30 };
        for id in first..first + 5 {
            let mut backend = backend(id, service, &format!("{base}{id}"));
            backend.weight = u32::from(id == first + 4);
            spec.backends.push(backend);
        }
    }
    spec
}

/// The owner that the most specific of the started kinds names.
fn most_specific(first: u16, started: &[Option<Affinity>]) -> BackendId {
    let place = started.iter().position(Option::is_some).unwrap_or(4);
    BackendId(first + u16::try_from(place).unwrap())
}

fn precedence(service: ServiceId, first: u16, kinds: [&str; 4], flow: Conversation) {
    let mut world = World::of(by_kind(), USUAL);
    for start in orders(4) {
        for end in [start.clone(), start.iter().rev().copied().collect()] {
            let mut started = [None; 4];
            for (kind, starting) in start
                .iter()
                .map(|it| (it, true))
                .chain(end.iter().map(|it| (it, false)))
            {
                let owner = BackendId(first + u16::try_from(*kind).unwrap());
                if starting {
                    started[*kind] = Some(world.start(service, kinds[*kind], owner, MINUTE));
                } else if let Some(affinity) = started[*kind].take() {
                    world.end(affinity);
                }
                let expected = most_specific(first, &started);
                let got = world.receiver(&flow.syn());
                assert_eq!(got, Some(expected), "{start:?} {end:?}");
                world.send(&flow.rst());
            }
        }
    }
}

#[test]
fn r5_the_most_specific_wins_in_every_order_over_ipv4() {
    precedence(WEB, 10, KINDS4, flow(4000));
}

#[test]
fn r5_the_most_specific_wins_in_every_order_over_ipv6() {
    let flow = from_to("[2001:db8:7::7]:4000", WEB6);
    precedence(WEB_6, 30, KINDS6, flow);
}

#[test]
fn r5_explain_says_what_a_worker_does() {
    let mut world = World::of(by_kind(), USUAL);
    for (kind, source) in (10..).zip(KINDS4) {
        world.start(WEB, source, BackendId(kind), MINUTE);
    }
    let clients = [
        "198.51.100.7:4000",
        "198.51.100.7:1",
        "198.51.100.9:1",
        "198.51.9.9:1",
        "192.0.2.77:1",
    ];
    for client in clients {
        let asked = explain::Packet {
            protocol: Protocol::Tcp,
            source: client.parse().unwrap(),
            destination: WEB4.parse().unwrap(),
            without: None,
        };
        let explained = world.writer.explain(&asked, world.now);
        let got = world.receiver(&from_to(client, WEB4).syn());
        assert_eq!(explained.backend, got, "{client}");
        let decides = explained.affinity.is_some();
        assert_eq!(decides, explained.by == explain::By::Affinity, "{client}");
    }
}

#[test]
fn r5_an_expired_specific_one_lets_the_broader_show() {
    let mut world = World::new();
    world.start(WEB, "198.51.100.0/24", B2, MINUTE);
    world.start(WEB, CLIENT, B3, 1000);
    assert_eq!(world.receiver(&flow(1).syn()), Some(B3));
    world.pass(1000);
    assert_eq!(world.receiver(&flow(2).syn()), Some(B2));
}

#[test]
fn r6_an_affinity_is_for_one_destination() {
    let mut spec = usual();
    let tls = ServiceId(9);
    spec.services.push(service(tls, Protocol::Tcp, VIP4, 443));
    for id in [21, 22] {
        spec.backends
            .push(backend(id, tls, &format!("10.0.0.{id}")));
    }
    let mut world = World::of(spec, USUAL);
    world.start(tls, CLIENT, BackendId(22), MINUTE);
    let to_tls = |port| from_to(&format!("{CLIENT}:{port}"), "203.0.113.80:443").syn();
    assert_eq!(world.receiver(&flow(1).syn()), Some(B1));
    assert_eq!(world.receiver(&to_tls(1)), Some(BackendId(22)));
    assert_eq!(world.receiver(&flow(2).syn()), Some(B2));
    assert_eq!(world.receiver(&to_tls(2)), Some(BackendId(22)));
}

// ---- R7 ----

fn flood(world: &mut World, syns: u32) {
    let client = |at: u32| {
        let [_, b, c, d] = at.to_be_bytes();
        from_to(&format!("100.{b}.{c}.{d}:{}", 1024 + at % 60_000), WEB4).syn()
    };
    for burst in 0..syns / 64 {
        let frames: Vec<_> = (0..64).map(|it| client(burst * 64 + it)).collect();
        world.send_all(&frames);
    }
}

#[test]
fn r7_a_flood_harms_no_established_flow_and_no_affinity() {
    let size = Size {
        flows: 256,
        ..USUAL
    };
    let mut world = World::of(usual(), size);
    let established: Vec<_> = (0..200).map(|port| flow(1000 + port)).collect();
    let owners: Vec<_> = established
        .iter()
        .map(|it| {
            let owner = world.receiver(&it.syn());
            assert_eq!(world.receiver(&it.ack()), owner);
            owner
        })
        .collect();
    let affinity = world.start(WEB, "198.51.100.8", B3, MINUTE);
    flood(&mut world, 20_000);
    let counts = world.counts(0);
    assert!(counts["flows_evicted"] > 10_000, "the table was full");
    for (flow, owner) in established.iter().zip(owners) {
        assert_eq!(world.receiver(&flow.ack()), owner);
    }
    let lives = world.view(affinity).deadline > world.now;
    assert!(lives, "the flood took less than a minute");
    let syn = from_to("198.51.100.8:1", WEB4).syn();
    assert_eq!(world.receiver(&syn), Some(B3));
}

#[test]
fn r7_an_affinity_holds_where_no_flow_can_be_remembered() {
    let size = Size { flows: 4, ..USUAL };
    let mut world = World::of(usual(), size);
    for port in 1000..1200 {
        world.send(&flow(port).syn());
        world.send(&flow(port).ack());
    }
    assert!(
        world.counts(0)["flows_unremembered"] > 0,
        "the table is full"
    );
    let affinity = world.start(WEB, "198.51.100.8", B3, MINUTE);
    for port in 1..20 {
        let flow = from_to(&format!("198.51.100.8:{port}"), WEB4);
        assert_eq!(world.receiver(&flow.syn()), Some(B3));
        assert_eq!(world.receiver(&flow.ack()), Some(B3));
    }
    assert_eq!(world.view(affinity).flows, 0, "none is remembered");
}

// ---- R9 ----

/// A flow of B1 in a world with this rule; B1 then goes down or away.
fn bereft(rule: OnBackendDown, removed: bool) -> World {
    let mut world = World::new();
    world.spec.services[0].on_backend_down = rule;
    world.publish_tables();
    assert_eq!(world.receiver(&flow(1).syn()), Some(B1));
    assert_eq!(world.receiver(&flow(1).ack()), Some(B1));
    if removed {
        world.remove(B1);
    } else {
        world.set_state(B1, BackendState::Down);
    }
    world
}

#[test]
fn r9_balance_places_a_flow_again_from_its_middle() {
    for removed in [false, true] {
        let mut world = bereft(OnBackendDown::Balance, removed);
        let new = world.receiver(&flow(1).ack());
        assert!(matches!(new, Some(B2 | B3)), "{new:?}");
        assert_eq!(world.receiver(&flow(1).ack()), new);
        assert_eq!(world.counts(0)["flows_moved"], 1);
        assert_eq!(world.writer.backend_flows(B1), 0);
    }
}

#[test]
fn r9_drop_drops_every_packet_from_the_middle_and_a_syn_opens_anew() {
    for removed in [false, true] {
        let mut world = bereft(OnBackendDown::Drop, removed);
        for _ in 0..3 {
            assert_eq!(world.receiver(&flow(1).ack()), None);
        }
        assert_eq!(world.counts(0)["backend_down"], 3);
        let new = world.receiver(&flow(1).syn());
        assert!(matches!(new, Some(B2 | B3)), "{new:?}");
        assert_eq!(world.receiver(&flow(1).ack()), new);
    }
}

#[test]
fn r9_a_dropped_flow_goes_on_when_its_backend_is_back() {
    let mut world = bereft(OnBackendDown::Drop, false);
    assert_eq!(world.receiver(&flow(1).ack()), None);
    world.set_state(B1, BackendState::Up);
    assert_eq!(world.receiver(&flow(1).ack()), Some(B1));
}

#[test]
fn r9_a_flow_that_nobody_could_take_goes_on_when_its_backend_is_back() {
    let mut world = bereft(OnBackendDown::Balance, false);
    for other in [B2, B3] {
        world.set_state(other, BackendState::Disabled);
    }
    assert_eq!(world.receiver(&flow(1).ack()), None);
    world.set_state(B1, BackendState::Up);
    for other in [B2, B3] {
        world.set_state(other, BackendState::Up);
    }
    for _ in 0..3 {
        assert_eq!(world.receiver(&flow(1).ack()), Some(B1));
    }
}
