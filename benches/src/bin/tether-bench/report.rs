//! What is said at the end.

use crate::{churn::Tally, crew::Done};
use serde::Serialize;
use std::collections::BTreeMap;
use tether_benches::meter::{Meter, Percentiles};
use tether_dataplane::measure::Stage;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    packets_per_second: f64,
    cycles_per_packet: f64,
    /// Cycles of a packet by stage, measured by themselves: their sum is a little more.
    stages: BTreeMap<&'static str, f64>,
    fates: BTreeMap<&'static str, u64>,
    step_ns: Percentiles,
    workers: usize,
    /// New flows placed each second, remembered or not.
    new_flows_per_second: f64,
    signals_per_second: f64,
    expiries_per_second: f64,
    reloads_per_second: f64,
    /// IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_flow: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_flow_v6: Option<f64>,
    /// Of what workers read.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_affinity: Option<f64>,
}

/// What happened beside the packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes {
    pub(crate) new_flows: u64,
    pub(crate) control: Tally,
}

/// Bytes of one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) flow_v4: f64,
    pub(crate) flow_v6: f64,
    pub(crate) affinity: Option<f64>,
}

impl Report {
    /// Of workers that ran side by side.
    #[expect(clippy::cast_precision_loss, reason = "packets of a few minutes fit")]
    pub(crate) fn new(
        meters: &[Meter],
        packets: u64,
        fates: impl Iterator<Item = (&'static str, u64)>,
    ) -> Self {
        let cycles: u64 = meters.iter().map(Meter::cycles).sum();
        Self {
            packets_per_second: rate(meters, packets),
            cycles_per_packet: cycles as f64 / packets.max(1) as f64,
            stages: BTreeMap::new(),
            fates: fates.filter(|(_, count)| *count > 0).collect(),
            step_ns: Meter::step_ns(meters),
            workers: meters.len(),
            new_flows_per_second: 0.0,
            signals_per_second: 0.0,
            expiries_per_second: 0.0,
            reloads_per_second: 0.0,
            bytes_per_flow: None,
            bytes_per_flow_v6: None,
            bytes_per_affinity: None,
        }
    }

    pub(crate) fn tell_changes(&mut self, meters: &[Meter], changes: Changes) {
        self.new_flows_per_second = rate(meters, changes.new_flows);
        self.signals_per_second = rate(meters, changes.control.signals);
        self.expiries_per_second = rate(meters, changes.control.expiries);
        self.reloads_per_second = rate(meters, changes.control.reloads);
    }

    pub(crate) fn tell_sizes(&mut self, sizes: Sizes) {
        self.bytes_per_flow = Some(sizes.flow_v4);
        self.bytes_per_flow_v6 = Some(sizes.flow_v6);
        self.bytes_per_affinity = sizes.affinity;
    }

    /// The cycles of a phase by stage.
    #[expect(clippy::cast_precision_loss, reason = "cycles of a few minutes fit")]
    pub(crate) fn tell_stages(&mut self, done: &[Done], packets: u64) {
        for stage in done.iter().flat_map(|done| done.stages.spent()) {
            let (stage, cycles) = stage;
            *self.stages.entry(stage.name()).or_default() += cycles as f64 / packets.max(1) as f64;
        }
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
        for stage in Stage::ALL {
            if let Some(cycles) = self.stages.get(stage.name()) {
                println!("{cycles:>12.1}   {}", stage.name());
            }
        }
        for (name, count) in &self.fates {
            println!("{count:>12} {name}");
        }
        let times = &self.step_ns;
        println!(
            "{:>12} ns a step (p50), p99 {}, p99.99 {}, longest {}",
            times.p50, times.p99, times.p9999, times.max
        );
        for (value, what) in self.rest() {
            if let Some(value) = value.filter(|value| *value > 0.0) {
                println!("{value:>12.0} {what}");
            }
        }
        Ok(())
    }

    fn rest(&self) -> [(Option<f64>, &'static str); 7] {
        [
            (Some(self.new_flows_per_second), "new flows a second"),
            (Some(self.signals_per_second), "signals a second"),
            (Some(self.expiries_per_second), "expiries a second"),
            (Some(self.reloads_per_second), "reloads a second"),
            (self.bytes_per_flow, "bytes per IPv4 flow"),
            (self.bytes_per_flow_v6, "bytes per IPv6 flow"),
            (
                self.bytes_per_affinity,
                "bytes per affinity in what workers read",
            ),
        ]
    }
}

/// So many of something by the second, over workers that ran side by side.
fn rate(meters: &[Meter], count: u64) -> f64 {
    let longest = meters
        .iter()
        .max_by(|a, b| a.seconds().total_cmp(&b.seconds()));
    longest.map_or(0.0, |meter| meter.rate(count))
}
