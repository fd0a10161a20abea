//! What nobody on a wire should say, and what a forwarder must not let others do through it.

use crate::{
    frames::{INSIDE, OUTSIDE, ROUTER, arp, from_to, ndp, padded, patched, written},
    related::{error4, error6},
    tunnels::{IPIP, through, too_long},
    world::{
        B1, INSIDE_PORT, INSIDE6, OUTSIDE_PORT, USUAL, VIP4, VIP6, WEB, WEB4, WEB6, World, mac_at,
        usual,
    },
};
use etherparse::{
    ArpOperation, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, PacketBuilder, TcpHeader,
};
use std::net::{IpAddr, Ipv4Addr};
use tether_dataplane::Mac;

const CLIENT: &str = "198.51.100.7";
const CLIENT6: &str = "2001:db8:7::7";

/// The only fate that moves, once, while nothing leaves.
#[track_caller]
fn dropped(world: &mut World, says: &str, fate: &str, frame: &[u8]) {
    let (left, moved) = world.observed(&[frame.to_vec()]);
    assert_eq!(left, [], "{says}");
    let moved: Vec<_> = moved.into_iter().collect();
    assert_eq!(moved, [(fate, 1)], "{says}");
}

#[test]
fn addresses_of_the_forwarder_and_its_links_are_no_clients() {
    let mut world = World::new();
    for source in [
        VIP4,          // a land attack
        "192.0.2.2",   // the port
        "10.0.0.250",  // another port
        "192.0.2.255", // everyone on a link
        "10.0.0.255",
        "0.1.2.3", // a host of "this network"
    ] {
        let flow = from_to(&format!("{source}:4000"), WEB4);
        dropped(&mut world, source, "bad_source", &flow.syn());
    }
    for source in [VIP6, "2001:db8::2", "fd00::fa"] {
        let flow = from_to(&format!("[{source}]:4000"), WEB6);
        dropped(&mut world, source, "bad_source", &flow.syn());
    }
    let mut prefixes = usual();
    prefixes.services[0].address = "203.0.113.64".parse().unwrap();
    prefixes.services[0].prefix_length = 26;
    let mut world = World::of(prefixes, USUAL);
    let flow = from_to("203.0.113.81:80", WEB4);
    dropped(
        &mut world,
        "another VIP of a prefix",
        "bad_source",
        &flow.syn(),
    );
}

#[test]
fn nobody_is_pinged_who_cannot_have_asked() {
    let mut world = World::new();
    for source in [[192, 0, 2, 255], [10, 0, 0, 255], [203, 0, 113, 80]] {
        let ping = PacketBuilder::ethernet2(ROUTER.0, OUTSIDE.0)
            .ipv4(source, [192, 0, 2, 2], 64)
            .icmpv4_echo_request(7, 1);
        let frame = written(|out| ping.write(out, b"abcd"));
        dropped(&mut world, "a ping", "bad_source", &frame);
    }
}

#[test]
fn r8_an_icmp_error_of_nobody_or_to_everyone_is_not_passed_on() {
    let mut world = World::new();
    let flow = from_to(&format!("{CLIENT}:1"), WEB4);
    assert_eq!(world.receiver(&flow.syn()), Some(B1));
    let error = error4(3, 4, flow, 40);
    let from = |source: [u8; 4]| resummed(patched(error.clone(), 26, &source));
    for source in [
        [0; 4],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [203, 0, 113, 80],
        [192, 0, 2, 255],
    ] {
        dropped(&mut world, "of nobody", "bad_source", &from(source));
    }
    let to_everyone = patched(error.clone(), 0, &Mac::BROADCAST.0);
    dropped(&mut world, "to everyone", "icmp_unhandled", &to_everyone);
    assert_eq!(world.receiver(&error), Some(B1));

    let flow = from_to(&format!("[{CLIENT6}]:1"), WEB6);
    assert!(world.receiver(&flow.syn()).is_some());
    let error = error6(2, flow);
    let group = patched(error.clone(), 0, &[0x33, 0x33, 0, 0, 0, 1]);
    dropped(&mut world, "to a group", "icmp_unhandled", &group);
    assert!(world.receiver(&error).is_some());
}

/// With a right IPv4 header checksum.
fn resummed(frame: Vec<u8>) -> Vec<u8> {
    let header = Ipv4Header::from_slice(&frame[14..]).unwrap().0;
    patched(frame, 24, &header.calc_header_checksum().to_be_bytes())
}

/// A SYN with these options of IPv4.
pub(crate) fn with_options(options: &[u8]) -> Vec<u8> {
    let source = CLIENT.parse::<Ipv4Addr>().unwrap().octets();
    let vip = VIP4.parse::<Ipv4Addr>().unwrap().octets();
    let mut header = Ipv4Header::new(0, 63, IpNumber::TCP, source, vip).unwrap();
    header.options = options.try_into().unwrap();
    let mut tcp = TcpHeader::new(4000, 80, 1, 512);
    tcp.syn = true;
    let link = PacketBuilder::ethernet2(ROUTER.0, OUTSIDE.0);
    let network = link.ip(IpHeaders::Ipv4(header, Ipv4Extensions::default()));
    written(|out| network.tcp_header(tcp).write(out, &[]))
}

#[test]
fn no_client_says_by_which_route_its_packet_goes() {
    let mut world = World::new();
    for (says, options) in [
        ("a loose route", &[131, 7, 4, 192, 0, 2, 7, 0][..]),
        ("a strict route", &[137, 7, 4, 192, 0, 2, 7, 0]),
        (
            "a route after others",
            &[1, 1, 7, 3, 4, 131, 3, 4, 0, 0, 0, 0],
        ),
        ("a route that was followed", &[131, 7, 8, 192, 0, 2, 7, 0]),
        ("an option of nothing", &[7, 0, 0, 0]),
        ("an option of one byte", &[7, 1, 0, 0]),
        ("an option beyond the header", &[7, 5, 4, 0]),
        ("an option without its length", &[1, 1, 1, 7]),
    ] {
        dropped(&mut world, says, "ipv4_options", &with_options(options));
    }
    for (says, options) in [
        ("a record of the route", &[7, 7, 4, 0, 0, 0, 0, 0][..]),
        ("times", &[68, 8, 5, 0, 0, 0, 0, 0]),
        ("for every router", &[148, 4, 0, 0]),
        ("an end, and anything", &[1, 0, 131, 9]),
    ] {
        let frame = with_options(options);
        assert!(world.receiver(&frame).is_some(), "{says}");
    }
}

#[test]
fn nobody_is_told_that_a_packet_is_too_big_but_a_station() {
    let mut world = World::of(through(IPIP), USUAL);
    for mac in [
        Mac::BROADCAST,
        Mac([1, 0, 0x5e, 0, 0, 1]),
        Mac([0; 6]),
        OUTSIDE,
        INSIDE,
    ] {
        let frame = patched(too_long(1), 6, &mac.0);
        assert_eq!(world.send(&frame), [], "{mac}");
    }
    assert_eq!(world.send(&too_long(1)).len(), 1);
}

/// A claim of a backend or a router, by ARP, to this station.
fn claim(operation: ArpOperation, to: Mac, mac: Mac) -> Vec<u8> {
    let (backend, us) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 250));
    padded(arp((mac, to), operation, (mac, backend), (INSIDE, us)))
}

fn mac_of_b1(world: &World) -> Option<Mac> {
    let neighbours = world.writer.tables().neighbours();
    let backend: IpAddr = "10.0.0.1".parse().unwrap();
    neighbours.iter().find(|it| it.address == backend)?.mac
}

#[test]
fn no_neighbour_is_where_the_forwarder_is() {
    let mut world = World::settled(usual(), USUAL);
    let known = mac_of_b1(&world);
    assert!(known.is_some());
    for own in [INSIDE, OUTSIDE] {
        // A frame from elsewhere that says so, and one of the other port.
        for from in [mac_at("10.0.0.9".parse().unwrap()), own] {
            let lie = patched(claim(ArpOperation::REPLY, INSIDE, own), 6, &from.0);
            world.put(0, INSIDE_PORT, &lie);
            world.pass(1);
            world.step(0);
            assert_eq!(mac_of_b1(&world), known, "{own} by {from}");
        }
    }
    let backend = "fd00::4".parse().unwrap();
    for own in [INSIDE, OUTSIDE] {
        let from = mac_at(IpAddr::V6(backend));
        let truth = ndp((from, backend), (INSIDE, INSIDE6), (136, 0x60, 2), backend);
        let lie = ndp((own, backend), (INSIDE, INSIDE6), (136, 0x60, 2), backend);
        world.put(0, INSIDE_PORT, &patched(lie, 6, &from.0));
        world.put(0, INSIDE_PORT, &truth);
        world.pass(1);
        let before = world.counts(0);
        world.step(0);
        let moved = crate::world::moved(&before, &world.counts(0));
        assert_eq!((moved["ndp_malformed"], moved["learned"]), (1, 1), "{own}");
    }
}

#[test]
fn what_the_other_port_announces_is_no_conflict() {
    let mut world = World::new();
    let vip = VIP4.parse().unwrap();
    let announced = arp(
        (INSIDE, Mac::BROADCAST),
        ArpOperation::REQUEST,
        (INSIDE, vip),
        (Mac([0; 6]), vip),
    );
    dropped(
        &mut world,
        "both ports on one link",
        "bad_source",
        &announced,
    );
}

#[test]
fn what_is_answered_to_everyone_is_a_claim_and_is_asked_about() {
    let mut world = World::settled(usual(), USUAL);
    let other = Mac([2, 0, 0, 0, 9, 9]);
    world.pass(2000);
    world.put(
        0,
        INSIDE_PORT,
        &claim(ArpOperation::REPLY, Mac::BROADCAST, other),
    );
    let left = world.step(0);
    let asks = left
        .iter()
        .any(|it| it.port == INSIDE_PORT && it.frame[..6] == other.0);
    assert!(asks, "{left:?}");
    assert_eq!(mac_of_b1(&world), Some(other));
}

#[test]
fn an_affinity_is_not_extended_by_what_is_refused() {
    let mut world = World::new();
    let affinity = world.start(WEB, "192.0.2.0/24", B1, 60_000);
    let deadline = world.view(affinity).deadline;
    world.pass(5000);
    for source in ["192.0.2.255", "192.0.2.2"] {
        world.send(&from_to(&format!("{source}:4000"), WEB4).syn());
    }
    assert_eq!(world.view(affinity).deadline, deadline);
    assert_eq!(
        world.receiver(&from_to("192.0.2.9:4000", WEB4).syn()),
        Some(B1)
    );
    assert_eq!(world.view(affinity).deadline, world.now + 60_000);
    assert_eq!(world.peers[0][OUTSIDE_PORT].free_frames(), 1024);
}
