//! `tether-bench`: Tether's packet path measured in the manner of testpmd.
//!
//! `tether-bench [EAL arguments] -- [its own]`. Frames come from the first port and leave by the
//! last one; the same `--vdev` words serve `dpdk-testpmd` beside it. `io` and `macswap` are the
//! bounds of what the ports can do; `balance` and `affinity` run the worker's own code.

mod arguments;
mod baseline;
mod churn;
mod crew;
mod fill;
mod flood;
mod forwarder;
mod ports;
mod report;
mod survey;
mod tables;
mod watch;

use arguments::{Arguments, Mode};
use clap::Parser;
use dpdk::Eal;
use std::{error::Error, process::ExitCode};
use tether_benches::{command_line, cores};

#[expect(
    clippy::print_stderr,
    reason = "this is how a program says what went wrong"
)]
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tether-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let all: Vec<String> = std::env::args().collect();
    let (eal, own) = command_line::split(&all);
    let arguments = Arguments::parse_from(own);
    // EAL's own threads too.
    cores::keep_off(&arguments.cores)?;
    let eal = Eal::init(eal)?;
    let ports = ports::open(&eal, &arguments)?;
    let report = match arguments.mode {
        Mode::Io | Mode::Macswap => baseline::measure(&eal, ports, &arguments)?,
        Mode::Balance | Mode::Affinity => forwarder::measure(&eal, ports, &arguments)?,
    };
    report.print(arguments.json)?;
    Ok(())
}
