//! The flows of all workers, one worker after another, a piece at a time.

use super::{Lines, Refused, backends_named, forwarder, rows, service_named};
use crate::{
    control::{Answer, Control, Inquiry, Ticket},
    master::Service,
    publish,
};
use hashbrown::HashSet;
use std::collections::VecDeque;
use tether_api::{
    Source,
    operator::{self, End, Entry, Flow, PlacedBy, Response},
};
use tether_dataplane::{
    clock::Millis,
    key,
    plane::{Answer as Found, FlowFilter, FlowView, Question},
    tables::{id::BackendId, prefix::Prefix},
};
use tokio::sync::mpsc::error::TrySendError;

/// Flows that one question brings at most.
const FLOWS: usize = 512;
/// How long a worker may take for an answer, in milliseconds.
pub(super) const PATIENCE_MS: u64 = 200;

/// A listing of flows.
#[derive(Debug)]
pub(crate) struct Flows {
    lines: Lines,
    filter: FlowFilter,
    /// What the workers' filter cannot say.
    backends: Option<HashSet<BackendId>>,
    source: Option<Source>,
    /// Read from workers, not yet told.
    found: VecDeque<Flow>,
    worker: usize,
    cursor: usize,
    asked: Option<Ticket>,
    /// When the worker was last heard of.
    since: Millis,
    told: u64,
}

pub(super) fn begin(
    control: &Control,
    filter: &operator::FlowFilter,
    lines: Lines,
    now: Millis,
) -> Result<Answer, Refused> {
    let service = match &filter.service {
        Some(name) => Some(service_named(control, name)?),
        None => None,
    };
    let destination = service.and_then(destination);
    let backends = match &filter.backend {
        Some(name) => Some(backends_named(control, filter.service.as_deref(), name)?),
        None => None,
    };
    Ok(Answer::Flows(Flows {
        lines,
        filter: FlowFilter {
            source: filter.source.map(|it| (it.address(), it.prefix_length())),
            destination,
            backend: one(backends.as_ref()),
        },
        backends,
        source: filter.source,
        found: VecDeque::new(),
        worker: 0,
        cursor: 0,
        asked: None,
        since: now,
        told: 0,
    }))
}

fn destination(service: &Service) -> Option<(key::Protocol, Prefix, u16)> {
    let settings = &service.settings;
    let protocol = publish::protocol(settings.protocol);
    let vips = Prefix::new(settings.address, settings.prefix_length)?;
    Some((protocol, vips, settings.port))
}

fn one(backends: Option<&HashSet<BackendId>>) -> Option<BackendId> {
    let backends = backends.filter(|it| it.len() == 1)?;
    backends.iter().next().copied()
}

impl Flows {
    /// Tells what was found, then takes in an answer or asks for more.
    pub(crate) fn advance(mut self, control: &mut Control, now: Millis) -> Option<Answer> {
        match self.tell() {
            Ok(()) => {}
            Err(TrySendError::Full(())) => return Some(Answer::Flows(self)),
            Err(TrySendError::Closed(())) => {
                if let Some(ticket) = self.asked {
                    control.inquiry.forget(ticket);
                }
                return None;
            }
        }
        if let Some(answer) = self.asked.and_then(|it| control.inquiry.take(it)) {
            self.hear(control, answer);
            self.since = now;
            return Some(Answer::Flows(self));
        }
        if self.worker == control.inquiry.workers() {
            let end = Response::End(End { entries: self.told });
            return Some(Answer::Line(self.lines, Box::new(end)));
        }
        if now.since(self.since) >= PATIENCE_MS {
            return Some(self.give_up(control));
        }
        self.asked = self.asked.or_else(|| self.ask(control));
        Some(Answer::Flows(self))
    }

    fn tell(&mut self) -> Result<(), TrySendError<()>> {
        while let Some(flow) = self.found.front() {
            let room = self.lines.try_reserve()?;
            room.send(Response::Entry(Entry::Flow(flow.clone())));
            self.found.pop_front();
            self.told += 1;
        }
        if self.lines.is_closed() {
            return Err(TrySendError::Closed(()));
        }
        Ok(())
    }

    fn ask(&self, control: &mut Control) -> Option<Ticket> {
        let Control {
            inquiry, writer, ..
        } = control;
        let question = Question::Flows {
            cursor: self.cursor,
            filter: self.filter,
            room: Vec::with_capacity(FLOWS),
        };
        Inquiry::ask(inquiry, writer, self.worker, question)
    }

    fn hear(&mut self, control: &Control, answer: Found) {
        self.asked = None;
        let Found::Flows { flows, next } = answer else {
            return;
        };
        let wanted = flows.iter().filter(|it| self.wants(it));
        let rows: VecDeque<_> = wanted.map(|it| row(control, self.worker, it)).collect();
        self.found = rows;
        self.worker += usize::from(next.is_none());
        self.cursor = next.unwrap_or(0);
    }

    fn give_up(self, control: &mut Control) -> Answer {
        if let Some(ticket) = self.asked {
            control.inquiry.forget(ticket);
        }
        let core = forwarder::core(control, self.worker);
        let message = format!("the worker on core {core} does not answer");
        let hint = "tetherctl status shows which workers are reporting".to_owned();
        Answer::error(self.lines, message, Some(hint))
    }

    fn wants(&self, flow: &FlowView) -> bool {
        let backends = self.backends.as_ref();
        backends.is_none_or(|it| it.contains(&flow.backend))
            && self.source.is_none_or(|it| it.contains(flow.source))
    }
}

fn row(control: &Control, worker: usize, flow: &FlowView) -> Flow {
    let backend = control.master.registry.backend(flow.backend);
    let service = backend.map(|it| rows::service_name(control, it.service));
    Flow {
        service: service.unwrap_or_default(),
        protocol: match flow.protocol {
            key::Protocol::Tcp => operator::Protocol::Tcp,
            key::Protocol::Udp => operator::Protocol::Udp,
        },
        source: flow.source,
        destination: flow.destination,
        backend: rows::backend_name(control, flow.backend),
        by: match flow.affinity {
            Some(_) => PlacedBy::Affinity,
            None => PlacedBy::Scheduler,
        },
        state: flow.state.to_owned(),
        idle_ms: u64::from(flow.idle_s) * 1000,
        core: forwarder::core(control, worker),
    }
}
