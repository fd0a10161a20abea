//! `instructions`: how many instructions a packet takes, counted by valgrind.
//!
//! A count is the same on a noisy machine as on a quiet one, so a regression of a few instructions
//! shows where cycles would drown it. The program runs itself under `valgrind --tool=callgrind`, once
//! for few bursts and once for many; the difference is that of the bursts alone. Frames come from a port in
//! memory that costs next to nothing.

mod ring;
mod work;

use clap::Parser;
use serde::Serialize;
use std::{error::Error, process::Command};
use work::Work;

/// Bursts of the short run, and how many more the long one has.
const FEW: usize = 300;
const MORE: usize = 1000;

/// Counts instructions for each packet, under valgrind.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Print one JSON object for each kind of work.
    #[arg(long)]
    json: bool,
    /// Do the work itself, so many bursts of it: what valgrind is given.
    #[arg(long, requires = "work", hide = true)]
    bursts: Option<usize>,
    /// Only this work.
    #[arg(long, value_enum)]
    work: Option<Work>,
}

/// What one kind of work takes.
#[derive(Debug, Serialize)]
struct Count {
    work: &'static str,
    instructions_per_packet: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    if let (Some(bursts), Some(work)) = (arguments.bursts, arguments.work) {
        return work.run(bursts);
    }
    for work in Work::ALL {
        if arguments.work.is_none_or(|wanted| wanted == work) {
            tell(&count(work)?, arguments.json)?;
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn tell(count: &Count, json: bool) -> Result<(), serde_json::Error> {
    if json {
        println!("{}", serde_json::to_string(count)?);
    } else {
        println!(
            "{:>8.1} instructions a packet, {}",
            count.instructions_per_packet, count.work
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of a second fit")]
fn count(work: Work) -> Result<Count, Box<dyn Error>> {
    let (few, many) = (
        under_valgrind(work, FEW)?,
        under_valgrind(work, FEW + MORE)?,
    );
    let packets = MORE * tether_dataplane::port::BURST;
    Ok(Count {
        work: work.name(),
        instructions_per_packet: many.saturating_sub(few) as f64 / packets as f64,
    })
}

/// The instructions of a whole run, which callgrind tells on standard error as "Collected : N".
fn under_valgrind(work: Work, bursts: usize) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--work", work.name(), "--bursts", &bursts.to_string()])
        .output()
        .map_err(|error| format!("valgrind cannot be run ({error}): apt-get install valgrind"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let mut collected = told
        .lines()
        .filter_map(|line| line.split_once("Collected : "));
    let count = collected.next_back().map(|(_, count)| count.trim().parse());
    match count {
        Some(Ok(count)) if output.status.success() => Ok(count),
        _ => Err(format!("valgrind counted nothing: {told}").into()),
    }
}
