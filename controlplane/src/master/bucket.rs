//! A token bucket: so many signals a second, and at most a second's worth at once (rule P4).

use tether_dataplane::clock::Millis;

/// What is spent of a second's worth of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// In thousandths of a token, as of `at`.
    spent: u64,
    at: Millis,
}

impl Bucket {
    /// Takes a token if there is one, at `rate` tokens a second.
    #[must_use]
    pub fn take(&mut self, rate: u32, now: Millis) -> bool {
        let rate = u64::from(rate);
        let regained = rate.saturating_mul(now.since(self.at));
        self.spent = self.spent.saturating_sub(regained);
        self.at = now;
        let has_room = self.spent + 1000 <= rate * 1000;
        if has_room {
            self.spent += 1000;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, rate: u32, now: u64, tries: usize) -> usize {
        let tries = (0..tries).map(|_| bucket.take(rate, Millis(now)));
        tries.filter(|taken| *taken).count()
    }

    #[test]
    fn p4_a_second_gives_a_seconds_worth_and_no_more() {
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, 10, 1000, 20), 10);
        assert_eq!(taken(&mut bucket, 10, 1099, 20), 0);
        assert_eq!(taken(&mut bucket, 10, 1100, 20), 1);
        assert_eq!(taken(&mut bucket, 10, 60_000, 20), 10);
    }
}
