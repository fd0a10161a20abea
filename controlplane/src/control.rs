//! The control thread: one turn after another, at its own pace.
//!
//! ```text
//! take ─▶ expire ─▶ decide and apply, in order ─▶ publish ─▶ reply ─▶ tell ─▶ go on with long answers
//! ```
//!
//! Everything that changes what workers read goes through here. Nothing waits: neither for a
//! worker nor for whoever reads a reply. A turn is bounded in what it takes, collects and scans.

mod answer;
mod inquiry;
mod pulse;
mod reload;
mod scan;
mod signals;
mod start;
#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
pub(crate) use inquiry::{Inquiry, Ticket};
pub(crate) use pulse::Pulse;
pub(crate) use scan::{Act, Filter, Scan};
pub(crate) use signals::Tally;
pub use start::StartError;

use crate::{
    command::{Command, Outcomes},
    config::Config,
    expiry::Wheel,
    master::{Event, Master, State},
    metrics, operator,
    ports::Ports,
    publish,
};
use crossbeam_channel::Receiver;
use std::time::Duration;
use tether_dataplane::{
    Generation,
    clock::{Clock, Millis},
    plane::Writer,
    tables::PortSpec,
};
use tokio::sync::oneshot;

/// How long the thread waits for a command before it looks after what is due.
const PAUSE: Duration = Duration::from_millis(20);
/// The same while long answers are under way.
const SHORT_PAUSE: Duration = Duration::from_millis(1);
/// Commands that one turn takes at most.
const COMMANDS: usize = 256;
/// Signals after which a turn takes no further command.
const SIGNALS: usize = 8192;
/// Affinities that one turn asks for expiry at most.
const EXPIRIES: usize = 16_384;

/// What the control thread owns.
pub struct Control {
    pub(crate) clock: Clock,
    pub(crate) started: Millis,
    pub(crate) config: Config,
    pub(crate) ports: Box<dyn Ports>,
    pub(crate) stations: Vec<PortSpec>,
    pub(crate) writer: Writer,
    pub(crate) master: Master,
    pub(crate) wheel: Wheel,
    pub(crate) tally: Tally,
    pub(crate) pulse: Pulse,
    pub(crate) inquiry: Inquiry,
    /// Answers that go out once this turn's changes are published, or in later turns.
    pub(crate) answers: Vec<Answer>,
    replies: Vec<(oneshot::Sender<Outcomes>, Outcomes)>,
    /// What has happened to affinities in this turn.
    pub(crate) events: Vec<Event>,
    pub(crate) published: Generation,
    /// Whether something has changed since the last publication.
    pub(crate) has_changed: bool,
    /// Whether the tables are to be built anew before the next.
    pub(crate) needs_tables: bool,
    /// When the next step of a backend that rises is due (`slow_start`).
    next_rise: Millis,
    is_stopping: bool,
}

impl Control {
    /// Takes turns until it is told to stop or nobody is left to tell it; then stops the workers.
    pub fn run(mut self, commands: &Receiver<Command>) {
        while !self.is_stopping {
            let Some(taken) = self.receive(commands) else {
                break;
            };
            self.turn(self.clock.now(), taken);
        }
        self.writer.stop();
    }

    /// One turn.
    pub fn turn(&mut self, now: Millis, commands: Vec<Command>) {
        self.expire(now);
        for command in commands {
            self.take(now, command);
        }
        self.raise(now);
        self.publish();
        self.reply();
        self.tell();
        self.go_on(now);
        self.pulse.feel(&self.writer, now);
    }

    /// What has come, bounded; `None` when nothing can come any more.
    fn receive(&self, commands: &Receiver<Command>) -> Option<Vec<Command>> {
        let pause = if self.answers.is_empty() {
            PAUSE
        } else {
            SHORT_PAUSE
        };
        let first = match commands.recv_timeout(pause) {
            Ok(command) => command,
            Err(error) => return error.is_timeout().then(Vec::new),
        };
        let mut signals = count(&first);
        let mut taken = vec![first];
        while taken.len() < COMMANDS
            && signals < SIGNALS
            && let Ok(command) = commands.try_recv()
        {
            signals += count(&command);
            taken.push(command);
        }
        Some(taken)
    }

    fn expire(&mut self, now: Millis) {
        let collected = self.state().expire(now, EXPIRIES);
        self.has_changed |= collected > 0;
    }

    fn take(&mut self, now: Millis, command: Command) {
        match command {
            Command::Signals {
                identity,
                signals,
                reply,
            } => {
                let outcomes = self.decide_all(&identity, signals, now);
                self.replies.push((reply, outcomes));
            }
            Command::SessionClosed(session) => self.close_session(session),
            Command::List {
                identity,
                request,
                entries,
            } => self.list(&identity, &request, entries),
            Command::Operator {
                uid,
                request,
                lines,
            } => {
                let answer = operator::answer(self, uid, request, lines, now);
                self.answers.push(answer);
            }
            Command::Health {
                service,
                backend,
                up,
            } => self.hear_of_health(&service, &backend, up),
            Command::Reload(config) => self.reload(*config),
            Command::Metrics(reply) => drop(reply.send(metrics::page(self, now))),
            Command::Stop => self.is_stopping = true,
        }
    }

    /// Gives backends that have come up more of their weight, when it is time to.
    fn raise(&mut self, now: Millis) {
        if self.needs_tables || now >= self.next_rise {
            let risen = self.master.registry.raise(now);
            self.needs_tables |= risen.has_changed;
            self.next_rise = risen.due;
        }
    }

    /// From here on every packet that arrives is routed by what was decided (contract rule S1).
    fn publish(&mut self) {
        if std::mem::take(&mut self.needs_tables) {
            let affinity = self.master.affinity;
            let spec = publish::tables(&self.master.registry, &self.stations, affinity);
            match self.writer.set_tables(&spec) {
                Ok(()) => self.has_changed = true,
                Err(error) => log::error!("the tables stay as they are: {error}"),
            }
        }
        if std::mem::take(&mut self.has_changed) {
            self.published = self.writer.publish();
        } else {
            self.writer.reclaim();
        }
    }

    fn reply(&mut self) {
        for (reply, outcomes) in self.replies.drain(..) {
            // A sender that has gone has no use for the outcomes; what they say holds all the same.
            let _ = reply.send(outcomes);
        }
    }

    /// Tells of what has happened, once it is effective.
    fn tell(&mut self) {
        for event in self.events.drain(..) {
            log::debug!("{:?}: {:?}", event.what, event.record);
        }
    }

    /// Goes on with each answer as far as its reader and the workers allow.
    fn go_on(&mut self, now: Millis) {
        self.inquiry.collect(&self.writer);
        let answers = std::mem::take(&mut self.answers);
        let answers = answers.into_iter();
        let unfinished: Vec<_> = answers.filter_map(|it| it.advance(self, now)).collect();
        self.answers = unfinished;
    }

    /// What changes touch.
    pub(crate) fn state(&mut self) -> State<'_> {
        State {
            master: &mut self.master,
            wheel: &mut self.wheel,
            cells: self.writer.affinities_mut(),
            events: &mut self.events,
        }
    }

    fn hear_of_health(&mut self, service: &str, backend: &str, up: bool) {
        let registry = &mut self.master.registry;
        let found = registry.service_named(service);
        let found = found.and_then(|it| registry.backend_named(it, backend));
        let id = found.map(|it| it.id);
        let Some(backend) = id.and_then(|id| registry.backend_mut(id)) else {
            log::debug!("health of {service}/{backend}, which was removed");
            return;
        };
        if backend.is_healthy != up {
            let is = if up { "up" } else { "down" };
            log::info!("backend {service}/{} is {is}", backend.settings.name);
            backend.is_healthy = up;
            self.needs_tables = true;
        }
    }
}

fn count(command: &Command) -> usize {
    match command {
        Command::Signals { signals, .. } => signals.len(),
        Command::SessionClosed(_)
        | Command::List { .. }
        | Command::Operator { .. }
        | Command::Health { .. }
        | Command::Reload(_)
        | Command::Metrics(_)
        | Command::Stop => 0,
    }
}
