//! Every fate has a packet that meets it: a case for each, and a test that none is without.

use crate::{
    admission::{limited, prefix},
    frames::{OUTSIDE, ROUTER, arp, from_to, ndp, patched, tagged, written},
    fullnat,
    hostile::with_options,
    kernel::{AMPLE, tap},
    nat::by_one_port,
    paths, proxied,
    related::{error4, parts},
    tunnels::{IPIP, through, too_long},
    world::{
        B1, B2, B3, DNS4, OUTSIDE_PORT, OUTSIDE4, USUAL, VIP4, VIP6, WEB, WEB4, WEB6, World, usual,
    },
};
use etherparse::{ArpOperation, IpFragOffset, IpNumber, Ipv6Extensions, Ipv6FragmentHeader};
use etherparse::{PacketBuilder, PacketBuilderStep};
use std::net::{Ipv4Addr, Ipv6Addr};
use tether_dataplane::{
    Mac, TapSpec,
    fate::Fate,
    limits::{FRAGMENT_WAIT_MS, HANDED_OVER, HELD_PER_NEIGHBOUR, HOLD_MS},
    tables::{backend::BackendState, service::OnBackendDown},
};

struct Case {
    fate: Fate,
    says: &'static str,
    world: World,
    frames: Vec<Vec<u8>>,
    /// How much of the frame is in its first segment.
    segment: Option<usize>,
}

fn case(fate: Fate, says: &'static str, frame: Vec<u8>) -> Case {
    within(World::settled(usual(), USUAL), fate, says, vec![frame])
}

fn within(world: World, fate: Fate, says: &'static str, frames: Vec<Vec<u8>>) -> Case {
    Case {
        fate,
        says,
        world,
        frames,
        segment: None,
    }
}

fn syn4() -> Vec<u8> {
    from_to("198.51.100.7:4000", WEB4).syn()
}

fn syn6() -> Vec<u8> {
    from_to("[2001:db8:7::7]:4000", WEB6).syn()
}

fn from_router() -> PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(ROUTER.0, OUTSIDE.0).ipv4([192, 0, 2, 1], OUTSIDE4.octets(), 64)
}

fn ping() -> Vec<u8> {
    written(|out| from_router().icmpv4_echo_request(7, 1).write(out, b"abcd"))
}

fn arp_of(operation: ArpOperation, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let nobody = Mac([0; 6]);
    arp(
        (ROUTER, Mac::BROADCAST),
        operation,
        (ROUTER, sender),
        (nobody, target),
    )
}

fn solicitation(target: &str) -> Vec<u8> {
    let router = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let target: Ipv6Addr = target.parse().unwrap();
    ndp((ROUTER, router), (OUTSIDE, target), (135, 0, 1), target)
}

fn link_cases() -> Vec<Case> {
    let elsewhere = patched(syn4(), 0, &ROUTER.0);
    let segmented = Case {
        segment: Some(54),
        ..case(Fate::FrameSegmented, "a frame in two segments", syn4())
    };
    vec![
        case(Fate::FrameTruncated, "13 bytes", syn4()[..13].to_vec()),
        segmented,
        case(Fate::OtherMac, "to the router itself", elsewhere),
        case(Fate::BadVlan, "a tag on a port without", tagged(syn4(), 7)),
        case(
            Fate::UnknownEthertype,
            "LLDP",
            patched(syn4(), 12, &[0x88, 0xcc]),
        ),
    ]
}

fn network_cases() -> Vec<Case> {
    let fragment = Ipv6Extensions {
        fragment: Some(Ipv6FragmentHeader::new(
            IpNumber::TCP,
            IpFragOffset::ZERO,
            true,
            9,
        )),
        ..Default::default()
    };
    let flow6 = from_to("[2001:db8:7::7]:4000", WEB6);
    vec![
        case(
            Fate::Ipv4Malformed,
            "version 5",
            patched(syn4(), 14, &[0x55]),
        ),
        case(
            Fate::Ipv4Checksum,
            "a flipped bit",
            patched(syn4(), 22, &[1]),
        ),
        case(
            Fate::Ipv4Options,
            "a source route",
            with_options(&[131, 7, 4, 192, 0, 2, 7, 0]),
        ),
        case(
            Fate::Ipv6Malformed,
            "version 5",
            patched(syn6(), 14, &[0x50]),
        ),
        case(
            Fate::Ipv6Extensions,
            "options longer than the packet",
            patched(flow6.with_extensions(), 55, &[0xff]),
        ),
        case(
            Fate::Fragment,
            "a fragment of GRE",
            patched(flow6.with(fragment.clone()), 54, &[47]),
        ),
        case(
            Fate::FragmentMalformed,
            "a fragment over the TCP header",
            patched(flow6.with(fragment.clone()), 56, &[0, 8]),
        ),
        case(Fate::UnknownProtocol, "GRE", patched(syn6(), 20, &[47])),
    ]
}

fn transport_cases() -> Vec<Case> {
    let flow = from_to("198.51.100.7:4000", WEB4);
    let datagram = from_to("198.51.100.7:4000", DNS4).datagram();
    vec![
        case(Fate::TcpMalformed, "offset 1", patched(syn4(), 46, &[0x10])),
        case(
            Fate::TcpFlags,
            "SYN and FIN",
            flow.tcp(|tcp| (tcp.syn, tcp.fin) = (true, true)),
        ),
        case(
            Fate::UdpMalformed,
            "length 0",
            patched(datagram, 38, &[0, 0]),
        ),
        case(
            Fate::BadSource,
            "from a multicast group",
            from_to("224.0.0.1:4000", WEB4).syn(),
        ),
        case(
            Fate::NoService,
            "no such port",
            from_to("198.51.100.7:4000", "203.0.113.80:81").syn(),
        ),
    ]
}

fn local_cases() -> Vec<Case> {
    let reply = written(|out| from_router().icmpv4_echo_reply(7, 1).write(out, b"abcd"));
    let vip = VIP4.parse().unwrap();
    let router = Ipv4Addr::new(192, 0, 2, 1);
    let probe = arp_of(ArpOperation::REQUEST, Ipv4Addr::UNSPECIFIED, router);
    vec![
        case(Fate::Answered, "a ping", ping()),
        case(
            Fate::Learned,
            "a neighbour's ARP reply",
            arp_of(ArpOperation::REPLY, router, OUTSIDE4),
        ),
        case(Fate::ArpMalformed, "ARP cut short", probe[..30].to_vec()),
        case(Fate::ArpNotOurs, "a probe for another", probe),
        case(
            Fate::AddressConflict,
            "another station has the VIP",
            arp_of(ArpOperation::REPLY, vip, OUTSIDE4),
        ),
        case(
            Fate::IcmpMalformed,
            "a broken ping",
            patched(ping(), 42, &[9]),
        ),
        case(Fate::IcmpUnhandled, "a reply to no ping of ours", reply),
        case(
            Fate::NdpMalformed,
            "a solicitation from off the link",
            patched(solicitation(VIP6), 21, &[64]),
        ),
        case(
            Fate::NdpNotOurs,
            "a question about another",
            solicitation("2001:db8::7"),
        ),
    ]
}

fn backend_cases() -> Vec<Case> {
    let mut disabled = World::new();
    for backend in [B1, B2, B3] {
        disabled.set_state(backend, BackendState::Disabled);
    }
    let mut down = World::new();
    down.spec.services[0].on_backend_down = OnBackendDown::Drop;
    down.start(WEB, "198.51.100.7", B1, 60_000);
    down.set_state(B1, BackendState::Down);
    vec![
        case(Fate::Forwarded, "a SYN", syn4()),
        within(disabled, Fate::NoBackend, "all are disabled", vec![syn4()]),
        within(down, Fate::BackendDown, "its owner is down", vec![syn4()]),
    ]
}

fn related_cases() -> Vec<Case> {
    let mut waits = World::new();
    waits.send(&parts(from_to("198.51.100.7:4000", DNS4), 9, 32)[1]);
    waits.pass(FRAGMENT_WAIT_MS - 1);
    let unknown = error4(3, 4, from_to("198.51.100.7:4000", WEB4), 40);
    vec![
        within(
            waits,
            Fate::FragmentUnknown,
            "its first does not come",
            vec![],
        ),
        case(Fate::IcmpNoFlow, "an error about no flow", unknown),
    ]
}

/// Errors about what left through a tunnel; one port reaches clients and backends.
fn tunnel_cases() -> Vec<Case> {
    let mut spec = through(IPIP);
    let inside = std::mem::take(&mut spec.ports[1].addresses);
    spec.ports[0].addresses.extend(inside);
    let case = |fate, says, said| {
        let mut world = World::settled(spec.clone(), USUAL);
        let left = world.send(&syn4());
        let error = paths::error4(said, 60, &left[0].frame[14..], 28);
        within(world, fate, says, vec![patched(error, 0, &OUTSIDE.0)])
    };
    vec![
        case(Fate::PathMtu, "a router's link is narrow", (3, 4)),
        case(Fate::TunnelError, "a backend is unreachable", (3, 1)),
    ]
}

fn leaving_cases() -> Vec<Case> {
    let mut waits = World::unsettled(usual(), USUAL);
    waits.send(&syn4());
    waits.pass(HOLD_MS - 1);
    let mut holds = World::unsettled(usual(), USUAL);
    for _ in 0..HELD_PER_NEIGHBOUR {
        holds.send(&syn4());
    }
    let mut inside = usual();
    inside.ports[1].vlan = Some(200);
    let tags = World::of(inside, USUAL);
    let mut full = syn4();
    full.resize(2046, 0);
    let size = crate::world::Size {
        transmit_frames: 16,
        ..USUAL
    };
    let mut narrow = World::of(usual(), size);
    (0..16).for_each(|_| narrow.put(0, OUTSIDE_PORT, &syn4()));
    narrow.pass(1);
    narrow.workers[0].step(narrow.now);
    vec![
        within(waits, Fate::NeighbourUnresolved, "nobody answers", vec![]),
        within(holds, Fate::HoldFull, "too many wait", vec![syn4()]),
        within(tags, Fate::NoRoom, "no room for a tag", vec![full]),
        within(
            World::of(through(IPIP), USUAL),
            Fate::PacketTooBig,
            "a byte too long for its tunnel",
            vec![too_long(4000)],
        ),
        within(
            narrow,
            Fate::TransmitFull,
            "the queue is full",
            vec![syn4()],
        ),
    ]
}

fn admission_cases() -> Vec<Case> {
    let mut denies = usual();
    denies.services[0].clients.deny = vec![prefix("0.0.0.0/0")];
    let mut spent = World::of(limited(Some(1), None), USUAL);
    spent.send(&from_to("198.51.100.8:4000", WEB4).syn());
    let mut greedy = World::of(limited(None, Some(1)), USUAL);
    greedy.send(&from_to("198.51.100.7:4001", WEB4).syn());
    let denies = World::of(denies, USUAL);
    vec![
        within(
            denies,
            Fate::DeniedSource,
            "a client in the list",
            vec![syn4()],
        ),
        within(
            spent,
            Fate::ServiceRate,
            "the second is spent",
            vec![syn4()],
        ),
        within(
            greedy,
            Fate::SourceRate,
            "the source has had its own",
            vec![syn4()],
        ),
    ]
}

fn nat_cases() -> Vec<Case> {
    let world = || World::settled(by_one_port(), USUAL);
    let answer = from_to("10.0.0.1:8001", "198.51.100.7:4000").ack();
    let spent = patched(syn6(), 21, &[1]);
    vec![
        within(world(), Fate::Returned, "a backend answers", vec![answer]),
        within(world(), Fate::OutOfHops, "the last hop", vec![spent]),
    ]
}

fn proxied_case() -> Case {
    let (world, across) = proxied::across();
    let says = "from before its connection";
    within(world, Fate::ProxySegment, says, vec![across])
}

fn fullnat_cases() -> Vec<Case> {
    let world = |ports| {
        let mut spec = fullnat::by_one_port();
        spec.pools.iter_mut().for_each(|it| it.ports = ports);
        World::settled(spec, USUAL)
    };
    let mut spent = world((2000, 2000));
    spent.send(&from_to("198.51.100.7:3999", WEB4).syn());
    let stranger = from_to("10.0.0.1:8001", "10.0.0.200:2000").ack();
    let mut mixed = fullnat::by_one_port();
    for backend in mixed.backends.iter_mut().filter(|it| it.address.is_ipv4()) {
        backend.address = format!("fd00::{}", backend.id.0).parse().unwrap();
    }
    let mixed = || World::settled(mixed.clone(), USUAL);
    let mut told = mixed();
    told.send(&syn4());
    let quench = error4(4, 0, from_to("198.51.100.7:4000", WEB4), 40);
    let cut = parts(from_to("198.51.100.7:4000", DNS4), 9, 32).remove(0);
    vec![
        within(
            spent,
            Fate::NoLocalPort,
            "one port, and it is taken",
            vec![syn4()],
        ),
        within(
            world((2000, 2000)),
            Fate::NoSession,
            "to a port of nobody",
            vec![stranger],
        ),
        within(
            behind(),
            Fate::HandoffFull,
            "the other worker stands",
            vec![of_the_other()],
        ),
        within(
            mixed(),
            Fate::FamilyFragment,
            "a fragment to IPv6",
            vec![cut],
        ),
        within(
            told,
            Fate::FamilyIcmp,
            "a source quench to IPv6",
            vec![quench],
        ),
    ]
}

/// What backends send to a port of worker 1.
fn of_the_other() -> Vec<u8> {
    from_to("10.0.0.1:8001", "10.0.0.200:2001").ack()
}

/// As many of those wait for it as may.
fn behind() -> World {
    let size = crate::world::Size {
        workers: 2,
        ..USUAL
    };
    let mut world = World::settled(fullnat::by_one_port(), size);
    for _ in 0..HANDED_OVER {
        world.put(0, OUTSIDE_PORT, &of_the_other());
        world.workers[0].step(world.now);
    }
    world
}

fn kernel_cases() -> Vec<Case> {
    let with = |of_tap| {
        let mut world = World::new();
        let kernel = tap(&mut world, OUTSIDE_PORT, of_tap, 512);
        (world, kernel)
    };
    let syn = from_to("192.0.2.1:4000", "192.0.2.2:179").syn();
    let (sends, kernel) = with(AMPLE);
    assert!(kernel.send(&syn));
    let (mut spent, _) = with(TapSpec {
        per_second: 1,
        ..AMPLE
    });
    (0..64).for_each(|_| spent.put(0, OUTSIDE_PORT, &syn));
    spent.step(0);
    let (short, _) = with(TapSpec { mtu: 20, ..AMPLE });
    vec![
        within(with(AMPLE).0, Fate::ToKernel, "BGP", vec![syn.clone()]),
        within(sends, Fate::FromKernel, "BGP answers", vec![]),
        within(
            spent,
            Fate::KernelRateLimited,
            "too much BGP",
            vec![syn.clone()],
        ),
        within(short, Fate::KernelRefused, "longer than its MTU", vec![syn]),
    ]
}

fn cases() -> Vec<Case> {
    [
        link_cases(),
        network_cases(),
        transport_cases(),
        local_cases(),
        backend_cases(),
        admission_cases(),
        related_cases(),
        tunnel_cases(),
        leaving_cases(),
        nat_cases(),
        fullnat_cases(),
        vec![proxied_case()],
        kernel_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn each_packet_meets_its_fate_and_no_other() {
    for Case {
        fate,
        says,
        mut world,
        frames,
        segment,
    } in cases()
    {
        let before = world.counts(0);
        match segment {
            None => frames.iter().for_each(|it| world.put(0, OUTSIDE_PORT, it)),
            Some(len) => assert!(world.peers[0][OUTSIDE_PORT].send_segmented(&frames[0], len)),
        }
        world.pass(1);
        world.step(0);
        let after = world.counts(0);
        for other in Fate::ALL {
            let name = other.name();
            let moved = after[name] - before[name];
            assert_eq!(moved, i64::from(*other == fate), "{says}: {name}");
        }
    }
}

#[test]
fn every_fate_has_a_packet() {
    let met: Vec<Fate> = cases().iter().map(|it| it.fate).collect();
    let without: Vec<_> = Fate::ALL.iter().filter(|it| !met.contains(it)).collect();
    assert!(without.is_empty(), "no journey ends with {without:?}");
}
