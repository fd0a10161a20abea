//! Forward: one burst through the stages. Read this first.
//!
//! ```text
//! burst ─ parse ─ classify ─ flow known? ─yes─────────────────────────┬─ rewrite ─ transmit
//!                     │            └─no── affinity? ─yes───────────────┤
//!                not ours:                     └─no── schedule ────────┘
//!                answer / drop
//! ```
//!
//! Aside of it: later fragments go where their first one went, ICMP errors where the flow goes that
//! they are about.
//!
//! Stages run over the whole burst, so that each asks for the memory that the next one reads. A
//! packet of a known flow needs no look at the services: the flow's key holds the destination.
//! Every packet ends with one [`Verdict`], counted once, after the frames were sent.

mod admit;
pub(crate) mod captured;
mod follow;
mod fragments;
mod leave;
mod local;
mod path;
mod place;
mod quoted;
mod reply;

use crate::{
    clock::Millis,
    fate::Fate,
    flow_table::Tick,
    key::{Key4, Key6},
    parse::{Later, Packet, Parsed, parse, usual4},
    port::{BURST, Burst, Frame, Port},
    probe::{Probe, Stage},
    rcu::Guard,
    tables::{
        Tables, Toward,
        affinity::{AffinityTable, CellId},
        id::PortId,
    },
    wire::ethernet::Mac,
    worker::{Flows, Own},
};
use arrayvec::ArrayVec;
use path::PathKey;

pub(crate) use fragments::release as release_fragments;
pub(crate) use leave::release_held;
pub(crate) use place::{account_gone, is_expired};

/// What is decided about one packet of the burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes to a backend, or from one to its client.
    To(Toward),
    /// It is now an answer, to leave by the port that it came by.
    Answer,
    /// It came before the first fragment of its packet; its IP header starts there.
    Early(u16),
    /// It waits for a MAC address or for its first fragment.
    Held,
    /// It is done with.
    Done(Fate),
}

/// What a burst is forwarded by: the tables of this moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) guard: Guard<'a>,
    pub(crate) tables: &'a Tables,
    pub(crate) affinities: &'a AffinityTable,
    pub(crate) now: Millis,
    pub(crate) tick: Tick,
}

/// A packet that may be for a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<K> {
    /// Its place in the burst.
    pub(crate) index: u8,
    pub(crate) packet: Packet<K>,
    /// Of its key, in the flow table.
    pub(crate) hash: u64,
}

/// The packets of one family.
pub(crate) type Lane<K> = ArrayVec<Entry<K>, BURST>;

/// A burst, sorted.
#[derive(Debug)]
pub(crate) struct Lanes {
    v4: Lane<Key4>,
    v6: Lane<Key6>,
    /// The first fragments among those, with where their IP headers start.
    firsts: ArrayVec<(u8, u16), BURST>,
    later: ArrayVec<(u8, Later), BURST>,
    local: ArrayVec<(u8, Parsed), BURST>,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            v4: Lane::new(),
            v6: Lane::new(),
            firsts: ArrayVec::new(),
            later: ArrayVec::new(),
            local: ArrayVec::new(),
        }
    }

    fn clear(&mut self) {
        self.v4.clear();
        self.v6.clear();
        self.firsts.clear();
        self.later.clear();
        self.local.clear();
    }
}

/// What the stages have found out about a burst.
#[derive(Debug)]
pub(crate) struct Findings {
    verdicts: [Verdict; BURST],
    /// Packets that extend an affinity once they are sent.
    refreshes: ArrayVec<(u8, CellId), BURST>,
}

impl Findings {
    pub(crate) fn new() -> Self {
        Self {
            verdicts: [Verdict::Done(Fate::FrameTruncated); BURST],
            refreshes: ArrayVec::new(),
        }
    }

    /// The affinity that a packet extends.
    fn extended_by(&self, index: u8) -> Option<CellId> {
        let mut refreshes = self.refreshes.iter();
        let found = refreshes.find(|(packet, _)| *packet == index);
        found.map(|(_, cell)| *cell)
    }

    fn verdict(&self, index: u8) -> Verdict {
        self.verdicts[usize::from(index)]
    }

    fn decide(&mut self, index: u8, verdict: Verdict) {
        self.verdicts[usize::from(index)] = verdict;
    }
}

/// Takes a burst that came by `port` to its fates. Leaves the burst empty.
pub(crate) fn forward<P: Port, W: Probe>(
    burst: &mut Burst<P::Frame>,
    port: PortId,
    view: View<'_>,
    own: &mut Own<P::Frame>,
    lanes: &mut Lanes,
    ports: &mut [P],
    probe: &mut W,
) {
    own.findings.refreshes.clear();
    if W::TAPS {
        captured::came(burst, port, own);
    }
    parse_all(burst, port, view, own, lanes);
    probe.ended(Stage::Parse);
    forward_lane(&lanes.v4, port, view, own, probe);
    forward_lane(&lanes.v6, port, view, own, probe);
    fragments::settle(burst, view, own, &lanes.firsts, &lanes.later);
    local::answer_all(burst, port, view, own, &lanes.local);
    probe.ended(Stage::Aside);
    leave::send_all(burst, port, view, own, ports, probe);
    if !lanes.firsts.is_empty() && own.fragments.waiting() > 0 {
        release_fragments(view, own, ports);
    }
}

/// Decides about one family: known flows, then new ones.
fn forward_lane<F, K: PathKey, W: Probe>(
    lane: &Lane<K>,
    port: PortId,
    view: View<'_>,
    own: &mut Own<F>,
    probe: &mut W,
) {
    let new = follow::known_flows(lane, view, own);
    probe.ended(Stage::Follow);
    if W::TAPS {
        captured::followed(lane, &new, own);
    }
    place::new_flows(&new, port, view, own);
    probe.ended(Stage::Place);
}

/// Sorts the burst: TCP and UDP by family, what may be for the forwarder itself, and the rest.
fn parse_all<F: Frame>(
    burst: &Burst<F>,
    port: PortId,
    view: View<'_>,
    own: &mut Own<F>,
    lanes: &mut Lanes,
) {
    lanes.clear();
    let spec = &view.tables.stations.get(port).spec;
    let mut bytes = 0;
    for (index, frame) in (0_u8..).zip(burst) {
        bytes += frame.bytes().len() as u64;
        if spec.vlan.is_none()
            && frame.is_contiguous()
            && let Some(packet) = usual4(frame.bytes(), spec.mac)
        {
            enter(&mut lanes.v4, index, packet, &own.flows);
            continue;
        }
        match parse_one(frame, spec.mac, spec.vlan) {
            Ok(Parsed::V4(packet)) => enter(&mut lanes.v4, index, packet, &own.flows),
            Ok(Parsed::V6(packet)) => enter(&mut lanes.v6, index, packet, &own.flows),
            Ok(Parsed::First4(packet)) => {
                enter(&mut lanes.v4, index, packet, &own.flows);
                lanes.firsts.push((index, packet.l3));
            }
            Ok(Parsed::First6(packet)) => {
                enter(&mut lanes.v6, index, packet, &own.flows);
                lanes.firsts.push((index, packet.l3));
            }
            Ok(Parsed::Later(later)) => lanes.later.push((index, later)),
            Ok(local @ (Parsed::Arp { .. } | Parsed::Icmp4(_) | Parsed::Icmp6(_))) => {
                lanes.local.push((index, local));
            }
            Err(fate) => own.findings.decide(index, Verdict::Done(fate)),
        }
    }
    own.counters.received.add(burst.len() as u64);
    own.counters.received_bytes.add(bytes);
}

/// Puts a packet into its lane and asks for the line where its flow most likely is.
#[inline]
fn enter<K: PathKey>(lane: &mut Lane<K>, index: u8, packet: Packet<K>, flows: &Flows) {
    let table = K::table(flows);
    let hash = table.hash(&packet.key);
    table.prefetch(hash);
    lane.push(Entry {
        index,
        packet,
        hash,
    });
}

/// Parses a frame that is addressed to this port: to its MAC address, or to a group where it is not
/// TCP or UDP.
#[inline]
fn parse_one<F: Frame>(frame: &F, mac: Mac, vlan: Option<u16>) -> Result<Parsed, Fate> {
    if !frame.is_contiguous() {
        return Err(Fate::FrameSegmented);
    }
    let bytes = frame.bytes();
    let destination = Mac(*bytes.first_chunk().ok_or(Fate::FrameTruncated)?);
    if destination == mac {
        return parse(bytes, vlan);
    }
    if destination.is_unicast() {
        return Err(Fate::OtherMac);
    }
    match parse(bytes, vlan)? {
        local @ (Parsed::Arp { .. } | Parsed::Icmp4(_) | Parsed::Icmp6(_)) => Ok(local),
        _ => Err(Fate::OtherMac),
    }
}
