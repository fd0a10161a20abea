//! New flows: an affinity decides, or the scheduler does (contract rules R2 and R3), within the limits
//! of the service.

use super::{
    Entry, Lane, Verdict, View, admit,
    follow::{self, event_of},
    fullnat,
    path::PathKey,
    reply,
};
use crate::{
    capture::Rule,
    classify::{service_of, taken_by},
    counters::Counters,
    fate::Fate,
    flow_table::{Flow, Gone, Inserted, Place, Placement, TcpEvent, Tick},
    key::Protocol,
    port::BURST,
    sessions::{SessionId, Sessions},
    tables::{
        Tables, Toward,
        affinity::{AffinityTable, CellId, Hit, Hits},
        backend::BackendState,
        id::{BackendId, PortId},
        service::{Forward, OnBackendDown, Refresh, Service},
    },
    worker::Own,
};
use arrayvec::ArrayVec;

/// How long a flow of a backend that was removed is remembered, in seconds: as long as its packets may
/// have to be dropped.
const REMOVED_S: u32 = 60;

/// Who gets a new flow, and by whose decision.
#[derive(Clone, Copy, Debug)]
struct Choice {
    backend: BackendId,
    placement: Placement,
    cell: Option<CellId>,
}

/// A new flow with its service.
type Candidates<'a, K> = ArrayVec<(Entry<K>, &'a Service), BURST>;

/// Places the flows of these packets.
pub(crate) fn new_flows<F, K: PathKey>(
    new: &Lane<K>,
    came_by: PortId,
    view: View<'_>,
    own: &mut Own<F>,
) {
    if new.is_empty() {
        return;
    }
    let candidates = classify_all(new, came_by, view, own);
    let hits = affinities_of(&candidates, view);
    ask_for_cells(&candidates, &hits, view.affinities, own);
    let mut burst = Effects::default();
    for ((new, service), hit) in candidates.iter().zip(&hits) {
        let verdict = place(new, service, *hit, view, own, &mut burst);
        let verdict = verdict.map(Toward::Backend);
        own.findings
            .decide(new.index, verdict.map_or_else(Verdict::Done, Verdict::To));
    }
    for gone in &burst.gone {
        account_gone(*gone, view.affinities, &own.counters, &mut own.sessions);
    }
}

/// Asks for the cells of the affinities that place flows, and for where flows remember them.
fn ask_for_cells<F, K: PathKey>(
    candidates: &Candidates<'_, K>,
    hits: &Hits,
    affinities: &AffinityTable,
    own: &Own<F>,
) {
    let flows = K::table(&own.flows);
    for ((new, _), hit) in candidates.iter().zip(hits) {
        if let Some(hit) = hit {
            affinities.prefetch_cell(hit.cell());
            flows.prefetch_cells(new.hash);
        }
    }
}

/// What the new flows of a burst do to others.
#[derive(Default)]
struct Effects {
    placed: Placed,
    /// Flows that had to go, to be counted when the lines of their affinities have come.
    gone: ArrayVec<Gone, BURST>,
}

fn classify_all<'a, F, K: PathKey>(
    new: &Lane<K>,
    came_by: PortId,
    view: View<'a>,
    own: &mut Own<F>,
) -> Candidates<'a, K> {
    let mut candidates = Candidates::new();
    let mut last = None;
    for new in new {
        let service = addressed_by(&new.key, view.tables, &mut last);
        match service.and_then(|it| taken_by(it, &new.key, view.tables)) {
            Ok(service) => match owner_of_session(new, service, came_by, view, own) {
                Some(owner) => {
                    let verdict = Verdict::To(Toward::Worker(owner));
                    own.findings.decide(new.index, verdict);
                }
                None => candidates.push((*new, service)),
            },
            Err(Fate::NoService) => {
                let answers = reply::answers(&new.key, came_by, view);
                let verdict = answers.map_or_else(Verdict::Done, Verdict::To);
                own.findings.decide(new.index, verdict);
            }
            Err(fate) => own.findings.decide(new.index, Verdict::Done(fate)),
        }
    }
    candidates
}

/// The service that a packet addresses, which is often that of the last one.
#[inline]
fn addressed_by<'a, K: PathKey>(
    key: &K,
    tables: &'a Tables,
    last: &mut Option<(K, &'a Service)>,
) -> Result<&'a Service, Fate> {
    if let Some((other, service)) = last
        && key.addresses_as(other)
    {
        return Ok(service);
    }
    let service = service_of(key, tables)?;
    *last = Some((*key, service));
    Ok(service)
}

/// The other worker that has the session of a flow through full NAT, or is to open it.
fn owner_of_session<F, K: PathKey>(
    new: &Entry<K>,
    service: &Service,
    came_by: PortId,
    view: View<'_>,
    own: &Own<F>,
) -> Option<u8> {
    // One that is known here, and cannot be followed, is this worker's to place (contract rule R9).
    if service.spec.forward != Forward::Fullnat || new.is_known {
        return None;
    }
    fullnat::other_owner(new.index, &new.key, came_by, view, own)
}

/// The affinity of each candidate; of a service whose switch is off, none.
fn affinities_of<K: PathKey>(candidates: &Candidates<'_, K>, view: View<'_>) -> Hits {
    let queries: ArrayVec<_, BURST> = candidates
        .iter()
        .map(|(new, service)| new.key.query(service.spec.id))
        .collect();
    let mut hits = Hits::new();
    K::lookup(view.affinities, view.guard, view.now, &queries, &mut hits);
    for (hit, (_, service)) in hits.iter_mut().zip(candidates) {
        if !service.spec.affinity {
            *hit = None;
        }
    }
    hits
}

/// Flows that a burst has placed, by some bits of their hashes: most new flows are in nobody's way.
#[derive(Default)]
struct Placed(u64);

impl Placed {
    /// Whether a flow with this hash may be among them.
    fn may_hold(&self, hash: u64) -> bool {
        self.0 >> (hash >> 58) & 1 != 0
    }

    fn note(&mut self, hash: u64) {
        self.0 |= 1 << (hash >> 58);
    }
}

/// Places one flow, unless an earlier packet of this burst has placed it.
fn place<F, K: PathKey>(
    new: &Entry<K>,
    service: &Service,
    hit: Option<Hit>,
    view: View<'_>,
    own: &mut Own<F>,
    burst: &mut Effects,
) -> Result<BackendId, Fate> {
    let packet = new;
    let flows = K::flows(&mut own.flows);
    let known = if new.is_known || burst.placed.may_hold(new.hash) {
        flows.find(new.hash, &packet.key)
    } else {
        None
    };
    if let Some(place) = known {
        if let Some((flow, place)) = follow::follow(flows, place, packet, view) {
            follow::note_refresh(flows, place, flow, new.index, view, &mut own.findings);
            own.decided_by(new.index, Rule::Flow);
            return Ok(flow.backend());
        }
        if drops_mid_stream(packet, flows.get(place), service, view.tables) {
            return Err(Fate::BackendDown);
        }
    }
    // A flow that has to move is not a new one.
    let is_new = known.is_none() || event_of(packet) == TcpEvent::Syn;
    if is_new {
        admit::of_source(packet.key.source(), service, &mut own.rates, view.now)?;
    }
    let choice = if let Some(choice) = owner(service, hit, view, own)? {
        choice
    } else {
        if is_new {
            admit::to_service(service, &mut own.rates, view.now)?;
        }
        scheduled(&packet.key, service, own)?
    };
    if let Some(place) = known {
        forget::<F, K>(place, view, own);
    }
    burst.placed.note(new.hash);
    burst.gone.extend(remember(new, service, choice, view, own));
    let rule = choice.cell.map_or(Rule::Scheduler, Rule::Affinity);
    own.decided_by(new.index, rule);
    Ok(choice.backend)
}

/// Whether a packet from the middle of a connection whose backend is down or removed is to be dropped
/// (contract rule R9); a SYN opens a new flow in any case. The flow stays: it goes on with its
/// backend.
fn drops_mid_stream<K: PathKey>(
    packet: &Entry<K>,
    flow: Flow,
    service: &Service,
    tables: &Tables,
) -> bool {
    let opens = packet.key.protocol() == Protocol::Udp || event_of(packet) == TcpEvent::Syn;
    let down = tables
        .backend(flow.backend())
        .is_none_or(|it| it.state == BackendState::Down);
    !opens && down && service.spec.on_backend_down == OnBackendDown::Drop
}

/// The affinity's owner, if there is one that takes it.
fn owner<F>(
    service: &Service,
    hit: Option<Hit>,
    view: View<'_>,
    own: &Own<F>,
) -> Result<Option<Choice>, Fate> {
    if let Some(hit) = hit {
        match view.tables.backend(hit.owner()).map(|it| it.state) {
            Some(state) if state.takes_affinities() => {
                return Ok(Some(by_affinity(hit, service, view.affinities)));
            }
            Some(BackendState::Down) if service.spec.on_backend_down == OnBackendDown::Drop => {
                return Err(Fate::BackendDown);
            }
            Some(BackendState::Down) => own.counters.fallback_down.add(1),
            Some(_) => own.counters.fallback_disabled.add(1),
            None => own.counters.fallback_removed.add(1),
        }
    }
    Ok(None)
}

/// The scheduler's choice.
fn scheduled<F, K: PathKey>(key: &K, service: &Service, own: &mut Own<F>) -> Result<Choice, Fate> {
    let turn = &mut own.turns[service.spec.id.index()];
    let flows = |backend| own.counters.backend_flows(backend).get();
    let chosen = service.slots.choose(key, turn, flows);
    let (_, backend) = chosen.ok_or(Fate::NoBackend)?;
    Ok(Choice {
        backend,
        placement: Placement::Scheduler,
        cell: None,
    })
}

fn by_affinity(hit: Hit, service: &Service, affinities: &AffinityTable) -> Choice {
    let cell = affinities.cell_of(hit);
    let short = affinities.cell(cell).is_short();
    let placement = match service.spec.refresh {
        Refresh::Packet if short => Placement::AffinityRefreshedOften,
        Refresh::Packet => Placement::AffinityRefreshed,
        Refresh::Connection | Refresh::Never => Placement::Affinity,
    };
    Choice {
        backend: hit.owner(),
        placement,
        cell: Some(cell),
    }
}

/// Remembers the flow, where it is one that goes on, and counts it; tells of the one that had to go for
/// it, whose affinity's line is asked for.
fn remember<F, K: PathKey>(
    new: &Entry<K>,
    service: &Service,
    choice: Choice,
    view: View<'_>,
    own: &mut Own<F>,
) -> Option<Gone> {
    let event = event_of(new);
    if matches!(event, TcpEvent::Rst | TcpEvent::Fin) {
        return None;
    }
    let key = &new.key;
    let flow = Flow::opened(key.protocol(), choice.backend, choice.placement, view.tick);
    let sessions = &own.sessions;
    let expired = |flow: Flow, session| is_expired(flow, session, sessions, view.tables, view.tick);
    let flows = K::flows(&mut own.flows);
    let inserted = flows.insert(new.hash, key, flow, choice.cell, expired);
    let remembered = inserted != Inserted::NoPlace;
    let counters = &own.counters;
    let gone = match inserted {
        Inserted::InsteadOf(_, gone) => Some(gone),
        Inserted::Free(_) | Inserted::NoPlace => None,
    };
    if let Some(cell) = gone.and_then(|gone| gone.cell) {
        view.affinities.prefetch_cell(cell.index);
    }
    counters
        .backend_flows(choice.backend)
        .add(u64::from(remembered));
    counters.flows_unremembered.add(u64::from(!remembered));
    match choice.cell {
        None => counters.flows_by_scheduler.add(1),
        Some(cell) => {
            counters.flows_by_affinity.add(1);
            view.affinities.cell(cell).placed(remembered, view.now);
            let owner = view.tables.backend(choice.backend);
            let extends = owner.is_some_and(|it| it.state.extends_affinities());
            if extends && service.spec.refresh != Refresh::Never {
                own.findings.refreshes.push((new.index, cell));
            }
        }
    }
    gone
}

/// Whether a flow has not been seen for longer than its state and service allow; nor, with full NAT,
/// its backend heard.
#[inline]
pub(crate) fn is_expired(
    flow: Flow,
    session: Option<SessionId>,
    sessions: &Sessions,
    tables: &Tables,
    now: Tick,
) -> bool {
    // Most need no look at their service.
    !flow.is_fresh(now) && has_timed_out(flow, session, sessions, tables, now)
}

/// The same of a flow that was not seen for a while.
fn has_timed_out(
    flow: Flow,
    session: Option<SessionId>,
    sessions: &Sessions,
    tables: &Tables,
    now: Tick,
) -> bool {
    let service = tables
        .backend(flow.backend())
        .and_then(|backend| tables.services.get(backend.service));
    let flow_timeout_s = service.map_or(REMOVED_S, |service| service.spec.flow_timeout_s);
    let timeout_s = flow.timeout_s(flow_timeout_s);
    if now.since(flow.seen()) <= timeout_s {
        return false;
    }
    let session = session.and_then(|id| sessions.get(id));
    session.is_none_or(|session| now.since(session.heard()) > timeout_s)
}

/// Forgets a flow that cannot be followed any more and has another place to go.
fn forget<F, K: PathKey>(place: Place, view: View<'_>, own: &mut Own<F>) {
    if let Some(gone) = K::flows(&mut own.flows).remove(place) {
        let moved = !gone.flow.is_over();
        own.counters.flows_moved.add(u64::from(moved));
        let_go(gone, view.affinities, &own.counters, &mut own.sessions);
    }
}

/// Counts a flow that timed out or had to go.
pub(crate) fn account_gone(
    gone: Gone,
    affinities: &AffinityTable,
    counters: &Counters,
    sessions: &mut Sessions,
) {
    let_go(gone, affinities, counters, sessions);
    if gone.evicted {
        counters.flows_evicted.add(1);
    } else {
        counters.flows_expired.add(1);
    }
}

/// Takes a flow off the counts of those that live, and ends its session.
fn let_go(gone: Gone, affinities: &AffinityTable, counters: &Counters, sessions: &mut Sessions) {
    if let Some(session) = gone.session {
        sessions.close(session);
    }
    counters.backend_flows(gone.flow.backend()).subtract(1);
    if let Some(cell) = gone.cell {
        affinities.cell(cell).flow_gone(cell.generation);
    }
}
