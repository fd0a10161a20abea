//! Time is an argument everywhere else; only this file reads a clock.

use std::{
    ops::{Add, Sub},
    time::{Duration, Instant},
};

/// Milliseconds of monotonic time since the origin of the process's [`Clock`] (contract rule T6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// Later than every instant: the deadline of what lasts until it is ended.
    pub const NEVER: Millis = Millis(u64::MAX);

    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Millis {
    type Output = Millis;
    fn add(self, ms: u64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }
}

impl Sub<u64> for Millis {
    type Output = Millis;
    fn sub(self, ms: u64) -> Millis {
        Millis(self.0.saturating_sub(ms))
    }
}

/// The monotonic clock that both planes share.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now, at one second: zero is never an instant.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads a clock"
    )]
    pub fn start() -> Self {
        let now = Instant::now();
        Self {
            origin: now.checked_sub(Duration::from_secs(1)).unwrap_or(now),
        }
    }

    /// Now. A vDSO call, no system call; workers read it once per burst.
    #[must_use]
    pub fn now(&self) -> Millis {
        let elapsed = self.origin.elapsed().as_millis();
        Millis(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}
