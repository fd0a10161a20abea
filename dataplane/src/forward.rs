//! Forward: one burst through the stages. Read this first.
//!
//! ```text
//! burst ─ parse ─ classify ─ flow known? ─yes─────────────────────────┬─ rewrite ─ transmit
//!                     │            └─no── affinity? ─yes───────────────┤
//!                not ours:                     └─no── schedule ────────┘
//!                answer / kernel / drop
//! ```
//!
//! Not ours on a port with a tap: to the kernel.
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
mod fullnat;
mod kernel;
mod leave;
mod local;
mod path;
mod place;
mod proxied;
mod quoted;
mod reply;
mod tunneled;

use crate::{
    clock::Millis,
    fate::Fate,
    flow_table::Tick,
    key::{Key4, Key6},
    parse::{Later, Packet, Parsed, parse_checked, usual4},
    port::{BURST, Burst, Frame, Port},
    probe::{Probe, Stage},
    rcu::Guard,
    tables::{
        PortSpec, Tables, Toward,
        affinity::{AffinityTable, CellId},
        id::PortId,
    },
    wire::ethernet::Mac,
    worker::{Flows, Own},
};
use arrayvec::ArrayVec;
use path::PathKey;

pub(crate) use fragments::release as release_fragments;
pub(crate) use kernel::pass_on;
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
    /// Another worker has it, and counts it.
    Handed,
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
    /// Of its key, in the flow table.
    pub(crate) hash: u64,
    pub(crate) key: K,
    /// The flags of TCP; 0 for UDP.
    pub(crate) tcp_flags: u8,
    /// Its place in the burst.
    pub(crate) index: u8,
    /// Whether its flow is remembered: one that is and has to be placed cannot be followed.
    pub(crate) is_known: bool,
}

/// Packets of one family.
pub(crate) type Lane<K> = ArrayVec<Entry<K>, BURST>;

/// The packets of one family, and those of them that take longer: kept here, since to hand lanes from
/// one function to the next by value is to copy them.
#[derive(Debug)]
pub(crate) struct FamilyLanes<K> {
    all: Lane<K>,
    /// Those that are not in the first line of the flow table, where nearly all flows are.
    beyond: Lane<K>,
    /// Those whose flows have to be placed.
    new: Lane<K>,
}

impl<K> FamilyLanes<K> {
    fn new() -> Self {
        Self {
            all: Lane::new(),
            beyond: Lane::new(),
            new: Lane::new(),
        }
    }
}

/// A burst, sorted.
#[derive(Debug)]
pub(crate) struct Lanes {
    v4: FamilyLanes<Key4>,
    v6: FamilyLanes<Key6>,
    /// Frames that take the long way through [`parse`](crate::parse::parse), and whether the device has found
    /// their IPv4 header checksum right.
    unusual: ArrayVec<(u8, bool), BURST>,
    /// The first fragments among those, with where their IP headers start.
    firsts: ArrayVec<(u8, u16), BURST>,
    later: ArrayVec<(u8, Later), BURST>,
    local: ArrayVec<(u8, Parsed), BURST>,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            v4: FamilyLanes::new(),
            v6: FamilyLanes::new(),
            unusual: ArrayVec::new(),
            firsts: ArrayVec::new(),
            later: ArrayVec::new(),
            local: ArrayVec::new(),
        }
    }

    fn clear(&mut self) {
        self.v4.all.clear();
        self.v6.all.clear();
        self.unusual.clear();
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

    /// Whether one of the first so many packets is done with in a way.
    fn any_done(&self, count: usize, in_this_way: impl Fn(Fate) -> bool) -> bool {
        let mut verdicts = self.verdicts.iter().take(count);
        verdicts.any(|it| matches!(it, Verdict::Done(fate) if in_this_way(*fate)))
    }

    fn verdict(&self, index: u8) -> Verdict {
        self.verdicts[usize::from(index)]
    }

    fn decide(&mut self, index: u8, verdict: Verdict) {
        self.verdicts[usize::from(index)] = verdict;
    }

    /// What is known of a packet, now that it has another place in the burst.
    fn move_to(&mut self, place: u8, from: u8) {
        self.decide(place, self.verdict(from));
        for (packet, _) in &mut self.refreshes {
            if *packet == from {
                *packet = place;
            }
        }
    }
}

/// Takes a burst that came by `port` to its fates. Leaves the burst empty. Behind the ports stand their taps.
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
    if ports[port.index()].checks_ipv4() {
        parse_all::<_, true>(burst, port, view, own, lanes);
    } else {
        parse_all::<_, false>(burst, port, view, own, lanes);
    }
    if W::TAPS {
        captured::came(burst, port, lanes, own);
    }
    let has_locals = !view.tables.pools.is_empty();
    if has_locals {
        fullnat::replies(&mut lanes.v4.all, port, view, own);
        fullnat::replies(&mut lanes.v6.all, port, view, own);
    }
    probe.ended(Stage::Parse);
    forward_family(&mut lanes.v4, port, view, own, probe);
    forward_family(&mut lanes.v6, port, view, own, probe);
    if has_locals {
        fullnat::sessions(&lanes.v4.all, view, own);
        fullnat::sessions(&lanes.v6.all, view, own);
    }
    fragments::settle(burst, port, view, own, &lanes.firsts, &lanes.later);
    local::answer_all(burst, port, view, own, &lanes.local);
    let (ports, taps) = ports.split_at_mut(own.outgoing.len());
    if !taps.is_empty() {
        if W::TAPS {
            captured::stay(burst, 0, own);
        }
        kernel::divert(burst, port, view, own, taps);
    }
    probe.ended(Stage::Aside);
    leave::send_all(burst, port, view, own, ports, probe);
    if !lanes.firsts.is_empty() && own.fragments.waiting() > 0 {
        release_fragments(view, own, ports);
    }
}

/// Decides about one family: known flows, then new ones.
fn forward_family<F, K: PathKey, W: Probe>(
    lanes: &mut FamilyLanes<K>,
    port: PortId,
    view: View<'_>,
    own: &mut Own<F>,
    probe: &mut W,
) {
    if lanes.all.is_empty() {
        return;
    }
    follow::known_flows(lanes, view, own);
    probe.ended(Stage::Follow);
    if W::TAPS {
        captured::followed(&lanes.all, &lanes.new, own);
    }
    place::new_flows(&lanes.new, port, view, own);
    probe.ended(Stage::Place);
}

/// Sorts the burst: TCP and UDP by family, what may be for the forwarder itself, and the rest. The frames
/// of a port that is `CHECKED` may say that their IPv4 header checksum need not be looked at; others pay
/// nothing for it.
fn parse_all<F: Frame, const CHECKED: bool>(
    burst: &mut Burst<F>,
    port: PortId,
    view: View<'_>,
    own: &mut Own<F>,
    lanes: &mut Lanes,
) {
    lanes.clear();
    let spec = &view.tables.stations.get(port).spec;
    let bytes = if spec.vlan.is_none() {
        parse_usual::<_, CHECKED>(burst, spec.mac, &own.flows, lanes)
    } else {
        list_all::<_, CHECKED>(burst, lanes)
    };
    own.counters.received_bytes.add(bytes);
    own.counters.received.add(burst.len() as u64);
    if !lanes.unusual.is_empty() {
        parse_unusual(burst, spec, own, lanes);
    }
}

/// The frames that are as nearly all are; the others are listed. The bytes of all of them.
fn parse_usual<F: Frame, const CHECKED: bool>(
    burst: &mut Burst<F>,
    mac: Mac,
    flows: &Flows,
    lanes: &mut Lanes,
) -> u64 {
    let mut bytes = 0;
    for (index, frame) in (0_u8..).zip(burst) {
        bytes += frame.bytes().len() as u64;
        let is_checked = CHECKED && frame.take_ipv4_checksum() == Some(true);
        match usual4(frame.bytes(), mac, is_checked) {
            Some(packet) if frame.is_contiguous() => {
                enter(&mut lanes.v4.all, index, &packet, flows);
            }
            _ => lanes.unusual.push((index, is_checked)),
        }
    }
    bytes
}

/// Lists every frame as not usual: on a VLAN none is. The bytes of all of them.
fn list_all<F: Frame, const CHECKED: bool>(burst: &mut Burst<F>, lanes: &mut Lanes) -> u64 {
    let mut bytes = 0;
    for (index, frame) in (0_u8..).zip(burst) {
        bytes += frame.bytes().len() as u64;
        let is_checked = CHECKED && frame.take_ipv4_checksum() == Some(true);
        lanes.unusual.push((index, is_checked));
    }
    bytes
}

/// Sorts the frames that are listed as not usual.
#[inline(never)]
fn parse_unusual<F: Frame>(burst: &Burst<F>, spec: &PortSpec, own: &mut Own<F>, lanes: &mut Lanes) {
    for (index, is_checked) in &lanes.unusual {
        let index = *index;
        match parse_one(&burst[usize::from(index)], spec, *is_checked) {
            Ok(Parsed::V4(packet)) => enter(&mut lanes.v4.all, index, &packet, &own.flows),
            Ok(Parsed::V6(packet)) => enter(&mut lanes.v6.all, index, &packet, &own.flows),
            Ok(Parsed::First4(packet)) => {
                enter(&mut lanes.v4.all, index, &packet, &own.flows);
                lanes.firsts.push((index, packet.l3));
            }
            Ok(Parsed::First6(packet)) => {
                enter(&mut lanes.v6.all, index, &packet, &own.flows);
                lanes.firsts.push((index, packet.l3));
            }
            Ok(Parsed::Later(later)) => lanes.later.push((index, later)),
            Ok(local @ (Parsed::Arp { .. } | Parsed::Icmp4(_) | Parsed::Icmp6(_))) => {
                lanes.local.push((index, local));
            }
            Err(fate) => own.findings.decide(index, Verdict::Done(fate)),
        }
    }
}

/// Puts a packet into its lane and asks for the line where its flow most likely is.
#[inline]
fn enter<K: PathKey>(lane: &mut Lane<K>, index: u8, packet: &Packet<K>, flows: &Flows) {
    let table = K::table(flows);
    let hash = table.hash(&packet.key);
    table.prefetch(hash);
    lane.push(Entry {
        hash,
        key: packet.key,
        tcp_flags: packet.tcp_flags,
        index,
        is_known: false,
    });
}

/// Parses a frame that is addressed to this port: to its MAC address, or to a group where it is not
/// TCP or UDP.
#[inline]
fn parse_one<F: Frame>(frame: &F, spec: &PortSpec, is_checked: bool) -> Result<Parsed, Fate> {
    if !frame.is_contiguous() {
        return Err(Fate::FrameSegmented);
    }
    let bytes = frame.bytes();
    let destination = Mac(*bytes.first_chunk().ok_or(Fate::FrameTruncated)?);
    if destination == spec.mac {
        return parse_checked(bytes, spec.vlan, is_checked);
    }
    if destination.is_unicast() {
        return Err(Fate::OtherMac);
    }
    match parse_checked(bytes, spec.vlan, is_checked)? {
        local @ (Parsed::Arp { .. } | Parsed::Icmp4(_) | Parsed::Icmp6(_)) => Ok(local),
        _ => Err(Fate::OtherMac),
    }
}
