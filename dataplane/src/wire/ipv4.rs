//! IPv4 (RFC 791) and the protocol numbers that it shares with IPv6.

use std::net::Ipv4Addr;

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{Checksum, Sum};

/// Protocol number of ICMP (RFC 792).
pub(crate) const ICMP: u8 = 1;
/// Protocol number of IPv4 within IP (RFC 2003).
pub(crate) const IPV4: u8 = 4;
/// Protocol number of TCP (RFC 9293).
pub(crate) const TCP: u8 = 6;
/// Protocol number of UDP (RFC 768).
pub(crate) const UDP: u8 = 17;
/// Protocol number of IPv6 within IP (RFC 2473, RFC 4213).
pub(crate) const IPV6: u8 = 41;
/// Protocol number of GRE (RFC 2784).
pub(crate) const GRE: u8 = 47;

/// Flags and fragment offset: more fragments, or an offset other than 0.
pub(crate) const FRAGMENTED: u16 = 0x3fff;
/// Flag: don't fragment.
pub(crate) const DO_NOT_FRAGMENT: u16 = 0x4000;
/// Flag: more fragments.
const MORE_FRAGMENTS: u16 = 0x2000;

/// The header without options, 20 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Ipv4 {
    /// Version (4 bits), header length in 32-bit words (4).
    pub(crate) version_length: u8,
    pub(crate) traffic_class: u8,
    /// Of header and payload, in bytes.
    pub(crate) total_len: U16,
    pub(crate) identification: U16,
    /// Reserved, don't fragment, more fragments (3 bits), offset in 8 bytes (13).
    pub(crate) fragment: U16,
    pub(crate) time_to_live: u8,
    pub(crate) protocol: u8,
    pub(crate) checksum: Checksum,
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
}

const _: () = assert!(size_of::<Ipv4>() == Ipv4::LEN as usize);

impl Ipv4 {
    /// Version 4 without options.
    pub(crate) const PLAIN: u8 = 0x45;
    /// Length without options, in bytes.
    pub(crate) const LEN: u16 = 20;

    pub(crate) fn version(&self) -> u8 {
        self.version_length >> 4
    }

    /// Length with options, in bytes.
    pub(crate) fn header_len(&self) -> u16 {
        u16::from(self.version_length & 0x0f) * 4
    }

    pub(crate) fn is_fragment(&self) -> bool {
        self.fragment.get() & FRAGMENTED != 0
    }

    /// Where the fragment begins in the packet's payload, in bytes.
    pub(crate) fn fragment_offset(&self) -> u16 {
        self.fragment.get() << 3
    }

    /// Whether more of the packet follows.
    pub(crate) fn has_more_fragments(&self) -> bool {
        self.fragment.get() & MORE_FRAGMENTS != 0
    }

    /// Changes the time to live, and the checksum with it.
    pub(crate) fn set_time_to_live(&mut self, time_to_live: u8) {
        let old = Sum::default().bytes(&[self.time_to_live, self.protocol]);
        let new = Sum::default().bytes(&[time_to_live, self.protocol]);
        self.checksum = self.checksum.replace(old, new);
        self.time_to_live = time_to_live;
    }

    /// The sum of the header without options: five loads.
    #[inline]
    pub(crate) fn sum(&self) -> Sum {
        Sum::default().bytes(self.as_bytes())
    }
}

/// Whether a host may send from this address (RFC 1122, section 3.2.1.3): not this network, a
/// loopback, a group or everyone.
pub(crate) const fn can_send(address: Ipv4Addr) -> bool {
    let [network, ..] = address.octets();
    network != 0 && !address.is_loopback() && !address.is_multicast() && !address.is_broadcast()
}

#[cfg(test)]
mod tests {
    use zerocopy::FromZeros;

    use super::*;

    #[test]
    fn the_bits_of_the_first_and_seventh_byte() {
        let mut header = Ipv4::new_zeroed();
        header.version_length = 0x4f;
        assert_eq!((header.version(), header.header_len()), (4, 60));
        for (fragment, expected) in [(0x4000, false), (0x2000, true), (1, true), (0x8000, false)] {
            header.fragment = U16::new(fragment);
            assert_eq!(header.is_fragment(), expected, "{fragment:#x}");
        }
    }

    #[test]
    fn only_hosts_can_send() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!can_send(address.parse().unwrap()), "{address}");
        }
        for address in ["10.0.0.1", "192.0.2.255", "223.255.255.254"] {
            assert!(can_send(address.parse().unwrap()), "{address}");
        }
    }
}
