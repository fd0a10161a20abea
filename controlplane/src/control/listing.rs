//! What a listing is of: who asks, the filter, and where to go on (contract rule S9); and how many
//! there may be (S10).

use super::{Act, Answer, Control, Filter, Scan, scan::Listing};
use crate::{authorise::speaks_for, command::Declined, signal::Identity};
use hashbrown::HashSet;
use std::fmt;
use tether_api::{
    operator::AffinityState,
    v1::{self, affinity_entry::State},
};
use tether_dataplane::tables::id::BackendId;
use tokio::sync::mpsc::Sender;

/// Listings at most: each may hold its queue full, and takes its share of every turn.
const LISTINGS: usize = 1024;
/// Of one identity.
const LISTINGS_PER_IDENTITY: usize = 64;

/// Where an entry stands in the list: the place that its affinity keeps for life, and the life of
/// the forwarder in which that is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    life: u32,
    place: u32,
}

impl Cursor {
    pub(crate) fn of(control: &Control, place: u32) -> Self {
        let life = control.life;
        Self { life, place }
    }

    fn parse(text: &str) -> Option<Self> {
        let (life, place) = text.split_once('-')?;
        Some(Self {
            life: u32::from_str_radix(life, 16).ok()?,
            place: place.parse().ok()?,
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.life, self.place)
    }
}

impl Control {
    /// Lists the affinities that an identity may see: a backend its own, an operator all.
    pub(super) fn list(
        &mut self,
        identity: &Identity,
        request: &v1::ListRequest,
        entries: Sender<v1::AffinityEntry>,
    ) -> Result<(), Declined> {
        self.check_listings(identity)?;
        let filter = self.list_filter(identity, request)?;
        let cursor = self.first_place(&request.after)?;
        let limit = match request.limit {
            0 => u64::MAX,
            limit => limit.into(),
        };
        self.answers.push(Answer::Scan(Scan {
            filter,
            act: Act::Stream(Listing {
                identity: identity.clone(),
                entries,
                left: limit,
            }),
            cursor,
        }));
        Ok(())
    }

    /// Those that nobody reads any more do not count. Operators are held to the number of their
    /// connections.
    fn check_listings(&self, identity: &Identity) -> Result<(), Declined> {
        let (mut all, mut same) = (0, 0);
        for answer in &self.answers {
            if let Answer::Scan(Scan {
                act: Act::Stream(listing),
                ..
            }) = answer
                && !listing.entries.is_closed()
            {
                all += 1;
                same += usize::from(listing.identity == *identity);
            }
        }
        if all >= LISTINGS {
            return Err(Declined::Exhausted(format!(
                "there are {LISTINGS} listings already: list again later"
            )));
        }
        let is_server = !matches!(identity, Identity::Operator { .. });
        if is_server && same >= LISTINGS_PER_IDENTITY {
            return Err(Declined::Exhausted(format!(
                "this identity has {LISTINGS_PER_IDENTITY} listings already: read or close one"
            )));
        }
        Ok(())
    }

    fn first_place(&self, after: &str) -> Result<u32, Declined> {
        if after.is_empty() {
            return Ok(0);
        }
        let invalid = |why: &str| Declined::Invalid(format!("after {after:?}: {why}"));
        let cursor = Cursor::parse(after)
            .ok_or_else(|| invalid("give the cursor of an entry, as it was received"))?;
        if cursor.life != self.life {
            return Err(invalid(
                "the forwarder was started since: list from the start",
            ));
        }
        Ok(cursor.place.saturating_add(1))
    }

    fn list_filter(
        &self,
        identity: &Identity,
        request: &v1::ListRequest,
    ) -> Result<Filter, Declined> {
        let service = match request.service.as_str() {
            "" => None,
            name => {
                let service = self.master.registry.service_named(name);
                Some(service.ok_or_else(|| Declined::no_service(name))?.id)
            }
        };
        let source = match request.source.as_str() {
            "" => None,
            text => {
                let source = text.parse();
                Some(
                    source
                        .map_err(|bad: tether_api::BadSource| Declined::Invalid(bad.to_string()))?,
                )
            }
        };
        Ok(Filter {
            service,
            owners: Some(self.listed_owners(identity, request)?),
            source,
            state: listed_state(request.state)?,
            expiring_within_ms: None,
        })
    }

    fn listed_owners(
        &self,
        identity: &Identity,
        request: &v1::ListRequest,
    ) -> Result<HashSet<BackendId>, Declined> {
        let registry = &self.master.registry;
        let v1::ListRequest {
            service, backend, ..
        } = request;
        let is_named = |name: &str| backend.is_empty() || name == backend;
        let mut there = registry
            .backends()
            .filter(|it| service.is_empty() || it.service_name == *service);
        if !backend.is_empty() && !there.any(|it| is_named(it.name())) {
            return Err(Declined::no_backend(service, backend));
        }
        let mine: Vec<_> = match identity {
            Identity::Operator { .. } => registry.backends().collect(),
            Identity::Address(_) | Identity::Certificate(_) => {
                speaks_for(registry, identity).collect()
            }
        };
        let owners = mine.iter().filter(|it| is_named(it.name()));
        Ok(owners.map(|it| it.id).collect())
    }
}

fn listed_state(state: i32) -> Result<Option<AffinityState>, Declined> {
    match State::try_from(state) {
        Ok(State::Unspecified) => Ok(None),
        Ok(State::Active) => Ok(Some(AffinityState::Active)),
        Ok(State::Suspended) => Ok(Some(AffinityState::Suspended)),
        Ok(State::Draining) => Ok(Some(AffinityState::Draining)),
        Err(_) => Err(Declined::Invalid(format!(
            "state {state}: must be 0 (any), 1 (active), 2 (suspended) or 3 (draining)"
        ))),
    }
}
