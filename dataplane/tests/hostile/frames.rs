//! Frames as clients, backends, neighbours and routers send them, by what an input picks.

use super::{
    input::Input,
    network::{
        INSIDE, LOCAL, LOCAL_PORT, LOCAL_PORTS, OUTSIDE, ROUTER, SOURCES4, SOURCES6, mac_of,
    },
};
use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpHeaders, IpNumber, Ipv4Extensions,
    Ipv4Header, Ipv6Extensions, Ipv6Header, Ipv6RawExtHeader, PacketBuilder, PacketBuilderStep,
    TcpHeader, err::packet::BuildWriteError,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tether_dataplane::{
    Mac,
    key::Protocol,
    tables::{
        TablesSpec,
        backend::BackendSpec,
        service::{Forward, ServiceSpec},
    },
};

/// A frame and whether it comes from the backends' side.
pub(crate) struct Sent {
    pub(crate) is_inside: bool,
    pub(crate) frame: Vec<u8>,
}

/// Both ends of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) protocol: Protocol,
    pub(crate) from: (IpAddr, u16),
    pub(crate) to: (IpAddr, u16),
}

impl Ends {
    fn turned(self) -> Self {
        Self {
            from: self.to,
            to: self.from,
            ..self
        }
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), BuildWriteError>) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame).unwrap_or_default();
    frame
}

/// One of the clients of a family.
pub(crate) fn client(is_ipv4: bool, input: &mut Input<'_>) -> IpAddr {
    let text = if is_ipv4 {
        input.one_of(&SOURCES4)
    } else {
        input.one_of(&SOURCES6)
    };
    text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// What a client and a service say to each other.
pub(crate) fn ends(service: &ServiceSpec, input: &mut Input<'_>) -> Ends {
    let from = (
        client(service.address.is_ipv4(), input),
        u16::from(input.byte() % 32),
    );
    let vip = match service.address {
        IpAddr::V4(v4) if service.prefix_length < 32 => {
            Ipv4Addr::from_bits(v4.to_bits() + u32::from(input.byte() % 20)).into()
        }
        IpAddr::V6(v6) if service.prefix_length < 128 => {
            Ipv6Addr::from_bits(v6.to_bits() + u128::from(input.byte())).into()
        }
        one => one,
    };
    let port = match service.port {
        0 => input.short(),
        port => port,
    };
    Ends {
        protocol: service.protocol,
        from,
        to: (vip, port),
    }
}

fn network(
    link: (Mac, Mac),
    from: IpAddr,
    to: IpAddr,
    input: &mut Input<'_>,
) -> PacketBuilderStep<IpHeaders> {
    let builder = PacketBuilder::ethernet2(link.0.0, link.1.0);
    let shape = input.byte();
    let hops = if shape & 0xc0 == 0xc0 { shape & 3 } else { 64 };
    builder.ip(match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let header = Ipv6Header {
                hop_limit: hops,
                source: from.octets(),
                destination: to.octets(),
                ..Default::default()
            };
            IpHeaders::Ipv6(header, extensions(shape))
        }
        (from, to) => {
            let v4 = |it| match it {
                IpAddr::V4(v4) => v4.octets(),
                IpAddr::V6(_) => [10, 0, 0, 9],
            };
            let header = Ipv4Header::new(0, hops, IpNumber::TCP, v4(from), v4(to));
            let mut header = header.unwrap_or_default();
            if shape & 15 == 7 {
                header.options = [1; 8].into();
            }
            header.dont_fragment = shape & 16 != 0;
            IpHeaders::Ipv4(header, Ipv4Extensions::default())
        }
    })
}

fn extensions(shape: u8) -> Ipv6Extensions {
    let padding = Ipv6RawExtHeader::new_raw(IpNumber::TCP, &[1, 4, 0, 0, 0, 0]).ok();
    Ipv6Extensions {
        hop_by_hop_options: padding.clone().filter(|_| shape & 15 == 7),
        destination_options: padding.filter(|_| shape & 15 >= 14),
        ..Default::default()
    }
}

/// A packet of a flow, whoever sends it.
pub(crate) fn packet(link: (Mac, Mac), ends: Ends, input: &mut Input<'_>) -> Vec<u8> {
    let network = network(link, ends.from.0, ends.to.0, input);
    let flags = input.byte();
    let len = match input.byte() {
        long @ 250.. => usize::from(long - 250) * 300 + 200,
        short => usize::from(short % 64),
    };
    let payload = vec![flags; len];
    match ends.protocol {
        Protocol::Udp => written(|out| network.udp(ends.from.1, ends.to.1).write(out, &payload)),
        Protocol::Tcp => {
            let mut header = TcpHeader::new(ends.from.1, ends.to.1, 1, 512);
            header.syn = flags.is_multiple_of(4);
            header.ack = !header.syn;
            (header.fin, header.rst) = (flags & 0b1100 == 0b0100, flags & 0b1100 == 0b1000);
            if flags & 0b1_0000 != 0 {
                let _ = header.set_options_raw(&[1, 2, 4, 5, 0xb4, 1, 1, 0]);
            }
            written(|out| network.tcp_header(header).write(out, &payload))
        }
    }
}

/// From a client to a service.
pub(crate) fn of_client(spec: &TablesSpec, input: &mut Input<'_>) -> Sent {
    let service = &spec.services[input.below(spec.services.len())];
    let ends = ends(service, input);
    Sent {
        is_inside: false,
        frame: packet((ROUTER, OUTSIDE), ends, input),
    }
}

/// From where a backend listens, to a client.
pub(crate) fn of_backend(spec: &TablesSpec, input: &mut Input<'_>) -> Option<Sent> {
    let (backend, ends) = answer(spec, input)?;
    let link = (mac_of(backend.address), INSIDE);
    Some(Sent {
        is_inside: true,
        frame: packet(link, ends, input),
    })
}

/// What a backend behind NAT says to its client, or to the local address that stands for it.
fn answer<'a>(spec: &'a TablesSpec, input: &mut Input<'_>) -> Option<(&'a BackendSpec, Ends)> {
    let backend = spec.backends.get(input.below(spec.backends.len()))?;
    let service = spec.services.iter().find(|it| it.id == backend.service)?;
    let mut asked = ends(service, input);
    let port = match backend.port {
        0 => asked.to.1,
        port => port,
    };
    asked.to = (backend.address, port);
    if service.forward == Forward::Fullnat {
        let [v4, v6] = LOCAL;
        let local = if backend.address.is_ipv4() { v4 } else { v6 };
        let port = LOCAL_PORT + u16::from(input.byte()) % (LOCAL_PORTS + 1);
        asked.from = (local.parse().ok()?, port);
    }
    Some((backend, asked.turned()))
}

/// An error of a router about what one end has sent, to that end.
pub(crate) fn error(spec: &TablesSpec, input: &mut Input<'_>) -> Option<Sent> {
    let is_inside = input.is_set();
    let quoted = if is_inside {
        answer(spec, input)?.1.turned()
    } else {
        let service = spec.services.get(input.below(spec.services.len()))?;
        ends(service, input).turned()
    };
    let quote = packet((ROUTER, OUTSIDE), quoted, input);
    let quote = &quote[14.min(quote.len())..];
    let quote = &quote[..quote.len().min(28 + usize::from(input.byte()))];
    let (link, from) = if is_inside {
        ((mac_of(quoted.to.0), INSIDE), quoted.to.0)
    } else {
        ((ROUTER, OUTSIDE), client(quoted.to.0.is_ipv4(), input))
    };
    let network = network(link, from, quoted.from.0, input);
    let (kind, code) = (input.byte(), input.byte() % 16);
    let frame = if quoted.from.0.is_ipv4() {
        let kind = [3, 3, 3, 4, 5, 11, 12, 8][usize::from(kind % 8)];
        written(|out| {
            network
                .icmpv4_raw(kind, code, [0, 0, 5, 0])
                .write(out, quote)
        })
    } else {
        let kind = [1, 2, 2, 3, 4, 5, 128, 137][usize::from(kind % 8)];
        written(|out| {
            network
                .icmpv6_raw(kind, code, [0, 0, 5, 0])
                .write(out, quote)
        })
    };
    Some(Sent { is_inside, frame })
}

/// The parts of a client's datagram or segment, of which one is sent.
pub(crate) fn fragment(spec: &TablesSpec, input: &mut Input<'_>) -> Option<Sent> {
    let Sent { is_inside, frame } = if input.is_set() {
        of_backend(spec, input)?
    } else {
        of_client(spec, input)
    };
    let identification = input.byte() % 4;
    let (part, size) = (input.byte() % 4, 8 * (1 + usize::from(input.byte() % 8)));
    let is_ipv4 = frame.get(12..14)? == [8, 0];
    let head = if is_ipv4 { 14 + 20 } else { 14 + 40 };
    let payload = frame.get(head..)?;
    let from = usize::from(part) * size;
    let end = (from + size).min(payload.len());
    let piece = payload.get(from..end)?;
    let more = end < payload.len();
    let mut cut = frame.get(..head)?.to_vec();
    let offset = u16::try_from(from).ok()?;
    if is_ipv4 {
        let len = u16::try_from(20 + piece.len()).ok()?;
        cut[16..18].copy_from_slice(&len.to_be_bytes());
        cut[18..20].copy_from_slice(&[0, identification]);
        cut[20..22].copy_from_slice(&(offset >> 3 | u16::from(more) << 13).to_be_bytes());
    } else {
        let len = u16::try_from(8 + piece.len()).ok()?;
        cut[18..20].copy_from_slice(&len.to_be_bytes());
        let protocol = std::mem::replace(&mut cut[20], 44);
        let [high, low] = (offset | u16::from(more)).to_be_bytes();
        cut.extend([protocol, 0, high, low, 0, 0, 0, identification]);
    }
    cut.extend(piece);
    super::sums::make_right(&mut cut);
    Some(Sent {
        is_inside,
        frame: cut,
    })
}

fn any_mac(input: &mut Input<'_>) -> Mac {
    match input.byte() {
        0 => OUTSIDE,
        1 => INSIDE,
        2 => Mac::BROADCAST,
        3 => ROUTER,
        last => Mac([2, 0, 0, 0, 1, last]),
    }
}

/// ARP about addresses that there are and that there are not.
pub(crate) fn arp(spec: &TablesSpec, input: &mut Input<'_>) -> Sent {
    let is_inside = input.is_set();
    let own = if is_inside { INSIDE } else { OUTSIDE };
    let address = |input: &mut Input<'_>| match known(spec, input) {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(_) => [192, 0, 2, 1],
    };
    let (sender, target) = (address(input), address(input));
    let (mac, to) = (
        any_mac(input),
        if input.is_set() { own } else { Mac::BROADCAST },
    );
    let operation = ArpOperation(u16::from(input.byte() % 3));
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        operation,
        &mac.0,
        &sender,
        &[0; 6],
        &target,
    );
    let frame = packet
        .map(|packet| written(|out| PacketBuilder::ethernet2(mac.0, to.0).arp(packet).write(out)));
    Sent {
        is_inside,
        frame: frame.unwrap_or_default(),
    }
}

/// An address of a port, a VIP, a backend or a client.
fn known(spec: &TablesSpec, input: &mut Input<'_>) -> IpAddr {
    let ports = spec.ports.iter().flat_map(|it| &it.addresses);
    let gateways = spec.ports.iter().flat_map(|it| &it.gateways);
    let mut all: Vec<IpAddr> = ports
        .map(|(address, _)| *address)
        .chain(gateways.copied())
        .collect();
    all.extend(spec.services.iter().map(|it| it.address));
    all.extend(spec.backends.iter().map(|it| it.address));
    all.push(client(true, input));
    input.one_of(&all)
}

/// Neighbour discovery, also with hop limits and options that it must not have.
pub(crate) fn ndp(spec: &TablesSpec, input: &mut Input<'_>) -> Sent {
    let is_inside = input.is_set();
    let own = if is_inside { INSIDE } else { OUTSIDE };
    let v6 = |input: &mut Input<'_>| match known(spec, input) {
        IpAddr::V6(v6) => v6,
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
    };
    let (source, target) = (v6(input), v6(input));
    let (mac, flags) = (any_mac(input), input.byte());
    let destination = if flags & 1 != 0 { v6(input) } else { target };
    let (kind, option) = if input.is_set() { (135, 1) } else { (136, 2) };
    let hops = if input.byte() < 250 { 255 } else { 64 };
    let mut body = target.octets().to_vec();
    if flags & 2 == 0 {
        body.extend([option, 1]);
        body.extend(mac.0);
    }
    let network =
        PacketBuilder::ethernet2(mac.0, own.0).ipv6(source.octets(), destination.octets(), hops);
    let rest = [flags & 0xe0, 0, 0, 0];
    let frame = written(|out| network.icmpv6_raw(kind, 0, rest).write(out, &body));
    Sent { is_inside, frame }
}

/// A ping of an address.
pub(crate) fn ping(spec: &TablesSpec, input: &mut Input<'_>) -> Sent {
    let to = known(spec, input);
    let from = client(to.is_ipv4(), input);
    let network = network((ROUTER, OUTSIDE), from, to, input);
    let payload = vec![7; usize::from(input.byte())];
    let frame = match to {
        IpAddr::V4(_) => written(|out| network.icmpv4_echo_request(1, 2).write(out, &payload)),
        IpAddr::V6(_) => written(|out| network.icmpv6_echo_request(1, 2).write(out, &payload)),
    };
    Sent {
        is_inside: false,
        frame,
    }
}
