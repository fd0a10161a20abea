//! Checks of NAT: that answers have a way to the clients, and that it is plain whose they are.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::backend::{Network, socket};
use crate::config::problem::{Place, Problem};
use crate::config::schema::{Known, Service};
use crate::config::{Forward, Protocol};

/// Backends that answer through the forwarder, by their addresses.
type Answering = HashMap<(Protocol, IpAddr), Vec<(SocketAddr, Place)>>;

pub(super) fn check(services: &[Service], network: &Network, problems: &mut Vec<Problem>) {
    let mut answering = Answering::new();
    for service in services {
        let forward = service.forward.known();
        let Some((_, place)) = forward.filter(|(forward, _)| **forward == Forward::Nat) else {
            continue;
        };
        check_return(service, place, network, problems);
        check_answers(service, &mut answering, problems);
    }
}

/// The forwarder knows no station of the clients' but the gateway.
pub(super) fn check_return(
    service: &Service,
    place: Place,
    network: &Network,
    problems: &mut Vec<Problem>,
) {
    let (Some((vip, _)), Some((forward, _))) = (service.address.known(), service.forward.known())
    else {
        return;
    };
    if network.is_complete && !network.has_gateway(vip.address) {
        let family = if vip.address.is_ipv4() {
            "IPv4"
        } else {
            "IPv6"
        };
        let message = format!(
            "forward = \"{forward}\" sends answers by a gateway, and no port has one for {family}"
        );
        let help = "add the clients' router as \"gateway\" to a [[port]]";
        problems.push(Problem::new(place, message).help(help));
    }
}

/// An answer is told by where it comes from: no two backends may listen there.
fn check_answers(service: &Service, answering: &mut Answering, problems: &mut Vec<Problem>) {
    let Some((protocol, _)) = service.protocol.known() else {
        return;
    };
    let mut own = Vec::new();
    for backend in &service.backends {
        let Some((at, place)) = socket(backend, service) else {
            continue;
        };
        let others = answering.get(&(*protocol, at.ip()));
        let mut others = others.into_iter().flatten();
        let meets =
            |other: &SocketAddr| other.port() == at.port() || other.port() == 0 || at.port() == 0;
        if let Some((_, first)) = others.find(|(other, _)| meets(other)) {
            let message = format!("{at} is a backend of another service with NAT");
            let help = "its answers could be of either: give it another \"port\" or address";
            let problem = Problem::new(place.clone(), message).help(help);
            problems.push(problem.other(first.clone(), "first defined"));
        }
        own.push((at, place));
    }
    for (at, place) in own {
        let known = answering.entry((*protocol, at.ip()));
        known.or_default().push((at, place));
    }
}
