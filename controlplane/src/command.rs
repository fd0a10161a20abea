//! What the edges ask of the control thread, and how it answers.

use crate::{
    config::Config,
    journal::NotRecorded,
    signal::{Identity, Outcome, Signal},
};
use tether_api::{operator, v1};
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
        /// The outcomes, one for each signal, in order; or why nothing is acknowledged.
        reply: oneshot::Sender<Result<Outcomes, NotRecorded>>,
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
    /// A probe's result has changed what a backend is.
    Health {
        /// The service.
        service: String,
        /// The backend.
        backend: String,
        /// Whether it is up.
        up: bool,
    },
    /// Apply a checked configuration (SIGHUP).
    Reload(Box<Config>),
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
}
