//! A frame as far as it can be read, for operators to look at: nothing is checked but that it is there.
//!
//! The path itself reads frames by `parse`, which refuses what is wrong; this reads what it refuses too.

use crate::wire::{
    arp::Arp,
    ethernet::{self, Ethernet, Mac},
    ipv4::{self, Ipv4},
    ipv6::{self, Ipv6},
    vlan::{self, Tag},
};
use std::net::{IpAddr, Ipv4Addr};
use zerocopy::FromBytes;

/// Extension headers that are followed.
const EXTENSIONS: usize = 8;

/// The link's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) destination: Mac,
    pub(crate) source: Mac,
    pub(crate) vlan: Option<u16>,
    /// Of what the frame carries.
    pub(crate) ethertype: u16,
    /// Where that begins.
    pub(crate) payload: usize,
}

/// Addresses and ports of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// By its IP number, after extension headers.
    pub(crate) protocol: u8,
    /// Source and destination, where there are some to be seen.
    pub(crate) ports: Option<(u16, u16)>,
}

/// The header of a frame.
#[inline]
pub(crate) fn link(frame: &[u8]) -> Option<Link> {
    let (header, rest) = Ethernet::ref_from_prefix(frame).ok()?;
    let mut link = Link {
        destination: header.destination,
        source: header.source,
        vlan: None,
        ethertype: header.ethertype.get(),
        payload: size_of::<Ethernet>(),
    };
    if link.ethertype == vlan::CUSTOMER {
        let (tag, _) = Tag::ref_from_prefix(rest).ok()?;
        link.vlan = Some(tag.vid());
        link.ethertype = tag.ethertype.get();
        link.payload += size_of::<Tag>();
    }
    Some(link)
}

/// What an IP packet or ARP of this ethertype says of its ends.
#[inline]
pub(crate) fn ends(ethertype: u16, packet: &[u8]) -> Option<Ends> {
    match ethertype {
        ethernet::IPV4 => ends4(packet),
        ethernet::IPV6 => ends6(packet),
        ethernet::ARP => ends_of_arp(packet),
        _ => None,
    }
}

/// The same of an IP packet, whose first bits say which.
pub(crate) fn ends_of_packet(packet: &[u8]) -> Option<Ends> {
    match packet.first()? >> 4 {
        4 => ends4(packet),
        6 => ends6(packet),
        _ => None,
    }
}

#[inline]
fn ends4(packet: &[u8]) -> Option<Ends> {
    let (header, _) = Ipv4::ref_from_prefix(packet).ok()?;
    let first = header.fragment_offset() == 0;
    let after = packet.get(usize::from(header.header_len())..);
    Some(Ends {
        source: Ipv4Addr::from(header.source).into(),
        destination: Ipv4Addr::from(header.destination).into(),
        protocol: header.protocol,
        ports: after
            .filter(|_| first)
            .and_then(|after| ports(header.protocol, after)),
    })
}

#[inline]
fn ends6(packet: &[u8]) -> Option<Ends> {
    let (header, mut after) = Ipv6::ref_from_prefix(packet).ok()?;
    let mut protocol = header.next_header;
    let mut first = true;
    for _ in 0..EXTENSIONS {
        let Some((next, len, is_first)) = extension(protocol, after) else {
            break;
        };
        (protocol, first) = (next, first && is_first);
        after = after.get(len..).unwrap_or_default();
    }
    Some(Ends {
        source: IpAddr::from(header.source),
        destination: IpAddr::from(header.destination),
        protocol,
        ports: Some(after)
            .filter(|_| first)
            .and_then(|after| ports(protocol, after)),
    })
}

/// What follows an extension header, its length, and whether the packet's payload begins after it.
fn extension(kind: u8, bytes: &[u8]) -> Option<(u8, usize, bool)> {
    match kind {
        ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::DESTINATION | ipv6::AUTHENTICATION => {
            let (header, _) = ipv6::Extension::read_from_prefix(bytes).ok()?;
            Some((
                header.next_header,
                usize::from(header.header_len(kind)),
                true,
            ))
        }
        ipv6::FRAGMENT => {
            let (header, _) = ipv6::Fragment::read_from_prefix(bytes).ok()?;
            let len = usize::from(ipv6::Fragment::LEN);
            Some((header.next_header, len, header.offset() == 0))
        }
        _ => None,
    }
}

#[inline]
fn ports(protocol: u8, transport: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *transport.first_chunk()?;
    matches!(protocol, ipv4::TCP | ipv4::UDP)
        .then_some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

fn ends_of_arp(packet: &[u8]) -> Option<Ends> {
    let (arp, _) = Arp::ref_from_prefix(packet).ok()?;
    Some(Ends {
        source: Ipv4Addr::from(arp.sender).into(),
        destination: Ipv4Addr::from(arp.target).into(),
        protocol: 0,
        ports: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::FlowKey,
        parse::{Parsed, parse},
    };
    use etherparse::{
        IpFragOffset, IpHeaders, IpNumber, Ipv6Extensions, Ipv6FragmentHeader, Ipv6Header,
        Ipv6RawExtHeader, PacketBuilder,
    };
    use proptest::{collection::vec, prelude::*};

    fn read(frame: &[u8]) -> Option<Ends> {
        let link = link(frame)?;
        ends(link.ethertype, frame.get(link.payload..)?)
    }

    fn key_of(key: &impl FlowKey) -> Ends {
        Ends {
            source: key.source(),
            destination: key.destination(),
            protocol: key.protocol() as u8,
            ports: Some((key.ports().source(), key.ports().destination())),
        }
    }

    fn v6(extensions: Ipv6Extensions) -> Vec<u8> {
        let header = Ipv6Header {
            hop_limit: 9,
            source: [0x20; 16],
            destination: [0x21; 16],
            ..Default::default()
        };
        let ip = IpHeaders::Ipv6(header, extensions);
        let mut frame = Vec::new();
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ip(ip);
        builder.udp(4000, 53).write(&mut frame, b"what?").unwrap();
        frame
    }

    #[test]
    fn extension_headers_are_stepped_over() {
        let options = Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[1, 4, 0, 0, 0, 0]).unwrap();
        let of = |offset: u16| {
            let offset = IpFragOffset::try_new(offset).unwrap();
            v6(Ipv6Extensions {
                hop_by_hop_options: Some(options.clone()),
                fragment: Some(Ipv6FragmentHeader::new(IpNumber::UDP, offset, true, 9)),
                ..Default::default()
            })
        };
        let first = read(&of(0)).unwrap();
        assert_eq!((first.protocol, first.ports), (17, Some((4000, 53))));
        let later = read(&of(8)).unwrap();
        assert_eq!((later.protocol, later.ports), (17, None));
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in vec(any::<u8>(), 0..120), ethertype in prop::sample::select(vec![
            [8_u8, 0], [0x86, 0xdd], [8, 6], [0x81, 0],
        ]), version in prop::sample::select(vec![0x45_u8, 0x46, 0x60])) {
            let mut frame = bytes;
            if frame.len() > 14 {
                frame[12..14].copy_from_slice(&ethertype);
                frame[14] = version;
            }
            let _ = read(&frame);
            let _ = ends_of_packet(&frame);
        }

        /// Where the path reads a packet, this reads the same.
        #[test]
        fn it_agrees_with_the_path(
            v4: bool, tcp: bool, from: [u8; 4], to: [u8; 4], ports: (u16, u16), tag in prop::option::of(1_u16..4095),
            payload in vec(any::<u8>(), 0..40),
        ) {
            let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
            let ip = if v4 {
                link.ipv4(from, to, 64)
            } else {
                link.ipv6([from; 4].concat().try_into().unwrap(), [to; 4].concat().try_into().unwrap(), 64)
            };
            let mut frame = Vec::new();
            if tcp {
                ip.tcp(ports.0, ports.1, 1, 512).ack(1).write(&mut frame, &payload).unwrap();
            } else {
                ip.udp(ports.0, ports.1).write(&mut frame, &payload).unwrap();
            }
            if let Some(tag) = tag {
                let [high, low] = tag.to_be_bytes();
                frame.splice(12..12, [0x81, 0, high, low]);
            }
            let by_path = match parse(&frame, tag) {
                Ok(Parsed::V4(packet)) => Some(key_of(&packet.key)),
                Ok(Parsed::V6(packet)) => Some(key_of(&packet.key)),
                _ => None,
            };
            prop_assert!(by_path.is_some());
            prop_assert_eq!(read(&frame), by_path);
        }
    }
}
