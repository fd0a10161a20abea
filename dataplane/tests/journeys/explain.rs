//! The frame that `explain` tells of is the frame that leaves.

use crate::{
    frames::{INSIDE, from_to, rewritten},
    nat::nat,
    tunnels::{IPIP, through},
    world::{
        B1, DNS4, INSIDE_PORT, INSIDE4, Left, OUTSIDE_PORT, USUAL, WEB4, WEB6, World, mac_at, usual,
    },
};
use std::net::{IpAddr, SocketAddr};
use tether_dataplane::{
    explain::{Leaving, Outer, Packet},
    key::Protocol,
    tables::{
        TablesSpec,
        tunnel::{Encapsulation, GueVariant, TunnelSpec},
    },
};

const CLIENT4: &str = "198.51.100.7:4000";
const CLIENT6: &str = "[2001:db8:7::7]:4000";

fn packet(protocol: Protocol, source: &str, destination: &str) -> Packet {
    Packet {
        protocol,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        without: None,
    }
}

fn packets() -> [Packet; 3] {
    [
        packet(Protocol::Tcp, CLIENT4, WEB4),
        packet(Protocol::Tcp, CLIENT6, WEB6),
        packet(Protocol::Udp, CLIENT4, DNS4),
    ]
}

/// Explains a packet, sends it, and compares.
fn compared(world: &mut World, packet: &Packet) -> Leaving {
    let told = world.writer.explain(packet, world.now);
    let leaving = world.writer.leaving(packet, told.backend.unwrap()).unwrap();
    world.put(0, leaving.comes_by.index(), &leaving.came);
    world.pass(1);
    let expected = Left {
        port: leaving.leaves_by.index(),
        frame: leaving.frame.clone(),
    };
    assert_eq!(world.step(0), [expected]);
    leaving
}

fn all_compared(spec: TablesSpec) -> Vec<Leaving> {
    let mut world = World::of(spec, USUAL);
    let all = packets();
    all.iter().map(|it| compared(&mut world, it)).collect()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn by_direct_server_return() {
    let told = &all_compared(usual())[0];
    let to: IpAddr = "10.0.0.1".parse().unwrap();
    assert_eq!(told.frame, rewritten(&told.came, INSIDE, mac_at(to)));
    assert_eq!(
        (told.source_mac, told.destination_mac),
        (INSIDE, Some(mac_at(to)))
    );
    assert_eq!(
        (told.source, told.destination),
        (socket(CLIENT4), socket(WEB4))
    );
    assert_eq!((told.next_hop, told.vlan, told.outer), (to, None, None));
    assert_eq!(told.mtu, 1500);
}

#[test]
fn from_a_vlan_to_another() {
    for (vlan_in, vlan_out) in [(Some(7), Some(9)), (None, Some(9)), (Some(7), None)] {
        let mut spec = usual();
        spec.ports[OUTSIDE_PORT].vlan = vlan_in;
        spec.ports[INSIDE_PORT].vlan = vlan_out;
        for told in all_compared(spec) {
            assert_eq!(told.vlan, vlan_out);
        }
    }
}

#[test]
fn through_tunnels_of_every_kind() {
    let gue = |variant| Encapsulation::Gue {
        port: 6080,
        variant,
    };
    for (encapsulation, numbers, header) in [
        (Encapsulation::Ipip, [4, 41, 4], 0),
        (Encapsulation::Gre, [47, 47, 47], 4),
        (gue(GueVariant::Direct), [17, 17, 17], 8),
        (gue(GueVariant::Header), [17, 17, 17], 12),
    ] {
        let tunnel = TunnelSpec {
            encapsulation,
            mss_clamp: Some(1300),
            ..IPIP
        };
        let told = all_compared(through(tunnel));
        let protocols: Vec<_> = told.iter().map(|it| it.outer.unwrap().protocol).collect();
        assert_eq!(protocols, numbers);
        let Outer {
            source,
            destination,
            ports,
            ..
        } = told[0].outer.unwrap();
        assert_eq!(source, IpAddr::from(INSIDE4));
        assert_eq!(destination, "10.0.0.1".parse::<IpAddr>().unwrap());
        let has_udp = numbers[0] == 17;
        assert_eq!(ports.map(|(_, to)| to), has_udp.then_some(6080));
        assert_eq!(told[0].mtu, 1500 - 20 - header);
        assert_eq!(told[1].mtu, 1500 - 40 - header);
        assert_eq!(
            (told[0].source, told[0].destination),
            (socket(CLIENT4), socket(WEB4))
        );
    }
}

#[test]
fn through_nat() {
    let told = all_compared(nat());
    assert_eq!(
        (told[0].source, told[0].destination),
        (socket(CLIENT4), socket("10.0.0.1:8001"))
    );
    assert_eq!(told[1].destination, socket("[fd00::4]:8004"));
    assert_eq!(told[2].destination, socket("10.0.0.7:8007"));
}

#[test]
fn what_is_not_resolved_yet_is_told_so() {
    let world = World::unsettled(usual(), USUAL);
    let leaving = world.writer.leaving(&packets()[0], B1).unwrap();
    assert_eq!(leaving.destination_mac, None);
    assert_eq!(leaving.frame[..6], [0; 6]);
    assert_eq!(leaving.frame[6..12], INSIDE.0);
}

#[test]
fn nothing_leaves_to_a_backend_that_is_gone() {
    let mut world = World::new();
    world.remove(B1);
    assert_eq!(world.writer.leaving(&packets()[0], B1), None);
    let sent = world.send(&from_to(CLIENT4, "203.0.113.80:81").syn());
    assert!(sent.is_empty());
}
