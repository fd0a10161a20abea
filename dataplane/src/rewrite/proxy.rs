//! The PROXY protocol: a connection's stream gets a header before the client's first byte, without
//! the connection ending here.
//!
//! ```text
//! the client sends    | SYN | first byte ...            sequence numbers
//! the backend gets    | SYN | header | first byte ...   the same, then `len` more
//! ```
//!
//! Whatever the client sends at its first number, if only the acknowledgment that completes the
//! handshake, gets the header before it; again when it is sent again, until the backend has
//! acknowledged it: nothing is kept or timed here, and loss is mended by the ends. What follows is
//! shifted, and so is what the backend acknowledges. The first number is what the backend's SYN-ACK
//! says, so that no client can talk it into another; hence a SYN goes on without data (RFC 7413).

mod error;
mod header;
#[cfg(test)]
mod model;
mod place;
mod segment;

use super::Unfit;
use crate::{
    fate::Fate,
    port::Frame,
    wire::{checksum::Sum, tcp, vlan::payload_offset},
};
pub(crate) use header::header_len;
use header::proxy_header;
use place::Place;
pub(crate) use place::Stream;
use segment::Segment;
use std::net::SocketAddr;

const NO_PLACE: Unfit = Unfit::Dropped(Fate::ProxySegment);

/// Moves a client's segment to its place in the stream that the backend gets. The first gets a header
/// before its payload that names `client` and `service`, and must be no longer than `longest` with it.
/// Without a stream the backend has not answered. Where it fails, the frame is as it was.
///
/// Addresses and ports may be those of either side: checksums are changed by what changes.
pub(crate) fn to_backend<F: Frame>(
    frame: &mut F,
    (client, service): (SocketAddr, SocketAddr),
    stream: Option<Stream>,
    longest: u16,
) -> Result<(), Unfit> {
    let l3 = payload_offset(frame.bytes());
    let packet = frame.bytes_mut().get_mut(l3..).ok_or(Unfit::NoRoom)?;
    let Some(segment) = Segment::find(packet) else {
        // Of a later fragment, whose first has passed or will, or an error: it has no numbers.
        return Ok(());
    };
    let (tcp, _) = segment.header(packet).ok_or(Unfit::NoRoom)?;
    let (sequence, flags) = (tcp.sequence.get(), tcp.flags);
    if flags & tcp::SYN != 0 {
        return segment.strip_syn(packet).ok_or(NO_PLACE);
    }
    let Some(stream) = stream else {
        return Ok(());
    };
    match stream.place(sequence, flags, segment.payload_len()) {
        Place::Before => Ok(()),
        Place::After if segment.end > longest.into() => Err(Unfit::TooBig(longest)),
        Place::After => {
            let shifted = segment.change(packet, |tcp| tcp.sequence.set(stream.forth(sequence)));
            shifted.ok_or(Unfit::NoRoom)
        }
        Place::First => {
            let header = proxy_header(client, service);
            insert(frame, l3, segment, &header, longest)
        }
        Place::Across => Err(NO_PLACE),
    }
}

/// Puts the header before a segment's payload.
fn insert<F: Frame>(
    frame: &mut F,
    l3: usize,
    segment: Segment,
    header: &[u8],
    longest: u16,
) -> Result<(), Unfit> {
    let added = u16::try_from(header.len()).map_err(|_| Unfit::NoRoom)?;
    let longest = longest.saturating_sub(added);
    if !segment.is_whole {
        return Err(NO_PLACE);
    }
    if segment.end > longest.into() {
        return Err(Unfit::TooBig(longest));
    }
    if !frame.prepend(header.len()) {
        return Err(Unfit::NoRoom);
    }
    let bytes = frame.bytes_mut();
    bytes.copy_within(header.len()..header.len() + l3 + segment.payload, 0);
    let packet = bytes.get_mut(l3..).ok_or(Unfit::NoRoom)?;
    let room = packet.get_mut(segment.payload..segment.payload + header.len());
    room.ok_or(Unfit::NoRoom)?.copy_from_slice(header);
    let grown = segment.lengthen(packet, added, Sum::default().bytes(header));
    grown.ok_or(Unfit::NoRoom)
}

/// Moves what a backend's segment acknowledges to its place in what the client has sent, and returns how
/// the stream stands then. A SYN-ACK begins it, with a header of `len` bytes if there is to be one.
pub(crate) fn to_client<F: Frame>(
    frame: &mut F,
    stream: Option<Stream>,
    len: Option<u16>,
) -> Option<Stream> {
    let l3 = payload_offset(frame.bytes());
    let packet = frame.bytes_mut().get_mut(l3..).unwrap_or_default();
    if let Some(segment) = Segment::find(packet) {
        return move_segment(packet, segment, stream, len);
    }
    if let Some(stream) = stream {
        // No error, or one that quotes too little: it goes on as it is.
        let _ = error::move_back(packet, stream);
    }
    stream
}

fn move_segment(
    packet: &mut [u8],
    segment: Segment,
    stream: Option<Stream>,
    len: Option<u16>,
) -> Option<Stream> {
    let (tcp, _) = segment.header(packet)?;
    let (flags, acknowledged) = (tcp.flags, tcp.acknowledgment.get());
    // A reset with the number 0 answers a SYN (RFC 9293, section 3.10.7.1).
    let refuses = flags & tcp::RST != 0 && tcp.sequence.get() == 0;
    if flags & tcp::ACK == 0 || refuses {
        return stream;
    }
    if flags & tcp::SYN != 0 {
        let len = len?;
        segment.lower_mss(packet, len);
        return Some(Stream::begun(acknowledged, len));
    }
    let stream = stream?;
    let back = stream.back(acknowledged);
    if back != acknowledged {
        segment.change(packet, |tcp| tcp.acknowledgment.set(back))?;
    }
    segment.move_sacks(packet, stream)?;
    Some(stream.acknowledged(acknowledged))
}
