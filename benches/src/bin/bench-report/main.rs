//! `bench-report`: what `scripts/bench` has measured, against the bars: a table on the terminal, a
//! page for the documentation, a report with plots.
//!
//! It reads one JSON object a line: `what` was measured, under which conditions, and the `result`.

mod bar;
mod bars;
mod chart;
mod html;
mod markdown;
mod plots;
mod results;

use bar::Bar;
use clap::Parser;
use results::Results;
use std::{error::Error, fs, path::PathBuf, process::ExitCode};

/// Tells what was measured.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The measurements, one JSON object a line.
    results: PathBuf,
    /// Write a page for the documentation.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Write a report with plots.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[expect(
    clippy::print_stderr,
    reason = "this is how a program says what went wrong"
)]
fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let text = fs::read_to_string(&arguments.results)?;
    let results = Results::parse(&text)?;
    let bars = bars::all(&results);
    if let Some(path) = &arguments.markdown {
        fs::write(path, markdown::page(&results, &bars))?;
    }
    if let Some(path) = &arguments.html {
        fs::write(path, html::page(&results, &bars)?)?;
    }
    if arguments.json {
        print_json(&results, &bars)
    } else {
        print_table(&bars);
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn print_json(results: &Results, bars: &[Bar]) -> Result<(), Box<dyn Error>> {
    let all = serde_json::json!({"machine": results.machine(), "bars": bars});
    println!("{}", serde_json::to_string(&all)?);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn print_table(bars: &[Bar]) {
    for bar in bars {
        println!("{:<4} {:<12} {}", bar.name, bar.verdict(), bar.what);
        println!("{:17} {}", "", bar.measured);
        println!("{:17} bar: {}", "", bar.limit);
    }
}
