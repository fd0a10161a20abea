//! Prefixes: addresses that begin alike.

use super::affinity::source::{mask4, mask6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that begin alike. Its host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of so many bits that an address is in; `None` where an address has no so many.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let first = match address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & mask4(length)).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & mask6(length)).into(),
        };
        (length <= bits(address)).then_some(Self {
            address: first,
            length,
        })
    }

    /// The prefix of one address.
    pub(crate) fn one(address: IpAddr) -> Self {
        let length = bits(address);
        Self { address, length }
    }

    /// Its first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits its addresses share.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether an address is in it.
    pub(crate) fn holds(self, address: IpAddr) -> bool {
        super::same_subnet(self.address, address, self.length)
    }

    /// Its first and its last address, as numbers.
    pub(crate) fn range(self) -> (u128, u128) {
        let first = number(self.address);
        let host_bits = bits(self.address) - self.length;
        let hosts = 1_u128.checked_shl(host_bits.into());
        (first, first | hosts.map_or(u128::MAX, |it| it - 1))
    }
}

/// How many bits an address has.
#[inline]
pub(crate) fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address as a number.
#[inline]
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str, length: u8) -> Option<Prefix> {
        Prefix::new(text.parse().unwrap(), length)
    }

    #[test]
    fn host_bits_are_cleared_and_lengths_are_checked() {
        assert_eq!(prefix("10.1.2.3", 8), prefix("10.0.0.0", 8));
        assert_eq!(prefix("2001:db8:1::1", 32), prefix("2001:db8::", 32));
        assert_eq!(prefix("10.0.0.0", 33), None);
        assert_eq!(prefix("::", 129), None);
    }

    #[test]
    fn ranges_have_their_ends() {
        let range = |text, length| prefix(text, length).unwrap().range();
        assert_eq!(range("0.0.0.0", 0), (0, u32::MAX.into()));
        assert_eq!(range("0.0.1.0", 24), (256, 511));
        assert_eq!(range("0.0.0.9", 32), (9, 9));
        assert_eq!(range("::", 0), (0, u128::MAX));
        assert_eq!(range("::9", 128), (9, 9));
    }
}
