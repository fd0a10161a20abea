//! How a NIC spreads frames over its queues (receive side scaling): by the Toeplitz hash of addresses
//! and ports, through a table of queues.
//!
//! Who chooses a port can choose by which queue the answers to it come. The hash is linear, so that of
//! a port is two looks into a table, on top of that of the rest.

use crate::key::Protocol;
use std::net::{IpAddr, SocketAddr};

/// Bytes of the longest input: two IPv6 addresses and two ports.
const INPUT: usize = 36;
/// Bytes of the shortest key for it.
const KEY: usize = INPUT + 4;

/// What a port says of how it spreads frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The key of the hash, 40 bytes or more.
    pub key: Vec<u8>,
    /// The queue of each value of the hash's low bits: a power of two of them.
    pub queues: Vec<u16>,
    /// Of which packets the ports are hashed too: protocol, and whether it is over IPv4.
    pub kinds: Vec<(Protocol, bool)>,
}

/// What is worked out of it ahead.
#[derive(Clone, Debug)]
pub(crate) struct Steering {
    spread: Spread,
    /// The hash of each value of both bytes of a destination port, over IPv4 and IPv6.
    ports4: [[u32; 256]; 2],
    ports6: [[u32; 256]; 2],
}

/// The hash of everything of an answer but the port that it is to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partial {
    hash: u32,
    is_ipv4: bool,
}

impl Steering {
    /// `None` where the description is not one of such a hash.
    pub(super) fn new(spread: &Spread) -> Option<Self> {
        if spread.key.len() < KEY || !spread.queues.len().is_power_of_two() {
            return None;
        }
        Some(Self {
            ports4: ports_at(&spread.key, 10),
            ports6: ports_at(&spread.key, 34),
            spread: spread.clone(),
        })
    }

    /// Whether the ports of these packets are hashed.
    pub(crate) fn hashes_ports(&self, protocol: Protocol, is_ipv4: bool) -> bool {
        self.spread.kinds.contains(&(protocol, is_ipv4))
    }

    /// The hash of answers from there to a port of a local address, as far as it is known.
    pub(crate) fn partial(&self, from: SocketAddr, local: IpAddr) -> Partial {
        let mut input = [0; INPUT];
        let len = write_addresses(&mut input, from.ip(), local);
        input[len..len + 2].copy_from_slice(&from.port().to_be_bytes());
        Partial {
            hash: toeplitz(&self.spread.key, &input[..len + 2]),
            is_ipv4: local.is_ipv4(),
        }
    }

    /// The queue by which answers to this port come.
    #[inline]
    pub(crate) fn queue(&self, partial: Partial, port: u16) -> u16 {
        let [high, low] = port.to_be_bytes().map(usize::from);
        let ports = if partial.is_ipv4 {
            &self.ports4
        } else {
            &self.ports6
        };
        let hash = partial.hash ^ ports[0][high] ^ ports[1][low];
        self.spread.queues[hash as usize & (self.spread.queues.len() - 1)]
    }
}

fn write_addresses(input: &mut [u8; INPUT], from: IpAddr, to: IpAddr) -> usize {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            input[..4].copy_from_slice(&from.octets());
            input[4..8].copy_from_slice(&to.octets());
            8
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            input[..16].copy_from_slice(&from.octets());
            input[16..32].copy_from_slice(&to.octets());
            32
        }
        _ => 0,
    }
}

fn ports_at(key: &[u8], at: usize) -> [[u32; 256]; 2] {
    [at, at + 1]
        .map(|at| std::array::from_fn(|value| part(key, at, u8::try_from(value).unwrap_or(0))))
}

/// For every bit of the input that is set, the 32 bits of the key from that place on, xored.
fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
    let parts = input.iter().enumerate();
    parts.fold(0, |hash, (at, byte)| hash ^ part(key, at, *byte))
}

/// What one byte of the input adds.
fn part(key: &[u8], at: usize, byte: u8) -> u32 {
    let mut window = [0; 8];
    window[..5].copy_from_slice(&key[at..at + 5]);
    let window = u64::from_be_bytes(window);
    let bits = (0..8).filter(|bit| byte & (0x80 >> bit) != 0);
    bits.fold(0, |hash, bit| hash ^ (window << bit >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The key of Microsoft's "Verifying the RSS hash calculation".
    const VERIFICATION: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    /// Its table: from, to, the hash of the addresses, and with the ports.
    const VECTORS: [(&str, &str, u32, u32); 8] = [
        (
            "66.9.149.187:2794",
            "161.142.100.80:1766",
            0x323e_8fc2,
            0x51cc_c178,
        ),
        (
            "199.92.111.2:14230",
            "65.69.140.83:4739",
            0xd718_262a,
            0xc626_b0ea,
        ),
        (
            "24.19.198.95:12898",
            "12.22.207.184:38024",
            0xd2d0_a5de,
            0x5c2b_394a,
        ),
        (
            "38.27.205.30:48228",
            "209.142.163.6:2217",
            0x8298_9176,
            0xafc7_327f,
        ),
        (
            "153.39.163.191:44251",
            "202.188.127.2:1303",
            0x5d18_09c5,
            0x10e8_28a2,
        ),
        (
            "[3ffe:2501:200:1fff::7]:2794",
            "[3ffe:2501:200:3::1]:1766",
            0x2cc1_8cd5,
            0x4020_7d3d,
        ),
        (
            "[3ffe:501:8::260:97ff:fe40:efab]:14230",
            "[ff02::1]:4739",
            0x0f0c_461c,
            0xdde5_1bbf,
        ),
        (
            "[3ffe:1900:4545:3:200:f8ff:fe21:67cf]:44251",
            "[fe80::200:f8ff:fe21:67cf]:38024",
            0x4b61_e985,
            0x02d1_feef,
        ),
    ];

    fn steering(queues: Vec<u16>) -> Steering {
        let spread = Spread {
            key: VERIFICATION.to_vec(),
            queues,
            kinds: vec![(Protocol::Tcp, true)],
        };
        Steering::new(&spread).unwrap()
    }

    #[test]
    fn the_hash_is_that_of_the_published_table() {
        // A queue for each of the hash's low 16 bits: those are seen.
        let all = steering((0..=u16::MAX).collect());
        for (from, to, of_addresses, of_all) in VECTORS {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let mut input = [0; INPUT];
            let len = write_addresses(&mut input, from.ip(), to.ip());
            assert_eq!(toeplitz(&VERIFICATION, &input[..len]), of_addresses);
            input[len..len + 2].copy_from_slice(&from.port().to_be_bytes());
            input[len + 2..len + 4].copy_from_slice(&to.port().to_be_bytes());
            assert_eq!(toeplitz(&VERIFICATION, &input[..len + 4]), of_all);
            let queue = all.queue(all.partial(from, to.ip()), to.port());
            assert_eq!(u32::from(queue), of_all & 0xffff);
        }
    }

    #[test]
    fn what_is_no_such_hash_is_not_taken() {
        let mut spread = Spread {
            key: VERIFICATION.to_vec(),
            queues: vec![0; 3],
            kinds: Vec::new(),
        };
        assert!(Steering::new(&spread).is_none());
        spread.queues.clear();
        assert!(Steering::new(&spread).is_none());
        spread.queues = vec![0; 4];
        assert!(Steering::new(&spread).is_some());
        spread.key.pop();
        assert!(Steering::new(&spread).is_none());
    }

    proptest! {
        #![proptest_config(crate::models::cases(64))]
        #[test]
        fn a_port_is_two_looks(from: u16, to: u16, address: [u8; 8]) {
            let all = steering((0..=u16::MAX).collect());
            let mut input = [0; 12];
            input[..8].copy_from_slice(&address);
            input[8..10].copy_from_slice(&from.to_be_bytes());
            input[10..].copy_from_slice(&to.to_be_bytes());
            let [a, b, c, d, e, f, g, h] = address;
            let partial = all.partial(SocketAddr::from(([a, b, c, d], from)), [e, f, g, h].into());
            let hash = toeplitz(&VERIFICATION, &input);
            prop_assert_eq!(u32::from(all.queue(partial, to)), hash & 0xffff);
        }
    }
}
