//! TCP (RFC 9293, section 3.1).

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::Checksum;

/// Flag: the sender has no more to send.
pub(crate) const FIN: u8 = 0x01;
/// Flag: a connection starts.
pub(crate) const SYN: u8 = 0x02;
/// Flag: a connection is torn down.
pub(crate) const RST: u8 = 0x04;
/// Flag: the acknowledgment number counts.
pub(crate) const ACK: u8 = 0x10;
/// Flag: the urgent pointer counts.
pub(crate) const URG: u8 = 0x20;

/// The header without options, 20 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Tcp {
    /// Source, then destination.
    pub(crate) ports: [u8; 4],
    pub(crate) sequence: U32,
    pub(crate) acknowledgment: U32,
    /// Header length in 32-bit words (4 bits), reserved (4).
    data_offset: u8,
    pub(crate) flags: u8,
    pub(crate) window: U16,
    pub(crate) checksum: Checksum,
    pub(crate) urgent: U16,
}

impl Tcp {
    /// Length without options, in bytes.
    pub(crate) const LEN: usize = size_of::<Self>();

    /// Length with options, in bytes.
    pub(crate) fn header_len(&self) -> usize {
        usize::from(self.data_offset >> 4) * 4
    }
}
