//! NAT: a packet gets another destination on its way to a backend, and another source on its way
//! back. Checksums are updated by what changes (RFC 1624); a hop is counted, as at every router.
//!
//! An ICMP error gets the same, and so does the packet that it quotes, where the ends stand the other
//! way round (RFC 5508, section 4.2). Of later fragments only the addresses change.

use super::{Unfit, families};
use crate::wire::vlan::payload_offset;
use crate::{
    parse::{Above, above6},
    port::Frame,
    wire::{
        checksum::{Checksum, Sum},
        icmp::Icmp,
        ipv4::{self, Ipv4},
        ipv6::{self, Ipv6},
    },
};
use std::net::{IpAddr, SocketAddr};
use zerocopy::FromBytes;

/// What stands before the packet that an ICMP error quotes, in bytes.
const ERROR_HEAD: usize = 8;
/// Where the checksum stands in a TCP header.
const TCP_CHECKSUM: usize = 16;
/// Where it stands in a UDP header.
const UDP_CHECKSUM: usize = 6;

/// Which address and port of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}

/// What changes in the sum of a pseudo header: what was there, and what is.
#[derive(Clone, Copy)]
struct Change {
    was: Sum,
    is: Sum,
}

/// Writes an address, and a port unless it is 0, into the packet of a frame for a link of this MTU.
///
/// Out of line, so that direct server return stays as short as it was.
#[inline(never)]
pub(super) fn translate<F: Frame>(
    frame: &mut F,
    side: Side,
    to: SocketAddr,
    mtu: u16,
) -> Result<(), Unfit> {
    let l3 = payload_offset(frame.bytes());
    let packet = frame.bytes_mut().get_mut(l3..).ok_or(Unfit::NoRoom)?;
    pass(packet, mtu)?;
    address(packet, side, to).ok_or(Unfit::NoRoom)
}

/// The same for both ends: from where the packet shall come, and where it shall go.
#[inline(never)]
pub(super) fn translate_both<F: Frame>(
    frame: &mut F,
    (from, to): (SocketAddr, SocketAddr),
    mtu: u16,
) -> Result<(), Unfit> {
    let l3 = payload_offset(frame.bytes());
    let packet = frame.bytes_mut().get_mut(l3..).ok_or(Unfit::NoRoom)?;
    if families::differs(packet, (from, to)) {
        return families::translate(frame, l3, (from, to), mtu);
    }
    pass(packet, mtu)?;
    address(packet, Side::Source, from).ok_or(Unfit::NoRoom)?;
    address(packet, Side::Destination, to).ok_or(Unfit::NoRoom)
}

/// Counts the hop of a packet that may go on.
fn pass(packet: &mut [u8], mtu: u16) -> Result<(), Unfit> {
    if let Some(4) = packet.first().map(|first| first >> 4) {
        let header = Ipv4::mut_from_prefix(packet);
        let (header, _) = header.map_err(|_| Unfit::NoRoom)?;
        if header.time_to_live <= 1 {
            return Err(Unfit::OutOfHops);
        }
        if header.total_len.get() > mtu {
            return Err(Unfit::TooBig(mtu));
        }
        header.set_time_to_live(header.time_to_live - 1);
    } else {
        let header = Ipv6::mut_from_prefix(packet);
        let (header, _) = header.map_err(|_| Unfit::NoRoom)?;
        if header.hop_limit <= 1 {
            return Err(Unfit::OutOfHops);
        }
        if header.payload_len.get() > mtu.saturating_sub(Ipv6::LEN) {
            return Err(Unfit::TooBig(mtu));
        }
        header.hop_limit -= 1;
    }
    Ok(())
}

/// `None` where the packet is not one that the path decides about.
fn address(packet: &mut [u8], side: Side, to: SocketAddr) -> Option<()> {
    match to.ip() {
        IpAddr::V4(ip) => address4(packet, side, ip.octets(), to),
        IpAddr::V6(ip) => address6(packet, side, ip.octets(), to),
    }
}

fn address4(packet: &mut [u8], side: Side, ip: [u8; 4], to: SocketAddr) -> Option<()> {
    let (header, _) = Ipv4::mut_from_prefix(packet).ok()?;
    let field = match side {
        Side::Source => &mut header.source,
        Side::Destination => &mut header.destination,
    };
    let change = Change {
        was: Sum::default().bytes(field),
        is: Sum::default().bytes(&ip),
    };
    *field = ip;
    header.checksum = header.checksum.replace(change.was, change.is);
    if header.fragment_offset() != 0 {
        return Some(());
    }
    let (protocol, from) = (header.protocol, usize::from(header.header_len()));
    let end = usize::from(header.total_len.get());
    let end = end.min(packet.len());
    let payload = packet.get_mut(from..end)?;
    if protocol != ipv4::ICMP {
        return port(payload, protocol, side, to.port(), change);
    }
    address(payload.get_mut(ERROR_HEAD..)?, side.other(), to)?;
    sum_error(payload, Sum::default())
}

fn address6(packet: &mut [u8], side: Side, ip: [u8; 16], to: SocketAddr) -> Option<()> {
    let Above {
        protocol,
        from,
        is_later,
        ..
    } = above6(packet)?;
    let (header, _) = Ipv6::mut_from_prefix(packet).ok()?;
    let field = match side {
        Side::Source => &mut header.source,
        Side::Destination => &mut header.destination,
    };
    let change = Change {
        was: Sum::default().bytes(field),
        is: Sum::default().bytes(&ip),
    };
    *field = ip;
    if is_later {
        return Some(());
    }
    let (source, destination) = (header.source, header.destination);
    let end = usize::from(Ipv6::LEN) + usize::from(header.payload_len.get());
    let end = end.min(packet.len());
    let payload = packet.get_mut(from..end)?;
    if protocol != ipv6::ICMP {
        return port(payload, protocol, side, to.port(), change);
    }
    address(payload.get_mut(ERROR_HEAD..)?, side.other(), to)?;
    let len = u16::try_from(payload.len()).ok()?;
    let pseudo = Sum::pseudo6(source, destination, ipv6::ICMP, len);
    sum_error(payload, pseudo)
}

/// Writes the port, and what it and the address change in the checksum, as far as these are there:
/// quotes may end before.
fn port(segment: &mut [u8], protocol: u8, side: Side, port: u16, change: Change) -> Option<()> {
    let ports = segment.get_mut(..4)?;
    let field = match side {
        Side::Source => &mut ports[..2],
        Side::Destination => &mut ports[2..],
    };
    let was = change.was.bytes(field);
    if port != 0 {
        field.copy_from_slice(&port.to_be_bytes());
    }
    let is = change.is.bytes(field);
    let is_udp = protocol == ipv4::UDP;
    let at = if is_udp { UDP_CHECKSUM } else { TCP_CHECKSUM };
    let Some(field) = segment.get_mut(at..at + 2) else {
        return Some(());
    };
    let checksum = Checksum::mut_from_bytes(field).ok()?;
    if !is_udp {
        *checksum = checksum.replace(was, is);
    } else if *checksum != Checksum::NONE {
        *checksum = checksum.replace(was, is).nonzero();
    }
    Some(())
}

/// Sums an error, which was whole, anew: what changes in it is scattered, and errors are few.
fn sum_error(message: &mut [u8], pseudo: Sum) -> Option<()> {
    Icmp::mut_from_prefix(message).ok()?.0.checksum = Checksum::NONE;
    let checksum = pseudo.bytes(message).checksum();
    Icmp::mut_from_prefix(message).ok()?.0.checksum = checksum;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        port::memory::{MemoryFrame, Pool},
        samples::{tcp4, tcp6, udp4},
    };
    use proptest::{collection::vec, prelude::*};
    use std::sync::Arc;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn frame_of(bytes: &[u8]) -> MemoryFrame {
        MemoryFrame::copied(&Arc::new(Pool::new(1)), bytes).unwrap()
    }

    /// As the frame stands after a translation.
    fn translated(bytes: &[u8], side: Side, to: SocketAddr) -> Vec<u8> {
        let mut frame = frame_of(bytes);
        assert_eq!(translate(&mut frame, side, to, 1500), Ok(()));
        frame.bytes().to_vec()
    }

    #[test]
    fn what_was_there_before_comes_back() {
        for (frame, to) in [
            (tcp4(), at("10.1.2.3:8080")),
            (udp4(), at("10.1.2.3:8080")),
            (tcp6(), at("[fd00::1:2]:8080")),
        ] {
            let (l4, was) = match to {
                SocketAddr::V4(_) => (
                    34,
                    std::net::Ipv4Addr::from_octets(chunk(&frame, 30)).into(),
                ),
                SocketAddr::V6(_) => (
                    54,
                    std::net::Ipv6Addr::from_octets(chunk(&frame, 38)).into(),
                ),
            };
            let was = SocketAddr::new(was, u16::from_be_bytes(chunk(&frame, l4 + 2)));
            let there = translated(&frame, Side::Destination, to);
            assert_eq!(there[l4 + 2..l4 + 4], 8080_u16.to_be_bytes());
            let back = translated(&there, Side::Destination, was);
            assert_eq!(back[l4..], frame[l4..]);
        }
    }

    fn chunk<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
        frame[at..at + N].try_into().unwrap()
    }

    proptest! {
        /// Only what was parsed comes here; whatever comes, nothing panics and lengths are kept.
        #[test]
        fn any_bytes_are_translated_or_refused(
            mut bytes in vec(any::<u8>(), 0..200),
            version in prop::sample::select(vec![0x45_u8, 0x60]),
            protocol in prop::sample::select(vec![1_u8, 6, 17, 44, 58]),
            is_source: bool,
        ) {
            if let Some(packet) = bytes.get_mut(14..24) {
                packet[0] = version;
                packet[if version == 0x60 { 6 } else { 9 }] = protocol;
            }
            let side = if is_source { Side::Source } else { Side::Destination };
            for to in [at("10.1.2.3:80"), at("[fd00::1]:80")] {
                let mut frame = frame_of(&bytes);
                let _ = translate(&mut frame, side, to, 1500);
                prop_assert_eq!(frame.bytes().len(), bytes.len());
            }
        }
    }
}
