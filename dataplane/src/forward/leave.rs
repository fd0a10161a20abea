//! Frames leave: rewritten for their backend or its client, as answers, or not at all; then every packet's fate is
//! counted, and the affinities of those that were sent are extended.

use super::{
    Verdict, View,
    captured::{self, Seen},
    fragments, proxied,
};
use crate::{
    answer::{may_be_told, too_big},
    counters::Counters,
    exchange::Exchange,
    fate::Fate,
    held::{Held, Waiting},
    port::{BURST, Burst, Frame, Port},
    probe::{Probe, Stage},
    rewrite::{Exit, Unfit, link, mtu, rewrite, rewrite_answer, rewrite_both},
    sessions::{SessionId, Sessions},
    tables::{
        Hop, Tables, Toward, Translation,
        affinity::CellId,
        backend::{Backend, Way},
        id::{BackendId, PortId},
    },
    worker::Own,
};
use arrayvec::ArrayVec;
use std::net::SocketAddr;

/// How often a full transmit queue is tried again before frames are dropped.
const TRIES: usize = 64;

/// What becomes of a frame that was to go on.
#[derive(Clone, Copy, Debug)]
enum Sent {
    /// It is rewritten, for this port.
    By(PortId),
    /// The next hop's MAC address is not known yet.
    Unresolved,
    /// It is for this worker to decide.
    Over(u8),
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
    let alike = readdress_alike(burst, port, view, own);
    probe.ended(Stage::Rewrite);
    own.counters.forwarded_bytes.add(alike.bytes);
    if let Some(exit) = alike.exit.filter(|_| alike.count == count) {
        if W::TAPS {
            captured::leave_alike(burst, exit.by, own);
        }
        offer(&mut ports[exit.by.index()], burst);
        let unsent = burst.len();
        if W::TAPS {
            captured::stay(burst, count - unsent, own);
        }
        burst.clear();
        for verdict in &mut own.findings.verdicts[count - unsent..count] {
            *verdict = Verdict::Done(Fate::TransmitFull);
        }
        probe.ended(Stage::Transmit);
        own.counters.fate(Fate::Forwarded, (count - unsent) as u64);
        own.counters.fate(Fate::TransmitFull, unsent as u64);
    } else {
        if W::TAPS {
            captured::stay(burst, 0, own);
        }
        part::<P, W>(burst, &alike, port, view, own, ports);
        probe.ended(Stage::Transmit);
        count_fates(count, own);
    }
    own.count_held();
    if W::TAPS {
        captured::settled(view, own);
    }
    extend(view, own);
    probe.ended(Stage::Count);
}

/// The frames at the front of a burst that leave alike; mostly all do.
struct Alike {
    /// How many there are.
    count: usize,
    /// How they leave.
    exit: Option<Exit>,
    bytes: u64,
}

/// Rewrites packets for backends on a link, from the first of the burst on, up to one that leaves in
/// another way or by another port. With what nearly all bursts are made of, this is all there is to do.
fn readdress_alike<F: Frame>(
    burst: &mut Burst<F>,
    came_by: PortId,
    view: View<'_>,
    own: &Own<F>,
) -> Alike {
    let tables = view.tables;
    let (mut exit, mut bytes, mut count) = (None, 0, 0);
    for (frame, verdict) in burst.iter_mut().zip(&own.findings.verdicts) {
        let Some((backend, destination)) = linked(*verdict, tables) else {
            break;
        };
        let known = exit.or_else(|| Exit::new(backend.port, came_by, tables));
        let Some(known) = known.filter(|it| it.by == backend.port) else {
            break;
        };
        if !known.readdress(frame, destination) {
            break;
        }
        exit = Some(known);
        bytes += frame.bytes().len() as u64;
        count += 1;
    }
    Alike { count, exit, bytes }
}

/// The backend that a packet goes to directly, and its MAC address as a word.
#[inline]
fn linked(verdict: Verdict, tables: &Tables) -> Option<(&Backend, u64)> {
    let Verdict::To(Toward::Backend(id)) = verdict else {
        return None;
    };
    let backend = tables.backend(id).filter(|it| it.way == Way::Direct)?;
    let neighbour = tables.neighbours.get(backend.neighbour);
    Some((backend, neighbour.mac_word()?))
}

/// Parts a burst: by the ports that its frames leave by, those that wait, and the rest.
#[inline(never)]
fn part<P: Port, W: Probe>(
    burst: &mut Burst<P::Frame>,
    alike: &Alike,
    port: PortId,
    view: View<'_>,
    own: &mut Own<P::Frame>,
    ports: &mut [P],
) {
    let mut leaving: ArrayVec<(u8, PortId), BURST> = ArrayVec::new();
    let mut bytes = 0;
    for (index, mut frame) in (0_u8..).zip(burst.drain(..)) {
        let sent = match (own.findings.verdict(index), alike.exit) {
            (_, Some(exit)) if usize::from(index) < alike.count => Sent::By(exit.by),
            (Verdict::To(toward), _) => {
                let sent = prepare(&mut frame, toward, port, view, &mut own.sessions);
                let leaves = u64::from(matches!(sent, Sent::By(_)));
                bytes += leaves * frame.bytes().len() as u64;
                sent
            }
            (Verdict::Answer, _) => Sent::By(port),
            (Verdict::Early(_) | Verdict::Held | Verdict::Handed | Verdict::Done(_), _) => {
                Sent::Unresolved
            }
        };
        if let Sent::By(out) = sent {
            if W::TAPS {
                captured::leaves(index, out, own.findings.verdict(index), &frame, own);
            }
            own.outgoing[out.index()].push(frame);
            leaving.push((index, out));
        } else {
            set_aside(frame, index, sent, port, view, own, ports);
        }
    }
    own.counters.forwarded_bytes.add(bytes);
    transmit_parts(&leaving, own, ports);
}

/// Sends what was parted by ports.
fn transmit_parts<P: Port>(leaving: &[(u8, PortId)], own: &mut Own<P::Frame>, ports: &mut [P]) {
    for out in crate::tables::port_ids(ports.len()) {
        let unsent = transmit(&mut ports[out.index()], &mut own.outgoing[out.index()]);
        let of_this = leaving.iter().rev().filter(|(_, by)| *by == out);
        for (index, _) in of_this.take(unsent) {
            own.findings
                .decide(*index, Verdict::Done(Fate::TransmitFull));
        }
    }
}

/// Decides about a frame that does not leave now.
fn set_aside<P: Port>(
    frame: P::Frame,
    index: u8,
    sent: Sent,
    port: PortId,
    view: View<'_>,
    own: &mut Own<P::Frame>,
    ports: &mut [P],
) {
    let verdict = match (own.findings.verdict(index), sent) {
        (Verdict::To(toward), Sent::Unresolved) => {
            let waiting = Waiting {
                frame,
                toward,
                came_by: port,
                extends: own.findings.extended_by(index),
                since: view.now,
            };
            hold(waiting, &mut own.held)
        }
        (Verdict::To(_), Sent::Not(fate)) => Verdict::Done(fate),
        (Verdict::To(_), Sent::Over(worker)) => {
            let times = own.times.get(usize::from(index)).copied().unwrap_or(0);
            let (counters, exchange) = (&own.counters, own.exchange.as_deref());
            let given = hand_over(frame, worker, port, times, counters, exchange);
            given.map_or_else(Verdict::Done, |()| Verdict::Handed)
        }
        (Verdict::To(_), Sent::TooBig(mtu)) => {
            tell_too_big(frame, mtu, port, view, own, ports);
            Verdict::Done(Fate::PacketTooBig)
        }
        (Verdict::Early(l3), _) => fragments::hold(frame, l3, port, view, own),
        // A frame that leaves is not set aside; of the others the verdict stands.
        (verdict, _) => verdict,
    };
    own.findings.decide(index, verdict);
}

/// Sends what the queue takes within a bounded number of tries; drops and counts the rest.
pub(super) fn transmit<P: Port>(port: &mut P, frames: &mut Burst<P::Frame>) -> usize {
    offer(port, frames);
    let unsent = frames.len();
    frames.clear();
    unsent
}

/// Sends what the queue takes within a bounded number of tries, and leaves the rest.
#[inline]
fn offer<P: Port>(port: &mut P, frames: &mut Burst<P::Frame>) {
    for _ in 0..TRIES {
        if frames.is_empty() {
            return;
        }
        port.transmit(frames);
    }
}

#[inline(never)]
fn prepare<F: Frame>(
    frame: &mut F,
    toward: Toward,
    came_by: PortId,
    view: View<'_>,
    sessions: &mut Sessions,
) -> Sent {
    match toward {
        Toward::Backend(backend) => prepare_packet(frame, backend, came_by, view),
        Toward::Client(backend) => prepare_answer(frame, backend, came_by, view),
        Toward::BackendBy(backend, session) => {
            let leg = Leg::There(session);
            prepare_both(frame, backend, leg, came_by, view, sessions)
        }
        Toward::ClientOf(backend, session) => {
            let leg = Leg::Back(session);
            prepare_both(frame, backend, leg, came_by, view, sessions)
        }
        Toward::Worker(worker) => Sent::Over(worker),
    }
}

/// A way through full NAT.
#[derive(Clone, Copy)]
enum Leg {
    There(SessionId),
    Back(SessionId),
}

impl Leg {
    /// From where the packet shall come, and where it shall go.
    fn ends(
        self,
        translation: &Translation,
        view: View<'_>,
        sessions: &Sessions,
    ) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::There(id) => {
                // A frame that has waited may have outlived it.
                sessions.get(id)?;
                let local = view.tables.pools.socket(id.local(), id.port());
                Some((local?, translation.backend))
            }
            Self::Back(id) => {
                let session = sessions.get(id)?;
                let vip = SocketAddr::new(translation.vip.ip(), session.vip_port());
                Some((vip, session.client()))
            }
        }
    }
}

/// What goes through full NAT, either way.
///
/// Out of line, so that direct server return stays as short as it was.
#[inline(never)]
fn prepare_both<F: Frame>(
    frame: &mut F,
    id: BackendId,
    leg: Leg,
    came_by: PortId,
    view: View<'_>,
    sessions: &mut Sessions,
) -> Sent {
    let backend = view.tables.backend(id);
    let way = backend.map(|it| (it, it.way));
    let Some((backend, Way::Fullnat(id))) = way else {
        return Sent::Not(Fate::NoSession);
    };
    let translation = view.tables.translation(id);
    let Some(ends) = leg.ends(translation, view, sessions) else {
        return Sent::Not(Fate::NoSession);
    };
    let there = Hop {
        neighbour: backend.neighbour,
        port: backend.port,
    };
    let hop = match leg {
        Leg::There(_) => there,
        Leg::Back(_) => translation.exit,
    };
    let Some(destination) = view.tables.neighbours.get(hop.neighbour).mac() else {
        return Sent::Unresolved;
    };
    let mtu = mtu(hop.port, view.tables);
    if translation.proxied || sessions.have_streams() {
        match leg {
            Leg::There(id) => {
                if let Err(unfit) = proxied::introduce(frame, id, translation, mtu, sessions) {
                    return sent(Err(unfit), hop.port);
                }
            }
            Leg::Back(id) => proxied::answer(frame, id, translation, sessions),
        }
    }
    let link = link(destination, came_by, hop.port, view.tables);
    sent(rewrite_both(frame, ends, &link, mtu), hop.port)
}

/// Gives a frame to another worker, which counts it as received.
#[cold]
fn hand_over<F: Frame>(
    frame: F,
    worker: u8,
    came_by: PortId,
    times: u8,
    counters: &Counters,
    exchange: Option<&Exchange<F>>,
) -> Result<(), Fate> {
    let bytes = frame.bytes().len() as u64;
    let given = exchange.map(|it| it.give(worker, came_by, frame, times.saturating_add(1)));
    if !matches!(given, Some(Ok(()))) {
        return Err(Fate::HandoffFull);
    }
    counters.received.subtract(1);
    counters.received_bytes.subtract(bytes);
    Ok(())
}

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
        Err(Unfit::Dropped(fate)) => Sent::Not(fate),
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
    let stations = &view.tables.stations;
    let mac = stations.get(port).spec.mac;
    let may_be_told = may_be_told(frame.bytes(), |sender| stations.is_own_mac(sender));
    if may_be_told && own.errors.take(view.now) && too_big(&mut frame, mac, mtu) {
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

fn count_fates<F>(count: usize, own: &Own<F>) {
    let counters = &own.counters;
    let (mut forwarded, mut returned) = (0, 0);
    for verdict in &own.findings.verdicts[..count] {
        match verdict {
            Verdict::To(Toward::Backend(_) | Toward::BackendBy(..)) => forwarded += 1,
            Verdict::To(Toward::Client(_) | Toward::ClientOf(..)) => returned += 1,
            Verdict::Answer => {
                counters.fate(Fate::Answered, 1);
                counters.originated.add(1);
            }
            Verdict::Held
            | Verdict::Handed
            | Verdict::Early(_)
            | Verdict::To(Toward::Worker(_)) => {}
            Verdict::Done(fate) => counters.fate(*fate, 1),
        }
    }
    counters.fate(Fate::Forwarded, forwarded);
    counters.fate(Fate::Returned, returned);
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
    let counters = &own.counters;
    let mut door = Door {
        alone: &mut own.alone,
        counters,
        sessions: &mut own.sessions,
        exchange: own.exchange.as_deref(),
    };
    let tap = &mut own.tap;
    own.held.release(
        |it| it.is_late(view.now) || resolved(it.toward),
        |it| {
            let (toward, came_by) = (it.toward, it.came_by);
            let mut seen = captured::waited(tap.as_deref_mut(), came_by, Some(toward), &it.frame);
            let left = send_alone(it.frame, toward, came_by, view, &mut door, ports, &mut seen);
            let fate = match left {
                Left::Met(fate) => fate,
                Left::Handed => return,
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
    /// Another worker has it, and counts it.
    Handed,
    /// The next hop's MAC address is not known: here is the frame.
    Unresolved(F),
}

/// What a single frame needs to leave.
pub(crate) struct Door<'a, F> {
    pub(crate) alone: &'a mut Burst<F>,
    pub(crate) counters: &'a Counters,
    pub(crate) sessions: &'a mut Sessions,
    pub(crate) exchange: Option<&'a Exchange<F>>,
}

/// Sends a single frame on. Where it is too big, nobody is told: its sender sends others.
pub(crate) fn send_alone<P: Port>(
    mut frame: P::Frame,
    toward: Toward,
    came_by: PortId,
    view: View<'_>,
    door: &mut Door<'_, P::Frame>,
    ports: &mut [P],
    seen: &mut Option<Seen<'_>>,
) -> Left<P::Frame> {
    let out = match prepare(&mut frame, toward, came_by, view, door.sessions) {
        Sent::By(out) => out,
        Sent::Over(worker) => {
            let given = hand_over(frame, worker, came_by, 0, door.counters, door.exchange);
            return given.map_or_else(Left::Met, |()| Left::Handed);
        }
        Sent::Unresolved => return Left::Unresolved(frame),
        Sent::Not(fate) => return Left::Met(fate),
        Sent::TooBig(_) => return Left::Met(Fate::PacketTooBig),
    };
    if let Some(seen) = seen {
        seen.leaves(out, &frame);
    }
    let bytes = frame.bytes().len() as u64;
    door.counters.forwarded_bytes.add(bytes);
    door.alone.push(frame);
    Left::Met(match transmit(&mut ports[out.index()], door.alone) {
        0 => captured::fate_of(toward),
        _ => Fate::TransmitFull,
    })
}
