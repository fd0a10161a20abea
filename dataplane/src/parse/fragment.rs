//! Fragments (RFC 791 section 3.2, RFC 8200 section 4.5): which packet one is of, and whether it is
//! the first, which alone has the ports.

use zerocopy::FromBytes;

use super::extensions;
use super::transport::{Transport, first_transport};
use crate::fate::Fate;
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::ipv6::{self, Ipv6};
use crate::wire::tcp::Tcp;

/// The longest packet that fragments make up, in bytes.
const PACKET_LEN: usize = u16::MAX as usize;

/// What a fragment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it begins in the packet's payload, in bytes.
    pub(super) offset: u16,
    /// More of the packet follows.
    pub(super) has_more: bool,
    /// How much of the payload it has, in bytes.
    pub(super) len: usize,
}

impl Piece {
    /// Whether it begins behind the first fragment.
    pub(super) fn is_later(self) -> bool {
        self.offset > 0
    }

    /// The transport header, if this is the first fragment. Refused is what no stack makes: a
    /// fragment of nothing, beyond the longest packet, of a broken length, or over the TCP header of
    /// the first one (RFC 1858, RFC 3128).
    pub(super) fn check(self, protocol: u8, payload: &[u8]) -> Result<Option<Transport>, Fate> {
        if !matches!(protocol, ipv4::TCP | ipv4::UDP) {
            return Err(Fate::Fragment);
        }
        let is_broken = self.len == 0
            || usize::from(self.offset) + self.len > PACKET_LEN
            || (self.has_more && !self.len.is_multiple_of(8));
        let overlaps = protocol == ipv4::TCP && (1..Tcp::LEN).contains(&self.offset.into());
        if is_broken || overlaps {
            return Err(Fate::FragmentMalformed);
        }
        if self.is_later() {
            return Ok(None);
        }
        first_transport(protocol, payload).map(Some)
    }
}

/// Which packet a fragment is of: all fragments of a packet have the same, and those of others on
/// the way at that time another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FragmentId {
    /// Source and destination; of IPv4 the first four bytes of each.
    pub(crate) addresses: [[u8; 16]; 2],
    pub(crate) identification: u32,
    /// Of IPv4; 0 of IPv6, where it is no part of the identity.
    pub(crate) protocol: u8,
}

/// The packet that a fragment is of whose IP header starts at `l3`; `None` where it is no fragment.
pub(crate) fn fragment_id(frame: &[u8], l3: u16) -> Option<FragmentId> {
    let packet = frame.get(usize::from(l3)..)?;
    if packet.first()? >> 4 == 4 {
        let (header, _) = Ipv4::ref_from_prefix(packet).ok()?;
        return header.is_fragment().then(|| FragmentId {
            addresses: [widened(header.source), widened(header.destination)],
            identification: header.identification.get().into(),
            protocol: header.protocol,
        });
    }
    let (header, payload) = Ipv6::ref_from_prefix(packet).ok()?;
    let fragment = extensions::fragment(header.next_header, payload)?;
    Some(FragmentId {
        addresses: [header.source, header.destination],
        identification: fragment.identification.get(),
        protocol: 0,
    })
}

fn widened([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    let mut wide = [0; 16];
    wide[..4].copy_from_slice(&[a, b, c, d]);
    wide
}

impl From<ipv6::Fragment> for Piece {
    /// Without a length yet.
    fn from(header: ipv6::Fragment) -> Self {
        Self {
            offset: header.offset(),
            has_more: header.has_more(),
            len: 0,
        }
    }
}
