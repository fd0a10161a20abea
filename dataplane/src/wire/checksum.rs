//! The Internet checksum (RFC 1071), its incremental update (RFC 1624) and the pseudo headers.
//!
//! Words are summed as they are loaded: the sum of byte-swapped words is the byte-swapped sum (RFC
//! 1071, section 2.B), so nothing is swapped and a [`Checksum`] is stored as it stands.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A checksum field, as it stands in a header.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(transparent)]
pub(crate) struct Checksum(pub(crate) [u8; 2]);

impl Checksum {
    /// A UDP sender made no checksum (RFC 768); also what a field holds while it is computed.
    pub(crate) const NONE: Self = Self([0; 2]);

    /// The checksum after bytes with the sum `old` became bytes with the sum `new` (RFC 1624,
    /// equation 3). Both must start at an even offset of what is summed.
    #[inline]
    #[must_use]
    pub(crate) fn replace(self, old: Sum, new: Sum) -> Self {
        let sum =
            u64::from(!u16::from_ne_bytes(self.0)) + u64::from(!old.fold()) + u64::from(new.fold());
        Sum(sum).checksum()
    }

    /// Zero written as all ones, which is the same sum and right for every receiver. UDP needs it,
    /// where zero says that there is none (RFC 768), and so does what may be all zeros after a
    /// [`Checksum::replace`].
    #[inline]
    #[must_use]
    pub(crate) fn nonzero(self) -> Self {
        if self == Self::NONE {
            Self([0xff; 2])
        } else {
            self
        }
    }
}

/// A one's complement sum that is not folded yet.
///
/// Invariant: it cannot overflow, because each step adds at most 2^32 and a frame has fewer than
/// 2^16 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// The pseudo header of TCP, UDP and `ICMPv6` over IPv6 (RFC 8200, section 8.1). `len` in bytes,
    /// of header and payload.
    #[inline]
    pub(crate) fn pseudo6(source: [u8; 16], destination: [u8; 16], protocol: u8, len: u16) -> Self {
        let addresses = Self::default().bytes(&source).bytes(&destination);
        addresses.word(u16::from(protocol)).word(len)
    }

    /// Adds bytes at an even offset; an odd last byte is followed by a zero.
    #[inline]
    #[must_use]
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let (chunks, tail) = bytes.as_chunks::<4>();
        let whole: u64 = chunks
            .iter()
            .map(|chunk| u64::from(u32::from_ne_bytes(*chunk)))
            .sum();
        let rest = match *tail {
            [a] => [a, 0, 0, 0],
            [a, b] => [a, b, 0, 0],
            [a, b, c] => [a, b, c, 0],
            _ => [0; 4],
        };
        Self(self.0 + whole + u64::from(u32::from_ne_bytes(rest)))
    }

    /// Adds a 16-bit number.
    #[inline]
    #[must_use]
    pub(crate) fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word.to_be()))
    }

    /// The sum in 16 bits. A number plus itself with its halves exchanged has in its upper half the
    /// sum of the halves, with the carry added.
    #[inline]
    fn fold(self) -> u16 {
        let [.., a, b, c, d] = self.0.wrapping_add(self.0.rotate_left(32)).to_le_bytes();
        let sum = u32::from_le_bytes([a, b, c, d]);
        let [.., a, b] = sum.wrapping_add(sum.rotate_left(16)).to_le_bytes();
        u16::from_le_bytes([a, b])
    }

    /// Whether what was summed, its checksum included, is whole.
    #[inline]
    pub(crate) fn is_whole(self) -> bool {
        self.fold() == 0xffff
    }

    /// The checksum of what was summed, its field being [`Checksum::NONE`] or left out.
    #[inline]
    pub(crate) fn checksum(self) -> Checksum {
        Checksum((!self.fold()).to_ne_bytes())
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{TcpHeader, UdpHeader};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::samples::rfc1071;

    fn value(checksum: Checksum) -> u16 {
        u16::from_be_bytes(checksum.0)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(value(sum.checksum()), !0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        let old = Sum::default().word(0x5555);
        let new = Sum::default().word(0x3285);
        let checksum = Checksum(0xdd2f_u16.to_be_bytes()).replace(old, new);
        assert_eq!(value(checksum), 0);
        assert_eq!(value(checksum.nonzero()), 0xffff);
    }

    #[test]
    fn the_sum_of_the_longest_frame_folds() {
        assert!(Sum::default().bytes(&vec![0xff; 65534]).is_whole());
    }

    proptest! {
        #[test]
        fn a_sum_is_that_of_words(bytes in vec(any::<u8>(), 0..300), at in 0usize..150) {
            let (head, tail) = bytes.split_at((at * 2).min(bytes.len() & !1));
            let sum = Sum::default().bytes(head).bytes(tail);
            prop_assert_eq!(value(sum.checksum()), rfc1071(&bytes));
        }

        #[test]
        fn a_checksum_makes_its_bytes_whole(mut bytes in vec(any::<u8>(), 2..300), flip in any::<u8>()) {
            bytes[..2].fill(0);
            let Checksum(field) = Sum::default().bytes(&bytes).checksum();
            bytes[..2].copy_from_slice(&field);
            prop_assert!(Sum::default().bytes(&bytes).is_whole());
            let last = bytes.len() - 1;
            bytes[last] ^= flip;
            prop_assert_eq!(Sum::default().bytes(&bytes).is_whole(), flip == 0);
        }

        #[test]
        fn an_update_is_a_new_computation(
            mut bytes in vec(any::<u8>(), 40..80), new in vec(any::<u8>(), 1..19), at in 0usize..10,
        ) {
            bytes[39] |= 1;
            let before = Sum::default().bytes(&bytes).checksum();
            let field = &mut bytes[at * 2..at * 2 + new.len()];
            let updated = before.replace(Sum::default().bytes(field), Sum::default().bytes(&new));
            field.copy_from_slice(&new);
            prop_assert_eq!(value(updated), rfc1071(&bytes));
        }

        #[test]
        fn pseudo_headers_agree_with_etherparse(
            from: [u8; 16], to: [u8; 16], ports: (u16, u16), payload in vec(any::<u8>(), 0..100),
        ) {
            let len = 8 + u16::try_from(payload.len()).unwrap();
            let mut udp = UdpHeader { source_port: ports.0, destination_port: ports.1, length: len, checksum: 0 };
            let pseudo = Sum::pseudo6(from, to, 17, len);
            let ours = pseudo.bytes(&udp.to_bytes()).bytes(&payload).checksum().nonzero();
            udp.checksum = udp.calc_checksum_ipv6_raw(from, to, &payload).unwrap();
            prop_assert_eq!(value(ours), udp.checksum);
        }

        #[test]
        fn a_translation_agrees_with_etherparse(
            old: ([u8; 4], [u8; 4]), new: ([u8; 4], [u8; 4]), payload in vec(any::<u8>(), 0..100),
        ) {
            let tcp = TcpHeader::new(40000, 80, 7, 512);
            let sum = |ends: ([u8; 4], [u8; 4])| Sum::default().bytes(&ends.0).bytes(&ends.1);
            let of = |ends: ([u8; 4], [u8; 4])| tcp.calc_checksum_ipv4_raw(ends.0, ends.1, &payload);
            let before = Checksum(of(old).unwrap().to_be_bytes());
            prop_assert_eq!(value(before.replace(sum(old), sum(new))), of(new).unwrap());
        }
    }
}
