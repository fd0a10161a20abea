//! The packet that is to be wrapped: what of it decides fields of the outer headers.

use crate::{
    hash::HashKeys,
    wire::{
        ipv4::{self, Ipv4},
        ipv6::Ipv6,
    },
};
use zerocopy::FromBytes;

/// What the outer headers take from the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inner {
    /// In bytes, with its IP header and without what pads the frame.
    pub(super) len: u16,
    /// DSCP and ECN.
    pub(super) traffic_class: u8,
    /// Of the flow; of the addresses alone where there are no ports to see, so that all fragments of
    /// a packet have the same.
    pub(super) hash: u64,
}

impl Inner {
    /// Reads a packet that was parsed.
    #[inline]
    pub(super) fn read(packet: &[u8], keys: &HashKeys) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::read_v4(packet, keys),
            _ => Self::read_v6(packet, keys),
        }
    }

    #[inline]
    fn read_v4(packet: &[u8], keys: &HashKeys) -> Option<Self> {
        let (header, _) = Ipv4::ref_from_prefix(packet).ok()?;
        let [source, destination] = [header.source, header.destination].map(u32::from_ne_bytes);
        let ports = if header.is_fragment() {
            0
        } else {
            ports(header.protocol, packet, header.header_len().into())
        };
        let addresses = u64::from(source) << 32 | u64::from(destination);
        Some(Self {
            len: header.total_len.get(),
            traffic_class: header.traffic_class,
            hash: keys.hash2(addresses, ports << 8 | u64::from(header.protocol)),
        })
    }

    /// Extension headers hide the ports: such packets go by their addresses.
    #[inline]
    fn read_v6(packet: &[u8], keys: &HashKeys) -> Option<Self> {
        let (header, _) = Ipv6::ref_from_prefix(packet).ok()?;
        let protocol = header.next_header;
        let ports = ports(protocol, packet, Ipv6::LEN.into());
        let [a, b] = words(header.source);
        let [c, d] = words(header.destination);
        Some(Self {
            len: Ipv6::LEN.saturating_add(header.payload_len.get()),
            traffic_class: header.traffic_class(),
            hash: keys.hash2(keys.hash4(a, b, c, d), ports << 8 | u64::from(protocol)),
        })
    }
}

/// The port bytes of TCP or UDP at `at`; 0 for others.
#[inline]
fn ports(protocol: u8, packet: &[u8], at: usize) -> u64 {
    let bytes = packet.get(at..).and_then(|it| it.first_chunk::<4>());
    match (protocol, bytes) {
        (ipv4::TCP | ipv4::UDP, Some(bytes)) => u64::from(u32::from_ne_bytes(*bytes)),
        _ => 0,
    }
}

fn words(address: [u8; 16]) -> [u64; 2] {
    let bits = u128::from_ne_bytes(address);
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a u128")]
    [(bits >> 64) as u64, bits as u64]
}
