//! Checks of backends: whether packets can reach them the way that their service forwards.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use super::unique;
use crate::config::problem::{Place, Problem};
use crate::config::schema::{Backend, File, Known, Service};
use crate::config::{Forward, PortAddress, Prefix};

/// What of the host decides which backends can be reached.
pub(super) struct Network {
    own: Vec<PortAddress>,
    has_gateway_v4: bool,
    has_gateway_v6: bool,
    /// Whether no port's address or gateway was refused: else reach is not known.
    pub(super) is_complete: bool,
    vips: HashSet<IpAddr>,
    /// VIPs that are more than one.
    prefixes: Vec<Prefix>,
}

impl Network {
    pub(super) fn of(file: &File) -> Self {
        let ports = &file.ports;
        let gateways = || ports.iter().flat_map(|port| &port.gateways).flatten();
        let own = ports.iter().flat_map(|port| &port.addresses).flatten();
        let vips = file
            .services
            .iter()
            .filter_map(|service| service.address.known());
        let is_one = |(vips, _): &(&Prefix, Place)| vips.is_one();
        let (single, prefixes) = (vips.clone().filter(is_one), vips.filter(|it| !is_one(it)));
        Self {
            own: own.map(|address| *address.get_ref()).collect(),
            has_gateway_v4: gateways().any(|gateway| gateway.get_ref().is_ipv4()),
            has_gateway_v6: gateways().any(|gateway| gateway.get_ref().is_ipv6()),
            is_complete: !ports.is_empty()
                && ports
                    .iter()
                    .all(|port| port.addresses.is_some() && port.gateways.is_some()),
            prefixes: prefixes.map(|(vips, _)| *vips).collect(),
            vips: single.map(|(vips, _)| vips.address).collect(),
        }
    }

    fn is_on_link(&self, address: IpAddr) -> bool {
        self.own.iter().any(|own| own.is_on_link(address))
    }

    fn is_vip(&self, address: IpAddr) -> bool {
        let holds = |vips: &Prefix| vips.holds(address);
        self.vips.contains(&address) || self.prefixes.iter().any(holds)
    }

    pub(super) fn has_gateway(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.has_gateway_v4,
            IpAddr::V6(_) => self.has_gateway_v6,
        }
    }
}

pub(super) fn check(service: &Service, network: &Network, problems: &mut Vec<Problem>) {
    let backends = &service.backends;
    unique(
        backends.iter().filter_map(|backend| backend.name.known()),
        |name| format!("backend {name:?}"),
        problems,
    );
    unique(
        backends
            .iter()
            .filter_map(|backend| socket(backend, service)),
        |socket| format!("backend address {socket}"),
        problems,
    );
    for backend in backends {
        check_port(backend, service, problems);
        if let Some((address, place)) = backend.address.known() {
            let address = (*address, place);
            check_not_self(&address, network, problems);
            check_family(&address, service, problems);
            check_reach(&address, service, network, problems);
        }
    }
}

/// Where the backend listens, its port being the service's where it says none.
pub(super) fn socket(backend: &Backend, service: &Service) -> Option<(SocketAddr, Place)> {
    let (address, place) = backend.address.known()?;
    let (port, _) = backend.port.known().or_else(|| service.port.known())?;
    Some((SocketAddr::new(*address, *port), place))
}

fn check_port(backend: &Backend, service: &Service, problems: &mut Vec<Problem>) {
    let (Some((port, place)), Some((service_port, _)), Some((forward, _))) = (
        backend.port.known(),
        service.port.known(),
        service.forward.known(),
    ) else {
        return;
    };
    if *service_port == 0 {
        let message = "\"port\" must be left out: the service is of every port (port = 0)";
        let help = "packets keep the port they have";
        problems.push(Problem::new(place, message).help(help));
    } else if port != service_port && !rewrites_ports(*forward) {
        let message = format!("port {port} differs from the service's port {service_port}");
        let help = format!(
            "forward = \"{forward}\" leaves ports as they are: leave \"port\" out, or forward by nat or fullnat"
        );
        problems.push(Problem::new(place, message).help(help));
    }
}

fn check_not_self(
    (address, place): &(IpAddr, Place),
    network: &Network,
    problems: &mut Vec<Problem>,
) {
    let what = if network.own.iter().any(|own| own.address == *address) {
        "a port's own address"
    } else if network.is_vip(*address) {
        "the address of a service"
    } else {
        return;
    };
    let message = format!("a backend cannot be {address}, {what}");
    let help = "packets would come back here: give the address of the server itself";
    problems.push(Problem::new(place.clone(), message).help(help));
}

fn check_family(
    (address, place): &(IpAddr, Place),
    service: &Service,
    problems: &mut Vec<Problem>,
) {
    let (Some((vip, _)), Some((forward, _))) = (service.address.known(), service.forward.known())
    else {
        return;
    };
    let vip = vip.address;
    if vip.is_ipv4() != address.is_ipv4() && !mixes_families(*forward) {
        let message = format!("{address} is not of the family of the service's address {vip}");
        let help = format!(
            "forward = \"{forward}\" cannot mix IPv4 and IPv6; ipip, gue, gre and fullnat can"
        );
        problems.push(Problem::new(place.clone(), message).help(help));
    }
}

fn check_reach(
    (address, place): &(IpAddr, Place),
    service: &Service,
    network: &Network,
    problems: &mut Vec<Problem>,
) {
    let Some((forward, _)) = service.forward.known().filter(|_| network.is_complete) else {
        return;
    };
    if network.is_on_link(*address) {
        return;
    }
    let problem = if needs_on_link(*forward) {
        let message = format!("{address} is in no subnet of a [[port]]");
        Problem::new(place.clone(), message).help(
            "forward = \"dsr\" reaches only neighbours: add a port address of its subnet, or forward by ipip, gue or gre",
        )
    } else if network.has_gateway(*address) {
        return;
    } else {
        let message =
            format!("{address} is in no subnet of a [[port]], and no port has a gateway for it");
        Problem::new(place.clone(), message).help("add a \"gateway\" of its family to a [[port]]")
    };
    problems.push(problem);
}

/// Whether the backend may listen on another port than clients address.
fn rewrites_ports(forward: Forward) -> bool {
    match forward {
        Forward::Nat | Forward::Fullnat => true,
        Forward::Dsr | Forward::Ipip | Forward::Gue | Forward::Gre => false,
    }
}

/// Whether the backend may be of another family than the VIP.
fn mixes_families(forward: Forward) -> bool {
    match forward {
        Forward::Ipip | Forward::Gue | Forward::Gre | Forward::Fullnat => true,
        Forward::Dsr | Forward::Nat => false,
    }
}

/// Whether packets reach the backend by its MAC address alone.
fn needs_on_link(forward: Forward) -> bool {
    match forward {
        Forward::Dsr => true,
        Forward::Ipip | Forward::Gue | Forward::Gre | Forward::Nat | Forward::Fullnat => false,
    }
}
