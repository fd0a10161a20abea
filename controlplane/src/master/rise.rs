//! Slow start: a backend that comes up gets its weight in tenths, over the service's `slow_start`.
//!
//! ```text
//! weight   1/10 ──── 2/10 ── 3/10 ── … ── 9/10 ── whole
//! elapsed  0         2/10    3/10         9/10    slow_start
//! ```
//!
//! What counts is the weight beside those of the others: backends that rise together at the same
//! step have their whole weights, and nothing is published for them. A rise takes at most nine
//! publications. Affinities do not look at weights (contract rule R2).

use super::{Backend, Registry};
use std::time::Duration;
use tether_dataplane::{clock::Millis, tables::id::BackendId};

/// The parts of a weight.
pub const TENTHS: u32 = 10;

/// How far a backend has come since it came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rise {
    /// The scheduler may not choose it, or may since this turn.
    #[default]
    Down,
    /// It came up then, and has so many tenths of its way behind it.
    Since(Millis, u32),
    /// It has its whole weight.
    Full,
}

/// What a look at the backends that rise has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Risen {
    /// Whether weights are others than were published.
    pub has_changed: bool,
    /// When the next step of any of them is due.
    pub due: Millis,
}

impl Rise {
    /// How far it is now.
    fn at(self, is_up: bool, slow_start: Option<Duration>, now: Millis) -> Self {
        let since = match (self, slow_start) {
            _ if !is_up => return Self::Down,
            (Self::Full, _) | (_, None) => return Self::Full,
            (Self::Down, Some(_)) => now,
            (Self::Since(since, _), Some(_)) => since,
        };
        let whole_ms = slow_start.map_or(1, milliseconds);
        match now.since(since).saturating_mul(TENTHS.into()) / whole_ms {
            tenths if tenths >= TENTHS.into() => Self::Full,
            tenths => Self::Since(since, u32::try_from(tenths).unwrap_or(TENTHS).max(1)),
        }
    }

    /// When its next step is due.
    fn due(self, slow_start: Option<Duration>) -> Millis {
        match (self, slow_start) {
            (Self::Since(since, tenths), Some(whole)) => {
                let next = u64::from(tenths + 1) * milliseconds(whole);
                since + next.div_ceil(TENTHS.into())
            }
            (Self::Down | Self::Since(..) | Self::Full, _) => Millis::NEVER,
        }
    }

    /// The tenths that it would have beside one with its whole weight.
    fn tenths(self) -> u32 {
        match self {
            Self::Down => 1,
            Self::Since(_, tenths) => tenths,
            Self::Full => TENTHS,
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

impl Registry {
    /// Takes every backend to have its whole weight: where all begin, none has to be spared.
    pub fn begin_full(&mut self) {
        let ids: Vec<BackendId> = self.backends().map(|it| it.id).collect();
        for id in ids {
            if let Some(backend) = self.backend_mut(id) {
                (backend.rise, backend.tenths) = (Rise::Full, TENTHS);
            }
        }
    }

    /// Looks how far the backends have come that rise.
    pub fn raise(&mut self, now: Millis) -> Risen {
        let services: Vec<_> = self.services().map(|it| it.id).collect();
        let mut risen = Risen {
            has_changed: false,
            due: Millis::NEVER,
        };
        for id in services {
            let Some(service) = self.service(id) else {
                continue;
            };
            let (slow_start, backends) = (service.settings.slow_start, service.backends.clone());
            for id in &backends {
                if let Some(backend) = self.backend_mut(*id) {
                    backend.look(slow_start, now);
                    risen.due = risen.due.min(backend.rise.due(slow_start));
                }
            }
            risen.has_changed |= self.share_weights(&backends);
        }
        risen
    }

    /// Gives the backends of a service their tenths; returns whether any has others than before.
    fn share_weights(&mut self, backends: &[BackendId]) -> bool {
        let up = backends.iter().filter_map(|id| self.backend(*id));
        let mut steps = up
            .filter(|it| it.rise != Rise::Down)
            .map(|it| it.rise.tenths());
        let first = steps.next();
        let are_alike = steps.all(|step| Some(step) == first);
        let mut has_changed = false;
        for id in backends {
            let Some(backend) = self.backend_mut(*id) else {
                continue;
            };
            let tenths = match backend.rise {
                Rise::Since(..) | Rise::Full if are_alike => TENTHS,
                rise => rise.tenths(),
            };
            has_changed |= backend.rise != Rise::Down && backend.tenths != tenths;
            backend.tenths = tenths;
        }
        has_changed
    }
}

impl Backend {
    fn look(&mut self, slow_start: Option<Duration>, now: Millis) {
        let is_up = self.state().takes_new_flows();
        let before = self.rise;
        self.rise = before.at(is_up, slow_start, now);
        if before == Rise::Down
            && let (Rise::Since(..), Some(whole)) = (self.rise, slow_start)
        {
            let (service, name) = (&self.service_name, self.name());
            log::info!("backend {service}/{name} gets its weight over {whole:?}");
        }
    }
}
