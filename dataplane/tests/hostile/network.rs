//! The network that hostile frames meet: services of every way and scheduler, one VIP and many, one
//! port and every, on one port or two, with VLANs and without.

use std::net::IpAddr;
use tether_dataplane::{
    Mac,
    key::Protocol::{self, Tcp, Udp},
    tables::{
        PortSpec, TablesSpec,
        backend::{BackendSpec, BackendState},
        clients::ClientLists,
        id::{BackendId, ServiceId},
        pool::PoolSpec,
        prefix::Prefix,
        service::{FlowLimits, Forward, OnBackendDown, Refresh, Scheduler, ServiceSpec},
        tunnel::{Encapsulation, GueVariant, TunnelSpec},
    },
};

/// The port to the clients.
pub(crate) const OUTSIDE: Mac = Mac([2, 0, 0, 0, 0, 0x99]);
/// The port to the backends, if there is one.
pub(crate) const INSIDE: Mac = Mac([2, 0, 0, 0, 0, 0x88]);
/// The gateway, by which clients come.
pub(crate) const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 0x11]);
/// Where GUE goes.
pub(crate) const GUE_PORT: u16 = 6080;
const MTU: u16 = 1500;

/// How a service's packets go on.
#[derive(Clone, Copy)]
enum Way {
    Dsr,
    Ipip,
    Gre,
    GueHeader,
    GueDirect,
    Nat,
    Fullnat,
}

/// A service: protocol, the VIP or the first of several, how many bits they share, port, way,
/// scheduler, its backends, and where they listen with NAT.
struct Row(
    Protocol,
    &'static str,
    u8,
    u16,
    Way,
    Scheduler,
    &'static [&'static str],
    u16,
);

const SERVICES: &[Row] = &[
    Row(
        Tcp,
        "203.0.113.80",
        32,
        80,
        Way::Dsr,
        Scheduler::Maglev,
        &["10.0.0.1", "10.0.0.2"],
        0,
    ),
    Row(
        Tcp,
        "2001:db8:80::80",
        128,
        80,
        Way::Dsr,
        Scheduler::RoundRobin,
        &["fd00::3", "10.0.0.4"],
        0,
    ),
    Row(
        Udp,
        "203.0.113.80",
        32,
        53,
        Way::Dsr,
        Scheduler::LeastConnections,
        &["10.0.0.5", "10.0.0.6"],
        0,
    ),
    Row(
        Tcp,
        "203.0.113.81",
        32,
        80,
        Way::Ipip,
        Scheduler::WeightedRoundRobin,
        &["10.0.0.7", "10.0.0.8"],
        0,
    ),
    Row(
        Tcp,
        "2001:db8:80::81",
        128,
        80,
        Way::Ipip,
        Scheduler::Maglev,
        &["10.0.0.9", "fd00::a"],
        0,
    ),
    Row(
        Udp,
        "203.0.113.82",
        32,
        0,
        Way::Gre,
        Scheduler::PowerOfTwo,
        &["fd00::b", "10.0.0.12"],
        0,
    ),
    Row(
        Udp,
        "2001:db8:80::82",
        128,
        0,
        Way::GueHeader,
        Scheduler::SourceHash,
        &["10.0.0.13", "fd00::e"],
        0,
    ),
    Row(
        Udp,
        "203.0.113.83",
        32,
        443,
        Way::GueDirect,
        Scheduler::Maglev,
        &["10.77.0.15", "fd00::10"],
        0,
    ),
    Row(
        Tcp,
        "203.0.113.83",
        32,
        443,
        Way::GueHeader,
        Scheduler::Maglev,
        &["10.0.0.17", "fd77::12"],
        0,
    ),
    Row(
        Tcp,
        "203.0.113.84",
        32,
        80,
        Way::Nat,
        Scheduler::RoundRobin,
        &["10.0.0.19", "10.0.0.20"],
        8080,
    ),
    Row(
        Tcp,
        "2001:db8:80::84",
        128,
        80,
        Way::Nat,
        Scheduler::Maglev,
        &["fd00::15", "fd00::16"],
        8080,
    ),
    Row(
        Udp,
        "203.0.113.84",
        32,
        53,
        Way::Nat,
        Scheduler::LeastConnections,
        &["10.0.0.23", "10.0.0.24"],
        53,
    ),
    Row(
        Udp,
        "2001:db8:80::84",
        128,
        53,
        Way::Nat,
        Scheduler::RoundRobin,
        &["fd00::19"],
        5353,
    ),
    Row(
        Udp,
        "203.0.113.85",
        32,
        0,
        Way::Nat,
        Scheduler::RoundRobin,
        &["10.0.0.26"],
        0,
    ),
    Row(
        Tcp,
        "10.9.1.0",
        28,
        0,
        Way::Dsr,
        Scheduler::PowerOfTwo,
        &["10.0.0.27", "10.0.0.28"],
        0,
    ),
    Row(
        Udp,
        "2001:db8:90::",
        64,
        53,
        Way::Gre,
        Scheduler::SourceHash,
        &["fd00::1d", "10.0.0.30"],
        0,
    ),
    Row(
        Tcp,
        "10.9.1.4",
        32,
        80,
        Way::GueDirect,
        Scheduler::RoundRobin,
        &["fd00::1f"],
        0,
    ),
    Row(
        Tcp,
        "203.0.113.86",
        32,
        80,
        Way::Fullnat,
        Scheduler::RoundRobin,
        &["10.0.0.33", "fd00::22"],
        8080,
    ),
    Row(
        Udp,
        "203.0.113.86",
        32,
        53,
        Way::Fullnat,
        Scheduler::Maglev,
        &["fd00::23", "10.0.0.36"],
        0,
    ),
    Row(
        Tcp,
        "2001:db8:80::86",
        128,
        80,
        Way::Fullnat,
        Scheduler::LeastConnections,
        &["10.0.0.37", "fd00::26"],
        8080,
    ),
    Row(
        Udp,
        "2001:db8:80::86",
        128,
        53,
        Way::Fullnat,
        Scheduler::RoundRobin,
        &["fd00::27", "10.0.0.40"],
        5353,
    ),
];

/// Which ports there are, and in which VLANs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) outside_vlan: Option<u16>,
    pub(crate) inside_vlan: Option<u16>,
    pub(crate) has_one_port: bool,
    pub(crate) has_two_workers: bool,
}

impl Layout {
    /// The layout that four bits say.
    pub(crate) fn of(bits: u8) -> Self {
        Self {
            outside_vlan: (bits & 1 != 0).then_some(100),
            inside_vlan: (bits & 2 != 0).then_some(200),
            has_one_port: bits & 4 != 0,
            has_two_workers: bits & 16 != 0,
        }
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn port(mac: Mac, vlan: Option<u16>, addresses: &[(&str, u8)]) -> PortSpec {
    let addresses = addresses.iter();
    PortSpec {
        mac,
        vlan,
        addresses: addresses
            .map(|(address, bits)| (ip(address), *bits))
            .collect(),
        gateways: Vec::new(),
        mtu: MTU,
        neighbours: Vec::new(),
        spread: None,
    }
}

/// Where the backend with this address is.
pub(crate) fn mac_of(address: IpAddr) -> Mac {
    let last = match address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(v6) => v6.octets()[15],
    };
    Mac([2, 0, 0, 0, 1, last])
}

/// The whole network. Every fifth backend has to be asked where it is.
pub(crate) fn network(layout: Layout) -> TablesSpec {
    let mut ports = vec![
        port(
            OUTSIDE,
            layout.outside_vlan,
            &[("192.0.2.2", 24), ("2001:db8::2", 64)],
        ),
        port(
            INSIDE,
            layout.inside_vlan,
            &[("10.0.0.250", 24), ("fd00::fa", 64)],
        ),
    ];
    let routers = [ip("192.0.2.1"), ip("2001:db8::1")];
    ports[0].gateways = routers.to_vec();
    ports[0].neighbours = routers.map(|it| (it, ROUTER)).to_vec();
    let backends = backends();
    let known = backends.iter().filter(|it| it.id.0 % 5 != 0);
    let on_link = known.filter(|it| !it.address.to_string().contains("77"));
    ports[1].neighbours = on_link.map(|it| (it.address, mac_of(it.address))).collect();
    if let (true, Some(inside)) = (layout.has_one_port, ports.pop_if(|_| layout.has_one_port)) {
        ports[0].addresses.extend(inside.addresses);
        ports[0].neighbours.extend(inside.neighbours);
    }
    let services = services();
    TablesSpec {
        ports,
        pools: services.iter().filter_map(pool).collect(),
        services,
        backends,
    }
}

/// What clients stand behind with full NAT.
pub(crate) const LOCAL: [&str; 2] = ["10.0.0.200", "fd00::c8"];
/// The first of their ports, of which there are fewer than flows.
pub(crate) const LOCAL_PORT: u16 = 2000;
pub(crate) const LOCAL_PORTS: u16 = 32;

fn pool(service: &ServiceSpec) -> Option<PoolSpec> {
    (service.forward == Forward::Fullnat).then(|| PoolSpec {
        service: service.id,
        addresses: LOCAL.map(ip).to_vec(),
        ports: (LOCAL_PORT, LOCAL_PORT + LOCAL_PORTS - 1),
    })
}

fn services() -> Vec<ServiceSpec> {
    let rows = (0_u16..).zip(SERVICES);
    rows.map(
        |(id, Row(protocol, vip, bits, port, way, scheduler, _, _))| ServiceSpec {
            id: ServiceId(id),
            protocol: *protocol,
            address: ip(vip),
            prefix_length: *bits,
            port: *port,
            scheduler: *scheduler,
            forward: forward(*way, id),
            proxy_protocol: matches!((way, protocol), (Way::Fullnat, Tcp)),
            flow_timeout_s: 300,
            affinity: true,
            refresh: Refresh::Packet,
            on_backend_down: OnBackendDown::Balance,
            clients: ClientLists::default(),
            limits: FlowLimits::default(),
        },
    )
    .collect()
}

/// Services of odd numbers lower what SYNs offer and spread outer sources.
fn forward(way: Way, id: u16) -> Forward {
    let encapsulation = match way {
        Way::Dsr => return Forward::Dsr,
        Way::Nat => return Forward::Nat,
        Way::Fullnat => return Forward::Fullnat,
        Way::Ipip => Encapsulation::Ipip,
        Way::Gre => Encapsulation::Gre,
        Way::GueHeader | Way::GueDirect => Encapsulation::Gue {
            port: GUE_PORT,
            variant: match way {
                Way::GueHeader => GueVariant::Header,
                _ => GueVariant::Direct,
            },
        },
    };
    let is_odd = id % 2 == 1;
    Forward::Tunnel(TunnelSpec {
        encapsulation,
        source_v4: is_odd.then_some(([172, 16, 0, 0].into(), 16)),
        source_v6: is_odd.then_some(([0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 0].into(), 64)),
        mss_clamp: is_odd.then_some(1400),
    })
}

fn backends() -> Vec<BackendSpec> {
    let rows = (0_u16..).zip(SERVICES);
    let all = rows.flat_map(|(service, row)| {
        let Row(.., backends, listens) = row;
        backends
            .iter()
            .map(move |address| (ServiceId(service), *address, *listens))
    });
    let numbered = (1_u16..).zip(all);
    numbered
        .map(|(id, (service, address, port))| BackendSpec {
            id: BackendId(id),
            name: format!("b{id}"),
            service,
            address: ip(address),
            port,
            weight: 1,
            nominal_weight: 1,
            state: BackendState::Up,
        })
        .collect()
}

/// Clients, and addresses that nobody may send from.
pub(crate) const SOURCES4: [&str; 14] = [
    "198.51.100.1",
    "198.51.100.2",
    "198.51.100.3",
    "198.51.100.200",
    "192.0.2.1",
    "10.0.0.19",
    "203.0.113.80",
    "203.0.113.84",
    "192.0.2.2",
    "127.0.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "10.0.0.255",
];
/// The same of IPv6.
pub(crate) const SOURCES6: [&str; 10] = [
    "2001:db8:7::1",
    "2001:db8:7::2",
    "2001:db8:7::3",
    "2001:db8::1",
    "fd00::15",
    "fe80::1",
    "2001:db8:80::80",
    "::",
    "::1",
    "ff02::1",
];

/// A list of clients that one of them is not in.
pub(crate) fn most_clients(is_ipv4: bool) -> ClientLists {
    let prefix = |text, bits| Prefix::new(ip(text), bits).into_iter().collect();
    let (allow, deny) = if is_ipv4 {
        (prefix("198.51.100.0", 24), prefix("198.51.100.3", 32))
    } else {
        (prefix("2001:db8:7::", 48), prefix("2001:db8:7::3", 128))
    };
    ClientLists { allow, deny }
}
