//! What the forwarder made of a signal.

use std::time::Duration;

use tether_api::v1::{CompactOutcome, OutcomeCode};

/// What the forwarder made of a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// By the names of the contract's section 4.
    pub code: OutcomeCode,
    /// Of a start, the duration that the affinity has now (T1); of an extension, how far ahead it
    /// was granted to reach (T3). `None`: refused, ended or until ended.
    pub granted: Option<Duration>,
    /// To the deadline; of `Conflict`: of the other's affinity.
    pub remaining: Option<Duration>,
    /// The affinity has no deadline.
    pub until_ended: bool,
    /// The life of this affinity; 0: there is none.
    pub generation: u64,
    /// One life of the forwarder's table (L3).
    pub epoch: u64,
    /// Name of the backend that owns the client, if it is not this one.
    pub owner: Option<String>,
    /// One sentence on a refusal; empty if there is nothing to say.
    pub detail: String,
}

impl Outcome {
    /// Whether the signal did what it asked for, on every worker (S1).
    #[must_use]
    pub fn is_effective(&self) -> bool {
        self.code.is_positive()
    }

    pub(crate) fn new(compact: CompactOutcome, epoch: u64) -> Self {
        let code = compact.code();
        let span = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        Self {
            code,
            granted: span(compact.granted_ms),
            remaining: span(compact.remaining_ms),
            until_ended: compact.until_ended,
            generation: compact.generation,
            epoch,
            owner: Some(compact.owner).filter(|name| !name.is_empty()),
            detail: compact.detail,
        }
    }
}
