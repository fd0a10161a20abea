//! Answers on their way to a reader who may be slow: each goes as far as it can in a turn.

use super::{Control, Scan};
use crate::operator::{Explaining, Flows};
use tether_api::operator::{Failure, Payload, Response};
use tether_dataplane::clock::Millis;
use tokio::sync::mpsc::{Sender, error::TrySendError};

/// An answer that is under way.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One line.
    Line(Sender<Response>, Box<Response>),
    /// A walk through all affinities.
    Scan(Scan),
    /// Flows of all workers.
    Flows(Flows),
    /// Where a packet would go.
    Explaining(Explaining),
}

impl Answer {
    /// An answer of one line.
    pub(crate) fn ok(lines: Sender<Response>, payload: Payload) -> Self {
        Self::Line(lines, Box::new(Response::Ok(payload)))
    }

    /// A refusal.
    pub(crate) fn error(lines: Sender<Response>, message: String, hint: Option<String>) -> Self {
        let failure = Failure { message, hint };
        Self::Line(lines, Box::new(Response::Error(failure)))
    }

    /// Goes on; `None` when it is done or nobody reads it.
    pub(crate) fn advance(self, control: &mut Control, now: Millis) -> Option<Self> {
        match self {
            Self::Line(lines, line) => match lines.try_send(*line) {
                Err(TrySendError::Full(line)) => Some(Self::Line(lines, Box::new(line))),
                Ok(()) | Err(TrySendError::Closed(_)) => None,
            },
            Self::Scan(scan) => scan.advance(control, now),
            Self::Flows(flows) => flows.advance(control, now),
            Self::Explaining(explaining) => Some(explaining.advance(control, now)),
        }
    }
}
