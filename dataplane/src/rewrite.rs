//! Rewrite: a packet and its backend to the frame that leaves.

mod clamp;
mod direct;
mod encapsulate;
mod families;
mod inner;
mod proxy;
mod translate;

use crate::{
    fate::Fate,
    port::Frame,
    tables::{
        Tables, Translation,
        backend::{Backend, Way},
        id::PortId,
    },
    wire::ethernet::Mac,
};
pub(crate) use direct::{Link, direct};
use encapsulate::encapsulate;
pub(crate) use proxy::{Stream, header_len, to_backend, to_client};
use std::net::SocketAddr;
use translate::{Side, translate, translate_both};

/// Why a frame cannot leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// There is no room for what has to be added.
    NoRoom,
    /// The packet is longer than this many bytes, with its IP header.
    TooBig(u16),
    /// Its time to live ends here.
    OutOfHops,
    /// It is dropped for this.
    Dropped(Fate),
}

/// What frames have in common that came by one port and go on by another with nothing but other
/// addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit {
    pub(crate) by: PortId,
    /// The source address, with as many bits of it in the first word as are beside a destination.
    low: u64,
    high: u32,
}

impl Exit {
    /// By the port `by`, for frames that came by `came_by`; `None` where tags have to change too.
    pub(crate) fn new(by: PortId, came_by: PortId, tables: &Tables) -> Option<Self> {
        let link = link(Mac::BROADCAST, came_by, by, tables);
        let source = link.source.word();
        (link.vlan_in == link.vlan_out).then_some(Self {
            by,
            low: source << 48,
            high: u32::try_from(source >> 16).unwrap_or(u32::MAX),
        })
    }

    /// Writes both addresses, the destination from its word; false where the frame ends within them.
    #[inline]
    pub(crate) fn readdress<F: Frame>(&self, frame: &mut F, destination: u64) -> bool {
        let Some(addresses) = frame.bytes_mut().first_chunk_mut::<12>() else {
            return false;
        };
        let (low, high) = addresses.split_at_mut(8);
        low.copy_from_slice(&(destination | self.low).to_le_bytes());
        high.copy_from_slice(&self.high.to_le_bytes());
        true
    }
}

/// Rewrites a frame for its backend, whose next hop is at `destination`.
pub(crate) fn rewrite<F: Frame>(
    frame: &mut F,
    backend: &Backend,
    destination: Mac,
    came_by: PortId,
    tables: &Tables,
) -> Result<(), Unfit> {
    match backend.way {
        Way::Direct => direct(frame, &link(destination, came_by, backend.port, tables)),
        Way::Nat(id) => {
            let (to, mtu) = (tables.translation(id).backend, mtu(backend.port, tables));
            translate(frame, Side::Destination, to, mtu)?;
            direct(frame, &link(destination, came_by, backend.port, tables))
        }
        // Its packets come with a session.
        Way::Fullnat(_) => Err(Unfit::Dropped(Fate::NoSession)),
        Way::Tunnel(id) => encapsulate(frame, tables.tunnel(id), destination, &tables.entropy),
    }
}

/// Rewrites what a backend answers through NAT for the gateway to its client, at `destination`.
pub(crate) fn rewrite_answer<F: Frame>(
    frame: &mut F,
    translation: &Translation,
    destination: Mac,
    came_by: PortId,
    tables: &Tables,
) -> Result<(), Unfit> {
    let port = translation.exit.port;
    translate(frame, Side::Source, translation.vip, mtu(port, tables))?;
    direct(frame, &link(destination, came_by, port, tables))
}

/// Rewrites what goes through full NAT, either way: from where it shall come, and where it shall go.
pub(crate) fn rewrite_both<F: Frame>(
    frame: &mut F,
    ends: (SocketAddr, SocketAddr),
    link: &Link,
    mtu: u16,
) -> Result<(), Unfit> {
    translate_both(frame, ends, mtu)?;
    direct(frame, link)
}

#[inline]
pub(crate) fn link(destination: Mac, came_by: PortId, leaves_by: PortId, tables: &Tables) -> Link {
    let out = &tables.stations.get(leaves_by).spec;
    Link {
        destination,
        source: out.mac,
        vlan_in: tables.stations.get(came_by).spec.vlan,
        vlan_out: out.vlan,
    }
}

pub(crate) fn mtu(port: PortId, tables: &Tables) -> u16 {
    tables.stations.get(port).spec.mtu
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        answer::{may_be_told, too_big},
        hash::HashKeys,
        port::memory::{MemoryFrame, Pool},
        tables::{
            PortSpec,
            tunnel::{Encapsulation, GueVariant, Tunnel, TunnelSpec},
        },
    };
    use proptest::{collection::vec, prelude::*};
    use std::{net::IpAddr, sync::Arc};

    fn tunnel(backend: &str, mss_clamp: Option<u16>) -> Tunnel {
        let spec = TunnelSpec {
            encapsulation: Encapsulation::Gue {
                port: 6080,
                variant: GueVariant::Header,
            },
            source_v4: None,
            source_v6: None,
            mss_clamp,
        };
        let own = ["10.0.0.250", "fd00::fa"].map(|it| it.parse::<IpAddr>().unwrap());
        let port = PortSpec {
            mac: Mac([2, 0, 0, 0, 0, 1]),
            vlan: None,
            addresses: vec![(own[0], 24), (own[1], 64)],
            gateways: Vec::new(),
            mtu: 1500,
            neighbours: Vec::new(),
            spread: None,
        };
        let backend: IpAddr = backend.parse().unwrap();
        let own = own[usize::from(backend.is_ipv6())];
        Tunnel::new(&spec, (PortId(0), &port), own, backend, own).unwrap()
    }

    proptest! {
        /// Only what was parsed comes here; whatever comes, nothing panics and lengths are kept.
        #[test]
        fn any_bytes_are_wrapped_or_refused(
            mut bytes in vec(any::<u8>(), 0..200), version in prop::sample::select(vec![0x45_u8, 0x60]),
            tagged: bool, mss in prop::option::of(536_u16..1000),
        ) {
            let l3 = if tagged { 18 } else { 14 };
            if bytes.len() > l3 {
                bytes[12..14].copy_from_slice(if tagged { &[0x81, 0] } else { &[8, 0] });
                bytes[l3] = version;
            }
            let pool = Arc::new(Pool::new(1));
            for backend in ["10.0.0.1", "fd00::1"] {
                let tunnel = tunnel(backend, mss);
                let mut frame = MemoryFrame::copied(&pool, &bytes).unwrap();
                let keys = HashKeys::random();
                let done = encapsulate(&mut frame, &tunnel, Mac::BROADCAST, &keys);
                match done {
                    Ok(()) => prop_assert!(frame.bytes().len() <= 14 + 1500),
                    Err(Unfit::TooBig(mtu)) => prop_assert_eq!(usize::from(mtu), 1514 - tunnel.header().len()),
                    Err(Unfit::OutOfHops | Unfit::Dropped(_)) => {
                        prop_assert!(false, "a tunnel counts no hops and has no sessions");
                    }
                    Err(Unfit::NoRoom) => prop_assert!(bytes.len() < l3 + 40),
                }
            }
            let mut frame = MemoryFrame::copied(&pool, &bytes).unwrap();
            if may_be_told(frame.bytes(), |_| false) && too_big(&mut frame, Mac::BROADCAST, 1400) {
                prop_assert!(frame.bytes().len() <= l3 + 1280);
            }
        }
    }
}
