//! ICMP (RFC 792) and `ICMPv6` (RFC 4443): the head of every message, and echo.

use zerocopy::network_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::Checksum;

/// ICMP type: echo reply (RFC 792).
pub(crate) const ECHO_REPLY4: u8 = 0;
/// ICMP type: echo request (RFC 792).
pub(crate) const ECHO_REQUEST4: u8 = 8;
/// `ICMPv6` type: echo request (RFC 4443, section 4.1).
pub(crate) const ECHO_REQUEST6: u8 = 128;
/// `ICMPv6` type: echo reply (RFC 4443, section 4.2).
pub(crate) const ECHO_REPLY6: u8 = 129;

/// ICMP type and code: fragmentation needed and DF set (RFC 792, RFC 1191).
pub(crate) const TOO_BIG4: (u8, u8) = (3, 4);
/// `ICMPv6` type and code: packet too big (RFC 4443, section 3.2).
pub(crate) const TOO_BIG6: (u8, u8) = (2, 0);

/// Whether an ICMP type is an error that quotes a packet: destination unreachable, source quench,
/// time exceeded, parameter problem (RFC 792).
pub(crate) const fn is_error4(kind: u8) -> bool {
    matches!(kind, 3 | 4 | 11 | 12)
}

/// The same of `ICMPv6`: destination unreachable, packet too big, time exceeded, parameter problem
/// (RFC 4443, section 3).
pub(crate) const fn is_error6(kind: u8) -> bool {
    matches!(kind, 1..=4)
}

/// What every message starts with, 4 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Icmp {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) checksum: Checksum,
}

/// An error about a packet that was too big, without the quote, 8 bytes. In ICMP only the low half
/// of the number is the MTU, the upper one is zero (RFC 1191, section 4).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct TooBig {
    pub(crate) icmp: Icmp,
    pub(crate) mtu: U32,
}

/// An echo request or reply without its data, 8 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Echo {
    pub(crate) icmp: Icmp,
    /// Identifier and sequence number, which come back as they are.
    tag: [u8; 4],
}
