//! ICMP errors about what a backend was sent, for its client: the number in the quote is the client's
//! again, by which its stack knows the segment (RFC 5927, section 4), and a packet may be the header
//! shorter than the router says.

use super::place::Stream;
use crate::{
    parse::{Above, above6},
    wire::{
        icmp::{self, TooBig},
        ipv4::{self, Ipv4},
        ipv6,
    },
};
use zerocopy::{FromBytes, network_endian::U32};

/// Where the number stands in a TCP header.
const SEQUENCE: std::ops::Range<usize> = 4..8;

/// Moves the number in the quote. Checksums are for the translation, which sums errors anew.
pub(super) fn move_back(packet: &mut [u8], stream: Stream) -> Option<()> {
    let (protocol, from) = above(packet)?;
    let message = packet.get_mut(from..)?;
    let kind = *message.first()?;
    let is_error = match protocol {
        ipv4::ICMP => icmp::is_error4(kind),
        ipv6::ICMP => icmp::is_error6(kind),
        _ => false,
    };
    is_error.then_some(())?;
    let (head, quote) = TooBig::mut_from_prefix(message).ok()?;
    lower(head, protocol, stream.len);
    let (ipv4::TCP, from) = above(quote)? else {
        return None;
    };
    let number: &mut [u8; 4] = quote.get_mut(from..)?.get_mut(SEQUENCE)?.try_into().ok()?;
    *number = stream.back(u32::from_be_bytes(*number)).to_be_bytes();
    Some(())
}

/// What a packet carries, and where.
fn above(packet: &[u8]) -> Option<(u8, usize)> {
    if packet.first()? >> 4 == 4 {
        let (ip, _) = Ipv4::ref_from_prefix(packet).ok()?;
        let is_first = ip.fragment_offset() == 0;
        return is_first.then(|| (ip.protocol, ip.header_len().into()));
    }
    let Above {
        protocol,
        from,
        is_later,
        ..
    } = above6(packet)?;
    (!is_later).then_some((protocol, from))
}

/// Leaves room for the header in how long a packet may be. 0 says nothing.
fn lower(head: &mut TooBig, protocol: u8, len: u16) {
    let said = (head.icmp.kind, head.icmp.code);
    let least = match protocol {
        ipv4::ICMP if said == icmp::TOO_BIG4 => 68,
        ipv6::ICMP if said == icmp::TOO_BIG6 => 1280,
        _ => return,
    };
    let mtu = head.mtu.get();
    if mtu > least {
        head.mtu = U32::new(mtu.saturating_sub(len.into()).max(least));
    }
}
