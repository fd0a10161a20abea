//! Properties that hold `parse` to `etherparse`.

use etherparse::{
    IpAuthHeader, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header,
    Ipv6RawExtHeader, Ipv6RoutingExtensions, PacketBuilder, SingleVlanHeader, VlanHeader,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{ours, told};
use crate::parse::parse;
use crate::samples::{NEIGHBOUR_MAC, OUR_MAC, fragment6, syn, tagged, written};

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
        let tag_header = |vid: u16| VlanHeader::Single(SingleVlanHeader {
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
