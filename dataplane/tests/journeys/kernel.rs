//! The kernel's part of a port: what goes to its tap, what does not, how much of it, and what comes back.

use crate::{
    frames::{
        ALL_NODES_MAC, INSIDE, OUTSIDE, ROUTER, arp, from_to, ndp, padded, patched, tagged, written,
    },
    nat::by_one_port,
    related::{error4, parts},
    world::{
        B1, Counts, INSIDE_PORT, Left, OUTSIDE_PORT, OUTSIDE4, USUAL, VIP4, VIP6, WEB, WEB4, WEB6,
        World, answer_to, service, usual,
    },
};
use etherparse::{ArpOperation, Ipv6Extensions, PacketBuilder};
use std::net::{Ipv4Addr, Ipv6Addr};
use tether_dataplane::{
    Mac, TapSpec,
    key::Protocol,
    port::{
        BURST, Frame,
        memory::{MemoryPeer, MemoryPort},
    },
    tables::{
        TablesSpec,
        id::{PortId, ServiceId},
    },
};

/// More than any test sends.
pub(crate) const AMPLE: TapSpec = TapSpec {
    per_second: 1_000_000,
    mtu: 1500,
};
const ROUTER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Where BGP listens.
const BGP: &str = "192.0.2.2:179";
const PEER: &str = "192.0.2.1:40000";

/// A tap beside a port of worker 0, which takes so many frames at once; what the kernel has of it.
pub(crate) fn tap(world: &mut World, port: usize, spec: TapSpec, room: usize) -> MemoryPeer {
    let (tap, kernel) = MemoryPort::new(1024, room);
    let port = PortId(u8::try_from(port).unwrap());
    let worker = world.workers.remove(0).with_tap(port, tap, spec);
    world.workers.insert(0, worker);
    kernel
}

/// These tables, with a tap beside the outside port.
fn with_kernel(spec: TablesSpec, of_tap: TapSpec) -> (World, MemoryPeer) {
    let mut world = World::of(spec, USUAL);
    let kernel = tap(&mut world, OUTSIDE_PORT, of_tap, 512);
    (world, kernel)
}

fn usual_with_kernel() -> (World, MemoryPeer) {
    with_kernel(usual(), AMPLE)
}

fn taken(kernel: &MemoryPeer) -> Vec<Vec<u8>> {
    let frames = std::iter::from_fn(|| kernel.receive());
    frames.map(|frame| frame.bytes().to_vec()).collect()
}

fn to_all(frame: Vec<u8>) -> Vec<u8> {
    patched(frame, 0, &Mac::BROADCAST.0)
}

fn question(target: Ipv4Addr) -> Vec<u8> {
    padded(arp(
        (ROUTER, Mac::BROADCAST),
        ArpOperation::REQUEST,
        (ROUTER, ROUTER4),
        (Mac([0; 6]), target),
    ))
}

fn reply() -> Vec<u8> {
    let own = (OUTSIDE, OUTSIDE4);
    padded(arp(
        (ROUTER, OUTSIDE),
        ArpOperation::REPLY,
        (ROUTER, ROUTER4),
        own,
    ))
}

fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    ndp((ROUTER, ROUTER6), (OUTSIDE, target), (135, 0, 1), target)
}

fn icmp4(to: Ipv4Addr, kind: u8) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(ROUTER.0, OUTSIDE.0);
    let network = link.ipv4(ROUTER4.octets(), to.octets(), 64);
    written(|out| {
        network
            .icmpv4_raw(kind, 0, [0, 7, 0, 1])
            .write(out, b"abcd")
    })
}

/// Router advertisements and group reports, as routers and hosts send them to all.
fn icmp6(kind: u8) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(ROUTER.0, ALL_NODES_MAC.0);
    let from: Ipv6Addr = "fe80::1".parse().unwrap();
    let network = link.ipv6(from.octets(), ALL_NODES.octets(), 255);
    written(|out| {
        network
            .icmpv6_raw(kind, 0, [64, 0, 0, 0])
            .write(out, &[0; 8])
    })
}

fn of_protocol(number: u8, to: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(ROUTER.0, mac.0);
    let network = link.ipv4(ROUTER4.octets(), to.octets(), 1);
    written(|out| network.write(out, etherparse::IpNumber(number), b"hello, hello"))
}

/// Two fragments of a datagram to this host, and one of a ping.
fn fragments() -> Vec<Vec<u8>> {
    let parts = parts(from_to("192.0.2.1:53", "192.0.2.2:5353"), 9, 64);
    let mut ping = icmp4(OUTSIDE4, 8);
    ping[20] = 0x20;
    let sum = etherparse::Ipv4Header::from_slice(&ping[14..34]).unwrap().0;
    let sum = sum.calc_header_checksum().to_be_bytes();
    [parts, vec![patched(ping, 24, &sum)]].concat()
}

/// What a host hears that has no part in a service.
fn not_ours() -> Vec<(&'static str, Vec<u8>)> {
    let group6 = |frame: Vec<u8>| patched(frame, 0, &ALL_NODES_MAC.0);
    let mdns = from_to("192.0.2.1:5353", "224.0.0.251:5353").datagram();
    let offer = from_to("192.0.2.1:67", "255.255.255.255:68").datagram();
    let rip6 = from_to("[fe80::1]:521", "[ff02::9]:521").datagram();
    let unreachable = error4(
        3,
        3,
        from_to("192.0.2.1:53", "192.0.2.2:5353").reversed(),
        40,
    );
    let mut all = vec![
        ("a connection to BGP", from_to(PEER, BGP).syn()),
        ("and what follows", from_to(PEER, BGP).ack()),
        (
            "the same over IPv6",
            from_to("[2001:db8::1]:40000", "[2001:db8::2]:22").syn(),
        ),
        (
            "with IPv4 options",
            from_to(PEER, "192.0.2.2:22").with_options(),
        ),
        (
            "to an address that it may route",
            from_to(PEER, "198.51.100.1:22").syn(),
        ),
        ("a DHCP offer to all", to_all(offer.clone())),
        ("a DHCP offer to it", offer),
        ("multicast DNS", patched(mdns, 0, &[1, 0, 0x5e, 0, 0, 251])),
        ("RIPng", group6(rip6)),
        ("ARP about another", question(ROUTER4)),
        ("NDP about another", solicitation(ROUTER6)),
        ("a router advertisement", icmp6(134)),
        ("a group report", icmp6(143)),
        ("an answer to its ping", icmp4(OUTSIDE4, 0)),
        (
            "an error about its datagram",
            patched(unreachable, 30, &OUTSIDE4.octets()),
        ),
        (
            "OSPF",
            of_protocol(89, Ipv4Addr::new(224, 0, 0, 5), Mac([1, 0, 0x5e, 0, 0, 5])),
        ),
        ("a tunnel to it", of_protocol(4, OUTSIDE4, OUTSIDE)),
        (
            "LLDP",
            patched(
                patched(from_to(PEER, BGP).syn(), 0, &[1, 0x80, 0xc2, 0, 0, 14]),
                12,
                &[0x88, 0xcc],
            ),
        ),
    ];
    all.extend(fragments().into_iter().map(|it| ("a fragment", it)));
    all
}

#[test]
fn what_is_not_ours_goes_to_the_kernel_as_it_is() {
    for (says, frame) in not_ours() {
        let frame = resummed(frame);
        let (mut world, kernel) = usual_with_kernel();
        let (left, moved) = world.observed(std::slice::from_ref(&frame));
        assert_eq!(moved, Counts::from([("to_kernel", 1)]), "{says}");
        assert_eq!((left, taken(&kernel)), (vec![], vec![frame]), "{says}");
    }
}

/// With the checksum of its IPv4 header made right.
fn resummed(frame: Vec<u8>) -> Vec<u8> {
    if frame[12..14] != [8, 0] {
        return frame;
    }
    let header = etherparse::Ipv4Header::from_slice(&frame[14..]).unwrap().0;
    let sum = header.calc_header_checksum().to_be_bytes();
    patched(frame, 24, &sum)
}

#[test]
fn all_of_it_at_once_arrives_in_order() {
    let (mut world, kernel) = usual_with_kernel();
    let frames: Vec<_> = not_ours().into_iter().map(|(_, it)| resummed(it)).collect();
    let between = from_to("198.51.100.7:4000", WEB4).syn();
    let mixed: Vec<_> = frames
        .iter()
        .flat_map(|it| [it.clone(), between.clone()])
        .collect();
    let (left, moved) = world.observed(&mixed);
    let count = i64::try_from(frames.len()).unwrap();
    assert_eq!((moved["to_kernel"], moved["forwarded"]), (count, count));
    assert_eq!((left.len(), taken(&kernel)), (frames.len(), frames));
}

#[test]
fn an_answer_of_a_neighbour_is_learned_and_passed_on() {
    let mut spec = usual();
    spec.ports[OUTSIDE_PORT].gateways = vec![ROUTER4.into()];
    let (mut world, kernel) = with_kernel(spec, AMPLE);
    let (left, moved) = world.observed(&[reply()]);
    let expected = [("to_kernel", 1), ("neighbours_learned", 1)];
    assert_eq!(moved, Counts::from(expected));
    assert_eq!((left, taken(&kernel)), (vec![], vec![reply()]));
}

/// What stays Tether's, whatever has the kernel: the fate, what it is.
fn ours() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let vip: Ipv4Addr = VIP4.parse().unwrap();
    let vip6: Ipv6Addr = VIP6.parse().unwrap();
    let no_port = from_to("198.51.100.7:4000", "203.0.113.80:81").syn();
    let no_port6 = from_to("[2001:db8:7::7]:4000", "[2001:db8:80::80]:81").syn();
    let syn = from_to(PEER, BGP).syn();
    let conflict = arp(
        (ROUTER, Mac::BROADCAST),
        ArpOperation::REQUEST,
        (ROUTER, OUTSIDE4),
        (Mac([0; 6]), OUTSIDE4),
    );
    let group = Mac([0x33, 0x33, 0xff, 0, 0, 2]);
    let own6 = ndp((ROUTER, ROUTER6), (group, OUTSIDE6), (135, 0, 1), OUTSIDE6);
    vec![
        ("forwarded", "a service", from_to(PEER, WEB4).syn()),
        (
            "forwarded",
            "a service of IPv6",
            from_to("[2001:db8::1]:40000", WEB6).syn(),
        ),
        ("no_service", "a VIP, but no service", no_port),
        ("no_service", "the same over IPv6", no_port6),
        (
            "icmp_unhandled",
            "a timestamp of a VIP",
            resummed(icmp4(vip, 13)),
        ),
        (
            "unknown_protocol",
            "a tunnel to a VIP",
            resummed(of_protocol(4, vip, OUTSIDE)),
        ),
        (
            "icmp_no_flow",
            "an error about no flow",
            error4(3, 4, from_to("198.51.100.7:4000", WEB4), 40),
        ),
        ("answered", "ARP for a VIP", question(vip)),
        ("answered", "ARP for the port", question(OUTSIDE4)),
        ("answered", "NDP for a VIP", solicitation(vip6)),
        ("answered", "NDP for the port", own6),
        ("answered", "a ping", icmp4(OUTSIDE4, 8)),
        (
            "address_conflict",
            "another has its address",
            padded(conflict),
        ),
        (
            "other_mac",
            "to the router itself",
            patched(syn.clone(), 0, &ROUTER.0),
        ),
        ("bad_vlan", "another VLAN", tagged(syn.clone(), 7)),
        ("frame_truncated", "13 bytes", syn[..13].to_vec()),
        (
            "ipv4_checksum",
            "a flipped bit",
            patched(syn.clone(), 22, &[1]),
        ),
        ("tcp_malformed", "no TCP header", patched(syn, 46, &[0x10])),
    ]
}

#[test]
fn what_is_ours_or_broken_is_not_passed_on() {
    for (fate, says, frame) in ours() {
        let (mut world, kernel) = usual_with_kernel();
        let (_, moved) = world.observed(&[frame]);
        assert_eq!(moved.get(fate), Some(&1), "{says}: {moved:?}");
        assert_eq!(taken(&kernel), Vec::<Vec<u8>>::new(), "{says}");
    }
}

#[test]
fn a_frame_in_segments_is_not_passed_on() {
    let (mut world, kernel) = usual_with_kernel();
    let syn = from_to(PEER, BGP).syn();
    assert!(world.peers[0][OUTSIDE_PORT].send_segmented(&syn, 40));
    world.step(0);
    assert_eq!(world.counts(0)["frame_segmented"], 1);
    assert_eq!(taken(&kernel).len(), 0);
}

#[test]
fn a_fragment_for_a_vip_waits_for_its_first() {
    let (mut world, kernel) = usual_with_kernel();
    let fragments = parts(from_to("198.51.100.7:4000", "203.0.113.80:53"), 9, 64);
    let (_, moved) = world.observed(&fragments[1..]);
    assert_eq!((moved["held"], taken(&kernel).len()), (1, 0));
}

#[test]
fn a_service_of_every_port_elsewhere_takes_nothing_of_the_ports_own_address() {
    let mut spec = usual();
    let every = service(ServiceId(9), Protocol::Tcp, "203.0.113.99", 0);
    spec.services.push(every);
    let (mut world, kernel) = with_kernel(spec, AMPLE);
    let syn = from_to(PEER, BGP).syn();
    let (left, moved) = world.observed(std::slice::from_ref(&syn));
    assert_eq!(moved, Counts::from([("to_kernel", 1)]));
    assert_eq!((left, taken(&kernel)), (vec![], vec![syn]));
}

#[test]
fn an_address_that_is_the_ports_and_a_vip_is_the_services_where_there_is_one() {
    let mut spec = usual();
    spec.services[0].address = OUTSIDE4.into();
    let (mut world, kernel) = with_kernel(spec, AMPLE);
    let (shop, bgp) = (
        from_to(PEER, "192.0.2.2:80").syn(),
        from_to(PEER, BGP).syn(),
    );
    assert_eq!(world.receiver(&shop), Some(B1));
    world.send(&bgp);
    assert_eq!(taken(&kernel), [bgp]);
}

#[test]
fn storms_to_groups_leave_room_for_what_is_for_this_host() {
    let (mut world, kernel) = with_kernel(
        usual(),
        TapSpec {
            per_second: 1000,
            ..AMPLE
        },
    );
    let (storm, syn) = (question(ROUTER4), from_to(PEER, BGP).syn());
    let flood = |world: &mut World, frame: &Vec<u8>| {
        let before = world.counts(0);
        for _ in 0..5 {
            (0..BURST).for_each(|_| world.put(0, OUTSIDE_PORT, frame));
            world.step(0);
        }
        let moved = crate::world::moved(&before, &world.counts(0));
        [moved["to_kernel"], moved["kernel_rate_limited"]]
    };
    // A tenth of a second's at once.
    assert_eq!(flood(&mut world, &storm), [100, 220]);
    assert_eq!(flood(&mut world, &syn), [100, 220]);
    world.pass(10);
    assert_eq!(flood(&mut world, &syn), [10, 310]);
    assert_eq!(flood(&mut world, &storm), [10, 310]);
    assert_eq!(taken(&kernel).len(), 220);
}

#[test]
fn what_its_interface_does_not_take_is_counted() {
    let mut world = World::new();
    let kernel = tap(&mut world, OUTSIDE_PORT, AMPLE, 3);
    let frames = (0..5).map(|port| from_to(&format!("192.0.2.1:{}", 40_000 + port), BGP).syn());
    let frames: Vec<_> = frames.collect();
    let (_, moved) = world.observed(&frames);
    assert_eq!((moved["to_kernel"], moved["kernel_refused"]), (3, 2));
    assert_eq!(taken(&kernel), frames[..3]);
    assert_eq!(world.peers[0][OUTSIDE_PORT].free_frames(), 1024);
}

#[test]
fn what_is_longer_than_its_mtu_keeps_nothing_else_from_it() {
    let (mut world, kernel) = with_kernel(usual(), TapSpec { mtu: 1400, ..AMPLE });
    let flow = from_to("192.0.2.1:53", "192.0.2.2:5353");
    let (long, short) = (flow.datagram_of(&[7; 1400]), flow.datagram());
    let (_, moved) = world.observed(&[long, short.clone()]);
    assert_eq!((moved["to_kernel"], moved["kernel_refused"]), (1, 1));
    assert_eq!(taken(&kernel), [short]);
}

/// What the kernel sends is of a host like any other: also to a VIP, and to all.
#[test]
fn what_the_kernel_sends_leaves_by_the_port_as_it_is() {
    let (mut world, kernel) = usual_with_kernel();
    let out = patched(from_to(BGP, PEER).ack(), 0, &[ROUTER.0, OUTSIDE.0].concat());
    let discover = to_all(from_to("0.0.0.0:68", "255.255.255.255:67").datagram());
    let to_vip = patched(from_to(BGP, WEB4).syn(), 0, &[ROUTER.0, OUTSIDE.0].concat());
    let frames = [out, discover, to_vip];
    assert!(frames.iter().all(|it| kernel.send(it)));
    let before = world.counts(0);
    let left = world.send_all(&[]);
    let expected: Vec<_> = frames.iter().map(|it| by_outside(it)).collect();
    assert_eq!(left, expected);
    let moved = crate::world::moved(&before, &world.counts(0));
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let expected = [
        ("from_kernel", 3),
        ("received", 3),
        ("received_bytes", i64::try_from(bytes).unwrap()),
        ("steps", 1),
        ("busy_steps", 1),
    ];
    assert_eq!(moved, Counts::from(expected));
    assert_eq!(kernel.free_frames(), 1024);
}

fn by_outside(frame: &[u8]) -> Left {
    Left {
        port: OUTSIDE_PORT,
        frame: frame.to_vec(),
    }
}

#[test]
fn what_the_kernel_sends_too_fast_waits_in_its_queue() {
    let (mut world, kernel) = with_kernel(
        usual(),
        TapSpec {
            per_second: 100,
            ..AMPLE
        },
    );
    let out = from_to(BGP, PEER).ack();
    assert!((0..200).all(|_| kernel.send(&out)));
    // A burst at once; the next when as many have been earned.
    assert_eq!(world.send_all(&[]).len(), BURST);
    assert_eq!(world.send_all(&[]).len(), 0);
    world.pass(640);
    assert_eq!(world.send_all(&[]).len(), BURST);
    let counts = world.counts(0);
    assert_eq!((counts["from_kernel"], counts["received"]), (128, 128));
}

#[test]
fn what_the_kernel_sends_and_the_port_does_not_take_is_counted() {
    let mut world = World::of(
        usual(),
        crate::world::Size {
            transmit_frames: 16,
            ..USUAL
        },
    );
    let kernel = tap(&mut world, OUTSIDE_PORT, AMPLE, 512);
    assert!((0..20).all(|_| kernel.send(&from_to(BGP, PEER).ack())));
    assert_eq!(world.send_all(&[]).len(), 16);
    let counts = world.counts(0);
    assert_eq!((counts["from_kernel"], counts["transmit_full"]), (16, 4));
}

#[test]
fn frames_have_no_tag_on_the_tap() {
    let mut spec = usual();
    spec.ports[OUTSIDE_PORT].vlan = Some(100);
    let (mut world, kernel) = with_kernel(spec, AMPLE);
    let (syn, ask) = (from_to(PEER, BGP).syn(), question(ROUTER4));
    let others = [syn.clone(), tagged(syn.clone(), 101)];
    let (_, moved) = world.observed(
        &[
            &[tagged(syn.clone(), 100), tagged(ask.clone(), 100)],
            &others[..],
        ]
        .concat(),
    );
    assert_eq!((moved["to_kernel"], moved["bad_vlan"]), (2, 2));
    assert_eq!(taken(&kernel), [syn, ask]);
    // A priority of the sender's is its own.
    let out = from_to(BGP, PEER).ack();
    assert!(kernel.send(&out) && kernel.send_without_headroom(&out));
    assert_eq!(world.send_all(&[]), [by_outside(&tagged(out, 100))]);
    let counts = world.counts(0);
    assert_eq!((counts["from_kernel"], counts["no_room"]), (1, 1));
}

#[test]
fn each_port_has_a_kernels_part_of_its_own() {
    let mut world = World::new();
    let inside = tap(&mut world, INSIDE_PORT, AMPLE, 512);
    let outside = tap(&mut world, OUTSIDE_PORT, AMPLE, 512);
    let syn = from_to(PEER, BGP).syn();
    let to_inside = patched(
        from_to("10.0.0.9:4000", "10.0.0.250:22").syn(),
        0,
        &INSIDE.0,
    );
    world.put(0, INSIDE_PORT, &to_inside);
    world.send(&syn);
    assert_eq!(taken(&inside), [to_inside]);
    assert_eq!(taken(&outside), std::slice::from_ref(&syn));
    let back = [b"to the inside..", b"to the outside."];
    assert!(inside.send(back[0]) && outside.send(back[1]));
    let left = world.send_all(&[]);
    let by = |port, frame: &[u8]| Left {
        port,
        frame: frame.to_vec(),
    };
    assert_eq!(left, [by_outside(back[1]), by(INSIDE_PORT, back[0])]);
}

#[test]
fn a_port_without_a_tap_drops_as_ever() {
    let (mut world, kernel) = usual_with_kernel();
    let syn = patched(
        from_to("10.0.0.9:4000", "10.0.0.250:22").syn(),
        0,
        &INSIDE.0,
    );
    world.put(0, INSIDE_PORT, &syn);
    world.step(0);
    assert_eq!(
        (world.counts(0)["no_service"], taken(&kernel).len()),
        (1, 0)
    );
}

/// The host asks a backend of a service with NAT: the answer is the host's. To clients it is the VIP's.
#[test]
fn a_backends_answer_to_this_host_is_not_translated() {
    let mut world = World::settled(by_one_port(), USUAL);
    let kernel = tap(&mut world, OUTSIDE_PORT, AMPLE, 512);
    let to_host = from_to("10.0.0.1:8001", "10.0.0.250:40000").ack();
    let to_link_local = from_to("[fd00::4]:8004", "[fe80::99]:40000").ack();
    let to_client = from_to("10.0.0.1:8001", "198.51.100.7:4000").ack();
    let frames = [to_host.clone(), to_client, to_link_local.clone()];
    let (left, moved) = world.observed(&frames);
    assert_eq!((moved["to_kernel"], moved["returned"]), (2, 1));
    assert_eq!(
        (left.len(), taken(&kernel)),
        (1, vec![to_host, to_link_local])
    );
}

/// The first fragment of an answer to a client is translated; so are the others.
#[test]
fn fragments_of_an_answer_to_a_client_are_not_the_kernels() {
    let mut world = World::settled(by_one_port(), USUAL);
    let kernel = tap(&mut world, OUTSIDE_PORT, AMPLE, 512);
    let fragments = parts(from_to("10.0.0.7:8007", "198.51.100.7:4000"), 9, 64);
    let (_, moved) = world.observed(&fragments);
    assert_eq!((moved["returned"], taken(&kernel).len()), (2, 0));
}

#[test]
fn extension_headers_go_along() {
    let (mut world, kernel) = usual_with_kernel();
    let flow = from_to("[2001:db8::1]:40000", "[2001:db8::2]:22");
    let frames = [flow.with_extensions(), flow.with(Ipv6Extensions::default())];
    let (_, moved) = world.observed(&frames);
    assert_eq!(moved, Counts::from([("to_kernel", 2)]));
    assert_eq!(taken(&kernel), frames);
}

/// What is known of the other packets of a burst goes with them.
#[test]
fn t2_a_packet_beside_the_kernels_that_waited_and_left_extends() {
    let mut world = World::unsettled(usual(), USUAL);
    let _kernel = tap(&mut world, OUTSIDE_PORT, AMPLE, 512);
    let affinity = world.start(WEB, "198.51.100.7", B1, 60_000);
    let deadline = world.view(affinity).deadline;
    let bgp = from_to(PEER, BGP).syn();
    let syn = from_to("198.51.100.7:4000", WEB4).syn();
    for left in world.send_all(&[bgp.clone(), bgp, syn]) {
        if let Some(reply) = answer_to(&left.frame) {
            world.put(0, left.port, &reply);
        }
    }
    let counts = world.counts(0);
    assert_eq!((counts["to_kernel"], counts["held"]), (2, 1));
    assert_eq!(world.view(affinity).deadline, deadline);
    world.settle();
    assert_eq!(world.counts(0)["forwarded"], 1);
    assert!(world.view(affinity).deadline > deadline);
}
