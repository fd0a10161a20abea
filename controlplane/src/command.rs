//! What the edges ask of the control thread, and how it answers.

use crate::{
    config::Config,
    journal::NotRecorded,
    master::Names,
    signal::{Identity, Outcome, Signal},
};
use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};
use tether_api::{
    operator::{self, ConfigChange},
    v1,
};
use tokio::sync::{mpsc, oneshot};

/// One thing for the control thread to do in its next turn.
#[derive(Debug)]
pub enum Command {
    /// Decide signals of one sender, in order, and reply once they are recorded and every worker
    /// routes by them.
    Signals {
        /// Who sends.
        identity: Identity,
        /// What.
        signals: Vec<Signal>,
        /// When it was queued.
        queued: Instant,
        /// The outcomes, one for each signal, in order; or why nothing is acknowledged.
        reply: oneshot::Sender<Result<Outcomes, NotAcknowledged>>,
    },
    /// A signalling session has begun, and tells which life of its process this is, before it
    /// signals anything (contract rule S7).
    SessionBegun {
        /// Who sends.
        identity: Identity,
        /// The backend that it says it is; may be empty.
        backend: String,
        /// Which life.
        boot_id: u64,
    },
    /// A signalling session has ended: end what is bound to it (contract rule S6).
    SessionClosed(u64),
    /// List affinities (contract rule S9), in pages that wait for the receiver.
    List {
        /// Who asks: a backend sees its own.
        identity: Identity,
        /// Which.
        request: v1::ListRequest,
        /// Where the entries go; closing it ends the listing.
        entries: mpsc::Sender<v1::AffinityEntry>,
        /// Whether it begins.
        reply: oneshot::Sender<Result<(), Declined>>,
    },
    /// Tell what happens to affinities from now on (contract rule S8).
    Watch {
        /// Who asks: a backend sees its own.
        identity: Identity,
        /// Which.
        request: v1::WatchRequest,
        /// Where the events go; they never wait for the receiver. Closing it ends the watch.
        events: mpsc::Sender<Told>,
        /// Whether it begins, once every later event is sure to be told.
        reply: oneshot::Sender<Result<(), Declined>>,
    },
    /// An operator's request.
    Operator {
        /// The peer's user id.
        uid: u32,
        /// What.
        request: operator::Request,
        /// Where the lines of the answer go.
        lines: mpsc::Sender<operator::Response>,
    },
    /// Tell an operator of frames as they come and leave.
    Capture {
        /// The peer's user id.
        uid: u32,
        /// Which.
        request: operator::CaptureRequest,
        /// Where the lines go.
        lines: mpsc::Sender<operator::Response>,
        /// Set when the operator has had enough.
        stop: Arc<AtomicBool>,
    },
    /// A probe's result has changed what a backend is.
    Health {
        /// The service.
        service: String,
        /// The backend.
        backend: String,
        /// Whether it is up.
        up: bool,
    },
    /// Say what a checked configuration would change; nothing changes.
    Compare {
        /// The configuration.
        config: Box<Config>,
        /// What it would change, and what keeps it from being taken over.
        reply: oneshot::Sender<Comparison>,
    },
    /// Take over a checked configuration, whole or not at all (contract rule L2).
    Reload {
        /// The configuration.
        config: Box<Config>,
        /// Sent once every worker forwards by it, or with every reason why none will.
        reply: oneshot::Sender<Result<Reloaded, Vec<String>>>,
    },
    /// Tell the counters for the metrics page.
    Metrics(oneshot::Sender<String>),
    /// Stop.
    Stop,
}

/// The answer to a command of signals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcomes {
    /// This life of the table (contract rule L3).
    pub epoch: u64,
    /// One for each signal, in order.
    pub outcomes: Vec<Outcome>,
    /// What they speak of is called so.
    pub names: Arc<Names>,
}

/// Why signals are not acknowledged: they would not survive a restart (contract rule L1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotAcknowledged {
    /// This life of the table (contract rule L3), which a failing journal does not end.
    pub epoch: u64,
    /// What the journal lacks.
    pub why: NotRecorded,
}

/// Why a listing or a watch does not begin: one sentence, with what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// A field of the request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The identity may not see that.
    #[error("{0}")]
    Denied(String),
    /// There is no room for another.
    #[error("{0}")]
    Exhausted(String),
}

impl Declined {
    /// There is no service of that name.
    pub(crate) fn no_service(name: &str) -> Self {
        Self::Invalid(format!(
            "service {name:?}: there is none of that name; leave it out for all"
        ))
    }

    /// There is no backend of that name, in one service or in all (where `service` is empty).
    pub(crate) fn no_backend(service: &str, name: &str) -> Self {
        let place = match service {
            "" => "there is none of that name".to_owned(),
            service => format!("service {service} has none of that name"),
        };
        Self::Invalid(format!("backend {name:?}: {place}; leave it out for all"))
    }
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Something has happened.
    Event {
        /// Counts what this watcher was or would have been told, from 1.
        sequence: u64,
        /// What, without the sequence: the same for everybody who is told.
        event: Arc<v1::Event>,
    },
    /// The watcher has read too slowly: events are missing before the next one.
    Gap {
        /// The sequence of the last one that is missing.
        sequence: u64,
        /// How many are missing.
        lost: u64,
        /// This life of the table (contract rule L3).
        epoch: u64,
    },
}

/// The answer to a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What it would change.
    pub changes: Vec<ConfigChange>,
    /// Every reason why it would not be taken over; empty: it would.
    pub refused: Vec<String>,
}

/// The answer to a reload that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// What has changed.
    pub changes: Vec<ConfigChange>,
    /// How many affinities of removed backends have ended.
    pub ended: usize,
}
