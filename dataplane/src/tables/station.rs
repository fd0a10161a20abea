//! The forwarder's own place on its links: MAC and IP addresses of ports, gateways, VIPs.

use super::{
    clients::{ClientLists, Clients},
    id::PortId,
    neighbour::Neighbours,
    prefix::{Prefix, bits},
    spread::{Spread, Steering},
};
use crate::{
    tables::affinity::source::{mask4, mask6},
    wire::ethernet::Mac,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A port as the control plane describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// Its MAC address.
    pub mac: Mac,
    /// The VLAN whose frames it takes and sends (IEEE 802.1Q); untagged otherwise.
    pub vlan: Option<u16>,
    /// Its addresses, with the prefix length of their subnets.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The default gateways, at most one per family.
    pub gateways: Vec<IpAddr>,
    /// The longest packet that its link takes, in bytes with the IP header.
    pub mtu: u16,
    /// Neighbours whose MAC address is given and not asked for.
    pub neighbours: Vec<(IpAddr, Mac)>,
    /// How it spreads frames over the workers' queues, where that is known.
    pub spread: Option<Spread>,
}

/// The way to an address: out of a port, to a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) port: PortId,
    pub(crate) next_hop: IpAddr,
}

/// One port's place on its link.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) spec: PortSpec,
    /// By which queue answers come, where that is known.
    pub(crate) steering: Option<Box<Steering>>,
}

/// One port's place, with what all ports answer for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortStation<'a> {
    pub(crate) spec: &'a PortSpec,
    pub(crate) stations: &'a Stations,
}

/// All ports' places, and the VIPs that each of them answers for.
#[derive(Debug)]
pub(crate) struct Stations {
    ports: Vec<Station>,
    /// Sorted; ARP, NDP and ping look here, no packet of a flow does.
    ours: Vec<IpAddr>,
    /// The VIPs that are one address, sorted.
    vips: Vec<IpAddr>,
    /// The VIPs that are more than one address. They are answered for, not announced.
    prefixes: Vec<Prefix>,
    /// Who may send, of each family; new flows look here.
    senders: [Clients; 2],
    /// Another one where other addresses are to be announced, or elsewhere.
    edition: u64,
}

impl Stations {
    pub(crate) fn new(
        ports: &[PortSpec],
        vips: impl Iterator<Item = Prefix>,
        neighbours: &mut Neighbours,
    ) -> Self {
        let own = ports.iter().flat_map(|port| &port.addresses);
        let mut ours: Vec<IpAddr> = own.map(|(address, _)| *address).collect();
        let is_one = |vip: &Prefix| vip.length() == bits(vip.address());
        let (single, mut prefixes): (Vec<Prefix>, Vec<Prefix>) = vips.partition(is_one);
        let mut vips: Vec<IpAddr> = single.into_iter().map(Prefix::address).collect();
        vips.sort_unstable();
        ours.extend(&vips);
        prefixes.dedup();
        ours.sort_unstable();
        ours.dedup();
        for (id, port) in super::port_ids(ports.len()).zip(ports) {
            for gateway in &port.gateways {
                neighbours.intern(*gateway, id);
            }
            for (address, mac) in &port.neighbours {
                neighbours.fix(*address, id, *mac);
            }
        }
        let senders = senders(ports, &ours, &prefixes);
        let ports = ports.iter().map(|spec| Station {
            spec: spec.clone(),
            steering: spec.spread.as_ref().and_then(Steering::new).map(Box::new),
        });
        Self {
            ports: ports.collect(),
            ours,
            vips,
            prefixes,
            senders,
            edition: 0,
        }
    }

    /// Takes the place of those before.
    pub(crate) fn succeed(&mut self, before: &Self) {
        let same = self.ours == before.ours && self.specs().eq(before.specs());
        self.edition = before.edition + u64::from(!same);
    }

    /// Which edition of the addresses this is.
    pub(crate) fn edition(&self) -> u64 {
        self.edition
    }

    fn specs(&self) -> impl Iterator<Item = &PortSpec> {
        self.ports.iter().map(|station| &station.spec)
    }

    /// One port's place.
    #[inline]
    pub(crate) fn get(&self, port: PortId) -> &Station {
        &self.ports[port.index()]
    }

    /// How many ports there are.
    pub(crate) fn len(&self) -> usize {
        self.ports.len()
    }

    /// One port's place, with what all ports answer for.
    pub(crate) fn on(&self, port: PortId) -> PortStation<'_> {
        PortStation {
            spec: &self.get(port).spec,
            stations: self,
        }
    }

    /// Every address that the forwarder answers for and announces.
    pub(crate) fn ours(&self) -> &[IpAddr] {
        &self.ours
    }

    /// Whether a port is where an address is to be announced: its own, and the VIPs.
    pub(crate) fn announces(&self, port: PortId, address: IpAddr) -> bool {
        let of = |station: &Station| {
            station
                .spec
                .addresses
                .iter()
                .any(|(own, _)| *own == address)
        };
        of(self.get(port)) || !self.ports.iter().any(of)
    }

    /// Whether it is a VIP.
    pub(crate) fn is_vip(&self, address: IpAddr) -> bool {
        self.vips.binary_search(&address).is_ok()
            || self.prefixes.iter().any(|prefix| prefix.holds(address))
    }

    /// Whether it is a port's own address; it may be a VIP too.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        let mut own = self.specs().flat_map(|port| &port.addresses);
        own.any(|(own, _)| *own == address)
    }

    /// Whether ARP, NDP and ping for this address are answered.
    pub(crate) fn is_ours(&self, address: IpAddr) -> bool {
        self.ours.binary_search(&address).is_ok()
            || self.prefixes.iter().any(|prefix| prefix.holds(address))
    }

    /// Whether another host may send from this address: not from one of the forwarder, of many or of
    /// nobody.
    #[inline]
    pub(crate) fn may_send(&self, address: IpAddr) -> bool {
        let [v4, v6] = &self.senders;
        if address.is_ipv4() { v4 } else { v6 }.take(address)
    }

    /// Whether one of the ports has this MAC address.
    pub(crate) fn is_own_mac(&self, mac: Mac) -> bool {
        self.specs().any(|it| it.mac == mac)
    }

    /// The way to an address on one of the links, by the longest prefix (direct server return reaches
    /// no further).
    pub(crate) fn link_to(&self, address: IpAddr) -> Option<Route> {
        let on_link = self.numbered().filter_map(|(port, station)| {
            let prefix = station.prefix_of(address)?;
            Some((prefix, std::cmp::Reverse(port)))
        });
        on_link.max().map(|(_, std::cmp::Reverse(port))| Route {
            port,
            next_hop: address,
        })
    }

    /// The way to any address: on a link, else by the first gateway of its family.
    pub(crate) fn route_to(&self, address: IpAddr) -> Option<Route> {
        let by_gateway = || self.gateway_of(address.is_ipv4());
        self.link_to(address).or_else(by_gateway)
    }

    /// The first gateway of a family.
    pub(crate) fn gateway_of(&self, is_ipv4: bool) -> Option<Route> {
        self.numbered().find_map(|(port, station)| {
            let mut gateways = station.spec.gateways.iter();
            let next_hop = *gateways.find(|it| it.is_ipv4() == is_ipv4)?;
            Some(Route { port, next_hop })
        })
    }

    fn numbered(&self) -> impl Iterator<Item = (PortId, &Station)> {
        super::port_ids(self.ports.len()).zip(&self.ports)
    }
}

impl Station {
    /// The longest prefix of its subnets that the address is in.
    fn prefix_of(&self, address: IpAddr) -> Option<u8> {
        let subnets = self.spec.addresses.iter();
        let on_link = subnets.filter(|(own, prefix)| same_subnet(*own, address, *prefix));
        on_link.map(|(_, prefix)| *prefix).max()
    }

    /// The port's address to speak from to `to`: one on its subnet, else any of its family.
    pub(crate) fn address_towards(&self, to: IpAddr) -> Option<IpAddr> {
        let of_family = || {
            let own = self.spec.addresses.iter();
            own.filter(|(own, _)| own.is_ipv4() == to.is_ipv4())
        };
        of_family()
            .find(|(own, prefix)| same_subnet(*own, to, *prefix))
            .or_else(|| of_family().next())
            .map(|(own, _)| *own)
    }
}

/// Nobody's addresses, and those of many (RFC 1122, section 3.2.1.3; RFC 4291, section 2).
const NO_HOSTS: [(IpAddr, u8); 7] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8),
    (IpAddr::V4(Ipv4Addr::LOCALHOST), 8),
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4),
    (IpAddr::V4(Ipv4Addr::BROADCAST), 32),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8),
];

/// All but the forwarder, nobody, and everyone on a link.
fn senders(ports: &[PortSpec], ours: &[IpAddr], vips: &[Prefix]) -> [Clients; 2] {
    let own = ports.iter().flat_map(|port| &port.addresses);
    let broadcasts = own.filter_map(|(address, length)| broadcast(*address, *length));
    let single = ours.iter().copied().chain(broadcasts.map(IpAddr::from));
    let single = single.map(|it| (it, bits(it)));
    let others = single.chain(NO_HOSTS);
    let all = others.filter_map(|(address, length)| Prefix::new(address, length));
    let all: Vec<Prefix> = all.chain(vips.iter().copied()).collect();
    [true, false].map(|is_ipv4| {
        let of_family = all.iter().filter(|it| it.address().is_ipv4() == is_ipv4);
        Clients::new(&ClientLists {
            allow: Vec::new(),
            deny: of_family.copied().collect(),
        })
    })
}

/// The address of every host of a subnet, where it has room for one (RFC 3021).
fn broadcast(address: IpAddr, bits: u8) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(v4) if bits <= 30 => Some(Ipv4Addr::from_bits(v4.to_bits() | !mask4(bits))),
        _ => None,
    }
}

/// Whether two addresses are in one subnet of this prefix length.
pub(crate) fn same_subnet(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()) & mask4(prefix) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) & mask6(prefix) == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_longer_than_an_address_is_a_whole_one() {
        let ip = |text: &str| text.parse().unwrap();
        for prefix in [128, 129, 255] {
            assert!(same_subnet(ip("fd00::1"), ip("fd00::1"), prefix));
            assert!(!same_subnet(ip("fd00::1"), ip("fd00::2"), prefix));
            assert!(same_subnet(ip("10.0.0.1"), ip("10.0.0.1"), prefix));
            assert!(!same_subnet(ip("10.0.0.1"), ip("10.0.0.2"), prefix));
        }
    }
}
