//! Answers on their way to a reader who may be slow: each goes as far as it can in a turn.

use super::{Control, Scan, scan::Budget};
use crate::{
    journal::NotRecorded,
    operator::{Capturing, Explaining, Flows},
};
use tether_api::operator::{Failure, Payload, Response};
use tether_dataplane::clock::Millis;
use tokio::sync::mpsc::{Sender, error::TrySendError};

/// An answer that is under way.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One line.
    Line(Sender<Response>, Box<Response>),
    /// One line about what is to be recorded first.
    Decided(Sender<Response>, Box<Response>),
    /// A walk through all affinities.
    Scan(Scan),
    /// Flows of all workers.
    Flows(Flows),
    /// Where a packet would go.
    Explaining(Explaining),
    /// Frames as they come and leave.
    Capturing(Box<Capturing>),
}

impl Answer {
    /// An answer of one line.
    pub(crate) fn ok(lines: Sender<Response>, payload: Payload) -> Self {
        Self::Line(lines, Box::new(Response::Ok(payload)))
    }

    /// An answer of one line, if what it tells of can be recorded.
    pub(crate) fn decided(lines: Sender<Response>, payload: Payload) -> Self {
        Self::Decided(lines, Box::new(Response::Ok(payload)))
    }

    /// Turns what was decided into what is said of it.
    pub(super) fn settle(self, recorded: &Result<(), NotRecorded>) -> Self {
        match (self, recorded) {
            (Self::Decided(lines, line), Ok(())) => Self::Line(lines, line),
            (Self::Decided(lines, _), Err(error)) => {
                Self::error(lines, error.to_string(), Some(HINT.to_owned()))
            }
            (other, _) => other,
        }
    }

    /// A refusal.
    pub(crate) fn error(lines: Sender<Response>, message: String, hint: Option<String>) -> Self {
        let failure = Failure { message, hint };
        Self::Line(lines, Box::new(Response::Error(failure)))
    }

    /// Goes on; `None` when it is done or nobody reads it.
    pub(super) fn advance(
        self,
        control: &mut Control,
        budget: &mut Budget,
        now: Millis,
    ) -> Option<Self> {
        match self {
            // Of the end of a walk: what it did is recorded in the next turn.
            Self::Decided(..) => Some(self),
            Self::Line(lines, line) => match lines.try_send(*line) {
                Err(TrySendError::Full(line)) => Some(Self::Line(lines, Box::new(line))),
                Ok(()) | Err(TrySendError::Closed(_)) => None,
            },
            Self::Scan(scan) => scan.advance(control, budget, now),
            Self::Flows(flows) => flows.advance(control, now),
            Self::Explaining(explaining) => Some(explaining.advance(control, now)),
            Self::Capturing(capturing) => capturing.advance(control, now),
        }
    }
}

/// What to do where nothing can be recorded.
pub(crate) const HINT: &str =
    "tetherctl status shows the journal; df and the kernel's log say what the disk lacks";
