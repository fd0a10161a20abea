//! Known flows: each packet follows its flow (contract rule R1).

use super::{Entry, FamilyLanes, Findings, Lane, Verdict, View, path::PathKey};
use crate::{
    flow_table::{Flow, FlowTable, Place, Placement, Settled, TcpEvent},
    key::{FlowKey, Protocol},
    tables::{Toward, id::BackendId},
    worker::Own,
};

/// Sends the packets of live flows after their flows; leaves the others in the lane of new ones. Their
/// lines were asked for while the burst was parsed.
///
/// First those of settled flows in their first lines, which are nearly all, in a loop that has nothing
/// else to do; then the others, whose further lines are asked for meanwhile.
pub(crate) fn known_flows<F, K: PathKey>(
    lanes: &mut FamilyLanes<K>,
    view: View<'_>,
    own: &mut Own<F>,
) {
    lanes.beyond.clear();
    lanes.new.clear();
    let flows = K::flows(&mut own.flows);
    let settled = Settled::at(view.tick);
    let mut resets = Resets::default();
    for entry in &lanes.all {
        match settled_backend(entry, settled, flows, view) {
            Some(backend) if !resets.may_be_before(entry.hash) => {
                let verdict = Verdict::To(Toward::Backend(backend));
                own.findings.decide(entry.index, verdict);
            }
            _ => {
                resets.note(entry);
                lanes.beyond.push(*entry);
            }
        }
    }
    follow_changing(lanes, flows, view, &mut own.findings);
}

/// The same for packets that may change their flows, or whose flows are elsewhere or nowhere.
fn follow_changing<K: PathKey>(
    lanes: &mut FamilyLanes<K>,
    flows: &mut FlowTable<K::Line>,
    view: View<'_>,
    findings: &mut Findings,
) {
    let new = &mut lanes.new;
    lanes.beyond.retain(|entry| {
        let place = flows.find_home(entry.hash, &entry.key);
        if let Some(place) = place {
            follow_to(place, entry, flows, view, findings, new);
        } else {
            flows.prefetch_beyond(entry.hash);
        }
        place.is_none()
    });
    for entry in &lanes.beyond {
        match flows.find_beyond(entry.hash, &entry.key) {
            Some(place) => follow_to(place, entry, flows, view, findings, new),
            None => new.push(*entry),
        }
    }
}

/// The flows that a burst resets, by some bits of their hashes. A packet after the reset does change its
/// flow: it shows that another has sent the reset.
#[derive(Default)]
struct Resets(u64);

impl Resets {
    fn note<K: PathKey>(&mut self, entry: &Entry<K>) {
        if event_of(entry) == TcpEvent::Rst {
            self.0 |= 1 << (entry.hash >> 58);
        }
    }

    #[inline]
    fn may_be_before(&self, hash: u64) -> bool {
        self.0 != 0 && self.0 >> (hash >> 58) & 1 != 0
    }
}

/// The backend of a packet that changes nothing.
#[inline]
fn settled_backend<K: PathKey>(
    entry: &Entry<K>,
    settled: Settled,
    flows: &FlowTable<K::Line>,
    view: View<'_>,
) -> Option<BackendId> {
    if !TcpEvent::is_other(entry.tcp_flags) {
        return None;
    }
    let flow = flows.settled(entry.hash, &entry.key, settled)?;
    let backend = view.tables.backend(flow.backend())?;
    backend.state.keeps_flows().then(|| flow.backend())
}

/// Sends a packet after the flow at a place, or to the new ones where it cannot follow that.
fn follow_to<K: PathKey>(
    place: Place,
    entry: &Entry<K>,
    flows: &mut FlowTable<K::Line>,
    view: View<'_>,
    findings: &mut Findings,
    new: &mut Lane<K>,
) {
    let Some((flow, place)) = follow(flows, place, entry, view) else {
        return new.push(Entry {
            is_known: true,
            ..*entry
        });
    };
    findings.decide(entry.index, Verdict::To(Toward::Backend(flow.backend())));
    note_refresh(flows, place, flow, entry.index, view, findings);
}

/// The flow before this packet, if it lives; it then has seen the packet.
pub(crate) fn follow<K: PathKey>(
    flows: &mut FlowTable<K::Line>,
    place: Place,
    packet: &Entry<K>,
    view: View<'_>,
) -> Option<(Flow, Place)> {
    let flow = flows.get(place);
    let backend = view.tables.backend(flow.backend())?;
    let event = event_of(packet);
    if !backend.state.keeps_flows() || (event == TcpEvent::Syn && flow.is_over()) {
        return None;
    }
    let after = flow.after(event, view.tick);
    if after != flow {
        flows.set(place, after);
    }
    Some((flow, place))
}

/// What a packet means for its flow; a UDP datagram means nothing in particular.
#[inline]
pub(crate) fn event_of<K: FlowKey>(packet: &Entry<K>) -> TcpEvent {
    match packet.key.protocol() {
        Protocol::Tcp => TcpEvent::of(packet.tcp_flags),
        Protocol::Udp => TcpEvent::Other,
    }
}

/// Notes that the packet extends the affinity that placed its flow: once per second and flow, or
/// with every packet where the affinity is short (contract rules T2 and T7).
#[inline]
pub(crate) fn note_refresh<L: crate::flow_table::Line>(
    flows: &FlowTable<L>,
    place: Place,
    before: Flow,
    index: u8,
    view: View<'_>,
    findings: &mut Findings,
) {
    let due = match before.placement() {
        Placement::Scheduler | Placement::Affinity => false,
        Placement::AffinityRefreshed => before.seen() != view.tick,
        Placement::AffinityRefreshedOften => true,
    };
    let extends = || {
        let backend = view.tables.backend(before.backend());
        backend.is_some_and(|it| it.state.extends_affinities())
    };
    if due && extends() {
        findings.refreshes.push((index, flows.cell(place)));
    }
}
