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
    wire::ethernet::Mac,
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
#[inline(always)]
#[expect(clippy::inline_always, reason = "measured: a call for each packet costs more")]
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
                    Err(Unfit::NoRoom) => prop_assert!(bytes.len() < l3 + 40),
                }
            }
            let mut frame = MemoryFrame::copied(&pool, &bytes).unwrap();
            if may_be_told(frame.bytes()) && too_big(&mut frame, Mac::BROADCAST, 1400) {
                prop_assert!(frame.bytes().len() <= l3 + 1280);
            }
        }
    }
}
