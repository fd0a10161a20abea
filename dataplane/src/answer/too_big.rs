//! Too big: a packet that does not fit goes back to its sender as an ICMP error that says what does
//! (RFC 1191, RFC 8201), from the address that it was sent to.

use crate::{
    port::Frame,
    wire::{
        checksum::{Checksum, Sum},
        ethernet::{Ethernet, Mac},
        icmp::{Icmp, TOO_BIG4, TOO_BIG6, TooBig},
        ipv4::{self, Ipv4},
        ipv6::{self, Ipv6},
        vlan::payload_offset,
    },
};
use zerocopy::{
    FromBytes, FromZeros, IntoBytes,
    network_endian::{U16, U32},
};

/// The longest error, in bytes with its IP header: RFC 1812, section 4.3.2.3.
const LEN_MAX4: usize = 576;
/// The same for IPv6: RFC 4443, section 2.4.
const LEN_MAX6: usize = 1280;
/// What comes before the quote.
const HEAD4: usize = 20 + 8;
const HEAD6: usize = 40 + 8;

/// DSCP of an error: internetwork control (RFC 1812, section 4.3.2.5).
const CONTROL: u8 = 0xc0;
/// How far an error goes.
const HOPS: u8 = 64;

/// Whether an error may be sent about the packet to the station that it is from: it is no error itself
/// and no later fragment (RFC 1812, section 4.3.2.7; RFC 4443, section 2.4).
pub(crate) fn may_be_told(frame: &[u8], is_own_mac: impl Fn(Mac) -> bool) -> bool {
    let link = Ethernet::ref_from_prefix(frame);
    let sender = link.map_or(Mac::BROADCAST, |(link, _)| link.source);
    if !sender.is_unicast() || is_own_mac(sender) {
        return false;
    }
    let packet = frame.get(payload_offset(frame)..).unwrap_or_default();
    match packet.first().map(|first| first >> 4) {
        Some(4) => Ipv4::ref_from_prefix(packet).is_ok_and(|(header, _)| {
            matches!(header.protocol, ipv4::TCP | ipv4::UDP) && header.fragment_offset() == 0
        }),
        _ => Ipv6::ref_from_prefix(packet).is_ok_and(|(header, _)| {
            matches!(header.next_header, ipv4::TCP | ipv4::UDP | ipv6::FRAGMENT)
        }),
    }
}

/// Turns the frame of a packet that was parsed into the error about it, for who sent it. False where
/// there is no room.
pub(crate) fn too_big<F: Frame>(frame: &mut F, mac: Mac, mtu: u16) -> bool {
    let l3 = payload_offset(frame.bytes());
    let packet = frame.bytes().get(l3..).unwrap_or_default();
    let done = match packet.first().map(|first| first >> 4) {
        Some(4) => error4(frame, l3, mtu),
        _ => error6(frame, l3, mtu),
    };
    let link = Ethernet::mut_from_prefix(frame.bytes_mut());
    match (done, link) {
        (Some(()), Ok((link, _))) => {
            link.destination = link.source;
            link.source = mac;
            true
        }
        _ => false,
    }
}

fn error4<F: Frame>(frame: &mut F, l3: usize, mtu: u16) -> Option<()> {
    let (about, _) = Ipv4::ref_from_prefix(frame.bytes().get(l3..)?).ok()?;
    let mut header = Ipv4 {
        version_length: Ipv4::PLAIN,
        traffic_class: CONTROL,
        fragment: U16::new(ipv4::DO_NOT_FRAGMENT),
        time_to_live: HOPS,
        protocol: ipv4::ICMP,
        source: about.destination,
        destination: about.source,
        ..Ipv4::new_zeroed()
    };
    let quoted = usize::from(about.total_len.get()).min(LEN_MAX4 - HEAD4);
    let message = quote(frame, l3, quoted, HEAD4)?;
    header.total_len = U16::new(u16::try_from(HEAD4 + quoted).ok()?);
    header.checksum = header.sum().checksum();
    write(message, header.as_bytes(), TOO_BIG4, mtu, Sum::default())
}

fn error6<F: Frame>(frame: &mut F, l3: usize, mtu: u16) -> Option<()> {
    let (about, _) = Ipv6::ref_from_prefix(frame.bytes().get(l3..)?).ok()?;
    let (source, destination) = (about.destination, about.source);
    let len = usize::from(Ipv6::LEN) + usize::from(about.payload_len.get());
    let quoted = len.min(LEN_MAX6 - HEAD6);
    let payload_len = u16::try_from(quoted + size_of::<TooBig>()).ok()?;
    let header = Ipv6 {
        version_class_flow: Ipv6::first_word(0, 0),
        payload_len: U16::new(payload_len),
        next_header: ipv6::ICMP,
        hop_limit: HOPS,
        source,
        destination,
    };
    let message = quote(frame, l3, quoted, HEAD6)?;
    let pseudo = Sum::pseudo6(source, destination, ipv6::ICMP, payload_len);
    write(message, header.as_bytes(), TOO_BIG6, mtu, pseudo)
}

/// Cuts the packet to what is quoted and makes room before it, behind the link's header. What follows
/// that header is the error's packet.
fn quote<F: Frame>(frame: &mut F, l3: usize, quoted: usize, head: usize) -> Option<&mut [u8]> {
    if !frame.resize(l3 + quoted) || !frame.prepend(head) {
        return None;
    }
    let bytes = frame.bytes_mut();
    bytes.copy_within(head..head + l3, 0);
    bytes.get_mut(l3..)
}

/// Writes both headers before the quote; `pseudo` is the sum of the pseudo header.
fn write(
    packet: &mut [u8],
    ip: &[u8],
    (kind, code): (u8, u8),
    mtu: u16,
    pseudo: Sum,
) -> Option<()> {
    let (header, message) = packet.split_at_mut_checked(ip.len())?;
    header.copy_from_slice(ip);
    let head = TooBig {
        icmp: Icmp {
            kind,
            code,
            checksum: Checksum::NONE,
        },
        mtu: U32::new(mtu.into()),
    };
    message
        .get_mut(..size_of::<TooBig>())?
        .copy_from_slice(head.as_bytes());
    let checksum = pseudo.bytes(message).checksum();
    TooBig::mut_from_prefix(message).ok()?.0.icmp.checksum = checksum;
    Some(())
}
