//! MSS clamping: a SYN that offers larger segments than the operator wants offers those (RFC 9293,
//! section 3.7.1). One without the option stands for the default of 536 and stays as it is.

use crate::wire::{
    checksum::Sum,
    ipv4::{self, Ipv4},
    ipv6::Ipv6,
    tcp::{self, Tcp},
};
use zerocopy::FromBytes;

/// Option: the list ends.
const END: u8 = 0;
/// Option: nothing, one byte.
const NOTHING: u8 = 1;
/// Option: maximum segment size, four bytes.
const SEGMENT_SIZE: u8 = 2;

/// What is left at least of a size that is lowered.
const SIZE_MIN: u16 = 64;

/// Lowers the segment size that a packet offers, if it is a SYN.
pub(super) fn clamp_mss(packet: &mut [u8], most: u16) {
    let segment = tcp_at(packet).and_then(|at| packet.get_mut(at..));
    if let Some(segment) = segment {
        let _ = change(segment, |size| size.min(most));
    }
}

/// Lowers it in a TCP header by so many bytes, so that there is room for these in each segment.
pub(super) fn lower_segment_size(segment: &mut [u8], by: u16) {
    let _ = change(segment, |size| {
        size.min(size.saturating_sub(by).max(SIZE_MIN))
    });
}

/// Where the TCP header starts; IPv6 extension headers are not followed.
fn tcp_at(packet: &[u8]) -> Option<usize> {
    if packet.first()? >> 4 == 4 {
        let (header, _) = Ipv4::ref_from_prefix(packet).ok()?;
        let is_first = header.fragment_offset() == 0;
        (header.protocol == ipv4::TCP && is_first).then(|| header.header_len().into())
    } else {
        let (header, _) = Ipv6::ref_from_prefix(packet).ok()?;
        (header.next_header == ipv4::TCP).then(|| Ipv6::LEN.into())
    }
}

fn change(segment: &mut [u8], to: impl FnOnce(u16) -> u16) -> Option<()> {
    let (header, _) = Tcp::ref_from_prefix(segment).ok()?;
    if header.flags & tcp::SYN == 0 {
        return None;
    }
    let at = segment_size_at(segment.get(..header.header_len())?)?;
    let field = segment.get_mut(at..)?.first_chunk_mut::<2>()?;
    let [high, low] = *field;
    let size = u16::from_be_bytes([high, low]);
    let changed = to(size);
    if changed == size {
        return None;
    }
    *field = changed.to_be_bytes();
    let [new_high, new_low] = *field;
    let sum = |high, low| {
        let (even, odd) = ([high, low, 0, 0], [0, high, low, 0]);
        Sum::default().bytes(if at.is_multiple_of(2) { &even } else { &odd })
    };
    let (tcp, _) = Tcp::mut_from_prefix(segment).ok()?;
    tcp.checksum = tcp.checksum.replace(sum(high, low), sum(new_high, new_low));
    Some(())
}

/// Where the number of the option stands in a TCP header.
fn segment_size_at(header: &[u8]) -> Option<usize> {
    let mut at = Tcp::LEN;
    loop {
        match header.get(at..)? {
            [SEGMENT_SIZE, 4, _, _, ..] => return Some(at + 2),
            [NOTHING, ..] => at += 1,
            [END, ..] => return None,
            [_, len, ..] if *len >= 2 => at += usize::from(*len),
            _ => return None,
        }
    }
}
