//! What happens to affinities, in order: what watchers are told, what the journal and the audit
//! log are made of (contract rules S8, L1 and P5).

use super::Record;
use tether_dataplane::tables::{affinity::CellView, id::BackendId};

/// Something that has happened to one affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub what: Happened,
    /// The affinity as it was left, or as it was before it went away.
    pub record: Record,
    /// Its deadline, hits and flows at that moment.
    pub view: CellView,
}

/// What can happen to an affinity. What packets do (automatic extension) makes no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was created.
    Started,
    /// Its owner started it again.
    Refreshed,
    /// It was extended by a signal.
    Extended,
    /// It was ended before its deadline.
    Ended(Why),
    /// Its deadline passed (contract rule T5).
    Expired,
    /// Another backend owns the key now.
    Replaced {
        /// Which.
        by: BackendId,
    },
}

/// Why an affinity was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its owner has said so.
    Owner,
    /// An operator has said so.
    Operator,
    /// Its backend is no longer configured.
    BackendRemoved,
    /// Its service is no longer configured, or has an address of the other family now.
    ServiceRemoved,
    /// Its owner has begun another life (contract rule S7).
    Reboot,
    /// The session that it was bound to is over (contract rule S6).
    Session,
}

impl Why {
    /// The word for it in events and in the audit log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Operator => "operator",
            Self::BackendRemoved => "backend_removed",
            Self::ServiceRemoved => "service_removed",
            Self::Reboot => "reboot",
            Self::Session => "session",
        }
    }
}
