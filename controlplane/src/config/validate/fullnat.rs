//! Checks of full NAT: that a service has local addresses of the families of its backends, that nobody
//! else has them, and that answers have a way to the clients.

use std::collections::HashMap;
use std::net::IpAddr;

use super::backend::Network;
use super::nat::check_return;
use crate::config::problem::{Place, Problem};
use crate::config::schema::{File, Fullnat, Known, Service};
use crate::config::{Forward, PortAddress, Prefix};

/// The most local addresses of all services together: a session's name has 8 bits for one.
const MOST_ADDRESSES: u64 = 256;

pub(super) fn check(file: &File, network: &Network, problems: &mut Vec<Problem>) {
    let taken = taken(file);
    let mut pools = Vec::new();
    for service in &file.services {
        let (Some((forward, place)), Some(fullnat)) = (service.forward.known(), &service.fullnat)
        else {
            continue;
        };
        if *forward != Forward::Fullnat {
            check_use(*forward, fullnat, problems);
            continue;
        }
        check_return(service, place.clone(), network, problems);
        check_ports(fullnat, file, problems);
        let Some(pool) = &fullnat.pool else { continue };
        if pool.is_empty() {
            let message = "forward = \"fullnat\" needs local addresses";
            let help =
                "add [service.fullnat] with pool = [\"...\"], addresses that nobody else has";
            problems.push(Problem::new(place, message).help(help));
        } else {
            check_families(service, fullnat, problems);
        }
        for prefix in pool {
            let at = (*prefix.get_ref(), prefix.span());
            check_free(&at, &taken, problems);
            check_edges(&at, file, problems);
            pools.push((at, ports_of(fullnat)));
        }
    }
    check_count(&pools, problems);
    check_shared(&pools, problems);
}

/// A prefix of local addresses in its place, with their ports.
type Pool = ((Prefix, Place), Option<(u16, u16)>);

fn ports_of(fullnat: &Fullnat) -> Option<(u16, u16)> {
    fullnat.ports.as_ref().map(|ports| *ports.get_ref())
}

fn check_use(forward: Forward, fullnat: &Fullnat, problems: &mut Vec<Problem>) {
    if fullnat.is_given {
        let message = format!("forward = \"{forward}\" has no use for [service.fullnat]");
        let help = "leave it out, or forward by fullnat";
        problems.push(Problem::new(fullnat.place.clone(), message).help(help));
    }
}

/// Every worker needs a port of every address.
fn check_ports(fullnat: &Fullnat, file: &File, problems: &mut Vec<Problem>) {
    let cores = file.workers.as_ref().and_then(|it| it.cores.as_ref());
    let (Some((ports, place)), Some(cores)) = (fullnat.ports.known(), cores) else {
        return;
    };
    let (low, high) = *ports;
    let count = usize::from(high - low) + 1;
    if count < cores.len() {
        let message = format!("{count} ports are fewer than the {} workers", cores.len());
        let help = "each worker has ports of its own: give more";
        problems.push(Problem::new(place, message).help(help));
    }
}

fn check_families(service: &Service, fullnat: &Fullnat, problems: &mut Vec<Problem>) {
    let pool = fullnat.pool.iter().flatten();
    for backend in &service.backends {
        let Some((address, place)) = backend.address.known() else {
            continue;
        };
        let is_v4 = address.is_ipv4();
        if !pool
            .clone()
            .any(|it| it.get_ref().address.is_ipv4() == is_v4)
        {
            let family = if is_v4 { "IPv4" } else { "IPv6" };
            let message = format!("the pool of the service has no {family} address for {address}");
            let help = format!("add an {family} address to \"pool\" in [service.fullnat]");
            problems.push(Problem::new(place, message).help(help));
        }
    }
}

/// Every other address of the file, in its place, with what it is.
fn taken(file: &File) -> Vec<(Prefix, &'static str, Place)> {
    let mut taken = Vec::new();
    let one = |address: IpAddr| Prefix {
        address,
        length: if address.is_ipv4() { 32 } else { 128 },
    };
    for port in &file.ports {
        for own in port.addresses.iter().flatten() {
            taken.push((
                one(own.get_ref().address),
                "a port's own address",
                own.span(),
            ));
        }
        for gateway in port.gateways.iter().flatten() {
            taken.push((one(*gateway.get_ref()), "a gateway", gateway.span()));
        }
    }
    for service in &file.services {
        if let Some((vips, place)) = service.address.known() {
            taken.push((*vips, "the address of a service", place));
        }
        for backend in &service.backends {
            if let Some((address, place)) = backend.address.known() {
                taken.push((one(*address), "a backend", place));
            }
        }
    }
    taken
}

/// Packets to a local address are answers and nothing else.
fn check_free(
    (pool, place): &(Prefix, Place),
    taken: &[(Prefix, &'static str, Place)],
    problems: &mut Vec<Problem>,
) {
    for (other, what, at) in taken {
        if pool.holds(other.address) || other.holds(pool.address) {
            let message = format!(
                "a local address cannot be {}, {what}",
                overlap(*pool, *other)
            );
            let help = "take addresses that nobody has: they are answered for";
            let problem = Problem::new(place.clone(), message).help(help);
            problems.push(problem.other(at.clone(), "here"));
        }
    }
}

/// The smaller of two prefixes that meet.
fn overlap(one: Prefix, other: Prefix) -> String {
    let smaller = if one.length > other.length {
        one
    } else {
        other
    };
    if smaller.is_one() {
        smaller.address.to_string()
    } else {
        smaller.to_string()
    }
}

/// No host can have the first and last address of an IPv4 subnet.
fn check_edges((pool, place): &(Prefix, Place), file: &File, problems: &mut Vec<Problem>) {
    let subnets = file
        .ports
        .iter()
        .flat_map(|port| port.addresses.iter().flatten());
    for subnet in subnets.map(toml::Spanned::get_ref) {
        if let Some(edge) = edges(*subnet)
            .into_iter()
            .flatten()
            .find(|it| pool.holds(*it))
        {
            let message =
                format!("a local address cannot be {edge}, an edge of the subnet of a port");
            problems.push(Problem::new(place.clone(), message).help("take a host's address"));
        }
    }
}

fn edges(subnet: PortAddress) -> [Option<IpAddr>; 2] {
    let IpAddr::V4(own) = subnet.address else {
        return [None, None];
    };
    let hosts = u32::MAX
        .checked_shr(subnet.prefix_length.into())
        .unwrap_or(0);
    if hosts < 2 {
        return [None, None];
    }
    [own.to_bits() & !hosts, own.to_bits() | hosts]
        .map(|bits| Some(std::net::Ipv4Addr::from_bits(bits).into()))
}

fn check_count(pools: &[Pool], problems: &mut Vec<Problem>) {
    let mut count = 0;
    for (index, ((prefix, place), _)) in pools.iter().enumerate() {
        let mut before = pools[..index].iter();
        if !before.any(|((other, _), _)| other == prefix) {
            count += prefix.count();
        }
        if count > MOST_ADDRESSES {
            let message = format!("more than {MOST_ADDRESSES} local addresses");
            let help = "each of them has ports for 64512 flows at a time";
            problems.push(Problem::new(place.clone(), message).help(help));
            return;
        }
    }
}

/// Services may share addresses, with the same ports: those are divided among the workers.
fn check_shared(pools: &[Pool], problems: &mut Vec<Problem>) {
    let mut known: HashMap<IpAddr, (Option<(u16, u16)>, Place)> = HashMap::new();
    for ((prefix, place), ports) in pools {
        for address in prefix.addresses() {
            let (first, at) = known.entry(address).or_insert((*ports, place.clone()));
            if ports.is_some() && first.is_some() && first != ports {
                let message = format!("{address} has other \"ports\" in another pool");
                let help = "give both the same ports, or each its own addresses";
                let problem = Problem::new(place.clone(), message).help(help);
                problems.push(problem.other(at.clone(), "first defined"));
                break;
            }
        }
    }
}
