//! The control thread: one turn after another, at its own pace.
//!
//! ```text
//! take ─▶ expire ─▶ decide and apply, in order ─▶ record ─▶ publish ─▶ reply ─▶ tell ─▶ go on with
//!                                                                                 long answers
//! ```
//!
//! Everything that changes what workers read goes through here. Nothing waits: neither for a
//! worker nor for whoever reads a reply. A turn is bounded in what it takes, collects and scans.

mod answer;
mod audit;
mod compare;
mod inquiry;
mod links;
mod listing;
mod lives;
mod pulse;
mod record;
mod reload;
mod restore;
mod scan;
mod signals;
mod start;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

pub(crate) use answer::{Answer, HINT};
pub(crate) use inquiry::{Inquiry, Ticket};
pub(crate) use links::Links;
pub(crate) use listing::Cursor;
pub(crate) use pulse::Pulse;
pub(crate) use record::Recorder;
pub(crate) use restore::Restored;
use scan::Budget;
pub(crate) use scan::{Act, Filter, Scan};
pub(crate) use signals::Tally;
pub use start::StartError;
pub(crate) use watch::Watchers;

use crate::{
    audit::Audit,
    command::{Command, NotAcknowledged, Outcomes, Reloaded},
    config::Config,
    expiry::Wheel,
    journal::NotRecorded,
    master::{Event, Master, State},
    metrics::{self, Histogram},
    operator,
    ports::Ports,
    publish,
};
use crossbeam_channel::Receiver;
use std::time::{Duration, Instant};
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
    /// This life of the process, which places of affinities are of.
    pub(crate) life: u32,
    pub(crate) config: Config,
    pub(crate) ports: Box<dyn Ports>,
    pub(crate) stations: Vec<PortSpec>,
    pub(crate) writer: Writer,
    pub(crate) master: Master,
    pub(crate) wheel: Wheel,
    pub(crate) tally: Tally,
    pub(crate) pulse: Pulse,
    pub(crate) links: Links,
    pub(crate) inquiry: Inquiry,
    /// Whether somebody captures.
    pub(crate) capture: operator::Place,
    pub(crate) watchers: Watchers,
    pub(crate) audit: Option<Audit>,
    /// Writes down what happens; `None`: affinities live in memory and end with the daemon.
    pub(crate) recorder: Option<Recorder>,
    /// What became of what the journal had.
    pub(crate) restored: Restored,
    /// Answers that go out once this turn's changes are published, or in later turns.
    pub(crate) answers: Vec<Answer>,
    replies: Vec<Reply>,
    /// How long signals took from the queue to their effect.
    pub(crate) effects: Histogram,
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

/// What somebody waits for, who is told once this turn's changes are published.
#[derive(Debug)]
enum Reply {
    Outcomes {
        to: oneshot::Sender<Result<Outcomes, NotAcknowledged>>,
        outcomes: Outcomes,
        queued: Instant,
    },
    Reload(
        oneshot::Sender<Result<Reloaded, Vec<String>>>,
        Result<Reloaded, Vec<String>>,
    ),
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
        self.end_journal(self.clock.now());
        self.writer.stop();
    }

    /// One turn.
    pub fn turn(&mut self, now: Millis, commands: Vec<Command>) {
        self.expire(now);
        for command in commands {
            self.take(now, command);
        }
        self.raise(now);
        let recorded = self.record(now);
        self.publish();
        self.reply(&recorded);
        self.tell(now);
        self.go_on(now);
        self.pulse.feel(&self.writer, now);
        self.links.look(self.ports.as_ref(), now);
    }

    /// What has come, bounded; `None` when nothing can come any more.
    fn receive(&self, commands: &Receiver<Command>) -> Option<Vec<Command>> {
        let is_idle = self.answers.is_empty() && !self.watchers.is_telling();
        let pause = if is_idle { PAUSE } else { SHORT_PAUSE };
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
                queued,
                reply,
            } => match self.check_recorded() {
                Ok(()) => {
                    let outcomes = self.decide_all(&identity, &signals, now);
                    self.replies.push(Reply::Outcomes {
                        to: reply,
                        outcomes,
                        queued,
                    });
                }
                Err(why) => {
                    self.count_not_recorded(signals.len());
                    self.audit_not_recorded(&identity, &signals, &why, now);
                    let epoch = self.master.epoch;
                    // As in `reply`.
                    drop(reply.send(Err(NotAcknowledged { epoch, why })));
                }
            },
            Command::SessionBegun {
                identity,
                backend,
                boot_id,
            } => self.hear_of_life(&identity, &backend, boot_id, now),
            Command::SessionClosed(session) => self.close_session(session),
            Command::List {
                identity,
                request,
                entries,
                reply,
            } => drop(reply.send(self.list(&identity, &request, entries))),
            Command::Watch {
                identity,
                request,
                events,
                reply,
            } => drop(reply.send(self.watch(identity, request, events))),
            Command::Operator {
                uid,
                request,
                lines,
            } => {
                let answer = operator::answer(self, uid, request, lines, now);
                self.answers.push(answer);
            }
            Command::Capture {
                uid,
                request,
                lines,
                stop,
            } => {
                let answer = operator::capture(self, uid, &request, lines, stop, now);
                self.answers.push(answer);
            }
            Command::Health {
                service,
                backend,
                up,
            } => self.hear_of_health(&service, &backend, up),
            Command::Compare { config, reply } => drop(reply.send(self.compare(&config))),
            Command::Reload { config, reply } => {
                let reloaded = self.reload(*config);
                self.replies.push(Reply::Reload(reply, reloaded));
            }
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

    /// What could not be recorded is not acknowledged, whatever it has changed.
    fn reply(&mut self, recorded: &Result<(), NotRecorded>) {
        let effective = Instant::now();
        for reply in std::mem::take(&mut self.replies) {
            // Whoever has gone has no use for the answer; what it says holds all the same.
            match reply {
                Reply::Outcomes {
                    to,
                    outcomes,
                    queued,
                } => {
                    self.measure(&outcomes, effective.duration_since(queued), recorded);
                    let epoch = outcomes.epoch;
                    drop(to.send(match recorded.clone() {
                        Ok(()) => Ok(outcomes),
                        Err(why) => Err(NotAcknowledged { epoch, why }),
                    }));
                }
                Reply::Reload(to, reloaded) => drop(to.send(reloaded)),
            }
        }
        let answers = std::mem::take(&mut self.answers).into_iter();
        self.answers = answers.map(|it| it.settle(recorded)).collect();
    }

    /// Counts signals as effective, or as not recorded.
    fn measure(&mut self, outcomes: &Outcomes, took: Duration, recorded: &Result<(), NotRecorded>) {
        let signals = outcomes.outcomes.len();
        match recorded {
            Ok(()) => {
                let signals = u64::try_from(signals).unwrap_or(u64::MAX);
                self.effects.count(took, signals);
            }
            Err(_) => self.count_not_recorded(signals),
        }
    }

    /// Tells of what has happened, once it is effective.
    fn tell(&mut self, now: Millis) {
        self.audit_turn(now);
        let mut events = std::mem::take(&mut self.events);
        for event in &events {
            log::debug!("{:?}: {:?}", event.what, event.record);
        }
        self.tell_watchers(&events, now);
        events.clear();
        self.events = events;
    }

    /// Goes on with each answer as far as its reader, the workers and what a turn may scan allow;
    /// each turn another one is first.
    fn go_on(&mut self, now: Millis) {
        self.inquiry.collect(&self.writer);
        let mut answers = std::mem::take(&mut self.answers);
        let is_there = usize::from(!answers.is_empty());
        answers.rotate_left(is_there);
        let mut budget = Budget::of(&answers);
        let answers = answers.into_iter();
        let unfinished = answers.filter_map(|it| it.advance(self, &mut budget, now));
        let unfinished: Vec<_> = unfinished.collect();
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
            self.states_have_changed();
        }
    }
}

fn count(command: &Command) -> usize {
    match command {
        Command::Signals { signals, .. } => signals.len(),
        Command::SessionBegun { .. }
        | Command::SessionClosed(_)
        | Command::List { .. }
        | Command::Watch { .. }
        | Command::Operator { .. }
        | Command::Capture { .. }
        | Command::Health { .. }
        | Command::Compare { .. }
        | Command::Reload { .. }
        | Command::Metrics(_)
        | Command::Stop => 0,
    }
}
