//! Parse: bytes from the wire to a [`Parsed`]. The only stage that meets unchecked bytes.
//!
//! ```text
//! link ─┬─ IPv4 ──────────────┬─ TCP, UDP ── Packet     to classify
//!       ├─ IPv6 ─ extensions ─┼─ ICMP ────── Message    to answer
//!       │                     └─ fragments ─ Packet or a later part of one
//!       └─ ARP                                          to answer
//! ```
//!
//! A pure function of the frame, which never panics. IPv4 without options and IPv6 without
//! extension headers run straight through; what is rare is out of line.

mod above;
#[cfg(test)]
mod cases;
mod extensions;
mod fragment;
mod options;
#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
mod quote;
mod transport;
mod usual;

use zerocopy::FromBytes;

use crate::fate::Fate;
use crate::key::{Key4, Key6};
use crate::wire::arp::{Arp, Kind};
use crate::wire::checksum::Sum;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::vlan::{self, Tag};
pub(crate) use above::{Above, above6};
use extensions::Upper;
use fragment::Piece;
pub(crate) use fragment::{FragmentId, fragment_id};
pub(crate) use quote::{quoted4, quoted6, told4, told6};
use transport::{Transport, transport};
pub(crate) use usual::usual4;

/// A frame whose headers are whole. Offsets are from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// TCP or UDP over IPv4.
    V4(Packet<Key4>),
    /// TCP or UDP over IPv6.
    V6(Packet<Key6>),
    /// The first fragment of such a packet over IPv4.
    First4(Packet<Key4>),
    /// The first fragment of such a packet over IPv6.
    First6(Packet<Key6>),
    /// A later fragment, of either family.
    Later(Later),
    /// ARP for IPv4 over Ethernet, at this offset.
    Arp { offset: u16 },
    /// ICMP.
    Icmp4(Message),
    /// `ICMPv6`.
    Icmp6(Message),
}

/// A packet that a service may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet<K> {
    pub(crate) key: K,
    /// Where the IP header starts.
    pub(crate) l3: u16,
    /// Where the TCP or UDP header starts.
    pub(crate) l4: u16,
    /// The flags of TCP; 0 for UDP.
    pub(crate) tcp_flags: u8,
}

/// A fragment without the ports, which only the first one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Later {
    /// Where the IP header starts.
    pub(crate) l3: u16,
}

/// An ICMP message, of which only the place is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Where the IP header starts.
    pub(crate) l3: u16,
    /// Where the ICMP header starts.
    pub(crate) l4: u16,
    /// Where the IP packet ends; what follows is padding of the frame.
    pub(crate) end: u16,
}

/// Checks and takes apart a frame of a port with this VLAN.
#[inline]
pub(crate) fn parse(frame: &[u8], vlan: Option<u16>) -> Result<Parsed, Fate> {
    parse_checked(frame, vlan, false)
}

/// The same of a frame whose IPv4 header, if it has one, needs no look at its checksum where it `is_checked`.
#[inline]
pub(crate) fn parse_checked(
    frame: &[u8],
    vlan: Option<u16>,
    is_checked: bool,
) -> Result<Parsed, Fate> {
    let Link {
        ethertype,
        l3,
        packet,
    } = link(frame, vlan)?;
    match ethertype {
        ethernet::IPV4 => parse_ipv4(packet, l3, is_checked),
        ethernet::IPV6 => parse_ipv6(packet, l3),
        ethernet::ARP => parse_arp(packet, l3),
        vlan::CUSTOMER | vlan::SERVICE => Err(Fate::BadVlan),
        _ => Err(Fate::UnknownEthertype),
    }
}

/// What a frame carries.
struct Link<'a> {
    ethertype: u16,
    /// Where it starts.
    l3: u16,
    packet: &'a [u8],
}

/// A port without a VLAN takes priority tags too: they say nothing of a VLAN (802.1Q, 6.9.1).
#[inline]
fn link(frame: &[u8], vlan: Option<u16>) -> Result<Link<'_>, Fate> {
    let (header, packet) = Ethernet::ref_from_prefix(frame).map_err(|_| Fate::FrameTruncated)?;
    let ethertype = header.ethertype.get();
    if ethertype == vlan::CUSTOMER {
        untag(packet, vlan)
    } else if vlan.is_none() {
        Ok(Link {
            ethertype,
            l3: 14,
            packet,
        })
    } else {
        Err(Fate::BadVlan)
    }
}

#[inline]
fn untag(tagged: &[u8], vlan: Option<u16>) -> Result<Link<'_>, Fate> {
    let (tag, packet) = Tag::ref_from_prefix(tagged).map_err(|_| Fate::FrameTruncated)?;
    if tag.vid() == vlan.unwrap_or(vlan::PRIORITY_ONLY) {
        Ok(Link {
            ethertype: tag.ethertype.get(),
            l3: 18,
            packet,
        })
    } else {
        Err(Fate::BadVlan)
    }
}

#[cold]
fn parse_arp(packet: &[u8], offset: u16) -> Result<Parsed, Fate> {
    let (arp, _) = Arp::ref_from_prefix(packet).map_err(|_| Fate::ArpMalformed)?;
    if arp.kind == Kind::IPV4_OVER_ETHERNET {
        Ok(Parsed::Arp { offset })
    } else {
        Err(Fate::ArpMalformed)
    }
}

#[inline]
fn parse_ipv4(packet: &[u8], l3: u16, is_checked: bool) -> Result<Parsed, Fate> {
    let (header, _) = Ipv4::ref_from_prefix(packet).map_err(|_| Fate::Ipv4Malformed)?;
    let packet = packet
        .get(..usize::from(header.total_len.get()))
        .ok_or(Fate::Ipv4Malformed)?;
    match packet.split_at_checked(usize::from(Ipv4::LEN)) {
        Some((_, payload)) if header.version_length == Ipv4::PLAIN => {
            let is_whole = is_checked || header.sum().is_whole();
            deliver_ipv4(header, is_whole, payload, l3, l3 + Ipv4::LEN)
        }
        _ => parse_options(header, packet, l3, is_checked),
    }
}

/// A header that has options, or is wrong.
#[cold]
fn parse_options(header: &Ipv4, packet: &[u8], l3: u16, is_checked: bool) -> Result<Parsed, Fate> {
    let len = header.header_len();
    if header.version() != 4 || len < Ipv4::LEN {
        return Err(Fate::Ipv4Malformed);
    }
    let split = packet.split_at_checked(usize::from(len));
    let (bytes, payload) = split.ok_or(Fate::Ipv4Malformed)?;
    let is_whole = is_checked || Sum::default().bytes(bytes).is_whole();
    if is_whole && !options::are_taken(bytes) {
        return Err(Fate::Ipv4Options);
    }
    deliver_ipv4(header, is_whole, payload, l3, l3 + len)
}

/// Takes the payload of a header whose checksum is right if it `is_whole`.
#[inline]
fn deliver_ipv4(
    header: &Ipv4,
    is_whole: bool,
    payload: &[u8],
    l3: u16,
    l4: u16,
) -> Result<Parsed, Fate> {
    if !is_whole {
        return Err(Fate::Ipv4Checksum);
    }
    if header.is_fragment() {
        return fragment_ipv4(header, payload, l3, l4);
    }
    if header.protocol == ipv4::ICMP {
        return message(l3, l4, payload)
            .map(Parsed::Icmp4)
            .ok_or(Fate::Ipv4Malformed);
    }
    let transport = transport(header.protocol, payload)?;
    Ok(Parsed::V4(packet4(header, &transport, l3, l4)))
}

#[cold]
fn fragment_ipv4(header: &Ipv4, payload: &[u8], l3: u16, l4: u16) -> Result<Parsed, Fate> {
    let piece = Piece {
        offset: header.fragment_offset(),
        has_more: header.has_more_fragments(),
        len: payload.len(),
    };
    Ok(match piece.check(header.protocol, payload)? {
        Some(transport) => Parsed::First4(packet4(header, &transport, l3, l4)),
        None => Parsed::Later(Later { l3 }),
    })
}

#[inline]
fn packet4(header: &Ipv4, transport: &Transport, l3: u16, l4: u16) -> Packet<Key4> {
    let key = Key4 {
        source: u32::from_ne_bytes(header.source),
        destination: u32::from_ne_bytes(header.destination),
        ports: transport.ports,
        protocol: transport.protocol,
    };
    let tcp_flags = transport.flags;
    Packet {
        key,
        l3,
        l4,
        tcp_flags,
    }
}

/// A payload length of 0 is refused: nothing that is taken here has it, but jumbograms (RFC 2675).
#[inline]
fn parse_ipv6(packet: &[u8], l3: u16) -> Result<Parsed, Fate> {
    let (header, rest) = Ipv6::ref_from_prefix(packet).map_err(|_| Fate::Ipv6Malformed)?;
    let payload_len = usize::from(header.payload_len.get());
    if header.version() != 6 || payload_len == 0 {
        return Err(Fate::Ipv6Malformed);
    }
    let payload = rest.get(..payload_len).ok_or(Fate::Ipv6Malformed)?;
    let Upper {
        protocol,
        payload,
        skipped,
        piece,
    } = match header.next_header {
        protocol @ (ipv4::TCP | ipv4::UDP | ipv6::ICMP) => Upper {
            protocol,
            payload,
            skipped: 0,
            piece: None,
        },
        first => extensions::skip(first, payload)?,
    };
    let l4 = l3 + Ipv6::LEN + skipped;
    if let Some(piece) = piece {
        return Ok(match piece.check(protocol, payload)? {
            Some(transport) => Parsed::First6(packet6(header, &transport, l3, l4)),
            None => Parsed::Later(Later { l3 }),
        });
    }
    if protocol == ipv6::ICMP {
        return message(l3, l4, payload)
            .map(Parsed::Icmp6)
            .ok_or(Fate::Ipv6Malformed);
    }
    let transport = transport(protocol, payload)?;
    Ok(Parsed::V6(packet6(header, &transport, l3, l4)))
}

#[inline]
fn packet6(header: &Ipv6, transport: &Transport, l3: u16, l4: u16) -> Packet<Key6> {
    let key = Key6 {
        source: header.source,
        destination: header.destination,
        ports: transport.ports,
        protocol: transport.protocol,
    };
    let tcp_flags = transport.flags;
    Packet {
        key,
        l3,
        l4,
        tcp_flags,
    }
}

/// A message in `payload`, if it ends where a frame can.
#[inline]
fn message(l3: u16, l4: u16, payload: &[u8]) -> Option<Message> {
    let end = l4.checked_add(u16::try_from(payload.len()).ok()?)?;
    Some(Message { l3, l4, end })
}
