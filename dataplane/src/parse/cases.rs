//! Described frames and what becomes of them.

mod fragments;

use etherparse::{IpNumber, Ipv6Extensions, Ipv6RawExtHeader, Ipv6RoutingExtensions};

use super::*;
use crate::key::{Ports, Protocol};
use crate::samples::*;
use crate::wire::tcp::{ACK, FIN, RST, SYN, URG};

/// Flag: hand over what has come (RFC 9293, section 3.1).
const PSH: u8 = 0x08;
/// Flags of congestion notification (RFC 3168, section 6.1).
const ECE: u8 = 0x40;
const CWR: u8 = 0x80;

fn key4(protocol: Protocol, destination_port: u16) -> Key4 {
    Key4 {
        source: u32::from_ne_bytes(CLIENT4),
        destination: u32::from_ne_bytes(OURS4),
        ports: Ports::new(40000, destination_port),
        protocol,
    }
}

fn key6(protocol: Protocol, destination_port: u16) -> Key6 {
    let ports = Ports::new(40000, destination_port);
    Key6 {
        source: CLIENT6,
        destination: OURS6,
        ports,
        protocol,
    }
}

fn v4(protocol: Protocol, port: u16, l3: u16, l4: u16, tcp_flags: u8) -> Parsed {
    let key = key4(protocol, port);
    Parsed::V4(Packet {
        key,
        l3,
        l4,
        tcp_flags,
    })
}

fn v6(protocol: Protocol, port: u16, l3: u16, l4: u16, tcp_flags: u8) -> Parsed {
    let key = key6(protocol, port);
    Parsed::V6(Packet {
        key,
        l3,
        l4,
        tcp_flags,
    })
}

struct Case(&'static str, Option<u16>, Vec<u8>, Result<Parsed, Fate>);

fn check(cases: impl IntoIterator<Item = Case>) {
    for Case(what, vlan, frame, expected) in cases {
        assert_eq!(parse(&frame, vlan), expected, "{what}: {frame:02x?}");
    }
}

/// Cases of one fate on a port without a VLAN.
fn refused(fate: Fate, cases: impl IntoIterator<Item = (&'static str, Vec<u8>)>) {
    check(
        cases
            .into_iter()
            .map(|(what, frame)| Case(what, None, frame, Err(fate))),
    );
}

#[test]
fn whole_packets() {
    let mut padded = tcp4();
    padded.resize(60, 0xee);
    check([
        Case(
            "TCP over IPv4",
            None,
            tcp4(),
            Ok(v4(Protocol::Tcp, 80, 14, 34, 2)),
        ),
        Case(
            "padded to the least Ethernet frame",
            None,
            padded,
            Ok(v4(Protocol::Tcp, 80, 14, 34, 2)),
        ),
        Case(
            "UDP over IPv4",
            None,
            udp4(),
            Ok(v4(Protocol::Udp, 53, 14, 34, 0)),
        ),
        Case(
            "TCP over IPv6",
            None,
            tcp6(),
            Ok(v6(Protocol::Tcp, 80, 14, 54, 2)),
        ),
        Case(
            "UDP over IPv6",
            None,
            udp6(),
            Ok(v6(Protocol::Udp, 53, 14, 54, 0)),
        ),
        Case(
            "IPv4 with options",
            None,
            options4(),
            Ok(v4(Protocol::Tcp, 80, 14, 42, 2)),
        ),
        Case(
            "IPv6 with extensions",
            None,
            extensions6(),
            Ok(v6(Protocol::Udp, 53, 14, 78, 0)),
        ),
    ]);
}

#[test]
fn icmp_and_arp_are_located() {
    let arp = patched(vec![0; 60], 12, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    let mut padded = ping4();
    padded.resize(100, 0);
    let message = |l4, end| Message { l3: 14, l4, end };
    check([
        Case("ping", None, padded, Ok(Parsed::Icmp4(message(34, 51)))),
        Case(
            "ping over IPv6",
            None,
            ping6(),
            Ok(Parsed::Icmp6(message(54, 71))),
        ),
        Case("ARP", None, arp, Ok(Parsed::Arp { offset: 14 })),
    ]);
}

#[test]
fn tags_must_be_those_of_the_port() {
    let ours = Some(VLAN);
    let priority = patched(tagged(tcp4(), 0), 14, &[0xe0]);
    let service = patched(tagged(tcp4(), VLAN), 12, &[0x88, 0xa8]);
    let double = tagged(tagged(tcp4(), 7), VLAN);
    let bad = Err(Fate::BadVlan);
    check([
        Case(
            "our tag",
            ours,
            tagged(tcp4(), VLAN),
            Ok(v4(Protocol::Tcp, 80, 18, 38, 2)),
        ),
        Case(
            "our tag, IPv6",
            ours,
            tagged(udp6(), VLAN),
            Ok(v6(Protocol::Udp, 53, 18, 58, 0)),
        ),
        Case(
            "a priority tag says no VLAN",
            None,
            priority.clone(),
            Ok(v4(Protocol::Tcp, 80, 18, 38, 2)),
        ),
        Case("a priority tag where a VLAN is due", ours, priority, bad),
        Case("no tag where one is due", ours, tcp4(), bad),
        Case("a tag where none is due", None, tagged(tcp4(), VLAN), bad),
        Case("another's tag", ours, tagged(tcp4(), VLAN + 1), bad),
        Case("a service tag where one is due", ours, service.clone(), bad),
        Case("a service tag where none is due", None, service, bad),
        Case("two tags", ours, double, bad),
        Case(
            "a tag cut short",
            ours,
            cut(tagged(tcp4(), VLAN), 17),
            Err(Fate::FrameTruncated),
        ),
    ]);
}

#[test]
fn what_ethernet_refuses() {
    refused(
        Fate::FrameTruncated,
        [("nothing", vec![]), ("13 bytes", cut(tcp4(), 13))],
    );
    refused(
        Fate::UnknownEthertype,
        [
            ("an 802.3 length", patched(tcp4(), 12, &[0, 46])),
            ("LLDP", patched(tcp4(), 12, &[0x88, 0xcc])),
        ],
    );
    let arp = patched(vec![0; 42], 12, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    refused(
        Fate::ArpMalformed,
        [
            ("ARP cut short", cut(arp.clone(), 41)),
            ("ARP on IEEE 802 networks", patched(arp.clone(), 15, &[6])),
            ("ARP for another protocol", patched(arp.clone(), 17, &[6])),
            (
                "ARP with long hardware addresses",
                patched(arp.clone(), 18, &[8]),
            ),
            ("ARP with long protocol addresses", patched(arp, 19, &[16])),
        ],
    );
}

#[test]
fn what_ipv4_refuses() {
    refused(
        Fate::Ipv4Malformed,
        [
            ("header cut short", cut(tcp4(), 33)),
            ("version 6", summed4(patched(tcp4(), 14, &[0x65]))),
            ("a header of 16 bytes", patched(tcp4(), 14, &[0x44])),
            (
                "a header longer than the packet",
                patched(tcp4(), 14, &[0x4f]),
            ),
            (
                "a packet longer than the frame",
                summed4(patched(tcp4(), 16, &[0, 41])),
            ),
            (
                "a packet shorter than its header",
                summed4(patched(tcp4(), 16, &[0, 19])),
            ),
            ("a frame cut short", cut(tcp4(), 53)),
        ],
    );
    refused(
        Fate::Ipv4Checksum,
        [
            ("one bit of the header wrong", patched(tcp4(), 22, &[62])),
            (
                "one bit of the options wrong",
                patched(options4(), 40, &[0]),
            ),
            ("all zeros but the version and the length", {
                let mut zeros = patched(tcp4(), 18, &[0; 36]);
                zeros.resize(60, 0);
                zeros
            }),
        ],
    );
    refused(
        Fate::UnknownProtocol,
        [
            ("SCTP", summed4(patched(tcp4(), 23, &[132]))),
            ("ICMPv6 over IPv4", summed4(patched(ping4(), 23, &[58]))),
        ],
    );
}

#[test]
fn reserved_and_dont_fragment_are_no_fragments() {
    for bits in [0x40, 0x80] {
        let frame = summed4(patched(tcp4(), 20, &[bits, 0]));
        assert_eq!(parse(&frame, None), Ok(v4(Protocol::Tcp, 80, 14, 34, 2)));
    }
}

#[test]
fn what_ipv6_refuses() {
    refused(
        Fate::Ipv6Malformed,
        [
            ("header cut short", cut(tcp6(), 53)),
            ("version 4", patched(tcp6(), 14, &[0x40])),
            (
                "a packet longer than the frame",
                patched(tcp6(), 18, &[0, 21]),
            ),
            ("a jumbogram", patched(extensions6(), 18, &[0, 0])),
        ],
    );
    refused(
        Fate::UnknownProtocol,
        [
            ("no next header", patched(tcp6(), 20, &[59])),
            ("ESP", patched(tcp6(), 20, &[50])),
            ("ICMP over IPv6", patched(ping6(), 20, &[1])),
        ],
    );
}

/// A packet over IPv6 with a chain of extension headers of 8 bytes each, then TCP.
fn chain(kinds: &[u8]) -> Vec<u8> {
    let mut frame = tcp6();
    let mut next = 6;
    for &kind in kinds.iter().rev() {
        frame.splice(54..54, [next, 0, 1, 0, 0, 0, 0, 0]);
        next = kind;
    }
    let payload_len = u8::try_from(frame.len() - 54).unwrap();
    patched(frame, 18, &[0, payload_len, next])
}

#[test]
fn extension_headers_are_followed_to_a_limit() {
    let most = u16::try_from(extensions::AT_MOST).unwrap();
    let found = |count: u16| Ok(v6(Protocol::Tcp, 80, 14, 54 + 8 * count, 2));
    check([
        Case("destination options", None, chain(&[60]), found(1)),
        Case(
            "as many as are followed",
            None,
            chain(&[60; extensions::AT_MOST]),
            found(most),
        ),
        Case(
            "authentication of 16 bytes",
            None,
            patched(chain(&[51, 60]), 54, &[6, 2]),
            found(2),
        ),
        Case(
            "routed to its end",
            None,
            patched(chain(&[43]), 56, &[4, 0]),
            found(1),
        ),
        Case(
            "reserved bits beside the offset",
            None,
            patched(chain(&[44]), 56, &[0, 6]),
            found(1),
        ),
    ]);
    refused(
        Fate::Ipv6Extensions,
        [
            (
                "one more than is followed",
                chain(&[60; extensions::AT_MOST + 1]),
            ),
            ("hop-by-hop that is not the first", chain(&[60, 0])),
            (
                "routing with a segment left",
                patched(chain(&[43]), 57, &[1]),
            ),
            (
                "an extension longer than the packet",
                patched(chain(&[60]), 55, &[3]),
            ),
            (
                "an authentication longer than the packet",
                patched(chain(&[51]), 55, &[6]),
            ),
            (
                "an extension cut short",
                patched(cut(chain(&[60]), 57), 18, &[0, 3]),
            ),
            (
                "a fragment header cut short",
                patched(cut(chain(&[44]), 61), 18, &[0, 7]),
            ),
        ],
    );
}

#[test]
fn final_destination_options_are_followed() {
    let padding = Ipv6RawExtHeader::new_raw(IpNumber::TCP, &[0; 14]).unwrap();
    let routing = Ipv6RoutingExtensions {
        routing: padding.clone(),
        final_destination_options: Some(padding),
    };
    let extensions = Ipv6Extensions {
        routing: Some(routing),
        ..Default::default()
    };
    let frame = written(|out| ip6(extensions).tcp_header(syn()).write(out, &[]));
    assert_eq!(parse(&frame, None), Ok(v6(Protocol::Tcp, 80, 14, 86, 2)));
}

#[test]
fn what_transport_refuses() {
    refused(
        Fate::TcpMalformed,
        [
            ("TCP cut short", patched(cut(tcp6(), 73), 18, &[0, 19])),
            ("a data offset of 16 bytes", patched(tcp4(), 46, &[0x40])),
            (
                "a data offset beyond the packet",
                patched(tcp4(), 46, &[0x60]),
            ),
            ("padding is no TCP header", {
                let mut frame = summed4(patched(tcp4(), 16, &[0, 39]));
                frame.resize(60, 0);
                frame
            }),
        ],
    );
    refused(
        Fate::UdpMalformed,
        [
            ("UDP cut short", patched(cut(udp6(), 61), 18, &[0, 7])),
            ("a length of 7", patched(udp4(), 38, &[0, 7])),
            ("a length of 0", patched(udp6(), 58, &[0, 0])),
            ("longer than the packet", patched(udp4(), 38, &[0, 19])),
        ],
    );
    let shorter = patched(udp4(), 38, &[0, 8]);
    assert_eq!(parse(&shorter, None), Ok(v4(Protocol::Udp, 53, 14, 34, 0)));
}

#[test]
fn flags_that_no_stack_sends() {
    let set = |flags: u8| patched(tcp4(), 47, &[flags]);
    refused(
        Fate::TcpFlags,
        [
            ("none", set(0)),
            ("those of congestion only", set(ECE | CWR)),
            ("FIN alone", set(FIN)),
            ("a Christmas tree", set(FIN | PSH | URG)),
            ("SYN and FIN", set(SYN | FIN)),
            ("SYN, FIN and ACK", set(SYN | FIN | ACK)),
            ("SYN and RST", set(SYN | RST)),
            ("all", set(0xff)),
            ("PSH alone", set(PSH)),
        ],
    );
}

#[test]
fn flags_that_stacks_send() {
    let openings = [SYN, SYN | ECE | CWR, SYN | ACK, SYN | PSH, SYN | ACK | ECE];
    let others = [
        ACK,
        ACK | PSH | URG,
        FIN | ACK | PSH,
        FIN | ACK | URG,
        RST,
        RST | ACK,
    ];
    for flags in openings.into_iter().chain(others) {
        let frame = patched(tcp4(), 47, &[flags]);
        assert_eq!(
            parse(&frame, None),
            Ok(v4(Protocol::Tcp, 80, 14, 34, flags))
        );
    }
}

#[test]
fn a_message_beyond_any_frame_is_malformed() {
    let mut frame = tagged(ping6(), VLAN);
    frame = patched(frame, 22, &[0xff, 0xff]);
    frame.resize(70_000, 0);
    assert_eq!(parse(&frame, Some(VLAN)), Err(Fate::Ipv6Malformed));
}
