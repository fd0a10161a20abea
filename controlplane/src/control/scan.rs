//! A walk through all affinities, a bounded part of it in each turn: to list, count or end them.
//! However many walks there are, they share what a turn looks at (contract rule S10).
//!
//! The cursor is a place, and an affinity keeps its place for life: each that exists throughout the
//! walk is met exactly once, whatever is started and ended meanwhile (contract rule S9).

use super::{Answer, Control};
use crate::{
    master::{Change, Record, Why},
    operator::rows,
    signal::Identity,
};
use hashbrown::HashSet;
use std::net::SocketAddr;
use tether_api::{
    Source,
    operator::{AffinityCount, AffinityState, End, Entry, Flushed, Payload, Response},
    v1,
};
use tether_dataplane::{
    clock::Millis,
    tables::{
        affinity,
        id::{BackendId, ServiceId},
    },
};
use tokio::sync::mpsc::{Permit, Sender, error::TrySendError};

/// Places that one turn looks at, for all walks together.
const PLACES: u32 = 16_384;

/// Which affinities; `None` matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) service: Option<ServiceId>,
    pub(crate) owners: Option<HashSet<BackendId>>,
    pub(crate) source: Option<Source>,
    pub(crate) state: Option<AffinityState>,
    pub(crate) expiring_within_ms: Option<u64>,
}

/// What for.
#[derive(Debug)]
pub(crate) enum Act {
    /// To tell an operator of each.
    Tell(Sender<Response>, u64),
    /// To tell a server of each.
    Stream(Listing),
    /// To count them.
    Count(Sender<Response>, AffinityCount),
    /// To end them, as the operator with this user id wants it.
    Flush(Sender<Response>, u64, u32),
}

/// What a server is told.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Who asked.
    pub(crate) identity: Identity,
    /// Where to.
    pub(crate) entries: Sender<v1::AffinityEntry>,
    /// No more than so many.
    pub(crate) left: u64,
}

/// What one turn may look at, in equal shares; what one walk leaves, because its reader has no room,
/// is the others'.
#[derive(Debug)]
pub(super) struct Budget {
    places: u32,
    walks: u32,
}

/// The walk.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) filter: Filter,
    pub(crate) act: Act,
    /// The place to look at next.
    pub(crate) cursor: u32,
}

/// Whether the walk goes on.
enum Step {
    On,
    /// The reader has no room: not before the next turn.
    Wait,
    /// The reader has gone or has all that it wanted.
    Over,
}

impl Budget {
    /// A turn's, for these answers.
    pub(super) fn of(answers: &[Answer]) -> Self {
        let walks = answers.iter().filter(|it| matches!(it, Answer::Scan(_)));
        Self {
            places: PLACES,
            walks: u32::try_from(walks.count()).unwrap_or(u32::MAX),
        }
    }

    /// The next walk's share.
    fn share(&mut self) -> u32 {
        let share = self.places / self.walks.max(1);
        self.walks = self.walks.saturating_sub(1);
        share
    }
}

impl Scan {
    /// Goes on by its share of a turn.
    pub(super) fn advance(
        mut self,
        control: &mut Control,
        budget: &mut Budget,
        now: Millis,
    ) -> Option<Answer> {
        let end = control.master.records.end();
        let (from, share) = (self.cursor, budget.share());
        let step = self.walk(control, from.saturating_add(share).min(end), now);
        budget.places -= self.cursor.saturating_sub(from);
        match step {
            Step::Over => None,
            Step::On if self.cursor >= end => self.conclude(),
            Step::On | Step::Wait => Some(Answer::Scan(self)),
        }
    }

    fn walk(&mut self, control: &mut Control, until: u32, now: Millis) -> Step {
        while self.cursor < until {
            match self.meet(control, now) {
                Step::On => self.cursor += 1,
                stop => return stop,
            }
        }
        Step::On
    }

    fn meet(&mut self, control: &mut Control, now: Millis) -> Step {
        let record = control.master.records.at(self.cursor).copied();
        let Some(record) = record.filter(|it| self.filter.wants(control, it, now)) else {
            return Step::On;
        };
        match &mut self.act {
            Act::Tell(lines, told) => with_room(lines, |line| {
                let row = rows::affinity(control, &record, now);
                line.send(Response::Entry(Entry::Affinity(row)));
                *told += 1;
            }),
            Act::Stream(Listing { left: 0, .. }) => Step::Over,
            Act::Stream(Listing { entries, left, .. }) => with_room(entries, |entry| {
                entry.send(rows::entry(control, &record, now));
                *left -= 1;
            }),
            Act::Count(_, counted) => {
                count(counted, rows::state(control, &record));
                Step::On
            }
            Act::Flush(_, ended, uid) => {
                // Ending cannot be refused: it needs no cell.
                let _ = control.state().apply(Change::End(record, Why::Operator));
                control.has_changed = true;
                control.audit_flush(*uid, &record, now);
                *ended += 1;
                Step::On
            }
        }
    }

    /// The last line, sent in the next turn: by then what was flushed is published.
    fn conclude(self) -> Option<Answer> {
        match self.act {
            Act::Tell(lines, entries) => {
                let end = Response::End(End { entries });
                Some(Answer::Line(lines, Box::new(end)))
            }
            Act::Stream(_) => None,
            Act::Count(lines, counted) => Some(Answer::ok(lines, Payload::AffinityCount(counted))),
            Act::Flush(lines, ended, uid) => {
                log::info!("operator {uid} has ended {ended} affinities");
                Some(Answer::decided(lines, Payload::Flushed(Flushed { ended })))
            }
        }
    }
}

fn with_room<T>(reader: &Sender<T>, tell: impl FnOnce(Permit<'_, T>)) -> Step {
    match reader.try_reserve() {
        Ok(room) => {
            tell(room);
            Step::On
        }
        Err(TrySendError::Full(())) => Step::Wait,
        Err(TrySendError::Closed(())) => Step::Over,
    }
}

fn count(counted: &mut AffinityCount, state: AffinityState) {
    counted.total += 1;
    match state {
        AffinityState::Active => counted.active += 1,
        AffinityState::Suspended => counted.suspended += 1,
        AffinityState::Draining => counted.draining += 1,
    }
}

impl Filter {
    /// Whether an affinity matches; one whose deadline has come never does (contract rule T5).
    fn wants(&self, control: &Control, record: &Record, now: Millis) -> bool {
        let view = control.writer.affinities().view(record.cell);
        let remaining_ms = view.deadline.since(now);
        let is_open = view.deadline == Millis::NEVER;
        remaining_ms > 0
            && self.service.is_none_or(|it| it == record.key.service)
            && self
                .owners
                .as_ref()
                .is_none_or(|it| it.contains(&record.owner))
            && self
                .source
                .is_none_or(|it| is_within(record.key.source, it))
            && self
                .state
                .is_none_or(|it| it == rows::state(control, record))
            && self
                .expiring_within_ms
                .is_none_or(|within| !is_open && remaining_ms <= within)
    }
}

/// Whether all clients of `inner` are clients of `outer`.
pub(crate) fn is_within(inner: affinity::Source, outer: Source) -> bool {
    let port = inner.port().map_or(0, std::num::NonZeroU16::get);
    inner.prefix() >= outer.prefix_length()
        && outer.contains(SocketAddr::new(inner.address(), port))
}
