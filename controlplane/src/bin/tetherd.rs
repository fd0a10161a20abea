//! `tetherd`: arguments → configuration → ports → control and workers → the end.

use clap::Parser;
use sd_notify::NotifyState;
use std::error::Error;
use std::io::{self, Write as _};
use std::{path::PathBuf, process::ExitCode};
use tether_controlplane::{
    config::{Config, Problems},
    control::Control,
    journal::Loading,
    publish,
    server::{self, Listeners, Server},
    workers::{self, Cores},
};
use tether_dataplane::clock::Clock;

/// Tether's forwarder: balances connections, and binds clients to the servers that ask for them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/tether/tether.toml")]
    config: PathBuf,
    /// Check the configuration, say everything that is wrong with it, and end
    #[arg(long)]
    check: bool,
    /// What to log: error, warn, info, debug, trace, or a filter as in `RUST_LOG`
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.check {
        return check(&arguments);
    }
    log_to_stderr(arguments.log.as_deref());
    let Err(error) = run(arguments) else {
        return ExitCode::SUCCESS;
    };
    let _ = writeln!(io::stderr(), "tetherd: {error}");
    ExitCode::FAILURE
}

fn log_to_stderr(filter: Option<&str>) {
    let mut logger = env_logger::Builder::new();
    logger
        .filter_level(log::LevelFilter::Info)
        .parse_default_env();
    if let Some(filter) = filter {
        logger.parse_filters(filter);
    }
    logger.init();
}

/// Exit 0: the file can be run; 2: it cannot, and standard output says why.
fn check(arguments: &Arguments) -> ExitCode {
    let problems = match Config::load(&arguments.config) {
        Ok(config) => {
            for warning in publish::warnings(&config) {
                let _ = writeln!(io::stdout(), "warning: {warning}");
            }
            String::new()
        }
        Err(problems) => problems.to_string(),
    };
    if problems.is_empty() {
        let _ = writeln!(io::stdout(), "{}: ok", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    let _ = writeln!(io::stdout(), "{problems}");
    ExitCode::from(2)
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let file = arguments.config;
    let config = Config::load(&file).map_err(|problems| advised(&problems))?;
    for warning in publish::warnings(&config) {
        log::warn!("{warning}");
    }
    let listeners = Listeners::bind(&config)?;
    let cores = Cores::divide(&config.workers.cores)?;
    cores.keep_off()?;
    // Beside EAL, which takes its time too.
    let state = config.control.state.as_deref().map(Loading::begin);
    let (nics, crew) = workers::open(&config, &cores)?;
    let state = state.map(Loading::wait).transpose()?;
    let clock = Clock::start();
    let (control, seats) = Control::new(config.clone(), clock, Box::new(nics), state)?;
    let (queue, commands) = server::queue();
    let team = crew.start(seats, clock, &queue)?;
    let server = Server::start(listeners, config, file, queue)?;
    log::info!("ready");
    tell_systemd(NotifyState::Ready);
    control.run(&commands);
    tell_systemd(NotifyState::Stopping);
    // Whoever still waits for an answer learns that there will be none.
    drop(commands);
    server.stop();
    team.join()?;
    log::info!("stopped");
    Ok(())
}

/// Says it to whoever has started this, where that is systemd and the unit is `Type=notify`.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::debug!("systemd is not told: {error}");
    }
}

/// What is wrong, and on the last line what to do.
fn advised(problems: &Problems) -> String {
    let pretty = problems.pretty();
    format!("not started\n{pretty}\ncorrect the above until `tetherd --check` says ok")
}
