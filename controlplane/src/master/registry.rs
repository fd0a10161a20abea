//! Services and backends by name, with the numbers by which tables refer to them.
//!
//! A name keeps its number over every change of configuration (contract rule B4). The number of a
//! backend that was removed is given away only when all fresh ones are used up, the oldest first,
//! and only once no flow remembers it; until then the registry knows the name as a removed one.

use super::{
    Names,
    backend::{Backend, NewBackend},
};
use crate::config::{self, Config};
use hashbrown::HashMap;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tether_dataplane::{
    limits,
    tables::{
        id::{BackendId, ServiceId},
        prefix::Prefix,
    },
};

/// A service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its place in the tables.
    pub id: ServiceId,
    /// As configured; its backends stand in [`Self::backends`].
    pub settings: config::Service,
    /// Its backends, in the order of the configuration.
    pub backends: Vec<BackendId>,
    /// Its switch: whether its affinities route (contract section 8).
    pub affinity: bool,
}

/// Every service and backend.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    services: Vec<Option<Service>>,
    backends: Vec<Option<Backend>>,
    order: Vec<ServiceId>,
    free_services: VecDeque<ServiceId>,
    free_backends: VecDeque<BackendId>,
    index: Index,
    names: Arc<Names>,
}

/// What a signal may name, and where it may come from.
#[derive(Clone, Debug, Default)]
struct Index {
    names: HashMap<String, ServiceId>,
    vips: HashMap<SocketAddr, Vec<ServiceId>>,
    /// By first address, for each length of several VIPs, the longest first.
    prefixes: BTreeMap<Reverse<u8>, HashMap<SocketAddr, Vec<ServiceId>>>,
    sockets: HashMap<SocketAddr, Vec<BackendId>>,
    addresses: HashMap<IpAddr, Vec<BackendId>>,
    certificates: HashMap<String, Vec<BackendId>>,
}

/// What a new configuration has taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Backends that are gone, those of services that are gone included.
    pub backends: Vec<BackendId>,
}

/// There is no number left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no number is left for another {0}: too many were removed and added, and flows still refer to them; wait for their flow_timeout or restart"
)]
pub struct NoPlace(&'static str);

impl Registry {
    /// Takes over a configuration. `is_forgotten` says whether nothing refers to the number of a
    /// backend that was removed. On an error the registry is of no use any more.
    pub fn adopt(
        &mut self,
        config: &Config,
        is_forgotten: &dyn Fn(BackendId) -> bool,
    ) -> Result<Removed, NoPlace> {
        let removed = self.remove_missing(config);
        self.order.clear();
        for service in &config.services {
            let id = self.adopt_service(service, is_forgotten)?;
            self.order.push(id);
        }
        self.index = Index::of(self);
        self.names = Arc::new(self.all_names());
        Ok(removed)
    }

    /// What all of them are called.
    #[must_use]
    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// The services, in the order of the configuration.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.order.iter().filter_map(|id| self.service(*id))
    }

    /// The backends of all services, in the order of the configuration.
    pub fn backends(&self) -> impl Iterator<Item = &Backend> {
        self.services()
            .flat_map(|service| self.backends_of(service))
    }

    /// Every backend that has a number, those that were removed included.
    pub fn known_backends(&self) -> impl Iterator<Item = &Backend> {
        self.backends.iter().flatten()
    }

    /// The backends of one service, in the order of the configuration.
    pub fn backends_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Backend> {
        service.backends.iter().filter_map(|id| self.backend(*id))
    }

    /// The service of a number.
    #[must_use]
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(id.index())?.as_ref()
    }

    /// The backend of a number, also one that was removed.
    #[must_use]
    pub fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.backends.get(id.index())?.as_ref()
    }

    /// The backend of a number, to change.
    pub fn backend_mut(&mut self, id: BackendId) -> Option<&mut Backend> {
        self.backends.get_mut(id.index())?.as_mut()
    }

    /// The service of a number, to change.
    pub fn service_mut(&mut self, id: ServiceId) -> Option<&mut Service> {
        self.services.get_mut(id.index())?.as_mut()
    }

    /// The service of a name.
    #[must_use]
    pub fn service_named(&self, name: &str) -> Option<&Service> {
        self.service(*self.index.names.get(name)?)
    }

    /// The backend of a name within a service.
    #[must_use]
    pub fn backend_named(&self, service: &Service, name: &str) -> Option<&Backend> {
        let mut backends = service.backends.iter().filter_map(|id| self.backend(*id));
        backends.find(|it| it.settings.name == name)
    }

    /// The services at a VIP and port: those of that address, else of the longest prefix that
    /// holds it; there those of that port, else those of every port.
    #[must_use]
    pub fn services_at(&self, destination: SocketAddr) -> &[ServiceId] {
        let mut by_prefix = self
            .index
            .prefixes
            .iter()
            .filter_map(|(Reverse(length), of)| {
                let prefix = Prefix::new(destination.ip().to_canonical(), *length)?;
                let first = SocketAddr::new(prefix.address(), destination.port());
                Some(at(of, first)).filter(|found| !found.is_empty())
            });
        match at(&self.index.vips, destination) {
            [] => by_prefix.next().unwrap_or_default(),
            exact => exact,
        }
    }

    /// The backends that listen at an address and port: at that port, else at every port.
    #[must_use]
    pub fn backends_at(&self, socket: SocketAddr) -> &[BackendId] {
        at(&self.index.sockets, socket)
    }

    /// The backends whose `signal_from` has this address, removed ones included.
    #[must_use]
    pub fn backends_from(&self, address: IpAddr) -> &[BackendId] {
        list(&self.index.addresses, &address.to_canonical())
    }

    /// The backends whose `identity` is this certificate name, removed ones included.
    #[must_use]
    pub fn backends_certified(&self, name: &str) -> &[BackendId] {
        self.index.certificates.get(name).map_or(&[], Vec::as_slice)
    }

    fn all_names(&self) -> Names {
        let services = self.services.iter().map(|it| match it {
            Some(service) => service.settings.name.clone(),
            None => String::new(),
        });
        let backends = self.backends.iter().map(|it| match it {
            Some(backend) => backend.settings.name.clone(),
            None => String::new(),
        });
        Names::new(services.collect(), backends.collect())
    }

    fn remove_missing(&mut self, config: &Config) -> Removed {
        let mut removed = Removed::default();
        for place in 0..self.services.len() {
            let Some(service) = &self.services[place] else {
                continue;
            };
            let kept = config.services.iter();
            let kept = kept.clone().find(|it| it.name == service.settings.name);
            for id in service.backends.clone() {
                if !self.is_kept(id, kept) {
                    self.remove_backend(id);
                    removed.backends.push(id);
                }
            }
            if kept.is_none()
                && let Some(service) = self.services[place].take()
            {
                self.free_services.push_back(service.id);
            }
        }
        removed
    }

    fn is_kept(&self, id: BackendId, service: Option<&config::Service>) -> bool {
        let name = self.backend(id).map(|it| &it.settings.name);
        service.is_some_and(|it| it.backends.iter().any(|it| Some(&it.name) == name))
    }

    fn remove_backend(&mut self, id: BackendId) {
        if let Some(backend) = self.backend_mut(id) {
            backend.is_removed = true;
        }
        self.free_backends.push_back(id);
    }

    fn adopt_service(
        &mut self,
        settings: &config::Service,
        is_forgotten: &dyn Fn(BackendId) -> bool,
    ) -> Result<ServiceId, NoPlace> {
        let (id, affinity) = match self.named(&settings.name) {
            Some(known) => (known.id, known.affinity),
            None => (self.fresh_service()?, true),
        };
        let known: Vec<BackendId> = self.service(id).map_or(vec![], |it| it.backends.clone());
        let mut backends = Vec::with_capacity(settings.backends.len());
        for each in &settings.backends {
            let is_same = |it: &BackendId| self.live_name(*it) == Some(each.name.as_str());
            let known = known.iter().copied().find(is_same);
            let has_health = settings.health.is_some();
            backends.push(match known {
                Some(backend) => self.keep_backend(backend, each, has_health),
                None => self.add_backend((id, &settings.name), each, is_forgotten)?,
            });
        }
        self.services[id.index()] = Some(Service {
            id,
            settings: config::Service {
                backends: vec![],
                ..settings.clone()
            },
            backends,
            affinity,
        });
        Ok(id)
    }

    /// As [`Self::service_named`], while the index is of the configuration before.
    fn named(&self, name: &str) -> Option<&Service> {
        self.service_named(name)
            .filter(|service| service.settings.name == name)
    }

    fn live_name(&self, id: BackendId) -> Option<&str> {
        let backend = self.backend(id).filter(|it| !it.is_removed);
        backend.map(|it| it.settings.name.as_str())
    }

    fn keep_backend(
        &mut self,
        id: BackendId,
        settings: &config::Backend,
        has_health: bool,
    ) -> BackendId {
        if let Some(backend) = self.backend_mut(id) {
            backend.keep(settings, has_health);
        }
        id
    }

    fn add_backend(
        &mut self,
        (service, service_name): (ServiceId, &str),
        settings: &config::Backend,
        is_forgotten: &dyn Fn(BackendId) -> bool,
    ) -> Result<BackendId, NoPlace> {
        let id = self.fresh_backend(is_forgotten)?;
        self.backends[id.index()] = Some(Backend::new(NewBackend {
            id,
            service,
            service_name: service_name.to_owned(),
            settings: settings.clone(),
        }));
        Ok(id)
    }

    fn fresh_service(&mut self) -> Result<ServiceId, NoPlace> {
        if let Some(id) = fresh(&mut self.services, limits::SERVICES) {
            return Ok(ServiceId(id));
        }
        let oldest = self.free_services.pop_front();
        oldest.ok_or(NoPlace("service"))
    }

    fn fresh_backend(
        &mut self,
        is_forgotten: &dyn Fn(BackendId) -> bool,
    ) -> Result<BackendId, NoPlace> {
        if let Some(id) = fresh(&mut self.backends, limits::BACKENDS) {
            return Ok(BackendId(id));
        }
        let mut free = self.free_backends.iter();
        let oldest = free.position(|id| is_forgotten(*id));
        oldest
            .and_then(|place| self.free_backends.remove(place))
            .ok_or(NoPlace("backend"))
    }
}

/// A place that nothing has ever had.
fn fresh<T>(places: &mut Vec<Option<T>>, limit: usize) -> Option<u16> {
    let place = u16::try_from(places.len()).ok();
    let place = place.filter(|place| usize::from(*place) < limit)?;
    places.push(None);
    Some(place)
}

/// What is at an address and port, else what is at every port of the address.
fn at<T>(places: &HashMap<SocketAddr, Vec<T>>, at: SocketAddr) -> &[T] {
    let at = SocketAddr::new(at.ip().to_canonical(), at.port());
    match list(places, &at) {
        [] => list(places, &SocketAddr::new(at.ip(), 0)),
        exact => exact,
    }
}

fn list<'a, K: std::hash::Hash + Eq, T>(lists: &'a HashMap<K, Vec<T>>, key: &K) -> &'a [T] {
    lists.get(key).map_or(&[], Vec::as_slice)
}

impl Index {
    fn of(registry: &Registry) -> Self {
        let mut index = Self::default();
        for service in registry.services() {
            let settings = &service.settings;
            index.names.insert(settings.name.clone(), service.id);
            let vip = SocketAddr::new(settings.address, settings.port);
            let places = if settings.vips().is_one() {
                &mut index.vips
            } else {
                let length = Reverse(settings.prefix_length);
                index.prefixes.entry(length).or_default()
            };
            places.entry(vip).or_default().push(service.id);
        }
        for backend in registry.backends.iter().flatten() {
            index.add(backend);
        }
        index
    }

    fn add(&mut self, backend: &Backend) {
        let (settings, id) = (&backend.settings, backend.id);
        if !backend.is_removed {
            let socket = SocketAddr::new(settings.address, settings.port);
            self.sockets.entry(socket).or_default().push(id);
        }
        for address in &settings.signal_from {
            let places = self.addresses.entry(address.to_canonical());
            places.or_default().push(id);
        }
        let places = self.certificates.entry(settings.identity.clone());
        places.or_default().push(id);
    }
}
