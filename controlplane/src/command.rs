//! What the edges ask of the control thread, and how it answers.

use crate::{
    config::Config,
    signal::{Identity, Outcome, Signal},
};
use tether_api::{
    operator::{self, ConfigChange},
    v1,
};
use tokio::sync::{mpsc, oneshot};

/// One thing for the control thread to do in its next turn.
#[derive(Debug)]
pub enum Command {
    /// Decide signals of one sender, in order, and reply once every worker routes by them.
    Signals {
        /// Who sends.
        identity: Identity,
        /// What.
        signals: Vec<Signal>,
        /// The outcomes, one for each signal, in order.
        reply: oneshot::Sender<Outcomes>,
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
