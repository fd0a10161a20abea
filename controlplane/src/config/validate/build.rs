//! From values with places to a [`Config`]: takes the places away and fills in what depends on
//! other values. `None` wherever a value is missing that has been reported.

use std::net::IpAddr;

use toml::Spanned;

use crate::config::schema::{self, Field, File};
use crate::config::words::{AuthWord, CheckWord};
use crate::config::{
    AffinityPolicy, Audit, Auth, Backend, Check, Config, Control, Dpdk, Fullnat, Health, Kernel,
    Neighbour, Port, Service, ServiceLimits, SignalListener, Tunnel, Workers,
};

pub(super) fn config(file: File) -> Option<Config> {
    Some(Config {
        dpdk: Dpdk {
            args: plain(file.args?),
        },
        workers: workers(file.workers?)?,
        ports: file.ports.into_iter().map(port).collect::<Option<_>>()?,
        control: control(file.control?)?,
        limits: file.limits?,
        services: file
            .services
            .into_iter()
            .map(service)
            .collect::<Option<_>>()?,
    })
}

fn plain<T>(list: Vec<Spanned<T>>) -> Vec<T> {
    list.into_iter().map(Spanned::into_inner).collect()
}

fn value<T>(field: Field<T>) -> Option<T> {
    field.map(Spanned::into_inner)
}

fn workers(workers: schema::Workers) -> Option<Workers> {
    Some(Workers {
        cores: plain(workers.cores?),
        flows: value(workers.flows)?,
        idle: value(workers.idle)?,
    })
}

fn port(port: schema::Port) -> Option<Port> {
    let gateways = plain(port.gateways?);
    let rate = value(port.kernel_rate)?;
    Some(Port {
        device: value(port.device)?,
        addresses: plain(port.addresses?),
        gateway_v4: gateways.iter().find_map(|gateway| match gateway {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        }),
        gateway_v6: gateways.iter().find_map(|gateway| match gateway {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(*v6),
        }),
        mtu: value(port.mtu),
        vlan: value(port.vlan),
        neighbours: port
            .neighbours
            .into_iter()
            .map(neighbour)
            .collect::<Option<_>>()?,
        kernel: value(port.kernel).map(|interface| Kernel { interface, rate }),
    })
}

fn neighbour(neighbour: schema::Neighbour) -> Option<Neighbour> {
    Some(Neighbour {
        address: value(neighbour.address)?,
        mac: value(neighbour.mac)?,
    })
}

fn control(control: schema::Control) -> Option<Control> {
    let signal = match value(control.signal) {
        None => None,
        Some(address) => Some(SignalListener {
            address,
            auth: match value(control.auth)? {
                AuthWord::Mtls => Auth::Mtls(control.tls?.1?),
                AuthWord::Address => Auth::Address,
            },
        }),
    };
    Some(Control {
        signal,
        operator: value(control.operator)?,
        metrics: value(control.metrics),
        state: value(control.state),
        audit: match value(control.audit) {
            None => None,
            Some(path) => Some(Audit {
                path,
                lines_per_second: value(control.audit_lines_per_second)?,
                mask: value(control.audit_mask),
            }),
        },
    })
}

fn service(service: schema::Service) -> Option<Service> {
    let port = value(service.port)?;
    let backends = service.backends.into_iter().map(|each| backend(each, port));
    let vips = value(service.address)?;
    Some(Service {
        name: value(service.name)?,
        address: vips.address,
        prefix_length: vips.length,
        port,
        protocol: value(service.protocol)?,
        scheduler: value(service.scheduler)?,
        forward: value(service.forward)?,
        tunnel: tunnel(service.tunnel?)?,
        fullnat: fullnat(service.fullnat?)?,
        proxy_protocol: value(service.proxy_protocol)?,
        flow_timeout: value(service.flow_timeout)?,
        slow_start: value(service.slow_start),
        allow: plain(service.allow?),
        deny: plain(service.deny?),
        limits: service_limits(service.limits?),
        affinity: affinity(service.affinity?)?,
        health: match service.health {
            Some(probes) => health(probes)?,
            None => None,
        },
        backends: backends.collect::<Option<_>>()?,
    })
}

fn service_limits(limits: schema::ServiceLimits) -> ServiceLimits {
    ServiceLimits {
        new_flows_per_second: value(limits.new_flows_per_second),
        new_flows_per_second_per_source: value(limits.new_flows_per_second_per_source),
    }
}

/// The port of GUE (IANA).
const GUE_PORT: u16 = 6080;

fn tunnel(tunnel: schema::Tunnel) -> Option<Tunnel> {
    let sources = plain(tunnel.sources?);
    let of_family = |is_v4| {
        let mut sources = sources.iter();
        sources.find(|it| it.address.is_ipv4() == is_v4).copied()
    };
    Some(Tunnel {
        port: value(tunnel.port).unwrap_or(GUE_PORT),
        variant: value(tunnel.variant).unwrap_or(1),
        source_v4: of_family(true),
        source_v6: of_family(false),
        mss_clamp: value(tunnel.mss_clamp),
    })
}

fn fullnat(fullnat: schema::Fullnat) -> Option<Fullnat> {
    Some(Fullnat {
        pool: plain(fullnat.pool?),
        ports: value(fullnat.ports)?,
    })
}

fn affinity(affinity: schema::Affinity) -> Option<AffinityPolicy> {
    let (widest_prefix_v4, widest_prefix_v6) = value(affinity.widest_prefix)?;
    Some(AffinityPolicy {
        duration: value(affinity.duration)?,
        duration_cap: value(affinity.duration_cap),
        lifetime_cap: value(affinity.lifetime_cap),
        refresh: value(affinity.refresh)?,
        on_conflict: value(affinity.on_conflict)?,
        on_backend_down: value(affinity.on_backend_down)?,
        widest_prefix_v4,
        widest_prefix_v6,
    })
}

/// The inner `None`: `check = "none"`.
#[expect(
    clippy::option_option,
    reason = "the outer one says that a value was refused"
)]
fn health(health: schema::Health) -> Option<Option<Health>> {
    let check = match value(health.check)? {
        CheckWord::Tcp => Check::Tcp,
        CheckWord::Http => Check::Http {
            path: value(health.path)?,
        },
        CheckWord::None => return Some(None),
    };
    Some(Some(Health {
        check,
        interval: value(health.interval)?,
        timeout: value(health.timeout)?,
        rise: value(health.rise)?,
        fall: value(health.fall)?,
    }))
}

fn backend(backend: schema::Backend, service_port: u16) -> Option<Backend> {
    let name = value(backend.name)?;
    let address = value(backend.address)?;
    let mut signal_from = plain(backend.signal_from?);
    if signal_from.is_empty() {
        signal_from.push(address);
    }
    Some(Backend {
        port: value(backend.port).unwrap_or(service_port),
        weight: value(backend.weight)?,
        identity: value(backend.identity).unwrap_or_else(|| name.clone()),
        signal_from,
        name,
        address,
    })
}
