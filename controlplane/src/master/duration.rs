//! How long: what is granted, when that ends, how far packets extend it (contract section 3).
//!
//! A duration of `None` lasts until it is ended.

use super::Record;
use crate::{
    config::{AffinityPolicy, Refresh},
    signal::Asked,
};
use std::time::Duration;
use tether_dataplane::{clock::Millis, limits};

/// The longest duration that is granted as a number: no number means "until ended" (rule T1).
const LONGEST_MS: u64 = u64::MAX / 2;

/// What a service grants to who asks (contract rule T1).
#[must_use]
pub(super) fn granted(policy: &AffinityPolicy, asked: Asked) -> Option<u64> {
    let asked_ms = match asked {
        Asked::Default | Asked::Milliseconds(0) => Some(ms(policy.duration)),
        Asked::Milliseconds(asked_ms) => Some(asked_ms.min(LONGEST_MS)),
        Asked::UntilEnded => None,
    };
    capped(policy, asked_ms)
}

/// A duration within the service's cap (contract rules T1 and T8).
#[must_use]
pub(crate) fn capped(policy: &AffinityPolicy, duration_ms: Option<u64>) -> Option<u64> {
    match (policy.duration_cap.map(ms), duration_ms) {
        (Some(cap), Some(duration_ms)) => Some(duration_ms.min(cap)),
        (Some(cap), None) => Some(cap),
        (None, duration_ms) => duration_ms,
    }
}

/// The latest deadline that a signal leaves or gives at `now`: a cap that was lowered bounds what it
/// extends (contract rules T3 and T8).
#[must_use]
pub(super) fn latest(policy: &AffinityPolicy, now: Millis) -> Option<Millis> {
    policy.duration_cap.map(|cap| now + ms(cap))
}

/// When that ends; of a re-assertion no further away than `remaining_ms`, if that is not 0.
#[must_use]
pub(super) fn deadline(now: Millis, duration_ms: Option<u64>, remaining_ms: u64) -> Millis {
    match (duration_ms, remaining_ms) {
        (None, _) => Millis::NEVER,
        (Some(duration_ms), 0) => now + duration_ms,
        (Some(duration_ms), remaining_ms) => now + duration_ms.min(remaining_ms),
    }
}

/// How packets extend an affinity: how far ahead of now (0: not at all), and never beyond what
/// (contract rules T2 and T4).
#[must_use]
pub(crate) fn extension(policy: &AffinityPolicy, record: &Record) -> (u32, Option<Millis>) {
    let duration_ms = match policy.refresh {
        Refresh::Never => 0,
        Refresh::Packet | Refresh::Connection => record.duration_ms.unwrap_or(0),
    };
    let duration_ms = u32::try_from(duration_ms.min(limits::DURATION_MS)).unwrap_or(u32::MAX);
    let limit = policy.lifetime_cap.map(|cap| record.created.plus(ms(cap)));
    (duration_ms, limit)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(LONGEST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{OnBackendDown, OnConflict};

    fn policy(cap_ms: Option<u64>) -> AffinityPolicy {
        AffinityPolicy {
            duration: Duration::from_mins(1),
            duration_cap: cap_ms.map(Duration::from_millis),
            lifetime_cap: None,
            refresh: Refresh::Packet,
            on_conflict: OnConflict::Reject,
            on_backend_down: OnBackendDown::Balance,
            widest_prefix_v4: 8,
            widest_prefix_v6: 32,
        }
    }

    #[test]
    fn t1_the_cap_bounds_what_is_asked_and_zero_is_the_default() {
        let ask = |ms| Asked::Milliseconds(ms);
        for (asked, uncapped, capped) in [
            (Asked::Default, Some(60_000), Some(60_000)),
            (ask(0), Some(60_000), Some(60_000)),
            (ask(1), Some(1), Some(1)),
            (ask(60_000), Some(60_000), Some(60_000)),
            (ask(90_000), Some(90_000), Some(90_000)),
            (ask(90_001), Some(90_001), Some(90_000)),
            (ask(u64::MAX), Some(LONGEST_MS), Some(90_000)),
            (Asked::UntilEnded, None, Some(90_000)),
        ] {
            assert_eq!(granted(&policy(None), asked), uncapped, "{asked:?}");
            assert_eq!(granted(&policy(Some(90_000)), asked), capped, "{asked:?}");
        }
    }

    #[test]
    fn t1_no_number_means_until_ended() {
        let longest = granted(&policy(None), Asked::Milliseconds(u64::MAX));
        assert!(deadline(Millis(1 << 50), longest, 0) < Millis::NEVER);
        assert_eq!(deadline(Millis(5), None, 0), Millis::NEVER);
    }

    #[test]
    fn a_reassertion_ends_no_later_than_what_remained() {
        assert_eq!(deadline(Millis(5), Some(100), 30), Millis(35));
        assert_eq!(deadline(Millis(5), Some(100), 300), Millis(105));
    }
}
