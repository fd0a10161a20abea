//! IPv4 (RFC 791) and the protocol numbers that it shares with IPv6.

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum::{Checksum, Sum};

/// Protocol number of ICMP (RFC 792).
pub(crate) const ICMP: u8 = 1;
/// Protocol number of TCP (RFC 9293).
pub(crate) const TCP: u8 = 6;
/// Protocol number of UDP (RFC 768).
pub(crate) const UDP: u8 = 17;

/// Flags and fragment offset: more fragments, or an offset other than 0.
const FRAGMENTED: u16 = 0x3fff;

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

    /// The sum of the header without options: five loads.
    #[inline]
    pub(crate) fn sum(&self) -> Sum {
        Sum::default().bytes(self.as_bytes())
    }
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
}
