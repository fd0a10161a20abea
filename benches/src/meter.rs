//! How long something took, as a whole and step by step.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};

/// Steps between two looks at the clock.
const STEPS: u32 = 64;

/// Steps of one thread for some seconds.
#[derive(Clone, Debug)]
pub struct Meter {
    seconds: f64,
    cycles: u64,
    steps: Histogram<u64>,
}

/// Percentiles, in the unit that was recorded.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.99 %.
    pub p9999: u64,
    /// The longest.
    pub max: u64,
}

impl Meter {
    /// Runs steps for so many seconds.
    pub fn run(seconds: f64, mut step: impl FnMut()) -> Self {
        let mut steps = histogram();
        let (start, first) = (Instant::now(), dpdk::cycles());
        let mut before = first;
        while start.elapsed() < Duration::from_secs_f64(seconds) {
            for _ in 0..STEPS {
                step();
                let now = dpdk::cycles();
                steps.saturating_record(now.wrapping_sub(before));
                before = now;
            }
        }
        Self {
            seconds: start.elapsed().as_secs_f64(),
            cycles: before.wrapping_sub(first),
            steps,
        }
    }

    /// How long it took.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// The same in cycles of the time-stamp counter.
    #[must_use]
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// So many of something, by the second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a few minutes fit")]
    pub fn rate(&self, count: u64) -> f64 {
        count as f64 / self.seconds
    }

    /// Nanoseconds of one step, over all of these.
    #[must_use]
    pub fn step_ns(meters: &[Self]) -> Percentiles {
        let mut all = histogram();
        for meter in meters {
            // Err: a value beyond the bounds, which are the same for all.
            let _ = all.add(&meter.steps);
        }
        let per_cycle = meters.first().map_or(0.0, Self::nanoseconds_per_cycle);
        let nanoseconds = |cycles: u64| scaled(cycles, per_cycle);
        let at = |percentile| nanoseconds(all.value_at_percentile(percentile));
        Percentiles {
            p50: at(50.0),
            p99: at(99.0),
            p9999: at(99.99),
            max: nanoseconds(all.max()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "cycles of a few minutes fit")]
    fn nanoseconds_per_cycle(&self) -> f64 {
        self.seconds * 1e9 / self.cycles.max(1) as f64
    }
}

impl Percentiles {
    /// Of a histogram.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: histogram.value_at_percentile(50.0),
            p99: histogram.value_at_percentile(99.0),
            p9999: histogram.value_at_percentile(99.99),
            max: histogram.max(),
        }
    }
}

/// Of three digits, for any time that a program runs.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1_000_000_000_000, 3)
        .unwrap_or_else(|_| unreachable!("constant bounds"))
}

/// The middle one of some values; of an even number, the mean of the two.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    if sorted.len().is_multiple_of(2) {
        Some(f64::midpoint(sorted[middle - 1], *upper))
    } else {
        Some(*upper)
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded down"
)]
fn scaled(value: u64, factor: f64) -> u64 {
    (value as f64 * factor) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
    }

    #[test]
    fn steps_are_counted_with_their_time() {
        let mut steps = 0;
        let meter = Meter::run(0.01, || steps += 1);
        let times = Meter::step_ns(std::slice::from_ref(&meter));
        assert!(meter.seconds() >= 0.01 && steps >= STEPS);
        assert!(times.p50 <= times.p99 && times.p99 <= times.max);
    }
}
