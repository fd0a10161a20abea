//! NAT: packets to a backend and its answers, byte for byte; checksums by `etherparse`, from scratch.

use crate::{
    frames::{Conversation, INSIDE, OUTSIDE, ROUTER, from_to, patched, tagged, written},
    related::{error4, error6, parts, parts6},
    world::{
        B1, B2, B3, Counts, DNS, DNS4, INSIDE_PORT, Left, OUTSIDE_PORT, Size, USUAL, VIP4, VIP6,
        WEB, WEB_6, WEB4, WEB6, World, answer_from, mac_at, usual,
    },
};
use etherparse::{
    Icmpv6Header, Icmpv6Type, NetHeaders, PacketBuilder, PacketHeaders, TransportHeader, icmpv6,
};
use std::net::{IpAddr, SocketAddr};
use tether_dataplane::{
    key::Protocol,
    tables::{
        Tables, TablesError, TablesSpec, backend::BackendState, id::BackendId, service::Forward,
    },
};

const CLIENT: &str = "198.51.100.7";
const CLIENT6: &str = "2001:db8:7::7";
const MINUTE: u32 = 60_000;

/// The usual tables with NAT; the backends listen at other ports, and the clients are behind routers.
pub(crate) fn nat() -> TablesSpec {
    let mut spec = usual();
    for service in &mut spec.services {
        service.forward = Forward::Nat;
    }
    for backend in &mut spec.backends {
        backend.port = 8000 + backend.id.0;
    }
    let routers: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    spec.ports[OUTSIDE_PORT].neighbours = routers.map(|it| (it, ROUTER)).to_vec();
    spec.ports[OUTSIDE_PORT].gateways = routers.to_vec();
    spec
}

/// The same by one port, which reaches clients and backends.
pub(crate) fn by_one_port() -> TablesSpec {
    let mut spec = nat();
    let inside = std::mem::take(&mut spec.ports[INSIDE_PORT].addresses);
    spec.ports[OUTSIDE_PORT].addresses.extend(inside);
    spec
}

fn world() -> World {
    World::of(nat(), USUAL)
}

pub(crate) fn socket(world: &World, backend: BackendId) -> SocketAddr {
    let mut backends = world.spec.backends.iter();
    let backend = backends.find(|it| it.id == backend).unwrap();
    SocketAddr::new(backend.address, backend.port)
}

/// Addresses and ports of a whole packet whose checksums are right.
pub(crate) fn read(frame: &[u8]) -> (SocketAddr, SocketAddr) {
    let packet = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let payload = packet.payload.slice();
    let net = packet.net.unwrap();
    let (from, to): (IpAddr, IpAddr) = match &net {
        NetHeaders::Ipv4(header, _) => {
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            (header.source.into(), header.destination.into())
        }
        NetHeaders::Ipv6(header, _) => (header.source.into(), header.destination.into()),
        NetHeaders::Arp(_) => panic!("no packet"),
    };
    let (source, destination) = match packet.transport.unwrap() {
        TransportHeader::Tcp(header) => {
            let sum = match &net {
                NetHeaders::Ipv4(ip, _) => header.calc_checksum_ipv4(ip, payload),
                NetHeaders::Ipv6(ip, _) => header.calc_checksum_ipv6(ip, payload),
                NetHeaders::Arp(_) => panic!("no packet"),
            };
            assert_eq!(header.checksum, sum.unwrap());
            (header.source_port, header.destination_port)
        }
        TransportHeader::Udp(header) => {
            let sum = match &net {
                NetHeaders::Ipv4(ip, _) => header.calc_checksum_ipv4(ip, payload),
                NetHeaders::Ipv6(ip, _) => header.calc_checksum_ipv6(ip, payload),
                NetHeaders::Arp(_) => panic!("no packet"),
            };
            assert_eq!(header.checksum, sum.unwrap());
            (header.source_port, header.destination_port)
        }
        other => panic!("{other:?}"),
    };
    (
        SocketAddr::new(from, source),
        SocketAddr::new(to, destination),
    )
}

/// What an `etherparse` frame of this conversation is after a hop: one less to live, other MACs.
pub(crate) fn after_a_hop(
    frame: &[u8],
    from: tether_dataplane::Mac,
    to: tether_dataplane::Mac,
) -> Vec<u8> {
    let frame = patched(frame.to_vec(), 0, &[to.0, from.0].concat());
    if frame[12..14] == [8, 0] {
        let frame = patched(frame, 22, &[62]);
        let sum = etherparse::Ipv4Header::from_slice(&frame[14..34]);
        let sum = sum.unwrap().0.calc_header_checksum();
        patched(frame, 24, &sum.to_be_bytes())
    } else {
        patched(frame, 21, &[62])
    }
}

/// The frame as `backend` sends it to the forwarder, by the inside port.
pub(crate) fn inside(frame: &[u8], backend: IpAddr) -> Vec<u8> {
    patched(frame.to_vec(), 0, &[INSIDE.0, mac_at(backend).0].concat())
}

/// What leaves when worker `worker` gets this from a backend.
pub(crate) fn answered(world: &mut World, worker: usize, frame: &[u8]) -> Vec<Left> {
    world.put(worker, INSIDE_PORT, frame);
    world.pass(1);
    world.step(worker)
}

type Make = fn(Conversation) -> Vec<u8>;

#[test]
fn packets_go_and_answers_come_back_byte_for_byte() {
    let (tcp, udp): (Make, Make) = (Conversation::ack, Conversation::datagram);
    for (client, vip, owner, make) in [
        ("198.51.100.7:4000", WEB4, B1, tcp),
        ("[2001:db8:7::7]:4000", WEB6, BackendId(4), tcp),
        ("198.51.100.7:4000", DNS4, BackendId(7), udp),
    ] {
        let mut world = world();
        let at = socket(&world, owner);
        let seen = from_to(client, &at.to_string());
        let sent = from_to(client, vip);
        let frame = make(sent);
        let (left, moved) = world.observed(std::slice::from_ref(&frame));
        let expected = after_a_hop(&make(seen), INSIDE, mac_at(at.ip()));
        assert_eq!(
            left,
            [Left {
                port: INSIDE_PORT,
                frame: expected
            }]
        );
        let bytes = i64::try_from(frame.len()).unwrap();
        let counted = [
            ("forwarded", 1),
            ("forwarded_bytes", bytes),
            ("flows", 1),
            ("flows_by_scheduler", 1),
        ];
        assert_eq!(moved, Counts::from(counted));

        let before = world.counts(0);
        let answer = inside(&make(seen.reversed()), at.ip());
        let left = answered(&mut world, 0, &answer);
        let expected = after_a_hop(&make(sent.reversed()), OUTSIDE, ROUTER);
        assert_eq!(
            left,
            [Left {
                port: OUTSIDE_PORT,
                frame: expected
            }]
        );
        let moved = crate::world::moved(&before, &world.counts(0));
        assert_eq!((moved["returned"], moved.get("forwarded")), (1, None));
        assert_eq!(
            moved.get("flows_by_scheduler"),
            None,
            "answers open no flow"
        );
    }
}

#[test]
fn checksums_are_right_whatever_the_packet() {
    let mut world = world();
    world.start(DNS, CLIENT, BackendId(8), MINUTE);
    let at = socket(&world, BackendId(8));
    // Two bytes of payload take every value: so does the checksum, the two zeros among them.
    for value in (0..=u16::MAX).step_by(if cfg!(miri) { 9999 } else { 1 }) {
        let payload = value.to_be_bytes();
        let sent = from_to(&format!("{CLIENT}:4000"), DNS4);
        let left = world.send(&sent.datagram_of(&payload));
        assert_eq!(read(&left[0].frame), (sent.client, at));
        assert_ne!(left[0].frame[40..42], [0, 0], "a checksum that was made");
        let seen = from_to(&sent.client.to_string(), &at.to_string());
        let answer = inside(&seen.reversed().datagram_of(&payload), at.ip());
        let left = answered(&mut world, 0, &answer);
        assert_eq!(read(&left[0].frame), (sent.service, sent.client));
    }
}

#[test]
fn a_udp_sender_that_made_no_checksum_gets_none() {
    let mut world = world();
    let sent = from_to(&format!("{CLIENT}:4000"), DNS4);
    let left = world.send(&patched(sent.datagram(), 40, &[0, 0]));
    assert_eq!(left[0].frame[40..42], [0, 0]);
}

#[test]
fn without_a_port_of_its_own_a_backend_gets_the_one_that_was_addressed() {
    let mut spec = nat();
    spec.services[0].port = 0;
    for backend in &mut spec.backends {
        backend.port = 0;
    }
    let mut world = World::of(spec, USUAL);
    for (vip, port) in [("203.0.113.80:7", 7), (WEB4, 80)] {
        let sent = from_to(&format!("{CLIENT}:4000"), vip);
        let left = world.send(&sent.syn());
        let (_, at) = read(&left[0].frame);
        assert_eq!(at.port(), port);
        let seen = from_to(&sent.client.to_string(), &at.to_string());
        let left = answered(&mut world, 0, &inside(&seen.reversed().ack(), at.ip()));
        assert_eq!(read(&left[0].frame), (sent.service, sent.client));
    }
}

#[test]
fn r1_r2_affinities_decide_and_flows_stay() {
    let mut world = world();
    let flow = |port| from_to(&format!("{CLIENT}:{port}"), WEB4);
    let to = |world: &mut World, frame: Vec<u8>| read(&world.send(&frame)[0].frame).1;
    assert_eq!(to(&mut world, flow(1).syn()), socket(&world, B1));
    let affinity = world.start(WEB, CLIENT, B3, MINUTE);
    assert_eq!(to(&mut world, flow(2).syn()), socket(&world, B3));
    assert_eq!(to(&mut world, flow(1).ack()), socket(&world, B1));
    world.end(affinity);
    assert_eq!(to(&mut world, flow(2).ack()), socket(&world, B3));
    world.set_state(B3, BackendState::Down);
    assert_eq!(to(&mut world, flow(2).syn()), socket(&world, B2));
    world.start(WEB_6, CLIENT6, BackendId(6), MINUTE);
    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    assert_eq!(to(&mut world, flow.syn()), socket(&world, BackendId(6)));
}

#[test]
fn t2_an_answer_extends_nothing() {
    let mut world = world();
    let affinity = world.start(WEB, CLIENT, B1, MINUTE);
    world.send(&from_to(&format!("{CLIENT}:1"), WEB4).syn());
    let before = world.view(affinity);
    world.pass(5000);
    let at = socket(&world, B1);
    let seen = from_to(&format!("{CLIENT}:1"), &at.to_string());
    let left = answered(&mut world, 0, &inside(&seen.reversed().ack(), at.ip()));
    assert_eq!(left.len(), 1);
    assert_eq!(world.view(affinity), before);
    world.send(&from_to(&format!("{CLIENT}:1"), WEB4).ack());
    assert!(world.view(affinity).deadline > before.deadline);
}

#[test]
fn any_worker_sends_answers_on() {
    let size = Size {
        workers: 3,
        ..USUAL
    };
    let mut world = World::of(nat(), size);
    let sent = from_to(&format!("{CLIENT}:1"), WEB4);
    let (_, at) = read(&world.send(&sent.syn())[0].frame);
    let seen = from_to(&sent.client.to_string(), &at.to_string());
    for worker in 0..3 {
        let left = answered(&mut world, worker, &inside(&seen.reversed().ack(), at.ip()));
        assert_eq!(read(&left[0].frame), (sent.service, sent.client));
        assert_eq!(world.counts(worker)["returned"], 1);
    }
}

#[test]
fn only_a_backend_by_its_port_to_a_client_is_sent_on() {
    let mut world = world();
    let at = socket(&world, B1);
    let answer = |from: &str, to: &str| inside(&from_to(from, to).ack(), at.ip());
    let client = format!("{CLIENT}:1");
    for (says, frame) in [
        ("another port", answer("10.0.0.1:8002", &client)),
        ("another address", answer("10.0.0.9:8001", &client)),
        ("to the VIP", answer("10.0.0.1:8001", &format!("{VIP4}:9"))),
        ("to a port", answer("10.0.0.1:8001", "192.0.2.2:9")),
        ("to a group", answer("10.0.0.1:8001", "224.0.0.9:9")),
        (
            "UDP",
            inside(&from_to("10.0.0.1:8001", &client).datagram(), at.ip()),
        ),
    ] {
        let before = world.counts(0)["no_service"];
        assert!(answered(&mut world, 0, &frame).is_empty(), "{says}");
        assert_eq!(world.counts(0)["no_service"], before + 1, "{says}");
    }
    let outside = from_to("10.0.0.1:8001", &client).ack();
    assert!(
        world.send(&outside).is_empty(),
        "a client in a backend's name"
    );
}

#[test]
fn hops_are_counted_and_end() {
    let mut world = world();
    for (left_to_live, leaves) in [(1, 0), (0, 0), (2, 1)] {
        let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
        let frame = patched(flow.syn(), 21, &[left_to_live]);
        assert_eq!(world.send(&frame).len(), leaves);
    }
    assert_eq!(world.counts(0)["out_of_hops"], 2);
}

#[test]
fn what_is_too_big_for_the_other_link_is_told() {
    let mut spec = nat();
    spec.ports[INSIDE_PORT].mtu = 1400;
    let mut world = World::of(spec, USUAL);
    let flow = from_to(&format!("{CLIENT}:1"), DNS4);
    assert_eq!(
        world.send(&flow.datagram_of(&[7; 1372]))[0].port,
        INSIDE_PORT
    );
    let left = world.send(&flow.datagram_of(&[7; 1373]));
    assert_eq!(
        (left[0].port, &left[0].frame[34..36]),
        (OUTSIDE_PORT, &[3, 4][..])
    );
    assert_eq!(world.counts(0)["packet_too_big"], 1);
}

/// Of fragments, put together: where they went, with the checksum of the whole.
pub(crate) fn together(left: &[Left], head: usize) -> (SocketAddr, SocketAddr) {
    let mut whole = left[0].frame[..head].to_vec();
    let skipped = if head == 54 { 62 } else { 34 };
    for it in left {
        assert_eq!(it.port, left[0].port);
        whole.extend(&it.frame[skipped..]);
    }
    let len = u16::try_from(whole.len() - 14).unwrap();
    if head == 54 {
        whole = patched(whole, 20, &[17]);
        return read(&patched(whole, 18, &(len - 40).to_be_bytes()));
    }
    whole = patched(whole, 16, &len.to_be_bytes());
    whole = patched(whole, 20, &[0, 0]);
    let sum = etherparse::Ipv4Header::from_slice(&whole[14..34]);
    let sum = sum.unwrap().0.calc_header_checksum();
    read(&patched(whole, 24, &sum.to_be_bytes()))
}

#[test]
fn r8_fragments_follow_both_ways_in_any_order() {
    let mut spec = nat();
    spec.services[1].protocol = Protocol::Udp;
    let mut world = World::of(spec, USUAL);
    for (client, vip, head) in [
        ("198.51.100.7:4000", DNS4, 34),
        ("[2001:db8:7::7]:4000", WEB6, 54),
    ] {
        let cut = |flow, id: u16| match head {
            34 => parts(flow, id, 32),
            _ => parts6(flow, id.into(), 32),
        };
        let sent = from_to(client, vip);
        let left = world.send_all(&cut(sent, 9));
        let (from, at) = together(&left, head);
        assert_eq!((left.len(), from), (4, sent.client));
        let seen = from_to(client, &at.to_string());
        let mut answers: Vec<_> = cut(seen.reversed(), 10)
            .iter()
            .map(|it| inside(it, at.ip()))
            .collect();
        answers.swap(0, 2);
        let mut left = Vec::new();
        for answer in &answers {
            left.extend(answered(&mut world, 0, answer));
        }
        // The first freed the one before it that waited, in its order: 3 and 2 go after the first.
        left.sort_by_key(|it| {
            let at = if head == 34 { 20 } else { 56 };
            u16::from_be_bytes([it.frame[at], it.frame[at + 1]]) & 0x1fff & !1
        });
        assert_eq!(together(&left, head), (sent.service, sent.client));
        assert_eq!(world.counts(0)["held"], 0);
    }
}

/// The quoted packet of an ICMP error as a frame of its own, which is whole but for its payload.
pub(crate) fn quoted(frame: &[u8], head: usize) -> Vec<u8> {
    [&frame[..14], &frame[head..]].concat()
}

pub(crate) fn is_whole4(message: &[u8]) -> bool {
    let words = message.chunks(2);
    let words = words.map(|it| u32::from(it[0]) << 8 | u32::from(*it.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

pub(crate) fn is_whole6(frame: &[u8]) -> bool {
    let (header, payload) = Icmpv6Header::from_slice(&frame[54..]).unwrap();
    let [from, to] = [22, 38].map(|at| frame[at..at + 16].try_into().unwrap());
    let sum = header.icmp_type.calc_checksum(from, to, payload);
    header.checksum == sum.unwrap()
}

#[test]
fn r8_an_error_of_a_client_reaches_the_backend_and_quotes_what_it_sent() {
    let mut world = world();
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let (_, at) = read(&world.send(&flow.syn())[0].frame);
    for cut in [28, 40] {
        let left = world.send(&error4(3, 4, flow, cut));
        assert_eq!((left.len(), left[0].port), (1, INSIDE_PORT));
        let frame = &left[0].frame;
        assert_eq!(frame[30..34], ip_bytes(at.ip()));
        assert!(
            is_whole4(&frame[14..34]) && is_whole4(&frame[34..]),
            "{cut}"
        );
        let sent = from_to(&at.to_string(), &flow.client.to_string()).ack();
        assert_eq!(quoted(frame, 42)[14..], sent[14..14 + cut], "{cut}");
    }
    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    let (_, at) = read(&world.send(&flow.syn())[0].frame);
    let left = world.send(&error6(2, flow));
    let frame = &left[0].frame;
    assert_eq!(frame[38..54], ip_bytes(at.ip()));
    assert!(is_whole6(frame));
    let sent = from_to(&at.to_string(), &flow.client.to_string()).ack();
    assert_eq!(quoted(frame, 62)[14..], sent[14..]);
}

pub(crate) fn ip_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[test]
fn r8_an_error_of_a_backend_reaches_the_client_in_the_vips_name() {
    let mut world = world();
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let (_, at) = read(&world.send(&flow.syn())[0].frame);
    let seen = from_to(&flow.client.to_string(), &at.to_string());
    let error = PacketBuilder::ethernet2(mac_at(at.ip()).0, INSIDE.0)
        .ipv4([10, 0, 0, 1], [198, 51, 100, 7], 60)
        .icmpv4_raw(3, 3, [0; 4]);
    let error = written(|out| error.write(out, &seen.ack()[14..54]));
    let left = answered(&mut world, 0, &error);
    assert_eq!((left.len(), left[0].port), (1, OUTSIDE_PORT));
    let frame = &left[0].frame;
    assert_eq!(frame[26..30], ip_bytes(VIP4.parse().unwrap()));
    assert!(is_whole4(&frame[14..34]) && is_whole4(&frame[34..]));
    assert_eq!(quoted(frame, 42)[14..], flow.ack()[14..54]);
    assert_eq!(world.counts(0)["returned"], 1);

    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    let (_, at) = read(&world.send(&flow.syn())[0].frame);
    let seen = from_to(&flow.client.to_string(), &at.to_string());
    let (IpAddr::V6(from), IpAddr::V6(to)) = (at.ip(), flow.client.ip()) else {
        panic!("IPv6")
    };
    let kind = Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port);
    let error = PacketBuilder::ethernet2(mac_at(at.ip()).0, INSIDE.0)
        .ipv6(from.octets(), to.octets(), 60)
        .icmpv6(kind);
    let error = written(|out| error.write(out, &seen.ack()[14..]));
    let left = answered(&mut world, 0, &error);
    let frame = &left[0].frame;
    assert_eq!(frame[22..38], ip_bytes(VIP6.parse().unwrap()));
    assert!(is_whole6(frame));
    assert_eq!(quoted(frame, 62)[14..], flow.ack()[14..]);
}

#[test]
fn extension_headers_and_options_are_stepped_over() {
    let mut world = world();
    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    let left = world.send(&flow.with_extensions());
    let (_, to) = read(&left[0].frame);
    assert_eq!(to, socket(&world, BackendId(4)));
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let left = world.send(&flow.with_options());
    assert_eq!(read(&left[0].frame).1, socket(&world, B1));
}

#[test]
fn tags_are_those_of_the_port_that_a_packet_leaves_by() {
    let mut spec = nat();
    spec.ports[INSIDE_PORT].vlan = Some(7);
    let mut world = World::of(spec, USUAL);
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let left = world.send(&flow.syn());
    assert_eq!(left[0].frame[12..16], [0x81, 0, 0, 7]);
    let (_, at) = read(&left[0].frame);
    let seen = from_to(&flow.client.to_string(), &at.to_string());
    let answer = tagged(inside(&seen.reversed().ack(), at.ip()), 7);
    let left = answered(&mut world, 0, &answer);
    assert_eq!(left[0].frame[12..14], [8, 0]);
    assert_eq!(read(&left[0].frame), (flow.service, flow.client));
}

#[test]
fn answers_wait_for_the_gateway() {
    let mut spec = nat();
    spec.ports[OUTSIDE_PORT].neighbours.clear();
    let backends = spec.backends.iter();
    spec.ports[INSIDE_PORT].neighbours = backends
        .map(|it| (it.address, mac_at(it.address)))
        .collect();
    let mut world = World::unsettled(spec, USUAL);
    let at = socket(&world, B1);
    let seen = from_to(&format!("{CLIENT}:1"), &at.to_string());
    world.put(0, INSIDE_PORT, &inside(&seen.reversed().ack(), at.ip()));
    let mut out = Vec::new();
    for _ in 0..20 {
        world.pass(1);
        for left in world.step(0) {
            match answer_from(&left.frame, |_| ROUTER) {
                Some(reply) => world.put(0, left.port, &reply),
                None if left.frame[12..14] == [8, 0] => out.push(left),
                None => {}
            }
        }
    }
    assert_eq!((out.len(), out[0].port), (1, OUTSIDE_PORT));
    assert_eq!(read(&out[0].frame).0, WEB4.parse().unwrap());
    assert_eq!(world.counts(0)["returned"], 1);
}

#[test]
fn a_service_changes_its_way_under_live_flows() {
    let mut world = world();
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let (_, at) = read(&world.send(&flow.syn())[0].frame);
    world.spec.services[0].forward = Forward::Dsr;
    world.publish_tables();
    assert_eq!(world.receiver(&flow.ack()), Some(B1));
    let seen = from_to(&flow.client.to_string(), &at.to_string());
    let answer = inside(&seen.reversed().ack(), at.ip());
    assert!(answered(&mut world, 0, &answer).is_empty());
    world.spec.services[0].forward = Forward::Nat;
    world.publish_tables();
    assert_eq!(answered(&mut world, 0, &answer).len(), 1);
    world.remove(B1);
    assert!(answered(&mut world, 0, &answer).is_empty());
}

#[test]
fn what_cannot_be_told_or_sent_back_is_refused() {
    let refused = |spec: &TablesSpec| Tables::build(spec, None).unwrap_err();
    let mut spec = nat();
    spec.ports[OUTSIDE_PORT].gateways.truncate(1);
    let vip = VIP6.parse().unwrap();
    assert_eq!(refused(&spec), TablesError::NoReturn { vip });
    let mut spec = nat();
    spec.backends[1].address = spec.backends[0].address;
    spec.backends[1].port = spec.backends[0].port;
    let error = refused(&spec).to_string();
    assert!(
        error.starts_with("b2 and b1 are both at 10.0.0.1:8001"),
        "{error}"
    );
    let mut spec = nat();
    spec.backends[0].address = "fd00::1".parse().unwrap();
    assert!(matches!(refused(&spec), TablesError::NoRoute { .. }));
}
