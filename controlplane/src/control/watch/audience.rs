//! Whose affinities a watcher is told of: a backend's own, all of an operator's choice (rules P2, S8).

use crate::{
    authorise::speaks_for,
    command::Declined,
    master::{Backend, Registry},
    signal::Identity,
};
use hashbrown::HashSet;
use tether_api::v1::WatchRequest;
use tether_dataplane::tables::id::BackendId;

/// Whose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Everybody's.
    All,
    /// Those of these backends.
    Owners(HashSet<BackendId>),
}

impl Audience {
    /// What a request means now. Backends that were removed are among them: they have their ends
    /// still to be told.
    pub(super) fn of(registry: &Registry, identity: &Identity, request: &WatchRequest) -> Self {
        let is_wanted = |it: &&Backend| {
            (request.service.is_empty() || request.service == it.service_name)
                && (request.backend.is_empty() || request.backend == it.name())
        };
        match identity {
            Identity::Operator { .. } if *request == WatchRequest::default() => Self::All,
            Identity::Operator { .. } => {
                let wanted = registry.known_backends().filter(is_wanted);
                Self::Owners(wanted.map(|it| it.id).collect())
            }
            Identity::Address(_) | Identity::Certificate(_) => {
                let wanted = speaks_for(registry, identity).filter(is_wanted);
                Self::Owners(wanted.map(|it| it.id).collect())
            }
        }
    }
}

/// What a request means, if it means something.
///
/// # Errors
/// A service or a backend that there is none of, or one that the identity does not speak for.
pub(super) fn audience(
    registry: &Registry,
    identity: &Identity,
    request: &WatchRequest,
) -> Result<Audience, Declined> {
    check_names(registry, request)?;
    let audience = Audience::of(registry, identity, request);
    match &audience {
        Audience::Owners(owners) if owners.is_empty() => Err(Declined::Denied(
            "this identity speaks for no backend that is asked for: see identity and signal_from in the forwarder's configuration"
                .to_owned(),
        )),
        Audience::All | Audience::Owners(_) => Ok(audience),
    }
}

fn check_names(registry: &Registry, request: &WatchRequest) -> Result<(), Declined> {
    let WatchRequest { service, backend } = request;
    if !service.is_empty() && registry.service_named(service).is_none() {
        return Err(Declined::no_service(service));
    }
    let mut backends = registry.backends();
    let is_there = backend.is_empty()
        || backends
            .any(|it| it.name() == backend && (service.is_empty() || it.service_name == *service));
    if is_there {
        Ok(())
    } else {
        Err(Declined::no_backend(service, backend))
    }
}
