//! Which backend a new flow would get, and why: the stages' own decisions, without a packet.

use crate::{
    clock::Millis,
    key::{FlowKey, Key4, Key6, Ports, Protocol},
    tables::{
        Tables,
        affinity::{AffinityWriter, Found},
        backend::BackendState,
        id::{BackendId, ServiceId},
        service::{OnBackendDown, Scheduler, Service},
    },
};
use std::net::{IpAddr, SocketAddr};

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
    /// The scheduler's slot of this number. Where it takes turns, it is a worker's turn that
    /// decides: the number is that of the first turn.
    Scheduler {
        /// The slot.
        slot: usize,
        /// Whether the slot is a worker's turn, and so may differ for the next packet.
        in_turn: bool,
    },
    /// Nobody: the packet is dropped or not ours.
    None,
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
    /// Why the affinity that matches does not decide: its owner's state; `None` with an affinity
    /// whose owner was removed.
    pub owner_state: Option<BackendState>,
}

/// Decides as a worker would about the first packet of a flow.
pub(crate) fn explain(
    tables: &Tables,
    affinities: &AffinityWriter,
    packet: &Packet,
    now: Millis,
) -> Explanation {
    let (address, port) = (packet.destination.ip(), packet.destination.port());
    let mut explanation = Explanation {
        service: None,
        backend: None,
        by: By::None,
        affinity: None,
        owner_state: None,
    };
    let Some(service) = tables.services.find(packet.protocol, address, port) else {
        return explanation;
    };
    explanation.service = Some(service.spec.id);
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
    if let Some((slot, backend)) = scheduled(service, packet) {
        let in_turn = service.spec.scheduler != Scheduler::Maglev;
        explanation.by = By::Scheduler { slot, in_turn };
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

fn scheduled(service: &Service, packet: &Packet) -> Option<(usize, BackendId)> {
    let ports = Ports::new(packet.source.port(), packet.destination.port());
    match (packet.source.ip(), packet.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let key = Key4 {
                source: u32::from_ne_bytes(source.octets()),
                destination: u32::from_ne_bytes(destination.octets()),
                ports,
                protocol: packet.protocol,
            };
            choose(service, &key, packet.without)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let key = Key6 {
                source: source.octets(),
                destination: destination.octets(),
                ports,
                protocol: packet.protocol,
            };
            choose(service, &key, packet.without)
        }
        _ => None,
    }
}

fn choose<K: FlowKey>(
    service: &Service,
    key: &K,
    without: Option<BackendId>,
) -> Option<(usize, BackendId)> {
    match without {
        None => service.slots.choose(key, &mut 0),
        Some(backend) => service.slots.without(backend).choose(key, &mut 0),
    }
}
