//! Every kind of tunnel, over both families, of packets of both; errors about packets that are too
//! big; segment sizes that are lowered.

use crate::{
    frames::{Conversation, INSIDE, OUTSIDE, ROUTER, from_to, padded, patched, tagged},
    oracle::{ask, hex},
    world::{
        DNS, DNS4, INSIDE_PORT, INSIDE4, INSIDE6, OUTSIDE_PORT, USUAL, VIP4, VIP6, WEB, WEB_6,
        WEB4, WEB6, World, backend, mac_at, service, usual,
    },
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tether_dataplane::{
    Mac,
    key::Protocol,
    tables::{
        TablesSpec,
        service::Forward,
        tunnel::{Encapsulation, GueVariant, TunnelSpec},
    },
};

const CLIENT4: &str = "198.51.100.7:4000";
const CLIENT6: &str = "[2001:db8:7::7]:4000";
const BACKEND4: &str = "10.0.0.1";
const BACKEND6: &str = "fd00::4";

const KINDS: [Encapsulation; 5] = [
    Encapsulation::Ipip,
    Encapsulation::Gre,
    gue(6080, GueVariant::Direct),
    gue(6080, GueVariant::Header),
    gue(5555, GueVariant::Direct),
];

const fn gue(port: u16, variant: GueVariant) -> Encapsulation {
    Encapsulation::Gue { port, variant }
}

fn tunnel(encapsulation: Encapsulation) -> TunnelSpec {
    TunnelSpec {
        encapsulation,
        source_v4: None,
        source_v6: None,
        mss_clamp: None,
    }
}

/// Services of both families, all by way of this tunnel to one backend.
fn through(tunnel: TunnelSpec, to: &str) -> TablesSpec {
    let mut spec = usual();
    spec.services = vec![
        service(WEB, Protocol::Tcp, VIP4, 80),
        service(WEB_6, Protocol::Tcp, VIP6, 80),
        service(DNS, Protocol::Udp, VIP4, 53),
    ];
    for service in &mut spec.services {
        service.forward = Forward::Tunnel(tunnel);
    }
    spec.backends = vec![
        backend(1, WEB, to),
        backend(2, WEB_6, to),
        backend(3, DNS, to),
    ];
    spec
}

/// What clients send: of both families, with and without DSCP and ECN, odd in length and padded.
fn packets() -> Vec<Vec<u8>> {
    let (v4, v6) = (from_to(CLIENT4, WEB4), from_to(CLIENT6, WEB6));
    let dns = from_to(CLIENT4, DNS4);
    vec![
        v4.syn(),
        with_class(v4.ack(), 0xb9),
        v4.with_options(),
        v6.syn(),
        with_class(v6.ack(), 0x2a),
        v6.with_extensions(),
        padded(dns.datagram_of(b"x")),
        dns.datagram_of(&[7; 1000]),
    ]
}

/// The frame with these DSCP and ECN.
fn with_class(frame: Vec<u8>, class: u8) -> Vec<u8> {
    if frame[14] >> 4 == 6 {
        let word = [0x60 | class >> 4, class << 4 | frame[15] & 0x0f];
        return patched(frame, 14, &word);
    }
    let sum = u16::from_be_bytes([frame[24], frame[25]]);
    // The old class was 0: what is added to the header is taken from its checksum.
    let (sum, borrow) = sum.overflowing_sub(class.into());
    let sum = sum - u16::from(borrow);
    patched(patched(frame, 15, &[class]), 24, &sum.to_be_bytes())
}

/// The packet of an untagged frame, without padding.
fn packet_of(frame: &[u8]) -> &[u8] {
    let len = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    match frame[14] >> 4 {
        4 => &frame[14..14 + len(16)],
        _ => &frame[14..54 + len(18)],
    }
}

fn wrapped_case(frame: &[u8], left: &[u8], tunnel: &TunnelSpec, to: &str, vlan: bool) -> String {
    let l3 = if vlan { 18 } else { 14 };
    let outer = &left[l3..];
    let backend: IpAddr = to.parse().unwrap();
    let source: IpAddr = match backend {
        IpAddr::V4(_) => Ipv4Addr::from(*outer[12..].first_chunk::<4>().unwrap()).into(),
        IpAddr::V6(_) => Ipv6Addr::from(*outer[8..].first_chunk::<16>().unwrap()).into(),
    };
    check_source(source, tunnel);
    let (mode, udp) = match tunnel.encapsulation {
        Encapsulation::Ipip => ("ipip", None),
        Encapsulation::Gre => ("gre", None),
        Encapsulation::Gue { port, variant } => match variant {
            GueVariant::Header => ("gue0", Some(port)),
            GueVariant::Direct => ("gue1", Some(port)),
        },
    };
    let header = if backend.is_ipv4() { 20 } else { 40 };
    let sport = u16::from_be_bytes([outer[header], outer[header + 1]]);
    let label = u32::from_be_bytes(*outer.first_chunk().unwrap()) & 0xf_ffff;
    assert!(udp.is_none() || sport >= 0xc000, "{sport}");
    let packet = hex(packet_of(frame));
    let mac = mac_at(backend);
    let tag = if vlan { "vlan=100" } else { "" };
    let dport = udp.unwrap_or(0);
    format!(
        "wrapped packet={packet} mode={mode} source={source} backend={to} from={INSIDE} to={mac} \
         sport={sport} dport={dport} label={label} {tag}"
    )
}

/// The source is the port's address, or in the prefix and of the flow.
fn check_source(source: IpAddr, tunnel: &TunnelSpec) {
    match source {
        IpAddr::V4(v4) => match tunnel.source_v4 {
            None => assert_eq!(v4, INSIDE4),
            Some((prefix, _)) => assert_eq!(v4.octets()[..2], prefix.octets()[..2]),
        },
        IpAddr::V6(v6) => match tunnel.source_v6 {
            None => assert_eq!(v6, INSIDE6),
            Some((prefix, _)) => assert_eq!(v6.octets()[..6], prefix.octets()[..6]),
        },
    }
}

#[test]
fn every_tunnel_is_as_scapy_makes_it() {
    let (mut cases, mut got) = (Vec::new(), Vec::new());
    let with_prefix = |encapsulation| TunnelSpec {
        source_v4: Some(("10.99.0.0".parse().unwrap(), 16)),
        source_v6: Some(("fd00:99::".parse().unwrap(), 48)),
        ..tunnel(encapsulation)
    };
    let tunnels = KINDS.into_iter();
    let tunnels: Vec<_> = tunnels
        .flat_map(|it| [tunnel(it), with_prefix(it)])
        .collect();
    for tunnel in tunnels {
        for (to, vlan) in [
            (BACKEND4, false),
            (BACKEND6, false),
            (BACKEND4, true),
            (BACKEND6, true),
        ] {
            let mut spec = through(tunnel, to);
            spec.ports[INSIDE_PORT].vlan = vlan.then_some(100);
            let mut world = World::of(spec, USUAL);
            for frame in packets() {
                let left = world.send(&frame);
                let [left] = left.as_slice() else {
                    panic!("{tunnel:?} to {to}: {left:?}")
                };
                assert_eq!(left.port, INSIDE_PORT);
                cases.push(wrapped_case(&frame, &left.frame, &tunnel, to, vlan));
                got.push(left.frame.clone());
            }
        }
    }
    assert_eq!(cases.len(), 10 * 4 * 8);
    for ((case, got), expected) in cases.iter().zip(&got).zip(ask(&cases)) {
        assert_eq!(hex(got), hex(&expected), "{case}");
    }
}

#[test]
fn a_tag_is_left_behind() {
    let mut spec = through(tunnel(Encapsulation::Ipip), BACKEND4);
    spec.ports[OUTSIDE_PORT].vlan = Some(7);
    let mut world = World::of(spec, USUAL);
    let frame = from_to(CLIENT4, WEB4).syn();
    let left = world.send(&tagged(frame.clone(), 0xe007));
    let tunnel = tunnel(Encapsulation::Ipip);
    let case = wrapped_case(&frame, &left[0].frame, &tunnel, BACKEND4, false);
    assert_eq!(hex(&left[0].frame), hex(&ask(&[case])[0]));
}

/// A datagram or segment of this many bytes with its IP header.
fn of_len(flow: Conversation, len: usize) -> Vec<u8> {
    let header = if flow.client.is_ipv4() { 28 } else { 48 };
    flow.datagram_of(&vec![7; len - header])
}

fn added(encapsulation: Encapsulation, to: &str) -> usize {
    let shim = match encapsulation {
        Encapsulation::Ipip => 0,
        Encapsulation::Gre => 4,
        Encapsulation::Gue { variant, .. } => match variant {
            GueVariant::Header => 12,
            GueVariant::Direct => 8,
        },
    };
    shim + if to.contains(':') { 40 } else { 20 }
}

#[test]
fn who_sends_too_much_is_told_how_much_fits() {
    let (mut cases, mut got) = (Vec::new(), Vec::new());
    for encapsulation in KINDS {
        for to in [BACKEND4, BACKEND6] {
            for (client, vip) in [(CLIENT4, WEB4), (CLIENT6, WEB6)] {
                for tag in [None, Some(7)] {
                    let mut spec = through(tunnel(encapsulation), to);
                    spec.services
                        .iter_mut()
                        .for_each(|it| it.protocol = Protocol::Udp);
                    spec.services.truncate(2);
                    spec.backends.truncate(2);
                    spec.ports[OUTSIDE_PORT].vlan = tag;
                    let mut world = World::of(spec, USUAL);
                    let fits = 1500 - added(encapsulation, to);
                    let flow = from_to(client, vip);
                    let on_the_wire = |frame: Vec<u8>| match tag {
                        None => frame,
                        Some(vlan) => tagged(frame, vlan),
                    };
                    let left = world.send(&on_the_wire(of_len(flow, fits)));
                    assert_eq!((left.len(), left[0].port), (1, INSIDE_PORT));
                    let frame = of_len(flow, fits + 1);
                    let (left, moved) = world.observed(&[on_the_wire(frame.clone())]);
                    let moved: Vec<_> = moved.into_iter().collect();
                    let expected = [
                        ("originated", 1),
                        ("packet_too_big", 1),
                        ("told_too_big", 1),
                    ];
                    assert_eq!(moved, expected, "{encapsulation:?}");
                    assert_eq!((left.len(), left[0].port), (1, OUTSIDE_PORT));
                    let (packet, Mac(_)) = (hex(packet_of(&frame)), ROUTER);
                    let vlan = tag.map(|vlan| format!("vlan={vlan}"));
                    cases.push(format!(
                        "too_big packet={packet} mtu={fits} from={OUTSIDE} to={ROUTER} {}",
                        vlan.unwrap_or_default()
                    ));
                    got.push(left[0].frame.clone());
                }
            }
        }
    }
    for ((case, got), expected) in cases.iter().zip(&got).zip(ask(&cases)) {
        assert_eq!(hex(got), hex(&expected), "{case}");
    }
}

/// SYNs that offer 1460 bytes, the number at an even and at an odd place.
fn syns() -> Vec<Vec<u8>> {
    use etherparse::TcpOptionElement::{MaximumSegmentSize, Noop, Timestamp, WindowScale};
    let mss = MaximumSegmentSize(1460);
    let options = [
        vec![mss.clone()],
        vec![Noop, mss.clone(), WindowScale(7)],
        vec![WindowScale(7), mss, Timestamp(1, 2)],
    ];
    let flows = [from_to(CLIENT4, WEB4), from_to(CLIENT6, WEB6)];
    let all = options.iter().flat_map(|options| {
        flows.map(|flow| {
            flow.tcp(|header| {
                header.syn = true;
                header.set_options(options).unwrap();
            })
        })
    });
    all.collect()
}

#[test]
fn a_syn_offers_no_larger_segments_than_it_may() {
    let clamped = TunnelSpec {
        mss_clamp: Some(1360),
        ..tunnel(Encapsulation::Ipip)
    };
    let mut world = World::of(through(clamped, BACKEND4), USUAL);
    let syns = syns();
    let cases: Vec<_> = syns
        .iter()
        .map(|frame| format!("offering packet={} mss=1360", hex(packet_of(frame))))
        .collect();
    for (frame, expected) in syns.iter().zip(ask(&cases)) {
        let left = world.send(frame);
        assert_eq!(hex(&left[0].frame[34..]), hex(&expected));
        assert_ne!(hex(&left[0].frame[34..]), hex(packet_of(frame)));
    }
}
