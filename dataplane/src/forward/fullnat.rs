//! Full NAT: packets of its flows get their sessions, and what backends send to local addresses finds
//! the clients by them.
//!
//! Asked about a burst as a whole, and only where there are local addresses: other ways pay one branch
//! for each burst. A reply is never looked up among flows. It touches no flow and extends no affinity;
//! that the backend was heard keeps its flow (`place::is_expired`).

use super::{Entry, Lane, Verdict, View, path::PathKey};
use crate::{
    fate::Fate,
    flow_table::{Line, Place},
    key::{FlowKey, Protocol},
    port::BURST,
    sessions::{Ends, SessionId},
    tables::{
        Toward, Translation,
        backend::{Backend, Way},
        id::{BackendId, LocalId, PortId},
        spread::Steering,
    },
    worker::Own,
};
use arrayvec::ArrayVec;
use std::net::SocketAddr;

/// Decides about what is sent to local addresses, and takes it out of the lane.
pub(crate) fn replies<F, K: PathKey>(
    lane: &mut Lane<K>,
    came_by: PortId,
    view: View<'_>,
    own: &mut Own<F>,
) {
    let mut replies: ArrayVec<(u8, K, LocalId), BURST> = ArrayVec::new();
    lane.retain(|entry| {
        let key = &entry.key;
        let Some(local) = view.tables.pools.find(key.destination()) else {
            return true;
        };
        own.sessions.prefetch(local, key.ports().destination());
        replies.push((entry.index, *key, local));
        false
    });
    for (index, key, local) in replies {
        let toward = reply(&key, local, came_by, view, own);
        own.findings
            .decide(index, toward.map_or_else(Verdict::Done, Verdict::To));
    }
}

/// To whose client a packet to a local address goes: that of its port's session, if it comes from the
/// backend by the port to it. A port of another worker is that one's to decide.
fn reply<F, K: FlowKey>(
    key: &K,
    local: LocalId,
    came_by: PortId,
    view: View<'_>,
    own: &mut Own<F>,
) -> Result<Toward, Fate> {
    let toward = from_backend(key, local, came_by, view, own)?;
    if let Toward::ClientOf(_, id) = toward
        && let Some(session) = own.sessions.get_mut(id)
    {
        session.hear(view.tick);
    }
    Ok(toward)
}

/// The same of whatever is about such a packet: it is no life of its backend.
fn from_backend<F, K: FlowKey>(
    key: &K,
    local: LocalId,
    came_by: PortId,
    view: View<'_>,
    own: &Own<F>,
) -> Result<Toward, Fate> {
    let port = key.ports().destination();
    let ports = view.tables.pools.local(local);
    let owner = ports.and_then(|it| it.owner(port, own.sessions.workers()));
    let owner = owner.ok_or(Fate::NoSession)?;
    if owner != own.sessions.place() {
        return Ok(Toward::Worker(owner));
    }
    let (id, session) = own.sessions.find(local, port).ok_or(Fate::NoSession)?;
    let sender = session.backend();
    let from = source_of(sender, session.vip_port(), view);
    let (from, port) = from.ok_or(Fate::NoSession)?;
    let is_from = from.ip() == key.source() && from.port() == key.ports().source();
    if !is_from || port != came_by || session.protocol() != key.protocol() {
        return Err(Fate::NoSession);
    }
    Ok(Toward::ClientOf(sender, id))
}

/// Where a backend answers from to a client that addressed this port, and by which port it is reached.
fn source_of(backend: BackendId, vip_port: u16, view: View<'_>) -> Option<(SocketAddr, PortId)> {
    let backend = view.tables.backend(backend)?;
    let translation = translation_of(backend, view)?;
    Some((source_at(translation, vip_port), backend.port))
}

fn source_at(translation: &Translation, vip_port: u16) -> SocketAddr {
    let mut from = translation.backend;
    if from.port() == 0 {
        from.set_port(vip_port);
    }
    from
}

fn translation_of<'a>(backend: &Backend, view: View<'a>) -> Option<&'a Translation> {
    match backend.way {
        Way::Fullnat(id) => Some(view.tables.translation(id)),
        Way::Direct | Way::Tunnel(_) | Way::Nat(_) => None,
    }
}

/// Gives the packets that go to backends behind full NAT their sessions; flows that have none get one.
pub(crate) fn sessions<F, K: PathKey>(lane: &Lane<K>, view: View<'_>, own: &mut Own<F>) {
    if !own.desk.slabs.is_empty() {
        own.adopt();
    }
    let mut ours: ArrayVec<(&Entry<K>, BackendId, Option<Place>), BURST> = ArrayVec::new();
    for entry in lane {
        let Verdict::To(Toward::Backend(id)) = own.findings.verdict(entry.index) else {
            continue;
        };
        let backend = view.tables.backend(id);
        if backend.is_some_and(|it| matches!(it.way, Way::Fullnat(_))) {
            let flows = K::table(&own.flows);
            let place = flows.find(entry.hash, &entry.key);
            if let Some(place) = place {
                flows.prefetch_session(place);
            }
            ours.push((entry, id, place));
        }
    }
    for (entry, id, place) in ours {
        let place = place.ok_or(Fate::NoSession);
        let session = place.and_then(|place| session_at(place, &entry.key, id, view, own));
        let toward = session.map(|session| Toward::BackendBy(id, session));
        own.findings
            .decide(entry.index, toward.map_or_else(Verdict::Done, Verdict::To));
    }
}

/// The session of the flow at a place: its own, where the pool still has that local address, else a
/// new one.
fn session_at<F, K: PathKey>(
    place: Place,
    key: &K,
    id: BackendId,
    view: View<'_>,
    own: &mut Own<F>,
) -> Result<SessionId, Fate> {
    let backend = view.tables.backend(id).ok_or(Fate::BackendDown)?;
    let translation = translation_of(backend, view).ok_or(Fate::NoSession)?;
    let known = K::table(&own.flows).session(place);
    if let Some(session) = known {
        if is_local(session, translation, view) {
            return Ok(session);
        }
        own.sessions.close(session);
        K::flows(&mut own.flows).attach(place, None);
    }
    let ends = Ends {
        protocol: key.protocol(),
        client: SocketAddr::new(key.source(), key.ports().source()),
        vip_port: key.ports().destination(),
        backend: id,
        now: view.tick,
    };
    let locals = view.tables.locals(translation.locals);
    let from = source_at(translation, ends.vip_port);
    let steering = steering(backend, key.protocol(), from, view, own);
    let worker = u16::from(own.sessions.place());
    let suits = |local| {
        let address = view.tables.pools.local(local).map(|it| it.address);
        let known = steering.zip(address);
        let known = known.map(|(steering, address)| (steering, steering.partial(from, address)));
        move |port| known.is_none_or(|(steering, partial)| steering.queue(partial, port) == worker)
    };
    let session = own.sessions.open(locals, &ends, suits);
    let session = session.ok_or(Fate::NoLocalPort)?;
    K::flows(&mut own.flows).attach(place, Some(session));
    Ok(session)
}

/// What says by which worker's queue answers from there come, where there is more than one.
fn steering<'a, F>(
    backend: &Backend,
    protocol: Protocol,
    from: SocketAddr,
    view: View<'a>,
    own: &Own<F>,
) -> Option<&'a Steering> {
    let steering = view.tables.stations.get(backend.port).steering.as_deref();
    steering.filter(|it| own.sessions.workers() > 1 && it.hashes_ports(protocol, from.is_ipv4()))
}

/// Whether the local address of a session is one that a backend's clients get now.
fn is_local(session: SessionId, translation: &Translation, view: View<'_>) -> bool {
    let local = view.tables.pools.local(session.local());
    local.is_some_and(|it| it.address.is_ipv4() == translation.backend.is_ipv4())
}

/// Where an ICMP error about a packet that a client sent, or was sent, goes: `None` where it is not about
/// a backend behind full NAT.
pub(crate) fn error<F, K: PathKey>(
    place: Option<Place>,
    id: BackendId,
    view: View<'_>,
    own: &Own<F>,
) -> Option<Result<Toward, Fate>> {
    let backend = view.tables.backend(id)?;
    translation_of(backend, view)?;
    let session = place.and_then(|place| K::table(&own.flows).session(place));
    let toward = session.map(|session| Toward::BackendBy(id, session));
    Some(toward.ok_or(Fate::IcmpNoFlow))
}

/// Where an ICMP error about what was sent from a local address goes: to the client of its session.
pub(crate) fn error_at<F, K: FlowKey>(
    key: &K,
    came_by: PortId,
    view: View<'_>,
    own: &Own<F>,
) -> Option<Result<Toward, Fate>> {
    let local = view.tables.pools.find(key.destination())?;
    let toward = from_backend(key, local, came_by, view, own);
    Some(toward.map_err(|_| Fate::IcmpNoFlow))
}

/// Which other worker a flow that is not known here is of; `None` where it is this one's.
///
/// By the NIC's own hash where that is known, so that its packets come there; else by one of ours. What
/// was handed over stays.
pub(crate) fn other_owner<F, K: PathKey>(
    index: u8,
    key: &K,
    came_by: PortId,
    view: View<'_>,
    own: &Own<F>,
) -> Option<u8> {
    let workers = own.sessions.workers();
    if workers < 2 || usize::from(index) < own.times.len() {
        return None;
    }
    let steering = view.tables.stations.get(came_by).steering.as_deref();
    let is_ipv4 = key.source().is_ipv4();
    let steering = steering.filter(|it| it.hashes_ports(key.protocol(), is_ipv4));
    let hash = || {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of it do")]
        let hash = (K::Line::hash(&view.tables.entropy, key) >> 40) as u16;
        hash
    };
    let queue = |steering: &Steering| {
        let client = SocketAddr::new(key.source(), key.ports().source());
        let partial = steering.partial(client, key.destination());
        steering.queue(partial, key.ports().destination())
    };
    let owner = steering.map_or_else(hash, queue) % workers;
    let owner = u8::try_from(owner).ok()?;
    (owner != own.sessions.place()).then_some(owner)
}
