//! What the first frames tell: which services are addressed, from which sources, to which MAC.

use crate::arguments::{Arguments, Service};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};
use tether_dataplane::{
    Mac,
    key::Protocol,
    port::{Burst, Frame, Port},
};

/// How often an empty port is asked again.
const PATIENCE: usize = 100_000;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) services: BTreeSet<Service>,
    pub(crate) sources: BTreeSet<(Service, IpAddr)>,
    pub(crate) mac: Option<Mac>,
}

impl Survey {
    /// Nothing but what was named.
    pub(crate) fn new(arguments: &Arguments) -> Self {
        Self {
            services: arguments.services.iter().copied().collect(),
            ..Self::default()
        }
    }
}

/// Looks at frames of a port and drops them.
pub(crate) fn survey<P: Port>(port: &mut P, arguments: &Arguments, seen: &mut Survey) {
    let wanted = arguments.survey.unwrap_or(arguments.mbufs as usize);
    let (mut frames, mut empty) = (0, 0);
    let mut burst = Burst::new();
    while frames < wanted && empty < PATIENCE {
        port.receive(&mut burst);
        empty = if burst.is_empty() { empty + 1 } else { 0 };
        frames += burst.len();
        for frame in burst.drain(..) {
            look_at(frame.bytes(), arguments.services.is_empty(), seen);
        }
    }
}

fn look_at(frame: &[u8], take_services: bool, seen: &mut Survey) {
    let Some((service, source)) = tuple(frame) else {
        return;
    };
    seen.mac = seen
        .mac
        .or_else(|| frame.first_chunk().map(|mac| Mac(*mac)));
    if take_services {
        seen.services.insert(service);
    }
    if seen.services.contains(&service) {
        seen.sources.insert((service, source));
    }
}

fn tuple(frame: &[u8]) -> Option<(Service, IpAddr)> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (source, address): (IpAddr, IpAddr) = match packet.net? {
        NetSlice::Ipv4(ip) => (
            Ipv4Addr::from(ip.header().source()).into(),
            Ipv4Addr::from(ip.header().destination()).into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Arp(_) => return None,
    };
    let (protocol, port) = match packet.transport? {
        TransportSlice::Tcp(tcp) => (Protocol::Tcp, tcp.destination_port()),
        TransportSlice::Udp(udp) => (Protocol::Udp, udp.destination_port()),
        _ => return None,
    };
    let service = Service {
        protocol,
        address,
        port,
    };
    Some((service, source))
}
