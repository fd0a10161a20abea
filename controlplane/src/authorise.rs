//! Who may say what: the only maker of an [`Authorised`] signal (contract rules P1 to P3, S5).
//!
//! ```text
//! destination ─▶ services ─┐
//!                          ├─▶ backends of the service that the identity speaks for ─▶ one backend
//! identity ────────────────┘        `backend` or the backend's own address decides among several
//! ```

use crate::{
    config::Protocol,
    master::{Backend, Registry, Service},
    signal::{Destination, Identity, Outcome, Signal},
};
use tether_api::v1::OutcomeCode;
use tether_dataplane::tables::id::{BackendId, ServiceId};

/// In whose name a signal speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// A backend, for itself.
    Backend(BackendId),
    /// An operator, in the name of a backend, or of whichever owns the key.
    Operator(Option<BackendId>),
}

impl Speaker {
    /// The backend that it speaks for.
    #[must_use]
    pub fn backend(self) -> Option<BackendId> {
        match self {
            Self::Backend(backend) => Some(backend),
            Self::Operator(backend) => backend,
        }
    }
}

/// Something that its sender may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorised<T> {
    said: T,
    service: ServiceId,
    speaker: Speaker,
}

impl<T> Authorised<T> {
    /// What is said.
    pub fn said(&self) -> &T {
        &self.said
    }

    /// About which service.
    pub fn service(&self) -> ServiceId {
        self.service
    }

    /// In whose name.
    pub fn speaker(&self) -> Speaker {
        self.speaker
    }
}

/// A service that a destination may mean, and the backend whose own address it is.
#[derive(Clone, Copy)]
struct Meant<'a> {
    service: &'a Service,
    own: Option<BackendId>,
}

/// Why not.
struct No {
    code: OutcomeCode,
    service: Option<ServiceId>,
    detail: String,
}

/// Authorises the signals of one sender, one after another. What was found out about one holds for
/// the next, where that names the same service and backend: most often all of a batch do.
#[derive(Debug)]
pub struct Authority<'r, 's> {
    registry: &'r Registry,
    identity: &'r Identity,
    last: Option<Authorised<&'s Signal>>,
}

impl<'r, 's> Authority<'r, 's> {
    /// For signals of this sender, while the registry is as it is.
    #[must_use]
    pub fn new(registry: &'r Registry, identity: &'r Identity) -> Self {
        Self {
            registry,
            identity,
            last: None,
        }
    }

    /// As [`authorise`] has it.
    pub fn authorise(&mut self, said: &'s Signal) -> Result<Authorised<&'s Signal>, Box<Outcome>> {
        let is_same = |last: &Authorised<&Signal>| {
            last.said.destination == said.destination && last.said.backend == said.backend
        };
        if let Some(last) = self.last.filter(is_same) {
            return Ok(Authorised { said, ..last });
        }
        let authorised = authorise(self.registry, self.identity, said)?;
        self.last = Some(authorised);
        Ok(authorised)
    }
}

/// Establishes which service a signal is about and in whose name it speaks; or says why not, as
/// the outcome.
pub fn authorise<'s>(
    registry: &Registry,
    identity: &Identity,
    signal: &'s Signal,
) -> Result<Authorised<&'s Signal>, Box<Outcome>> {
    let decided = match identity {
        Identity::Operator { .. } => operator(registry, signal),
        Identity::Address(_) | Identity::Certificate(_) => server(registry, identity, signal),
    };
    match decided {
        Ok((service, speaker)) => Ok(Authorised {
            said: signal,
            service,
            speaker,
        }),
        Err(no) => Err(Box::new(Outcome {
            code: no.code,
            key: signal.source.as_ref().ok().copied(),
            service: no.service,
            detail: no.detail,
            ..Outcome::default()
        })),
    }
}

/// The backends that an identity speaks for, those that were removed included.
pub fn speaks_for<'a>(
    registry: &'a Registry,
    identity: &'a Identity,
) -> impl Iterator<Item = &'a Backend> + Clone {
    let (address, names) = match identity {
        Identity::Address(address) => (Some(*address), [].as_slice()),
        Identity::Certificate(names) => (None, names.as_slice()),
        Identity::Operator { .. } => (None, [].as_slice()),
    };
    let by_address = address.map_or(&[][..], |it| registry.backends_from(it));
    let by_name = names.iter().flat_map(|it| registry.backends_certified(it));
    by_address
        .iter()
        .chain(by_name)
        .filter_map(|id| registry.backend(*id))
}

fn server(
    registry: &Registry,
    identity: &Identity,
    signal: &Signal,
) -> Result<(ServiceId, Speaker), No> {
    let meant = meant(registry, &signal.destination);
    let is_mine = |it: &Meant<'_>| own_backends(registry, identity, *it).next().is_some();
    let Some(mine) = only(meant.clone().filter(is_mine))? else {
        return Err(match meant.clone().next() {
            Some(first) => stranger(registry, identity, first, &meant),
            None => nothing_meant(registry, &signal.destination),
        });
    };
    let backend = choose(registry, identity, signal, mine)?;
    Ok((mine.service.id, Speaker::Backend(backend)))
}

fn operator(registry: &Registry, signal: &Signal) -> Result<(ServiceId, Speaker), No> {
    let Some(meant) = only(meant(registry, &signal.destination))? else {
        return Err(nothing_meant(registry, &signal.destination));
    };
    let backend = match signal.backend.as_deref() {
        None => meant.own,
        Some(name) => Some(named(registry, meant.service, name)?),
    };
    Ok((meant.service.id, Speaker::Operator(backend)))
}

/// The services that a destination may mean (contract rule S5).
fn meant<'a>(
    registry: &'a Registry,
    destination: &Destination,
) -> impl Iterator<Item = Meant<'a>> + Clone + use<'a> {
    let (named, at, own) = match destination {
        Destination::Service(name) => (registry.service_named(name), &[][..], &[][..]),
        Destination::Address(address) => match registry.services_at(*address) {
            [] => (None, &[][..], registry.backends_at(*address)),
            ids => (None, ids, &[][..]),
        },
    };
    let at = at.iter().filter_map(|id| registry.service(*id));
    let services = named.into_iter().chain(at);
    let own = own.iter().filter_map(|id| own_service(registry, *id));
    services
        .map(|service| Meant { service, own: None })
        .chain(own)
}

fn own_service(registry: &Registry, own: BackendId) -> Option<Meant<'_>> {
    let service = registry.service(registry.backend(own)?.service)?;
    let own = Some(own);
    Some(Meant { service, own })
}

/// The configured backends of a service that an identity speaks for.
fn own_backends<'a>(
    registry: &'a Registry,
    identity: &'a Identity,
    meant: Meant<'a>,
) -> impl Iterator<Item = &'a Backend> + Clone {
    speaks_for(registry, identity)
        .filter(move |it| it.service == meant.service.id && !it.is_removed)
        .filter(move |it| meant.own.is_none_or(|own| own == it.id))
}

/// The one service that is meant. Where an address is that of a TCP and of a UDP service, TCP: a
/// server that gives the addresses of an accepted socket has a TCP one.
fn only<'a>(choices: impl Iterator<Item = Meant<'a>> + Clone) -> Result<Option<Meant<'a>>, No> {
    let is_tcp = |it: &Meant<'_>| it.service.settings.protocol == Protocol::Tcp;
    let has_tcp = choices.clone().any(|it| is_tcp(&it));
    let choices = choices.filter(|it| !has_tcp || is_tcp(it));
    let mut left = choices.clone();
    let one = left.next();
    if left.next().is_none() {
        return Ok(one);
    }
    let names: Vec<_> = choices.map(|it| name(it.service)).collect();
    let detail = format!(
        "destination: it is that of the services {}: give the service's name",
        names.join(" and ")
    );
    Err(invalid(None, detail))
}

/// Which of its backends a sender means.
fn choose(
    registry: &Registry,
    identity: &Identity,
    signal: &Signal,
    meant: Meant<'_>,
) -> Result<BackendId, No> {
    let mine = own_backends(registry, identity, meant);
    let Some(backend) = signal.backend.as_deref() else {
        return the_one(mine.clone()).ok_or_else(|| {
            let detail = format!(
                "backend: {} speaks for {} of service {}: name one",
                who(identity),
                names(mine),
                name(meant.service)
            );
            invalid(Some(meant.service), detail)
        });
    };
    let wanted = named(registry, meant.service, backend)?;
    if mine.clone().any(|it| it.id == wanted) {
        return Ok(wanted);
    }
    Err(No {
        code: OutcomeCode::Denied,
        service: Some(meant.service.id),
        detail: format!(
            "{} may not speak for backend {backend} of service {}, only for {}",
            who(identity),
            name(meant.service),
            names(mine)
        ),
    })
}

/// The backend that all of these are.
fn the_one<'a>(mut backends: impl Iterator<Item = &'a Backend>) -> Option<BackendId> {
    let first = backends.next()?.id;
    backends.all(|it| it.id == first).then_some(first)
}

fn named(registry: &Registry, service: &Service, backend: &str) -> Result<BackendId, No> {
    let found = registry.backend_named(service, backend);
    found.map(|it| it.id).ok_or_else(|| {
        let detail = format!(
            "backend: service {} has no backend {backend:?}; it has {}",
            name(service),
            names(registry.backends_of(service))
        );
        invalid(Some(service), detail)
    })
}

/// The refusal of an identity that speaks for no backend of what is meant.
fn stranger<'a>(
    registry: &Registry,
    identity: &Identity,
    first: Meant<'_>,
    meant: &(impl Iterator<Item = Meant<'a>> + Clone),
) -> No {
    let is_meant = |it: &&Backend| meant.clone().any(|meant| meant.service.id == it.service);
    let mut removed = speaks_for(registry, identity).filter(|it| it.is_removed);
    let service = name(first.service);
    if let Some(backend) = removed.find(is_meant) {
        let detail = format!(
            "backend: {} was removed from service {service}",
            backend.settings.name
        );
        return invalid(Some(first.service), detail);
    }
    No {
        code: OutcomeCode::Denied,
        service: Some(first.service.id),
        detail: format!(
            "{} is not in {} of {} of service {service}",
            who(identity),
            match identity {
                Identity::Certificate(_) => "identity",
                Identity::Address(_) | Identity::Operator { .. } => "signal_from",
            },
            match first.own.and_then(|own| registry.backend(own)) {
                Some(own) => format!("backend {}", own.settings.name),
                None => "any backend".to_owned(),
            }
        ),
    }
}

fn nothing_meant(registry: &Registry, destination: &Destination) -> No {
    let detail = match destination {
        Destination::Service(name) => {
            let names: Vec<_> = registry.services().map(self::name).take(8).collect();
            format!(
                "service: there is no service {name:?}; there are: {}",
                names.join(", ")
            )
        }
        Destination::Address(address) => format!(
            "destination: {address} is neither the address and port of a service nor of a backend"
        ),
    };
    invalid(None, detail)
}

fn invalid(service: Option<&Service>, detail: String) -> No {
    No {
        code: OutcomeCode::Invalid,
        service: service.map(|it| it.id),
        detail,
    }
}

fn name(service: &Service) -> &str {
    &service.settings.name
}

fn names<'a>(backends: impl Iterator<Item = &'a Backend>) -> String {
    let mut names: Vec<_> = backends.map(Backend::name).collect();
    names.dedup();
    names.join(" and ")
}

fn who(identity: &Identity) -> String {
    match identity {
        Identity::Address(address) => address.to_string(),
        Identity::Certificate(names) => format!("certificate {}", names.join(", ")),
        Identity::Operator { uid } => format!("operator {uid}"),
    }
}
