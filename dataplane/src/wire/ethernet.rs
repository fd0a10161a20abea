//! Ethernet II (IEEE 802.3 clause 3, RFC 894, RFC 2464).

use std::fmt;
use std::net::Ipv6Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Ethertype of IPv4 (RFC 894).
pub(crate) const IPV4: u16 = 0x0800;
/// Ethertype of ARP (RFC 826).
pub(crate) const ARP: u16 = 0x0806;
/// Ethertype of IPv6 (RFC 2464, section 3).
pub(crate) const IPV6: u16 = 0x86dd;

/// The least length of a frame in bytes, without its check sequence (IEEE 802.3, section 4A.4.2).
pub(crate) const FRAME_LEN_MIN: usize = 60;

/// A MAC address, in the order of transmission.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(transparent)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Every station on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether it names one station: the group bit is off (IEEE 802 section 8.2) and it is not all
    /// zeros.
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// Its bytes as the low ones of a little-endian word.
    #[inline]
    pub(crate) const fn word(self) -> u64 {
        let mac = self.0;
        u64::from_le_bytes([mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], 0, 0])
    }

    /// From such a word, whose two highest bytes do not matter.
    #[inline]
    pub(crate) const fn from_word(word: u64) -> Self {
        let [mac @ .., _, _] = word.to_le_bytes();
        Self(mac)
    }

    /// Where an IPv6 multicast group is on Ethernet (RFC 2464, section 7).
    #[must_use]
    pub(crate) const fn of_group(group: Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(formatter, "{first:02x}")?;
        rest.iter()
            .try_for_each(|byte| write!(formatter, ":{byte:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The Ethernet header, 14 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Ethernet {
    pub(crate) destination: Mac,
    pub(crate) source: Mac,
    pub(crate) ethertype: U16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_reads_as_operators_write_it() {
        let mac = Mac([0x02, 0, 0, 0xab, 0xcd, 0xef]);
        assert_eq!(mac.to_string(), "02:00:00:ab:cd:ef");
    }

    #[test]
    fn unicast_is_one_station() {
        assert!(Mac([2, 0, 0, 0, 0, 1]).is_unicast());
        assert!(!Mac([1, 0, 0x5e, 0, 0, 1]).is_unicast());
        assert!(!Mac::BROADCAST.is_unicast());
        assert!(!Mac::default().is_unicast());
    }

    #[test]
    fn a_group_has_its_low_bytes_in_its_mac() {
        let group = "ff02::1:ff28:9c5a".parse().unwrap();
        assert_eq!(Mac::of_group(group).to_string(), "33:33:ff:28:9c:5a");
    }
}
