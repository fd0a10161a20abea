//! What `etherparse` makes of a frame, to hold `parse` to it.

#[cfg(test)]
mod properties;

use std::net::IpAddr;

use etherparse::{NetSlice, SlicedPacket, TransportSlice, VlanSlice};

use super::{Packet, Parsed, parse};
use crate::key::{FlowKey, Protocol};

/// What both tell of a packet, in the words of neither.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    /// Of the port that takes it; a priority tag names none.
    vlan: Option<u16>,
    addresses: (IpAddr, IpAddr),
    ports: (u16, u16),
    protocol: Protocol,
    l3: usize,
    l4: usize,
    flags: u8,
}

impl Told {
    fn new<K: FlowKey>(packet: Packet<K>, vlan: Option<u16>) -> Self {
        let Packet {
            key,
            l3,
            l4,
            tcp_flags,
        } = packet;
        Self {
            vlan,
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
pub(crate) fn told(frame: &[u8]) -> Option<Told> {
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
    let vlan = vlan(&sliced);
    let told = |ports, protocol, slice, flags| {
        Some(Told {
            vlan,
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

/// What `parse` tells of a frame of TCP or UDP that it takes.
pub(crate) fn ours(frame: &[u8], vlan: Option<u16>) -> Option<Told> {
    match parse(frame, vlan).ok()? {
        Parsed::V4(packet) => Some(Told::new(packet, vlan)),
        Parsed::V6(packet) => Some(Told::new(packet, vlan)),
        _ => None,
    }
}

/// The VID of the one tag. Two have one that no port has.
fn vlan(sliced: &SlicedPacket) -> Option<u16> {
    match sliced.vlan()? {
        VlanSlice::SingleVlan(tag) => Some(tag.vlan_identifier().value()).filter(|vid| *vid != 0),
        VlanSlice::DoubleVlan(_) => Some(u16::MAX),
    }
}

/// The Internet checksum word by word, as in RFC 1071, section 4.1.
pub(crate) fn rfc1071(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [.., high, low] = sum.to_be_bytes();
    !u16::from_be_bytes([high, low])
}
