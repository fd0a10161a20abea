//! Neighbour discovery (RFC 4861, section 4): solicitations, advertisements and their option.

use std::net::Ipv6Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{Checksum, Sum};
use super::ethernet::Mac;
use super::icmp::Icmp;
use super::ipv6::{self, Ipv6};

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

/// A whole IPv6 packet of a solicitation or an advertisement with one option, 72 bytes.
#[derive(Clone, Copy, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Packet {
    ip: Ipv6,
    neighbour: Neighbour,
    option: MacOption,
}

/// In bytes, as the payload length of [`Packet`] says it.
const PAYLOAD_LEN: u16 = 32;
const _: () = assert!(size_of::<Packet>() == (Ipv6::LEN + PAYLOAD_LEN) as usize);

impl Packet {
    /// In bytes.
    pub(crate) const LEN: usize = size_of::<Self>();

    /// What asks for the `target` (section 4.3).
    pub(crate) fn solicitation(
        source: Ipv6Addr,
        mac: Mac,
        destination: Ipv6Addr,
        target: Ipv6Addr,
    ) -> Self {
        let option = MacOption {
            kind: SOURCE_MAC,
            len: 1,
            mac,
        };
        let neighbour = Neighbour::new(SOLICITATION, 0, target);
        Self {
            ip: header(source, destination),
            neighbour,
            option,
        }
        .summed()
    }

    /// What tells that the `target`, its sender, is at `mac` (section 4.4).
    pub(crate) fn advertisement(
        target: Ipv6Addr,
        mac: Mac,
        destination: Ipv6Addr,
        flags: u8,
    ) -> Self {
        let option = MacOption {
            kind: TARGET_MAC,
            len: 1,
            mac,
        };
        let neighbour = Neighbour::new(ADVERTISEMENT, flags, target);
        Self {
            ip: header(target, destination),
            neighbour,
            option,
        }
        .summed()
    }

    fn summed(mut self) -> Self {
        let Ipv6 {
            source,
            destination,
            ..
        } = self.ip;
        let sum = Sum::pseudo6(source, destination, ipv6::ICMP, PAYLOAD_LEN);
        let sum = sum
            .bytes(self.neighbour.as_bytes())
            .bytes(self.option.as_bytes());
        self.neighbour.icmp.checksum = sum.checksum();
        self
    }
}

impl Neighbour {
    fn new(kind: u8, flags: u8, target: Ipv6Addr) -> Self {
        let icmp = Icmp {
            kind,
            code: 0,
            checksum: Checksum::NONE,
        };
        Self {
            icmp,
            flags,
            reserved: [0; 3],
            target: target.octets(),
        }
    }
}

fn header(source: Ipv6Addr, destination: Ipv6Addr) -> Ipv6 {
    Ipv6 {
        version_class_flow: [0x60, 0, 0, 0],
        payload_len: U16::new(PAYLOAD_LEN),
        next_header: ipv6::ICMP,
        hop_limit: HOP_LIMIT,
        source: source.octets(),
        destination: destination.octets(),
    }
}
