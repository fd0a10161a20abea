//! What a worker does besides its packets, a little in each step: sweep flows, send what was held,
//! ask neighbours, announce addresses, answer the control plane's questions.

use super::Own;
use crate::{
    clock::Millis,
    forward::{View, account_gone, captured, is_expired, release_fragments, release_held},
    inspect,
    port::{Frame, Port},
    sessions::Sessions,
    solicit,
    tables::{
        id::PortId,
        neighbour::{Neighbour, Question},
    },
};
use std::net::IpAddr;

/// Every flow is looked at once in this time, in milliseconds.
const SWEEP_MS: u64 = 16_000;
/// Lines that one step sweeps at most.
const SWEEP_LINES: usize = 4096;
/// Neighbours that are looked at each millisecond.
const NEIGHBOURS: usize = 32;
/// Addresses that are announced each millisecond.
const ANNOUNCEMENTS: usize = 4;

#[derive(Debug)]
pub(crate) struct Housekeeping {
    last: Millis,
    /// One worker speaks for the forwarder; the others only listen.
    speaks: bool,
    next_neighbour: usize,
    next_tunnel: usize,
    /// How many of the forwarder's addresses have been announced, and of which edition.
    announced: usize,
    edition: Option<u64>,
}

impl Housekeeping {
    pub(crate) fn new(speaks: bool) -> Self {
        Self {
            last: Millis(0),
            speaks,
            next_neighbour: 0,
            next_tunnel: 0,
            announced: 0,
            edition: None,
        }
    }

    /// What is due at this step; most of it at most once a millisecond.
    #[inline]
    pub(crate) fn run<P: Port>(
        &mut self,
        view: View<'_>,
        own: &mut Own<P::Frame>,
        ports: &mut [P],
    ) {
        if !own.desk.questions.is_empty() {
            answer_question(view, own);
        }
        if !own.held.is_empty() {
            release_held(view, own, ports);
        }
        if view.now != self.last {
            let elapsed = view.now.since(self.last);
            self.last = view.now;
            if own.fragments.waiting() > 0 {
                release_fragments(view, own, ports);
            }
            sweep(elapsed, view, own);
            if self.speaks {
                self.ask_neighbours(view, own, ports);
                self.age_paths(view);
                self.announce(view, own, ports);
            }
        }
    }

    fn ask_neighbours<P: Port>(
        &mut self,
        view: View<'_>,
        own: &mut Own<P::Frame>,
        ports: &mut [P],
    ) {
        let count = view.tables.neighbours.len();
        for _ in 0..NEIGHBOURS.min(count) {
            self.next_neighbour = (self.next_neighbour + 1) % count;
            let neighbour = view.tables.neighbours.at(self.next_neighbour);
            if let Some(question) = neighbour.due(view.now) {
                originate(neighbour.port, view, own, ports, |frame| {
                    ask(frame, neighbour, question, view)
                });
            }
        }
    }

    /// Forgets what routers said long ago, of one tunnel at a time.
    fn age_paths(&mut self, view: View<'_>) {
        let tunnels = &view.tables.tunnels;
        self.next_tunnel = (self.next_tunnel + 1) % tunnels.len().max(1);
        tunnels.age(self.next_tunnel, view.now);
    }

    /// Tells the links where the forwarder's addresses are, at the start and whenever they change.
    fn announce<P: Port>(&mut self, view: View<'_>, own: &mut Own<P::Frame>, ports: &mut [P]) {
        let edition = Some(view.tables.stations.edition());
        if edition != self.edition {
            self.edition = edition;
            self.announced = 0;
        }
        let ours = view.tables.stations.ours();
        for _ in 0..ANNOUNCEMENTS {
            let Some(address) = ours.get(self.announced / ports.len().max(1)) else {
                return;
            };
            let place = self.announced % ports.len();
            self.announced += 1;
            let Some(port) = crate::tables::port_ids(ports.len()).nth(place) else {
                return;
            };
            if view.tables.stations.announces(port, *address) {
                originate(port, view, own, ports, |frame| {
                    tell(frame, port, *address, view)
                });
            }
        }
    }
}

/// Forgets flows that have timed out, at the pace that takes every line in its turn.
fn sweep<F>(elapsed_ms: u64, view: View<'_>, own: &mut Own<F>) {
    let (affinities, counters) = (view.affinities, &own.counters);
    let expired =
        |sessions: &Sessions, flow, id| is_expired(flow, id, sessions, view.tables, view.tick);
    let gone = |sessions: &mut Sessions, gone| account_gone(gone, affinities, counters, sessions);
    let lines = lines_due(own.flows.v4.lines(), elapsed_ms);
    own.flows.v4.expire(lines, &mut own.sessions, expired, gone);
    let lines = lines_due(own.flows.v6.lines(), elapsed_ms);
    own.flows.v6.expire(lines, &mut own.sessions, expired, gone);
    counters
        .flows
        .set((own.flows.v4.len() + own.flows.v6.len()) as u64);
    own.count_local_ports();
}

fn lines_due(lines: usize, elapsed_ms: u64) -> usize {
    let due = (lines as u64).saturating_mul(elapsed_ms) / SWEEP_MS;
    usize::try_from(due)
        .unwrap_or(SWEEP_LINES)
        .saturating_add(1)
        .min(SWEEP_LINES)
}

fn answer_question<F>(view: View<'_>, own: &mut Own<F>) {
    if own.desk.answers.is_full() {
        return;
    }
    if let Some(question) = own.desk.questions.pop() {
        let (v4, v6) = (&own.flows.v4, &own.flows.v6);
        let answer = inspect::answer(question, v4, v6, &mut own.tap, view.tick);
        let pushed = own.desk.answers.push(answer);
        debug_assert!(pushed.is_ok(), "one worker answers, and there was room");
    }
}

/// Builds a frame and sends it; without a free buffer it is for another time.
fn originate<P: Port>(
    by: PortId,
    view: View<'_>,
    own: &mut Own<P::Frame>,
    ports: &mut [P],
    build: impl FnOnce(&mut P::Frame) -> bool,
) {
    let port = &mut ports[by.index()];
    let Some(mut frame) = port.allocate() else {
        return;
    };
    if build(&mut frame) {
        let seen = captured::originated(own.tap.as_deref_mut(), by, &frame);
        own.alone.push(frame);
        port.transmit(&mut own.alone);
        let sent = own.alone.is_empty();
        captured::has_left(seen.filter(|_| sent), view);
        own.counters.originated.add(u64::from(sent));
        own.alone.clear();
    }
}

/// A question to a neighbour, from an address of the port.
fn ask<F: Frame>(frame: &mut F, neighbour: &Neighbour, question: Question, view: View<'_>) -> bool {
    let station = view.tables.stations.get(neighbour.port);
    let (mac, vlan) = (station.spec.mac, station.spec.vlan);
    let known = match question {
        Question::Anybody => None,
        Question::Station(mac) => Some(mac),
    };
    match (
        station.address_towards(neighbour.address),
        neighbour.address,
    ) {
        (Some(IpAddr::V4(own)), IpAddr::V4(to)) => {
            solicit::arp_request(frame, vlan, (mac, own), to, known)
        }
        (Some(IpAddr::V6(own)), IpAddr::V6(to)) => {
            solicit::neighbour_solicitation(frame, vlan, (mac, own), to, known)
        }
        _ => false,
    }
}

fn tell<F: Frame>(frame: &mut F, port: PortId, address: IpAddr, view: View<'_>) -> bool {
    let spec = &view.tables.stations.get(port).spec;
    match address {
        IpAddr::V4(own) => solicit::arp_announcement(frame, spec.vlan, (spec.mac, own)),
        IpAddr::V6(own) => solicit::neighbour_announcement(frame, spec.vlan, (spec.mac, own)),
    }
}
