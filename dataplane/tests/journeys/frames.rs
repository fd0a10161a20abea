//! Frames as clients, backends and neighbours send them.

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpFragOffset, IpHeaders, IpNumber,
    Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader,
    PacketBuilder, PacketBuilderStep, TcpHeader, err::packet::BuildWriteError,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tether_dataplane::Mac;

/// The port to the clients.
pub(crate) const OUTSIDE: Mac = Mac([2, 0, 0, 0, 0, 0x99]);
/// The port to the backends.
pub(crate) const INSIDE: Mac = Mac([2, 0, 0, 0, 0, 0x88]);
/// The router by which clients come.
pub(crate) const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 0x11]);

/// A client and a service, with the packets that it may send there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conversation {
    pub(crate) client: SocketAddr,
    pub(crate) service: SocketAddr,
}

pub(crate) fn from_to(client: &str, service: &str) -> Conversation {
    Conversation {
        client: client.parse().unwrap(),
        service: service.parse().unwrap(),
    }
}

impl Conversation {
    pub(crate) fn syn(self) -> Vec<u8> {
        self.tcp(|header| header.syn = true)
    }

    pub(crate) fn ack(self) -> Vec<u8> {
        self.tcp(|header| header.ack = true)
    }

    pub(crate) fn fin(self) -> Vec<u8> {
        self.tcp(|header| (header.fin, header.ack) = (true, true))
    }

    pub(crate) fn rst(self) -> Vec<u8> {
        self.tcp(|header| header.rst = true)
    }

    pub(crate) fn datagram(self) -> Vec<u8> {
        self.datagram_of(b"who is it?")
    }

    pub(crate) fn datagram_of(self, payload: &[u8]) -> Vec<u8> {
        let (from, to) = (self.client.port(), self.service.port());
        written(|out| self.network().udp(from, to).write(out, payload))
    }

    /// The other direction: what a backend sends in the VIP's name.
    pub(crate) fn reversed(self) -> Self {
        Self {
            client: self.service,
            service: self.client,
        }
    }

    pub(crate) fn tcp(self, flags: impl FnOnce(&mut TcpHeader)) -> Vec<u8> {
        let header = self.tcp_header(flags);
        written(|out| self.network().tcp_header(header).write(out, b"hello"))
    }

    /// A segment with any header and payload.
    pub(crate) fn segment(self, payload: &[u8], change: impl FnOnce(&mut TcpHeader)) -> Vec<u8> {
        let header = self.tcp_header(change);
        written(|out| self.network().tcp_header(header).write(out, payload))
    }

    fn tcp_header(self, flags: impl FnOnce(&mut TcpHeader)) -> TcpHeader {
        let mut header = TcpHeader::new(self.client.port(), self.service.port(), 1, 512);
        flags(&mut header);
        header
    }

    fn network(self) -> PacketBuilderStep<IpHeaders> {
        let link = PacketBuilder::ethernet2(ROUTER.0, OUTSIDE.0);
        match (self.client.ip(), self.service.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), 63),
            (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), 63),
            _ => panic!("one family"),
        }
    }

    /// Its SYN with eight bytes of IPv4 options.
    pub(crate) fn with_options(self) -> Vec<u8> {
        let (IpAddr::V4(from), IpAddr::V4(to)) = (self.client.ip(), self.service.ip()) else {
            panic!("options are IPv4's")
        };
        let mut header = Ipv4Header::new(0, 63, IpNumber::TCP, from.octets(), to.octets()).unwrap();
        header.options = [1; 8].into();
        let link = PacketBuilder::ethernet2(ROUTER.0, OUTSIDE.0);
        let network = link.ip(IpHeaders::Ipv4(header, Ipv4Extensions::default()));
        let tcp = self.tcp_header(|tcp| tcp.syn = true);
        written(|out| network.tcp_header(tcp).write(out, &[]))
    }

    /// Its SYN after IPv6 extension headers: hop-by-hop, destination options, an atomic fragment.
    pub(crate) fn with_extensions(self) -> Vec<u8> {
        let padding = Ipv6RawExtHeader::new_raw(IpNumber::TCP, &[1, 4, 0, 0, 0, 0]).unwrap();
        let fragment = Ipv6FragmentHeader::new(IpNumber::TCP, IpFragOffset::ZERO, false, 9);
        let extensions = Ipv6Extensions {
            hop_by_hop_options: Some(padding.clone()),
            destination_options: Some(padding),
            fragment: Some(fragment),
            ..Default::default()
        };
        self.with(extensions)
    }

    pub(crate) fn with(self, extensions: Ipv6Extensions) -> Vec<u8> {
        let (IpAddr::V6(from), IpAddr::V6(to)) = (self.client.ip(), self.service.ip()) else {
            panic!("extension headers are IPv6's")
        };
        let header = Ipv6Header {
            hop_limit: 63,
            source: from.octets(),
            destination: to.octets(),
            ..Default::default()
        };
        let link = PacketBuilder::ethernet2(ROUTER.0, OUTSIDE.0);
        let network = link.ip(IpHeaders::Ipv6(header, extensions));
        let tcp = self.tcp_header(|tcp| tcp.syn = true);
        written(|out| network.tcp_header(tcp).write(out, &[]))
    }
}

/// The same frame as a backend gets it.
pub(crate) fn rewritten(frame: &[u8], from: Mac, to: Mac) -> Vec<u8> {
    patched(frame.to_vec(), 0, &[to.0, from.0].concat())
}

/// The frame with some bytes written over.
pub(crate) fn patched(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The frame with a customer tag: priority and VLAN.
pub(crate) fn tagged(mut frame: Vec<u8>, control: u16) -> Vec<u8> {
    let [high, low] = control.to_be_bytes();
    frame.splice(12..12, [0x81, 0, high, low]);
    frame
}

/// Padded to Ethernet's least length.
pub(crate) fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0);
    frame
}

pub(crate) fn arp(
    link: (Mac, Mac),
    operation: ArpOperation,
    sender: (Mac, Ipv4Addr),
    target: (Mac, Ipv4Addr),
) -> Vec<u8> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &sender.0.0,
        &sender.1.octets(),
        &target.0.0,
        &target.1.octets(),
    );
    let link = PacketBuilder::ethernet2(link.0.0, link.1.0);
    written(|out| link.arp(packet.unwrap()).write(out))
}

/// A neighbour solicitation (135) or advertisement (136) with a MAC address option.
pub(crate) fn ndp(
    (from, source): (Mac, Ipv6Addr),
    (to, destination): (Mac, Ipv6Addr),
    (kind, flags, option): (u8, u8, u8),
    target: Ipv6Addr,
) -> Vec<u8> {
    let body = [&target.octets()[..], &[option, 1], &from.0].concat();
    let link = PacketBuilder::ethernet2(from.0, to.0);
    let network = link.ipv6(source.octets(), destination.octets(), 255);
    written(|out| {
        network
            .icmpv6_raw(kind, 0, [flags, 0, 0, 0])
            .write(out, &body)
    })
}

pub(crate) const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// What the builder writes.
pub(crate) fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), BuildWriteError>) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame).unwrap();
    frame
}
