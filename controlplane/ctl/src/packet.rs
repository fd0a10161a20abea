//! A frame in a few words, as `tcpdump -n` tells it.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use etherparse::{
    ArpOperation, ArpPacketSlice, IpNumber, LaxLinkExtSlice, LaxNetSlice, LaxSlicedPacket,
    TcpSlice, TransportSlice,
};

/// Packets within packets that are told.
const DEPTH: usize = 2;

/// The frame, as far as it was captured and can be read.
pub(crate) fn text(frame: &[u8]) -> String {
    let Ok(sliced) = LaxSlicedPacket::from_ethernet(frame) else {
        return format!("{} bytes that are no frame", frame.len());
    };
    let mut text = String::new();
    for tag in &sliced.link_exts {
        if let LaxLinkExtSlice::Vlan(tag) = tag {
            let _ = write!(text, "vlan {} ", tag.vlan_identifier().value());
        }
    }
    text + &packet(&sliced, frame, DEPTH)
}

fn packet(sliced: &LaxSlicedPacket<'_>, frame: &[u8], depth: usize) -> String {
    let (source, destination, number) = match &sliced.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            let (source, destination) = (header.source_addr(), header.destination_addr());
            (
                IpAddr::V4(source),
                IpAddr::V4(destination),
                ip.payload_ip_number(),
            )
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            let (source, destination) = (header.source_addr(), header.destination_addr());
            let number = ip.payload().ip_number;
            (IpAddr::V6(source), IpAddr::V6(destination), number)
        }
        Some(LaxNetSlice::Arp(arp)) => return of_arp(arp),
        None => return ethertype(frame),
    };
    match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let ends = ends(
                (source, tcp.source_port()),
                (destination, tcp.destination_port()),
            );
            format!("{ends} tcp{}", flags(tcp))
        }
        Some(TransportSlice::Udp(udp)) => {
            let ends = ends(
                (source, udp.source_port()),
                (destination, udp.destination_port()),
            );
            format!("{ends} udp")
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            let (kind, code) = (icmp.type_u8(), icmp.code_u8());
            format!("{source} > {destination} icmp type {kind} code {code}")
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            let (kind, code) = (icmp.type_u8(), icmp.code_u8());
            format!("{source} > {destination} icmp6 type {kind} code {code}")
        }
        Some(TransportSlice::Igmp(_)) | None => {
            format!("{source} > {destination} {}", within(sliced, number, depth))
        }
    }
}

fn ends((source, from): (IpAddr, u16), (destination, to): (IpAddr, u16)) -> String {
    let (source, destination) = (
        SocketAddr::new(source, from),
        SocketAddr::new(destination, to),
    );
    format!("{source} > {destination}")
}

/// What an IP packet carries that is neither TCP, UDP nor ICMP.
fn within(sliced: &LaxSlicedPacket<'_>, number: IpNumber, depth: usize) -> String {
    let payload = sliced.net.as_ref().and_then(|net| net.ip_payload_ref());
    let Some(payload) = payload.filter(|it| !it.fragmented) else {
        return "fragment".to_owned();
    };
    let inner = match number {
        IpNumber::IPV4 | IpNumber::IPV6 if depth > 0 => {
            LaxSlicedPacket::from_ip(payload.payload).ok()
        }
        _ => None,
    };
    match inner {
        Some(inner) => format!("ipip: {}", packet(&inner, &[], depth - 1)),
        None if number == IpNumber::GRE => "gre".to_owned(),
        None => format!("protocol {}", number.0),
    }
}

fn flags(tcp: &TcpSlice<'_>) -> String {
    let flags = [
        (tcp.syn(), " syn"),
        (tcp.fin(), " fin"),
        (tcp.rst(), " rst"),
        (tcp.psh(), " psh"),
        (tcp.ack(), " ack"),
    ];
    let set = flags.into_iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, name)| name).collect()
}

fn of_arp(arp: &ArpPacketSlice<'_>) -> String {
    let address = |bytes: &[u8]| {
        let octets: Option<[u8; 4]> = bytes.try_into().ok();
        octets.map_or_else(|| "?".to_owned(), |it| IpAddr::from(it).to_string())
    };
    let (sender, target) = (
        address(arp.sender_protocol_addr()),
        address(arp.target_protocol_addr()),
    );
    match arp.operation() {
        ArpOperation::REQUEST => format!("arp who has {target}, tell {sender}"),
        ArpOperation::REPLY => {
            let mac = arp.sender_hw_addr().iter();
            let mac: Vec<_> = mac.map(|byte| format!("{byte:02x}")).collect();
            format!("arp {sender} is at {}", mac.join(":"))
        }
        other => format!("arp operation {}", other.0),
    }
}

fn ethertype(frame: &[u8]) -> String {
    match frame.get(12..14) {
        Some(&[high, low]) => format!("ethertype {high:02x}{low:02x}"),
        _ => "truncated".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::{PacketBuilder, TcpHeader};

    fn written(
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), etherparse::err::packet::BuildWriteError>,
    ) -> Vec<u8> {
        let mut frame = Vec::new();
        write(&mut frame).unwrap();
        frame
    }

    fn link() -> etherparse::PacketBuilderStep<etherparse::Ethernet2Header> {
        PacketBuilder::ethernet2([2; 6], [4; 6])
    }

    #[test]
    fn tcp_and_udp_have_ports_and_flags() {
        let mut header = TcpHeader::new(40_000, 80, 1, 512);
        (header.syn, header.ack) = (true, true);
        let v4 = written(|out| {
            let ip = link().ipv4([10, 9, 0, 1], [10, 9, 0, 100], 64);
            ip.tcp_header(header).write(out, &[])
        });
        assert_eq!(text(&v4), "10.9.0.1:40000 > 10.9.0.100:80 tcp syn ack");
        let v6 = written(|out| {
            let ip = link().ipv6([0xfd; 16], [0xfe; 16], 64);
            ip.udp(5, 53).write(out, b"question")
        });
        assert!(text(&v6).starts_with("[fdfd:"), "{}", text(&v6));
        assert!(text(&v6).ends_with(":53 udp"), "{}", text(&v6));
        let tagged = [&v4[..12], &[0x81, 0, 0, 100], &v4[12..]].concat();
        assert!(text(&tagged).starts_with("vlan 100 10.9.0.1:40000"));
    }

    #[test]
    fn a_packet_within_a_packet_is_told() {
        let inner = written(|out| {
            let ip = PacketBuilder::ipv4([10, 9, 0, 1], [10, 9, 0, 100], 64);
            ip.udp(5, 53).write(out, &[])
        });
        let outer = written(|out| {
            let ip = link().ipv4([10, 9, 0, 2], [10, 9, 0, 11], 64);
            ip.write(out, IpNumber::IPV4, &inner)
        });
        let expected = "10.9.0.2 > 10.9.0.11 ipip: 10.9.0.1:5 > 10.9.0.100:53 udp";
        assert_eq!(text(&outer), expected);
    }

    #[test]
    fn what_was_cut_off_is_told_as_far_as_it_goes() {
        let whole = written(|out| {
            let ip = link().ipv4([10, 9, 0, 1], [10, 9, 0, 100], 64);
            ip.tcp(40_000, 80, 1, 512).write(out, &[7; 500])
        });
        assert_eq!(text(&whole[..64]), "10.9.0.1:40000 > 10.9.0.100:80 tcp");
        for len in 0..whole.len() {
            assert!(!text(&whole[..len]).is_empty(), "{len}");
        }
        assert_eq!(
            text(&[&[2; 12][..], &[0x88, 0xcc, 1]].concat()),
            "ethertype 88cc"
        );
    }
}
