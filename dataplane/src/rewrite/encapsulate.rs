//! Tunnels: the packet goes on whole, behind headers of its own to the backend, which takes them off.
//!
//! The headers are copied in one go; a packet decides lengths, DSCP and ECN (RFC 6040), what its flow
//! is told apart by, and the checksum. The packet itself keeps its time to live: the forwarder stands
//! for the VIP and is no router on the way to it, as with direct server return.

use super::{Unfit, clamp::clamp_mss, inner::Inner};
use crate::{
    hash::HashKeys,
    port::Frame,
    tables::tunnel::{Outer, Tunnel},
    wire::{
        ethernet::{Ethernet, Mac},
        ipv4::Ipv4,
        ipv6::Ipv6,
        udp::Udp,
        vlan::payload_offset,
    },
};
use zerocopy::{FromBytes, network_endian::U16};

/// Source ports of UDP are from the dynamic ones (RFC 6335, section 6): 14 bits of the flow's hash.
const DYNAMIC_PORTS: u16 = 0xc000;

/// Wraps the packet of a frame. Padding and a tag that the frame had are left behind.
///
/// Out of line, so that direct server return stays as short as it was.
#[inline(never)]
pub(super) fn encapsulate<F: Frame>(
    frame: &mut F,
    tunnel: &Tunnel,
    destination: Mac,
    keys: &HashKeys,
) -> Result<(), Unfit> {
    let l3 = payload_offset(frame.bytes());
    let packet = frame.bytes_mut().get_mut(l3..).ok_or(Unfit::NoRoom)?;
    let inner = Inner::read(packet, keys).ok_or(Unfit::NoRoom)?;
    let mtu = tunnel.mtu();
    if inner.len > mtu {
        return Err(Unfit::TooBig(mtu));
    }
    if let Some(mss) = tunnel.mss_clamp {
        clamp_mss(packet, mss);
    }
    let header = tunnel.header();
    let fits = frame.resize(l3 + usize::from(inner.len)) && frame.prepend(header.len() - l3);
    let room = frame.bytes_mut().get_mut(..header.len());
    let room = room.filter(|_| fits).ok_or(Unfit::NoRoom)?;
    room.copy_from_slice(header);
    complete(room, tunnel, destination, &inner).ok_or(Unfit::NoRoom)
}

/// Writes what the next hop and the packet decide; `None` where the header is not as
/// [`Tunnel`] promises.
#[inline]
fn complete(room: &mut [u8], tunnel: &Tunnel, destination: Mac, inner: &Inner) -> Option<()> {
    let (link, outer) = room.split_at_mut_checked(tunnel.l3)?;
    Ethernet::mut_from_prefix(link).ok()?.0.destination = destination;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 52, and any bits of a hash"
    )]
    let (added, low, high) = (
        outer.len() as u16,
        inner.hash as u32,
        (inner.hash >> 32) as u32,
    );
    let rest = match tunnel.outer {
        Outer::V4 { sum, free } => {
            let (header, rest) = Ipv4::mut_from_prefix(outer).ok()?;
            let len = inner.len + added;
            let source = u32::from_be_bytes(header.source) | high & free;
            header.source = source.to_be_bytes();
            header.traffic_class = inner.traffic_class;
            header.total_len = U16::new(len);
            let sum = sum.word(len).word(inner.traffic_class.into());
            header.checksum = sum.bytes(&header.source).checksum();
            rest
        }
        Outer::V6 { free } => {
            let (header, rest) = Ipv6::mut_from_prefix(outer).ok()?;
            let source = u128::from_be_bytes(header.source) | spread(inner.hash) & free;
            header.source = source.to_be_bytes();
            header.version_class_flow = Ipv6::first_word(inner.traffic_class, low);
            header.payload_len = U16::new(inner.len + added - Ipv6::LEN);
            rest
        }
    };
    if tunnel.has_udp {
        let len = U16::new(inner.len + u16::try_from(rest.len()).ok()?);
        let (udp, _) = Udp::mut_from_prefix(rest).ok()?;
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash")]
        let source = DYNAMIC_PORTS | low as u16;
        udp.ports[..2].copy_from_slice(&source.to_be_bytes());
        udp.len = len;
    }
    Some(())
}

/// As many bits as an address has.
fn spread(hash: u64) -> u128 {
    u128::from(hash) << 64 | u128::from(hash.rotate_left(32))
}
