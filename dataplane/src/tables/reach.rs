//! Reach: by which port, next hop and way each backend is reached.

use super::{
    TablesError, TablesSpec,
    backend::{Backend, BackendSpec, Way},
    id::{ServiceId, TunnelId},
    neighbour::Neighbours,
    service::{Forward, ServiceSpec},
    station::{Route, Stations},
    tunnel::{Tunnel, TunnelSpec},
};
use std::{collections::BTreeMap, net::IpAddr};

/// The backends by their places, and the tunnels that they have.
pub(super) struct Reached {
    pub(super) backends: Box<[Option<Backend>]>,
    pub(super) tunnels: Vec<Tunnel>,
}

/// Finds the way to every backend; next hops that are new are interned.
pub(super) fn reach_all(
    spec: &TablesSpec,
    stations: &Stations,
    neighbours: &mut Neighbours,
) -> Result<Reached, TablesError> {
    let services: BTreeMap<ServiceId, &ServiceSpec> =
        spec.services.iter().map(|it| (it.id, it)).collect();
    let places = spec.backends.iter().map(|it| it.id.index() + 1).max();
    let mut list = vec![None; places.unwrap_or(0)];
    let mut tunnels = Vec::new();
    for backend in &spec.backends {
        let service = services.get(&backend.service).copied();
        let (Route { port, next_hop }, tunnel) =
            reach(backend, service, stations).ok_or_else(|| TablesError::NoRoute {
                name: backend.name.clone(),
                address: backend.address,
            })?;
        list[backend.id.index()] = Some(Backend {
            service: backend.service,
            neighbour: neighbours.intern(next_hop, port),
            port,
            state: backend.state,
            way: tunnel.map_or(Way::Direct, |it| keep(it, &mut tunnels)),
        });
    }
    Ok(Reached {
        backends: list.into_boxed_slice(),
        tunnels,
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
        Some((Forward::Tunnel(spec), vip)) => {
            let (route, tunnel) = dig(&spec, backend.address, vip, stations)?;
            Some((route, Some(tunnel)))
        }
    }
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
    let tunnel = Tunnel::new(spec, &station.spec, own, backend, vip)?;
    Some((route, tunnel))
}

/// There are no more tunnels than backends, whose number is checked.
fn keep(tunnel: Tunnel, tunnels: &mut Vec<Tunnel>) -> Way {
    let place = u16::try_from(tunnels.len()).unwrap_or(u16::MAX);
    tunnels.push(tunnel);
    Way::Tunnel(TunnelId(place))
}
