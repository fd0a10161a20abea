//! What workers are told: the configuration, the registry and the ports' MAC addresses, as tables.

use crate::{
    config::{self, Config},
    master::{Backend, Registry, Service},
    ports::PortView,
};
use std::net::IpAddr;
use tether_dataplane::{
    key, limits,
    tables::{
        PortSpec, TablesSpec,
        backend::BackendSpec,
        clients::ClientLists,
        id::ServiceId,
        pool::PoolSpec,
        prefix::Prefix,
        service::{FlowLimits, Forward, OnBackendDown, Refresh, Scheduler, ServiceSpec},
        tunnel::{Encapsulation, GueVariant, TunnelSpec},
    },
};

/// Cells beyond the configured affinities: one that is replaced keeps its own until every worker
/// has passed, and nothing is refused for it.
const SPARE_CELLS: usize = 4096;

/// What can be run, and may not be what was meant, one sentence each.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let taps = config.ports.iter().filter(|port| port.kernel.is_some());
    let twice = taps.filter(|port| port.device.starts_with("net_af_packet"));
    let twice = twice.map(|port| {
        format!(
            "port {}: net_af_packet leaves every frame to the kernel too, which then gets it twice: see \
             docs/kernel.md for how to drop it on the interface, or use net_af_xdp",
            port.device
        )
    });
    twice.collect()
}

/// How many affinity cells the data plane is to have.
#[must_use]
pub fn cells(limits: &config::Limits) -> usize {
    let affinities = usize::try_from(limits.affinities).unwrap_or(limits::AFFINITIES);
    (affinities + SPARE_CELLS).min(limits::AFFINITIES)
}

/// The ports as tables describe them: the configuration with the MAC addresses that were found.
#[must_use]
pub fn ports(config: &Config, found: &[PortView]) -> Vec<PortSpec> {
    let pairs = config.ports.iter().zip(found);
    pairs.map(|(port, view)| port_spec(port, view)).collect()
}

/// What Ethernet links take (RFC 894), where the configuration does not say it.
const MTU: u16 = 1500;

fn port_spec(port: &config::Port, view: &PortView) -> PortSpec {
    let v4 = port.gateway_v4.map(Into::into);
    let v6 = port.gateway_v6.map(Into::into);
    let addresses = port.addresses.iter();
    PortSpec {
        mac: view.mac,
        vlan: port.vlan,
        addresses: addresses
            .map(|own| (own.address, own.prefix_length))
            .collect(),
        gateways: v4.into_iter().chain(v6).collect(),
        mtu: port.mtu.unwrap_or(MTU),
        neighbours: port
            .neighbours
            .iter()
            .map(|it| (it.address, it.mac))
            .collect(),
        spread: None,
    }
}

/// The tables; `affinity` is the forwarder's own switch.
#[must_use]
pub fn tables(registry: &Registry, ports: &[PortSpec], affinity: bool) -> TablesSpec {
    let services = registry.services();
    TablesSpec {
        ports: ports.to_vec(),
        services: services
            .map(|service| service_spec(service, affinity))
            .collect(),
        backends: backend_specs(registry).collect(),
        pools: registry
            .services()
            .filter_map(|it| pool_spec(it.id, &it.settings))
            .collect(),
    }
}

/// The local addresses of a configuration, whatever places its services will have.
#[must_use]
pub fn pools(config: &Config) -> Vec<PoolSpec> {
    let services = config.services.iter();
    let pools = services.filter_map(|service| pool_spec(ServiceId::default(), service));
    pools.collect()
}

/// The local addresses of a service with full NAT.
fn pool_spec(service: ServiceId, settings: &config::Service) -> Option<PoolSpec> {
    let pool = settings.fullnat.pool.iter();
    (settings.forward == config::Forward::Fullnat).then(|| PoolSpec {
        service,
        addresses: pool.flat_map(config::Prefix::addresses).collect(),
        ports: settings.fullnat.ports,
    })
}

fn service_spec(service: &Service, affinity: bool) -> ServiceSpec {
    let settings = &service.settings;
    ServiceSpec {
        id: service.id,
        protocol: protocol(settings.protocol),
        address: settings.address,
        prefix_length: settings.prefix_length,
        port: settings.port,
        scheduler: scheduler(settings.scheduler),
        proxy_protocol: settings.proxy_protocol,
        forward: forward(settings.forward, &settings.tunnel),
        flow_timeout_s: u32::try_from(settings.flow_timeout.as_secs())
            .unwrap_or(limits::FLOW_TIMEOUT_S)
            .clamp(1, limits::FLOW_TIMEOUT_S),
        affinity: affinity && service.affinity,
        refresh: match settings.affinity.refresh {
            config::Refresh::Packet => Refresh::Packet,
            config::Refresh::Connection => Refresh::Connection,
            config::Refresh::Never => Refresh::Never,
        },
        on_backend_down: match settings.affinity.on_backend_down {
            config::OnBackendDown::Balance => OnBackendDown::Balance,
            config::OnBackendDown::Drop => OnBackendDown::Drop,
        },
        clients: ClientLists {
            allow: prefixes(&settings.allow),
            deny: prefixes(&settings.deny),
        },
        limits: FlowLimits {
            per_second: settings.limits.new_flows_per_second,
            per_second_per_source: settings.limits.new_flows_per_second_per_source,
        },
    }
}

fn prefixes(list: &[config::Prefix]) -> Vec<Prefix> {
    let list = list.iter();
    list.filter_map(|it| Prefix::new(it.address, it.length))
        .collect()
}

fn backend_specs(registry: &Registry) -> impl Iterator<Item = BackendSpec> {
    registry.services().flat_map(|service| {
        let backends = registry.backends_of(service);
        backends.map(|backend| backend_spec(service, backend))
    })
}

/// A backend as it is now; with a slow start all weights of the service count in tenths.
fn backend_spec(service: &Service, backend: &Backend) -> BackendSpec {
    let tenths = service.settings.slow_start.map(|_| backend.tenths);
    BackendSpec {
        id: backend.id,
        name: backend.settings.name.clone(),
        service: backend.service,
        address: backend.settings.address,
        port: backend.settings.port,
        weight: backend.weight * tenths.unwrap_or(1),
        nominal_weight: backend.settings.weight.into(),
        state: backend.state(),
    }
}

/// The protocol as the packet path calls it.
#[must_use]
pub fn protocol(protocol: config::Protocol) -> key::Protocol {
    match protocol {
        config::Protocol::Tcp => key::Protocol::Tcp,
        config::Protocol::Udp => key::Protocol::Udp,
    }
}

fn scheduler(scheduler: config::Scheduler) -> Scheduler {
    match scheduler {
        config::Scheduler::Maglev => Scheduler::Maglev,
        config::Scheduler::RoundRobin => Scheduler::RoundRobin,
        config::Scheduler::WeightedRoundRobin => Scheduler::WeightedRoundRobin,
        config::Scheduler::LeastConnections => Scheduler::LeastConnections,
        config::Scheduler::PowerOfTwo => Scheduler::PowerOfTwo,
        config::Scheduler::SourceHash => Scheduler::SourceHash,
    }
}

fn forward(forward: config::Forward, tunnel: &config::Tunnel) -> Forward {
    let encapsulation = match forward {
        config::Forward::Dsr => return Forward::Dsr,
        config::Forward::Nat => return Forward::Nat,
        config::Forward::Fullnat => return Forward::Fullnat,
        config::Forward::Ipip => Encapsulation::Ipip,
        config::Forward::Gre => Encapsulation::Gre,
        config::Forward::Gue => Encapsulation::Gue {
            port: tunnel.port,
            variant: match tunnel.variant {
                0 => GueVariant::Header,
                _ => GueVariant::Direct,
            },
        },
    };
    let prefix = |prefix: config::Prefix| (prefix.address, prefix.length);
    Forward::Tunnel(TunnelSpec {
        encapsulation,
        source_v4: tunnel.source_v4.map(prefix).and_then(|it| match it {
            (IpAddr::V4(address), length) => Some((address, length)),
            (IpAddr::V6(_), _) => None,
        }),
        source_v6: tunnel.source_v6.map(prefix).and_then(|it| match it {
            (IpAddr::V4(_), _) => None,
            (IpAddr::V6(address), length) => Some((address, length)),
        }),
        mss_clamp: tunnel.mss_clamp,
    })
}
