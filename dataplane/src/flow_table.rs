//! The flows that one worker remembers: of fixed size, in cache-line buckets of four.
//!
//! A flow is in one of the two neighbouring lines that its hash chooses, or, where these are full,
//! in one of two others. A new flow takes a free or timed-out place; failing that, the place of the
//! oldest half-open flow near it; never that of an established one, which at most moves to another
//! of its own lines (a SYN flood pushes out only its like). Without any place the flow is forwarded
//! all the same, but not remembered.
//!
//! Costs: 16 bytes of key and state for each IPv4 place, and 8 for what an affinity placed; one
//! cache line per packet of a known flow.

mod line;
#[cfg(test)]
mod model;
mod state;

pub(crate) use line::{Line, Line4, Line6};
pub(crate) use state::{Flow, Placement, Settled, TcpEvent, Tick};

use crate::{hash::HashKeys, sessions::SessionId, simd::prefetch, tables::affinity::CellId};

/// Places in a line.
pub(crate) const WAYS: usize = 4;
/// Lines that a flow may be in: two neighbours, and two others.
const CHOICES: usize = 4;
/// The ways, as seats in their line.
const SEATS: [i32; WAYS] = [0, 1, 2, 3];

/// Where a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    line: u32,
    way: u8,
}

/// What an insertion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It took a free place.
    Free(Place),
    /// It took the place of this flow, which is forgotten.
    InsteadOf(Place, Gone),
    /// Every place near it is an established flow's.
    NoPlace,
}

/// A flow that is no longer remembered, with what has to be counted for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) flow: Flow,
    /// The affinity that placed it, where one did.
    pub(crate) cell: Option<CellId>,
    /// Its session of full NAT, where it has one.
    pub(crate) session: Option<SessionId>,
    /// Whether it had to go before its time.
    pub(crate) evicted: bool,
}

/// One family's flows.
#[derive(Debug)]
pub(crate) struct FlowTable<L: Line> {
    lines: Box<[L]>,
    cells: Box<[[CellId; WAYS]]>,
    /// Sessions of full NAT by their bits, 0 of a flow without. Memory that nobody touches, hence does
    /// not get, where none is attached.
    sessions: Box<[[u32; WAYS]]>,
    attached: usize,
    keys: HashKeys,
    flows: usize,
    /// How many flows are not in their first two lines: where none is, nobody looks there.
    elsewhere: usize,
    sweep: usize,
}

impl<L: Line> FlowTable<L> {
    /// Room for `flows` flows, in twice as many places.
    pub(crate) fn new(flows: usize) -> Self {
        let lines = Self::lines_for(flows);
        Self {
            lines: (0..lines).map(|_| L::default()).collect(),
            cells: vec![[CellId::default(); WAYS]; lines].into_boxed_slice(),
            sessions: vec![[0; WAYS]; lines].into_boxed_slice(),
            attached: 0,
            keys: HashKeys::random(),
            flows: 0,
            elsewhere: 0,
            sweep: 0,
        }
    }

    fn lines_for(flows: usize) -> usize {
        (flows * 2).div_ceil(WAYS).next_power_of_two().max(CHOICES)
    }

    /// Bytes of a table with room for `flows` flows.
    pub(crate) fn bytes_for(flows: usize) -> usize {
        Self::lines_for(flows) * (size_of::<L>() + size_of::<[CellId; WAYS]>())
    }

    /// Flows that are remembered, timed-out ones that were not swept yet included.
    pub(crate) fn len(&self) -> usize {
        self.flows
    }

    /// Places.
    pub(crate) fn capacity(&self) -> usize {
        self.lines.len() * WAYS
    }

    /// The hash of a key, for the other verbs.
    #[inline]
    pub(crate) fn hash(&self, key: &L::Key) -> u64 {
        L::hash(&self.keys, key)
    }

    /// Asks for the line where the flow most likely is.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(&raw const self.lines[self.home(hash)]);
    }

    /// Asks for the other lines where it may be.
    #[inline]
    pub(crate) fn prefetch_beyond(&self, hash: u64) {
        for line in &self.choices(hash)[1..] {
            prefetch(&raw const self.lines[*line]);
        }
    }

    /// Asks for where the affinity is remembered of a flow in the line where it most likely is.
    #[inline]
    pub(crate) fn prefetch_cells(&self, hash: u64) {
        prefetch(&raw const self.cells[self.home(hash)]);
    }

    /// Where the flow is.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &L::Key) -> Option<Place> {
        let home = self.find_home(hash, key);
        home.or_else(|| self.find_beyond(hash, key))
    }

    /// The flow, if it is in the line where it most likely is, and settled.
    #[inline]
    pub(crate) fn settled(&self, hash: u64, key: &L::Key, at: Settled) -> Option<Flow> {
        self.lines[self.home(hash)].settled(key, at)
    }

    /// Where the flow is, if it is in the line where it most likely is.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "measured: a call for each packet costs more"
    )]
    pub(crate) fn find_home(&self, hash: u64, key: &L::Key) -> Option<Place> {
        let home = self.home(hash);
        let way = self.lines[home].find(key)?;
        Some(place(home, way))
    }

    /// Where the flow is, if it is in another line than that.
    pub(crate) fn find_beyond(&self, hash: u64, key: &L::Key) -> Option<Place> {
        let choices = self.choices(hash);
        let looked_at = if self.elsewhere > 0 { CHOICES } else { 2 };
        choices[1..looked_at]
            .iter()
            .find_map(|line| Some(place(*line, self.lines[*line].find(key)?)))
    }

    /// The flow at a place.
    #[inline]
    pub(crate) fn get(&self, place: Place) -> Flow {
        self.lines[place.line as usize].flow(place.way.into())
    }

    /// Changes the flow at a place; its key stays.
    #[inline]
    pub(crate) fn set(&mut self, place: Place, flow: Flow) {
        self.lines[place.line as usize].set_flow(place.way.into(), flow);
    }

    /// The affinity that placed the flow at a place; of one that none placed, nothing useful.
    #[inline]
    pub(crate) fn cell(&self, place: Place) -> CellId {
        self.cells[place.line as usize][usize::from(place.way)]
    }

    /// The session of the flow at a place, if it has one.
    #[inline]
    pub(crate) fn session(&self, place: Place) -> Option<SessionId> {
        if self.attached == 0 {
            return None;
        }
        SessionId::from_bits(self.sessions[place.line as usize][usize::from(place.way)])
    }

    /// Asks for the memory of [`Self::session`] ahead of its use.
    #[inline]
    pub(crate) fn prefetch_session(&self, place: Place) {
        prefetch(&raw const self.sessions[place.line as usize]);
    }

    /// Gives the flow at a place a session, or takes it away.
    pub(crate) fn attach(&mut self, place: Place, session: Option<SessionId>) {
        let known = &mut self.sessions[place.line as usize][usize::from(place.way)];
        self.attached -= usize::from(*known != 0);
        *known = SessionId::bits(session);
        self.attached += usize::from(*known != 0);
    }

    /// Remembers a flow that is not in the table. `expired` says what has timed out.
    pub(crate) fn insert(
        &mut self,
        hash: u64,
        key: &L::Key,
        flow: Flow,
        cell: Option<CellId>,
        expired: impl Fn(Flow, Option<SessionId>) -> bool,
    ) -> Inserted {
        let choices = self.choices(hash);
        let found = self
            .place_near(&choices, flow.seen(), &expired)
            .or_else(|| self.make_room(&choices));
        let Some(place) = found else {
            return Inserted::NoPlace;
        };
        let gone = self.take_out(place, &expired);
        self.put(place, hash, key, flow, cell);
        gone.map_or(Inserted::Free(place), |gone| {
            Inserted::InsteadOf(place, gone)
        })
    }

    /// Forgets the flow at a place.
    pub(crate) fn remove(&mut self, place: Place) -> Option<Gone> {
        self.take_out(place, &|_, _| true)
    }

    /// Sweeps the next `lines` lines: forgets what has timed out and tells `each` of it. Both are given
    /// what they share.
    pub(crate) fn expire<C>(
        &mut self,
        lines: usize,
        shared: &mut C,
        expired: impl Fn(&C, Flow, Option<SessionId>) -> bool,
        mut each: impl FnMut(&mut C, Gone),
    ) {
        for _ in 0..lines.min(self.lines.len()) {
            let line = self.sweep;
            self.sweep = (line + 1) & (self.lines.len() - 1);
            for way in 0..WAYS {
                let flow = self.lines[line].flow(way);
                let at = place(line, way);
                let over = |flow, session| expired(shared, flow, session);
                if !flow.is_free()
                    && self.is_over(at, flow, &over)
                    && let Some(gone) = self.take_out(at, &|_, _| true)
                {
                    each(shared, gone);
                }
            }
        }
    }

    /// How many lines there are to sweep.
    pub(crate) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// The flows in one line, with their keys and cells: for those who look from outside.
    pub(crate) fn line(&self, line: usize) -> impl Iterator<Item = (L::Key, Flow, CellId)> + '_ {
        (0..WAYS).filter_map(move |way| {
            let flow = self.lines[line].flow(way);
            let key = self.lines[line].key(way)?;
            (!flow.is_free()).then_some((key, flow, self.cells[line][way]))
        })
    }

    /// Whether the flow at a place has timed out; its session is looked for only where it may keep it.
    fn is_over(
        &self,
        place: Place,
        flow: Flow,
        expired: &impl Fn(Flow, Option<SessionId>) -> bool,
    ) -> bool {
        let kept_by = |session| !expired(flow, Some(session));
        expired(flow, None) && !self.session(place).is_some_and(kept_by)
    }

    fn take_out(
        &mut self,
        place: Place,
        expired: &impl Fn(Flow, Option<SessionId>) -> bool,
    ) -> Option<Gone> {
        let flow = self.get(place);
        if flow.is_free() {
            return None;
        }
        let line = place.line as usize;
        if let Some(key) = self.lines[line].key(place.way.into()) {
            let is_elsewhere = !self.is_near_home(self.hash(&key), line);
            self.elsewhere -= usize::from(is_elsewhere);
        }
        let cell = flow.placement().by_affinity().then(|| self.cell(place));
        let session = self.session(place);
        if session.is_some() {
            self.attach(place, None);
        }
        self.set(place, Flow::FREE);
        self.flows -= 1;
        Some(Gone {
            flow,
            cell,
            session,
            evicted: !expired(flow, session),
        })
    }

    fn first(
        &self,
        choices: &[usize; CHOICES],
        wanted: impl Fn(Place, Flow) -> bool,
    ) -> Option<Place> {
        choices.iter().find_map(|line| {
            let wants = |way: &usize| wanted(place(*line, *way), self.lines[*line].flow(*way));
            (0..WAYS).find(wants).map(|way| place(*line, way))
        })
    }

    /// Moves a flow near to another of its own lines, and gives its place.
    #[cold]
    fn make_room(&mut self, choices: &[usize; CHOICES]) -> Option<Place> {
        let (from, hash, to) = choices.iter().find_map(|line| {
            (0..WAYS).find_map(|way| {
                let hash = self.hash(&self.lines[*line].key(way)?);
                let others = self.choices(hash);
                let to = self.first(&others, |_, flow| flow.is_free())?;
                Some((place(*line, way), hash, to))
            })
        })?;
        let (key, cell) = (
            self.lines[from.line as usize].key(from.way.into())?,
            self.cell(from),
        );
        let moved = self.take_out(from, &|_, _| true)?;
        self.put(to, hash, &key, moved.flow, Some(cell));
        if moved.session.is_some() {
            self.attach(to, moved.session);
        }
        Some(from)
    }

    /// Stores a flow in a free place. Where no affinity placed it, what stands beside it stays: that is
    /// memory which nobody has asked for.
    fn put(&mut self, place: Place, hash: u64, key: &L::Key, flow: Flow, cell: Option<CellId>) {
        let line = place.line as usize;
        self.lines[line].set_key(place.way.into(), key);
        self.set(place, flow);
        if let Some(cell) = cell {
            self.cells[line][usize::from(place.way)] = cell;
        }
        self.flows += 1;
        self.elsewhere += usize::from(!self.is_near_home(hash, line));
    }

    /// Whether a line is one of the first two of a hash.
    #[inline]
    fn is_near_home(&self, hash: u64, line: usize) -> bool {
        line | 1 == self.home(hash) | 1
    }

    /// The first place near that is free or whose flow has timed out; else that of the half-open flow that
    /// was seen longest ago, of several the first.
    fn place_near(
        &self,
        choices: &[usize; CHOICES],
        now: Tick,
        expired: &impl Fn(Flow, Option<SessionId>) -> bool,
    ) -> Option<Place> {
        let mut oldest = [0; WAYS];
        for (choice, line) in (0..).zip(choices) {
            let flows = self.lines[*line].flows();
            if flows.map(|flow| flow.is_doubtful(now)).contains(&true) {
                let usable = |way: &usize| {
                    let flow = flows[*way];
                    flow.is_free() || self.is_over(place(*line, *way), flow, expired)
                };
                if let Some(way) = (0..WAYS).find(usable) {
                    return Some(place(*line, way));
                }
            }
            // Four at once: all that is done here has a vector's form.
            for (way, oldest) in oldest.iter_mut().enumerate() {
                let rank = flows[way].eviction(now, choice * 4 + SEATS[way]);
                *oldest = if rank > *oldest { rank } else { *oldest };
            }
        }
        let seat = Flow::seat_of(oldest.into_iter().fold(0, i32::max))?;
        Some(place(choices[seat / WAYS], seat % WAYS))
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash do")]
    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.lines.len() - 1)
    }

    fn choices(&self, hash: u64) -> [usize; CHOICES] {
        let (home, other) = (self.home(hash), self.home(hash.rotate_right(32)));
        [home, home ^ 1, other, other ^ 1]
    }
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "lines and ways are few enough"
)]
fn place(line: usize, way: usize) -> Place {
    Place {
        line: line as u32,
        way: way as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        key::{Key4, Ports, Protocol},
        tables::id::BackendId,
    };
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(client: u32) -> Key4 {
        Key4 {
            source: client,
            destination: 1,
            ports: Ports::new(1000, 80),
            protocol: Protocol::Tcp,
        }
    }

    fn half_open(backend: u16, seen: Tick) -> Flow {
        Flow::opened(
            Protocol::Tcp,
            BackendId(backend),
            Placement::Scheduler,
            seen,
        )
    }

    fn established(backend: u16, seen: Tick) -> Flow {
        half_open(backend, seen).after(TcpEvent::Other, seen)
    }

    fn insert(table: &mut FlowTable<Line4>, key: &Key4, flow: Flow) -> Inserted {
        let hash = table.hash(key);
        table.insert(hash, key, flow, None, |_, _| false)
    }

    fn found(table: &FlowTable<Line4>, key: &Key4) -> Option<Flow> {
        let place = table.find(table.hash(key), key)?;
        Some(table.get(place))
    }

    #[test]
    fn tcp_and_udp_of_one_tuple_are_two_flows() {
        let mut table: FlowTable<Line4> = FlowTable::new(8);
        insert(&mut table, &key(1), half_open(3, Tick(0)));
        let udp = Key4 {
            protocol: Protocol::Udp,
            ..key(1)
        };
        assert_eq!(found(&table, &udp), None);
        assert_eq!(
            found(&table, &key(1)).map(Flow::backend),
            Some(BackendId(3))
        );
    }

    #[test]
    fn a_flood_of_half_open_flows_pushes_out_no_established_one() {
        let (flows, flood) = if cfg!(miri) {
            (32, 500)
        } else {
            (512, 100_000)
        };
        let mut table: FlowTable<Line4> = FlowTable::new(flows);
        let kept: Vec<u32> = (0..if cfg!(miri) { 16 } else { 256 })
            .filter(|client| {
                let inserted = insert(&mut table, &key(*client), established(1, Tick(1)));
                inserted != Inserted::NoPlace
            })
            .collect();
        assert!(kept.len() * 10 > flows * 4);
        for client in 1000..1000 + flood {
            insert(&mut table, &key(client), half_open(2, Tick(2)));
        }
        assert_eq!(table.len(), table.capacity());
        for client in kept {
            assert_eq!(
                found(&table, &key(client)).map(Flow::backend),
                Some(BackendId(1))
            );
        }
    }

    #[test]
    fn full_of_established_flows_there_is_no_place() {
        let mut table: FlowTable<Line4> = FlowTable::new(8);
        let flows = if cfg!(miri) { 60 } else { 1000 };
        let refused = (0..flows)
            .filter(|client| {
                insert(&mut table, &key(*client), established(1, Tick(0))) == Inserted::NoPlace
            })
            .count();
        assert_eq!(table.len(), table.capacity());
        assert_eq!(refused, flows as usize - table.capacity());
    }

    #[test]
    fn nominal_capacity_finds_a_place_for_every_flow() {
        let flows = if cfg!(miri) { 64 } else { 100_000 };
        let mut table: FlowTable<Line4> = FlowTable::new(flows as usize);
        for client in 0..flows {
            assert_ne!(
                insert(&mut table, &key(client), established(1, Tick(0))),
                Inserted::NoPlace
            );
        }
    }

    #[test]
    fn a_sweep_forgets_what_timed_out_and_says_so() {
        let mut table: FlowTable<Line4> = FlowTable::new(64);
        insert(&mut table, &key(1), established(1, Tick(0)));
        insert(&mut table, &key(2), established(2, Tick(9)));
        let mut gone = Vec::new();
        let lines = table.lines();
        table.expire(
            lines,
            &mut (),
            |(), flow, _| Tick(10).since(flow.seen()) > 5,
            |(), it| gone.push(it),
        );
        assert_eq!(
            gone.iter()
                .map(|it| it.flow.backend().0)
                .collect::<Vec<_>>(),
            [1]
        );
        assert!(!gone[0].evicted);
        assert_eq!((table.len(), found(&table, &key(1))), (1, None));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32, u16),
        Remove(u32),
        Sweep(usize, u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0_u32..60, 0_u16..100).prop_map(|(client, backend)| Step::Insert(client, backend)),
            1 => (0_u32..60).prop_map(Step::Remove),
            1 => (0_usize..20, 0_u16..100).prop_map(|(lines, backend)| Step::Sweep(lines, backend)),
        ];
        prop::collection::vec(step, 1..if cfg!(miri) { 50 } else { 200 })
    }

    proptest! {
        #![proptest_config(crate::models::cases(128))]
        #[test]
        fn it_agrees_with_a_map_after_every_step(steps in steps()) {
            // Small enough that flows live elsewhere than in their first two lines.
            let mut table: FlowTable<Line4> = FlowTable::new(32);
            let mut oracle: BTreeMap<u32, u16> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(client, backend) if !oracle.contains_key(&client) => {
                        if insert(&mut table, &key(client), established(backend, Tick(0))) != Inserted::NoPlace {
                            oracle.insert(client, backend);
                        }
                    }
                    Step::Insert(client, backend) => {
                        let place = table.find(table.hash(&key(client)), &key(client)).unwrap();
                        table.set(place, established(backend, Tick(0)));
                        oracle.insert(client, backend);
                    }
                    Step::Remove(client) => {
                        if let Some(place) = table.find(table.hash(&key(client)), &key(client)) {
                            table.remove(place);
                        }
                        oracle.remove(&client);
                    }
                    Step::Sweep(lines, below) => {
                        let (mut gone, before) = (0, oracle.len());
                        table.expire(lines, &mut (), |(), flow, _| flow.backend().0 < below, |(), _| gone += 1);
                        oracle.retain(|client, backend| {
                            *backend >= below || found(&table, &key(*client)).is_some()
                        });
                        prop_assert_eq!(oracle.len(), before - gone);
                    }
                }
                prop_assert_eq!(table.len(), oracle.len());
                for client in 0..60 {
                    let backend = found(&table, &key(client)).map(|flow| flow.backend().0);
                    prop_assert_eq!(backend, oracle.get(&client).copied());
                }
            }
        }
    }
}
