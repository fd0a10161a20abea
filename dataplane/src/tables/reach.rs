//! Reach: by which port, next hop and way each backend is reached.

use super::{
    TablesError, TablesSpec,
    backend::{Backend, BackendSpec, Way},
    id::{ServiceId, TranslationId, TunnelId},
    neighbour::Neighbours,
    pool::{Listed, Pools},
    service::{Forward, ServiceSpec},
    station::{Route, Stations},
    translation::{Answering, Hop, Translation},
    tunnel::{Tunnel, TunnelSpec},
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// The backends by their places, and what their ways consist of.
pub(super) struct Reached {
    pub(super) backends: Box<[Option<Backend>]>,
    pub(super) tunnels: Vec<Tunnel>,
    pub(super) translations: Vec<Translation>,
    pub(super) answering: Answering,
}

/// Finds the way to every backend; next hops that are new are interned.
pub(super) fn reach_all(
    spec: &TablesSpec,
    stations: &Stations,
    pools: &Pools,
    neighbours: &mut Neighbours,
) -> Result<Reached, TablesError> {
    let services: BTreeMap<ServiceId, &ServiceSpec> =
        spec.services.iter().map(|it| (it.id, it)).collect();
    let places = spec.backends.iter().map(|it| it.id.index() + 1).max();
    let mut list = vec![None; places.unwrap_or(0)];
    let (mut tunnels, mut translations) = (Vec::new(), Vec::new());
    let mut answering = Answering::default();
    for backend in &spec.backends {
        let service = services.get(&backend.service).copied();
        let (Route { port, next_hop }, tunnel) =
            reach(backend, service, stations).ok_or_else(|| TablesError::NoRoute {
                name: backend.name.clone(),
                address: backend.address,
            })?;
        let way = match service.map(|it| (it, it.forward)) {
            Some((service, Forward::Nat)) => {
                let translation = translation(backend, service, stations, neighbours)?;
                answer(backend, service, &translation, spec, &mut answering)?;
                Way::Nat(TranslationId(keep(translation, &mut translations)))
            }
            Some((service, Forward::Fullnat)) => {
                let translation = Translation {
                    locals: locals(backend, pools)?,
                    proxied: service.proxy_protocol,
                    ..translation(backend, service, stations, neighbours)?
                };
                Way::Fullnat(TranslationId(keep(translation, &mut translations)))
            }
            _ => tunnel.map_or(Way::Direct, |it| {
                Way::Tunnel(TunnelId(keep(it, &mut tunnels)))
            }),
        };
        list[backend.id.index()] = Some(Backend {
            service: backend.service,
            neighbour: neighbours.intern(next_hop, port),
            port,
            state: backend.state,
            way,
        });
    }
    Ok(Reached {
        backends: list.into_boxed_slice(),
        tunnels,
        translations,
        answering,
    })
}

/// The way to one backend. A backend of no service is on the link or nowhere.
fn reach(
    backend: &BackendSpec,
    service: Option<&ServiceSpec>,
    stations: &Stations,
) -> Option<(Route, Option<Tunnel>)> {
    let forward = service.map(|it| (it.forward, it.address));
    match forward {
        None | Some((Forward::Dsr, _)) => Some((stations.link_to(backend.address)?, None)),
        Some((Forward::Nat, vip)) if vip.is_ipv4() != backend.address.is_ipv4() => None,
        Some((Forward::Nat | Forward::Fullnat, _)) => {
            Some((stations.route_to(backend.address)?, None))
        }
        Some((Forward::Tunnel(spec), vip)) => {
            let (route, tunnel) = dig(&spec, backend.address, vip, stations)?;
            Some((route, Some(tunnel)))
        }
    }
}

/// Both ends of a backend's NAT, and the gateway to its clients.
fn translation(
    backend: &BackendSpec,
    service: &ServiceSpec,
    stations: &Stations,
    neighbours: &mut Neighbours,
) -> Result<Translation, TablesError> {
    let vip = service.address;
    let gateway = stations.gateway_of(vip.is_ipv4());
    let Route { port, next_hop } = gateway.ok_or(TablesError::NoReturn { vip })?;
    let listens = if backend.port == 0 {
        service.port
    } else {
        backend.port
    };
    Ok(Translation {
        vip: SocketAddr::new(vip, service.port),
        backend: SocketAddr::new(backend.address, listens),
        exit: Hop {
            neighbour: neighbours.intern(next_hop, port),
            port,
        },
        locals: Listed::default(),
        proxied: false,
    })
}

/// The local addresses of a backend's clients.
fn locals(backend: &BackendSpec, pools: &Pools) -> Result<Listed, TablesError> {
    let listed = pools.of(backend.service, backend.address.is_ipv4());
    listed.ok_or_else(|| TablesError::NoLocal {
        name: backend.name.clone(),
        address: backend.address,
    })
}

/// Tells a backend's answers from those of all others, or says which cannot be told from them.
fn answer(
    backend: &BackendSpec,
    service: &ServiceSpec,
    translation: &Translation,
    spec: &TablesSpec,
    answering: &mut Answering,
) -> Result<(), TablesError> {
    let address = translation.backend;
    let added = answering.add(service.protocol, address, backend.id);
    added.map_err(|other| {
        let other = spec.backends.iter().find(|it| it.id == other);
        TablesError::SameAddress {
            name: backend.name.clone(),
            other: other.map_or_else(String::new, |it| it.name.clone()),
            address,
        }
    })
}

/// The tunnel to a backend from the port that reaches it.
fn dig(
    spec: &TunnelSpec,
    backend: IpAddr,
    vip: IpAddr,
    stations: &Stations,
) -> Option<(Route, Tunnel)> {
    let route = stations.route_to(backend)?;
    let station = stations.get(route.port);
    let own = station.address_towards(route.next_hop)?;
    let tunnel = Tunnel::new(spec, (route.port, &station.spec), own, backend, vip)?;
    Some((route, tunnel))
}

/// Where it is kept. There are no more than backends, whose number is checked.
fn keep<T>(it: T, kept: &mut Vec<T>) -> u16 {
    let place = u16::try_from(kept.len()).unwrap_or(u16::MAX);
    kept.push(it);
    place
}
