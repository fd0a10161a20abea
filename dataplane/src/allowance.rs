//! An allowance: so many a second, and so many at once.

use crate::clock::Millis;

/// One, in the unit that is kept: so that each millisecond earns a whole number.
const ONE: u64 = 1000;

/// What is left of an allowance.
#[derive(Debug)]
pub(crate) struct Allowance {
    per_second: u64,
    /// All that is allowed at once.
    full: u64,
    left: u64,
    since: Millis,
}

impl Allowance {
    /// A full one.
    pub(crate) fn new(per_second: u64, at_once: u64) -> Self {
        let full = at_once.saturating_mul(ONE);
        Self {
            per_second,
            full,
            left: full,
            since: Millis(0),
        }
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, now: Millis) -> bool {
        let is_there = self.has(1, now);
        if is_there {
            self.spend(1);
        }
        is_there
    }

    /// Whether there are so many.
    pub(crate) fn has(&mut self, count: usize, now: Millis) -> bool {
        let earned = now.since(self.since).saturating_mul(self.per_second);
        self.since = now;
        self.left = self.left.saturating_add(earned).min(self.full);
        self.left >= count as u64 * ONE
    }

    /// Takes so many that there are.
    pub(crate) fn spend(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count as u64 * ONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_SECOND: u64 = 1000;
    const AT_ONCE: u64 = 64;

    fn taken(allowance: &mut Allowance, now: u64) -> u64 {
        let all = 0..10 * PER_SECOND;
        all.filter(|_| allowance.take(Millis(now))).count() as u64
    }

    #[test]
    fn so_many_at_once_and_so_many_a_second() {
        let mut allowance = Allowance::new(PER_SECOND, AT_ONCE);
        assert_eq!(taken(&mut allowance, 5000), AT_ONCE);
        assert_eq!(taken(&mut allowance, 5010), 10 * PER_SECOND / 1000);
        let seconds = (6..9).map(|s| taken(&mut allowance, s * 1000));
        assert_eq!(seconds.max(), Some(AT_ONCE));
        let total: u64 = (9000..11_000).map(|ms| taken(&mut allowance, ms)).sum();
        assert!(total <= 2 * PER_SECOND + AT_ONCE, "{total}");
        assert!(total >= 2 * PER_SECOND, "{total}");
    }

    #[test]
    fn what_was_spent_is_not_there() {
        let mut allowance = Allowance::new(PER_SECOND, AT_ONCE);
        assert!(allowance.has(64, Millis(1)) && !allowance.has(65, Millis(1)));
        allowance.spend(60);
        assert!(allowance.has(4, Millis(1)) && !allowance.has(5, Millis(1)));
        assert!(allowance.has(5, Millis(2)) && !allowance.has(6, Millis(2)));
    }
}
