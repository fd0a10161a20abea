//! Full NAT between IPv4 and IPv6: a packet gets the header of the other family (RFC 7915), from and to
//! the ends that its session says.
//!
//! What changes in sums is the pseudo header and the ports, so TCP and UDP checksums are updated by
//! that; only a datagram over IPv4 that has none is summed, since IPv6 demands it. IPv4 options and
//! IPv6 extension headers are left behind (sections 4.1 and 5.1). Fragments are not translated.

mod error;

use super::{Unfit, clamp::clamp_mss};
use crate::{
    fate::Fate,
    parse::{Above, above6},
    port::Frame,
    wire::{
        checksum::{Checksum, Sum},
        ethernet,
        ipv4::{self, Ipv4},
        ipv6::{self, Ipv6},
    },
};
use std::net::{IpAddr, SocketAddr};
use zerocopy::{FromBytes, FromZeros, IntoBytes, network_endian::U16};

/// What the other header adds to a packet over IPv4 without options.
const GROWTH: u16 = Ipv6::LEN - Ipv4::LEN;
/// The longest packet that may be cut on an IPv4 link (RFC 7915, section 5.1).
const UNCUT: u16 = 1260;
/// The headers of a TCP segment over IPv6.
const TCP6: u16 = Ipv6::LEN + 20;

/// Where a packet comes from and goes to, of the family that it gets.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// What of an IP header goes over into the other one.
#[derive(Clone, Copy, Debug)]
struct Header {
    traffic_class: u8,
    hops: u8,
    protocol: u8,
    /// Where what it carries begins and ends in the packet.
    from: usize,
    end: usize,
    /// The sum of both addresses.
    addresses: Sum,
    is_fragment: bool,
}

/// Whether the packet of a frame is of the other family than its ends.
pub(super) fn differs(packet: &[u8], (from, _): Ends) -> bool {
    let is_v4 = packet.first().is_some_and(|first| first >> 4 == 4);
    is_v4 != from.is_ipv4()
}

/// Translates the packet at `l3` of a frame for a link of this MTU.
pub(super) fn translate<F: Frame>(
    frame: &mut F,
    l3: usize,
    ends: Ends,
    mtu: u16,
) -> Result<(), Unfit> {
    let packet = frame.bytes_mut().get_mut(l3..).ok_or(Unfit::NoRoom)?;
    let header = read(packet).ok_or(Unfit::NoRoom)?;
    if header.is_fragment {
        return Err(Unfit::Dropped(Fate::FamilyFragment));
    }
    if header.hops <= 1 {
        return Err(Unfit::OutOfHops);
    }
    if matches!(header.protocol, ipv4::ICMP | ipv6::ICMP) {
        return error::translate(frame, l3, &header, ends);
    }
    check_len(&header, ends, mtu)?;
    if ends.0.is_ipv6() {
        clamp_mss(packet, mtu - TCP6);
    }
    let segment = packet.get_mut(header.from..header.end);
    let segment = segment.ok_or(Unfit::NoRoom)?;
    let sum = segment_to(segment, &header, ends).ok_or(Unfit::NoRoom)?;
    change_header(frame, l3, &header, ends, sum).ok_or(Unfit::NoRoom)
}

/// Refuses what is too long for the link; its sender is told the length in its own family.
fn check_len(header: &Header, ends: Ends, mtu: u16) -> Result<(), Unfit> {
    let new = if ends.0.is_ipv4() {
        Ipv4::LEN
    } else {
        Ipv6::LEN
    };
    let room = mtu.saturating_sub(new);
    if header.end - header.from <= usize::from(room) {
        return Ok(());
    }
    let head = u16::try_from(header.from).unwrap_or(u16::MAX);
    Err(Unfit::TooBig(room.saturating_add(head)))
}

fn read(packet: &[u8]) -> Option<Header> {
    if packet.first()? >> 4 == 4 {
        let (header, _) = Ipv4::ref_from_prefix(packet).ok()?;
        return Some(Header {
            traffic_class: header.traffic_class,
            hops: header.time_to_live,
            protocol: header.protocol,
            from: header.header_len().into(),
            end: header.total_len.get().into(),
            addresses: Sum::default()
                .bytes(&header.source)
                .bytes(&header.destination),
            is_fragment: header.is_fragment(),
        });
    }
    let (header, _) = Ipv6::ref_from_prefix(packet).ok()?;
    let Above {
        protocol,
        from,
        is_piece,
        ..
    } = above6(packet)?;
    Some(Header {
        traffic_class: header.traffic_class(),
        hops: header.hop_limit,
        protocol,
        from,
        end: usize::from(Ipv6::LEN) + usize::from(header.payload_len.get()),
        addresses: Sum::default()
            .bytes(&header.source)
            .bytes(&header.destination),
        is_fragment: is_piece,
    })
}

/// Writes the ports of a TCP or UDP header and its checksum, which is given back, as far as they are
/// there: quotes may end before.
fn segment_to(segment: &mut [u8], header: &Header, ends: Ends) -> Option<Checksum> {
    let (from, to) = ends;
    let ports: &mut [u8; 4] = segment.first_chunk_mut()?;
    let was = header.addresses.bytes(ports);
    for (field, port) in ports.chunks_exact_mut(2).zip([from.port(), to.port()]) {
        if port != 0 {
            field.copy_from_slice(&port.to_be_bytes());
        }
    }
    let is = sum_of(ends).bytes(ports);
    let is_udp = header.protocol == ipv4::UDP;
    let at = if is_udp { 6 } else { 16 };
    let Some(field) = segment.get_mut(at..at + 2) else {
        return Some(Checksum::NONE);
    };
    let checksum = Checksum::mut_from_bytes(field).ok()?;
    if is_udp && *checksum == Checksum::NONE {
        if from.is_ipv4() {
            return Some(Checksum::NONE);
        }
        let len = u16::try_from(segment.len()).ok()?;
        let pseudo = sum_of(ends).word(ipv4::UDP.into()).word(len);
        let checksum = pseudo.bytes(segment).checksum().nonzero();
        segment.get_mut(at..at + 2)?.copy_from_slice(&checksum.0);
        return Some(checksum);
    }
    *checksum = checksum.replace(was, is);
    if is_udp {
        *checksum = checksum.nonzero();
    }
    Some(*checksum)
}

/// The sum of both addresses.
fn sum_of((from, to): Ends) -> Sum {
    let add = |sum: Sum, end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => sum.bytes(&ip.octets()),
        IpAddr::V6(ip) => sum.bytes(&ip.octets()),
    };
    add(add(Sum::default(), from), to)
}

/// Puts the new header in the place of the old one, and what carries it before it.
fn change_header<F: Frame>(
    frame: &mut F,
    l3: usize,
    header: &Header,
    ends: Ends,
    checksum: Checksum,
) -> Option<()> {
    let new = if ends.0.is_ipv4() {
        Ipv4::LEN
    } else {
        Ipv6::LEN
    };
    resize_head(frame, l3, header, new.into())?;
    let payload_len = u16::try_from(header.end - header.from).ok()?;
    let bytes = frame.bytes_mut();
    write_header(bytes.get_mut(l3..)?, header, ends, payload_len, checksum)?;
    let ethertype = if ends.0.is_ipv4() {
        ethernet::IPV4
    } else {
        ethernet::IPV6
    };
    bytes
        .get_mut(l3 - 2..l3)?
        .copy_from_slice(&ethertype.to_be_bytes());
    Some(())
}

/// Makes room for a header of `new` bytes; what is behind the packet is cut off.
fn resize_head<F: Frame>(frame: &mut F, l3: usize, header: &Header, new: usize) -> Option<()> {
    let fits = frame.resize(l3 + header.end);
    if new > header.from {
        let more = new - header.from;
        (fits && frame.prepend(more)).then_some(())?;
        frame.bytes_mut().copy_within(more..more + l3, 0);
    } else {
        let less = header.from - new;
        frame.bytes_mut().get(..l3 + less)?;
        frame.bytes_mut().copy_within(..l3, less);
        (fits && frame.trim(less)).then_some(())?;
    }
    Some(())
}

fn write_header(
    packet: &mut [u8],
    header: &Header,
    (from, to): Ends,
    payload_len: u16,
    checksum: Checksum,
) -> Option<()> {
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total_len = payload_len.checked_add(Ipv4::LEN)?;
            let (fragment, identification) = if total_len > UNCUT {
                (ipv4::DO_NOT_FRAGMENT, 0)
            } else {
                (0, u16::from_be_bytes(checksum.0))
            };
            let mut new = Ipv4 {
                version_length: Ipv4::PLAIN,
                traffic_class: header.traffic_class,
                total_len: U16::new(total_len),
                identification: U16::new(identification),
                fragment: U16::new(fragment),
                time_to_live: header.hops - 1,
                protocol: header.protocol,
                source: from.octets(),
                destination: to.octets(),
                ..Ipv4::new_zeroed()
            };
            new.checksum = new.sum().checksum();
            new.write_to_prefix(packet).ok()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => Ipv6 {
            version_class_flow: Ipv6::first_word(header.traffic_class, 0),
            payload_len: U16::new(payload_len),
            next_header: header.protocol,
            hop_limit: header.hops - 1,
            source: from.octets(),
            destination: to.octets(),
        }
        .write_to_prefix(packet)
        .ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
