//! Frames leave: rewritten for their backend or its client, as answers, or not at all; then every packet's fate is
//! counted, and the affinities of those that were sent are extended.

use super::{
    Verdict, View,
    captured::{self, Seen},
    fragments,
};
use crate::{
    answer::{may_be_told, too_big},
    counters::Counters,
    fate::Fate,
    held::{Held, Waiting},
    port::{BURST, Burst, Frame, Port},
    probe::{Probe, Stage},
    rewrite::{Unfit, rewrite, rewrite_answer},
    tables::{
        Hop, Toward,
        affinity::CellId,
        backend::Way,
        id::{BackendId, PortId},
    },
    worker::Own,
};
use arrayvec::ArrayVec;

/// How often a full transmit queue is tried again before frames are dropped.
const TRIES: usize = 64;

/// What becomes of a frame that was to go on.
enum Sent {
    /// It is rewritten, for this port.
    By(PortId),
    /// The next hop's MAC address is not known yet.
    Unresolved,
    /// It cannot go.
    Not(Fate),
    /// It is longer than this many bytes, with its IP header.
    TooBig(u16),
}

/// Sends every frame of the burst that is to leave, after those that waited before, and counts all.
pub(crate) fn send_all<P: Port, W: Probe>(
    burst: &mut Burst<P::Frame>,
    port: PortId,
    view: View<'_>,
    own: &mut Own<P::Frame>,
    ports: &mut [P],
    probe: &mut W,
) {
    if !own.held.is_empty() {
        release_held(view, own, ports);
    }
    let count = burst.len();
    let mut leaving: ArrayVec<(u8, PortId), BURST> = ArrayVec::new();
    let mut bytes = 0;
    for (index, mut frame) in (0_u8..).zip(burst.drain(..)) {
        match own.findings.verdicts[usize::from(index)] {
            Verdict::To(toward) => match prepare(&mut frame, toward, port, view) {
                Sent::By(out) => {
                    if W::TAPS {
                        captured::leaves(index, out, Some(toward), &frame, own);
                    }
                    bytes += frame.bytes().len() as u64;
                    own.outgoing[out.index()].push(frame);
                    leaving.push((index, out));
                }
                Sent::Unresolved => {
                    let waiting = Waiting {
                        frame,
                        toward,
                        came_by: port,
                        extends: own.findings.extended_by(index),
                        since: view.now,
                    };
                    own.findings.decide(index, hold(waiting, &mut own.held));
                }
                Sent::Not(fate) => own.findings.decide(index, Verdict::Done(fate)),
                Sent::TooBig(mtu) => {
                    tell_too_big(frame, mtu, port, view, own, ports);
                    let verdict = Verdict::Done(Fate::PacketTooBig);
                    own.findings.decide(index, verdict);
                }
            },
            Verdict::Answer => {
                if W::TAPS {
                    captured::leaves(index, port, None, &frame, own);
                }
                own.outgoing[port.index()].push(frame);
                leaving.push((index, port));
            }
            Verdict::Early(l3) => {
                let verdict = fragments::hold(frame, l3, port, view, own);
                own.findings.decide(index, verdict);
            }
            Verdict::Held | Verdict::Done(_) => {}
        }
    }
    probe.ended(Stage::Rewrite);
    for out in crate::tables::port_ids(ports.len()) {
        let unsent = transmit(&mut ports[out.index()], &mut own.outgoing[out.index()]);
        let of_this = leaving.iter().rev().filter(|(_, by)| *by == out);
        for (index, _) in of_this.take(unsent) {
            own.findings
                .decide(*index, Verdict::Done(Fate::TransmitFull));
        }
    }
    probe.ended(Stage::Transmit);
    own.counters.forwarded_bytes.add(bytes);
    count_fates(count, own);
    if W::TAPS {
        captured::settled(count, view, own);
    }
    extend(view, own);
    probe.ended(Stage::Count);
}

/// Sends what the queue takes within a bounded number of tries; drops and counts the rest.
fn transmit<P: Port>(port: &mut P, frames: &mut Burst<P::Frame>) -> usize {
    for _ in 0..TRIES {
        if frames.is_empty() {
            return 0;
        }
        port.transmit(frames);
    }
    let unsent = frames.len();
    frames.clear();
    unsent
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "measured: a call for each packet costs more"
)]
fn prepare<F: Frame>(frame: &mut F, toward: Toward, came_by: PortId, view: View<'_>) -> Sent {
    match toward {
        Toward::Backend(backend) => prepare_packet(frame, backend, came_by, view),
        Toward::Client(backend) => prepare_answer(frame, backend, came_by, view),
    }
}

#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "measured: a call for each packet costs more"
)]
fn prepare_packet<F: Frame>(
    frame: &mut F,
    backend: BackendId,
    came_by: PortId,
    view: View<'_>,
) -> Sent {
    let Some(backend) = view.tables.backend(backend) else {
        return Sent::Not(Fate::BackendDown);
    };
    let Some(destination) = view.tables.neighbours.get(backend.neighbour).mac() else {
        return Sent::Unresolved;
    };
    let done = rewrite(frame, backend, destination, came_by, view.tables);
    sent(done, backend.port)
}

/// The same of what a backend answers through NAT. One that was removed meanwhile, or has another way,
/// is no backend of a service any more.
fn prepare_answer<F: Frame>(
    frame: &mut F,
    backend: BackendId,
    came_by: PortId,
    view: View<'_>,
) -> Sent {
    let way = view.tables.backend(backend).map(|it| it.way);
    let Some(Way::Nat(id)) = way else {
        return Sent::Not(Fate::NoService);
    };
    let translation = view.tables.translation(id);
    let Hop { neighbour, port } = translation.exit;
    let Some(destination) = view.tables.neighbours.get(neighbour).mac() else {
        return Sent::Unresolved;
    };
    let done = rewrite_answer(frame, translation, destination, came_by, view.tables);
    sent(done, port)
}

#[inline]
fn sent(done: Result<(), Unfit>, by: PortId) -> Sent {
    match done {
        Ok(()) => Sent::By(by),
        Err(Unfit::NoRoom) => Sent::Not(Fate::NoRoom),
        Err(Unfit::OutOfHops) => Sent::Not(Fate::OutOfHops),
        Err(Unfit::TooBig(mtu)) => Sent::TooBig(mtu),
    }
}

/// Tells the sender of a packet that is too big how long it may be, as far as it is allowed.
#[cold]
fn tell_too_big<P: Port>(
    mut frame: P::Frame,
    mtu: u16,
    port: PortId,
    view: View<'_>,
    own: &mut Own<P::Frame>,
    ports: &mut [P],
) {
    let mac = view.tables.stations.get(port).spec.mac;
    if may_be_told(frame.bytes()) && own.errors.take(view.now) && too_big(&mut frame, mac, mtu) {
        let seen = captured::originated(own.tap.as_deref_mut(), port, &frame);
        own.alone.push(frame);
        ports[port.index()].transmit(&mut own.alone);
        captured::has_left(seen.filter(|_| own.alone.is_empty()), view);
        let sent = 1 - own.alone.len() as u64;
        own.counters.originated.add(sent);
        own.counters.told_too_big.add(sent);
        own.alone.clear();
    }
}

fn hold<F>(waiting: Waiting<F>, held: &mut Held<F>) -> Verdict {
    match held.hold(waiting) {
        Ok(()) => Verdict::Held,
        Err(_) => Verdict::Done(Fate::HoldFull),
    }
}

fn count_fates<F>(count: usize, own: &mut Own<F>) {
    let counters = &own.counters;
    let (mut forwarded, mut returned) = (0, 0);
    for verdict in &own.findings.verdicts[..count] {
        match verdict {
            Verdict::To(Toward::Backend(_)) => forwarded += 1,
            Verdict::To(Toward::Client(_)) => returned += 1,
            Verdict::Answer => {
                counters.fate(Fate::Answered, 1);
                counters.originated.add(1);
            }
            Verdict::Held | Verdict::Early(_) => {}
            Verdict::Done(fate) => counters.fate(*fate, 1),
        }
    }
    counters.fate(Fate::Forwarded, forwarded);
    counters.fate(Fate::Returned, returned);
    own.count_held();
}

/// Extends the affinities of packets that were sent, not of those that were dropped or wait
/// (contract rule T2).
fn extend<F>(view: View<'_>, own: &mut Own<F>) {
    for (index, cell) in &own.findings.refreshes {
        let verdict = own.findings.verdicts[usize::from(*index)];
        if matches!(verdict, Verdict::To(_)) {
            refresh(*cell, view, &own.counters);
        }
    }
}

fn refresh(cell: CellId, view: View<'_>, counters: &Counters) {
    let CellId { generation, .. } = cell;
    view.affinities.cell(cell).refresh(generation, view.now);
    counters.refreshes.add(1);
}

/// Sends the frames that were held for what is resolved by now, and drops those that waited too
/// long.
pub(crate) fn release_held<P: Port>(view: View<'_>, own: &mut Own<P::Frame>, ports: &mut [P]) {
    let resolved = |toward: Toward| {
        let hop = view.tables.hop(toward);
        hop.is_none_or(|it| view.tables.neighbours.get(it.neighbour).mac().is_some())
    };
    let (counters, alone, tap) = (&own.counters, &mut own.alone, &mut own.tap);
    own.held.release(
        |it| it.is_late(view.now) || resolved(it.toward),
        |it| {
            let (toward, came_by) = (it.toward, it.came_by);
            let mut seen = captured::waited(tap.as_deref_mut(), came_by, Some(toward), &it.frame);
            let left = send_alone(
                it.frame, toward, came_by, view, alone, counters, ports, &mut seen,
            );
            let fate = match left {
                Left::Met(fate) => fate,
                Left::Unresolved(_) => Fate::NeighbourUnresolved,
            };
            if let Some(seen) = seen {
                seen.met(fate, view);
            }
            if fate == Fate::Forwarded {
                let extends = it.extends.iter();
                extends.for_each(|cell| refresh(*cell, view, counters));
            }
            counters.fate(fate, 1);
        },
    );
    own.count_held();
}

/// What became of a frame that was to leave by itself.
pub(crate) enum Left<F> {
    /// It met this fate, which is to be counted.
    Met(Fate),
    /// The next hop's MAC address is not known: here is the frame.
    Unresolved(F),
}

/// Sends a single frame on. Where it is too big, nobody is told: its sender sends others.
#[expect(clippy::too_many_arguments, reason = "what a burst has in its own")]
pub(crate) fn send_alone<P: Port>(
    mut frame: P::Frame,
    toward: Toward,
    came_by: PortId,
    view: View<'_>,
    alone: &mut Burst<P::Frame>,
    counters: &Counters,
    ports: &mut [P],
    seen: &mut Option<Seen<'_>>,
) -> Left<P::Frame> {
    let out = match prepare(&mut frame, toward, came_by, view) {
        Sent::By(out) => out,
        Sent::Unresolved => return Left::Unresolved(frame),
        Sent::Not(fate) => return Left::Met(fate),
        Sent::TooBig(_) => return Left::Met(Fate::PacketTooBig),
    };
    if let Some(seen) = seen {
        seen.leaves(out, &frame);
    }
    counters.forwarded_bytes.add(frame.bytes().len() as u64);
    alone.push(frame);
    Left::Met(match transmit(&mut ports[out.index()], alone) {
        0 => captured::fate_of(toward),
        _ => Fate::TransmitFull,
    })
}
