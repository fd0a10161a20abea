//! Rates from two readings of the counters.

use std::collections::BTreeMap;

use serde::Serialize;
use tether_api::operator::{PortStats, Stats, WorkerStats};

use crate::units::to_f64;

/// What happened between two readings; one line of `stats --interval`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// By the daemon's clock.
    pub(crate) interval_ms: u64,
    pub(crate) workers: Vec<WorkerRates>,
    pub(crate) ports: Vec<PortRates>,
    /// Signals a second by what became of them.
    pub(crate) outcomes_per_second: BTreeMap<String, f64>,
}

/// One worker in an interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct WorkerRates {
    pub(crate) core: u32,
    pub(crate) received_per_second: f64,
    /// Busy cycles by packets received; `null` if there was none.
    pub(crate) cycles_per_packet: Option<f64>,
    /// Busy cycles of all, 0 to 1; `null` if the worker does not count them.
    pub(crate) busy: Option<f64>,
    /// Packets a second by what became of them; those that never happened are left out.
    pub(crate) fates_per_second: BTreeMap<String, f64>,
    /// New flows a second by what placed them.
    pub(crate) placed_per_second: BTreeMap<String, f64>,
}

/// One port in an interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PortRates {
    pub(crate) device: String,
    pub(crate) received_packets_per_second: f64,
    pub(crate) received_bits_per_second: f64,
    pub(crate) transmitted_packets_per_second: f64,
    pub(crate) transmitted_bits_per_second: f64,
    /// Missed, errors, and no buffer.
    pub(crate) lost_per_second: f64,
}

/// The rates from `before` to `after`; 0 for all if no time has passed or the daemon started anew.
pub(crate) fn between(before: &Stats, after: &Stats) -> Rates {
    let interval_ms = after.uptime_ms.saturating_sub(before.uptime_ms);
    let per = PerSecond { interval_ms };
    Rates {
        interval_ms,
        workers: pairs(&before.workers, &after.workers, |worker| worker.core)
            .map(|(was, is)| per.worker(&was, is))
            .collect(),
        ports: pairs(&before.ports, &after.ports, |port| port.device.clone())
            .map(|(was, is)| per.port(&was, is))
            .collect(),
        outcomes_per_second: per.map(&before.outcomes, &after.outcomes),
    }
}

/// What is now, beside what it was, by its name; what is new was nothing.
fn pairs<'a, T: Default + Clone, K: PartialEq>(
    before: &'a [T],
    after: &'a [T],
    key: impl Fn(&T) -> K + 'a,
) -> impl Iterator<Item = (T, &'a T)> {
    after.iter().map(move |is| {
        let was = before.iter().find(|was| key(was) == key(is));
        (was.cloned().unwrap_or_default(), is)
    })
}

struct PerSecond {
    interval_ms: u64,
}

impl PerSecond {
    fn rate(&self, before: u64, after: u64) -> f64 {
        match self.interval_ms {
            0 => 0.0,
            ms => to_f64(after.saturating_sub(before)) * 1_000.0 / to_f64(ms),
        }
    }

    fn map(
        &self,
        before: &BTreeMap<String, u64>,
        after: &BTreeMap<String, u64>,
    ) -> BTreeMap<String, f64> {
        let named = after.iter().filter(|(_, count)| **count > 0);
        named
            .map(|(name, count)| {
                let was = before.get(name).copied().unwrap_or_default();
                (name.clone(), self.rate(was, *count))
            })
            .collect()
    }

    fn worker(&self, was: &WorkerStats, is: &WorkerStats) -> WorkerRates {
        let cycles = |name: &str| {
            let after = is.cycles.get(name)?;
            Some(after.saturating_sub(was.cycles.get(name).copied().unwrap_or_default()))
        };
        let packets = is.received.saturating_sub(was.received);
        let busy = cycles("busy");
        let all = busy.zip(cycles("idle")).map(|(busy, idle)| busy + idle);
        WorkerRates {
            core: is.core,
            received_per_second: self.rate(was.received, is.received),
            cycles_per_packet: busy.and_then(|busy| ratio(busy, packets)),
            busy: busy.zip(all).and_then(|(busy, all)| ratio(busy, all)),
            fates_per_second: self.map(&was.fates, &is.fates),
            placed_per_second: self.map(&was.placed, &is.placed),
        }
    }

    fn port(&self, was: &PortStats, is: &PortStats) -> PortRates {
        let (was, is, device) = (was.counters, is.counters, is.device.clone());
        let lost = |c: tether_api::operator::PortCounters| {
            c.received_missed + c.received_errors + c.received_no_buffer + c.transmitted_errors
        };
        PortRates {
            device,
            received_packets_per_second: self.rate(was.received_packets, is.received_packets),
            received_bits_per_second: 8.0 * self.rate(was.received_bytes, is.received_bytes),
            transmitted_packets_per_second: self
                .rate(was.transmitted_packets, is.transmitted_packets),
            transmitted_bits_per_second: 8.0
                * self.rate(was.transmitted_bytes, is.transmitted_bytes),
            lost_per_second: self.rate(lost(was), lost(is)),
        }
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| to_f64(part) / to_f64(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(uptime_ms: u64, received: u64, busy: u64) -> Stats {
        let named = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
            pairs
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        let worker = WorkerStats {
            core: 1,
            received,
            fates: named(&[("forwarded", received), ("no_service", 0)]),
            cycles: named(&[("busy", busy), ("idle", busy)]),
            ..WorkerStats::default()
        };
        Stats {
            uptime_ms,
            workers: vec![worker],
            ..Stats::default()
        }
    }

    #[test]
    fn rates_are_differences_by_the_daemons_time() {
        let rates = between(&reading(1_000, 100, 1_000), &reading(1_500, 300, 41_000));
        assert_eq!(rates.interval_ms, 500);
        let worker = &rates.workers[0];
        let exactly = |rate: f64, expected: f64| (rate - expected).abs() < 1e-9;
        assert!(exactly(worker.received_per_second, 400.0));
        assert!(exactly(worker.cycles_per_packet.unwrap(), 200.0));
        assert!(exactly(worker.busy.unwrap(), 0.5));
        assert_eq!(worker.fates_per_second.len(), 1);
        assert!(exactly(worker.fates_per_second["forwarded"], 400.0));
    }

    #[test]
    fn a_daemon_that_started_anew_gives_no_wild_rates() {
        let rates = between(&reading(9_000, 100, 0), &reading(100, 5, 0));
        assert_eq!(rates.interval_ms, 0);
        assert!(rates.workers[0].received_per_second.abs() < 1e-9);
        assert_eq!(rates.workers[0].cycles_per_packet, None);
    }
}
