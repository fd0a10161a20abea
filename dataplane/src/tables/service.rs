//! Services: what clients address, and how it is balanced.

#[cfg(test)]
mod model;

use super::{
    clients::{ClientLists, Clients},
    id::ServiceId,
    prefix::{Prefix, bits},
    tunnel::TunnelSpec,
};
use crate::{hash::HashKeys, key::Protocol, schedule::Slots};
use std::{
    cmp::Reverse,
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
    /// The backend with the fewest of the worker's flows for its weight.
    LeastConnections,
    /// The one with fewer flows for its weight of two that are taken at random.
    PowerOfTwo,
    /// By the hash of the client's address alone (Maglev's table): all connections of a client agree.
    SourceHash,
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
    /// Full NAT: NAT, and the client is put behind a local address, so that backends answer here from
    /// anywhere. The service has a pool ([`super::pool::PoolSpec`]).
    Fullnat,
}

/// How many new flows a second a service takes, over all workers; `None`: as many as come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowLimits {
    /// Of those that the scheduler places.
    pub per_second: Option<u32>,
    /// Of one IPv4 address or IPv6 /64, whoever places them.
    pub per_second_per_source: Option<u32>,
}

/// A service as the control plane describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its place.
    pub id: ServiceId,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The VIP, or the first of several.
    pub address: IpAddr,
    /// How many bits the VIPs share: 32 or 128 for one.
    pub prefix_length: u8,
    /// The port; 0: every port of the VIP.
    pub port: u16,
    /// How new flows are spread.
    pub scheduler: Scheduler,
    /// How frames reach the backends.
    pub forward: Forward,
    /// Whether connections with full NAT begin with a PROXY header, which says who the client is.
    pub proxy_protocol: bool,
    /// How long a quiet flow is remembered, in seconds, at most [`crate::limits::FLOW_TIMEOUT_S`].
    pub flow_timeout_s: u32,
    /// Whether affinities route: the switch of contract section 8.
    pub affinity: bool,
    /// What extends an affinity.
    pub refresh: Refresh,
    /// What becomes of packets whose backend is down.
    pub on_backend_down: OnBackendDown,
    /// Whose new flows it takes.
    pub clients: ClientLists,
    /// How many new flows it takes.
    pub limits: FlowLimits,
}

/// A service as workers read it.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) spec: ServiceSpec,
    pub(crate) slots: Arc<Slots>,
    /// Whose new flows it takes; `None`: everybody's.
    pub(crate) clients: Option<Arc<Clients>>,
}

impl Service {
    /// Whether it takes new flows of this client.
    #[inline]
    pub(crate) fn takes(&self, client: IpAddr) -> bool {
        let clients = self.clients.as_ref();
        clients.is_none_or(|clients| clients.take(client))
    }
}

/// Services by their place, and the index that finds one by what a packet addresses.
#[derive(Debug)]
pub(crate) struct Services {
    all: Vec<Option<Service>>,
    /// Open addressing, a power of two, at most a quarter full; `EMPTY` ends a search.
    index: Box<[u16]>,
    /// The prefix lengths of services of several VIPs, longest first; mostly there is none.
    lengths: Box<[u8]>,
}

/// What services are found by: VIPs of the same first bits, and a port.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Destination {
    protocol: Protocol,
    address: IpAddr,
    prefix_length: u8,
    port: u16,
}

impl ServiceSpec {
    fn destination(&self) -> Destination {
        Destination {
            protocol: self.protocol,
            address: self.address,
            prefix_length: self.prefix_length,
            port: self.port,
        }
    }
}

const EMPTY: u16 = u16::MAX;

/// One set of keys for the process: the index is rebuilt with every configuration.
fn keys() -> &'static HashKeys {
    static KEYS: OnceLock<HashKeys> = OnceLock::new();
    KEYS.get_or_init(HashKeys::random)
}

fn hash(of: Destination) -> usize {
    let rest = u64::from(of.port) << 16 | u64::from(of.prefix_length) << 8 | of.protocol as u64;
    let hash = match of.address {
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
        let mut lengths = Vec::new();
        for service in list {
            let spec = &service.spec;
            if spec.prefix_length < bits(spec.address) {
                lengths.push(spec.prefix_length);
            }
            let mut place = hash(spec.destination()) & (index.len() - 1);
            while index[place] != EMPTY {
                place = (place + 1) & (index.len() - 1);
            }
            index[place] = spec.id.0;
            let id = spec.id.index();
            all[id] = Some(service);
        }
        lengths.sort_unstable_by_key(|length| Reverse(*length));
        lengths.dedup();
        Self {
            all,
            index: index.into_boxed_slice(),
            lengths: lengths.into_boxed_slice(),
        }
    }

    /// The service that a packet addresses: of its address, else of the longest prefix that holds
    /// it; there the one of the port, else the one of every port.
    #[inline]
    pub(crate) fn find(&self, protocol: Protocol, address: IpAddr, port: u16) -> Option<&Service> {
        let of_vip = Destination {
            protocol,
            address,
            prefix_length: bits(address),
            port,
        };
        self.find_at(of_vip).or_else(|| self.find_by_prefix(of_vip))
    }

    fn find_by_prefix(&self, of_vip: Destination) -> Option<&Service> {
        self.lengths.iter().find_map(|length| {
            let prefix = Prefix::new(of_vip.address, *length)?;
            self.find_at(Destination {
                address: prefix.address(),
                prefix_length: *length,
                ..of_vip
            })
        })
    }

    #[inline]
    fn find_at(&self, destination: Destination) -> Option<&Service> {
        let of_every_port = Destination {
            port: 0,
            ..destination
        };
        self.find_exactly(destination)
            .or_else(|| self.find_exactly(of_every_port))
    }

    fn find_exactly(&self, destination: Destination) -> Option<&Service> {
        let mut place = hash(destination) & (self.index.len() - 1);
        loop {
            let id = self.index[place];
            if id == EMPTY {
                return None;
            }
            let service = self.all[usize::from(id)].as_ref()?;
            if service.spec.destination() == destination {
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
