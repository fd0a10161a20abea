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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    service: String,
    detail: String,
}

/// Establishes which service a signal is about and in whose name it speaks; or says why not, as
/// the outcome.
pub fn authorise(
    registry: &Registry,
    identity: &Identity,
    signal: Signal,
) -> Result<Authorised<Signal>, Box<Outcome>> {
    let decided = match identity {
        Identity::Operator { .. } => operator(registry, &signal),
        Identity::Address(_) | Identity::Certificate(_) => server(registry, identity, &signal),
    };
    match decided {
        Ok((service, speaker)) => Ok(Authorised {
            said: signal,
            service,
            speaker,
        }),
        Err(no) => Err(Box::new(Outcome {
            code: no.code,
            key: signal.source.ok(),
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
) -> impl Iterator<Item = &'a Backend> {
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
    let meant = meant(registry, &signal.destination)?;
    let mine = meant.iter().filter_map(|it| {
        let backends = own_backends(registry, identity, *it);
        (!backends.is_empty()).then_some((*it, backends))
    });
    match only(mine.collect())? {
        Some((meant, mine)) => {
            let backend = choose(registry, identity, signal, meant, &mine)?;
            Ok((meant.service.id, Speaker::Backend(backend)))
        }
        None => Err(stranger(registry, identity, &meant)),
    }
}

fn operator(registry: &Registry, signal: &Signal) -> Result<(ServiceId, Speaker), No> {
    let meant = meant(registry, &signal.destination)?;
    let choices = meant.iter().map(|it| (*it, ())).collect();
    let Some((meant, ())) = only(choices)? else {
        return Err(invalid("", "destination: names no service".to_owned()));
    };
    let backend = match signal.backend.as_str() {
        "" => meant.own,
        name => Some(named(registry, meant.service, name)?),
    };
    Ok((meant.service.id, Speaker::Operator(backend)))
}

/// The services that a destination may mean; at least one (contract rule S5).
fn meant<'a>(registry: &'a Registry, destination: &Destination) -> Result<Vec<Meant<'a>>, No> {
    let of_service = |service| Meant { service, own: None };
    let meant: Vec<_> = match destination {
        Destination::Service(name) => {
            let service = registry.service_named(name);
            service.map(of_service).into_iter().collect()
        }
        Destination::Address(address) => match registry.services_at(*address) {
            [] => own_services(registry, registry.backends_at(*address)),
            ids => {
                let services = ids.iter().filter_map(|id| registry.service(*id));
                services.map(of_service).collect()
            }
        },
    };
    if meant.is_empty() {
        return Err(nothing_meant(registry, destination));
    }
    Ok(meant)
}

fn own_services<'a>(registry: &'a Registry, own: &[BackendId]) -> Vec<Meant<'a>> {
    let backends = own.iter().filter_map(|id| registry.backend(*id));
    let meant = backends.filter_map(|backend| {
        let service = registry.service(backend.service)?;
        let own = Some(backend.id);
        Some(Meant { service, own })
    });
    meant.collect()
}

/// The configured backends of a service that an identity speaks for.
fn own_backends<'a>(
    registry: &'a Registry,
    identity: &'a Identity,
    meant: Meant<'_>,
) -> Vec<&'a Backend> {
    let mut mine: Vec<_> = speaks_for(registry, identity)
        .filter(|it| it.service == meant.service.id && !it.is_removed)
        .filter(|it| meant.own.is_none_or(|own| own == it.id))
        .collect();
    mine.dedup_by_key(|it| it.id);
    mine
}

/// The one service that is meant. Where an address is that of a TCP and of a UDP service, TCP: a
/// server that gives the addresses of an accepted socket has a TCP one.
fn only<T>(mut choices: Vec<(Meant<'_>, T)>) -> Result<Option<(Meant<'_>, T)>, No> {
    let is_tcp = |it: &Meant<'_>| it.service.settings.protocol == Protocol::Tcp;
    if choices.iter().any(|(meant, _)| is_tcp(meant)) {
        choices.retain(|(meant, _)| is_tcp(meant));
    }
    if choices.len() > 1 {
        let names = choices.iter().map(|(meant, _)| name(meant.service));
        let names: Vec<_> = names.collect();
        let detail = format!(
            "destination: it is that of the services {}: give the service's name",
            names.join(" and ")
        );
        return Err(invalid("", detail));
    }
    Ok(choices.pop())
}

/// Which of its backends a sender means.
fn choose(
    registry: &Registry,
    identity: &Identity,
    signal: &Signal,
    meant: Meant<'_>,
    mine: &[&Backend],
) -> Result<BackendId, No> {
    if signal.backend.is_empty() {
        return match mine {
            [one] => Ok(one.id),
            several => Err(invalid(
                name(meant.service),
                format!(
                    "backend: {} speaks for {} of service {}: name one",
                    who(identity),
                    names(several),
                    name(meant.service)
                ),
            )),
        };
    }
    let wanted = named(registry, meant.service, &signal.backend)?;
    if mine.iter().any(|it| it.id == wanted) {
        return Ok(wanted);
    }
    Err(No {
        code: OutcomeCode::Denied,
        service: name(meant.service).to_owned(),
        detail: format!(
            "{} may not speak for backend {} of service {}, only for {}",
            who(identity),
            signal.backend,
            name(meant.service),
            names(mine)
        ),
    })
}

fn named(registry: &Registry, service: &Service, backend: &str) -> Result<BackendId, No> {
    let found = registry.backend_named(service, backend);
    found.map(|it| it.id).ok_or_else(|| {
        let detail = format!(
            "backend: service {} has no backend {backend:?}; it has {}",
            name(service),
            names(&registry.backends_of(service).collect::<Vec<_>>())
        );
        invalid(name(service), detail)
    })
}

/// The refusal of an identity that speaks for no backend of what is meant.
fn stranger(registry: &Registry, identity: &Identity, meant: &[Meant<'_>]) -> No {
    let is_meant = |it: &&Backend| meant.iter().any(|meant| meant.service.id == it.service);
    let mut removed = speaks_for(registry, identity).filter(|it| it.is_removed);
    let service = meant.first().map_or("", |it| name(it.service));
    if let Some(backend) = removed.find(is_meant) {
        let detail = format!(
            "backend: {} was removed from service {service}",
            backend.settings.name
        );
        return invalid(service, detail);
    }
    No {
        code: OutcomeCode::Denied,
        service: service.to_owned(),
        detail: format!(
            "{} is not in {} of {} of service {service}",
            who(identity),
            match identity {
                Identity::Certificate(_) => "identity",
                Identity::Address(_) | Identity::Operator { .. } => "signal_from",
            },
            match meant.first().and_then(|it| registry.backend(it.own?)) {
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
    invalid("", detail)
}

fn invalid(service: &str, detail: String) -> No {
    No {
        code: OutcomeCode::Invalid,
        service: service.to_owned(),
        detail,
    }
}

fn name(service: &Service) -> &str {
    &service.settings.name
}

fn names(backends: &[&Backend]) -> String {
    let names = backends.iter().map(|it| it.settings.name.as_str());
    names.collect::<Vec<_>>().join(" and ")
}

fn who(identity: &Identity) -> String {
    match identity {
        Identity::Address(address) => address.to_string(),
        Identity::Certificate(names) => format!("certificate {}", names.join(", ")),
        Identity::Operator { uid } => format!("operator {uid}"),
    }
}
