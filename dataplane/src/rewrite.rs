//! Rewrite: a packet and its backend to the frame that leaves.

mod clamp;
mod direct;
mod encapsulate;
mod inner;

use crate::{
    port::Frame,
    tables::{
        Tables,
        backend::{Backend, Way},
        id::PortId,
    },
    wire::{ethernet::Mac, vlan},
};
pub(crate) use direct::{Link, direct};
use encapsulate::encapsulate;

/// Why a frame cannot leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// There is no room for what has to be added.
    NoRoom,
    /// The packet is longer than this many bytes, with its IP header.
    TooBig(u16),
}

/// Rewrites a frame for its backend, whose next hop is at `destination`.
#[inline]
pub(crate) fn rewrite<F: Frame>(
    frame: &mut F,
    backend: &Backend,
    destination: Mac,
    came_by: PortId,
    tables: &Tables,
) -> Result<(), Unfit> {
    match backend.way {
        Way::Direct => {
            let out = &tables.stations.get(backend.port).spec;
            let link = Link {
                destination,
                source: out.mac,
                vlan_in: tables.stations.get(came_by).spec.vlan,
                vlan_out: out.vlan,
            };
            direct(frame, &link)
        }
        Way::Tunnel(id) => encapsulate(frame, tables.tunnel(id), destination, &tables.entropy),
    }
}

/// Where the IP header starts in a frame that was parsed: it has a tag or none.
#[inline]
pub(crate) fn network_offset(frame: &[u8]) -> usize {
    match frame.get(12..14) {
        Some(ethertype) if *ethertype == vlan::CUSTOMER.to_be_bytes() => 18,
        _ => 14,
    }
}
