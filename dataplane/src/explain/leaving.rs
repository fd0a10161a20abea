//! The frame that would leave: a made-up packet goes through the workers' own rewrite, and what comes
//! out is read.

use super::{Packet, made_up};
use crate::{
    dissect,
    port::{
        Frame as _,
        memory::{MemoryFrame, Pool},
    },
    rewrite::{self, link, rewrite, rewrite_both},
    tables::{
        Tables, Translation,
        backend::{Backend, Way},
        id::{BackendId, PortId, TranslationId},
    },
    wire::ethernet::Mac,
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// By how much an IPv6 header is longer than one of IPv4, in bytes.
const LONGER_HEADER: u16 = 20;

/// The frame that would leave for a packet, and what of it is of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// The port that the packet would come by.
    pub comes_by: PortId,
    /// The packet that was made up, in its frame: a SYN, or an empty datagram.
    pub came: Vec<u8>,
    /// The port that it would leave by.
    pub leaves_by: PortId,
    /// The address whose MAC address it is sent to.
    pub next_hop: IpAddr,
    /// The frame; its destination is all zeros where it is not resolved.
    pub frame: Vec<u8>,
    /// The port's MAC address.
    pub source_mac: Mac,
    /// That of the next hop; `None`: not resolved yet.
    pub destination_mac: Option<Mac>,
    /// Its VLAN.
    pub vlan: Option<u16>,
    /// The outer headers of a tunnel.
    pub outer: Option<Outer>,
    /// The packet's source, as it leaves; with full NAT of port 0, since which one of the pool it is, and at
    /// which of its addresses, is chosen when the flow opens.
    pub source: SocketAddr,
    /// The packet's destination, as it leaves.
    pub destination: SocketAddr,
    /// The longest packet of the client that would go this way, in bytes with its IP header.
    pub mtu: u16,
}

/// The headers before the packet in a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// The outer source.
    pub source: IpAddr,
    /// The end of the tunnel.
    pub destination: IpAddr,
    /// The IP protocol number after the outer header.
    pub protocol: u8,
    /// Source and destination ports of UDP, where the tunnel has them.
    pub ports: Option<(u16, u16)>,
}

/// What would leave for this packet to a backend; `None` where the backend is no more, or the packet
/// is of two families.
pub(crate) fn leaving(tables: &Tables, packet: &Packet, backend: BackendId) -> Option<Leaving> {
    let backend = tables.backend(backend)?;
    let comes_by = comes_by(tables, packet.source.ip());
    let link = &tables.stations.get(comes_by).spec;
    let came = made_up::frame(packet, link.mac, link.vlan)?;
    let neighbour = tables.neighbours.get(backend.neighbour);
    let destination_mac = neighbour.mac();
    let mut frame = MemoryFrame::copied(&Arc::new(Pool::new(1)), &came)?;
    let to = destination_mac.unwrap_or_default();
    match backend.way {
        Way::Fullnat(id) => swap_ends(&mut frame, tables, backend, id, to, comes_by)?,
        Way::Direct | Way::Nat(_) | Way::Tunnel(_) => {
            rewrite(&mut frame, backend, to, comes_by, tables).ok()?;
        }
    }
    let frame = frame.bytes().to_vec();
    let link = dissect::link(&frame)?;
    let (outer, inner) = parts(tables, backend, &frame, link.payload)?;
    let (source_port, destination_port) = inner.ports?;
    let is_chosen_later = matches!(backend.way, Way::Fullnat(_));
    let source_port = if is_chosen_later { 0 } else { source_port };
    Some(Leaving {
        comes_by,
        came,
        leaves_by: backend.port,
        next_hop: neighbour.address,
        source_mac: link.source,
        destination_mac,
        vlan: link.vlan,
        outer,
        source: SocketAddr::new(inner.source, source_port),
        destination: SocketAddr::new(inner.destination, destination_port),
        mtu: mtu(tables, backend),
        frame,
    })
}

/// Puts a packet behind the first local address of its backend, as full NAT does, at the client's own port.
fn swap_ends(
    frame: &mut MemoryFrame,
    tables: &Tables,
    backend: &Backend,
    id: TranslationId,
    to: Mac,
    comes_by: PortId,
) -> Option<()> {
    let translation = tables.translation(id);
    let mut locals = tables.locals(translation.locals).iter();
    let local = locals.find_map(|id| tables.pools.local(*id))?;
    let ends = (SocketAddr::new(local.address, 0), translation.backend);
    let link = link(to, comes_by, backend.port, tables);
    let longest = rewrite::mtu(backend.port, tables);
    rewrite_both(frame, ends, &link, longest).ok()
}

/// The port that packets of a client come by: the one by which it is reached, else the first.
fn comes_by(tables: &Tables, client: IpAddr) -> PortId {
    let route = tables.stations.route_to(client);
    route.map_or_else(PortId::default, |route| route.port)
}

/// The outer headers, and the ends of the packet itself.
fn parts(
    tables: &Tables,
    backend: &Backend,
    frame: &[u8],
    l3: usize,
) -> Option<(Option<Outer>, dissect::Ends)> {
    let first = dissect::ends_of_packet(frame.get(l3..)?)?;
    match backend.way {
        Way::Direct | Way::Nat(_) | Way::Fullnat(_) => Some((None, first)),
        Way::Tunnel(id) => {
            let outer = Outer {
                source: first.source,
                destination: first.destination,
                protocol: first.protocol,
                ports: first.ports,
            };
            let inner = frame.get(tables.tunnel(id).header().len()..)?;
            Some((Some(outer), dissect::ends_of_packet(inner)?))
        }
    }
}

fn mtu(tables: &Tables, backend: &Backend) -> u16 {
    match backend.way {
        Way::Direct | Way::Nat(_) => tables.stations.get(backend.port).spec.mtu,
        Way::Tunnel(id) => tables.tunnel(id).mtu(),
        Way::Fullnat(id) => {
            let Translation {
                vip, backend: to, ..
            } = tables.translation(id);
            let mtu = tables.stations.get(backend.port).spec.mtu;
            // An IPv4 packet grows by the longer header (RFC 7915, section 1.3).
            let grows = vip.is_ipv4() && to.is_ipv6();
            mtu - if grows { LONGER_HEADER } else { 0 }
        }
    }
}
