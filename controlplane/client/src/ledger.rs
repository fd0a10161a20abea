//! What this process holds, and what the forwarder knows of it. No I/O; time is an argument.
//!
//! ```text
//!            start ──▶ Sent ──positive──▶ Acked{epoch} ──new epoch──▶ asserted again
//!   away:    start ──▶ Unknown ◀──lost── Sent             refused ──▶ forgotten
//! ```
//!
//! A key whose time has run out, as far as this process knows, is not asserted again: another
//! server may own the client by now. One that is refused for the moment (the backend is not up yet,
//! the table is full) is asserted again after a second. Ends that could not be said are said when the forwarder is
//! back with the same table; a new table knows nothing to end.

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
use held::{Held, Standing};

/// A refusal such as UNAVAILABLE may be over by then: the forwarder checks health about as often.
const ASSERT_AGAIN: Duration = Duration::from_secs(1);

/// What this process holds.
#[derive(Debug)]
pub(crate) struct Ledger {
    held: HashMap<Key, Held>,
    held_max: usize,
    lives: u64,
    epoch: Option<u64>,
    // Said before anything else on the next connection.
    unsaid_ends: VecDeque<(Key, Option<u64>)>,
    // May name keys that are acked or gone by now.
    to_assert: VecDeque<Key>,
    assert_again: Option<Instant>,
}

impl Ledger {
    pub(crate) fn new(held_max: usize) -> Self {
        Self {
            held: HashMap::new(),
            held_max,
            lives: 0,
            epoch: None,
            unsaid_ends: VecDeque::new(),
            to_assert: VecDeque::new(),
            assert_again: None,
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
        if self.held.len() >= self.held_max {
            self.held.retain(|_, held| !held.is_forgettable(now));
        }
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
        if let Entry::Occupied(mut held) = self.held.entry(asked.key)
            && held.get().life == asked.life
        {
            if outcome.is_effective() {
                held.get_mut().acked(&outcome, now);
            } else if asked.promise.is_none() && is_for_the_moment(outcome.code) {
                held.get_mut().standing = Standing::Unknown;
                self.assert_again.get_or_insert(now + ASSERT_AGAIN);
            } else if is_lost(outcome.code) || !held.get().is_acked() {
                held.remove();
            }
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

    /// Takes back a signal that has no outcome: the forwarder went away, or was not there.
    pub(crate) fn unanswered(&mut self, asked: Asked, away: &Arc<str>) {
        match asked.what {
            What::Start { .. } => {
                let held = self.held.get_mut(&asked.key);
                if let Some(held) = held.filter(|held| held.life == asked.life) {
                    held.standing = Standing::Unknown;
                }
            }
            What::Extend { .. } => {}
            What::End { generation } => {
                if self.unsaid_ends.len() >= self.held_max {
                    self.unsaid_ends.pop_front();
                }
                self.unsaid_ends.push_back((asked.key, generation));
            }
        }
        if let Some(promise) = asked.promise {
            promise.keep(Err(Error::Away(Arc::clone(away))));
        }
    }

    /// Takes the epoch of an answer. A connection's first answer is always told, so that what was
    /// said to nobody is said again.
    pub(crate) fn see_epoch(&mut self, epoch: u64, first_answer: bool) {
        let is_new = self.epoch.replace(epoch) != Some(epoch);
        if is_new {
            self.unsaid_ends.clear();
        }
        if first_answer {
            self.held.values_mut().for_each(Held::see_new_session);
        }
        if is_new || first_answer {
            self.plan_assertions(epoch);
        }
    }

    fn plan_assertions(&mut self, epoch: u64) {
        let unknown = self.held.iter().filter(|(_, held)| !held.is_known(epoch));
        self.to_assert = unknown.map(|(key, _)| key.clone()).collect();
        self.assert_again = None;
    }

    /// When there will be something owed without any answer coming.
    pub(crate) fn owes_at(&self) -> Option<Instant> {
        self.assert_again
    }

    /// The next signal that the library owes the forwarder.
    pub(crate) fn next_owed(&mut self, now: Instant) -> Option<Asked> {
        if let Some((key, generation)) = self.unsaid_ends.pop_front() {
            let what = What::End { generation };
            return Some(Asked {
                key,
                life: 0,
                what,
                promise: None,
            });
        }
        let epoch = self.epoch?;
        if self.assert_again.is_some_and(|due| due <= now) {
            self.plan_assertions(epoch);
        }
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
