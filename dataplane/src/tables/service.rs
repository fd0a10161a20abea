//! Services: what clients address, and how it is balanced.

#[cfg(test)]
mod model;

use super::{id::ServiceId, tunnel::TunnelSpec};
use crate::{hash::HashKeys, key::Protocol, schedule::Slots};
use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

/// How a service's new flows are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheduler {
    /// By the hash of the flow, so that every forwarder chooses alike (Maglev).
    #[default]
    Maglev,
    /// In turn.
    RoundRobin,
    /// In turn, in proportion to the weights, interleaved.
    WeightedRoundRobin,
}

/// What extends an affinity (contract rule T2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Refresh {
    /// Every packet of a flow that it placed.
    #[default]
    Packet,
    /// Every connection that it places.
    Connection,
    /// Only the server.
    Never,
}

/// What becomes of packets whose backend is down (contract rule R9 and section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnBackendDown {
    /// They are balanced.
    #[default]
    Balance,
    /// They are dropped.
    Drop,
}

/// How frames reach the backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Forward {
    /// Direct server return: the MAC addresses are rewritten, the backend holds the VIP.
    #[default]
    Dsr,
    /// Through a tunnel: the packet goes whole, behind a header of its own; the backend holds the VIP.
    Tunnel(TunnelSpec),
    /// NAT: the packet gets the backend's address and port; what the backend answers comes back here and
    /// gets those of the VIP.
    Nat,
}

/// A service as the control plane describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its place.
    pub id: ServiceId,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The VIP.
    pub address: IpAddr,
    /// The port; 0: every port of the VIP.
    pub port: u16,
    /// How new flows are spread.
    pub scheduler: Scheduler,
    /// How frames reach the backends.
    pub forward: Forward,
    /// How long a quiet flow is remembered, in seconds, at most [`crate::limits::FLOW_TIMEOUT_S`].
    pub flow_timeout_s: u32,
    /// Whether affinities route: the switch of contract section 8.
    pub affinity: bool,
    /// What extends an affinity.
    pub refresh: Refresh,
    /// What becomes of packets whose backend is down.
    pub on_backend_down: OnBackendDown,
}

/// A service as workers read it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) spec: ServiceSpec,
    pub(crate) slots: Arc<Slots>,
}

/// Services by their place, and the index that finds one by what a packet addresses.
#[derive(Debug)]
pub(crate) struct Services {
    all: Vec<Option<Service>>,
    /// Open addressing, a power of two, at most a quarter full; `EMPTY` ends a search.
    index: Box<[u16]>,
}

const EMPTY: u16 = u16::MAX;

/// One set of keys for the process: the index is rebuilt with every configuration.
fn keys() -> &'static HashKeys {
    static KEYS: OnceLock<HashKeys> = OnceLock::new();
    KEYS.get_or_init(HashKeys::random)
}

fn hash(protocol: Protocol, address: IpAddr, port: u16) -> usize {
    let rest = u64::from(port) << 8 | protocol as u64;
    let hash = match address {
        IpAddr::V4(v4) => keys().hash2(u64::from(v4.to_bits()), rest),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            #[expect(clippy::cast_possible_truncation, reason = "the halves of a u128")]
            keys().hash4((bits >> 64) as u64, bits as u64, rest, 6)
        }
    };
    #[expect(clippy::cast_possible_truncation, reason = "any bits of it do")]
    let hash = hash as usize;
    hash
}

impl Services {
    /// The services of a configuration.
    pub(crate) fn new(list: Vec<Service>) -> Self {
        let places = list.iter().map(|it| it.spec.id.index() + 1).max();
        let mut all: Vec<Option<Service>> = Vec::new();
        all.resize_with(places.unwrap_or(0), || None);
        let mut index = vec![EMPTY; (list.len() * 4).next_power_of_two().max(8)];
        for service in list {
            let spec = &service.spec;
            let mut place = hash(spec.protocol, spec.address, spec.port) & (index.len() - 1);
            while index[place] != EMPTY {
                place = (place + 1) & (index.len() - 1);
            }
            index[place] = spec.id.0;
            let id = spec.id.index();
            all[id] = Some(service);
        }
        Self {
            all,
            index: index.into_boxed_slice(),
        }
    }

    /// The service that a packet addresses: the one of the port, else the one of every port.
    #[inline]
    pub(crate) fn find(&self, protocol: Protocol, address: IpAddr, port: u16) -> Option<&Service> {
        self.find_exactly(protocol, address, port)
            .or_else(|| self.find_exactly(protocol, address, 0))
    }

    fn find_exactly(&self, protocol: Protocol, address: IpAddr, port: u16) -> Option<&Service> {
        let mut place = hash(protocol, address, port) & (self.index.len() - 1);
        loop {
            let id = self.index[place];
            if id == EMPTY {
                return None;
            }
            let service = self.all[usize::from(id)].as_ref()?;
            let spec = &service.spec;
            if (spec.protocol, spec.address, spec.port) == (protocol, address, port) {
                return Some(service);
            }
            place = (place + 1) & (self.index.len() - 1);
        }
    }

    /// The service at a place.
    #[inline]
    pub(crate) fn get(&self, id: ServiceId) -> Option<&Service> {
        self.all.get(id.index())?.as_ref()
    }
}
