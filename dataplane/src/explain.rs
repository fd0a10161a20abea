//! Which backend a new flow would get, and why: the stages' own decisions, without a packet;
//! and the frame that would leave.

mod leaving;
mod made_up;

pub(crate) use leaving::leaving;
pub use leaving::{Leaving, Outer};

use crate::{
    clock::Millis,
    key::{Key4, Key6, Ports, Protocol},
    tables::{
        Tables,
        affinity::{AffinityWriter, Found},
        backend::BackendState,
        id::{BackendId, ServiceId},
        service::{OnBackendDown, Scheduler, Service},
    },
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// The packet that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The client; port 0 where it is not known.
    pub source: SocketAddr,
    /// What it addresses.
    pub destination: SocketAddr,
    /// And what if this backend were down.
    pub without: Option<BackendId>,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The affinity.
    Affinity,
    /// The scheduler's slot of this number.
    Scheduler {
        /// The slot.
        slot: usize,
        /// What chose the slot.
        rule: Rule,
    },
    /// Nobody: the packet is dropped or not ours.
    None,
}

/// What chooses a slot of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The hash of the flow.
    FlowHash,
    /// The hash of the client's address.
    SourceHash,
    /// A worker's turn: the slot is that of the first one.
    Turn,
    /// The flows of the backends, of all workers together. A worker goes by its own.
    FewestFlows(Load),
    /// The flows of two backends taken at random: these are of the first turn.
    FewerOfTwo(Load),
}

/// What a backend is measured by where flows decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its live flows, on all workers.
    pub flows: u64,
    /// Its weight, as it is now.
    pub weight: u32,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The service, if one is addressed.
    pub service: Option<ServiceId>,
    /// The backend, if one gets it.
    pub backend: Option<BackendId>,
    /// Who decides.
    pub by: By,
    /// The affinity that matches, deciding or not.
    pub affinity: Option<Found>,
    /// Whether the service's lists refuse the client.
    pub is_denied: bool,
    /// Why the affinity that matches does not decide: its owner's state; `None` with an affinity
    /// whose owner was removed.
    pub owner_state: Option<BackendState>,
}

/// Decides as a worker would about the first packet of a flow; `flows` says how many live flows a
/// backend has.
pub(crate) fn explain(
    tables: &Tables,
    affinities: &AffinityWriter,
    packet: &Packet,
    now: Millis,
    flows: impl Fn(BackendId) -> u64,
) -> Explanation {
    let (address, port) = (packet.destination.ip(), packet.destination.port());
    let mut explanation = Explanation {
        service: None,
        backend: None,
        by: By::None,
        affinity: None,
        is_denied: false,
        owner_state: None,
    };
    let Some(service) = tables.services.find(packet.protocol, address, port) else {
        return explanation;
    };
    explanation.service = Some(service.spec.id);
    explanation.is_denied = !service.takes(packet.source.ip());
    explanation.affinity = service
        .spec
        .affinity
        .then(|| {
            affinities.find(
                service.spec.id,
                packet.source.ip(),
                packet.source.port(),
                now,
            )
        })
        .flatten();
    if explanation.is_denied {
        return explanation;
    }
    if let Some(found) = explanation.affinity {
        let state = state_of(tables, found.owner, packet.without);
        explanation.owner_state = state;
        if state.is_some_and(BackendState::takes_affinities) {
            explanation.by = By::Affinity;
            explanation.backend = Some(found.owner);
            return explanation;
        }
        if service.spec.on_backend_down == OnBackendDown::Drop && state == Some(BackendState::Down)
        {
            return explanation;
        }
    }
    if let Some((by, backend)) = scheduled(service, packet, flows) {
        explanation.by = by;
        explanation.backend = Some(backend);
    }
    explanation
}

fn state_of(
    tables: &Tables,
    backend: BackendId,
    without: Option<BackendId>,
) -> Option<BackendState> {
    if without == Some(backend) {
        return Some(BackendState::Down);
    }
    tables.backend(backend).map(|it| it.state)
}

fn scheduled(
    service: &Service,
    packet: &Packet,
    flows: impl Fn(BackendId) -> u64,
) -> Option<(By, BackendId)> {
    let slots = match packet.without {
        None => Arc::clone(&service.slots),
        Some(backend) => Arc::new(service.slots.without(backend)),
    };
    let ports = Ports::new(packet.source.port(), packet.destination.port());
    let (slot, backend) = match (packet.source.ip(), packet.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let key = Key4 {
                source: u32::from_ne_bytes(source.octets()),
                destination: u32::from_ne_bytes(destination.octets()),
                ports,
                protocol: packet.protocol,
            };
            slots.choose(&key, &mut 0, &flows)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let key = Key6 {
                source: source.octets(),
                destination: destination.octets(),
                ports,
                protocol: packet.protocol,
            };
            slots.choose(&key, &mut 0, &flows)
        }
        _ => None,
    }?;
    let load = Load {
        flows: flows(backend),
        weight: slots.weight(slot).unwrap_or_default(),
    };
    let rule = rule(service.spec.scheduler, load);
    Some((By::Scheduler { slot, rule }, backend))
}

fn rule(scheduler: Scheduler, load: Load) -> Rule {
    match scheduler {
        Scheduler::Maglev => Rule::FlowHash,
        Scheduler::SourceHash => Rule::SourceHash,
        Scheduler::RoundRobin | Scheduler::WeightedRoundRobin => Rule::Turn,
        Scheduler::LeastConnections => Rule::FewestFlows(load),
        Scheduler::PowerOfTwo => Rule::FewerOfTwo(load),
    }
}
