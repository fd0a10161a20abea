//! The services of every testbed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tether_api::operator::Protocol;

/// What clients address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vip {
    /// Name of the service.
    pub service: &'static str,
    pub protocol: Protocol,
    pub address: SocketAddr,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// As in 4in6.
    pub fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }

    /// The address of server `number`, 1 or more.
    pub fn server_address(self, number: usize) -> String {
        let host = 10 + number;
        match self {
            Self::V4 => format!("10.9.0.{host}"),
            Self::V6 => format!("fd00:9::{host}"),
        }
    }

    /// The client's address that a gateway has, for those behind it.
    pub fn gateway(self) -> &'static str {
        match self {
            Self::V4 => "10.9.0.1",
            Self::V6 => "fd00:9::1",
        }
    }

    /// Two addresses of the client on a subnet that the forwarder is not on.
    pub fn far_clients(self) -> [&'static str; 2] {
        match self {
            Self::V4 => ["10.96.0.1", "10.96.0.3"],
            Self::V6 => ["fd00:96::1", "fd00:96::3"],
        }
    }

    /// The address of server `number`, 1 or more, on a subnet that the forwarder is not on.
    pub fn far_address(self, number: usize) -> String {
        let host = 10 + number;
        match self {
            Self::V4 => format!("10.98.0.{host}"),
            Self::V6 => format!("fd00:98::{host}"),
        }
    }
}

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 0x100));

const fn vip(service: &'static str, protocol: Protocol, ip: IpAddr, port: u16) -> Vip {
    let address = SocketAddr::new(ip, port);
    Vip {
        service,
        protocol,
        address,
    }
}

/// TCP over IPv4.
pub const SHOP: Vip = vip("shop", Protocol::Tcp, V4, 80);
/// TCP over IPv4, the same VIP at another port.
pub const SHOP_TLS: Vip = vip("shop-tls", Protocol::Tcp, V4, 443);
/// TCP over IPv6.
pub const SHOP6: Vip = vip("shop6", Protocol::Tcp, V6, 80);
/// UDP over IPv4.
pub const GAME: Vip = vip("game", Protocol::Udp, V4, 5000);
/// UDP over IPv6.
pub const GAME6: Vip = vip("game6", Protocol::Udp, V6, 5000);

/// All of them.
pub const VIPS: [Vip; 5] = [SHOP, SHOP_TLS, SHOP6, GAME, GAME6];

impl Vip {
    /// As `tetherctl` and the configuration call the protocol.
    pub fn protocol_name(&self) -> &'static str {
        match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// Where server `number`, 1 or more, serves it by an address of its own.
    pub fn at_server(&self, number: usize) -> SocketAddr {
        let address = self.family().server_address(number);
        SocketAddr::new(address.parse().unwrap(), self.port_at_servers())
    }

    /// The port there.
    pub fn port_at_servers(&self) -> u16 {
        8000 + self.address.port()
    }

    /// The family of its address.
    pub fn family(&self) -> Family {
        match self.address {
            SocketAddr::V4(_) => Family::V4,
            SocketAddr::V6(_) => Family::V6,
        }
    }
}
