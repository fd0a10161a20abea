//! Time and what is said at the end.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Steps between two looks at the clock.
const STEPS: u32 = 64;

/// How long something took, as a whole and step by step.
#[derive(Debug)]
pub(crate) struct Meter {
    seconds: f64,
    cycles: u64,
    steps: Histogram<u64>,
}

impl Meter {
    /// Runs steps for so many seconds.
    pub(crate) fn run(seconds: f64, mut step: impl FnMut()) -> Self {
        let mut steps = Histogram::new_with_bounds(1, 1_000_000_000_000, 3)
            .unwrap_or_else(|_| unreachable!("constant bounds"));
        let (start, first) = (Instant::now(), dpdk::cycles());
        let mut before = first;
        while start.elapsed() < Duration::from_secs_f64(seconds) {
            for _ in 0..STEPS {
                step();
                let now = dpdk::cycles();
                steps.saturating_record(now - before);
                before = now;
            }
        }
        Self {
            seconds: start.elapsed().as_secs_f64(),
            cycles: before - first,
            steps,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "cycles of a few minutes fit")]
    fn nanoseconds(&self, cycles: u64) -> u64 {
        let per_cycle = self.seconds * 1e9 / self.cycles.max(1) as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rounded"
        )]
        let whole = (cycles as f64 * per_cycle) as u64;
        whole
    }

    fn percentile(&self, percentile: f64) -> u64 {
        self.nanoseconds(self.steps.value_at_percentile(percentile))
    }
}

/// Percentiles of one step, in nanoseconds.
#[derive(Debug, Serialize)]
struct StepTimes {
    p50: u64,
    p99: u64,
    p9999: u64,
    max: u64,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    packets_per_second: f64,
    cycles_per_packet: f64,
    fates: BTreeMap<&'static str, u64>,
    step_ns: StepTimes,
    /// New flows placed each second, remembered or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) new_flows_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signals_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_affinity: Option<f64>,
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "packets of a few minutes fit")]
    pub(crate) fn new(meter: &Meter, packets: u64, fates: &[(&'static str, u64)]) -> Self {
        Self {
            packets_per_second: packets as f64 / meter.seconds,
            cycles_per_packet: meter.cycles as f64 / packets.max(1) as f64,
            fates: fates
                .iter()
                .copied()
                .filter(|(_, count)| *count > 0)
                .collect(),
            step_ns: StepTimes {
                p50: meter.percentile(50.0),
                p99: meter.percentile(99.0),
                p9999: meter.percentile(99.99),
                max: meter.nanoseconds(meter.steps.max()),
            },
            new_flows_per_second: None,
            signals_per_second: None,
            bytes_per_affinity: None,
        }
    }

    /// So many of something, by the second.
    #[expect(clippy::cast_precision_loss, reason = "counts of a few minutes fit")]
    pub(crate) fn rate(meter: &Meter, count: u64) -> f64 {
        count as f64 / meter.seconds
    }

    /// Prints it, for people or for programs.
    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    pub(crate) fn print(&self, json: bool) -> Result<(), serde_json::Error> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!("{:>12.3} Mpps", self.packets_per_second / 1e6);
        println!("{:>12.1} cycles per packet", self.cycles_per_packet);
        for (name, count) in &self.fates {
            println!("{count:>12} {name}");
        }
        let times = &self.step_ns;
        println!(
            "{:>12} ns a step (p50), p99 {}, p99.99 {}, longest {}",
            times.p50, times.p99, times.p9999, times.max
        );
        for (value, what) in [
            (self.new_flows_per_second, "new flows a second"),
            (self.signals_per_second, "signals a second"),
            (
                self.bytes_per_affinity,
                "bytes per affinity in what workers read",
            ),
        ] {
            if let Some(value) = value {
                println!("{value:>12.0} {what}");
            }
        }
        Ok(())
    }
}
