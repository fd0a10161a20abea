//! Frames for tests, made by `etherparse`, which shares no code with `wire`.

use etherparse::err::packet::BuildWriteError;
use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions,
    Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, PacketBuilder, PacketBuilderStep, TcpHeader,
    VlanId,
};

pub(crate) use crate::parse::oracle::rfc1071;
use crate::wire::ethernet::Mac;

pub(crate) const NEIGHBOUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x11]);
pub(crate) const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x99]);
pub(crate) const CLIENT4: [u8; 4] = [192, 0, 2, 11];
pub(crate) const OURS4: [u8; 4] = [203, 0, 113, 80];
pub(crate) const CLIENT6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11];
pub(crate) const OURS6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x80];
pub(crate) const VLAN: u16 = 100;

/// From a neighbour to us, over IPv4 (without options).
pub(crate) fn ip4() -> PacketBuilderStep<IpHeaders> {
    PacketBuilder::ethernet2(NEIGHBOUR_MAC.0, OUR_MAC.0).ipv4(CLIENT4, OURS4, 63)
}

/// From a neighbour to us, over IPv6 with these extension headers.
pub(crate) fn ip6(extensions: Ipv6Extensions) -> PacketBuilderStep<IpHeaders> {
    let header = Ipv6Header {
        hop_limit: 63,
        source: CLIENT6,
        destination: OURS6,
        ..Default::default()
    };
    let link = PacketBuilder::ethernet2(NEIGHBOUR_MAC.0, OUR_MAC.0);
    link.ip(IpHeaders::Ipv6(header, extensions))
}

/// A start of a connection from port 40000 to port 80.
pub(crate) fn syn() -> TcpHeader {
    let mut header = TcpHeader::new(40000, 80, 1, 512);
    header.syn = true;
    header
}

pub(crate) fn tcp4() -> Vec<u8> {
    written(|out| ip4().tcp_header(syn()).write(out, &[]))
}

pub(crate) fn tcp6() -> Vec<u8> {
    written(|out| {
        ip6(Ipv6Extensions::default())
            .tcp_header(syn())
            .write(out, &[])
    })
}

pub(crate) fn udp4() -> Vec<u8> {
    written(|out| ip4().udp(40000, 53).write(out, b"who is it?"))
}

pub(crate) fn udp6() -> Vec<u8> {
    written(|out| {
        ip6(Ipv6Extensions::default())
            .udp(40000, 53)
            .write(out, b"who is it?")
    })
}

pub(crate) fn ping4() -> Vec<u8> {
    written(|out| ip4().icmpv4_echo_request(7, 1).write(out, b"abcdefghi"))
}

pub(crate) fn ping6() -> Vec<u8> {
    written(|out| {
        let network = ip6(Ipv6Extensions::default());
        network.icmpv6_echo_request(7, 1).write(out, b"abcdefghi")
    })
}

pub(crate) fn options4() -> Vec<u8> {
    let mut header = Ipv4Header::new(0, 63, IpNumber::TCP, CLIENT4, OURS4).unwrap();
    header.options = [1; 8].into();
    let link = PacketBuilder::ethernet2(NEIGHBOUR_MAC.0, OUR_MAC.0);
    let network = link.ip(IpHeaders::Ipv4(header, Ipv4Extensions::default()));
    written(|out| network.tcp_header(syn()).write(out, &[]))
}

/// With a hop-by-hop header, destination options and an atomic fragment header.
pub(crate) fn extensions6() -> Vec<u8> {
    let padding = Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[1, 4, 0, 0, 0, 0]).unwrap();
    let extensions = Ipv6Extensions {
        hop_by_hop_options: Some(padding.clone()),
        destination_options: Some(padding),
        fragment: Some(fragment6(0, false)),
        ..Default::default()
    };
    written(|out| ip6(extensions).udp(40000, 53).write(out, b"who is it?"))
}

pub(crate) fn fragment6(offset: u16, more: bool) -> Ipv6FragmentHeader {
    Ipv6FragmentHeader::new(
        IpNumber::UDP,
        IpFragOffset::try_new(offset).unwrap(),
        more,
        9,
    )
}

/// The frame with a customer tag with this VID.
pub(crate) fn tagged(mut frame: Vec<u8>, vid: u16) -> Vec<u8> {
    assert!(VlanId::try_new(vid).is_ok());
    let [high, low] = vid.to_be_bytes();
    frame.splice(12..12, [0x81, 0, high, low]);
    frame
}

/// The frame with its IPv4 header checksum made right again.
pub(crate) fn summed4(frame: Vec<u8>) -> Vec<u8> {
    let header_len = usize::from(frame[14] & 15) * 4;
    let cleared = patched(frame, 24, &[0, 0]);
    let checksum = rfc1071(&cleared[14..14 + header_len]);
    patched(cleared, 24, &checksum.to_be_bytes())
}

/// The frame with some bytes written over.
pub(crate) fn patched(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The first bytes of the frame.
pub(crate) fn cut(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    assert!(len < frame.len());
    frame.truncate(len);
    frame
}

/// What the builder writes.
pub(crate) fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), BuildWriteError>) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame).unwrap();
    frame
}
