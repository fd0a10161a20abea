//! An allowance: so many a second, and so many at once.

use crate::{
    clock::Millis,
    limits::{ERRORS_AT_ONCE, ERRORS_PER_SECOND},
};

/// One, in the unit that is kept: so that each millisecond earns a whole number.
const ONE: u64 = 1000;
const FULL: u64 = ERRORS_AT_ONCE * ONE;

/// What is left of an allowance.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: u64,
    since: Millis,
}

impl Allowance {
    /// All that is allowed at once.
    pub(crate) fn new() -> Self {
        Self {
            left: FULL,
            since: Millis(0),
        }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Millis) -> bool {
        let earned = now.since(self.since).saturating_mul(ERRORS_PER_SECOND);
        self.since = now;
        self.left = self.left.saturating_add(earned).min(FULL);
        match self.left.checked_sub(ONE) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_so_many_a_second() {
        let mut allowance = Allowance::new();
        let taken = |allowance: &mut Allowance, now| {
            let all = 0..10 * ERRORS_PER_SECOND;
            all.filter(|_| allowance.take(Millis(now))).count() as u64
        };
        assert_eq!(taken(&mut allowance, 5000), ERRORS_AT_ONCE);
        assert_eq!(taken(&mut allowance, 5010), 10 * ERRORS_PER_SECOND / 1000);
        let seconds = (6..9).map(|s| taken(&mut allowance, s * 1000));
        assert_eq!(seconds.max(), Some(ERRORS_AT_ONCE));
        let total: u64 = (9000..11_000).map(|ms| taken(&mut allowance, ms)).sum();
        assert!(total <= 2 * ERRORS_PER_SECOND + ERRORS_AT_ONCE, "{total}");
        assert!(total >= 2 * ERRORS_PER_SECOND, "{total}");
    }
}
