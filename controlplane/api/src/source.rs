//! The client side of an affinity's key: an address, an address and port, or a subnet.
//!
//! A `Source` is canonical from the moment it exists (contract rule S4), so that two that mean the
//! same client are equal, hash alike and print alike.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// A canonical source: `10.1.2.3`, `10.1.2.3:5000`, `[fd00::1]:5000`, `10.1.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Source {
    // Invariant: not IPv4-mapped, and the bits after `prefix_length` are zero.
    address: IpAddr,
    // Invariant: at most the bits of the family; all of them if `port` is not 0.
    prefix_length: u8,
    // 0: any port.
    port: u16,
}

/// Why a source is not one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadSource {
    /// Not the text of an address, an address and port, or a prefix.
    Text(String),
    /// Neither 4 nor 16 bytes.
    Length(usize),
    /// More bits than the family has.
    Prefix(u32),
    /// Port 0, or beyond 65535, in an ip:port key.
    Port(u32),
    /// A port and a prefix in one key.
    PortAndPrefix,
    /// No client can have it: unspecified, loopback or multicast.
    NotUnicast(IpAddr),
}

impl fmt::Display for BadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(
                f,
                "source {text:?}: write 10.1.2.3, 10.1.2.3:5000, [fd00::1]:5000 or 10.1.0.0/16"
            ),
            Self::Length(bytes) => {
                write!(
                    f,
                    "source: {bytes} bytes; an address has 4 or 16, in network order"
                )
            }
            Self::Prefix(bits) => {
                write!(
                    f,
                    "source: /{bits} is longer than its address; at most /32 (IPv4) or /128 (IPv6)"
                )
            }
            Self::Port(port) => write!(
                f,
                "source: port {port} is not one of a client (1 to 65535); leave it out for any port"
            ),
            Self::PortAndPrefix => write!(f, "source: give a port or a prefix length, not both"),
            Self::NotUnicast(address) => write!(
                f,
                "source {address}: unspecified, loopback and multicast addresses are not those of a client"
            ),
        }
    }
}

impl std::error::Error for BadSource {}

impl Source {
    /// Any port of one address.
    #[must_use]
    pub fn ip(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            prefix_length: bits(address),
            port: 0,
        }
    }

    /// One port of one address; port 0 is an error.
    pub fn ip_port(address: SocketAddr) -> Result<Self, BadSource> {
        match address.port() {
            0 => Err(BadSource::Port(0)),
            port => Ok(Self {
                port,
                ..Self::ip(address.ip())
            }),
        }
    }

    /// A subnet: host bits are cleared, /32 and /128 are the address itself.
    pub fn subnet(address: IpAddr, prefix_length: u8) -> Result<Self, BadSource> {
        if prefix_length > bits(address) {
            return Err(BadSource::Prefix(prefix_length.into()));
        }
        let masked = mask(address, prefix_length);
        let address = masked.to_canonical();
        // A mapped prefix of /96 or longer counts its bits from the IPv4 address on.
        let prefix_length = prefix_length - (bits(masked) - bits(address));
        Ok(Self {
            address,
            prefix_length,
            port: 0,
        })
    }

    /// From the fields of a batch: 4 or 16 bytes, port or 0, prefix length if it is a subnet.
    pub fn from_wire(
        address: &[u8],
        port: u32,
        prefix_length: Option<u32>,
    ) -> Result<Self, BadSource> {
        let address = address_of(address).ok_or(BadSource::Length(address.len()))?;
        match (port, prefix_length) {
            (0, None) => Ok(Self::ip(address)),
            (0, Some(length)) => {
                let length = u8::try_from(length).map_err(|_| BadSource::Prefix(length))?;
                Self::subnet(address, length)
            }
            (port, None) => {
                let port = u16::try_from(port).map_err(|_| BadSource::Port(port))?;
                Self::ip_port(SocketAddr::new(address, port))
            }
            (_, Some(_)) => Err(BadSource::PortAndPrefix),
        }
    }

    /// The address, or the first one of the subnet.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The port; 0 is any.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many leading bits count: 32 or 128 unless it is a subnet.
    #[must_use]
    pub fn prefix_length(&self) -> u8 {
        self.prefix_length
    }

    /// Whether it is more than one address.
    #[must_use]
    pub fn is_subnet(&self) -> bool {
        self.prefix_length < bits(self.address)
    }

    /// Whether a packet from this address and port matches.
    #[must_use]
    pub fn contains(&self, client: SocketAddr) -> bool {
        let address = client.ip().to_canonical();
        address.is_ipv4() == self.address.is_ipv4()
            && mask(address, self.prefix_length) == self.address
            && (self.port == 0 || self.port == client.port())
    }

    /// Refuses what no client can have (contract, section 4): `INVALID` from the forwarder.
    ///
    /// A subnet that merely covers the unspecified address is a matter of breadth, not of validity.
    pub fn check_unicast(&self) -> Result<(), BadSource> {
        let unspecified = self.address.is_unspecified() && !self.is_subnet();
        let broadcast = self.address == IpAddr::V4(Ipv4Addr::BROADCAST);
        if unspecified || broadcast || self.address.is_loopback() || self.address.is_multicast() {
            return Err(BadSource::NotUnicast(self.address));
        }
        Ok(())
    }
}

/// An address from its 4 or 16 bytes in network order.
pub(crate) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn mask(address: IpAddr, prefix_length: u8) -> IpAddr {
    let host_bits = u32::from(bits(address).saturating_sub(prefix_length));
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl FromStr for Source {
    type Err = BadSource;

    fn from_str(text: &str) -> Result<Self, BadSource> {
        let bad = || BadSource::Text(text.to_owned());
        if let Some((address, length)) = text.split_once('/') {
            let address = address.parse().map_err(|_| bad())?;
            return Self::subnet(address, length.parse().map_err(|_| bad())?);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::ip(address));
        }
        Self::ip_port(text.parse().map_err(|_| bad())?)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.port != 0 {
            return SocketAddr::new(self.address, self.port).fmt(f);
        }
        if self.is_subnet() {
            return write!(f, "{}/{}", self.address, self.prefix_length);
        }
        self.address.fmt(f)
    }
}

impl TryFrom<String> for Source {
    type Error = BadSource;

    fn try_from(text: String) -> Result<Self, BadSource> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Source>()
            .unwrap_or_else(|e| panic!("{text}: {e}"))
            .to_string()
    }

    #[test]
    fn s4_text_becomes_canonical() {
        for (given, expected) in [
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3:5000", "10.1.2.3:5000"),
            ("10.1.2.3/16", "10.1.0.0/16"),
            ("10.1.2.3/32", "10.1.2.3"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00:0::1", "fd00::1"),
            ("fd00::1/128", "fd00::1"),
            ("fd00:1:2::3/32", "fd00:1::/32"),
            ("[fd00::1]:5000", "[fd00::1]:5000"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("[::ffff:10.1.2.3]:5000", "10.1.2.3:5000"),
            ("::ffff:10.1.2.3/112", "10.1.0.0/16"),
            ("::ffff:10.1.2.3/128", "10.1.2.3"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(canonical(given), expected, "{given}");
        }
    }

    #[test]
    fn what_is_not_a_source_is_told_why() {
        for text in [
            "",
            "shop",
            "10.1.2",
            "10.1.2.3/",
            "10.1.2.3/x",
            "10.1.2.3:5/16",
            "fd00::1:99999x",
        ] {
            assert_eq!(
                text.parse::<Source>(),
                Err(BadSource::Text(text.to_owned()))
            );
        }
        assert_eq!("10.1.2.3:0".parse::<Source>(), Err(BadSource::Port(0)));
        assert_eq!("10.1.2.3/33".parse::<Source>(), Err(BadSource::Prefix(33)));
        assert_eq!("fd00::/129".parse::<Source>(), Err(BadSource::Prefix(129)));
    }

    #[test]
    fn bytes_and_text_mean_the_same() {
        let wire =
            |bytes: &[u8], port, length| Source::from_wire(bytes, port, length).map(String::from);
        assert_eq!(wire(&[10, 1, 2, 3], 0, None), Ok("10.1.2.3".into()));
        assert_eq!(wire(&[10, 1, 2, 3], 5000, None), Ok("10.1.2.3:5000".into()));
        assert_eq!(wire(&[10, 1, 2, 3], 0, Some(8)), Ok("10.0.0.0/8".into()));
        let mapped = Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped().octets();
        assert_eq!(wire(&mapped, 0, Some(104)), Ok("10.0.0.0/8".into()));
        assert_eq!(wire(&[10, 1, 2], 0, None), Err(BadSource::Length(3)));
        assert_eq!(
            wire(&[10, 1, 2, 3], 70_000, None),
            Err(BadSource::Port(70_000))
        );
        assert_eq!(
            wire(&[10, 1, 2, 3], 0, Some(300)),
            Err(BadSource::Prefix(300))
        );
        assert_eq!(
            wire(&[10, 1, 2, 3], 1, Some(8)),
            Err(BadSource::PortAndPrefix)
        );
    }

    #[test]
    fn only_what_a_client_can_have_is_unicast() {
        let check = |text: &str| text.parse::<Source>().and_then(|s| s.check_unicast());
        for text in [
            "127.0.0.1",
            "127.0.0.0/8",
            "::1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
        for text in ["10.1.2.3", "0.0.0.0/0", "::/0", "fe80::1", "10.0.0.0/8"] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_source_contains_its_clients() {
        let contains = |source: &str, client: &str| {
            source
                .parse::<Source>()
                .unwrap()
                .contains(client.parse().unwrap())
        };
        assert!(contains("10.1.0.0/16", "10.1.255.255:1"));
        assert!(!contains("10.1.0.0/16", "10.2.0.0:1"));
        assert!(contains("10.1.2.3:5", "[::ffff:10.1.2.3]:5"));
        assert!(!contains("10.1.2.3:5", "10.1.2.3:6"));
        assert!(!contains("::/0", "10.1.2.3:6"));
    }
}
