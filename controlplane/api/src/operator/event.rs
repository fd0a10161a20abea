//! What a watch tells.

use serde::{Deserialize, Serialize};

use super::rows::{Affinity, AffinityState};
use crate::v1::{AffinityEntry, affinity_entry::State, event::Kind};

/// Which events; absent fields match all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchFilter {
    /// Name of the service.
    pub service: Option<String>,
    /// Name of the owner; of a replacement: of the loser.
    pub backend: Option<String>,
}

/// The watch has begun: every event from now on is told, or counted as lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watching {
    /// Events that wait for a reader before further ones are lost.
    pub ahead: u64,
}

/// Something happened to an affinity (S8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// What happened.
    pub event: EventKind,
    /// Counts the events of this watch from 1, lost ones included; of a gap: the last lost one's.
    pub sequence: u64,
    /// One life of the forwarder's table.
    pub epoch: u64,
    /// As it was left, or as it was before it went away; `null` in a gap.
    pub affinity: Option<Affinity>,
    /// Of `replaced`: the backend that owns the key now.
    pub new_owner: Option<String>,
    /// Of `ended`: `owner`, `operator`, `backend_removed`, `service_removed`, `reboot`, `session`.
    pub reason: Option<String>,
    /// Of `gap`: how many events are missing.
    pub lost: Option<u64>,
}

/// What can happen to an affinity; as `tether.v1.Event.Kind`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It was created.
    Started,
    /// Its owner started it again.
    Refreshed,
    /// It was extended by a signal.
    Extended,
    /// It was ended before its deadline.
    Ended,
    /// Its deadline passed.
    Expired,
    /// Another backend owns the key now.
    Replaced,
    /// It stops to route: its owner is down or disabled.
    Suspended,
    /// It routes again.
    Resumed,
    /// Events are missing here.
    #[default]
    Gap,
}

impl From<Kind> for EventKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Started => Self::Started,
            Kind::Refreshed => Self::Refreshed,
            Kind::Extended => Self::Extended,
            Kind::Ended => Self::Ended,
            Kind::Expired => Self::Expired,
            Kind::Replaced => Self::Replaced,
            Kind::Suspended => Self::Suspended,
            Kind::Resumed => Self::Resumed,
            Kind::Unspecified | Kind::Gap => Self::Gap,
        }
    }
}

impl From<&AffinityEntry> for Affinity {
    fn from(entry: &AffinityEntry) -> Self {
        Self {
            service: entry.service.clone(),
            source: entry.source.clone(),
            owner: entry.owner.clone(),
            state: match entry.state() {
                State::Unspecified | State::Active => AffinityState::Active,
                State::Suspended => AffinityState::Suspended,
                State::Draining => AffinityState::Draining,
            },
            created_ms_ago: entry.created_ms_ago,
            last_hit_ms_ago: entry.last_hit_ms_ago,
            duration_ms: Some(entry.duration_ms).filter(|it| *it != 0),
            remaining_ms: Some(entry.remaining_ms).filter(|_| !entry.until_ended),
            hits: entry.hits,
            flows: entry.flows,
            generation: entry.generation,
        }
    }
}
