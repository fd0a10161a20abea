//! What an outcome means to whoever asked, and how the compact form widens to the full one.

use crate::v1::{CompactOutcome, Outcome, OutcomeCode};

impl OutcomeCode {
    /// Whether the signal did what it asked for (contract, section 4).
    #[must_use]
    pub fn is_positive(self) -> bool {
        matches!(
            self,
            Self::Created | Self::Refreshed | Self::Replaced | Self::Extended | Self::Ended
        )
    }
}

impl CompactOutcome {
    /// As the outcome of a unary call. `key` and `owner` stay as sent: empty where they are what
    /// the sender expects.
    #[must_use]
    pub fn widen(self, epoch: u64) -> Outcome {
        Outcome {
            code: self.code,
            granted_ms: self.granted_ms,
            remaining_ms: self.remaining_ms,
            generation: self.generation,
            epoch,
            key: self.key,
            owner: self.owner,
            detail: self.detail,
            service: String::new(),
            until_ended: self.until_ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_contract() {
        let names: Vec<_> = (1..=15)
            .map(|code| OutcomeCode::try_from(code).unwrap().as_str_name())
            .collect();
        let contract = "CREATED REFRESHED REPLACED CONFLICT UNAVAILABLE EXTENDED NOT_FOUND ENDED \
                        NOT_OWNER STALE INVALID TOO_BROAD QUOTA FULL DENIED";
        assert_eq!(names, contract.split_whitespace().collect::<Vec<_>>());
        assert!(
            OutcomeCode::try_from(16).is_err(),
            "a new code needs a line here"
        );
    }
}
