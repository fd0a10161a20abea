//! Flow keys: the 5-tuple as it stands in the packet.
//!
//! All fields are in network byte order, as loaded; nothing on the path swaps them. `ports` is the
//! first four bytes of the TCP or UDP header: source port, then destination port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The transport protocols that services have, with their IP protocol numbers (RFC 9293, RFC 768).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// TCP, 6.
    Tcp = 6,
    /// UDP, 17.
    Udp = 17,
}

/// The four port bytes of a TCP or UDP header, as loaded from the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports(pub u32);

impl Ports {
    /// Ports from host byte order.
    #[must_use]
    pub fn new(source: u16, destination: u16) -> Self {
        let [a, b] = source.to_be_bytes();
        let [c, d] = destination.to_be_bytes();
        Self(u32::from_ne_bytes([a, b, c, d]))
    }

    /// The source port in host byte order.
    #[must_use]
    pub fn source(self) -> u16 {
        let [a, b, ..] = self.0.to_ne_bytes();
        u16::from_be_bytes([a, b])
    }

    /// The destination port in host byte order.
    #[must_use]
    pub fn destination(self) -> u16 {
        let [.., a, b] = self.0.to_ne_bytes();
        u16::from_be_bytes([a, b])
    }
}

/// An IPv4 flow key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key4 {
    /// Source address, network byte order.
    pub source: u32,
    /// Destination address, network byte order.
    pub destination: u32,
    /// Both ports.
    pub ports: Ports,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// An IPv6 flow key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key6 {
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// Both ports.
    pub ports: Ports,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// What both families' keys tell the rest of the path.
pub trait FlowKey: Copy + Eq + std::hash::Hash + std::fmt::Debug {
    /// The client's address.
    fn source(&self) -> IpAddr;
    /// The VIP.
    fn destination(&self) -> IpAddr;
    /// Both ports.
    fn ports(&self) -> Ports;
    /// The transport protocol.
    fn protocol(&self) -> Protocol;
    /// Whether another has the same destination, its port and the protocol.
    fn addresses_as(&self, other: &Self) -> bool;
}

impl FlowKey for Key4 {
    fn source(&self) -> IpAddr {
        Ipv4Addr::from(self.source.to_ne_bytes()).into()
    }
    fn destination(&self) -> IpAddr {
        Ipv4Addr::from(self.destination.to_ne_bytes()).into()
    }
    fn ports(&self) -> Ports {
        self.ports
    }
    fn protocol(&self) -> Protocol {
        self.protocol
    }
    #[inline]
    fn addresses_as(&self, other: &Self) -> bool {
        self.destination == other.destination
            && self.ports.destination() == other.ports.destination()
            && self.protocol == other.protocol
    }
}

impl FlowKey for Key6 {
    fn source(&self) -> IpAddr {
        Ipv6Addr::from(self.source).into()
    }
    fn destination(&self) -> IpAddr {
        Ipv6Addr::from(self.destination).into()
    }
    fn ports(&self) -> Ports {
        self.ports
    }
    fn protocol(&self) -> Protocol {
        self.protocol
    }
    #[inline]
    fn addresses_as(&self, other: &Self) -> bool {
        self.destination == other.destination
            && self.ports.destination() == other.ports.destination()
            && self.protocol == other.protocol
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_the_bytes_of_the_header() {
        let ports = Ports::new(0x1234, 80);
        assert_eq!(ports.0.to_ne_bytes(), [0x12, 0x34, 0, 80]);
        assert_eq!((ports.source(), ports.destination()), (0x1234, 80));
    }
}
