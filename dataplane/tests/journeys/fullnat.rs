//! Full NAT: clients behind local addresses, both ways; checksums by `etherparse`, from scratch.

use crate::{
    frames::{Conversation, INSIDE, from_to, patched},
    nat::{answered, inside, ip_bytes, is_whole4, is_whole6, nat, quoted, read, socket, together},
    related::{error4, error6, parts, parts6},
    world::{
        B1, B2, B3, DNS, DNS4, INSIDE_PORT, Left, OUTSIDE_PORT, Size, USUAL, VIP4, VIP6, WEB,
        WEB_6, WEB4, WEB6, World, mac_at,
    },
};
use etherparse::{Icmpv6Type, PacketBuilder, icmpv6};
use std::net::{IpAddr, SocketAddr};
use tether_dataplane::{
    key::Protocol,
    tables::{
        Tables, TablesError, TablesSpec,
        backend::BackendState,
        id::{BackendId, ServiceId},
        pool::PoolSpec,
        service::Forward,
        spread::Spread,
    },
};

type Make = fn(Conversation) -> Vec<u8>;

const CLIENT: &str = "198.51.100.7";
const CLIENT6: &str = "2001:db8:7::7";
const MINUTE: u32 = 60_000;
pub(crate) const LOCAL4: &str = "10.0.0.200";
const LOCAL6: &str = "fd00::200";
const PORTS: (u16, u16) = (2000, 2999);

pub(crate) fn pool(service: ServiceId, addresses: &[&str], ports: (u16, u16)) -> PoolSpec {
    PoolSpec {
        service,
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        ports,
    }
}

/// The usual tables with full NAT; the backends listen at other ports, and the clients are behind
/// routers.
pub(crate) fn fullnat() -> TablesSpec {
    let mut spec = nat();
    for service in &mut spec.services {
        service.forward = Forward::Fullnat;
        let pool = pool(service.id, &[LOCAL4, LOCAL6], PORTS);
        spec.pools.push(pool);
    }
    spec
}

/// The same by one port, which reaches clients and backends.
pub(crate) fn by_one_port() -> TablesSpec {
    let mut spec = fullnat();
    let inside = std::mem::take(&mut spec.ports[INSIDE_PORT].addresses);
    spec.ports[OUTSIDE_PORT].addresses.extend(inside);
    spec
}

fn world() -> World {
    World::of(fullnat(), USUAL)
}

fn workers(workers: usize) -> World {
    World::of(fullnat(), Size { workers, ..USUAL })
}

/// What a backend sees of a conversation, from what left to it; announcements aside.
fn seen(left: &[Left]) -> Conversation {
    let left: Vec<_> = left.iter().filter(|it| it.frame[0] & 1 == 0).collect();
    let [left] = left[..] else {
        panic!("one frame: {left:?}")
    };
    assert_eq!(left.port, INSIDE_PORT);
    seen_in(&left.frame)
}

fn seen_in(frame: &[u8]) -> Conversation {
    let (client, service) = read(frame);
    Conversation { client, service }
}

/// What leaves when a worker gets the answer to what a backend has seen.
fn answer(world: &mut World, worker: usize, seen: Conversation) -> Vec<Left> {
    let frame = inside(&seen.reversed().ack(), seen.service.ip());
    answered(world, worker, &frame)
}

fn local(is_v4: bool) -> IpAddr {
    let address = if is_v4 { LOCAL4 } else { LOCAL6 };
    address.parse().unwrap()
}

#[test]
fn packets_go_from_a_local_port_and_answers_come_back() {
    let mut world = world();
    let (tcp, udp): (Make, Make) = (Conversation::ack, Conversation::datagram);
    for (client, vip, owner, make) in [
        ("198.51.100.7:4000", WEB4, B1, tcp),
        ("[2001:db8:7::7]:4000", WEB6, BackendId(4), tcp),
        ("198.51.100.7:4000", DNS4, BackendId(7), udp),
    ] {
        let sent = from_to(client, vip);
        let there = seen(&world.send(&make(sent)));
        assert_eq!(there.service, socket(&world, owner));
        assert_eq!(there.client.ip(), local(sent.client.is_ipv4()));
        assert!((PORTS.0..=PORTS.1).contains(&there.client.port()));
        assert_eq!(
            seen(&world.send(&make(sent))),
            there,
            "the flow keeps its port"
        );
        let frame = inside(&make(there.reversed()), there.service.ip());
        let left = answered(&mut world, 0, &frame);
        assert_eq!((left.len(), left[0].port), (1, OUTSIDE_PORT));
        assert_eq!(read(&left[0].frame), (sent.service, sent.client));
    }
    let counts = world.counts(0);
    assert_eq!((counts["forwarded"], counts["returned"]), (6, 3));
    assert_eq!(
        (counts["local_ports_used"], counts["local_ports"]),
        (3, 2000)
    );
}

#[test]
fn nothing_changes_but_the_ends_and_a_hop() {
    let mut world = world();
    for (client, vip, l4, hops) in [
        ("198.51.100.7:4000", WEB4, 34, 22),
        ("[2001:db8:7::7]:4000", WEB6, 54, 21),
    ] {
        let sent = from_to(client, vip);
        let there = world.send(&sent.ack()).remove(0).frame;
        let back = seen_in(&there);
        let expected = back.ack();
        assert_eq!(there[hops], 62);
        assert_eq!(there[l4..], expected[l4..]);
        assert_eq!(
            there[..12],
            [mac_at(back.service.ip()).0, INSIDE.0].concat()
        );
    }
}

#[test]
fn r1_r2_affinities_decide_and_flows_stay() {
    let mut world = world();
    let flow = |port| from_to(&format!("{CLIENT}:{port}"), WEB4);
    let to = |world: &mut World, frame: Vec<u8>| seen(&world.send(&frame)).service;
    assert_eq!(to(&mut world, flow(1).syn()), socket(&world, B1));
    let affinity = world.start(WEB, CLIENT, B3, MINUTE);
    assert_eq!(to(&mut world, flow(2).syn()), socket(&world, B3));
    assert_eq!(to(&mut world, flow(1).ack()), socket(&world, B1));
    world.end(affinity);
    assert_eq!(to(&mut world, flow(2).ack()), socket(&world, B3));
    world.set_state(B3, BackendState::Down);
    let before = world.counts(0)["local_ports_used"];
    assert_eq!(to(&mut world, flow(2).syn()), socket(&world, B2));
    world.pass(1);
    world.step(0);
    assert_eq!(
        world.counts(0)["local_ports_used"],
        before,
        "one for the other"
    );
}

#[test]
fn t2_an_answer_extends_no_affinity() {
    let mut world = world();
    let affinity = world.start(WEB, CLIENT, B1, MINUTE);
    let sent = from_to(&format!("{CLIENT}:1"), WEB4);
    let there = seen(&world.send(&sent.syn()));
    let before = world.view(affinity);
    world.pass(5000);
    assert_eq!(answer(&mut world, 0, there).len(), 1);
    assert_eq!(world.view(affinity), before);
    world.send(&sent.ack());
    assert!(world.view(affinity).deadline > before.deadline);
}

/// Steps through `seconds`, so that every line is swept.
fn pass_seconds(world: &mut World, seconds: usize) {
    for _ in 0..seconds {
        world.pass(1000);
        world.step(0);
    }
}

#[test]
fn a_flow_lives_while_its_backend_is_heard_and_its_port_is_free_after() {
    let mut world = world();
    let quiet = from_to(&format!("{CLIENT}:1"), DNS4);
    let heard = from_to(&format!("{CLIENT}:2"), DNS4);
    let [quiet, heard_there] = [quiet, heard].map(|it| {
        world.send(&it.datagram());
        seen(&world.send(&it.datagram()))
    });
    for _ in 0..20 {
        pass_seconds(&mut world, 30);
        let frame = inside(&heard_there.reversed().datagram(), heard_there.service.ip());
        assert_eq!(answered(&mut world, 0, &frame).len(), 1);
    }
    assert_eq!(world.counts(0)["flows_expired"], 1);
    assert_eq!(world.counts(0)["local_ports_used"], 1);
    assert_eq!(seen(&world.send(&heard.datagram())), heard_there);
    let frame = inside(&quiet.reversed().datagram(), quiet.service.ip());
    assert!(answered(&mut world, 0, &frame).is_empty());
    assert_eq!(world.counts(0)["no_session"], 1);
    pass_seconds(&mut world, 340);
    assert_eq!(world.counts(0)["local_ports_used"], 0);
}

/// Anybody can send an error: it keeps nothing alive.
#[test]
fn r8_an_error_about_a_local_port_keeps_no_flow() {
    let mut world = world();
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    world.send(&flow.syn());
    let there = seen(&world.send(&flow.ack()));
    let (IpAddr::V4(from), IpAddr::V4(to)) = (there.service.ip(), there.client.ip()) else {
        panic!("IPv4")
    };
    let error = PacketBuilder::ethernet2(mac_at(from.into()).0, INSIDE.0)
        .ipv4(from.octets(), to.octets(), 60)
        .icmpv4_raw(3, 3, [0; 4]);
    let error = crate::frames::written(|out| error.write(out, &there.ack()[14..54]));
    for _ in 0..20 {
        pass_seconds(&mut world, 30);
        world.put(0, INSIDE_PORT, &error);
        world.step(0);
    }
    assert_eq!(world.counts(0)["flows_expired"], 1);
    assert_eq!(world.counts(0)["local_ports_used"], 0);
}

#[test]
fn without_a_free_port_a_new_flow_waits_for_one() {
    let mut spec = fullnat();
    spec.pools = vec![
        pool(WEB, &[LOCAL4, "10.0.0.201"], (2000, 2001)),
        pool(WEB_6, &[LOCAL6], PORTS),
        pool(DNS, &["10.0.0.202"], PORTS),
    ];
    let mut world = World::of(spec, USUAL);
    let flow = |port| from_to(&format!("{CLIENT}:{port}"), WEB4);
    let mut locals: Vec<SocketAddr> = (1..=4)
        .map(|port| seen(&world.send(&flow(port).syn())).client)
        .collect();
    locals.sort_unstable();
    locals.dedup();
    assert_eq!(locals.len(), 4, "each its own");
    assert!(world.send(&flow(5).syn()).is_empty());
    assert_eq!(world.counts(0)["no_local_port"], 1);
    let other = from_to(&format!("{CLIENT}:1"), DNS4);
    assert_eq!(world.send(&other.datagram()).len(), 1, "another pool");
    world.send(&flow(1).rst());
    pass_seconds(&mut world, 28);
    assert_eq!(
        world.send(&flow(5).syn()).len(),
        1,
        "a closed one's is free"
    );
}

#[test]
fn what_begins_nothing_gets_no_port() {
    let mut world = world();
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    for frame in [flow.fin(), flow.rst()] {
        assert!(world.send(&frame).is_empty());
    }
    assert_eq!(world.counts(0)["no_session"], 2);
    assert_eq!(
        world.send(&flow.ack()).len(),
        1,
        "its new backend resets it"
    );
}

#[test]
fn a_new_connection_of_the_same_client_gets_another_port() {
    let mut world = world();
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let first = seen(&world.send(&flow.syn()));
    assert_eq!(
        seen(&world.send(&flow.syn())),
        first,
        "R4: the same SYN again"
    );
    world.send(&flow.fin());
    let second = seen(&world.send(&flow.syn()));
    assert_ne!(second.client, first.client);
    assert!(answer(&mut world, 0, first).is_empty(), "the first is over");
    assert_eq!(answer(&mut world, 0, second).len(), 1);
}

#[test]
fn only_its_backend_by_its_port_answers_a_session() {
    let mut world = world();
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let there = seen(&world.send(&flow.syn()));
    let local = there.client.to_string();
    let other_port = format!("{LOCAL4}:{}", PORTS.1 + 1);
    let backend = there.service.ip();
    for (says, frame) in [
        ("another port", from_to("10.0.0.1:8002", &local).ack()),
        ("another backend", from_to("10.0.0.2:8001", &local).ack()),
        ("no session", from_to("10.0.0.1:8001", &other_port).ack()),
        ("UDP", from_to("10.0.0.1:8001", &local).datagram()),
    ] {
        let before = world.counts(0)["no_session"];
        assert!(answered(&mut world, 0, &inside(&frame, backend)).is_empty());
        assert_eq!(world.counts(0)["no_session"], before + 1, "{says}");
    }
    let outside = there.reversed().ack();
    assert!(
        world.send(&outside).is_empty(),
        "by the port to the clients"
    );
    assert_eq!(answer(&mut world, 0, there).len(), 1);
}

/// What leaves of frames that a worker gets, and by which worker each, once all have had their turns.
fn left_by_any(
    world: &mut World,
    worker: usize,
    port: usize,
    frames: &[Vec<u8>],
) -> Vec<(usize, Left)> {
    for frame in frames {
        world.put(worker, port, frame);
    }
    world.pass(1);
    let mut left = Vec::new();
    for _ in 0..3 {
        for worker in 0..world.workers.len() {
            left.extend(world.step(worker).into_iter().map(|it| (worker, it)));
        }
    }
    left
}

/// The worker by which a client's frame leaves that another one gets, and what its backend sees.
fn placed(world: &mut World, worker: usize, frame: Vec<u8>) -> (usize, Conversation) {
    let left = left_by_any(world, worker, OUTSIDE_PORT, &[frame]);
    let [(owner, left)] = left.try_into().unwrap();
    (owner, seen(&[left]))
}

#[test]
fn every_worker_has_ports_of_its_own_and_gets_what_is_its_flows() {
    let mut world = workers(3);
    let mut of_each = [0; 3];
    for number in 1..=30 {
        let flow = from_to(&format!("{CLIENT}:{number}"), WEB4);
        let (owner, there) = placed(&mut world, number % 3, flow.syn());
        of_each[owner] += 1;
        assert_eq!(usize::from(there.client.port() - PORTS.0) % 3, owner);
        for worker in 0..3 {
            let again = placed(&mut world, worker, flow.ack());
            assert_eq!(again, (owner, there), "by whichever queue it comes");
            let frame = inside(&there.reversed().ack(), there.service.ip());
            let left = left_by_any(&mut world, worker, INSIDE_PORT, &[frame]);
            assert_eq!((left.len(), left[0].0), (1, owner));
            assert_eq!(read(&left[0].1.frame), (flow.service, flow.client));
        }
    }
    assert!(of_each.iter().all(|it| *it > 0), "{of_each:?}");
    let counts: Vec<_> = (0..3).map(|it| world.counts(it)).collect();
    let sum = |name| counts.iter().map(|it| it[name]).sum::<i64>();
    assert_eq!(
        sum("received"),
        30 * 7 + sum("learned"),
        "each is counted once"
    );
    assert_eq!((sum("forwarded"), sum("returned")), (30 * 4, 30 * 3));
    assert_eq!(sum("flows_by_scheduler"), 30);
    assert!(sum("taken_over") > 30 * 4, "{counts:?}");
}

#[test]
fn too_many_answers_for_a_worker_that_stands_are_dropped_by_name() {
    let mut world = workers(2);
    let flows = (1..100).map(|port| from_to(&format!("{CLIENT}:{port}"), WEB4));
    let mut placed = flows.map(|flow| placed(&mut world, 0, flow.syn()));
    let (_, there) = placed.find(|(owner, _)| *owner == 0).unwrap();
    let frame = inside(&there.reversed().ack(), there.service.ip());
    let room = i64::try_from(tether_dataplane::limits::HANDED_OVER).unwrap();
    let mut sent = 0;
    while world.counts(1)["handoff_full"] == 0 {
        (0..32).for_each(|_| world.put(1, INSIDE_PORT, &frame));
        assert!(world.step(1).is_empty());
        sent += 32;
    }
    assert_eq!(sent - world.counts(1)["handoff_full"], room);
    let (mut returned, before) = (0, world.counts(0)["taken_over"]);
    while world.counts(0)["taken_over"] < before + room {
        returned += i64::try_from(world.step(0).len()).unwrap();
    }
    assert_eq!(returned, room);
}

#[test]
fn r8_fragments_follow_both_ways_in_any_order() {
    let mut spec = fullnat();
    spec.services[1].protocol = Protocol::Udp;
    for (workers, by) in [(1, 0), (2, 1)] {
        let mut world = World::of(spec.clone(), Size { workers, ..USUAL });
        for (client, vip, head) in [
            ("198.51.100.7:4000", DNS4, 34),
            ("[2001:db8:7::7]:4000", WEB6, 54),
        ] {
            let cut = |flow, id: u16| match head {
                34 => parts(flow, id, 32),
                _ => parts6(flow, id.into(), 32),
            };
            let sent = from_to(client, vip);
            let left = left_by_any(&mut world, 0, OUTSIDE_PORT, &cut(sent, 9));
            let left: Vec<_> = left.into_iter().map(|(_, left)| left).collect();
            let (from, at) = together(&left, head);
            assert_eq!((left.len(), from.ip()), (4, local(head == 34)));
            let seen = Conversation {
                client: from,
                service: at,
            };
            let mut answers: Vec<_> = cut(seen.reversed(), 10)
                .iter()
                .map(|it| inside(it, at.ip()))
                .collect();
            answers.swap(0, 2);
            let mut left = Vec::new();
            for answer in answers {
                let all = left_by_any(&mut world, by, INSIDE_PORT, &[answer]);
                left.extend(all.into_iter().map(|(_, left)| left));
            }
            left.sort_by_key(|it| {
                let at = if head == 34 { 20 } else { 56 };
                u16::from_be_bytes([it.frame[at], it.frame[at + 1]]) & 0x1fff & !1
            });
            assert_eq!(together(&left, head), (sent.service, sent.client));
            assert!((0..workers).all(|it| world.counts(it)["held"] == 0));
        }
    }
}

#[test]
fn r8_a_clients_error_reaches_the_backend_by_whichever_worker_it_comes() {
    let mut world = workers(3);
    for came_by in 0..3 {
        let flow = from_to(&format!("{CLIENT}:{}", came_by + 1), WEB4);
        let (_, there) = placed(&mut world, 0, flow.syn());
        let left = told(&mut world, came_by, &error4(3, 4, flow, 40));
        let frame = &left[0].frame;
        assert_eq!((left.len(), left[0].port), (1, INSIDE_PORT));
        assert_eq!(frame[26..30], ip_bytes(there.client.ip()));
        assert_eq!(frame[30..34], ip_bytes(there.service.ip()));
        assert!(is_whole4(&frame[14..34]) && is_whole4(&frame[34..]));
        assert_eq!(quoted(frame, 42)[14..], there.reversed().ack()[14..54]);
    }
    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    let (_, there) = placed(&mut world, 0, flow.syn());
    let left = told(&mut world, 2, &error6(2, flow));
    let frame = &left[0].frame;
    assert!(is_whole6(frame));
    assert_eq!(quoted(frame, 62)[14..], there.reversed().ack()[14..]);
    let unknown = from_to(&format!("{CLIENT}:9"), WEB4);
    assert!(told(&mut world, 0, &error4(3, 4, unknown, 40)).is_empty());
    let dropped: i64 = (0..3).map(|it| world.counts(it)["icmp_no_flow"]).sum();
    assert_eq!(dropped, 1, "by the worker whose flow it would be");
}

/// What leaves of an error that comes by the outside port to a worker, once all have had their turns.
fn told(world: &mut World, worker: usize, frame: &[u8]) -> Vec<Left> {
    let left = left_by_any(world, worker, OUTSIDE_PORT, &[frame.to_vec()]);
    left.into_iter().map(|(_, left)| left).collect()
}

#[test]
fn r8_a_backends_error_reaches_the_client_in_the_vips_name() {
    let mut world = workers(2);
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let (_, there) = placed(&mut world, 0, flow.syn());
    let (IpAddr::V4(from), IpAddr::V4(to)) = (there.service.ip(), there.client.ip()) else {
        panic!("IPv4")
    };
    let error = PacketBuilder::ethernet2(mac_at(from.into()).0, INSIDE.0)
        .ipv4(from.octets(), to.octets(), 60)
        .icmpv4_raw(3, 3, [0; 4]);
    let error = crate::frames::written(|out| error.write(out, &there.ack()[14..54]));
    for worker in 0..2 {
        let left = left_by_any(
            &mut world,
            worker,
            INSIDE_PORT,
            std::slice::from_ref(&error),
        );
        assert_eq!((left.len(), left[0].1.port), (1, OUTSIDE_PORT));
        let frame = &left[0].1.frame;
        assert_eq!(frame[26..30], ip_bytes(VIP4.parse().unwrap()));
        assert_eq!(frame[30..34], ip_bytes(flow.client.ip()));
        assert!(is_whole4(&frame[14..34]) && is_whole4(&frame[34..]));
        assert_eq!(quoted(frame, 42)[14..], flow.ack()[14..54]);
    }
    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    let (_, there) = placed(&mut world, 0, flow.syn());
    let (IpAddr::V6(from), IpAddr::V6(to)) = (there.service.ip(), there.client.ip()) else {
        panic!("IPv6")
    };
    let kind = Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port);
    let error = PacketBuilder::ethernet2(mac_at(from.into()).0, INSIDE.0)
        .ipv6(from.octets(), to.octets(), 60)
        .icmpv6(kind);
    let error = crate::frames::written(|out| error.write(out, &there.ack()[14..]));
    let left = left_by_any(&mut world, 0, INSIDE_PORT, &[error]);
    let frame = &left[0].1.frame;
    assert_eq!(frame[22..38], ip_bytes(VIP6.parse().unwrap()));
    assert!(is_whole6(frame));
    assert_eq!(quoted(frame, 62)[14..], flow.ack()[14..]);
}

#[test]
fn a_reload_adds_addresses_and_takes_some_away() {
    let mut world = world();
    let flow = |port| from_to(&format!("{CLIENT}:{port}"), WEB4);
    let first = seen(&world.send(&flow(1).syn()));
    for pool in &mut world.spec.pools {
        pool.addresses = vec!["10.0.0.210".parse().unwrap(), LOCAL6.parse().unwrap()];
    }
    world.publish_tables();
    world.settle();
    let second = seen(&world.send(&flow(2).syn()));
    assert_eq!(second.client.ip(), "10.0.0.210".parse::<IpAddr>().unwrap());
    assert_eq!(answer(&mut world, 0, second).len(), 1);
    assert!(answer(&mut world, 0, first).is_empty(), "not ours any more");
    let moved = seen(&world.send(&flow(1).ack()));
    assert_eq!(moved.client.ip(), second.client.ip());
    assert_eq!(world.counts(0)["local_ports"], 2 * 1000 + 1000);
    world.spec.pools[0].ports = (3000, 4000);
    let refused = world.writer.set_tables(&world.spec).unwrap_err();
    assert!(
        matches!(refused, TablesError::PoolPorts { .. }),
        "{refused}"
    );
}

#[test]
fn a_service_changes_its_way_under_live_flows() {
    let mut world = world();
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let there = seen(&world.send(&flow.syn()));
    world.spec.services[0].forward = Forward::Dsr;
    world.publish_tables();
    assert_eq!(world.receiver(&flow.ack()), Some(B1));
    assert!(answer(&mut world, 0, there).is_empty());
    world.spec.services[0].forward = Forward::Fullnat;
    world.publish_tables();
    assert_eq!(seen(&world.send(&flow.ack())), there);
    assert_eq!(answer(&mut world, 0, there).len(), 1);
    world.remove(B1);
    assert!(answer(&mut world, 0, there).is_empty());
}

#[test]
fn a_service_of_every_port_keeps_the_one_that_was_addressed() {
    let mut spec = fullnat();
    spec.services[0].port = 0;
    for backend in &mut spec.backends {
        backend.port = 0;
    }
    let mut world = World::of(spec, USUAL);
    for (vip, port) in [("203.0.113.80:7", 7), (WEB4, 80)] {
        let sent = from_to(&format!("{CLIENT}:4000"), vip);
        let there = seen(&world.send(&sent.syn()));
        assert_eq!(there.service.port(), port);
        let left = answer(&mut world, 0, there);
        assert_eq!(read(&left[0].frame), (sent.service, sent.client));
    }
}

#[test]
fn hops_are_counted_and_what_is_too_big_is_told_both_ways() {
    let mut spec = fullnat();
    spec.ports[INSIDE_PORT].mtu = 1400;
    let mut world = World::of(spec, USUAL);
    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    assert!(world.send(&patched(flow.syn(), 21, &[1])).is_empty());
    assert_eq!(world.counts(0)["out_of_hops"], 1);
    let flow = from_to(&format!("{CLIENT}:1"), DNS4);
    let there = seen(&world.send(&flow.datagram_of(&[7; 1372])));
    let left = world.send(&flow.datagram_of(&[7; 1373]));
    assert_eq!(
        (left[0].port, &left[0].frame[34..36]),
        (OUTSIDE_PORT, &[3, 4][..])
    );
    let frame = inside(
        &there.reversed().datagram_of(&[7; 1473]),
        there.service.ip(),
    );
    let left = answered(&mut world, 0, &frame);
    assert_eq!(
        (left[0].port, &left[0].frame[34..36]),
        (INSIDE_PORT, &[3, 4][..])
    );
    assert_eq!(left[0].frame[30..34], ip_bytes(there.service.ip()));
}

#[test]
fn what_cannot_be_sent_from_or_back_is_refused() {
    let refused = |spec: &TablesSpec| Tables::build(spec, None).unwrap_err();
    let mut spec = fullnat();
    spec.ports[OUTSIDE_PORT].gateways.truncate(1);
    let vip = VIP6.parse().unwrap();
    assert_eq!(refused(&spec), TablesError::NoReturn { vip });
    let mut spec = fullnat();
    spec.pools[1].addresses.truncate(1);
    let error = refused(&spec).to_string();
    assert!(
        error.contains("no local address of the family of the backend b4"),
        "{error}"
    );
    let mut spec = fullnat();
    spec.backends[0].address = "172.16.0.1".parse().unwrap();
    assert!(Tables::build(&spec, None).is_ok(), "by the gateway");
    spec.ports[OUTSIDE_PORT].gateways.remove(0);
    assert!(matches!(refused(&spec), TablesError::NoRoute { .. }));
}

/// Clients of one family, backends of the other.
pub(crate) fn mixed() -> TablesSpec {
    let mut spec = fullnat();
    for backend in &mut spec.backends {
        backend.address = match backend.id.0 {
            number @ 4..=6 => format!("10.0.0.{number}"),
            number => format!("fd00::{number}"),
        }
        .parse()
        .unwrap();
    }
    spec
}

#[test]
fn clients_and_backends_may_be_of_two_families() {
    let mut world = World::of(mixed(), USUAL);
    let (tcp, udp): (Make, Make) = (Conversation::ack, Conversation::datagram);
    for (client, vip, owner, make) in [
        ("198.51.100.7:4000", WEB4, B1, tcp),
        ("[2001:db8:7::7]:4000", WEB6, BackendId(4), tcp),
        ("198.51.100.7:4000", DNS4, BackendId(7), udp),
    ] {
        let sent = from_to(client, vip);
        let there = seen(&world.send(&make(sent)));
        assert_eq!(there.service, socket(&world, owner));
        assert_eq!(there.client.ip(), local(sent.client.is_ipv6()));
        let frame = inside(&make(there.reversed()), there.service.ip());
        let left = answered(&mut world, 0, &frame);
        assert_eq!((left.len(), left[0].port), (1, OUTSIDE_PORT));
        assert_eq!(read(&left[0].frame), (sent.service, sent.client));
    }
    let counts = world.counts(0);
    assert_eq!((counts["forwarded"], counts["returned"]), (3, 3));
}

#[test]
fn between_families_what_is_too_long_is_told_and_fragments_are_not_taken() {
    let mut world = World::of(mixed(), USUAL);
    let flow = from_to(&format!("{CLIENT}:1"), DNS4);
    assert_eq!(world.send(&flow.datagram_of(&[7; 1452])).len(), 1);
    let left = world.send(&flow.datagram_of(&[7; 1453]));
    assert_eq!(
        (left[0].port, &left[0].frame[34..36]),
        (OUTSIDE_PORT, &[3, 4][..])
    );
    assert_eq!(left[0].frame[40..42], 1480_u16.to_be_bytes());
    assert!(world.send_all(&parts(flow, 9, 32)).is_empty());
    assert_eq!(world.counts(0)["family_fragment"], 4);
}

#[test]
fn r8_errors_go_over_to_the_other_family() {
    let mut world = World::of(mixed(), USUAL);
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let there = seen(&world.send(&flow.syn()));
    let left = world.send(&error4(3, 4, flow, 40));
    let frame = &left[0].frame;
    assert_eq!((frame[54], frame[55]), (2, 0));
    assert!(is_whole6(frame));
    assert_eq!(frame[22..38], ip_bytes(there.client.ip()));
    assert_eq!(frame[38..54], ip_bytes(there.service.ip()));
    assert_eq!(quoted(frame, 62)[54..], there.reversed().ack()[54..74]);
    let (IpAddr::V6(from), IpAddr::V6(to)) = (there.service.ip(), there.client.ip()) else {
        panic!("IPv6")
    };
    let kind = Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port);
    let error = PacketBuilder::ethernet2(mac_at(from.into()).0, INSIDE.0)
        .ipv6(from.octets(), to.octets(), 60)
        .icmpv6(kind);
    let error = crate::frames::written(|out| error.write(out, &there.ack()[14..]));
    let left = answered(&mut world, 0, &error);
    let frame = &left[0].frame;
    assert_eq!((left[0].port, frame[34], frame[35]), (OUTSIDE_PORT, 3, 3));
    assert!(is_whole4(&frame[14..34]) && is_whole4(&frame[34..]));
    assert_eq!(frame[26..30], ip_bytes(VIP4.parse().unwrap()));
    assert_eq!(quoted(frame, 42)[34..], flow.ack()[34..]);
}

/// A port that spreads frames as a NIC does, by addresses and ports.
fn spread() -> Spread {
    let mut key: Vec<u8> = (0..40_u8).map(|it| it.wrapping_mul(0x6d) ^ 0x5a).collect();
    key[0] = 0x80;
    let kinds = [Protocol::Tcp, Protocol::Udp];
    Spread {
        key,
        queues: (0..128).map(|it| it % 2).collect(),
        kinds: kinds
            .iter()
            .flat_map(|it| [(*it, true), (*it, false)])
            .collect(),
    }
}

/// The queue that a NIC puts a packet into; the hash from its definition.
fn queue_of(it: Conversation, spread: &Spread) -> usize {
    let bytes = |ip: IpAddr| ip_bytes(ip);
    let input = [
        bytes(it.client.ip()),
        bytes(it.service.ip()),
        it.client.port().to_be_bytes().to_vec(),
        it.service.port().to_be_bytes().to_vec(),
    ]
    .concat();
    let bit = |of: &[u8], at: usize| of[at / 8] >> (7 - at % 8) & 1 == 1;
    let mut hash = 0_u32;
    for at in (0..input.len() * 8).filter(|at| bit(&input, *at)) {
        let word = (0..32).fold(0, |word, more| {
            word << 1 | u32::from(bit(&spread.key, at + more))
        });
        hash ^= word;
    }
    usize::from(spread.queues[hash as usize & 127])
}

#[test]
fn where_the_nics_hash_is_known_answers_come_to_their_owner() {
    let mut spec = fullnat();
    for port in &mut spec.ports {
        port.spread = Some(spread());
    }
    let mut world = World::of(
        spec,
        Size {
            workers: 2,
            ..USUAL
        },
    );
    for number in 0..60 {
        let (client, vip) = match number % 3 {
            0 => (format!("{CLIENT}:{}", number + 1), WEB4),
            1 => (format!("[{CLIENT6}]:{}", number + 1), WEB6),
            _ => (format!("{CLIENT}:{}", number + 1), DNS4),
        };
        let flow = from_to(&client, vip);
        let owner = queue_of(flow, &spread());
        let frame = if vip == DNS4 {
            flow.datagram()
        } else {
            flow.syn()
        };
        let there = placed(&mut world, owner, frame);
        assert_eq!(there.0, owner);
        assert_eq!(queue_of(there.1.reversed(), &spread()), owner, "{there:?}");
    }
    let counts: Vec<_> = (0..2).map(|it| world.counts(it)).collect();
    assert!(
        counts
            .iter()
            .all(|it| it["forwarded"] > 10 && it["taken_over"] == 0)
    );
}
