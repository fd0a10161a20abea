//! The flows that one worker remembers: of fixed size, in cache-line buckets of four.
//!
//! A flow is in one of the two neighbouring lines that its hash chooses, or, where these are full,
//! in one of two others. A new flow takes a free or timed-out place; failing that, the place of the
//! oldest half-open flow near it; never that of an established one, which at most moves to another
//! of its own lines (a SYN flood pushes out only its like). Without any place the flow is forwarded
//! all the same, but not remembered. In a crowded table, where nearly every place is taken, a half-open
//! flow in the first two lines gives way without a look at the others: a flood waits for no other memory.
//!
//! Costs: 16 bytes of key and state for each IPv4 place, and 8 for what an affinity placed; one
//! cache line per packet of a known flow.

mod line;
#[cfg(test)]
mod model;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use line::{Line, Line4, Line6};
pub(crate) use state::{Flow, Placement, Settled, TcpEvent, Tick};

use crate::{hash::HashKeys, huge, sessions::SessionId, simd::prefetch, tables::affinity::CellId};

/// Places in a line.
pub(crate) const WAYS: usize = 4;
/// Lines that a flow may be in: two neighbours, and two others.
const CHOICES: usize = 4;
const LAST_CHOICE: i32 = 3;
/// Flows of two lines that are elsewhere: as many as are counted.
const MANY: u8 = u8::MAX;
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
    /// For each two neighbouring lines, how many flows that belong there are not: where none is, nobody
    /// looks elsewhere. One that has come to `MANY` is not counted any more.
    elsewhere: Box<[u8]>,
    sweep: usize,
}

impl<L: Line> FlowTable<L> {
    /// Room for `flows` flows, in twice as many places.
    pub(crate) fn new(flows: usize) -> Self {
        let lines = Self::lines_for(flows);
        Self {
            lines: huge::slice(lines, |_| L::default()),
            cells: huge::slice(lines, |_| [CellId::default(); WAYS]),
            sessions: vec![[0; WAYS]; lines].into_boxed_slice(),
            attached: 0,
            keys: HashKeys::random(),
            flows: 0,
            elsewhere: huge::slice(lines / 2, |_| 0),
            sweep: 0,
        }
    }

    fn lines_for(flows: usize) -> usize {
        (flows * 2).div_ceil(WAYS).next_power_of_two().max(CHOICES)
    }

    /// Bytes of a table with room for `flows` flows.
    pub(crate) fn bytes_for(flows: usize) -> usize {
        let lines = Self::lines_for(flows);
        lines * (size_of::<L>() + size_of::<[CellId; WAYS]>()) + lines / 2
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
        // Without a check: it is within, and asking for any address does no harm.
        prefetch(self.lines.as_ptr().wrapping_add(self.home(hash)));
    }

    /// Asks for the other lines where it may be.
    #[inline]
    pub(crate) fn prefetch_beyond(&self, hash: u64) {
        for line in self.beyond(&self.choices(hash)) {
            prefetch(&raw const self.lines[*line]);
        }
    }

    /// The lines where a flow may be that is not in the first.
    #[inline]
    fn beyond<'a>(&self, choices: &'a [usize; CHOICES]) -> &'a [usize] {
        let has_others = self.elsewhere[choices[0] / 2] > 0;
        if has_others {
            &choices[1..]
        } else {
            &choices[1..2]
        }
    }

    /// Asks for where the affinity is remembered of a flow with this hash, wherever it is.
    #[inline]
    pub(crate) fn prefetch_cells(&self, hash: u64) {
        // Those of two neighbouring lines are in one.
        let [home, _, other, _] = self.choices(hash);
        prefetch(&raw const self.cells[home]);
        prefetch(&raw const self.cells[other]);
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
        self.beyond(&self.choices(hash))
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
        if let Some(key) = self.lines[line].key(place.way.into())
            && let Some(count) = self.elsewhere(self.hash(&key), line)
        {
            *count -= u8::from(*count < MANY);
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
        if let Some(count) = self.elsewhere(hash, line) {
            *count = count.saturating_add(1);
        }
    }

    /// Where a flow with this hash is counted that is in a line, unless that is one of its first two.
    #[inline]
    fn elsewhere(&mut self, hash: u64, line: usize) -> Option<&mut u8> {
        let home = self.home(hash) / 2;
        (line / 2 != home).then(|| &mut self.elsewhere[home])
    }

    /// Whether nearly all places are taken.
    #[inline]
    fn is_crowded(&self) -> bool {
        self.flows > self.capacity() / 8 * 7
    }

    /// The first place near that is free or whose flow has timed out; else that of the half-open flow that
    /// was seen longest ago, of several the first. In a crowded table of the first two lines, if they have
    /// any.
    fn place_near(
        &self,
        choices: &[usize; CHOICES],
        now: Tick,
        expired: &impl Fn(Flow, Option<SessionId>) -> bool,
    ) -> Option<Place> {
        let mut oldest = [0; WAYS];
        for (choice, line) in (0_i32..).zip(choices) {
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
            let is_last = choice == LAST_CHOICE || (choice == 1 && self.is_crowded());
            if is_last && let Some(seat) = Flow::seat_of(oldest.into_iter().fold(0, i32::max)) {
                return Some(place(choices[seat / WAYS], seat % WAYS));
            }
        }
        None
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
