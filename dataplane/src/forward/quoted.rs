//! ICMP errors about a flow go where its packets go (contract rule R8): to the backend of the flow,
//! else to the owner of the client's affinity, else to where every forwarder would place the flow.
//! What is said of a packet to a backend with NAT goes to its client.
//! They change no flow and extend no affinity: anybody can send them.

use super::{Verdict, View, fullnat, path::PathKey, reply, tunneled};
use crate::{
    classify::classify,
    fate::Fate,
    parse::{Parsed, quoted4, quoted6},
    tables::{
        Toward,
        affinity::Hits,
        id::{BackendId, PortId},
        service::{Forward, Service},
    },
    worker::Own,
};
use std::net::IpAddr;

/// What is to be done with an ICMP message that is about a flow; `None` where it is not an error.
pub(crate) fn follow_error<F>(
    index: u8,
    frame: &[u8],
    parsed: Parsed,
    came_by: PortId,
    view: View<'_>,
    own: &mut Own<F>,
) -> Option<Verdict> {
    if !view.tables.tunnels.is_empty()
        && let Some(fate) = tunneled::hear_of_path(frame, parsed, came_by, view)
    {
        return Some(Verdict::Done(fate));
    }
    let toward = match parsed {
        Parsed::Icmp4(message) => quoted4(frame, message).transpose()?.and_then(|quoted| {
            check(frame, quoted.sender.into(), view)?;
            toward_of(index, &quoted.key, came_by, view, own)
        }),
        Parsed::Icmp6(message) => quoted6(frame, message).transpose()?.and_then(|quoted| {
            check(frame, quoted.sender.into(), view)?;
            toward_of(index, &quoted.key, came_by, view, own)
        }),
        Parsed::V4(_)
        | Parsed::V6(_)
        | Parsed::First4(_)
        | Parsed::First6(_)
        | Parsed::Later(_)
        | Parsed::Arp { .. } => return None,
    };
    Some(toward.map_or_else(Verdict::Done, Verdict::To))
}

/// An error is of one host to one (RFC 1122, sections 3.2.1.3 and 3.3.6).
fn check(frame: &[u8], sender: IpAddr, view: View<'_>) -> Result<(), Fate> {
    let is_to_one = frame.first().is_some_and(|first| first & 1 == 0);
    if !is_to_one {
        Err(Fate::IcmpUnhandled)
    } else if view.tables.stations.may_send(sender) {
        Ok(())
    } else {
        Err(Fate::BadSource)
    }
}

fn toward_of<F, K: PathKey>(
    index: u8,
    key: &K,
    came_by: PortId,
    view: View<'_>,
    own: &mut Own<F>,
) -> Result<Toward, Fate> {
    if let Some(toward) = fullnat::error_at(key, came_by, view, own) {
        return toward;
    }
    let flows = K::flows(&mut own.flows);
    let place = flows.find(flows.hash(key), key);
    let known = place.map(|place| flows.get(place).backend());
    let keeps = |id: &BackendId| {
        let backend = view.tables.backend(*id);
        backend.is_some_and(|it| it.state.keeps_flows())
    };
    if let Some(backend) = known.filter(keeps) {
        let by_session = fullnat::error::<F, K>(place, backend, view, own);
        return by_session.unwrap_or(Ok(Toward::Backend(backend)));
    }
    let service = match classify(key, view.tables) {
        Ok(service) => service,
        Err(Fate::NoService) => return reply::answers(key, came_by, view),
        Err(fate) => return Err(fate),
    };
    if service.spec.forward == Forward::Fullnat {
        let owner = fullnat::other_owner(index, key, came_by, view, own);
        return owner.map(Toward::Worker).ok_or(Fate::IcmpNoFlow);
    }
    owner_of(key, service, view)
        .or_else(|| service.slots.agreed(key))
        .map(Toward::Backend)
        .ok_or(Fate::IcmpNoFlow)
}

/// The owner of the client's affinity, if it takes new flows of it.
fn owner_of<K: PathKey>(key: &K, service: &Service, view: View<'_>) -> Option<BackendId> {
    if !service.spec.affinity {
        return None;
    }
    let mut hits = Hits::new();
    let query = key.query(service.spec.id);
    K::lookup(view.affinities, view.guard, view.now, &[query], &mut hits);
    let owner = hits.first().copied().flatten()?.owner();
    let takes = view.tables.backend(owner)?.state.takes_affinities();
    takes.then_some(owner)
}
