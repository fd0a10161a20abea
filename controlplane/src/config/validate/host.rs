//! Checks of what this host has: EAL arguments, workers, ports, the control plane's own places.

use std::net::{IpAddr, Ipv6Addr};

use toml::Spanned;

use super::{MOST_PORTS, MOST_TAP_QUEUES, MOST_WORKERS, at_most, unique};
use crate::config::PortAddress;
use crate::config::problem::Problem;
use crate::config::schema::{Control, File, Known, Port};
use crate::config::words::AuthWord;

pub(super) fn check(file: &File, problems: &mut Vec<Problem>) {
    let args: Option<Vec<&str>> = file
        .args
        .as_ref()
        .map(|args| args.iter().map(|arg| arg.get_ref().as_str()).collect());
    check_args(file.args.iter().flatten(), problems);
    check_cores(file, problems);
    check_unique_ports(&file.ports, problems);
    check_taps(file, problems);
    for port in &file.ports {
        check_gateways(port, problems);
        check_neighbours(port, problems);
        if let Some(args) = &args {
            check_device(port, args, problems);
            check_frames(port, args, problems);
        }
    }
    if let Some(control) = &file.control {
        check_control(control, problems);
    }
}

fn check_args<'a>(args: impl Iterator<Item = &'a Spanned<String>>, problems: &mut Vec<Problem>) {
    for arg in args.filter(|arg| is_core_option(arg.get_ref())) {
        let message = format!("\"args\" must not choose cores: {:?}", arg.get_ref());
        let help = "cores come from [workers]: leave this option and its value out";
        problems.push(Problem::new(arg.span(), message).help(help));
    }
}

/// Whether `arg` is one of the EAL's options for cores, with its value attached or not.
fn is_core_option(arg: &str) -> bool {
    match arg.strip_prefix("--") {
        Some(long) => {
            let name = long.split_once('=').map_or(long, |(name, _)| name);
            matches!(
                name,
                "lcores" | "main-lcore" | "master-lcore" | "coremask" | "corelist"
            )
        }
        None => arg.starts_with("-l") || arg.starts_with("-c"),
    }
}

fn check_cores(file: &File, problems: &mut Vec<Problem>) {
    let cores = || {
        file.workers
            .iter()
            .flat_map(|workers| &workers.cores)
            .flatten()
    };
    unique(
        cores().map(|core| (*core.get_ref(), core.span())),
        |core| format!("core {core}"),
        problems,
    );
    at_most(
        MOST_WORKERS,
        "workers",
        cores().map(Spanned::span),
        problems,
    );
}

fn check_unique_ports(ports: &[Port], problems: &mut Vec<Problem>) {
    at_most(
        MOST_PORTS,
        "ports",
        ports.iter().map(|port| port.place.clone()),
        problems,
    );
    let devices = ports.iter().filter_map(|port| port.device.known());
    unique(devices, |device| format!("device {device:?}"), problems);
    let taps = ports.iter().filter_map(|port| port.kernel.known());
    unique(taps, |tap| format!("kernel interface {tap:?}"), problems);
    let addresses = ports.iter().flat_map(|port| &port.addresses).flatten();
    unique(
        addresses.map(|address| (address.get_ref().address, address.span())),
        |address| format!("port address {address}"),
        problems,
    );
}

/// Each worker has a queue of every tap.
fn check_taps(file: &File, problems: &mut Vec<Problem>) {
    let workers = file.workers.iter().filter_map(|it| it.cores.as_ref());
    let workers = workers.map(Vec::len).next().unwrap_or(0);
    for (_, place) in file.ports.iter().filter_map(|port| port.kernel.known()) {
        if workers > MOST_TAP_QUEUES {
            let message = format!(
                "{workers} workers are too many for a port with \"kernel\": DPDK's tap has {MOST_TAP_QUEUES} queues"
            );
            let help = format!("use at most {MOST_TAP_QUEUES} cores, or leave \"kernel\" out");
            problems.push(Problem::new(place, message).help(help));
        }
    }
}

fn check_gateways(port: &Port, problems: &mut Vec<Problem>) {
    let gateways = || port.gateways.iter().flatten();
    for (index, gateway) in gateways().enumerate() {
        let is_same =
            |other: &&Spanned<IpAddr>| other.get_ref().is_ipv4() == gateway.get_ref().is_ipv4();
        if let Some(first) = gateways().take(index).find(is_same) {
            let problem = Problem::new(gateway.span(), "a port has one gateway per family");
            problems.push(problem.other(first.span(), "first defined"));
        }
        if let Some(addresses) = &port.addresses {
            check_gateway(gateway, addresses, problems);
        }
    }
}

fn check_neighbours(port: &Port, problems: &mut Vec<Problem>) {
    let known = || port.neighbours.iter().filter_map(|it| it.address.known());
    unique(known(), |address| format!("neighbour {address}"), problems);
    for (address, place) in known() {
        let mut own = port.addresses.iter().flatten().map(Spanned::get_ref);
        if own.clone().any(|own| own.address == *address) {
            let message = format!("the neighbour {address} is the port's own address");
            problems.push(Problem::new(place, message));
        } else if !is_link_local(*address)
            && port.addresses.is_some()
            && !own.any(|own| own.is_on_link(*address))
        {
            let message =
                format!("the neighbour {address} is in no subnet of the port's \"addresses\"");
            let help = "a neighbour is on-link: correct it or give it to another [[port]]";
            problems.push(Problem::new(place, message).help(help));
        }
    }
}

fn check_gateway(
    gateway: &Spanned<IpAddr>,
    addresses: &[Spanned<PortAddress>],
    problems: &mut Vec<Problem>,
) {
    let address = *gateway.get_ref();
    let mut own = addresses.iter().map(Spanned::get_ref);
    if own.clone().any(|own| own.address == address) {
        let message = format!("the gateway {address} is the port's own address");
        problems.push(Problem::new(gateway.span(), message));
    } else if !is_link_local(address) && !own.any(|own| own.is_on_link(address)) {
        let message = format!("the gateway {address} is in no subnet of the port's \"addresses\"");
        let help = "a next hop must be on-link: correct it or add an address of its subnet";
        problems.push(Problem::new(gateway.span(), message).help(help));
    }
}

/// Link-local addresses are on-link on every IPv6 interface (RFC 4291, section 2.5.6).
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => Ipv6Addr::is_unicast_link_local(&v6),
    }
}

fn check_device(port: &Port, args: &[&str], problems: &mut Vec<Problem>) {
    let Some((device, place)) = port.device.known() else {
        return;
    };
    if device.starts_with("net_") {
        if !vdevs(args).any(|(vdev, _)| vdev == device) {
            let message = format!("no \"--vdev\" in dpdk.args makes the device {device:?}");
            let help = format!("add \"--vdev={device},...\" there");
            problems.push(Problem::new(place, message).help(help));
        }
    } else if device.contains(':') && args.contains(&"--no-pci") {
        let message = format!("\"--no-pci\" in dpdk.args hides the device {device:?}");
        problems.push(Problem::new(place, message).help("leave \"--no-pci\" out there"));
    }
}

/// A frame of `net_af_packet` must hold a whole packet: what is longer it would cut off without a word.
fn check_frames(port: &Port, args: &[&str], problems: &mut Vec<Problem>) {
    /// What the kernel puts before a packet there (`tpacket_rcv`, with `TPACKET_V2`).
    const BEFORE: u32 = 80;
    /// The driver's own choice.
    const USUAL: u32 = 2048;
    let (Some((device, _)), Some((mtu, place))) = (port.device.known(), port.mtu.known()) else {
        return;
    };
    if !device.starts_with("net_af_packet") {
        return;
    }
    let Some(options) = vdevs(args).find_map(|(name, options)| (name == device).then_some(options))
    else {
        return;
    };
    let given = options
        .split(',')
        .find_map(|it| it.strip_prefix("framesz="));
    let given = given.and_then(|it| it.parse().ok()).unwrap_or(USUAL);
    let wanted = u32::from(*mtu) + BEFORE;
    if given < wanted {
        let message = format!(
            "packets of {mtu} bytes do not fit into the frames of {device:?}, which have {given}"
        );
        let frame = wanted.next_multiple_of(1024);
        let help = format!(
            "give it \"framesz={frame},blocksz={}\" in dpdk.args",
            4 * frame
        );
        problems.push(Problem::new(place, message).help(help));
    }
}

/// The virtual devices that `args` make: names and options.
fn vdevs<'a>(args: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    let before = std::iter::once("").chain(args.iter().copied());
    before
        .zip(args.iter().copied())
        .filter_map(|(before, arg)| {
            let attached = arg.strip_prefix("--vdev=");
            let vdev = attached.or_else(|| (before == "--vdev").then_some(arg))?;
            Some(vdev.split_once(',').unwrap_or((vdev, "")))
        })
}

fn check_control(control: &Control, problems: &mut Vec<Problem>) {
    check_listeners(control, problems);
    match (control.signal.known(), control.auth.known(), &control.tls) {
        (Some((_, place)), Some((AuthWord::Mtls, _)), None) => {
            let message = "\"signal\" with auth = \"mtls\" (the default) needs [control.tls]";
            let help = "add it with certificate, key and client_ca, or, on a network \
                        that you trust, set auth = \"address\"";
            problems.push(Problem::new(place, message).help(help));
        }
        (Some(_), Some((AuthWord::Address, _)), Some((place, _))) => {
            let message = "auth = \"address\" does not use [control.tls]";
            let help = "leave it out, or set auth = \"mtls\"";
            problems.push(Problem::new(place.clone(), message).help(help));
        }
        _ => {}
    }
}

fn check_listeners(control: &Control, problems: &mut Vec<Problem>) {
    let listeners = [&control.signal, &control.metrics];
    let fixed = listeners
        .into_iter()
        .filter_map(Known::known)
        .filter(|(address, _)| address.port() != 0);
    unique(
        fixed,
        |address| format!("listening address {address}"),
        problems,
    );
}
