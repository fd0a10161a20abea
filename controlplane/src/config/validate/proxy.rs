//! Checks of the PROXY protocol: that connections come from the forwarder, and are connections.

use crate::config::problem::Problem;
use crate::config::schema::{Known, Service};
use crate::config::{Forward, Protocol};

pub(super) fn check(service: &Service, problems: &mut Vec<Problem>) {
    let Some((true, place)) = service.proxy_protocol.known() else {
        return;
    };
    let forward = service.forward.known().map(|(forward, _)| *forward);
    if let Some(forward) = forward.filter(|it| *it != Forward::Fullnat) {
        let message = format!("forward = \"{forward}\" has no use for \"proxy_protocol\"");
        let help = "servers see their clients' addresses then: leave it out, or forward by fullnat";
        problems.push(Problem::new(place.clone(), message).help(help));
    }
    if let Some((Protocol::Udp, _)) = service.protocol.known() {
        let message = "protocol = \"udp\" has no use for \"proxy_protocol\"";
        let help = "it is what a TCP connection begins with: leave it out";
        problems.push(Problem::new(place, message).help(help));
    }
}
