//! What an IPv6 packet carries, for those who change one that was parsed.

use zerocopy::FromBytes;

use super::extensions;
use super::fragment::Piece;
use crate::wire::ipv6::Ipv6;

/// What comes after an IPv6 header and those that extend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Above {
    pub(crate) protocol: u8,
    /// Where it starts in the packet, in bytes.
    pub(crate) from: usize,
    /// Whether it is of a later fragment, which has no header of that protocol.
    pub(crate) is_later: bool,
    /// Whether it is of a fragment, the first one or a later one.
    pub(crate) is_piece: bool,
}

/// What a packet carries; of a quoted packet the end may be missing.
pub(crate) fn above6(packet: &[u8]) -> Option<Above> {
    let (header, rest) = Ipv6::ref_from_prefix(packet).ok()?;
    let upper = extensions::skip(header.next_header, rest).ok()?;
    Some(Above {
        protocol: upper.protocol,
        from: usize::from(Ipv6::LEN + upper.skipped),
        is_piece: upper.piece.is_some(),
        is_later: upper.piece.is_some_and(Piece::is_later),
    })
}
