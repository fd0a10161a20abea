//! How long to leave the forwarder alone between attempts to connect.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Nothing before the first attempt, then ever longer pauses, until a connection has lasted.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            next: Duration::ZERO,
        }
    }

    /// How long to wait before the next attempt.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).max(self.first).min(self.max);
        jitter(pause)
    }

    /// Takes how long a connection has lasted. One that breaks at once, because the forwarder
    /// refuses what it is sent or is overloaded, is no reason to be impatient again.
    pub(crate) fn lasted(&mut self, time: Duration) {
        if time >= self.max {
            self.next = Duration::ZERO;
        }
    }
}

/// Between a half and the whole of the pause, so that many servers do not come back in one moment.
fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 512;
    pause * u32::try_from(512 + random).unwrap_or(1024) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pauses(backoff: &mut Backoff, limits: [u32; 5]) {
        for limit in limits {
            let pause = backoff.pause();
            let range = (limit / 2) * MS..=limit * MS;
            assert!(range.contains(&pause), "{pause:?} {range:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_their_limit_until_a_connection_has_lasted() {
        let mut backoff = Backoff::new(100 * MS, 500 * MS);
        pauses(&mut backoff, [0, 100, 200, 400, 500]);
        backoff.lasted(499 * MS);
        pauses(&mut backoff, [500, 500, 500, 500, 500]);
        backoff.lasted(500 * MS);
        pauses(&mut backoff, [0, 100, 200, 400, 500]);
    }
}
