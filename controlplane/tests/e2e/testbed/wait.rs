//! Waiting for something that will be so, instead of for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long to wait for what should come soon: the machine may be busy with other things.
pub const SOON: Duration = Duration::from_secs(10);

/// How often to look.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until there is something.
#[track_caller]
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} for {what}");
        thread::sleep(PAUSE);
    }
}

/// Waits until it is so.
#[track_caller]
pub fn wait_until(what: &str, deadline: Duration, mut look: impl FnMut() -> bool) {
    wait_for(what, deadline, || look().then_some(()));
}
