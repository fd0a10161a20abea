//! Signals, one after another: authorise, admit, plan, apply.

use super::Control;
use crate::{
    authorise::{Authorised, Authority, Speaker, authorise},
    command::Outcomes,
    master::{AHEAD, Boot, Change, Plan, plan, stored},
    signal::{Identity, Operation, Outcome, Signal},
};
use arrayvec::ArrayVec;
use std::sync::Arc;
use tether_api::v1::OutcomeCode;
use tether_dataplane::{
    clock::Millis,
    tables::{affinity::AffinityKey, id::BackendId},
};

/// How many signals had which outcome, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally([u64; 16]);

impl Tally {
    fn count(&mut self, code: OutcomeCode) {
        let place = usize::try_from(code as i32).unwrap_or_default();
        if let Some(count) = self.0.get_mut(place) {
            *count += 1;
        }
    }

    /// Every outcome's name and count.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let codes = (1_i32..).zip(&self.0[1..]);
        codes.filter_map(|(code, count)| {
            let code = OutcomeCode::try_from(code).ok()?;
            Some((code.as_str_name(), *count))
        })
    }
}

impl Control {
    /// Decides one sender's signals, in order (contract rule S3).
    pub(super) fn decide_all(
        &mut self,
        identity: &Identity,
        signals: &[Signal],
        now: Millis,
    ) -> Outcomes {
        let mut outcomes = Vec::with_capacity(signals.len());
        for ahead in signals.chunks(AHEAD) {
            let mut authority = Authority::new(&self.master.registry, identity);
            let authorised = ahead.iter().map(|it| authority.authorise(it));
            let authorised: ArrayVec<_, AHEAD> = authorised.collect();
            self.ask_for(authorised.iter().flatten());
            for (signal, authorised) in ahead.iter().zip(authorised) {
                let operation = signal.operation;
                outcomes.push(self.decide_authorised(identity, operation, authorised, now));
            }
        }
        Outcomes {
            outcomes,
            epoch: self.master.epoch,
            names: Arc::clone(self.master.registry.names()),
        }
    }

    /// Decides a signal and does what it asks for; effective for every worker once published.
    pub(crate) fn decide(&mut self, identity: &Identity, signal: &Signal, now: Millis) -> Outcome {
        let authorised = authorise(&self.master.registry, identity, signal);
        self.decide_authorised(identity, signal.operation, authorised, now)
    }

    /// Asks for the memory that these signals need, of all at once: by itself each would wait for it.
    fn ask_for<'a>(&self, signals: impl Iterator<Item = &'a Authorised<&'a Signal>>) {
        let keys = signals.filter_map(|signal| {
            let source = signal.said().source.as_ref().ok()?;
            Some(AffinityKey {
                service: signal.service(),
                source: stored(*source).ok()?,
            })
        });
        let keys: ArrayVec<AffinityKey, AHEAD> = keys.collect();
        self.writer.affinities().ask_for(&keys);
        self.master.records.ask_for(&keys);
    }

    fn decide_authorised(
        &mut self,
        identity: &Identity,
        operation: Operation,
        authorised: Result<Authorised<&Signal>, Box<Outcome>>,
        now: Millis,
    ) -> Outcome {
        let said = self.events.len();
        let outcome = match authorised {
            Ok(signal) => self.carry_out(&signal, now),
            Err(outcome) => *outcome,
        };
        self.tally.count(outcome.code);
        self.audit_signal(identity, operation, &outcome, said, now);
        if !outcome.code.is_positive() {
            let code = outcome.code.as_str_name();
            log::debug!("{code} to {identity:?}: {}", outcome.detail);
        }
        outcome
    }

    /// Ends what is bound to a session (contract rule S6).
    pub(super) fn close_session(&mut self, session: u64) {
        let ended = self.state().end_session(session);
        if ended > 0 {
            log::info!("session {session} has closed: {ended} affinities bound to it have ended");
            self.has_changed = true;
        }
    }

    fn carry_out(&mut self, signal: &Authorised<&Signal>, now: Millis) -> Outcome {
        if let Speaker::Backend(backend) = signal.speaker()
            && let Err(refusal) = self.admit(backend, signal, now)
        {
            return *refusal;
        }
        let cells = self.writer.affinities();
        let Plan { change, outcome } = plan(&self.master, cells, signal, now);
        match self.state().apply(change) {
            Ok(()) => {
                self.has_changed |= change != Change::Nothing;
                outcome
            }
            Err(refused) => {
                log::warn!("a start is refused: {refused}");
                refuse(signal, OutcomeCode::Full, refused.to_string())
            }
        }
    }

    /// Holds a backend to its rate (contract rule P4), and hears of a new life of its process (S7).
    fn admit(
        &mut self,
        id: BackendId,
        signal: &Authorised<&Signal>,
        now: Millis,
    ) -> Result<(), Box<Outcome>> {
        let rate = self.master.limits.signals_per_second_per_backend;
        let boot_id = signal.said().boot_id;
        let Some(backend) = self.master.registry.backend_mut(id) else {
            return Ok(());
        };
        if !backend.signals.take(rate, now) {
            let detail = format!(
                "backend {} sends more than {rate} signals a second, the limit of signals_per_second_per_backend",
                backend.settings.name
            );
            return Err(Box::new(refuse(signal, OutcomeCode::Quota, detail)));
        }
        match backend.boots.judge(boot_id) {
            Boot::Same => {}
            Boot::First => {
                backend.boots.begin(boot_id);
                self.has_booted(id);
            }
            Boot::Succeeded => {
                let detail = format!("boot_id: {boot_id} is over, a later life has signalled");
                return Err(Box::new(refuse(signal, OutcomeCode::Stale, detail)));
            }
            Boot::New => self.reboot(id, boot_id),
        }
        Ok(())
    }
}

fn refuse(signal: &Authorised<&Signal>, code: OutcomeCode, detail: String) -> Outcome {
    Outcome {
        code,
        key: signal.said().source.as_ref().ok().copied(),
        service: Some(signal.service()),
        detail,
        ..Outcome::default()
    }
}
