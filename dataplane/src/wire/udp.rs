//! UDP (RFC 768).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::Checksum;

/// The header, 8 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Udp {
    /// Source, then destination.
    pub(crate) ports: [u8; 4],
    /// Of header and payload, in bytes.
    pub(crate) len: U16,
    /// [`Checksum::NONE`] where the sender made none, which only IPv4 allows.
    pub(crate) checksum: Checksum,
}

impl Udp {
    /// In bytes.
    pub(crate) const LEN: usize = size_of::<Self>();
}
