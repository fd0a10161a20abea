//! One key that is held.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{Options, Outcome, affinity::Hold, batch::What, options::Lifetime};

/// Until the forwarder says what it granted: the default of `[service.affinity] duration`.
const ASSUMED_DURATION: Duration = Duration::from_mins(30);

/// What the forwarder knows of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A start is on its way.
    Sent,
    /// A start was on its way when the connection broke, or could not be sent.
    Unknown,
    /// It has said yes.
    Acked { epoch: u64, generation: u64 },
}

/// One key that is held.
#[derive(Debug)]
pub(crate) struct Held {
    /// Tells it from an earlier one of the same key, whose outcomes may still come.
    pub(crate) life: u64,
    options: Options,
    holds: Vec<Arc<Hold>>,
    detached: bool,
    pub(crate) standing: Standing,
    duration: Duration,
    // `None`: until ended.
    deadline: Option<Instant>,
    // A deadline that the application has asked for and this table has not granted.
    wanted: Option<Instant>,
}

impl Held {
    pub(crate) fn new(life: u64, options: Options, hold: Arc<Hold>, now: Instant) -> Self {
        let (duration, deadline) = expect(options, now);
        let standing = Standing::Sent;
        Self {
            life,
            options,
            holds: vec![hold],
            detached: false,
            standing,
            duration,
            deadline,
            wanted: None,
        }
    }

    /// Another start of the same key: until it is answered, what was granted before holds.
    pub(crate) fn hold_again(&mut self, options: Options, hold: Arc<Hold>, now: Instant) {
        self.options = options;
        self.holds.push(hold);
        if !self.is_acked() {
            self.standing = Standing::Sent;
            (self.duration, self.deadline) = expect(options, now);
        }
    }

    pub(crate) fn holds(&self, hold: &Arc<Hold>) -> bool {
        self.holds.iter().any(|other| Arc::ptr_eq(other, hold))
    }

    pub(crate) fn release(&mut self, hold: &Arc<Hold>) {
        self.holds.retain(|other| !Arc::ptr_eq(other, hold));
    }

    pub(crate) fn detach(&mut self, hold: &Arc<Hold>) {
        self.detached |= self.holds(hold);
        self.release(hold);
    }

    /// How many hold it: guards, and one for all that were detached.
    pub(crate) fn holders(&self) -> usize {
        self.holds.len() + usize::from(self.detached)
    }

    pub(crate) fn generation(&self) -> Option<u64> {
        match self.standing {
            Standing::Acked { generation, .. } => Some(generation),
            Standing::Sent | Standing::Unknown => None,
        }
    }

    pub(crate) fn is_acked(&self) -> bool {
        matches!(self.standing, Standing::Acked { .. })
    }

    /// Whether the table of this epoch has it, or is being asked.
    pub(crate) fn is_known(&self, epoch: u64) -> bool {
        match self.standing {
            Standing::Sent => true,
            Standing::Unknown => false,
            Standing::Acked { epoch: acked, .. } => acked == epoch,
        }
    }

    /// The forwarder has ended what was bound to the session that broke (S6).
    pub(crate) fn see_new_session(&mut self) {
        if self.options.bound_to_session {
            self.standing = Standing::Unknown;
        }
    }

    /// A start has been granted.
    pub(crate) fn started(&mut self, outcome: &Outcome, now: Instant) {
        self.duration = outcome.granted.unwrap_or(self.duration);
        self.acked(outcome, now);
    }

    /// An extension has been granted, or a start: this is where the deadline is now.
    pub(crate) fn acked(&mut self, outcome: &Outcome, now: Instant) {
        let Outcome {
            epoch, generation, ..
        } = *outcome;
        self.standing = Standing::Acked { epoch, generation };
        let remaining = outcome.remaining.unwrap_or(self.duration);
        self.deadline = if outcome.until_ended {
            None
        } else {
            now.checked_add(remaining)
        };
    }

    /// Keeps an extension in mind that has not been granted, unless it comes too late (T3).
    pub(crate) fn want_extension(&mut self, duration: Option<Duration>, now: Instant) {
        if !self.has_run_out(now) {
            let wanted = now.checked_add(duration.unwrap_or(self.duration));
            self.wanted = self.wanted.max(wanted);
        }
    }

    pub(crate) fn wants_extension(&self) -> bool {
        self.wanted.is_some()
    }

    /// The extension to what is wanted, once.
    pub(crate) fn extend(&mut self, now: Instant) -> Option<What> {
        let left = self.wanted.take()?.checked_duration_since(now)?;
        (!left.is_zero()).then_some(What::Extend {
            duration: Some(left),
        })
    }

    /// What is left of it, as far as this process knows.
    fn remaining(&self, now: Instant) -> Option<Duration> {
        let deadline = self.deadline?;
        let touched = self.holds.iter().map(|hold| hold.touched()).max();
        let touched = touched.and_then(|at| at.checked_add(self.duration));
        let latest = Some(deadline).max(touched).max(self.wanted);
        latest.map(|latest| latest.saturating_duration_since(now))
    }

    pub(crate) fn has_run_out(&self, now: Instant) -> bool {
        self.remaining(now) == Some(Duration::ZERO)
    }

    /// Whether nobody would miss it.
    pub(crate) fn is_forgettable(&self, now: Instant) -> bool {
        self.holds.is_empty() && self.has_run_out(now)
    }

    /// The start that asserts it again, with the time that is left (T6). It gives no more than the
    /// duration: what was granted beyond it is to be asked for once more.
    pub(crate) fn assert(&mut self, now: Instant) -> What {
        self.standing = Standing::Sent;
        let remaining = self.remaining(now);
        if let Some(beyond) = remaining.filter(|left| *left > self.duration) {
            self.wanted = now.checked_add(beyond);
        }
        What::Start {
            options: self.options,
            remaining,
        }
    }
}

/// Duration and deadline, before the forwarder says what it grants.
fn expect(options: Options, now: Instant) -> (Duration, Option<Instant>) {
    match options.lifetime {
        Lifetime::ServiceDefault => (ASSUMED_DURATION, now.checked_add(ASSUMED_DURATION)),
        Lifetime::For(duration) => (duration, now.checked_add(duration)),
        Lifetime::UntilEnded => (ASSUMED_DURATION, None),
    }
}
