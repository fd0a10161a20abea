//! ARP for IPv4 over Ethernet (RFC 826).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::ethernet::{IPV4, Mac};

/// Operation: who has the target address?
pub(crate) const REQUEST: u16 = 1;
/// Operation: the sender has the sender address.
pub(crate) const REPLY: u16 = 2;

/// The packet, 28 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Arp {
    pub(crate) kind: Kind,
    pub(crate) operation: U16,
    pub(crate) sender_mac: Mac,
    pub(crate) sender: [u8; 4],
    pub(crate) target_mac: Mac,
    pub(crate) target: [u8; 4],
}

/// Which addresses are matched: hardware and protocol type, and their lengths.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Kind {
    hardware: U16,
    protocol: U16,
    hardware_len: u8,
    protocol_len: u8,
}

impl Kind {
    /// The one kind that is met on Ethernet.
    pub(crate) const IPV4_OVER_ETHERNET: Self = Self {
        hardware: U16::new(1),
        protocol: U16::new(IPV4),
        hardware_len: 6,
        protocol_len: 4,
    };
}

impl Arp {
    /// What asks for the `target`; where that is the sender, it announces it (RFC 5227, section 3).
    pub(crate) fn request(sender_mac: Mac, sender: [u8; 4], target: [u8; 4]) -> Self {
        Self {
            kind: Kind::IPV4_OVER_ETHERNET,
            operation: U16::new(REQUEST),
            sender_mac,
            sender,
            target_mac: Mac::default(),
            target,
        }
    }

    /// What tells who sent this that its target is at `mac`.
    pub(crate) fn reply(&self, mac: Mac) -> Self {
        Self {
            kind: self.kind,
            operation: U16::new(REPLY),
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }
}
