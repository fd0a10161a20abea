//! Known flows: each packet follows its flow (contract rule R1).

use super::{Entry, Findings, Lane, Verdict, View, path::PathKey};
use crate::{
    flow_table::{Flow, FlowTable, Place, Placement, TcpEvent},
    key::Protocol,
    parse::Packet,
    tables::Toward,
    worker::Own,
};

/// The packets of a burst whose flows have to be placed.
pub(crate) type NewFlows<K> = Lane<K>;

/// Sends the packets of live flows after their flows; returns the others. Their lines were asked for
/// while the burst was parsed.
///
/// First those that are in their first lines, then the others, whose lines are asked for meanwhile.
pub(crate) fn known_flows<F, K: PathKey>(
    lane: &Lane<K>,
    view: View<'_>,
    own: &mut Own<F>,
) -> NewFlows<K> {
    let mut others = Lane::new();
    let flows = K::flows(&mut own.flows);
    for entry in lane {
        let place = flows.find_home(entry.hash, &entry.packet.key);
        if !follow_to(place, entry, flows, view, &mut own.findings) {
            flows.prefetch_beyond(entry.hash);
            others.push(*entry);
        }
    }
    let mut new = NewFlows::new();
    for entry in &others {
        let place = flows.find_beyond(entry.hash, &entry.packet.key);
        if !follow_to(place, entry, flows, view, &mut own.findings) {
            new.push(*entry);
        }
    }
    new
}

/// Sends a packet after the flow at a place; false where there is none that it can follow.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "measured: a call for each packet costs more"
)]
fn follow_to<K: PathKey>(
    place: Option<Place>,
    entry: &Entry<K>,
    flows: &mut FlowTable<K::Line>,
    view: View<'_>,
    findings: &mut Findings,
) -> bool {
    let followed = place.and_then(|place| follow(flows, place, &entry.packet, view));
    let Some((flow, place)) = followed else {
        return false;
    };
    findings.decide(entry.index, Verdict::To(Toward::Backend(flow.backend())));
    note_refresh(flows, place, flow, entry.index, view, findings);
    true
}

/// The flow before this packet, if it lives; it then has seen the packet.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "measured: a call for each packet costs more"
)]
pub(crate) fn follow<K: PathKey>(
    flows: &mut FlowTable<K::Line>,
    place: Place,
    packet: &Packet<K>,
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
pub(crate) fn event_of<K: PathKey>(packet: &Packet<K>) -> TcpEvent {
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
