//! All tunnels, and which of them a router means that quotes one of their packets.

use super::{Tunnel, path::guess};
use crate::{
    clock::Millis,
    tables::id::{PortId, TunnelId},
};
use std::net::IpAddr;

/// What an error quotes of a packet's first headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    /// The port that the error came by.
    pub(crate) came_by: PortId,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// What comes after the IP header.
    pub(crate) protocol: u8,
    /// The destination port, if it is UDP and quoted.
    pub(crate) port: Option<u16>,
    /// How long the packet was, in bytes with its IP header.
    pub(crate) len: u16,
}

/// The tunnels by their places.
#[derive(Debug, Default)]
pub(crate) struct Tunnels {
    list: Vec<Tunnel>,
    /// Where each ends, sorted: errors look here, no packet of a flow does.
    ends: Vec<(IpAddr, u16)>,
}

impl Tunnels {
    /// Takes over what the tunnels before knew of the same paths.
    pub(crate) fn new(list: Vec<Tunnel>, before: Option<&Self>) -> Self {
        let ends = list.iter().map(|it| it.backend);
        let mut ends: Vec<_> = ends.zip(0..).collect();
        ends.sort_unstable();
        for tunnel in &list {
            let known = before.map(|before| before.to(tunnel.backend));
            let known = known.into_iter().flatten();
            known.for_each(|known| tunnel.inherit(known));
        }
        Self { list, ends }
    }

    #[inline]
    pub(crate) fn get(&self, id: TunnelId) -> &Tunnel {
        &self.list[id.index()]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Those that end there.
    fn to(&self, backend: IpAddr) -> impl Iterator<Item = &Tunnel> {
        let from = self.ends.partition_point(|(end, _)| *end < backend);
        let same = self.ends[from..].iter();
        same.take_while(move |(end, _)| *end == backend)
            .map(|(_, place)| &self.list[usize::from(*place)])
    }

    /// Whether a packet was one of a tunnel's, as far as its headers say.
    pub(crate) fn sent(&self, quote: &Quote) -> bool {
        self.to(quote.destination).any(|it| it.sent(quote))
    }

    /// A router has dropped a packet because it may be no longer than `mtu`, or 0 if it does not say. All
    /// tunnels to the same backend take the same path. False where that cannot be.
    pub(crate) fn learn(&self, quote: &Quote, mtu: u32, now: Millis) -> bool {
        let mtu = match u16::try_from(mtu) {
            Ok(0) => guess(quote.len),
            Ok(mtu) if mtu < quote.len => mtu,
            _ => return false,
        };
        for tunnel in self.to(quote.destination) {
            tunnel.path.lower(mtu.saturating_sub(tunnel.added()), now);
        }
        true
    }

    /// Forgets what was said long ago.
    pub(crate) fn age(&self, place: usize, now: Millis) {
        if let Some(tunnel) = self.list.get(place) {
            tunnel.path.age(now);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}
