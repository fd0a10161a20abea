//! `table-bench`: the affinity table beside others, in cycles per lookup.
//!
//! `table-bench [EAL arguments] -- [its own]`. All tables hold the same clients and are asked for
//! the same ones in the same order, 64 at once, in windows of some milliseconds, in turn; a figure is
//! the median of its windows. So what a neighbour on the host does to one it does to all. Beside
//! the affinity table stand DPDK's `rte_hash` (bulk lookups, lock-free mode), `hashbrown` (which
//! nobody may change meanwhile), `papaya`, and a `hashbrown` map that is copied and swapped.

mod candidates;
mod writer;

use candidates::{Candidate, Workload};
use clap::Parser;
use dpdk::Eal;
use serde::Serialize;
use std::{error::Error, process::ExitCode};
use tether_benches::{command_line, cores, meter::median};
use writer::Writing;

/// Compares tables. EAL arguments come first, then `--`, then these.
#[derive(Debug, Parser)]
#[command(name = "table-bench [EAL arguments] --", version)]
struct Arguments {
    /// Clients in the tables, as in 1000,1000000.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 100_000, 1_000_000])]
    entries: Vec<u32>,
    /// How many of a hundred lookups find something.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 50, 0])]
    hits: Vec<u32>,
    /// Changes each second by another thread, once without and once with them; 0: only without.
    #[arg(long, default_value_t = 200_000)]
    changes_per_second: u64,
    /// Windows of each table.
    #[arg(long, default_value_t = 21)]
    windows: usize,
    /// Milliseconds of a window.
    #[arg(long, default_value_t = 50)]
    window_ms: u64,
    /// The core of lookups; the writer runs on the others.
    #[arg(long)]
    core: Option<u16>,
    /// Print one JSON object for each figure.
    #[arg(long)]
    json: bool,
}

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    table: &'static str,
    entries: u32,
    hits_percent: u32,
    changes_per_second: u64,
    cycles_per_lookup: f64,
    least: f64,
    most: f64,
}

#[expect(
    clippy::print_stderr,
    reason = "this is how a program says what went wrong"
)]
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("table-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let all: Vec<String> = std::env::args().collect();
    let (eal, own) = command_line::split(&all);
    let arguments = Arguments::parse_from(own);
    let core: Vec<u16> = arguments.core.into_iter().collect();
    cores::keep_off(&core)?;
    let eal = Eal::init(eal)?;
    let ms = dpdk::cycles_per_second(&eal) / 1000;
    for entries in &arguments.entries {
        let (mut tables, changers) = candidates::fill(&eal, *entries)?;
        let writing = Writing::start(changers);
        if let Some(core) = arguments.core {
            cores::pin(core)?;
        }
        for hits in &arguments.hits {
            let workload = Workload::new(*entries, *hits);
            for changes in changes(&arguments) {
                let windows = interleave(&mut tables, &workload, &writing, changes, &arguments, ms);
                for (table, windows) in tables.iter().zip(windows) {
                    figure(table.name(), *entries, *hits, changes, &windows)
                        .print(arguments.json)?;
                }
            }
        }
        cores::keep_off(&core)?;
        drop(writing);
    }
    Ok(())
}

fn changes(arguments: &Arguments) -> Vec<u64> {
    let mut changes = vec![0, arguments.changes_per_second];
    changes.dedup();
    changes
}

/// Cycles per lookup in each window of each table, window by window in turn.
fn interleave(
    tables: &mut [Box<dyn Candidate>],
    workload: &Workload,
    writing: &Writing,
    changes: u64,
    arguments: &Arguments,
    ms: u64,
) -> Vec<Vec<f64>> {
    let mut all = vec![Vec::new(); tables.len()];
    // The first round only warms up.
    for round in 0..=arguments.windows {
        for (place, table) in tables.iter_mut().enumerate() {
            if changes > 0 && !table.is_concurrent() {
                continue;
            }
            writing.go_on(place, changes);
            let cycles = window(table.as_mut(), workload, round, arguments.window_ms * ms);
            writing.pause();
            if round > 0 {
                all[place].push(cycles);
            }
        }
    }
    all
}

/// Bursts between two looks at the clock.
const BURSTS: usize = 64;

#[expect(clippy::cast_precision_loss, reason = "cycles of a window fit")]
fn window(table: &mut dyn Candidate, workload: &Workload, round: usize, cycles: u64) -> f64 {
    let (mut burst, start) = (round * 1009, dpdk::cycles());
    let (mut lookups, mut found, mut now) = (0_u64, 0, start);
    while now.wrapping_sub(start) < cycles {
        for _ in 0..BURSTS {
            found += table.look_up(workload, burst);
            burst += 1;
        }
        lookups += (BURSTS * candidates::BURST) as u64;
        now = dpdk::cycles();
    }
    std::hint::black_box(found);
    now.wrapping_sub(start) as f64 / lookups as f64
}

fn figure(
    table: &'static str,
    entries: u32,
    hits_percent: u32,
    changes_per_second: u64,
    windows: &[f64],
) -> Figure {
    let extreme = |worse: fn(f64, f64) -> f64| windows.iter().copied().reduce(worse);
    Figure {
        table,
        entries,
        hits_percent,
        changes_per_second,
        cycles_per_lookup: median(windows).unwrap_or(f64::NAN),
        least: extreme(f64::min).unwrap_or(f64::NAN),
        most: extreme(f64::max).unwrap_or(f64::NAN),
    }
}

impl Figure {
    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    fn print(&self, json: bool) -> Result<(), serde_json::Error> {
        if self.cycles_per_lookup.is_nan() {
            return Ok(());
        }
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!(
            "{:>10} {:>9} entries {:>4} % hits {:>7} changes/s {:>8.1} cycles ({:.1} to {:.1})",
            self.table,
            self.entries,
            self.hits_percent,
            self.changes_per_second,
            self.cycles_per_lookup,
            self.least,
            self.most
        );
        Ok(())
    }
}
