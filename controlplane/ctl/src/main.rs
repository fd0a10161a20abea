//! `tetherctl`, the operator's command line.
//!
//! One verb is one request over the daemon's operator socket; what comes back is printed as a table
//! for people or, with `--json`, as it is for programs.
//!
//! Exit: 0 done, 1 refused or failed, 2 usage, 3 daemon not reachable.

mod arguments;
mod connection;
mod doctor;
mod error;
mod packet;
mod pcapng;
mod rates;
mod render;
mod top;
mod units;
mod verbs;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    match verbs::run(&arguments, &mut io::stdout().lock()) {
        Ok(exit) => exit,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it to if stderr is gone too.
            let _ = writeln!(io::stderr(), "tetherctl: {error}");
            error.exit()
        }
    }
}
