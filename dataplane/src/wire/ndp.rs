//! Neighbour discovery (RFC 4861, section 4): solicitations, advertisements and their option.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet::Mac;
use super::icmp::Icmp;

/// `ICMPv6` type: neighbour solicitation (section 4.3).
pub(crate) const SOLICITATION: u8 = 135;
/// `ICMPv6` type: neighbour advertisement (section 4.4).
pub(crate) const ADVERTISEMENT: u8 = 136;
/// The hop limit that no router has lowered (section 7.1).
pub(crate) const HOP_LIMIT: u8 = 255;

/// Advertisement flag: it answers a solicitation (section 4.4).
pub(crate) const SOLICITED: u8 = 0x40;
/// Advertisement flag: it replaces what is known (section 4.4).
pub(crate) const OVERRIDE: u8 = 0x20;

/// Option: the MAC address of who asks (section 4.6.1).
pub(crate) const SOURCE_MAC: u8 = 1;
/// Option: the MAC address of the target (section 4.6.1).
pub(crate) const TARGET_MAC: u8 = 2;

/// A solicitation or an advertisement without options, 24 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Neighbour {
    pub(crate) icmp: Icmp,
    /// Zero in a solicitation.
    pub(crate) flags: u8,
    pub(crate) reserved: [u8; 3],
    pub(crate) target: [u8; 16],
}

/// How every option starts, 2 bytes.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct OptionHead {
    pub(crate) kind: u8,
    /// With this head, in 8 bytes; never 0 (section 4.6).
    pub(crate) len: u8,
}

/// A MAC address option, 8 bytes (RFC 2464, section 6).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct MacOption {
    pub(crate) kind: u8,
    /// 1: the unit is 8 bytes.
    pub(crate) len: u8,
    pub(crate) mac: Mac,
}
