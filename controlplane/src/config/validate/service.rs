//! Checks of services: their names and addresses, what affinities may do, how backends are probed.

use std::net::SocketAddr;
use std::time::Duration;

use super::backend::{self, Network};
use super::{MOST_BACKENDS, MOST_SERVICES, at_most, clients, fullnat, nat, proxy, tunnel, unique};
use crate::config::duration;
use crate::config::problem::{Place, Problem};
use crate::config::schema::{File, Health, Known, Service};
use crate::config::words::CheckWord;
use crate::config::{Forward, Prefix, Protocol, Scheduler};

pub(super) fn check(file: &File, problems: &mut Vec<Problem>) {
    let services = &file.services;
    check_counts(services, problems);
    unique(
        services.iter().filter_map(|service| service.name.known()),
        |name| format!("service {name:?}"),
        problems,
    );
    unique(
        services.iter().filter_map(destination),
        |(protocol, vips, port)| {
            if vips.is_one() {
                let address = SocketAddr::new(vips.address, *port);
                format!("service address {protocol} {address}")
            } else {
                format!("service address {protocol} {vips} port {port}")
            }
        },
        problems,
    );
    let network = Network::of(file);
    for service in services {
        check_prefix(service, file, problems);
        check_service(service, &network, problems);
        tunnel::check(service, file, problems);
        proxy::check(service, problems);
    }
    nat::check(services, &network, problems);
    fullnat::check(file, &network, problems);
}

fn check_counts(services: &[Service], problems: &mut Vec<Problem>) {
    let places = services.iter().map(|service| service.place.clone());
    at_most(MOST_SERVICES, "services", places, problems);
    let backends = services.iter().flat_map(|service| &service.backends);
    let places = backends.map(|backend| backend.place.clone());
    at_most(MOST_BACKENDS, "backends", places, problems);
}

/// What the data plane looks a service up by.
fn destination(service: &Service) -> Option<((Protocol, Prefix, u16), Place)> {
    let (vips, place) = service.address.known()?;
    let (port, _) = service.port.known()?;
    let (protocol, _) = service.protocol.known()?;
    Some(((*protocol, *vips, *port), place))
}

/// Checks of a service of several VIPs. Answers of a backend behind NAT are told apart by their VIP,
/// so that there can be but one; and for every VIP the forwarder answers ARP.
fn check_prefix(service: &Service, file: &File, problems: &mut Vec<Problem>) {
    let several = service.address.known().filter(|(vips, _)| !vips.is_one());
    let (Some((vips, place)), Some((forward, _))) = (several, service.forward.known()) else {
        return;
    };
    let hosts = file.ports.iter().flat_map(|port| {
        let own = port.addresses.iter().flatten();
        let own = own.map(|own| (own.get_ref().address, own.span()));
        let gateways = port.gateways.iter().flatten();
        own.chain(gateways.map(|gateway| (*gateway.get_ref(), gateway.span())))
    });
    for (host, at) in hosts.filter(|(host, _)| vips.holds(*host)) {
        let message = format!("{vips} holds {host}, which is a port's or a gateway's");
        let help = "ARP would be answered for it: take a prefix of VIPs alone";
        let problem = Problem::new(place.clone(), message).help(help);
        problems.push(problem.other(at, "here"));
    }
    if matches!(forward, Forward::Nat | Forward::Fullnat) {
        let message = format!("forward = \"{forward}\" is of one VIP, not of {vips}");
        let help = "give one address, or forward by dsr, ipip, gue or gre";
        problems.push(Problem::new(place, message).help(help));
    }
}

fn check_service(service: &Service, network: &Network, problems: &mut Vec<Problem>) {
    if let Some(affinity) = &service.affinity {
        let caps = [
            ("duration_cap", &affinity.duration_cap),
            ("lifetime_cap", &affinity.lifetime_cap),
        ];
        for (key, cap) in caps {
            if let (Some(cap), Some((least, _))) = (cap.known(), affinity.duration.known()) {
                check_cap(key, cap, *least, problems);
            }
        }
    }
    check_slow_start(service, problems);
    clients::check(service, problems);
    if let Some(health) = &service.health {
        check_probe(health, service, problems);
        check_timeout(health, problems);
    }
    backend::check(service, network, problems);
}

fn check_cap(
    key: &str,
    (cap, place): (&Duration, Place),
    least: Duration,
    problems: &mut Vec<Problem>,
) {
    if *cap < least {
        let (cap, least) = (duration::format(*cap), duration::format(least));
        let message = format!("\"{key}\" ({cap}) is below \"duration\" ({least})");
        problems.push(Problem::new(place, message).help("raise it, or lower \"duration\""));
    }
}

fn check_slow_start(service: &Service, problems: &mut Vec<Problem>) {
    if let (Some((_, place)), Some((Scheduler::RoundRobin, _))) =
        (service.slow_start.known(), service.scheduler.known())
    {
        let message = "\"slow_start\" raises weights, and scheduler = \"round-robin\" has none";
        let help = "leave it out, or set scheduler = \"weighted-round-robin\"";
        problems.push(Problem::new(place, message).help(help));
    }
}

fn check_probe(health: &Health, service: &Service, problems: &mut Vec<Problem>) {
    let Some((check, place)) = health.check.known() else {
        return;
    };
    match (check, service.port.known()) {
        (CheckWord::None, _) => {}
        (_, Some((0, _))) => {
            let message = "a service of every port (port = 0) has no port to probe";
            problems.push(Problem::new(place, message).help("set check = \"none\""));
        }
        (CheckWord::Http, _) if !health.has_path => {
            let message = "check = \"http\" needs a \"path\"";
            problems.push(Problem::new(place, message).help("such as path = \"/health\""));
        }
        _ => {}
    }
}

fn check_timeout(health: &Health, problems: &mut Vec<Problem>) {
    let (Some((timeout, place)), Some((interval, _))) =
        (health.timeout.known(), health.interval.known())
    else {
        return;
    };
    if timeout > interval {
        let (timeout, interval) = (duration::format(*timeout), duration::format(*interval));
        let message = format!("\"timeout\" ({timeout}) is longer than \"interval\" ({interval})");
        let help = "a probe must be over before the next begins";
        problems.push(Problem::new(place, message).help(help));
    }
}
