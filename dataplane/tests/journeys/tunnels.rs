//! Tunnels: which backend's, and what of a packet they carry. That the bytes are right is for the
//! target `scapy`.

use crate::{
    frames::{INSIDE, OUTSIDE, from_to, patched},
    related::{error4, error6, parts, parts6},
    world::{
        B1, B2, B3, Counts, DNS, DNS4, INSIDE_PORT, Left, OUTSIDE_PORT, USUAL, VIP4, WEB, WEB_6,
        WEB4, WEB6, World, answer_from, backend, mac_at, usual,
    },
};
use std::net::IpAddr;
use tether_dataplane::{
    Mac,
    key::Protocol,
    limits::{ERRORS_AT_ONCE, ERRORS_PER_SECOND},
    tables::{
        Tables, TablesError, TablesSpec,
        backend::BackendState,
        id::BackendId,
        service::Forward,
        tunnel::{Encapsulation, GueVariant, TunnelSpec},
    },
};

const CLIENT: &str = "198.51.100.7";
const CLIENT6: &str = "2001:db8:7::7";
const MINUTE: u32 = 60_000;

pub(crate) const IPIP: TunnelSpec = tunnel(Encapsulation::Ipip);
const GUE: TunnelSpec = tunnel(Encapsulation::Gue {
    port: 6080,
    variant: GueVariant::Direct,
});

const fn tunnel(encapsulation: Encapsulation) -> TunnelSpec {
    TunnelSpec {
        encapsulation,
        source_v4: None,
        source_v6: None,
        mss_clamp: None,
    }
}

/// The usual tables, every service by way of this tunnel.
pub(crate) fn through(tunnel: TunnelSpec) -> TablesSpec {
    let mut spec = usual();
    for service in &mut spec.services {
        service.forward = Forward::Tunnel(tunnel);
    }
    spec
}

/// The packet that an `ipip` tunnel carries, and the address of its end.
fn unwrapped(left: &Left) -> (IpAddr, &[u8]) {
    assert_eq!(left.port, INSIDE_PORT);
    let outer = &left.frame[14..];
    if outer[0] >> 4 == 4 {
        let to: [u8; 4] = outer[16..20].try_into().unwrap();
        (to.into(), &outer[20..])
    } else {
        let to: [u8; 16] = outer[24..40].try_into().unwrap();
        (to.into(), &outer[40..])
    }
}

/// The backend through whose tunnel each frame's packet went.
fn receivers(world: &mut World, frames: &[Vec<u8>]) -> Vec<Option<BackendId>> {
    let left = world.send_all(frames);
    let receiver = |frame: &Vec<u8>| {
        let mut ends = left.iter().map(unwrapped);
        let (end, _) = ends.find(|(_, packet)| frame[14..] == **packet)?;
        let backends = world.spec.backends.iter();
        let mut to = backends.filter(|it| it.address == end);
        to.next().map(|it| it.id)
    };
    frames.iter().map(receiver).collect()
}

fn receiver(world: &mut World, frame: &[u8]) -> Option<BackendId> {
    receivers(world, &[frame.to_vec()])[0]
}

#[test]
fn a_packet_counts_as_it_leaves() {
    let mut world = World::of(through(IPIP), USUAL);
    let frame = from_to(&format!("{CLIENT}:1"), WEB4).syn();
    let (left, moved) = world.observed(std::slice::from_ref(&frame));
    assert_eq!(
        left[0].frame[..12],
        [mac_at("10.0.0.1".parse().unwrap()).0, INSIDE.0].concat()
    );
    let bytes = i64::try_from(frame.len() + 20).unwrap();
    let expected = [
        ("forwarded", 1),
        ("forwarded_bytes", bytes),
        ("flows", 1),
        ("flows_by_scheduler", 1),
    ];
    assert_eq!(moved, Counts::from(expected));
}

#[test]
fn r2_affinities_decide_and_flows_stay_through_tunnels() {
    let mut world = World::of(through(IPIP), USUAL);
    let flow = |port| from_to(&format!("{CLIENT}:{port}"), WEB4);
    assert_eq!(receiver(&mut world, &flow(1).syn()), Some(B1));
    let affinity = world.start(WEB, CLIENT, B3, MINUTE);
    for port in 2..9 {
        assert_eq!(receiver(&mut world, &flow(port).syn()), Some(B3));
    }
    assert_eq!(receiver(&mut world, &flow(1).ack()), Some(B1));
    world.end(affinity);
    assert_eq!(receiver(&mut world, &flow(2).ack()), Some(B3));
    world.set_state(B3, BackendState::Down);
    assert_eq!(receiver(&mut world, &flow(2).syn()), Some(B2));
    world.start(WEB_6, CLIENT6, BackendId(6), MINUTE);
    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    assert_eq!(receiver(&mut world, &flow.syn()), Some(BackendId(6)));
}

#[test]
fn r8_fragments_go_through_the_tunnel_of_their_first() {
    let mut spec = through(IPIP);
    spec.services[1].protocol = Protocol::Udp;
    let mut world = World::of(spec, USUAL);
    world.start(DNS, CLIENT, BackendId(8), MINUTE);
    world.start(WEB_6, CLIENT6, BackendId(6), MINUTE);
    let v4 = parts(from_to(&format!("{CLIENT}:1"), DNS4), 9, 32);
    let v6 = parts6(from_to(&format!("[{CLIENT6}]:1"), WEB6), 9, 32);
    for (frames, owner) in [(v4, BackendId(8)), (v6, BackendId(6))] {
        let all = vec![Some(owner); frames.len()];
        assert_eq!(receivers(&mut world, &frames), all);
    }
    // One that came before its first.
    let frames = parts(from_to(&format!("{CLIENT}:2"), DNS4), 10, 32);
    assert!(world.send(&frames[2]).is_empty());
    let left = world.send(&frames[0]);
    let ends: Vec<_> = left.iter().map(unwrapped).collect();
    let end = "10.0.0.8".parse().unwrap();
    assert_eq!(ends, [(end, &frames[0][14..]), (end, &frames[2][14..])]);
}

#[test]
fn r8_icmp_errors_go_through_the_tunnel_of_their_flow() {
    let mut world = World::of(through(IPIP), USUAL);
    world.start(WEB, CLIENT, B2, MINUTE);
    world.start(WEB_6, CLIENT6, BackendId(5), MINUTE);
    let v4 = error4(3, 4, from_to(&format!("{CLIENT}:1"), WEB4), 40);
    let v6 = error6(2, from_to(&format!("[{CLIENT6}]:1"), WEB6));
    assert_eq!(receiver(&mut world, &v4), Some(B2));
    assert_eq!(receiver(&mut world, &v6), Some(BackendId(5)));
}

/// One number for each flow: the UDP source port of its datagrams.
fn source_port(world: &mut World, frame: &[u8]) -> u16 {
    let left = world.send(frame);
    u16::from_be_bytes([left[0].frame[34], left[0].frame[35]])
}

#[test]
fn flows_are_told_apart_and_each_keeps_its_port() {
    let mut world = World::of(through(GUE), USUAL);
    let flow = |port: u16| from_to(&format!("{CLIENT}:{port}"), WEB4);
    let ports: Vec<_> = (1..50)
        .map(|port| {
            let first = source_port(&mut world, &flow(port).syn());
            world.publish_tables();
            assert_eq!(source_port(&mut world, &flow(port).ack()), first);
            assert!(first >= 0xc000);
            first
        })
        .collect();
    let different: std::collections::BTreeSet<_> = ports.iter().collect();
    assert!(different.len() > 40, "{ports:?}");
}

#[test]
fn flows_with_ip_options_are_told_apart_too() {
    let mut world = World::of(through(GUE), USUAL);
    let flow = |port: u16| from_to(&format!("{CLIENT}:{port}"), WEB4);
    let ports = (1..50).map(|port| source_port(&mut world, &flow(port).with_options()));
    let different: std::collections::BTreeSet<_> = ports.collect();
    assert!(different.len() > 40, "{different:?}");
}

#[test]
fn a_syn_that_offers_little_is_left_as_it_is() {
    let spec = TunnelSpec {
        mss_clamp: Some(1000),
        ..IPIP
    };
    let mut world = World::of(through(spec), USUAL);
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    let offering = |mss: u16, syn: bool| {
        flow.tcp(|header| {
            header.syn = syn;
            header.ack = !syn;
            let options = [etherparse::TcpOptionElement::MaximumSegmentSize(mss)];
            header.set_options(&options).unwrap();
        })
    };
    for frame in [
        flow.syn(),
        offering(999, true),
        offering(1000, true),
        offering(1460, false),
    ] {
        assert_eq!(receiver(&mut world, &frame), Some(B1));
    }
    assert_eq!(receiver(&mut world, &offering(1001, true)), None);
}

#[test]
fn all_fragments_of_a_packet_have_one_port() {
    let mut world = World::of(through(GUE), USUAL);
    let frames = parts(from_to(&format!("{CLIENT}:1"), DNS4), 9, 32);
    let ports = frames.iter().map(|it| source_port(&mut world, it));
    let ports: Vec<_> = ports.collect();
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
}

#[test]
fn source_addresses_are_of_the_prefix_and_of_the_flow() {
    let spec = TunnelSpec {
        // Bits beyond the prefix do not matter.
        source_v4: Some(("10.99.255.255".parse().unwrap(), 16)),
        ..IPIP
    };
    let mut world = World::of(through(spec), USUAL);
    let sources = (1..50).map(|port| {
        let flow = from_to(&format!("{CLIENT}:{port}"), WEB4);
        let left = world.send(&flow.syn());
        let source: [u8; 4] = left[0].frame[26..30].try_into().unwrap();
        assert_eq!(source[..2], [10, 99]);
        let again = world.send(&flow.ack());
        assert_eq!(again[0].frame[26..30], source);
        source
    });
    let different: std::collections::BTreeSet<_> = sources.collect();
    assert!(different.len() > 40, "{different:?}");
}

/// RFC 6040, normal mode, and RFC 2983, uniform: what the packet says, the outer header says.
#[test]
fn every_dscp_and_ecn_is_carried() {
    let mut world = World::of(through(IPIP), USUAL);
    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    let frame = flow.syn();
    for class in 0..=255_u8 {
        let start = [0x60 | class >> 4, class << 4];
        let frame = patched(frame.clone(), 14, &start);
        let left = world.send(&frame);
        let [left] = left.as_slice() else {
            panic!("{left:?}")
        };
        let outer = u16::from_be_bytes([left.frame[14], left.frame[15]]);
        assert_eq!(outer >> 4 & 0xff, class.into());
        assert_eq!(left.frame[54..], frame[14..]);
    }
}

#[test]
fn a_frame_without_headroom_is_dropped_by_that_name() {
    let mut world = World::of(through(IPIP), USUAL);
    let frame = from_to(&format!("{CLIENT}:1"), WEB4).syn();
    assert!(world.peers[0][OUTSIDE_PORT].send_without_headroom(&frame));
    world.pass(1);
    assert!(world.step(0).is_empty());
    assert_eq!(world.counts(0)["no_room"], 1);
}

/// A datagram that is one byte too long for an `ipip` tunnel.
pub(crate) fn too_long(port: u16) -> Vec<u8> {
    from_to(&format!("{CLIENT}:{port}"), DNS4).datagram_of(&[7; 1481 - 28])
}

#[test]
fn so_many_are_told_that_they_send_too_much_and_no_more() {
    let mut world = World::of(through(IPIP), USUAL);
    let frames: Vec<_> = (1..=32).map(too_long).collect();
    let (mut told, began) = (0, world.now);
    for _ in 0..100 {
        let left = world.send_all(&frames);
        assert!(left.iter().all(|it| it.port == OUTSIDE_PORT));
        told += left.len() as u64;
    }
    let earned = world.now.since(began) * ERRORS_PER_SECOND / 1000;
    assert!(
        (ERRORS_AT_ONCE..=ERRORS_AT_ONCE + earned).contains(&told),
        "{told}"
    );
    let counts = world.counts(0);
    assert_eq!(counts["packet_too_big"], 3200);
    assert_eq!(counts["told_too_big"], i64::try_from(told).unwrap());
}

#[test]
fn t2_a_packet_that_is_too_big_does_not_extend() {
    let mut world = World::of(through(IPIP), USUAL);
    let affinity = world.start(DNS, CLIENT, BackendId(8), MINUTE);
    let deadline = world.view(affinity).deadline;
    world.pass(5000);
    world.send(&too_long(1));
    assert_eq!(world.view(affinity).deadline, deadline);
    world.send(&from_to(&format!("{CLIENT}:2"), DNS4).datagram());
    assert_eq!(world.view(affinity).deadline, world.now + u64::from(MINUTE));
}

#[test]
fn nobody_is_told_about_errors_and_later_fragments() {
    let mut spec = through(IPIP);
    spec.ports[INSIDE_PORT].mtu = 60;
    let mut world = World::of(spec, USUAL);
    world.start(WEB, CLIENT, B2, MINUTE);
    let error = error4(3, 4, from_to(&format!("{CLIENT}:1"), WEB4), 40);
    assert!(world.send(&error).is_empty());
    let fragments = parts(from_to(&format!("{CLIENT}:1"), DNS4), 9, 32);
    // Of a packet in fragments, the first is told about.
    assert_eq!(world.send(&fragments[0]).len(), 1);
    assert!(world.send(&fragments[1]).is_empty());
    let counts = world.counts(0);
    assert_eq!((counts["packet_too_big"], counts["told_too_big"]), (3, 1));
}

const GATEWAY: Mac = Mac([2, 0, 0, 0, 0, 0x77]);
const ROUTER: &str = "10.0.0.254";

/// Backends on other subnets, behind a gateway of the inside port.
fn far() -> TablesSpec {
    let mut spec = through(IPIP);
    spec.services.truncate(1);
    spec.ports[INSIDE_PORT].gateways = vec![ROUTER.parse().unwrap()];
    spec.backends = vec![backend(1, WEB, "172.16.0.1"), backend(2, WEB, "10.0.0.2")];
    spec
}

#[test]
fn a_backend_off_the_link_is_reached_by_the_gateway() {
    let mut spec = far();
    let gateways = [(ROUTER.parse().unwrap(), GATEWAY)];
    spec.ports[INSIDE_PORT].neighbours = gateways.to_vec();
    let mut world = World::settled(spec, USUAL);
    world.start(WEB, CLIENT, B1, MINUTE);
    let left = world.send(&from_to(&format!("{CLIENT}:1"), WEB4).syn());
    assert_eq!(left[0].frame[..12], [GATEWAY.0, INSIDE.0].concat());
    assert_eq!(
        unwrapped(&left[0]).0,
        "172.16.0.1".parse::<IpAddr>().unwrap()
    );
    let left = world.send(&from_to("198.51.100.9:1", WEB4).syn());
    let left = [left, world.send(&from_to("198.51.100.9:2", WEB4).syn())].concat();
    let near = left
        .iter()
        .find(|it| it.frame[..6] == mac_at("10.0.0.2".parse().unwrap()).0);
    assert!(near.is_some(), "{left:?}");
}

#[test]
fn a_gateway_is_of_the_family_of_the_tunnel() {
    let mut spec = far();
    let router6: IpAddr = "fd00::fe".parse().unwrap();
    spec.ports[INSIDE_PORT].gateways.push(router6);
    spec.ports[INSIDE_PORT].neighbours = vec![(router6, GATEWAY)];
    spec.backends = vec![backend(1, WEB, "fd99::1")];
    let mut world = World::settled(spec, USUAL);
    let left = world.send(&from_to(&format!("{CLIENT}:1"), WEB4).syn());
    assert_eq!(
        left[0].frame[..14],
        [&GATEWAY.0, &INSIDE.0, &[0x86, 0xdd][..]].concat()
    );
    let source: [u8; 16] = left[0].frame[22..38].try_into().unwrap();
    assert_eq!(std::net::Ipv6Addr::from(source), crate::world::INSIDE6);
}

#[test]
fn a_service_changes_its_way_under_live_flows() {
    let mut world = World::of(usual(), USUAL);
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    assert_eq!(world.receiver(&flow.syn()), Some(B1));
    let given = world.spec.ports.clone();
    world.spec = through(IPIP);
    world.spec.ports = given;
    world.publish_tables();
    assert_eq!(receiver(&mut world, &flow.ack()), Some(B1));
    world.spec.services = usual().services;
    world.publish_tables();
    assert_eq!(world.receiver(&flow.ack()), Some(B1));
}

#[test]
fn packets_wait_until_the_gateway_has_answered() {
    let mut world = World::unsettled(far(), USUAL);
    world.start(WEB, CLIENT, B1, MINUTE);
    let frame = from_to(&format!("{CLIENT}:1"), WEB4).syn();
    world.put(0, OUTSIDE_PORT, &frame);
    let mut out = Vec::new();
    for _ in 0..20 {
        world.pass(1);
        for left in world.step(0) {
            match answer_from(&left.frame, |_| GATEWAY) {
                Some(reply) => world.put(0, left.port, &reply),
                None if left.frame[12..14] == [8, 0] => out.push(left),
                None => {}
            }
        }
    }
    assert_eq!(out.len(), 1, "{out:?}");
    assert_eq!(unwrapped(&out[0]).1, &frame[14..]);
    assert_eq!(out[0].frame[..6], GATEWAY.0);
}

#[test]
fn the_longest_prefix_is_the_way() {
    let mut spec = far();
    spec.ports[OUTSIDE_PORT]
        .addresses
        .push(("10.0.0.129".parse().unwrap(), 25));
    spec.backends = vec![backend(1, WEB, "10.0.0.200")];
    let neighbour = ("10.0.0.200".parse().unwrap(), GATEWAY);
    spec.ports[OUTSIDE_PORT].neighbours = vec![neighbour];
    let mut world = World::settled(spec, USUAL);
    let left = world.send(&from_to(&format!("{CLIENT}:1"), WEB4).syn());
    assert_eq!((left.len(), left[0].port), (1, OUTSIDE_PORT));
    assert_eq!(left[0].frame[..12], [GATEWAY.0, OUTSIDE.0].concat());
}

#[test]
fn a_backend_that_no_port_reaches_is_refused() {
    let refused = |spec: &TablesSpec| match Tables::build(spec, None) {
        Err(error @ TablesError::NoRoute { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let mut spec = far();
    spec.services[0].forward = Forward::Dsr;
    assert!(refused(&spec).contains("b1 at 172.16.0.1"));
    spec = far();
    spec.ports[INSIDE_PORT].gateways.clear();
    assert!(refused(&spec).contains("b1 at 172.16.0.1"));
    assert_eq!(spec.services[0].address, VIP4.parse::<IpAddr>().unwrap());
}
