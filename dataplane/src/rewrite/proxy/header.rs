//! The header of version 2, section 2.2 of the specification of the PROXY protocol:
//! `PROXY`, TCP, the client's address and port and what it addressed.

use arrayvec::ArrayVec;
use std::net::{IpAddr, SocketAddr};

/// The longest header, in bytes: that of IPv6.
const LEN_MAX: usize = 16 + 36;
const LEN4: u16 = 16 + 12;
const LEN6: u16 = 16 + 36;

/// What it begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, a connection of another.
const PROXY: u8 = 0x21;
/// TCP over IPv4, and 12 bytes that follow.
const TCP4: [u8; 3] = [0x11, 0, 12];
/// TCP over IPv6, and 36 bytes.
const TCP6: [u8; 3] = [0x21, 0, 36];

/// How long the header for a client is, in bytes.
pub(crate) fn header_len(client: SocketAddr) -> u16 {
    if client.is_ipv4() { LEN4 } else { LEN6 }
}

/// The header for a client of a service; both of one family.
pub(super) fn proxy_header(client: SocketAddr, service: SocketAddr) -> ArrayVec<u8, LEN_MAX> {
    let mut header = ArrayVec::from_iter(SIGNATURE);
    header.push(PROXY);
    header.extend(match client {
        SocketAddr::V4(_) => TCP4,
        SocketAddr::V6(_) => TCP6,
    });
    for end in [client, service] {
        match end.ip() {
            IpAddr::V4(ip) => header.extend(ip.octets()),
            IpAddr::V6(ip) => header.extend(ip.octets()),
        }
    }
    for end in [client, service] {
        header.extend(end.port().to_be_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(client: &str, service: &str) -> Vec<u8> {
        let client = client.parse().unwrap();
        let header = proxy_header(client, service.parse().unwrap());
        assert_eq!(header.len(), usize::from(header_len(client)));
        header.to_vec()
    }

    /// Byte by byte from the specification.
    #[test]
    fn headers_are_as_they_are_specified() {
        let v4 = [
            0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0,
            12, 192, 0, 2, 1, 203, 0, 113, 80, 0xdc, 0x04, 0x01, 0xbb,
        ];
        assert_eq!(header("192.0.2.1:56324", "203.0.113.80:443"), v4);
        let v6 = [
            0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x21, 0,
            36, //
            0x20, 0x01, 0x0d, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, //
            0x20, 0x01, 0x0d, 0xb8, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, //
            0x13, 0x88, 0, 80,
        ];
        assert_eq!(header("[2001:db8:7::7]:5000", "[2001:db8:80::80]:80"), v6);
    }
}
