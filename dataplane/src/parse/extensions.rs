//! IPv6 extension headers (RFC 8200, section 4), which few packets have.

use zerocopy::FromBytes;

use super::fragment::Piece;
use crate::fate::Fate;
use crate::wire::ipv6::{self, Extension, Fragment};

/// How many are followed. RFC 8200, section 4.1 has a place for 7 in one packet.
pub(super) const AT_MOST: usize = 8;

/// The longest possible chain and what stands before it fit the offsets of a `Parsed`.
const _: () = assert!(18 + 40 + AT_MOST * (8 + 255 * 8) <= u16::MAX as usize);

/// What comes after the extension headers.
pub(super) struct Upper<'a> {
    pub(super) protocol: u8,
    pub(super) payload: &'a [u8],
    /// The extension headers' length in bytes.
    pub(super) skipped: u16,
    /// Which part of a packet this is; `None`: the whole. Of a later part, `payload` starts with
    /// what no header need be.
    pub(super) piece: Option<Piece>,
}

/// Steps over the extension headers in `payload`, the first of which is a `first`.
#[cold]
pub(super) fn skip(first: u8, payload: &[u8]) -> Result<Upper<'_>, Fate> {
    let mut upper = Upper {
        protocol: first,
        payload,
        skipped: 0,
        piece: None,
    };
    for index in 0..=AT_MOST {
        let (next, len) = match upper.protocol {
            ipv6::FRAGMENT => {
                let header = fragment_header(upper.payload)?;
                if !header.is_atomic() {
                    upper.piece = Some(piece(header, &upper)?);
                }
                (header.next_header, Fragment::LEN)
            }
            ipv6::HOP_BY_HOP if index != 0 => return Err(Fate::Ipv6Extensions),
            kind
            @ (ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::DESTINATION | ipv6::AUTHENTICATION) => {
                extension(kind, upper.payload)?
            }
            _ => return Ok(upper),
        };
        let rest = upper
            .payload
            .get(usize::from(len)..)
            .ok_or(Fate::Ipv6Extensions)?;
        upper = Upper {
            protocol: next,
            payload: rest,
            skipped: upper.skipped + len,
            piece: upper.piece,
        };
        if upper.piece.is_some_and(Piece::is_later) {
            return Ok(upper);
        }
    }
    Err(Fate::Ipv6Extensions)
}

/// The first fragment header among the extension headers in `payload`, the first of which is a
/// `first`; `None` also where they are malformed.
pub(super) fn fragment(first: u8, payload: &[u8]) -> Option<Fragment> {
    let (mut next, mut rest) = (first, payload);
    for _ in 0..=AT_MOST {
        let len = match next {
            ipv6::FRAGMENT => return fragment_header(rest).ok(),
            ipv6::HOP_BY_HOP | ipv6::ROUTING | ipv6::DESTINATION | ipv6::AUTHENTICATION => {
                let (after, len) = extension(next, rest).ok()?;
                next = after;
                len
            }
            _ => return None,
        };
        rest = rest.get(usize::from(len)..)?;
    }
    None
}

/// The next header and the length in bytes. Refused are a routing header with segments left, whose
/// packet is to be routed on (RFC 8200, section 4.4), and an authentication header shorter than its
/// fixed part (RFC 4302, section 2).
fn extension(kind: u8, payload: &[u8]) -> Result<(u8, u16), Fate> {
    let (header, _) = Extension::ref_from_prefix(payload).map_err(|_| Fate::Ipv6Extensions)?;
    let is_refused = match kind {
        ipv6::ROUTING => header.segments_left != 0,
        ipv6::AUTHENTICATION => header.len == 0,
        _ => false,
    };
    if is_refused {
        Err(Fate::Ipv6Extensions)
    } else {
        Ok((header.next_header, header.header_len(kind)))
    }
}

fn fragment_header(payload: &[u8]) -> Result<Fragment, Fate> {
    let header = Fragment::read_from_prefix(payload);
    header
        .map(|(header, _)| header)
        .map_err(|_| Fate::Ipv6Extensions)
}

/// The part of a packet that a fragment header tells of; a fragment is not cut again.
fn piece(header: Fragment, upper: &Upper<'_>) -> Result<Piece, Fate> {
    if upper.piece.is_some() {
        return Err(Fate::Ipv6Extensions);
    }
    let rest = upper.payload.len();
    Ok(Piece {
        len: rest.saturating_sub(usize::from(Fragment::LEN)),
        ..Piece::from(header)
    })
}
