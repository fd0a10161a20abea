//! Properties that hold `parse` to `etherparse`.

use std::net::IpAddr;

use etherparse::{
    IpAuthHeader, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header,
    Ipv6RawExtHeader, Ipv6RoutingExtensions, NetSlice, PacketBuilder, SlicedPacket, TransportSlice,
    VlanHeader, VlanSlice,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::key::{FlowKey, Protocol};
use crate::samples::{NEIGHBOUR_MAC, OUR_MAC, fragment6, rfc1071, syn, tagged, written};

/// What both tell of a packet, in the words of neither.
#[derive(Debug, PartialEq)]
struct Told {
    addresses: (IpAddr, IpAddr),
    ports: (u16, u16),
    protocol: Protocol,
    l3: usize,
    l4: usize,
    flags: u8,
}

impl<K: FlowKey> From<Packet<K>> for Told {
    fn from(
        Packet {
            key,
            l3,
            l4,
            tcp_flags,
        }: Packet<K>,
    ) -> Self {
        Self {
            addresses: (key.source(), key.destination()),
            ports: (key.ports().source(), key.ports().destination()),
            protocol: key.protocol(),
            l3: l3.into(),
            l4: l4.into(),
            flags: tcp_flags,
        }
    }
}

/// What `etherparse` tells of a frame, if it finds TCP or UDP in it.
fn told(frame: &[u8]) -> Option<Told> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let place = |part: &[u8]| part.as_ptr() as usize - frame.as_ptr() as usize;
    let (l3, addresses) = match sliced.net.as_ref()? {
        NetSlice::Ipv4(slice) => {
            let header = slice.header();
            let addresses = (
                header.source_addr().into(),
                header.destination_addr().into(),
            );
            (rfc1071(header.slice()) == 0).then_some((place(header.slice()), addresses))?
        }
        NetSlice::Ipv6(slice) => {
            let header = slice.header();
            let addresses = (
                header.source_addr().into(),
                header.destination_addr().into(),
            );
            (place(header.slice()), addresses)
        }
        NetSlice::Arp(_) => return None,
    };
    let told = |ports, protocol, slice, flags| {
        Some(Told {
            addresses,
            ports,
            protocol,
            l3,
            l4: place(slice),
            flags,
        })
    };
    match sliced.transport.as_ref()? {
        TransportSlice::Tcp(tcp) => {
            let ports = (tcp.source_port(), tcp.destination_port());
            told(ports, Protocol::Tcp, tcp.slice(), tcp.slice()[13])
        }
        TransportSlice::Udp(udp) => {
            let ports = (udp.source_port(), udp.destination_port());
            told(ports, Protocol::Udp, udp.slice(), 0)
        }
        _ => None,
    }
}

fn ours(frame: &[u8], vlan: Option<u16>) -> Option<Told> {
    match parse(frame, vlan).ok()? {
        Parsed::V4(packet) => Some(packet.into()),
        Parsed::V6(packet) => Some(packet.into()),
        _ => None,
    }
}

fn vlan(frame: &[u8]) -> Option<u16> {
    match SlicedPacket::from_ethernet(frame).ok()?.vlan()? {
        VlanSlice::SingleVlan(tag) => Some(tag.vlan_identifier().value()),
        VlanSlice::DoubleVlan(_) => Some(u16::MAX),
    }
}

prop_compose! {
    fn network4()(
        source: [u8; 4], destination: [u8; 4], time_to_live: u8, options in 0usize..=10,
    ) -> IpHeaders {
        let mut header =
            Ipv4Header::new(0, time_to_live, IpNumber::TCP, source, destination).unwrap();
        header.options = vec![1; options * 4].as_slice().try_into().unwrap();
        IpHeaders::Ipv4(header, Ipv4Extensions::default())
    }
}

fn padding() -> impl Strategy<Value = Ipv6RawExtHeader> {
    (0usize..20).prop_map(|units| {
        Ipv6RawExtHeader::new_raw(IpNumber::TCP, &vec![0; 6 + units * 8]).unwrap()
    })
}

prop_compose! {
    fn extensions()(
        hop_by_hop_options in option::of(padding()),
        destination_options in option::of(padding()),
        routing in option::of((padding(), option::of(padding()))),
        is_atomic: bool,
        auth in option::of(0usize..9),
    ) -> Ipv6Extensions {
        let routing = routing.map(|(routing, final_destination_options)| {
            Ipv6RoutingExtensions { routing, final_destination_options }
        });
        let auth =
            auth.map(|words| IpAuthHeader::new(IpNumber::TCP, 1, 2, &vec![7; words * 4]).unwrap());
        let fragment = is_atomic.then(|| fragment6(0, false));
        Ipv6Extensions { hop_by_hop_options, destination_options, routing, fragment, auth }
    }
}

prop_compose! {
    fn network6()(
        source: [u8; 16], destination: [u8; 16], hop_limit: u8,
        extensions in prop_oneof![Just(Ipv6Extensions::default()), extensions()],
    ) -> IpHeaders {
        let header = Ipv6Header { hop_limit, source, destination, ..Default::default() };
        IpHeaders::Ipv6(header, extensions)
    }
}

prop_compose! {
    /// A frame and the VLAN of a port that takes it.
    fn frames()(
        network in prop_oneof![network4(), network6()],
        tag in option::of(1u16..4095), is_tcp: bool, is_ack: bool,
        ports: (u16, u16), tcp_options in 0usize..=10,
        payload in vec(any::<u8>(), 0..100), padding in 0usize..30,
    ) -> (Vec<u8>, Option<u16>) {
        let link = PacketBuilder::ethernet2(NEIGHBOUR_MAC.0, OUR_MAC.0);
        let tag_header = |vid: u16| VlanHeader::Single(etherparse::SingleVlanHeader {
            vlan_id: vid.try_into().unwrap(),
            ..Default::default()
        });
        let network = match tag {
            Some(vid) => link.vlan(tag_header(vid)).ip(network),
            None => link.ip(network),
        };
        let mut frame = written(|out| if is_tcp {
            let mut header = syn();
            (header.source_port, header.destination_port, header.ack) = (ports.0, ports.1, is_ack);
            header.set_options_raw(&vec![1; tcp_options * 4]).unwrap();
            network.tcp_header(header).write(out, &payload)
        } else {
            network.udp(ports.0, ports.1).write(out, &payload)
        });
        frame.resize(frame.len() + padding, 0xee);
        (frame, tag)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..Default::default() })]

    #[test]
    fn every_field_of_a_whole_packet((frame, vlan) in frames()) {
        let told = told(&frame);
        prop_assert!(told.is_some());
        prop_assert_eq!(ours(&frame, vlan), told, "{:?}", parse(&frame, vlan));
    }

    #[test]
    fn a_packet_cut_short_is_refused((frame, vlan) in frames(), at: prop::sample::Index) {
        let cut = &frame[..at.index(frame.len())];
        let told = told(cut);
        prop_assert_eq!(ours(cut, vlan), told, "{:?}", parse(cut, vlan));
    }

    #[test]
    fn what_is_taken_from_a_changed_packet_is_what_it_says(
        (mut frame, port) in frames(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        if let Some(ours) = ours(&frame, port) {
            prop_assert_eq!(Some(ours), told(&frame));
            prop_assert_eq!(vlan(&frame).filter(|vid| *vid != 0), port);
        }
    }

    #[test]
    fn any_bytes_have_a_fate(
        bytes in vec(any::<u8>(), 0..200), ethertype in prop_oneof![
            Just([8, 0]), Just([8, 6]), Just([0x86, 0xdd]), any::<[u8; 2]>(),
        ], first in prop_oneof![Just(0x45), Just(0x60), any::<u8>()], is_tagged: bool,
    ) {
        let mut frame = vec![0; 12];
        frame.extend(ethertype);
        frame.push(first);
        frame.extend(bytes);
        let (frame, port) =
            if is_tagged { (tagged(frame, 7), Some(7)) } else { (frame, None) };
        if let Some(ours) = ours(&frame, port) {
            prop_assert_eq!(Some(ours), told(&frame));
        }
    }
}
