//! What the daemon answers.

use serde::{Deserialize, Serialize};

use super::{
    capture::{CaptureEnd, CapturedFrame, Capturing},
    config::{ConfigApplied, ConfigCheck, ConfigDiff, ConfigText},
    event::{Event, Watching},
    rows::{
        Affinity, AffinityCount, AffinitySwitch, Backend, Explanation, Flow, Flushed, Service,
        SignalOutcome,
    },
    traffic::{Stats, Status},
};

/// One line from the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The whole answer.
    Ok(Payload),
    /// One of many; an end line follows them.
    Entry(Entry),
    /// That was all.
    End(End),
    /// Refused or failed; nothing follows.
    Error(Failure),
}

/// Why not, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong, and where.
    pub message: String,
    /// What the operator can do.
    #[serde(default)]
    pub hint: Option<String>,
}

/// The line after the last entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How many entries there were.
    pub entries: u64,
}

/// An answer of one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// To `status`.
    Status(Status),
    /// To `stats`.
    Stats(Stats),
    /// To `service_list`.
    Services(Vec<Service>),
    /// To `service_show`.
    Service(Service),
    /// To `backend_list`.
    Backends(Vec<Backend>),
    /// To `backend_set` and `backend_weight`.
    Backend(Backend),
    /// To `affinity_show`.
    Affinity(Affinity),
    /// To `affinity_count`.
    AffinityCount(AffinityCount),
    /// To `affinity_start`, `affinity_extend` and `affinity_end`; refusals too.
    Outcome(SignalOutcome),
    /// To `affinity_flush`.
    Flushed(Flushed),
    /// To `affinity_switch`.
    AffinitySwitch(AffinitySwitch),
    /// To `affinity_watch`; entries follow.
    Watching(Watching),
    /// To `capture`; entries follow.
    Capturing(Capturing),
    /// To `explain`.
    Explanation(Explanation),
    /// To `config_check`; refusals too.
    ConfigCheck(ConfigCheck),
    /// To `config_diff`.
    ConfigDiff(ConfigDiff),
    /// To `config_apply`.
    ConfigApplied(ConfigApplied),
    /// To `config_show`.
    Config(ConfigText),
}

/// One of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Of `affinity_list`.
    Affinity(Affinity),
    /// Of `affinity_watch`.
    Event(Event),
    /// Of `flow_list`.
    Flow(Flow),
    /// Of `capture`.
    Captured(CapturedFrame),
    /// Of `capture`: the last one.
    CaptureEnd(CaptureEnd),
}
