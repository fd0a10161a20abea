//! The kernel's interfaces under ports of `af_packet` and `af_xdp`.

use super::{Finding, Host, Plan, plan::Port};

const NET: &str = "/sys/class/net";
/// What the ring of `net_af_packet` has unless told otherwise, and what a burst of clients wants.
const FRAMES: u32 = 512;
const FRAMES_ENOUGH: u32 = 2048;
const RING: &str = "ring";
const OFFLOADS: &str = "offloads";
const INTERFACE: &str = "interface";

pub(super) fn interfaces(host: &Host, plan: &Plan) -> Vec<Finding> {
    let ports = plan.ports.iter();
    let of_kernel = ports.filter_map(|port| Some((port, port.interface.as_deref()?)));
    of_kernel
        .flat_map(|(port, interface)| interface_of(host, port, interface))
        .collect()
}

fn interface_of(host: &Host, port: &Port, interface: &str) -> Vec<Finding> {
    let at = format!("{NET}/{interface}");
    if !host.has(&at) {
        let what = format!("there is no interface {interface} in this network namespace");
        let fix = "ip link    # and run doctor where tetherd runs: ip netns exec NAME ...";
        return vec![Finding::problem(INTERFACE, what, fix)];
    }
    let mut findings = vec![is_up(host, &at, interface)];
    findings.extend(mtu(host, port, &at, interface));
    findings.extend(addresses(host, interface));
    findings.extend(offloads(host, &at, interface));
    findings.extend(ring(host, port, interface));
    findings
}

fn is_up(host: &Host, at: &str, interface: &str) -> Finding {
    let state = host.read(format!("{at}/operstate")).unwrap_or_default();
    if state == "down" {
        let what = format!("{interface} is down");
        return Finding::problem(INTERFACE, what, format!("ip link set {interface} up"));
    }
    Finding::ok(INTERFACE, format!("{interface} is {state}"))
}

fn mtu(host: &Host, port: &Port, at: &str, interface: &str) -> Option<Finding> {
    let of_kernel: u32 = host.read(format!("{at}/mtu"))?.parse().ok()?;
    let of_port = port.mtu?;
    (of_port > of_kernel).then(|| {
        let what = format!(
            "{interface} has MTU {of_kernel}, the port {} {of_port}",
            port.device
        );
        Finding::problem(
            INTERFACE,
            what,
            format!("ip link set {interface} mtu {of_port}"),
        )
    })
}

/// An address of the kernel's on the port: it answers too.
fn addresses(host: &Host, interface: &str) -> Option<Finding> {
    let said = host.run("ip", &["-o", "-4", "address", "show", "dev", interface])?;
    let addresses = said.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip_while(|it| *it != "inet");
        words.nth(1)
    });
    let addresses: Vec<_> = addresses.collect();
    (!addresses.is_empty()).then(|| {
        let what = format!(
            "the kernel has {} on {interface}: it answers ARP and resets connections beside Tether",
            addresses.join(", ")
        );
        Finding::problem(INTERFACE, what, format!("ip address flush dev {interface}"))
    })
}

/// A kernel hands frames to a neighbour on the same host with half a checksum and longer than the MTU.
fn offloads(host: &Host, at: &str, interface: &str) -> Vec<Finding> {
    let Some(said) = host.run("ethtool", &["-k", interface]) else {
        let what = format!("{interface} cannot be looked at without ethtool");
        return vec![Finding::advice(OFFLOADS, what, "apt-get install ethtool")];
    };
    let is_on = |name: &str| {
        let mut lines = said.lines();
        let line = lines.find_map(|it| it.trim().strip_prefix(name)?.strip_prefix(':'));
        line.is_some_and(|it| it.trim().starts_with("on"))
    };
    let merging = [
        ("generic-receive-offload", "gro"),
        ("large-receive-offload", "lro"),
    ];
    let on: Vec<_> = merging
        .into_iter()
        .filter(|(name, _)| is_on(name))
        .collect();
    let mut findings = Vec::new();
    if on.is_empty() {
        findings.push(Finding::ok(
            OFFLOADS,
            format!("{interface} merges no frames"),
        ));
    } else {
        let names: Vec<_> = on.iter().map(|(_, short)| *short).collect();
        let what = format!(
            "{interface} merges frames ({}): they are longer than the MTU",
            names.join(", ")
        );
        let off: Vec<_> = names.iter().map(|it| format!("{it} off")).collect();
        let fix = format!("ethtool -K {interface} {}", off.join(" "));
        findings.push(Finding::advice(OFFLOADS, what, fix));
    }
    // Both ends of a veth are alike: what one leaves to hardware the other gets as it is.
    let is_veth = host
        .run("ethtool", &["-i", interface])
        .is_some_and(|it| it.contains("driver: veth"));
    if is_veth {
        findings.push(peer(host, at, interface));
    }
    findings
}

/// The other end of a veth, whose kernel sends into the port.
fn peer(host: &Host, at: &str, interface: &str) -> Finding {
    let index = host.read(format!("{at}/iflink"));
    let all = host.list(NET).into_iter();
    let mut others = all.filter(|it| it != interface);
    let peer = others.find(|it| {
        let of_peer = |file| host.read(format!("{NET}/{it}/{file}"));
        of_peer("ifindex") == index && of_peer("iflink") == host.read(format!("{at}/ifindex"))
    });
    let off = "tx off tso off gso off gro off";
    let Some(peer) = peer else {
        let what = format!(
            "the other end of {interface} is in another namespace: see that it finishes its checksums"
        );
        let fix = format!("there: ethtool -K INTERFACE {off}");
        return Finding::advice(OFFLOADS, what, fix);
    };
    let said = host.run("ethtool", &["-k", &peer]).unwrap_or_default();
    if said
        .lines()
        .any(|it| it.trim().starts_with("tx-checksumming: on"))
    {
        let what = format!(
            "{peer}, the other end of {interface}, leaves checksums to hardware that is not there: backends drop its TCP and UDP"
        );
        return Finding::problem(OFFLOADS, what, format!("ethtool -K {peer} {off}"));
    }
    Finding::ok(
        OFFLOADS,
        format!("{peer}, the other end of {interface}, finishes its checksums"),
    )
}

fn ring(host: &Host, port: &Port, interface: &str) -> Option<Finding> {
    if port.device.contains("af_packet") {
        let frames = port.frames.unwrap_or(FRAMES);
        return Some(if frames < FRAMES_ENOUGH {
            let what = format!(
                "{} has room for {frames} frames: a burst overflows it",
                port.device
            );
            let fix = format!(
                "--vdev={},iface={interface},framecnt={FRAMES_ENOUGH},...",
                port.device
            );
            Finding::advice(RING, what, fix)
        } else {
            Finding::ok(
                RING,
                format!("{} has room for {frames} frames", port.device),
            )
        });
    }
    let said = host.run("ethtool", &["-g", interface])?;
    let mut rx = said
        .lines()
        .filter_map(|it| it.strip_prefix("RX:")?.trim().parse::<u32>().ok());
    let (most, now) = (rx.next()?, rx.next()?);
    Some(if now < most.min(FRAMES_ENOUGH) {
        let what = format!("{interface} receives into {now} descriptors of {most}");
        Finding::advice(RING, what, format!("ethtool -G {interface} rx {most}"))
    } else {
        Finding::ok(RING, format!("{interface} receives into {now} descriptors"))
    })
}
