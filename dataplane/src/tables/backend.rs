//! Backends as workers see them: where their frames go and what they take.

use super::id::{BackendId, NeighbourId, PortId, ServiceId, TranslationId, TunnelId};
use std::net::IpAddr;

/// The life of a backend (contract section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendState {
    /// Takes everything.
    #[default]
    Up,
    /// Takes live flows and new flows of its affinities, nothing else.
    Draining,
    /// Takes live flows only.
    Disabled,
    /// Failed its health check: takes nothing.
    Down,
}

impl BackendState {
    /// Whether its live flows still reach it (contract rules R1 and R9).
    #[inline]
    #[must_use]
    pub fn keeps_flows(self) -> bool {
        self != Self::Down
    }

    /// Whether an affinity brings it new flows.
    #[inline]
    #[must_use]
    pub fn takes_affinities(self) -> bool {
        matches!(self, Self::Up | Self::Draining)
    }

    /// Whether the scheduler may choose it.
    #[must_use]
    pub fn takes_new_flows(self) -> bool {
        self == Self::Up
    }

    /// Whether packets extend its affinities: not while it drains, so that a drain ends.
    #[inline]
    #[must_use]
    pub fn extends_affinities(self) -> bool {
        self == Self::Up
    }
}

/// A backend as the control plane describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendSpec {
    /// Its place.
    pub id: BackendId,
    /// Its name within its service: what Maglev hashes, so that its share does not depend on where
    /// it stands in a list.
    pub name: String,
    /// The service that it serves.
    pub service: ServiceId,
    /// Its address.
    pub address: IpAddr,
    /// Where it listens, with NAT; 0: at the service's port.
    pub port: u16,
    /// Its share among the service's backends; 0: none of the scheduled flows.
    pub weight: u32,
    /// Its weight by the configuration: what tables are sized for, whatever its weight is now.
    pub nominal_weight: u32,
    /// What it takes now.
    pub state: BackendState,
}

/// How frames reach a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By its MAC address.
    Direct,
    /// Through its tunnel.
    Tunnel(TunnelId),
    /// Translated.
    Nat(TranslationId),
    /// Translated at both ends: the client gets a local address and port.
    Fullnat(TranslationId),
}

/// A backend as workers read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) service: ServiceId,
    pub(crate) neighbour: NeighbourId,
    pub(crate) port: PortId,
    pub(crate) state: BackendState,
    pub(crate) way: Way,
}
