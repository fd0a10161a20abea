//! What of a turn goes into the audit log (contract rule P5): signals with who has sent them, and
//! what ends without one.

use super::Control;
use crate::{
    audit::{Audit, Line},
    journal::NotRecorded,
    master::{Event, Happened, Record, Why},
    operator::rows,
    signal::{Destination, Identity, Operation, Outcome, Signal},
};
use tether_api::{Source, v1::OutcomeCode};
use tether_dataplane::clock::Millis;

impl Control {
    /// A signal that was decided, after what has happened before and by it. `said` is how many
    /// events there were before it.
    pub(super) fn audit_signal(
        &mut self,
        identity: &Identity,
        operation: Operation,
        outcome: &Outcome,
        said: usize,
        now: Millis,
    ) {
        self.audit_events(now);
        let names = self.master.registry.names();
        let Some(line) = of_outcome(&mut self.audit, identity, operation, outcome, now) else {
            return;
        };
        let line = Line {
            service: names.service(outcome.service).to_owned(),
            owner: names.backend(outcome.owner).to_owned(),
            ..line
        };
        let line = match outcome.code {
            OutcomeCode::Ended => self.with_owner_of(line, said),
            _ => line,
        };
        self.audit_write(line);
    }

    /// Signals that are refused because nothing can be recorded: nobody has looked at them.
    pub(crate) fn audit_not_recorded(
        &mut self,
        identity: &Identity,
        signals: &[Signal],
        why: &NotRecorded,
        now: Millis,
    ) {
        if self.audit.is_none() {
            return;
        }
        let mut outcome = Outcome {
            code: OutcomeCode::Unavailable,
            detail: why.to_string(),
            ..Outcome::default()
        };
        self.audit_events(now);
        for signal in signals {
            outcome.key = signal.source.as_ref().ok().copied();
            let operation = signal.operation;
            let line = of_outcome(&mut self.audit, identity, operation, &outcome, now);
            let service = match &signal.destination {
                Destination::Service(name) => name.to_string(),
                Destination::Address(_) => String::new(),
            };
            if let Some(line) = line {
                self.audit_write(Line { service, ..line });
            }
        }
    }

    /// The outcome of an end names no owner: nobody has it any more.
    fn with_owner_of(&self, line: Line, said: usize) -> Line {
        let ended = self.events.get(said..).and_then(<[_]>::last);
        let owner = ended.map(|it| rows::backend_name(self, it.record.owner));
        Line {
            owner: owner.unwrap_or_default(),
            ..line
        }
    }

    /// What an operator has flushed.
    pub(super) fn audit_flush(&mut self, uid: u32, record: &Record, now: Millis) {
        let line = self.audit_line("end", record, now);
        if let Some(line) = line {
            self.audit_write(Line {
                identity: name(&Identity::Operator { uid }),
                outcome: OutcomeCode::Ended.as_str_name(),
                reason: "flush",
                ..line
            });
        }
    }

    /// The rest of what has happened in this turn.
    pub(super) fn audit_turn(&mut self, now: Millis) {
        self.audit_events(now);
        if let Some(audit) = &mut self.audit {
            audit.heard = 0;
            audit.own_up(now);
        }
    }

    /// What has happened since the last look without a signal that says it.
    fn audit_events(&mut self, now: Millis) {
        let Some(audit) = &mut self.audit else {
            return;
        };
        let from = std::mem::replace(&mut audit.heard, self.events.len());
        for place in from..self.events.len() {
            let event = self.events[place];
            self.audit_event(&event, now);
        }
    }

    fn audit_event(&mut self, event: &Event, now: Millis) {
        let (word, reason, by) = match event.what {
            Happened::Expired => ("expire", "", None),
            Happened::Replaced { by } => ("replace", "", Some(by)),
            Happened::Ended(Why::Owner | Why::Operator)
            | Happened::Started
            | Happened::Refreshed
            | Happened::Extended => return,
            Happened::Ended(why) => ("end", why.word(), None),
        };
        if let Some(line) = self.audit_line(word, &event.record, now) {
            let new_owner = by.map(|it| rows::backend_name(self, it));
            self.audit_write(Line {
                new_owner: new_owner.unwrap_or_default(),
                reason,
                ..line
            });
        }
    }

    /// A line about an affinity, if there is room for one.
    fn audit_line(&mut self, event: &'static str, record: &Record, now: Millis) -> Option<Line> {
        let audit = self.audit.as_mut()?;
        if !audit.admits(false, now) {
            return None;
        }
        let source = record.key.source;
        let client: Option<Source> = source.to_string().parse().ok();
        Some(Line {
            key: client.map(|it| audit.shown(it)),
            service: rows::name_of_service(self, record),
            owner: rows::backend_name(self, record.owner),
            ..Line::now(event)
        })
    }

    fn audit_write(&mut self, line: Line) {
        if let Some(audit) = &mut self.audit {
            audit.write(line);
        }
    }
}

/// The line of a signal but for names, if there is room for one.
fn of_outcome(
    audit: &mut Option<Audit>,
    identity: &Identity,
    operation: Operation,
    outcome: &Outcome,
    now: Millis,
) -> Option<Line> {
    let is_refusal = !outcome.code.is_positive();
    let audit = audit.as_mut()?;
    if !audit.admits(is_refusal, now) {
        return None;
    }
    // It may name the client.
    let detail = Some(&outcome.detail).filter(|_| audit.shows_clients());
    Some(Line {
        identity: name(identity),
        key: outcome.key.map(|it| audit.shown(it)),
        granted_ms: outcome.granted_ms,
        until_ended: outcome.until_ended && !is_refusal,
        outcome: outcome.code.as_str_name(),
        detail: detail.cloned().unwrap_or_default(),
        ..of_signal(operation, is_refusal)
    })
}

fn of_signal(operation: Operation, is_refusal: bool) -> Line {
    let signal = word(operation);
    if is_refusal {
        let refuse = Line::now("refuse");
        Line { signal, ..refuse }
    } else {
        Line::now(signal)
    }
}

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Start { .. } => "start",
        Operation::Extend { .. } => "extend",
        Operation::End { .. } => "end",
    }
}

fn name(identity: &Identity) -> String {
    match identity {
        Identity::Address(address) => format!("address:{address}"),
        Identity::Certificate(names) => format!("certificate:{}", names.join(",")),
        Identity::Operator { uid } => format!("operator:{uid}"),
    }
}
