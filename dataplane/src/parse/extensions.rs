//! IPv6 extension headers (RFC 8200, section 4), which few packets have.

use zerocopy::FromBytes;

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
}

/// Steps over the extension headers in `payload`, the first of which is a `first`.
#[cold]
pub(super) fn skip(first: u8, payload: &[u8]) -> Result<Upper<'_>, Fate> {
    let mut upper = Upper {
        protocol: first,
        payload,
        skipped: 0,
    };
    for index in 0..=AT_MOST {
        let (next, len) = match upper.protocol {
            ipv6::FRAGMENT => fragment(upper.payload)?,
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
        };
    }
    Err(Fate::Ipv6Extensions)
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

fn fragment(payload: &[u8]) -> Result<(u8, u16), Fate> {
    let (header, _) = Fragment::ref_from_prefix(payload).map_err(|_| Fate::Ipv6Extensions)?;
    if header.is_atomic() {
        Ok((header.next_header, Fragment::LEN))
    } else {
        Err(Fate::Fragment)
    }
}
