//! Rewrite: a packet and its backend to the frame that leaves.

mod clamp;
mod direct;
mod encapsulate;
mod inner;
mod translate;

use crate::{
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
use translate::{Side, translate};

/// Why a frame cannot leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// There is no room for what has to be added.
    NoRoom,
    /// The packet is longer than this many bytes, with its IP header.
    TooBig(u16),
    /// Its time to live ends here.
    OutOfHops,
}

/// Rewrites a frame for its backend, whose next hop is at `destination`.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "measured: a call for each packet costs more"
)]
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

#[inline]
fn link(destination: Mac, came_by: PortId, leaves_by: PortId, tables: &Tables) -> Link {
    let out = &tables.stations.get(leaves_by).spec;
    Link {
        destination,
        source: out.mac,
        vlan_in: tables.stations.get(came_by).spec.vlan,
        vlan_out: out.vlan,
    }
}

fn mtu(port: PortId, tables: &Tables) -> u16 {
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
        };
        let backend: IpAddr = backend.parse().unwrap();
        let own = own[usize::from(backend.is_ipv6())];
        Tunnel::new(&spec, &port, own, backend, own).unwrap()
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
                    Err(Unfit::OutOfHops) => prop_assert!(false, "a tunnel counts no hops"),
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
