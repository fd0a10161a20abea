//! What this process holds, and what the forwarder knows of it. No I/O; time is an argument.
//!
//! ```text
//!            start ──▶ Sent ──positive──▶ Acked{epoch} ──new epoch──▶ asserted again
//!   away:    start ──▶ Unknown ◀──lost── Sent             refused ──▶ forgotten
//! ```
//!
//! A key whose time has run out, as far as this process knows, is not asserted again: another
//! server may own the client by now. One that is refused for the moment (the backend is not up yet,
//! the table is full) is asserted again after a second. An extension that the forwarder has not
//! heard, or that a new table does not know, is asked for once it has the affinity. Ends that could
//! not be said are said when the forwarder is back, whatever its epoch: a new one says that something
//! may be missing, not that the table is empty.
//!
//! UNAVAILABLE may also mean that the forwarder cannot write down what it is told, which may have
//! been effective: a first start stays held and is asserted, an extension and an end are said again,
//! all of them after a second; what is held, for as long as its time has not run out.

mod ends;
mod held;

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

use tether_api::v1::{CompactOutcome, OutcomeCode};

use crate::{
    Error, Key, Options, Outcome,
    affinity::Hold,
    batch::{Asked, What},
    client::Command,
    pending::Promise,
};
use ends::Ends;
use held::{Held, Standing};

/// A refusal such as UNAVAILABLE may be over by then: the forwarder checks health about as often.
const ASSERT_AGAIN: Duration = Duration::from_secs(1);
/// While all that may be held is held, what nobody would miss is looked for as often as this.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

/// What this process holds.
#[derive(Debug)]
pub(crate) struct Ledger {
    held: HashMap<Key, Held>,
    held_max: usize,
    lives: u64,
    epoch: Option<u64>,
    ends: Ends,
    // May name keys that are acked or gone by now.
    to_assert: VecDeque<Key>,
    // As `to_assert`.
    to_extend: VecDeque<Key>,
    assert_again: Option<Instant>,
    look_for_room: Option<Instant>,
}

impl Ledger {
    pub(crate) fn new(held_max: usize) -> Self {
        Self {
            held: HashMap::new(),
            held_max,
            lives: 0,
            epoch: None,
            ends: Ends::new(held_max),
            to_assert: VecDeque::new(),
            to_extend: VecDeque::new(),
            assert_again: None,
            look_for_room: None,
        }
    }

    /// Notes what the application wants; gives the signal that says so, if there is one to send.
    pub(crate) fn note(&mut self, command: Command, now: Instant) -> Option<Asked> {
        match command {
            Command::Start {
                key,
                options,
                hold,
                promise,
            } => self.start(key, options, hold, promise, now),
            Command::Extend {
                key,
                duration,
                promise,
            } => {
                let life = self.held.get(&key).map_or(0, |held| held.life);
                let what = What::Extend { duration };
                Some(Asked {
                    key,
                    life,
                    what,
                    promise: Some(promise),
                })
            }
            Command::Release { key, hold, promise } => self.release(key, &hold, promise),
            Command::Detach { key, hold } => {
                if let Some(held) = self.held.get_mut(&key) {
                    held.detach(&hold);
                }
                None
            }
            Command::End { key, promise } => Some(self.end(key, promise)),
        }
    }

    fn end(&mut self, key: Key, promise: Promise) -> Asked {
        let generation = self.held.remove(&key).and_then(|held| held.generation());
        Asked {
            key,
            life: 0,
            what: What::End { generation },
            promise: Some(promise),
        }
    }

    fn start(
        &mut self,
        key: Key,
        options: Options,
        hold: Arc<Hold>,
        promise: Promise,
        now: Instant,
    ) -> Option<Asked> {
        self.make_room(now);
        self.ends.withdraw(&key);
        let room = self.held.len() < self.held_max;
        let life = match self.held.entry(key.clone()) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().hold_again(options, hold, now);
                entry.get().life
            }
            Entry::Vacant(place) if room => {
                self.lives += 1;
                place.insert(Held::new(self.lives, options, hold, now)).life
            }
            Entry::Vacant(_) => {
                promise.keep(Err(Error::TooManyHeld));
                return None;
            }
        };
        let what = What::Start {
            options,
            remaining: None,
        };
        Some(Asked {
            key,
            life,
            what,
            promise: Some(promise),
        })
    }

    /// A look at all that is held takes long, so it is not taken for each start.
    fn make_room(&mut self, now: Instant) {
        let is_due = self.look_for_room.is_none_or(|due| due <= now);
        if self.held.len() >= self.held_max && is_due {
            self.held.retain(|_, held| !held.is_forgettable(now));
            self.look_for_room = Some(now + LOOK_FOR_ROOM);
        }
    }

    fn release(&mut self, key: Key, hold: &Arc<Hold>, promise: Promise) -> Option<Asked> {
        let entry = self.held.get_mut(&key).filter(|held| held.holds(hold));
        let Some(entry) = entry else {
            promise.keep(Err(Error::NotHeld));
            return None;
        };
        entry.release(hold);
        match entry.holders() {
            0 => Some(self.end(key, promise)),
            others => {
                promise.keep(Err(Error::StillHeld(others)));
                None
            }
        }
    }

    /// Takes the outcome of a signal.
    pub(crate) fn answered(
        &mut self,
        asked: Asked,
        outcome: CompactOutcome,
        epoch: u64,
        now: Instant,
    ) {
        let outcome = Outcome::new(outcome, epoch);
        match asked.what {
            What::Start { .. } => self.started(&asked, &outcome, now),
            What::Extend { duration } => self.extended(&asked, duration, &outcome, now),
            What::End { generation } => self.ended(&asked, generation, &outcome, now),
        }
        match asked.promise {
            Some(promise) => promise.keep(Ok(outcome)),
            None => log::debug!(
                "tether: {:?}: {} {}",
                asked.what,
                outcome.code.as_str_name(),
                outcome.detail
            ),
        }
    }

    fn started(&mut self, asked: &Asked, outcome: &Outcome, now: Instant) {
        let Some(held) = living(&mut self.held, asked) else {
            return;
        };
        if outcome.is_effective() {
            held.started(outcome, now);
            if held.wants_extension() {
                self.to_extend.push_back(asked.key.clone());
            }
        } else if is_tried_again(asked, held, outcome.code) {
            held.standing = Standing::Unknown;
            self.assert_again.get_or_insert(now + ASSERT_AGAIN);
        } else if is_lost(outcome.code) || !held.is_acked() {
            self.held.remove(&asked.key);
        }
    }

    fn extended(
        &mut self,
        asked: &Asked,
        duration: Option<Duration>,
        outcome: &Outcome,
        now: Instant,
    ) {
        let Some(held) = living(&mut self.held, asked) else {
            return;
        };
        if outcome.is_effective() {
            held.acked(outcome, now);
        } else if outcome.code == OutcomeCode::Unavailable {
            held.want_extension(duration, now);
            self.assert_again.get_or_insert(now + ASSERT_AGAIN);
        } else if !held.is_acked() {
            // The table has not taken the assertion yet.
            held.want_extension(duration, now);
        } else if is_lost(outcome.code) {
            self.held.remove(&asked.key);
        }
    }

    fn ended(&mut self, asked: &Asked, generation: Option<u64>, outcome: &Outcome, now: Instant) {
        // What is held again must not end by it.
        if outcome.code == OutcomeCode::Unavailable && !self.held.contains_key(&asked.key) {
            self.ends.refuse((asked.key.clone(), generation));
            self.assert_again.get_or_insert(now + ASSERT_AGAIN);
        }
    }

    /// Takes back a signal that has no outcome: the forwarder went away, or was not there.
    pub(crate) fn unanswered(&mut self, asked: Asked, away: &Arc<str>, now: Instant) {
        let held = living(&mut self.held, &asked);
        match asked.what {
            What::Start { .. } => {
                if let Some(held) = held {
                    held.standing = Standing::Unknown;
                }
            }
            What::Extend { duration } => {
                if let Some(held) = held {
                    held.want_extension(duration, now);
                }
            }
            What::End { generation } => self.ends.keep((asked.key, generation)),
        }
        if let Some(promise) = asked.promise {
            promise.keep(Err(Error::Away(Arc::clone(away))));
        }
    }

    /// Takes the epoch of an answer. A connection's first answer is always told, so that what was
    /// said to nobody is said again.
    pub(crate) fn see_epoch(&mut self, epoch: u64, first_answer: bool) {
        let before = self.epoch.replace(epoch);
        let is_new = before != Some(epoch);
        if before.is_none() {
            // Nothing was said to anybody yet that could be ended.
            self.ends.clear();
        }
        if first_answer {
            self.held.values_mut().for_each(Held::see_new_session);
        }
        if is_new || first_answer {
            self.plan_assertions(epoch);
        }
    }

    fn plan_assertions(&mut self, epoch: u64) {
        self.to_assert.clear();
        self.to_extend.clear();
        self.assert_again = None;
        self.ends.say_again();
        for (key, held) in &self.held {
            if !held.is_known(epoch) {
                self.to_assert.push_back(key.clone());
            } else if held.is_acked() && held.wants_extension() {
                self.to_extend.push_back(key.clone());
            }
        }
    }

    /// When there will be something owed without any answer coming.
    pub(crate) fn owes_at(&self) -> Option<Instant> {
        self.assert_again
    }

    /// The next signal that the library owes the forwarder.
    pub(crate) fn next_owed(&mut self, now: Instant) -> Option<Asked> {
        if let Some(epoch) = self.epoch
            && self.assert_again.is_some_and(|due| due <= now)
        {
            self.plan_assertions(epoch);
        }
        if let Some((key, generation)) = self.ends.next() {
            let what = What::End { generation };
            return Some(Asked {
                key,
                life: 0,
                what,
                promise: None,
            });
        }
        let epoch = self.epoch?;
        self.next_assertion(epoch, now)
            .or_else(|| self.next_extension(now))
    }

    fn next_assertion(&mut self, epoch: u64, now: Instant) -> Option<Asked> {
        while let Some(key) = self.to_assert.pop_front() {
            let Some(held) = self.held.get_mut(&key) else {
                continue;
            };
            if held.is_known(epoch) || held.has_run_out(now) {
                continue;
            }
            let what = held.assert(now);
            return Some(Asked {
                key,
                life: held.life,
                what,
                promise: None,
            });
        }
        None
    }

    fn next_extension(&mut self, now: Instant) -> Option<Asked> {
        while let Some(key) = self.to_extend.pop_front() {
            let Some(held) = self.held.get_mut(&key) else {
                continue;
            };
            if let Some(what) = held.extend(now) {
                return Some(Asked {
                    key,
                    life: held.life,
                    what,
                    promise: None,
                });
            }
        }
        None
    }
}

/// What a signal was about, unless it has been ended or lost since.
fn living<'a>(held: &'a mut HashMap<Key, Held>, asked: &Asked) -> Option<&'a mut Held> {
    let held = held.get_mut(&asked.key);
    held.filter(|held| held.life == asked.life)
}

/// Whether a start that was refused is made again. Of a first one by the application only where it
/// may have been effective; a refresh leaves what was granted before.
fn is_tried_again(asked: &Asked, held: &Held, code: OutcomeCode) -> bool {
    match asked.promise {
        None => is_for_the_moment(code),
        Some(_) => code == OutcomeCode::Unavailable && !held.is_acked(),
    }
}

/// Whether the same start may be granted a little later.
fn is_for_the_moment(code: OutcomeCode) -> bool {
    matches!(
        code,
        OutcomeCode::Unavailable | OutcomeCode::Quota | OutcomeCode::Full
    )
}

/// Whether the outcome says that this process does not own the client any more.
fn is_lost(code: OutcomeCode) -> bool {
    use OutcomeCode as Code;
    match code {
        Code::Conflict | Code::NotFound | Code::NotOwner | Code::Stale => true,
        Code::Unspecified
        | Code::Created
        | Code::Refreshed
        | Code::Replaced
        | Code::Extended
        | Code::Ended
        | Code::Unavailable
        | Code::Invalid
        | Code::TooBroad
        | Code::Quota
        | Code::Full
        | Code::Denied => false,
    }
}

#[cfg(test)]
mod tests;
