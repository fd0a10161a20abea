//! The client side of an affinity, in canonical form (contract rule S4).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
};

/// A client address, an address and port, or a subnet.
///
/// Canonical by construction: host bits are clear, an IPv4-mapped address is its IPv4 address, and
/// a port goes only with a whole address. Equal sources are equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    address: IpAddr,
    prefix: u8,
    port: Option<NonZeroU16>,
}

/// Why something is no source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// A prefix longer than the family's addresses.
    #[error("a prefix length of {0} bits: at most 32 for IPv4, 128 for IPv6")]
    PrefixTooLong(u8),
    /// A multicast address.
    #[error("{0} is multicast: no client sends from it")]
    Multicast(IpAddr),
    /// The unspecified address.
    #[error("{0} is the unspecified address: no client sends from it")]
    Unspecified(IpAddr),
    /// A loopback address.
    #[error("{0} is loopback: no client sends from it over a network")]
    Loopback(IpAddr),
    /// The IPv4 broadcast address.
    #[error("255.255.255.255 is broadcast: no client sends from it")]
    Broadcast,
}

impl Source {
    /// One address.
    pub fn host(address: IpAddr) -> Result<Self, SourceError> {
        Self::subnet(address, if address.is_ipv4() { 32 } else { 128 })
    }

    /// One address and port.
    pub fn host_port(address: IpAddr, port: NonZeroU16) -> Result<Self, SourceError> {
        let host = Self::host(address)?;
        Ok(Self {
            port: Some(port),
            ..host
        })
    }

    /// A subnet; host bits are cleared. A whole address is the same as [`Source::host`].
    pub fn subnet(address: IpAddr, prefix: u8) -> Result<Self, SourceError> {
        let (address, prefix) = unmapped(address, prefix);
        let address = masked(address, prefix)?;
        refuse_unusable(address, prefix)?;
        Ok(Self {
            address,
            prefix,
            port: None,
        })
    }

    /// The address, host bits clear.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The prefix length: 32 or 128 for one address.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The port, where the source has one.
    #[must_use]
    pub fn port(&self) -> Option<NonZeroU16> {
        self.port
    }

    /// Whether it is a subnet of more than one address.
    #[must_use]
    pub fn is_subnet(&self) -> bool {
        self.prefix < if self.address.is_ipv4() { 32 } else { 128 }
    }
}

/// `::ffff:a.b.c.d` as a.b.c.d (RFC 4291 section 2.5.5.2), with the prefix counted from there.
fn unmapped(address: IpAddr, prefix: u8) -> (IpAddr, u8) {
    match address {
        IpAddr::V6(v6) if prefix >= 96 => match v6.to_ipv4_mapped() {
            Some(v4) => (v4.into(), prefix - 96),
            None => (address, prefix),
        },
        _ => (address, prefix),
    }
}

fn masked(address: IpAddr, prefix: u8) -> Result<IpAddr, SourceError> {
    let too_long = SourceError::PrefixTooLong(prefix);
    match address {
        IpAddr::V4(_) if prefix > 32 => Err(too_long),
        IpAddr::V6(_) if prefix > 128 => Err(too_long),
        IpAddr::V4(v4) => Ok(Ipv4Addr::from_bits(v4.to_bits() & mask4(prefix)).into()),
        IpAddr::V6(v6) => Ok(Ipv6Addr::from_bits(v6.to_bits() & mask6(prefix)).into()),
    }
}

/// The mask of an IPv4 prefix; a longer one than 32 bits is a whole address.
#[inline]
pub(crate) fn mask4(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(32_u32.saturating_sub(prefix.into()))
        .unwrap_or_default()
}

/// The mask of an IPv6 prefix; a longer one than 128 bits is a whole address.
#[inline]
pub(crate) fn mask6(prefix: u8) -> u128 {
    u128::MAX
        .checked_shl(128_u32.saturating_sub(prefix.into()))
        .unwrap_or_default()
}

fn refuse_unusable(address: IpAddr, prefix: u8) -> Result<(), SourceError> {
    let default_route = prefix == 0;
    if address.is_multicast() {
        Err(SourceError::Multicast(address))
    } else if address.is_loopback() {
        Err(SourceError::Loopback(address))
    } else if address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Err(SourceError::Broadcast)
    } else if address.is_unspecified() && !default_route {
        Err(SourceError::Unspecified(address))
    } else {
        Ok(())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => std::net::SocketAddr::new(self.address, port.get()).fmt(f),
            None if self.is_subnet() => write!(f, "{}/{}", self.address, self.prefix),
            None => self.address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_are_cleared_and_a_whole_address_is_a_host() {
        let subnet = Source::subnet(ip("192.0.2.77"), 24).unwrap();
        assert_eq!(subnet.to_string(), "192.0.2.0/24");
        assert_eq!(
            Source::subnet(ip("192.0.2.77"), 32),
            Source::host(ip("192.0.2.77"))
        );
        let v6 = Source::subnet(ip("2001:db8::1:2"), 112).unwrap();
        assert_eq!(v6.to_string(), "2001:db8::1:0/112");
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let port = NonZeroU16::new(9).unwrap();
        assert_eq!(
            Source::host(ip("::ffff:192.0.2.1")),
            Source::host(ip("192.0.2.1"))
        );
        assert_eq!(
            Source::host_port(ip("::ffff:192.0.2.1"), port),
            Source::host_port(ip("192.0.2.1"), port)
        );
        assert_eq!(
            Source::subnet(ip("::ffff:192.0.2.1"), 120),
            Source::subnet(ip("192.0.2.0"), 24)
        );
    }

    #[test]
    fn what_no_client_sends_from_is_refused() {
        assert!(matches!(
            Source::host(ip("224.0.0.1")),
            Err(SourceError::Multicast(_))
        ));
        assert!(matches!(
            Source::host(ip("ff02::1")),
            Err(SourceError::Multicast(_))
        ));
        assert!(matches!(
            Source::host(ip("127.0.0.1")),
            Err(SourceError::Loopback(_))
        ));
        assert!(matches!(
            Source::host(ip("::1")),
            Err(SourceError::Loopback(_))
        ));
        assert!(matches!(
            Source::host(ip("0.0.0.0")),
            Err(SourceError::Unspecified(_))
        ));
        assert_eq!(
            Source::host(ip("255.255.255.255")),
            Err(SourceError::Broadcast)
        );
        assert_eq!(
            Source::subnet(ip("192.0.2.1"), 33),
            Err(SourceError::PrefixTooLong(33))
        );
    }
}
