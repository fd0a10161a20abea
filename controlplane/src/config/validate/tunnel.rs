//! Checks of tunnels: that a service has one, and that packets fit into it.

use crate::config::Forward;
use crate::config::problem::Problem;
use crate::config::schema::{File, Known, Service, Tunnel};

/// The shortest MTU with which an IPv6 packet of 1280 bytes (RFC 8200, section 5) fits behind the longest
/// header: IPv6, UDP and GUE.
const LEAST_MTU_V6: u16 = 1280 + 40 + 8 + 4;

pub(super) fn check(service: &Service, file: &File, problems: &mut Vec<Problem>) {
    let Some((forward, _)) = service.forward.known() else {
        return;
    };
    if let Some(tunnel) = &service.tunnel {
        check_use(tunnel, *forward, problems);
        check_sources(tunnel, problems);
    }
    let is_v6 = service
        .address
        .known()
        .is_some_and(|(it, _)| it.address.is_ipv6());
    if is_v6 && is_tunnel(*forward) {
        check_mtu(file, problems);
    }
}

/// Whether packets are wrapped.
fn is_tunnel(forward: Forward) -> bool {
    match forward {
        Forward::Ipip | Forward::Gue | Forward::Gre => true,
        Forward::Dsr | Forward::Nat | Forward::Fullnat => false,
    }
}

fn check_use(tunnel: &Tunnel, forward: Forward, problems: &mut Vec<Problem>) {
    if tunnel.is_given && !is_tunnel(forward) {
        let message = format!("forward = \"{forward}\" has no use for [service.tunnel]");
        let help = "leave it out, or forward by ipip, gue or gre";
        problems.push(Problem::new(tunnel.place.clone(), message).help(help));
    } else if forward != Forward::Gue {
        for (key, place) in &tunnel.of_gue {
            let message = format!("forward = \"{forward}\" has no use for \"{key}\"");
            let help = "it is for gue, which is over UDP: leave it out";
            problems.push(Problem::new(place.clone(), message).help(help));
        }
    }
}

fn check_sources(tunnel: &Tunnel, problems: &mut Vec<Problem>) {
    let sources = || tunnel.sources.iter().flatten();
    for (index, source) in sources().enumerate() {
        let is_v4 = source.get_ref().address.is_ipv4();
        let mut before = sources().take(index);
        if let Some(first) = before.find(|it| it.get_ref().address.is_ipv4() == is_v4) {
            let problem = Problem::new(source.span(), "a tunnel has one source prefix per family");
            problems.push(problem.other(first.span(), "first defined"));
        }
    }
}

/// Reported once, however many services there are.
fn check_mtu(file: &File, problems: &mut Vec<Problem>) {
    for port in &file.ports {
        let Some((mtu, place)) = port.mtu.known().filter(|(mtu, _)| **mtu < LEAST_MTU_V6) else {
            continue;
        };
        let message =
            format!("an IPv6 packet of 1280 bytes does not fit into a tunnel over an MTU of {mtu}");
        let problem = Problem::new(place, message).help(format!(
            "raise it to {LEAST_MTU_V6} or more: every IPv6 link takes 1280"
        ));
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}
