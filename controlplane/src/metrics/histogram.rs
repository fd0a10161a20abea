//! How long things took, in buckets that Prometheus can add up.

use std::time::Duration;

/// The upper bounds of the buckets, in microseconds, and as the page writes them in seconds.
const BOUNDS: [(u64, &str); 14] = [
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
];

/// Counts by how long, from 50 µs to a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// By the first bound that is not below; not added up.
    counts: [u64; BOUNDS.len()],
    count: u64,
    sum_us: u64,
}

impl Histogram {
    /// So many things took that long each.
    pub(crate) fn count(&mut self, took: Duration, things: u64) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < us);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += things;
        }
        self.count += things;
        self.sum_us = self.sum_us.saturating_add(us.saturating_mul(things));
    }

    /// How many took no longer than each bound, in seconds; the last bound is that there is none.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let bounds = BOUNDS.iter().map(|(_, seconds)| *seconds);
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        bounds.zip(counts).chain([("+Inf", self.count)])
    }

    /// How many there were, and how long they took together, in seconds.
    pub(super) fn total(&self) -> (u64, f64) {
        #[expect(clippy::cast_precision_loss, reason = "a microsecond in 285 years")]
        let seconds = self.sum_us as f64 / 1e6;
        (self.count, seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_and_have_their_bounds_inside() {
        let mut histogram = Histogram::default();
        for (us, things) in [(0, 1), (50, 1), (51, 2), (1_000_000, 4), (1_000_001, 8)] {
            histogram.count(Duration::from_micros(us), things);
        }
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets[0], ("0.00005", 2));
        assert_eq!(buckets[1], ("0.0001", 4));
        assert_eq!(buckets[12], ("0.5", 4));
        assert_eq!(buckets[13..], [("1", 8), ("+Inf", 16)]);
        let (count, seconds) = histogram.total();
        assert_eq!(count, 16);
        assert!((seconds - 12.000_160).abs() < 1e-9, "{seconds}");
    }

    #[test]
    fn the_words_are_the_bounds() {
        for (us, seconds) in BOUNDS {
            let seconds: f64 = seconds.parse().unwrap();
            assert_eq!(Duration::from_secs_f64(seconds), Duration::from_micros(us));
        }
    }
}
