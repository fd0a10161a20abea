//! ICMP errors (RFC 792, RFC 4443 section 2.4): whose packet one quotes.
//!
//! An error about a packet that a backend sent comes to the VIP and quotes that packet, in which VIP
//! and client stand the other way round than in what the client sends. One about a packet that the
//! forwarder itself sent through a tunnel comes to the address that it sent from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::FromBytes;

use super::extensions;
use super::{Message, Piece};
use crate::fate::Fate;
use crate::key::{Key4, Key6, Ports, Protocol};
use crate::tables::{id::PortId, tunnel::Quote};
use crate::wire::checksum::Sum;
use crate::wire::icmp::{self, TooBig};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};

/// What stands before the quoted packet, in bytes.
const HEAD: usize = 8;

/// What an ICMP error tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quoted<K, A> {
    /// The flow, as its client's packets have it.
    pub(crate) key: K,
    /// Who tells.
    pub(crate) sender: A,
}

/// What an ICMP error tells; `None` where the message is no error.
pub(crate) fn quoted4(frame: &[u8], at: Message) -> Result<Option<Quoted<Key4, [u8; 4]>>, Fate> {
    let (outer, message) = layers::<Ipv4>(frame, at)?;
    if !message.first().is_some_and(|kind| icmp::is_error4(*kind)) {
        return Ok(None);
    }
    let quote = quote(message, Sum::default())?;
    let (header, _) = Ipv4::ref_from_prefix(quote).map_err(|_| Fate::IcmpMalformed)?;
    if header.version() != 4 || header.header_len() < Ipv4::LEN {
        return Err(Fate::IcmpMalformed);
    }
    if header.source != outer.destination {
        return Err(Fate::IcmpUnhandled);
    }
    if header.fragment_offset() != 0 {
        return Err(Fate::IcmpNoFlow);
    }
    let payload = quote.get(usize::from(header.header_len())..);
    let (protocol, ports) = turned(header.protocol, payload.unwrap_or_default())?;
    let key = Key4 {
        source: u32::from_ne_bytes(header.destination),
        destination: u32::from_ne_bytes(header.source),
        ports,
        protocol,
    };
    let sender = outer.source;
    Ok(Some(Quoted { key, sender }))
}

/// The same of an `ICMPv6` message.
pub(crate) fn quoted6(frame: &[u8], at: Message) -> Result<Option<Quoted<Key6, [u8; 16]>>, Fate> {
    let (outer, message) = layers::<Ipv6>(frame, at)?;
    if !message.first().is_some_and(|kind| icmp::is_error6(*kind)) {
        return Ok(None);
    }
    let len = at.end - at.l4;
    let pseudo = Sum::pseudo6(outer.source, outer.destination, ipv6::ICMP, len);
    let quote = quote(message, pseudo)?;
    let (header, rest) = Ipv6::ref_from_prefix(quote).map_err(|_| Fate::IcmpMalformed)?;
    if header.version() != 6 {
        return Err(Fate::IcmpMalformed);
    }
    if header.source != outer.destination {
        return Err(Fate::IcmpUnhandled);
    }
    let upper = extensions::skip(header.next_header, rest).map_err(|_| Fate::IcmpMalformed)?;
    if upper.piece.is_some_and(Piece::is_later) {
        return Err(Fate::IcmpNoFlow);
    }
    let (protocol, ports) = turned(upper.protocol, upper.payload)?;
    let key = Key6 {
        source: header.destination,
        destination: header.source,
        ports,
        protocol,
    };
    let sender = outer.source;
    Ok(Some(Quoted { key, sender }))
}

/// An error about a packet, by its first headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) quote: Quote,
    /// Where it was too big: how long it might have been, or 0.
    pub(crate) mtu: Option<u32>,
}

/// What an ICMP error says about a packet from the address that it came to; `None` where the message is
/// none or not whole.
pub(crate) fn told4(frame: &[u8], at: Message, came_by: PortId) -> Option<Told> {
    let (outer, message) = layers::<Ipv4>(frame, at).ok()?;
    icmp::is_error4(*message.first()?).then_some(())?;
    let (header, _) = Ipv4::ref_from_prefix(quote(message, Sum::default()).ok()?).ok()?;
    let payload = message.get(HEAD + usize::from(header.header_len())..);
    let (head, _) = TooBig::ref_from_prefix(message).ok()?;
    let is_too_big = (head.icmp.kind, head.icmp.code) == icmp::TOO_BIG4;
    let is_sent = header.version() == 4 && header.source == outer.destination;
    is_sent.then_some(Told {
        quote: Quote {
            came_by,
            source: IpAddr::V4(Ipv4Addr::from_octets(header.source)),
            destination: IpAddr::V4(Ipv4Addr::from_octets(header.destination)),
            protocol: header.protocol,
            port: udp_port(header.protocol, payload.unwrap_or_default()),
            len: header.total_len.get(),
        },
        mtu: is_too_big.then_some(head.mtu.get() & 0xffff),
    })
}

/// The same of an `ICMPv6` message.
pub(crate) fn told6(frame: &[u8], at: Message, came_by: PortId) -> Option<Told> {
    let (outer, message) = layers::<Ipv6>(frame, at).ok()?;
    icmp::is_error6(*message.first()?).then_some(())?;
    let len = at.end - at.l4;
    let pseudo = Sum::pseudo6(outer.source, outer.destination, ipv6::ICMP, len);
    let (header, payload) = Ipv6::ref_from_prefix(quote(message, pseudo).ok()?).ok()?;
    let (head, _) = TooBig::ref_from_prefix(message).ok()?;
    let is_too_big = (head.icmp.kind, head.icmp.code) == icmp::TOO_BIG6;
    let is_sent = header.version() == 6 && header.source == outer.destination;
    is_sent.then_some(Told {
        quote: Quote {
            came_by,
            source: IpAddr::V6(Ipv6Addr::from_octets(header.source)),
            destination: IpAddr::V6(Ipv6Addr::from_octets(header.destination)),
            protocol: header.next_header,
            port: udp_port(header.next_header, payload),
            len: Ipv6::LEN.saturating_add(header.payload_len.get()),
        },
        mtu: is_too_big.then_some(head.mtu.get()),
    })
}

/// The destination port of a quoted datagram.
fn udp_port(protocol: u8, payload: &[u8]) -> Option<u16> {
    let [_, _, high, low] = *payload.first_chunk()?;
    (protocol == ipv4::UDP).then_some(u16::from_be_bytes([high, low]))
}

/// The IP header without what extends it, and the message.
fn layers<L3: FromBytes + zerocopy::Immutable + zerocopy::KnownLayout>(
    frame: &[u8],
    at: Message,
) -> Result<(&L3, &[u8]), Fate> {
    let network = frame.get(at.l3.into()..).unwrap_or_default();
    let (network, _) = L3::ref_from_prefix(network).map_err(|_| Fate::IcmpMalformed)?;
    let message = frame.get(at.l4.into()..at.end.into());
    Ok((network, message.ok_or(Fate::IcmpMalformed)?))
}

/// What a whole message quotes, given the sum of its pseudo header.
fn quote(message: &[u8], pseudo: Sum) -> Result<&[u8], Fate> {
    if !pseudo.bytes(message).is_whole() {
        return Err(Fate::IcmpMalformed);
    }
    message.get(HEAD..).ok_or(Fate::IcmpMalformed)
}

/// Protocol and ports of a quoted header, turned round. RFC 792 promises 8 bytes of it, of which the
/// ports are the first 4.
fn turned(protocol: u8, payload: &[u8]) -> Result<(Protocol, Ports), Fate> {
    let protocol = match protocol {
        ipv4::TCP => Protocol::Tcp,
        ipv4::UDP => Protocol::Udp,
        _ => return Err(Fate::IcmpUnhandled),
    };
    let bytes = payload.first_chunk().ok_or(Fate::IcmpMalformed)?;
    let ports = Ports(u32::from_ne_bytes(*bytes));
    Ok((protocol, Ports::new(ports.destination(), ports.source())))
}
