//! The time of records by the clock on the wall.

use std::time::SystemTime;
use tether_dataplane::capture;

/// What the time of records is by the clock on the wall.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    began_ns: u64,
    ticks: u64,
    ticks_per_second: u64,
}

impl WallClock {
    pub(super) fn start(ticks_per_second: u64) -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let ns = since_1970.unwrap_or_default().as_nanos();
        Self {
            began_ns: u64::try_from(ns).unwrap_or(u64::MAX),
            ticks: capture::ticks(),
            ticks_per_second: ticks_per_second.max(1),
        }
    }

    pub(super) fn ns(self, ticks: u64) -> u64 {
        let ticks = u128::from(ticks.saturating_sub(self.ticks));
        let ns = ticks * 1_000_000_000 / u128::from(self.ticks_per_second);
        self.began_ns
            .saturating_add(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}
