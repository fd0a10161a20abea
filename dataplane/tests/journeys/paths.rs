//! What routers between the forwarder and a backend say of the packets in its tunnel (RFC 1191, RFC 8201).

use crate::{
    frames::{INSIDE, ROUTER, from_to, patched, written},
    tunnels::{IPIP, through},
    world::{B1, DNS4, INSIDE_PORT, Left, OUTSIDE_PORT, USUAL, WEB, WEB4, WEB6, World},
};
use etherparse::PacketBuilder;
use std::net::{Ipv4Addr, Ipv6Addr};
use tether_dataplane::tables::{
    TablesSpec,
    service::Forward,
    tunnel::{Encapsulation, GueVariant, TunnelSpec},
};

const CLIENT: &str = "198.51.100.7";
const CLIENT6: &str = "2001:db8:7::7";
/// How long what a router says counts, in milliseconds.
const KEPT_MS: u64 = 600_000;

const GRE: TunnelSpec = TunnelSpec {
    encapsulation: Encapsulation::Gre,
    ..IPIP
};
const GUE: TunnelSpec = TunnelSpec {
    encapsulation: Encapsulation::Gue {
        port: 6080,
        variant: GueVariant::Header,
    },
    ..IPIP
};

/// "Fragmentation needed", or another error, about a packet over IPv4 of which `quoted` bytes are left.
pub(crate) fn error4((kind, code): (u8, u8), mtu: u16, sent: &[u8], quoted: usize) -> Vec<u8> {
    let to: [u8; 4] = sent[12..16].try_into().unwrap();
    let [high, low] = mtu.to_be_bytes();
    let error = PacketBuilder::ethernet2(ROUTER.0, INSIDE.0)
        .ipv4(Ipv4Addr::new(10, 0, 0, 254).octets(), to, 60)
        .icmpv4_raw(kind, code, [0, 0, high, low]);
    written(|out| error.write(out, &sent[..quoted.min(sent.len())]))
}

fn error6(kind: u8, mtu: u32, sent: &[u8], quoted: usize) -> Vec<u8> {
    let to: [u8; 16] = sent[8..24].try_into().unwrap();
    let router: Ipv6Addr = "fd00::fe".parse().unwrap();
    let error = PacketBuilder::ethernet2(ROUTER.0, INSIDE.0)
        .ipv6(router.octets(), to, 60)
        .icmpv6_raw(kind, 0, mtu.to_be_bytes());
    written(|out| error.write(out, &sent[..quoted.min(sent.len())]))
}

/// "Too big" of the outer packet's family.
fn too_big(mtu: u16, sent: &[u8]) -> Vec<u8> {
    if sent[0] >> 4 == 4 {
        error4((3, 4), mtu, sent, 28)
    } else {
        error6(2, mtu.into(), sent, 1232)
    }
}

/// What becomes of an error that comes by a port.
fn fate_of(world: &mut World, port: usize, error: &[u8]) -> &'static str {
    let before = world.counts(0);
    world.put(0, port, error);
    world.pass(1);
    assert!(world.step(0).is_empty());
    let moved = crate::world::moved(&before, &world.counts(0));
    let mut fates = tether_dataplane::fate::Fate::ALL.iter().map(|it| it.name());
    fates.find(|name| moved.contains_key(name)).unwrap()
}

/// A packet of a client to a service that is so long with its IP header.
fn packet(vip: &str, len: usize) -> Vec<u8> {
    let (client, head) = match vip.as_bytes()[0] {
        b'[' => (format!("[{CLIENT6}]:1"), 40 + 20),
        _ => (format!("{CLIENT}:1"), 20 + 20),
    };
    let whole = from_to(&client, vip).ack();
    let mut frame = whole[..14 + head].to_vec();
    frame.resize(14 + len, 7);
    let at_length = |len: usize| u16::try_from(len).unwrap().to_be_bytes();
    if head == 60 {
        return patched(frame, 18, &at_length(len - 40));
    }
    let frame = patched(patched(frame, 16, &at_length(len)), 24, &[0, 0]);
    let header = etherparse::Ipv4Header::from_slice(&frame[14..34])
        .unwrap()
        .0;
    patched(frame, 24, &header.calc_header_checksum().to_be_bytes())
}

/// What a client is told that a packet of so many bytes may be long; `None`: it went on.
fn told(world: &mut World, vip: &str, len: usize) -> Option<u16> {
    let left = world.send(&packet(vip, len));
    let [Left { port, frame }] = left.as_slice() else {
        panic!("{left:?}")
    };
    if *port == INSIDE_PORT {
        return None;
    }
    let at = if frame[14] >> 4 == 4 { 40 } else { 60 };
    Some(u16::from_be_bytes([frame[at], frame[at + 1]]))
}

/// A packet of the client as it left in its tunnel, from the outer IP header on.
fn sent(world: &mut World, vip: &str, len: usize) -> Vec<u8> {
    let left = world.send(&packet(vip, len));
    assert_eq!((left.len(), left[0].port), (1, INSIDE_PORT));
    left[0].frame[14..].to_vec()
}

/// Every VIP's first backend is of the other family.
fn crossed(tunnel: TunnelSpec) -> TablesSpec {
    let mut spec = through(tunnel);
    for backend in &mut spec.backends {
        backend.address = if backend.address.is_ipv4() {
            format!("fd00::{}", backend.id.0).parse().unwrap()
        } else {
            format!("10.0.0.{}", backend.id.0).parse().unwrap()
        };
    }
    spec
}

fn one_backend(mut spec: TablesSpec) -> TablesSpec {
    spec.backends.retain(|it| [1, 4, 7].contains(&it.id.0));
    spec
}

#[test]
fn a_router_that_says_too_big_lowers_what_clients_are_told() {
    for (tunnel, shim) in [(IPIP, 0), (GRE, 4), (GUE, 12)] {
        for (spec, vip, outer) in [
            (through(tunnel), WEB4, 20),
            (through(tunnel), WEB6, 40),
            (crossed(tunnel), WEB4, 40),
            (crossed(tunnel), WEB6, 20),
        ] {
            let mut world = World::of(one_backend(spec), USUAL);
            let added = outer + shim;
            let packet = sent(&mut world, vip, 1500 - added);
            let fits = u16::try_from(1400 - added).unwrap();
            let error = too_big(1400, &packet);
            assert_eq!(fate_of(&mut world, INSIDE_PORT, &error), "path_mtu");
            assert_eq!(told(&mut world, vip, usize::from(fits) + 1), Some(fits));
            assert_eq!(told(&mut world, vip, fits.into()), None);
        }
    }
}

#[test]
fn tunnels_to_one_backend_take_one_path() {
    let mut spec = through(IPIP);
    spec.services[2].forward = Forward::Tunnel(GUE);
    spec.backends.retain(|it| [1, 7].contains(&it.id.0));
    spec.backends[1].address = spec.backends[0].address;
    let mut world = World::of(spec, USUAL);
    let packet = sent(&mut world, WEB4, 1480);
    fate_of(&mut world, INSIDE_PORT, &too_big(1400, &packet));
    assert_eq!(told(&mut world, WEB4, 1381), Some(1380));
    let datagram = from_to(&format!("{CLIENT}:1"), DNS4);
    let left = world.send(&datagram.datagram_of(&[7; 1400 - 32 - 28 + 1]));
    assert_eq!(left[0].port, OUTSIDE_PORT);
    assert_eq!(left[0].frame[40..42], (1400_u16 - 32).to_be_bytes());
    let left = world.send(&datagram.datagram_of(&[7; 1400 - 32 - 28]));
    assert_eq!(left[0].port, INSIDE_PORT);
}

#[test]
fn each_backend_has_its_own_path() {
    let mut world = World::of(through(IPIP), USUAL);
    let owner = world.start(WEB, CLIENT, B1, 60_000);
    let packet = sent(&mut world, WEB4, 1480);
    fate_of(&mut world, INSIDE_PORT, &too_big(1400, &packet));
    assert_eq!(told(&mut world, WEB4, 1480), Some(1380));
    world.end(owner);
    world.remove(B1);
    assert_eq!(told(&mut world, WEB4, 1480), None);
}

#[test]
fn nobody_lowers_it_below_what_every_host_takes() {
    for (vip, outer, least) in [(WEB4, 20, 576), (WEB6, 40, 1280)] {
        let mut world = World::of(one_backend(through(IPIP)), USUAL);
        let packet = sent(&mut world, vip, 1500 - outer);
        fate_of(&mut world, INSIDE_PORT, &too_big(68, &packet));
        assert_eq!(told(&mut world, vip, 1400), Some(least));
        assert_eq!(told(&mut world, vip, least.into()), None);
    }
}

#[test]
fn a_router_that_names_no_size_means_the_next_usual_one() {
    let mut world = World::of(one_backend(through(IPIP)), USUAL);
    let packet = sent(&mut world, WEB4, 1480);
    let error = error4((3, 4), 0, &packet, 28);
    assert_eq!(fate_of(&mut world, INSIDE_PORT, &error), "path_mtu");
    assert_eq!(told(&mut world, WEB4, 1480), Some(1472));
}

#[test]
fn it_outlives_a_change_of_tables_and_not_ten_minutes() {
    let mut world = World::of(one_backend(through(IPIP)), USUAL);
    let packet = sent(&mut world, WEB4, 1480);
    fate_of(&mut world, INSIDE_PORT, &too_big(1400, &packet));
    world.spec.services[0].forward = Forward::Tunnel(GRE);
    world.publish_tables();
    assert_eq!(told(&mut world, WEB4, 1476), Some(1376));
    world.pass(KEPT_MS / 2);
    world.step(0);
    world.publish_tables();
    world.pass(KEPT_MS / 2 - 10);
    world.step(0);
    assert_eq!(told(&mut world, WEB4, 1476), Some(1376));
    for _ in 0..10 {
        world.pass(10);
        world.step(0);
    }
    assert_eq!(told(&mut world, WEB4, 1476), None);
}

#[test]
fn what_is_not_of_a_tunnel_or_cannot_be_changes_nothing() {
    let mut world = World::of(one_backend(through(GUE)), USUAL);
    let packet = sent(&mut world, WEB4, 1468);
    let at = |at: usize, bytes: &[u8]| patched(packet.clone(), at, bytes);
    for (says, port, fate, error) in [
        (
            "by the port of the clients",
            OUTSIDE_PORT,
            "other_mac",
            too_big(1400, &packet),
        ),
        (
            "from another address",
            INSIDE_PORT,
            "no_service",
            too_big(1400, &at(15, &[249])),
        ),
        (
            "to another backend",
            INSIDE_PORT,
            "no_service",
            too_big(1400, &at(19, &[2])),
        ),
        (
            "to another port",
            INSIDE_PORT,
            "no_service",
            too_big(1400, &at(22, &[0x17, 0xc1])),
        ),
        (
            "of another protocol",
            INSIDE_PORT,
            "icmp_unhandled",
            too_big(1400, &at(9, &[4])),
        ),
        (
            "no longer than it might be",
            INSIDE_PORT,
            "tunnel_error",
            too_big(1500, &packet),
        ),
        (
            "the host is unreachable",
            INSIDE_PORT,
            "tunnel_error",
            error4((3, 1), 0, &packet, 28),
        ),
        (
            "out of hops",
            INSIDE_PORT,
            "tunnel_error",
            error4((11, 0), 0, &packet, 60),
        ),
        (
            "a wrong checksum",
            INSIDE_PORT,
            "icmp_malformed",
            patched(too_big(1400, &packet), 40, &[1]),
        ),
    ] {
        assert_eq!(fate_of(&mut world, port, &error), fate, "{says}");
        assert_eq!(told(&mut world, WEB4, 1468), None, "{says}");
    }
    let mut by_clients = too_big(1400, &packet);
    by_clients[..6].copy_from_slice(&crate::frames::OUTSIDE.0);
    fate_of(&mut world, OUTSIDE_PORT, &by_clients);
    assert_eq!(told(&mut world, WEB4, 1468), None);
}

#[test]
fn sources_of_a_prefix_are_the_tunnels_own() {
    let spec = TunnelSpec {
        source_v4: Some(("10.99.0.0".parse().unwrap(), 16)),
        ..IPIP
    };
    let mut world = World::of(one_backend(through(spec)), USUAL);
    let packet = sent(&mut world, WEB4, 1480);
    assert_eq!(packet[12..14], [10, 99]);
    let other = patched(packet.clone(), 14, &[1, 2]);
    let strange = patched(packet, 13, &[98]);
    let fate = fate_of(&mut world, INSIDE_PORT, &too_big(1400, &strange));
    assert_eq!(fate, "icmp_unhandled");
    assert_eq!(
        fate_of(&mut world, INSIDE_PORT, &too_big(1400, &other)),
        "path_mtu"
    );
    assert_eq!(told(&mut world, WEB4, 1480), Some(1380));
}

/// A quote that ends within a header, or of nothing at all, is no quote.
#[test]
fn short_quotes_do_no_harm() {
    for (vip, len, head) in [(WEB4, 1468, 20), (WEB6, 1448, 40)] {
        let mut world = World::of(one_backend(through(GUE)), USUAL);
        let packet = sent(&mut world, vip, len);
        for quoted in 0..head + 8 {
            let error = if head == 20 {
                error4((3, 4), 1400, &packet, quoted)
            } else {
                error6(2, 1400, &packet, quoted)
            };
            let fate = fate_of(&mut world, INSIDE_PORT, &error);
            let expected = if quoted < head {
                "icmp_malformed"
            } else {
                // The port may not be there to be compared.
                "path_mtu"
            };
            assert_eq!(fate, expected, "{quoted}");
        }
    }
}
