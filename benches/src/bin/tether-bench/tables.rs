//! The configuration that the benchmark runs with: what was seen, with backends of its own.

use crate::{
    arguments::{Arguments, Service},
    survey::Survey,
};
use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use tether_dataplane::{
    Mac,
    tables::{
        PortSpec, TablesSpec,
        backend::{BackendSpec, BackendState},
        clients::ClientLists,
        id::{BackendId, ServiceId},
        service::{FlowLimits, Forward, OnBackendDown, Refresh, Scheduler, ServiceSpec},
    },
};

/// The backends' MAC address; nobody is there.
const BACKEND_MAC: Mac = Mac([0x02, 0, 0, 0, 0, 2]);

/// The services that were seen, each with backends of its own behind the last port.
pub(crate) fn tables(
    seen: &Survey,
    macs: &[Mac],
    arguments: &Arguments,
) -> Result<TablesSpec, Box<dyn Error>> {
    let mut spec = TablesSpec::default();
    let last = macs.len() - 1;
    for (place, mac) in macs.iter().enumerate() {
        spec.ports.push(PortSpec {
            mac: if place == 0 {
                seen.mac.unwrap_or(*mac)
            } else {
                *mac
            },
            vlan: None,
            addresses: Vec::new(),
            gateways: Vec::new(),
            mtu: 1500,
            neighbours: Vec::new(),
            spread: None,
        });
    }
    let (v4, v6) = (
        Ipv4Addr::new(172, 16, 0, 1),
        Ipv6Addr::new(0xfd00, 0x16, 0, 0, 0, 0, 0, 1),
    );
    spec.ports[last].addresses = vec![(v4.into(), 12), (v6.into(), 32)];
    for (id, service) in (0_u16..).zip(&seen.services) {
        spec.services.push(service_spec(ServiceId(id), service));
        for _ in 0..arguments.backends {
            let id = BackendId(u16::try_from(spec.backends.len())?);
            let address = match service.address {
                IpAddr::V4(_) => Ipv4Addr::from_bits(v4.to_bits() + 1 + u32::from(id.0)).into(),
                IpAddr::V6(_) => Ipv6Addr::from_bits(v6.to_bits() + 1 + u128::from(id.0)).into(),
            };
            spec.ports[last].neighbours.push((address, BACKEND_MAC));
            spec.backends.push(BackendSpec {
                id,
                name: format!("backend-{}", id.0),
                service: spec.services[spec.services.len() - 1].id,
                address,
                weight: 1,
                port: 0,
                nominal_weight: 1,
                state: BackendState::Up,
            });
        }
    }
    Ok(spec)
}

fn service_spec(id: ServiceId, service: &Service) -> ServiceSpec {
    ServiceSpec {
        id,
        protocol: service.protocol,
        address: service.address,
        prefix_length: if service.address.is_ipv4() { 32 } else { 128 },
        port: service.port,
        scheduler: Scheduler::Maglev,
        forward: Forward::Dsr,
        proxy_protocol: false,
        flow_timeout_s: 300,
        affinity: true,
        refresh: Refresh::Packet,
        on_backend_down: OnBackendDown::Balance,
        clients: ClientLists::default(),
        limits: FlowLimits::default(),
    }
}
