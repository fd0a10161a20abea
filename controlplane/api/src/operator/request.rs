//! What an operator asks for.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    capture::CaptureRequest,
    config::ConfigFile,
    event::WatchFilter,
    rows::{AdminState, AffinityState, Protocol},
};
use crate::Source;

/// One line from the operator. Each verb names the [`super::Payload`] that answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    /// `Status`.
    Status,
    /// `Stats`: counters since the start of the daemon.
    Stats,
    /// `Services`: all of them.
    ServiceList,
    /// `Service`.
    ServiceShow {
        /// Its name.
        service: String,
    },
    /// `Backends`.
    BackendList {
        /// Only those of this service.
        #[serde(default)]
        service: Option<String>,
    },
    /// `Backend`: as it is after the change.
    BackendSet {
        /// Name of the service.
        service: String,
        /// Name of the backend.
        backend: String,
        /// What the operator wants it to be (contract, section 6).
        state: AdminState,
    },
    /// `Backend`: as it is after the change.
    BackendWeight {
        /// Name of the service.
        service: String,
        /// Name of the backend.
        backend: String,
        /// Its new share of the scheduler; 0: no new flows but those of affinities.
        weight: u32,
    },
    /// Entries `Affinity`, then the end line.
    AffinityList(AffinityFilter),
    /// `AffinityCount`.
    AffinityCount(AffinityFilter),
    /// `Affinity`, or an error if there is none.
    AffinityShow(AffinityKey),
    /// `Outcome`.
    AffinityStart(StartAffinity),
    /// `Outcome`.
    AffinityExtend {
        /// Which one.
        #[serde(flatten)]
        key: AffinityKey,
        /// As in the signal (T3); absent: its own duration.
        #[serde(default)]
        duration_ms: Option<u64>,
        /// If it is another: `STALE`.
        #[serde(default)]
        generation: Option<u64>,
    },
    /// `Outcome`.
    AffinityEnd {
        /// Which one.
        #[serde(flatten)]
        key: AffinityKey,
        /// If it is another: `STALE`.
        #[serde(default)]
        generation: Option<u64>,
    },
    /// `Flushed`: ends all that match.
    AffinityFlush(AffinityFilter),
    /// `AffinitySwitch`: turns affinity routing on or off without losing the table (section 8).
    AffinitySwitch {
        /// Whether affinities route.
        on: bool,
        /// Of this service; absent: the switch of the whole forwarder.
        #[serde(default)]
        service: Option<String>,
    },
    /// `Watching`, then entries `Event` as they happen, until the operator hangs up (S8).
    AffinityWatch(WatchFilter),
    /// `Explanation`: nothing is sent, nothing changes.
    Explain(ExplainPacket),
    /// Entries `Flow`, then the end line.
    FlowList(FlowFilter),
    /// `Capturing`, then entries `Captured` as frames come and leave, an entry `CaptureEnd` and the end
    /// line. One at a time.
    Capture(CaptureRequest),
    /// `ConfigCheck`: whether this would be taken over; nothing changes.
    ConfigCheck(ConfigFile),
    /// `ConfigDiff`, or an error where the file is wrong; nothing changes.
    ConfigDiff(ConfigFile),
    /// `ConfigApplied` once every worker forwards by it, or an error and nothing has changed (L2).
    ConfigApply(ConfigFile),
    /// `Config`: what was read or applied last.
    ConfigShow,
}

/// Which affinities; absent fields match all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AffinityFilter {
    /// Name of the service.
    pub service: Option<String>,
    /// Name of the owner.
    pub backend: Option<String>,
    /// Those whose source lies within this one: the same address, or inside the prefix.
    pub source: Option<Source>,
    /// In this state.
    pub state: Option<AffinityState>,
    /// Whose deadline is at most so far away.
    pub expiring_within_ms: Option<u64>,
}

/// One affinity by its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffinityKey {
    /// Name of the service.
    pub service: String,
    /// The source; another breadth is another affinity (R5).
    pub source: Source,
}

/// An affinity to start in the name of a backend (P3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartAffinity {
    /// What it is about.
    #[serde(flatten)]
    pub key: AffinityKey,
    /// Name of the backend that will own it.
    pub backend: String,
    /// As in the signal (T1); absent: the service's default.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// No deadline, where the service allows it (T1).
    #[serde(default)]
    pub until_ended: bool,
    /// Survives a new boot id of its owner (S7).
    #[serde(default)]
    pub keep_on_reboot: bool,
}

/// The packet that `explain` is asked about: one that could open a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainPacket {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Address of the client.
    pub source: IpAddr,
    /// Port of the client; absent: one that no flow and no ip:port affinity has.
    #[serde(default)]
    pub source_port: Option<u16>,
    /// VIP and port.
    pub destination: SocketAddr,
    /// What if the backend of this name were down?
    #[serde(default)]
    pub without: Option<String>,
}

/// Which flows; absent fields match all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowFilter {
    /// Name of the service.
    pub service: Option<String>,
    /// Name of the backend.
    pub backend: Option<String>,
    /// Those of clients within this source.
    pub source: Option<Source>,
}
