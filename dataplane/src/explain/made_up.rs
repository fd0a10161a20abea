//! A packet that nobody sent: the first one of a flow, whole and with right checksums.

use super::Packet;
use crate::{
    key::Protocol,
    wire::{
        checksum::{Checksum, Sum},
        ethernet::{self, Ethernet, Mac},
        ipv4::{self, Ipv4},
        ipv6::Ipv6,
        tcp,
        udp::Udp,
        vlan::{self, Tag},
    },
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::{IntoBytes, network_endian::U16};

/// What stacks start with (RFC 1700).
const HOPS: u8 = 64;
/// The segment that the SYN offers: what fits 1500 bytes over IPv6.
const SEGMENT: u16 = 1440;
/// Where the checksum stands in each header.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;

/// The frame in which it would come to a port; `None` where its ends are of two families.
pub(super) fn frame(packet: &Packet, port: Mac, vlan: Option<u16>) -> Option<Vec<u8>> {
    let (ethertype, body) = match (packet.source.ip(), packet.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            (ethernet::IPV4, packet4(packet, source, destination))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            (ethernet::IPV6, packet6(packet, source, destination))
        }
        _ => return None,
    };
    let mut frame = link(port, vlan, ethertype);
    frame.extend(body);
    Some(frame)
}

fn link(port: Mac, vlan: Option<u16>, ethertype: u16) -> Vec<u8> {
    let ethernet = |ethertype| Ethernet {
        destination: port,
        source: Mac::default(),
        ethertype: U16::new(ethertype),
    };
    match vlan {
        None => ethernet(ethertype).as_bytes().to_vec(),
        Some(vlan) => {
            let tag = Tag {
                control: U16::new(vlan),
                ethertype: U16::new(ethertype),
            };
            [ethernet(vlan::CUSTOMER).as_bytes(), tag.as_bytes()].concat()
        }
    }
}

fn packet4(packet: &Packet, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let (number, mut transport) = transport(packet);
    let mut header = Ipv4 {
        version_length: Ipv4::PLAIN,
        traffic_class: 0,
        total_len: U16::new(Ipv4::LEN + len(&transport)),
        identification: U16::ZERO,
        fragment: U16::new(ipv4::DO_NOT_FRAGMENT),
        time_to_live: HOPS,
        protocol: number,
        checksum: Checksum::NONE,
        source: source.octets(),
        destination: destination.octets(),
    };
    header.checksum = header.sum().checksum();
    let pseudo = Sum::default()
        .bytes(&header.source)
        .bytes(&header.destination)
        .word(number.into())
        .word(len(&transport));
    seal(packet.protocol, &mut transport, pseudo);
    [header.as_bytes(), &transport].concat()
}

fn packet6(packet: &Packet, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let (number, mut transport) = transport(packet);
    let header = Ipv6 {
        version_class_flow: Ipv6::first_word(0, 0),
        payload_len: U16::new(len(&transport)),
        next_header: number,
        hop_limit: HOPS,
        source: source.octets(),
        destination: destination.octets(),
    };
    let pseudo = Sum::pseudo6(header.source, header.destination, number, len(&transport));
    seal(packet.protocol, &mut transport, pseudo);
    [header.as_bytes(), &transport].concat()
}

/// The transport header, without its checksum, and its IP number.
fn transport(packet: &Packet) -> (u8, Vec<u8>) {
    let ports = [packet.source.port(), packet.destination.port()].map(u16::to_be_bytes);
    let ports = ports.concat();
    match packet.protocol {
        Protocol::Tcp => {
            let [high, low] = SEGMENT.to_be_bytes();
            let sequence_to_urgent = [
                0,
                0,
                0,
                1,
                0,
                0,
                0,
                0,
                6 << 4,
                tcp::SYN,
                0xff,
                0xff,
                0,
                0,
                0,
                0,
            ];
            let offer = [2, 4, high, low];
            let header = [&ports[..], &sequence_to_urgent, &offer].concat();
            (ipv4::TCP, header)
        }
        Protocol::Udp => {
            let rest = [0, 8, 0, 0];
            debug_assert_eq!(ports.len() + rest.len(), Udp::LEN);
            (ipv4::UDP, [&ports[..], &rest].concat())
        }
    }
}

fn seal(protocol: Protocol, transport: &mut [u8], pseudo: Sum) {
    let sum = pseudo.bytes(transport).checksum();
    let (at, sum) = match protocol {
        Protocol::Tcp => (TCP_CHECKSUM, sum),
        Protocol::Udp => (UDP_CHECKSUM, sum.nonzero()),
    };
    if let Some(field) = transport.get_mut(at..at + 2) {
        field.copy_from_slice(&sum.0);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "at most 24 bytes")]
fn len(transport: &[u8]) -> u16 {
    transport.len() as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Parsed, parse};
    use etherparse::{NetHeaders, PacketHeaders, TransportHeader};

    fn packet(protocol: Protocol, source: &str, destination: &str) -> Packet {
        Packet {
            protocol,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            without: None,
        }
    }

    #[test]
    fn a_made_up_packet_is_whole_for_us_and_for_others() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for (source, destination) in [
                ("192.0.2.7:4000", "203.0.113.80:80"),
                ("[2001:db8::7]:0", "[2001:db8::80]:53"),
            ] {
                let packet = packet(protocol, source, destination);
                let frame = frame(&packet, Mac([2, 0, 0, 0, 0, 1]), None).unwrap();
                let ours = parse(&frame, None);
                assert!(
                    matches!(ours, Ok(Parsed::V4(_) | Parsed::V6(_))),
                    "{ours:?}"
                );
                check(&PacketHeaders::from_ethernet_slice(&frame).unwrap());
                let tagged = super::frame(&packet, Mac::default(), Some(5)).unwrap();
                assert_eq!(tagged[12..16], [0x81, 0, 0, 5]);
                assert_eq!(tagged[16..], frame[12..]);
            }
        }
        let mixed = packet(Protocol::Tcp, "192.0.2.7:4000", "[2001:db8::80]:53");
        assert_eq!(frame(&mixed, Mac::default(), None), None);
    }

    fn check(read: &PacketHeaders<'_>) {
        let (Some(net), Some(transport)) = (&read.net, &read.transport) else {
            panic!("{read:?}")
        };
        if let NetHeaders::Ipv4(header, _) = net {
            assert_eq!(header.header_checksum, header.calc_header_checksum());
        }
        let (is, expected) = match (net, transport) {
            (NetHeaders::Ipv4(ip, _), TransportHeader::Tcp(it)) => {
                (it.checksum, it.calc_checksum_ipv4(ip, &[]).unwrap())
            }
            (NetHeaders::Ipv4(ip, _), TransportHeader::Udp(it)) => {
                (it.checksum, it.calc_checksum_ipv4(ip, &[]).unwrap())
            }
            (NetHeaders::Ipv6(ip, _), TransportHeader::Tcp(it)) => {
                (it.checksum, it.calc_checksum_ipv6(ip, &[]).unwrap())
            }
            (NetHeaders::Ipv6(ip, _), TransportHeader::Udp(it)) => {
                (it.checksum, it.calc_checksum_ipv6(ip, &[]).unwrap())
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(is, expected);
    }
}
