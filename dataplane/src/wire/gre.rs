//! GRE (RFC 2784): four bytes and the packet.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The header without checksum, key or sequence number, 4 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Gre {
    /// No flags, version 0.
    flags_version: U16,
    /// The ethertype of what follows.
    protocol: U16,
}

impl Gre {
    /// Before a packet of this ethertype.
    pub(crate) fn before(ethertype: u16) -> Self {
        Self {
            flags_version: U16::ZERO,
            protocol: U16::new(ethertype),
        }
    }
}
