//! Where a packet would go, and why: a live flow decides, if a worker knows one; else what a new
//! flow would get.

mod frame;

use super::{Lines, Refused, backend_named, flows::PATIENCE_MS, rows};
use crate::control::{Answer, Control, Inquiry, Ticket};
use std::net::SocketAddr;
use tether_api::operator::{self, ExplainPacket, Explanation, Payload, PlacedBy};
use tether_dataplane::{
    clock::Millis,
    explain::{By, Explanation as Decided, Load, Packet, Rule},
    key::Protocol,
    plane::{Answer as Found, FlowView, Question},
    tables::{backend::BackendState, id::BackendId},
};

/// An explanation that waits for what the workers know.
#[derive(Debug)]
pub(crate) struct Explaining {
    lines: Lines,
    packet: Packet,
    /// Questions that are not answered.
    asked: Vec<Ticket>,
    since: Millis,
    flow: Option<FlowView>,
    /// Whether a worker has too much to answer already.
    is_unasked: bool,
}

pub(super) fn begin(
    control: &mut Control,
    packet: &ExplainPacket,
    lines: Lines,
    now: Millis,
) -> Result<Answer, Refused> {
    let packet = read(control, packet)?;
    let workers = if packet.source.port() == 0 {
        0
    } else {
        control.inquiry.workers()
    };
    let Control {
        inquiry, writer, ..
    } = control;
    let asked = (0..workers).filter_map(|worker| {
        let question = Question::Flow {
            protocol: packet.protocol,
            source: packet.source,
            destination: packet.destination,
        };
        Inquiry::ask(inquiry, writer, worker, question)
    });
    let asked: Vec<_> = asked.collect();
    Ok(Answer::Explaining(Explaining {
        is_unasked: asked.len() < workers,
        asked,
        lines,
        packet,
        since: now,
        flow: None,
    }))
}

fn read(control: &Control, packet: &ExplainPacket) -> Result<Packet, Refused> {
    let source = packet.source.to_canonical();
    let destination = packet.destination.ip().to_canonical();
    if source.is_ipv4() != destination.is_ipv4() {
        let message = format!("{source} and {destination} are not of one family");
        return Err((message, None));
    }
    let protocol = match packet.protocol {
        operator::Protocol::Tcp => Protocol::Tcp,
        operator::Protocol::Udp => Protocol::Udp,
    };
    let destination = SocketAddr::new(destination, packet.destination.port());
    Ok(Packet {
        protocol,
        source: SocketAddr::new(source, packet.source_port.unwrap_or(0)),
        destination,
        without: match &packet.without {
            Some(name) => Some(without(control, protocol, destination, name)?),
            None => None,
        },
    })
}

fn without(
    control: &Control,
    protocol: Protocol,
    destination: SocketAddr,
    name: &str,
) -> Result<BackendId, Refused> {
    let (address, port) = (destination.ip(), destination.port());
    let service = control.writer.tables().service(protocol, address, port);
    let service = service.and_then(|id| control.master.registry.service(id));
    match service {
        Some(service) => Ok(backend_named(control, service, name)?.id),
        None => Err((
            format!("there is no service at {destination}, so none has a backend {name:?}"),
            None,
        )),
    }
}

impl Explaining {
    /// Takes in what the workers say; answers when all have, or have had their time.
    pub(crate) fn advance(mut self, control: &mut Control, now: Millis) -> Answer {
        self.asked
            .retain(|ticket| match control.inquiry.take(*ticket) {
                Some(Found::Flow(flow)) => {
                    self.flow = self.flow.or(flow);
                    false
                }
                Some(Found::Flows { .. } | Found::Tap(_)) => false,
                None => true,
            });
        if !self.asked.is_empty() && now.since(self.since) < PATIENCE_MS {
            return Answer::Explaining(self);
        }
        for ticket in &self.asked {
            control.inquiry.forget(*ticket);
        }
        let explanation = self.explain(control, now);
        Answer::ok(self.lines, Payload::Explanation(explanation))
    }

    fn explain(&self, control: &Control, now: Millis) -> Explanation {
        let decided = control.writer.explain(&self.packet, now);
        let live = self.flow.filter(|it| self.is_live(control, it));
        let mut explanation = match live {
            Some(flow) => by_flow(control, &decided, &flow, now),
            None => by_tables(control, &decided, self.packet.without, now),
        };
        let backend = live.map(|flow| flow.backend).or(decided.backend);
        let leaving = backend.and_then(|it| control.writer.leaving(&self.packet, it));
        explanation.frame = leaving.map(|it| Box::new(frame::explained(control, it)));
        if self.is_unasked || !self.asked.is_empty() {
            explanation
                .reason
                .push_str("; a worker did not answer, it may know a flow");
        }
        explanation
    }

    /// A flow whose backend is down or was removed is not a live one (contract rule R9).
    fn is_live(&self, control: &Control, flow: &FlowView) -> bool {
        let backend = control.master.registry.backend(flow.backend);
        self.packet.without != Some(flow.backend)
            && backend.is_some_and(|it| !it.is_removed && it.state().keeps_flows())
    }
}

fn by_flow(control: &Control, decided: &Decided, flow: &FlowView, now: Millis) -> Explanation {
    let reason = format!(
        "a worker knows the flow: {}, idle for {} s",
        flow.state, flow.idle_s
    );
    Explanation {
        by: PlacedBy::Flow,
        backend: Some(rows::backend_name(control, flow.backend)),
        reason,
        ..blank(control, decided, now)
    }
}

fn by_tables(
    control: &Control,
    decided: &Decided,
    without: Option<BackendId>,
    now: Millis,
) -> Explanation {
    let (by, reason) = match decided.by {
        By::Affinity => (PlacedBy::Affinity, affinity_reason(control, decided)),
        By::Scheduler { slot, rule } => {
            let why = why_not_affinity(control, decided, without);
            let rule = rule_text(rule);
            let reason = format!("{why}: slot {slot} of the scheduler, {rule}");
            (PlacedBy::Scheduler, reason)
        }
        By::None => (PlacedBy::None, nobody(control, decided, without)),
    };
    Explanation {
        by,
        backend: decided.backend.map(|id| rows::backend_name(control, id)),
        reason,
        ..blank(control, decided, now)
    }
}

fn rule_text(rule: Rule) -> String {
    let of = |Load { flows, weight }| {
        format!("{flows} flows of weight {weight}; each worker goes by its own flows")
    };
    match rule {
        Rule::FlowHash => "by the hash of the flow".to_owned(),
        Rule::SourceHash => "by the hash of the client's address".to_owned(),
        Rule::Turn => "the first turn of a worker".to_owned(),
        Rule::FewestFlows(load) => format!("the fewest flows for its weight: {}", of(load)),
        Rule::FewerOfTwo(load) => {
            format!("the fewer flows of two taken at random: {}", of(load))
        }
    }
}

/// What does not depend on who decides.
fn blank(control: &Control, decided: &Decided, now: Millis) -> Explanation {
    let service = decided.service;
    let service = service.and_then(|id| control.master.registry.service(id));
    let record = decided
        .affinity
        .and_then(|found| control.master.records.at(found.cell.index));
    Explanation {
        service: service.map(|it| it.settings.name.clone()),
        backend: None,
        by: PlacedBy::None,
        affinity: record.map(|it| rows::affinity(control, it, now)),
        reason: String::new(),
        forward: service.map(|it| it.settings.forward.to_string()),
        frame: None,
    }
}

fn affinity_reason(control: &Control, decided: &Decided) -> String {
    let Some(found) = decided.affinity else {
        return String::new();
    };
    let owner = rows::backend_name(control, found.owner);
    format!(
        "the affinity of {} routes to its owner {owner}",
        found.source
    )
}

fn why_not_affinity(control: &Control, decided: &Decided, without: Option<BackendId>) -> String {
    let Some(found) = decided.affinity else {
        let service = decided.service;
        let service = service.and_then(|id| control.master.registry.service(id));
        let is_on = control.master.affinity && service.is_none_or(|it| it.affinity);
        let why = if is_on {
            "no affinity matches"
        } else {
            "affinity routing is switched off"
        };
        return why.to_owned();
    };
    let owner = rows::backend_name(control, found.owner);
    let is = match decided.owner_state {
        Some(BackendState::Down) if without == Some(found.owner) => "is taken to be down",
        Some(BackendState::Down) => "is down",
        Some(BackendState::Disabled) => "is disabled",
        Some(BackendState::Up | BackendState::Draining) | None => "was removed",
    };
    format!(
        "{owner}, the owner of the affinity of {}, {is}",
        found.source
    )
}

fn nobody(control: &Control, decided: &Decided, without: Option<BackendId>) -> String {
    match (decided.service, decided.affinity) {
        (None, _) => "no service has this destination".to_owned(),
        (Some(_), _) if decided.is_denied => {
            "the allow and deny lists of the service refuse this client".to_owned()
        }
        (Some(_), Some(_)) => {
            let why = why_not_affinity(control, decided, without);
            format!("{why}, and nobody takes its place")
        }
        (Some(_), None) => "no backend of the service takes new flows".to_owned(),
    }
}
