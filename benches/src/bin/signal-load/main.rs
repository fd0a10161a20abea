//! `signal-load`: what servers do to a running `tetherd`, over gRPC with mutual TLS, and how long it
//! takes to start.
//!
//! Every outcome is waited for: a figure counts what was acknowledged, which means effective.

mod batched;
mod certificates;
mod clients;
mod connection;
mod start;
mod unary;

use clap::{Parser, Subcommand};
use serde::Serialize;
use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};
use tether_benches::meter::Percentiles;

/// Signals as many servers send them.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write an authority's, a forwarder's and a server's certificate to a directory.
    Certificates {
        /// The directory.
        directory: PathBuf,
    },
    /// Start so many affinities, in batches.
    Fill {
        #[command(flatten)]
        target: Target,
        /// How many.
        #[arg(long, default_value_t = 1_000_000)]
        affinities: u32,
    },
    /// Start affinities and end them again in batches, as fast as they are acknowledged.
    Batched {
        #[command(flatten)]
        target: Target,
        /// Seconds.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Affinities that are started before they are ended.
        #[arg(long, default_value_t = 1_000_000)]
        affinities: u32,
    },
    /// Start affinities call by call.
    Unary {
        #[command(flatten)]
        target: Target,
        /// Seconds.
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Calls under way at once.
        #[arg(long, default_value_t = 64)]
        calls: u32,
        /// Signals each second besides, in small batches; with it, calls go one after the other.
        #[arg(long)]
        background: Option<u32>,
    },
    /// Run tetherd until it has forwarded a packet, and end it.
    Start {
        /// Where its metrics are.
        #[arg(long)]
        metrics: std::net::SocketAddr,
        /// Seconds after which it is given up.
        #[arg(long, default_value_t = 60.0)]
        patience: f64,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

/// Whom to signal.
#[derive(Clone, Debug, clap::Args)]
struct Target {
    /// The forwarder, as in `https://127.0.0.1:7470`.
    #[arg(long)]
    to: String,
    /// Where the certificates are.
    #[arg(long)]
    certificates: PathBuf,
    /// The VIP and port that the affinities are for.
    #[arg(long, default_value = "10.9.0.100:80")]
    destination: std::net::SocketAddr,
}

/// What was measured.
#[derive(Debug, Default, Serialize)]
struct Report {
    signals: u64,
    /// Outcomes that grant nothing.
    refused: u64,
    seconds: f64,
    signals_per_second: f64,
    /// Processor time of this program, which is not the forwarder's.
    own_cpu_seconds: f64,
    /// From a call to its outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ns: Option<Percentiles>,
    /// How many latencies these are of: a percentile means little with fewer than a thousand beyond.
    #[serde(skip_serializing_if = "Option::is_none")]
    latencies: Option<u64>,
}

#[expect(
    clippy::print_stderr,
    reason = "this is how a program says what went wrong"
)]
fn main() -> ExitCode {
    match run(Arguments::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("signal-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<(), Box<dyn Error>> {
    match what {
        What::Certificates { directory } => certificates::write(&directory),
        What::Fill { target, affinities } => {
            print(&on_runtime(batched::fill(&target, affinities))?)
        }
        What::Batched {
            target,
            seconds,
            affinities,
        } => print(&on_runtime(batched::load(&target, affinities, seconds))?),
        What::Unary {
            target,
            seconds,
            calls,
            background,
        } => print(&on_runtime(unary::load(
            &target, seconds, calls, background,
        ))?),
        What::Start {
            metrics,
            patience,
            command,
        } => print(&start::measure(
            metrics,
            Duration::from_secs_f64(patience),
            &command,
        )?),
    }
}

fn on_runtime<T>(
    work: impl Future<Output = Result<T, Box<dyn Error>>>,
) -> Result<T, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn print(report: &impl Serialize) -> Result<(), Box<dyn Error>> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}

impl Report {
    /// Of so many signals in this time, this process's own included.
    fn new(signals: u64, refused: u64, seconds: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "signals of a few minutes fit")]
        let signals_per_second = signals as f64 / seconds;
        Self {
            signals,
            refused,
            seconds,
            signals_per_second,
            own_cpu_seconds: own_cpu_seconds(),
            ..Self::default()
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a few minutes fit")]
fn own_cpu_seconds() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}
