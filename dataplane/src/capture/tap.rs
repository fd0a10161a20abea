//! A worker's tap: what it copies of a burst, and hands over once the fates of its packets are known.

use super::{Direction, Filter, Marked, Outcome, Record, Rule, Screen, Shared, filter::Known};
use crate::{
    dissect,
    fate::Fate,
    key::Protocol,
    port::{BURST, Burst, Frame},
    simd::cycles,
    tables::{
        Tables,
        id::{BackendId, PortId, ServiceId},
    },
    wire::ipv4,
};
use std::sync::{Arc, atomic::Ordering};

/// What a worker captures by, until it is given another or closed.
#[derive(Debug)]
pub struct Tap {
    filter: Filter,
    shared: Arc<Shared>,
    /// When the burst was taken.
    at: u64,
    /// The port that it came by.
    port: PortId,
    /// Which frames of the burst may match.
    wanted: Marked,
    /// Which of those are copied only if they stay, and the addresses of their links as they came: nothing
    /// else of them may change until then.
    late: Marked,
    links: [Addresses; BURST],
    /// Which of those have left.
    has_left: Marked,
    /// Copies of the burst's frames as they came, and as they left.
    came: Box<[Record]>,
    left: Box<[Record]>,
    /// The same of a frame by itself.
    alone: [Record; 2],
    rules: [Rule; BURST],
    /// The backends of those that have left.
    backends: [Option<BackendId>; BURST],
}

/// Both addresses of a link.
type Addresses = [u8; 12];

impl Tap {
    pub(super) fn new(filter: Filter, snap_len: usize, shared: Arc<Shared>) -> Self {
        let burst = || (0..BURST).map(|_| Record::with_room(snap_len)).collect();
        Self {
            filter,
            shared,
            at: 0,
            port: PortId(0),
            wanted: Marked::NONE,
            late: Marked::NONE,
            links: [[0; 12]; BURST],
            has_left: Marked::NONE,
            came: burst(),
            left: burst(),
            alone: [(); 2].map(|()| Record::with_room(snap_len)),
            rules: [Rule::None; BURST],
            backends: [None; BURST],
        }
    }

    /// Whether anybody collects.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        !self.shared.closed.load(Ordering::Relaxed)
    }

    /// What says of packets, by their keys, that they surely do not match.
    #[inline]
    pub(crate) fn screen(&self) -> &Screen {
        self.filter.screen()
    }

    /// A burst came, nothing has changed in it yet, and only these of its frames may match: some with a
    /// key and some without.
    #[inline]
    pub(crate) fn see<F: Frame>(
        &mut self,
        burst: &Burst<F>,
        (keyed, others): (Marked, Marked),
        port: PortId,
    ) {
        (self.wanted, self.late) = (Marked::NONE, Marked::NONE);
        let some = keyed.or(others);
        if !some.is_empty() {
            // Nearly all that have a key are sent on.
            let may_wait = if self.takes_sent() {
                Marked::NONE
            } else {
                keyed
            };
            self.see_some(burst, some, may_wait, port);
        }
    }

    fn see_some<F: Frame>(
        &mut self,
        burst: &Burst<F>,
        some: Marked,
        may_wait: Marked,
        port: PortId,
    ) {
        for index in some.places() {
            let place = usize::from(index);
            let bytes = burst[place].bytes();
            if !self.filter.takes_frame(bytes) {
                continue;
            }
            self.wanted.add(index);
            match bytes.first_chunk() {
                Some(link) if may_wait.has(index) => {
                    self.late.add(index);
                    self.links[place] = *link;
                }
                _ => self.came[place].copy(bytes),
            }
        }
        if self.wants_any() {
            (self.at, self.port) = (cycles(), port);
            self.has_left = Marked::NONE;
            self.rules = [Rule::None; BURST];
        }
    }

    /// Those that are not copied yet.
    #[inline]
    pub(crate) fn late(&self) -> Marked {
        self.late
    }

    /// A frame that is not copied yet stays, or something else than its link may change now.
    pub(crate) fn see_staying(&mut self, index: u8, frame: &[u8]) {
        let place = usize::from(index);
        let record = &mut self.came[place];
        record.copy(frame);
        if let Some(link) = record.bytes.first_chunk_mut() {
            *link = self.links[place];
        }
    }

    /// All are copied.
    pub(crate) fn none_is_late(&mut self) {
        self.late = Marked::NONE;
    }

    /// The frames of the burst that may match.
    #[inline]
    pub(crate) fn wanted(&self) -> Marked {
        self.wanted
    }

    /// Whether there is one.
    #[inline]
    pub(crate) fn wants_any(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether this one may.
    #[inline]
    pub(crate) fn wants(&self, index: u8) -> bool {
        self.wanted.has(index)
    }

    /// Who decided about a packet of the burst.
    #[inline]
    pub(crate) fn decided_by(&mut self, index: u8, rule: Rule) {
        self.rules[usize::from(index)] = rule;
    }

    /// A frame of the burst that is wanted is about to leave.
    pub(crate) fn see_leaving(
        &mut self,
        index: u8,
        port: PortId,
        backend: Option<BackendId>,
        frame: &[u8],
    ) {
        self.has_left.add(index);
        let place = usize::from(index);
        self.backends[place] = backend;
        // Of one that is not wanted unless it stays, nothing is told of how it left.
        if self.filter.takes_sent() || backend.is_none() {
            let record = &mut self.left[place];
            record.port = port;
            record.copy(frame);
        }
    }

    /// Whether a packet that was sent on may match.
    #[inline]
    pub(crate) fn takes_sent(&self) -> bool {
        self.filter.takes_sent()
    }

    /// What became of a packet of the burst whose frame is wanted.
    pub(crate) fn settle(&mut self, index: u8, outcome: Outcome, tables: &Tables) {
        let place = usize::from(index);
        let left = self.has_left.has(index);
        let backend = left.then(|| self.backends[place]).flatten();
        let (came, rule) = (&self.came[place], self.rule_of(index, backend));
        let known = known(&self.filter, outcome, backend, &came.bytes, tables);
        if !self.filter.takes_outcome(&known) {
            return;
        }
        // One that found no room to leave stayed.
        let left = left && outcome != Outcome::Fate(Fate::TransmitFull);
        for (direction, records, is_there) in [
            (Direction::In, &mut self.came, true),
            (Direction::Out, &mut self.left, left),
        ] {
            if is_there && self.filter.takes_way(direction) {
                let record = &mut records[place];
                if direction == Direction::In {
                    record.port = self.port;
                }
                (record.at, record.direction, record.outcome) = (self.at, direction, outcome);
                (record.rule, record.backend) = (rule, backend);
                self.shared.hand_over(record);
            }
        }
    }

    /// Frames of the burst have other places: each (where it is, where it was), from the first on.
    pub(crate) fn move_up(&mut self, moved: &[(u8, u8)]) {
        let wanted = moved.iter().filter(|(_, from)| self.wants(*from));
        self.wanted = wanted.map(|(to, _)| *to).collect();
        for (to, from) in moved {
            let (to, from) = (usize::from(*to), usize::from(*from));
            self.came.swap(to, from);
            self.rules[to] = self.rules[from];
        }
    }

    /// A packet that went to a backend without a decision of its own goes where another one went.
    fn rule_of(&self, index: u8, backend: Option<BackendId>) -> Rule {
        match self.rules[usize::from(index)] {
            Rule::None if backend.is_some() => Rule::Related,
            rule => rule,
        }
    }

    /// Whether a frame matches that has waited or was made here, as it is before it is rewritten.
    pub(crate) fn takes(&self, frame: &[u8]) -> bool {
        self.is_open() && self.filter.takes_frame(frame)
    }

    /// It is about to be dropped or to leave, by itself.
    pub(crate) fn see_alone(&mut self, direction: Direction, port: PortId, frame: &[u8]) {
        let record = &mut self.alone[direction as usize];
        (record.direction, record.port) = (direction, port);
        record.copy(frame);
    }

    /// What became of it, in the one of its directions that there is to tell of.
    pub(crate) fn settle_alone(
        &mut self,
        direction: Direction,
        outcome: Outcome,
        backend: Option<BackendId>,
        tables: &Tables,
    ) {
        let record = &mut self.alone[direction as usize];
        let known = known(&self.filter, outcome, backend, &record.bytes, tables);
        if self.filter.takes_outcome(&known) && self.filter.takes_way(direction) {
            record.rule = backend.map_or(Rule::None, |_| Rule::Related);
            (record.at, record.outcome, record.backend) = (cycles(), outcome, backend);
            self.shared.hand_over(record);
        }
    }
}

/// What terms may ask about a packet.
fn known(
    filter: &Filter,
    outcome: Outcome,
    backend: Option<BackendId>,
    frame: &[u8],
    tables: &Tables,
) -> Known {
    let service = || {
        let of_backend = backend
            .and_then(|id| tables.backend(id))
            .map(|it| it.service);
        of_backend.or_else(|| addressed(frame, tables))
    };
    Known {
        outcome,
        backend,
        service: filter.asks_for_service().then(service).flatten(),
    }
}

/// The service that a packet addresses.
fn addressed(frame: &[u8], tables: &Tables) -> Option<ServiceId> {
    let link = dissect::link(frame)?;
    let ends = dissect::ends(link.ethertype, frame.get(link.payload..)?)?;
    let protocol = match ends.protocol {
        ipv4::TCP => Protocol::Tcp,
        ipv4::UDP => Protocol::Udp,
        _ => return None,
    };
    tables.service(protocol, ends.destination, ends.ports?.1)
}
