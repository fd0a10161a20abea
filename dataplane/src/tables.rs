//! What is published to the workers: services, backends, neighbours, the ports' addresses.
//!
//! Built whole by the control plane from a [`TablesSpec`], immutable once published; what was built
//! before lends what has not changed. The affinity table beside it changes bucket by bucket.

pub mod affinity;
pub mod backend;
pub mod clients;
pub mod id;
pub mod neighbour;
pub mod pool;
pub mod prefix;
mod reach;
pub mod service;
pub mod spread;
mod station;
mod translation;
pub mod tunnel;

pub use station::PortSpec;
pub(crate) use station::{PortStation, Stations, same_subnet};
pub(crate) use translation::{Hop, Toward, Translation};

use crate::{
    hash::HashKeys,
    key::Protocol,
    limits,
    schedule::{Candidate, Slots},
};
use backend::{Backend, BackendSpec, Way};
use clients::{ClientLists, Clients};
use id::{BackendId, LocalId, PortId, ServiceId, TranslationId, TunnelId};
use neighbour::{NeighbourView, Neighbours};
use pool::{Listed, PoolSpec, Pools};
use prefix::Prefix;
use reach::{Reached, reach_all};
use service::{Service, ServiceSpec, Services};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use translation::Answering;
use tunnel::{Tunnel, Tunnels};

/// Everything that workers need to know, as the control plane describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablesSpec {
    /// The ports, by their place.
    pub ports: Vec<PortSpec>,
    /// The services.
    pub services: Vec<ServiceSpec>,
    /// The backends of all services.
    pub backends: Vec<BackendSpec>,
    /// The local addresses of services with full NAT.
    pub pools: Vec<PoolSpec>,
}

/// Why tables cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TablesError {
    /// A backend that no port reaches.
    #[error(
        "no port reaches the backend {name} at {address}: give a port an address on its subnet or, \
         for a tunnel, a gateway and an address of its family"
    )]
    NoRoute {
        /// The backend.
        name: String,
        /// Its address.
        address: IpAddr,
    },
    /// A service with NAT whose clients no gateway reaches.
    #[error(
        "no port has a gateway to the clients of {vip}: give one of its family, which answers through NAT leave by"
    )]
    NoReturn {
        /// Its VIP.
        vip: IpAddr,
    },
    /// Two backends whose answers through NAT cannot be told apart.
    #[error(
        "{name} and {other} are both at {address}, and NAT could not tell whose answer is whose: give one another port"
    )]
    SameAddress {
        /// A backend.
        name: String,
        /// The other backend.
        other: String,
        /// Where it listens; port 0: everywhere.
        address: SocketAddr,
    },
    /// A backend behind full NAT without a local address of its family.
    #[error(
        "the pool of full NAT has no local address of the family of the backend {name} at {address}: add one"
    )]
    NoLocal {
        /// The backend.
        name: String,
        /// Its address.
        address: IpAddr,
    },
    /// A local address with two ranges of ports.
    #[error(
        "the local address {address} has the ports {} to {}, not {} to {}: workers keep them; restart to change them",
        before.0, before.1, now.0, now.1
    )]
    PoolPorts {
        /// The address.
        address: IpAddr,
        /// The lowest and highest port that it would have.
        now: (u16, u16),
        /// Those that it has.
        before: (u16, u16),
    },
    /// More than a limit allows.
    #[error("{what}: place {place} is beyond the limit of {limit}")]
    BeyondLimit {
        /// What there is too much of.
        what: &'static str,
        /// The place that was asked for.
        place: usize,
        /// The limit.
        limit: usize,
    },
    /// Other ports than the workers were started with.
    #[error("{now} ports instead of {before}: workers keep their ports; restart to change them")]
    PortsChanged {
        /// How many there are.
        before: usize,
        /// How many there would be.
        now: usize,
    },
}

/// What is published.
#[derive(Debug)]
pub struct Tables {
    pub(crate) services: Services,
    backends: Box<[Option<Backend>]>,
    pub(crate) neighbours: Neighbours,
    pub(crate) stations: Stations,
    pub(crate) tunnels: Tunnels,
    translations: Vec<Translation>,
    pub(crate) answering: Answering,
    pub(crate) pools: Pools,
    /// What tells flows apart in the outer headers of tunnels; the same for the process's life.
    pub(crate) entropy: HashKeys,
}

impl Tables {
    /// Builds tables; `before` lends its neighbours' MAC addresses and the slots of services whose
    /// backends have not changed.
    pub fn build(spec: &TablesSpec, before: Option<&Tables>) -> Result<Self, TablesError> {
        check_limits(spec)?;
        check_ports(spec, before)?;
        let vips = spec.services.iter();
        let vips = vips.filter_map(|it| Prefix::new(it.address, it.prefix_length));
        let pools = Pools::new(&spec.pools, before.map(|before| &before.pools))?;
        let vips = vips.chain(pools.addresses().map(Prefix::one));
        let mut neighbours = Neighbours::default();
        let mut stations = Stations::new(&spec.ports, vips, &mut neighbours);
        let Reached {
            backends,
            tunnels,
            translations,
            answering,
        } = reach_all(spec, &stations, &pools, &mut neighbours)?;
        if let Some(before) = before {
            neighbours.inherit(&before.neighbours);
            stations.succeed(&before.stations);
        }
        let services = spec.services.iter().map(|service| Service {
            spec: service.clone(),
            slots: slots(service, &spec.backends, before),
            clients: clients(service, before),
        });
        Ok(Self {
            services: Services::new(services.collect()),
            backends,
            neighbours,
            stations,
            tunnels: Tunnels::new(tunnels, before.map(|before| &before.tunnels)),
            translations,
            answering,
            pools,
            entropy: before.map_or_else(HashKeys::random, |before| before.entropy),
        })
    }

    /// The tunnel at a place that a backend of these tables has.
    #[inline]
    pub(crate) fn tunnel(&self, id: TunnelId) -> &Tunnel {
        self.tunnels.get(id)
    }

    /// The translation at a place that a backend of these tables has.
    #[inline]
    pub(crate) fn translation(&self, id: TranslationId) -> &Translation {
        &self.translations[id.index()]
    }

    /// The local addresses that flows to a backend may get.
    #[inline]
    pub(crate) fn locals(&self, listed: Listed) -> &[LocalId] {
        self.pools.listed(listed)
    }

    /// The next hop of packets that go there; `None` where they cannot any more.
    #[inline]
    pub(crate) fn hop(&self, toward: Toward) -> Option<Hop> {
        match toward {
            Toward::Backend(id) | Toward::BackendBy(id, _) => self.backend(id).map(|it| Hop {
                neighbour: it.neighbour,
                port: it.port,
            }),
            Toward::Client(id) | Toward::ClientOf(id, _) => match self.backend(id)?.way {
                Way::Nat(id) | Way::Fullnat(id) => Some(self.translation(id).exit),
                Way::Direct | Way::Tunnel(_) => None,
            },
            Toward::Worker(_) => None,
        }
    }

    /// The backend at a place; `None` once it was removed.
    #[inline]
    pub(crate) fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.backends.get(id.index())?.as_ref()
    }

    /// How long packets may be through the tunnel to a backend, where a router on the way has said so.
    #[must_use]
    pub fn path_mtu(&self, backend: BackendId) -> Option<u16> {
        match self.backend(backend)?.way {
            Way::Tunnel(id) => self.tunnel(id).path_mtu(),
            Way::Direct | Way::Nat(_) | Way::Fullnat(_) => None,
        }
    }

    /// The service that a packet to this destination addresses.
    #[must_use]
    pub fn service(&self, protocol: Protocol, address: IpAddr, port: u16) -> Option<ServiceId> {
        let service = self.services.find(protocol, address, port)?;
        Some(service.spec.id)
    }

    /// The next hops and what is known of them.
    #[must_use]
    pub fn neighbours(&self) -> Vec<NeighbourView> {
        self.neighbours.views()
    }
}

fn check_limits(spec: &TablesSpec) -> Result<(), TablesError> {
    let below = |what, place, limit| {
        let beyond = TablesError::BeyondLimit { what, place, limit };
        if place < limit { Ok(()) } else { Err(beyond) }
    };
    below("ports", spec.ports.len(), limits::PORTS + 1)?;
    for service in &spec.services {
        below("services", service.id.index(), limits::SERVICES)?;
    }
    for backend in &spec.backends {
        below("backends", backend.id.index(), limits::BACKENDS)?;
    }
    Ok(())
}

/// Workers index the ports of tables by their own.
fn check_ports(spec: &TablesSpec, before: Option<&Tables>) -> Result<(), TablesError> {
    let now = spec.ports.len();
    match before.map(|before| before.stations.len()) {
        Some(before) if before != now => Err(TablesError::PortsChanged { before, now }),
        _ => Ok(()),
    }
}

/// The service's slots: those from before where they were made of the same.
fn slots(service: &ServiceSpec, backends: &[BackendSpec], before: Option<&Tables>) -> Arc<Slots> {
    let candidates: Vec<Candidate> = backends
        .iter()
        .filter(|it| it.service == service.id)
        .map(|it| Candidate {
            id: it.id,
            name: it.name.clone(),
            weight: if it.state.takes_new_flows() {
                it.weight
            } else {
                0
            },
            nominal_weight: it.nominal_weight,
        })
        .collect();
    before
        .and_then(|before| before.services.get(service.id))
        .filter(|known| known.slots.is_made_of(service.scheduler, &candidates))
        .map_or_else(
            || Arc::new(Slots::new(service.scheduler, candidates.clone())),
            |known| Arc::clone(&known.slots),
        )
}

/// Whose new flows the service takes, if it has lists: as before where they are the same.
fn clients(service: &ServiceSpec, before: Option<&Tables>) -> Option<Arc<Clients>> {
    if service.clients == ClientLists::default() {
        return None;
    }
    let known = before.and_then(|before| before.services.get(service.id));
    let same = known.filter(|known| known.spec.clients == service.clients);
    same.and_then(|known| known.clients.clone())
        .or_else(|| Some(Arc::new(Clients::new(&service.clients))))
}

/// Where a port's queues stand in a worker's list.
pub(crate) fn port_ids(count: usize) -> impl Iterator<Item = PortId> {
    (0..count).filter_map(|place| u8::try_from(place).ok().map(PortId))
}
