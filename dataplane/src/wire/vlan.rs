//! The VLAN tag (IEEE 802.1Q, clause 9).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Ethertype of a customer tag.
pub(crate) const CUSTOMER: u16 = 0x8100;
/// Ethertype of a service tag: the outer of two.
pub(crate) const SERVICE: u16 = 0x88a8;
/// The VID of a priority tag, which says nothing of a VLAN (802.1Q, table 9-2).
pub(crate) const PRIORITY_ONLY: u16 = 0;

/// What follows the ethertype [`CUSTOMER`], 4 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Tag {
    /// Priority (3 bits), drop eligible (1), VID (12).
    pub(crate) control: U16,
    /// The ethertype of what is tagged.
    pub(crate) ethertype: U16,
}

/// Where what a frame carries starts: after its Ethernet header, and its tag if it has one.
#[inline]
pub(crate) fn payload_offset(frame: &[u8]) -> usize {
    match frame.get(12..14) {
        Some(ethertype) if *ethertype == CUSTOMER.to_be_bytes() => 18,
        _ => 14,
    }
}

impl Tag {
    pub(crate) fn vid(self) -> u16 {
        self.control.get() & 0x0fff
    }
}
