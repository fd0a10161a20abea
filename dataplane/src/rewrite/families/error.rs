//! ICMP errors in the other family: type and code by what they mean (RFC 7915, sections 4.2 and 5.2),
//! the quoted packet with the header and the ends that its receiver knows it by.
//!
//! Built in memory of its own and copied: errors are few.

use super::{Ends, GROWTH, Header, read, segment_to, write_header};
use crate::{
    fate::Fate,
    port::Frame,
    rewrite::Unfit,
    wire::{
        checksum::{Checksum, Sum},
        ethernet,
        icmp::{Icmp, TooBig},
        ipv4::{self, Ipv4},
        ipv6::{self, Ipv6},
    },
};
use arrayvec::ArrayVec;
use std::net::IpAddr;
use zerocopy::{FromBytes, IntoBytes, network_endian::U32};

/// The longest error that everybody takes, with its IP header: RFC 1812, section 4.3.2.3, and RFC
/// 4443, section 2.4.
const LONGEST4: usize = 576;
const LONGEST6: usize = 1280;
/// The least MTU of IPv6.
const LEAST6: u32 = 1280;

/// Translates the error in the packet at `l3`, whose header was read.
pub(super) fn translate<F: Frame>(
    frame: &mut F,
    l3: usize,
    header: &Header,
    ends: Ends,
) -> Result<(), Unfit> {
    let untold = Unfit::Dropped(Fate::FamilyIcmp);
    let packet = frame.bytes().get(l3..).unwrap_or_default();
    let message = packet.get(header.from..header.end).ok_or(Unfit::NoRoom)?;
    let (head, quote) = TooBig::ref_from_prefix(message).map_err(|_| Unfit::NoRoom)?;
    let new = if ends.0.is_ipv6() {
        head_to6(*head)
    } else {
        head_to4(*head)
    };
    let new = new.ok_or(untold)?;
    let mut built = Built::new();
    let done = build(&mut built, header, new, quote, ends);
    done.ok_or(Unfit::NoRoom)?;
    let ethertype = if ends.0.is_ipv6() {
        ethernet::IPV6
    } else {
        ethernet::IPV4
    };
    let fits = frame.resize(l3 + built.len());
    let room = frame.bytes_mut().get_mut(l3 - 2..).filter(|_| fits);
    let (tag, packet) = room
        .and_then(|room| room.split_at_mut_checked(2))
        .ok_or(Unfit::NoRoom)?;
    tag.copy_from_slice(&ethertype.to_be_bytes());
    packet.copy_from_slice(&built);
    Ok(())
}

/// An error with its IP header.
type Built = ArrayVec<u8, LONGEST6>;

/// Type, code and the word after the checksum, over IPv6.
fn head_to6(head: TooBig) -> Option<TooBig> {
    let (kind, code, word) = match (head.icmp.kind, head.icmp.code) {
        (3, 2) => (4, 1, 6),
        (3, 3) => (1, 4, 0),
        (3, 4) => {
            let mtu = head.mtu.get() & 0xffff;
            (2, 0, (mtu + u32::from(GROWTH)).max(LEAST6))
        }
        (3, 9 | 10 | 13 | 15) => (1, 1, 0),
        (3, 0 | 1 | 5..=8 | 11 | 12) => (1, 0, 0),
        (11, code) => (3, code, 0),
        _ => return None,
    };
    Some(made(kind, code, word))
}

/// The same over IPv4.
fn head_to4(head: TooBig) -> Option<TooBig> {
    let (kind, code, word) = match (head.icmp.kind, head.icmp.code) {
        (1, 0 | 2 | 3) => (3, 1, 0),
        (1, 1) => (3, 10, 0),
        (1, 4) => (3, 3, 0),
        (2, _) => {
            let mtu = head.mtu.get().saturating_sub(GROWTH.into());
            (3, 4, mtu.min(0xffff))
        }
        (3, code) => (11, code, 0),
        (4, 1) => (3, 2, 0),
        _ => return None,
    };
    Some(made(kind, code, word))
}

fn made(kind: u8, code: u8, word: u32) -> TooBig {
    TooBig {
        icmp: Icmp {
            kind,
            code,
            checksum: Checksum::NONE,
        },
        mtu: U32::new(word),
    }
}

fn build(built: &mut Built, header: &Header, head: TooBig, quote: &[u8], ends: Ends) -> Option<()> {
    let (len, longest, protocol) = if ends.0.is_ipv6() {
        (usize::from(Ipv6::LEN), LONGEST6, ipv6::ICMP)
    } else {
        (usize::from(Ipv4::LEN), LONGEST4, ipv4::ICMP)
    };
    extend(built, &[0; Ipv6::LEN as usize][..len])?;
    extend(built, head.as_bytes())?;
    quote_to(built, quote, (ends.1, ends.0), longest)?;
    let payload_len = u16::try_from(built.len() - len).ok()?;
    let outer = Header {
        protocol,
        ..*header
    };
    write_header(built, &outer, ends, payload_len, Checksum::NONE)?;
    let pseudo = match (ends.0.ip(), ends.1.ip()) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Sum::pseudo6(from.octets(), to.octets(), protocol, payload_len)
        }
        _ => Sum::default(),
    };
    let message = built.get_mut(len..)?;
    let checksum = pseudo.bytes(message).checksum();
    Icmp::mut_from_prefix(message).ok()?.0.checksum = checksum;
    Some(())
}

/// Appends the quoted packet as the receiver of the error has sent it: from where the error goes to.
fn quote_to(built: &mut Built, quote: &[u8], ends: Ends, longest: usize) -> Option<()> {
    let header = read(quote)?;
    let whole = u16::try_from(header.end.checked_sub(header.from)?).ok()?;
    let start = built.len();
    let len = if ends.0.is_ipv6() {
        Ipv6::LEN
    } else {
        Ipv4::LEN
    };
    extend(built, &[0; Ipv6::LEN as usize][..len.into()])?;
    let segment = quote.get(header.from..header.end.min(quote.len()));
    let room = longest.saturating_sub(built.len());
    let segment = segment?;
    let at = built.len();
    extend(built, &segment[..room.min(segment.len())])?;
    // A hop is counted of what passes; what was quoted has passed.
    let as_sent = Header {
        hops: header.hops.saturating_add(1),
        ..header
    };
    segment_to(built.get_mut(at..)?, &header, ends)?;
    write_header(
        built.get_mut(start..)?,
        &as_sent,
        ends,
        whole,
        Checksum::NONE,
    )
}

fn extend(built: &mut Built, bytes: &[u8]) -> Option<()> {
    built.try_extend_from_slice(bytes).ok()
}
