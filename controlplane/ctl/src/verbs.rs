//! One verb: ask, print, exit.

mod capture;
mod doctor;
mod drain;
mod top;

use std::{
    io::{IsTerminal as _, Write},
    process::ExitCode,
    thread,
    time::SystemTime,
};

use clap::CommandFactory as _;
use serde::Serialize;
use tether_api::operator::{Entry, Event, Payload, Request, Stats};

use crate::{
    arguments::{AffinityVerb, Arguments, BackendVerb, StatsOptions, Verb},
    connection::Connection,
    error::{EXIT_REFUSED, Error},
    rates,
    render::{self, Style},
};

/// Runs the verb and prints what came of it.
pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode, Error> {
    match &arguments.verb {
        Verb::Completions { shell } => return completions(*shell, out),
        Verb::Affinity(verb) if verb.is_unmeant_flush() => {
            return Err(Error::Usage(
                "affinity flush without a filter ends them all: say --all if you mean it",
            ));
        }
        Verb::Doctor { config } => {
            return doctor::doctor(config.as_ref(), &arguments.socket, arguments.json, out);
        }
        Verb::Top { .. } => top::check_terminal(arguments.json)?,
        // What is wrong with a filter is told without a daemon too.
        Verb::Capture(options) => {
            options.request()?;
        }
        _ => {}
    }
    let session = Session::open(arguments, out);
    let mut session = session.map_err(|error| match &arguments.verb {
        Verb::Config(verb) => verb.without_daemon(error),
        _ => error,
    })?;
    match &arguments.verb {
        Verb::Status => session.answer(&Request::Status),
        Verb::Service(verb) => session.answer(&verb.request()),
        Verb::Backend(verb @ BackendVerb::Drain { name, wait: true }) => {
            session.drain(&verb.request(), name)
        }
        Verb::Backend(verb) => session.answer(&verb.request()),
        Verb::Affinity(verb @ AffinityVerb::List(_)) => session.list(&verb.request()),
        Verb::Affinity(verb @ AffinityVerb::Watch { .. }) => session.watch(&verb.request()),
        Verb::Affinity(verb) => session.answer(&verb.request()),
        Verb::Explain(packet) => session.answer(&packet.request()),
        Verb::Flow(verb) => session.list(&verb.request()),
        Verb::Stats(options) => session.stats(*options),
        Verb::Top { interval } => session.top(*interval),
        Verb::Capture(options) => session.capture(options),
        Verb::Config(verb) => session.answer(&verb.request()?),
        Verb::Completions { shell } => completions(*shell, session.out),
        Verb::Doctor { config } => {
            let socket = &arguments.socket;
            doctor::doctor(config.as_ref(), socket, arguments.json, session.out)
        }
    }
}

fn completions(shell: clap_complete::Shell, out: &mut dyn Write) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "tetherctl", &mut script);
    out.write_all(&script).map_err(Error::Output)?;
    Ok(ExitCode::SUCCESS)
}

struct Session<'a> {
    daemon: Connection,
    json: bool,
    style: Style,
    out: &'a mut dyn Write,
}

impl<'a> Session<'a> {
    fn open(arguments: &Arguments, out: &'a mut dyn Write) -> Result<Self, Error> {
        Ok(Self {
            daemon: Connection::open(&arguments.socket)?,
            json: arguments.json,
            style: Style {
                terminal: std::io::stdout().is_terminal(),
            },
            out,
        })
    }

    fn answer(&mut self, request: &Request) -> Result<ExitCode, Error> {
        let payload = self.daemon.ask(request)?;
        if self.json {
            self.document(&payload)?;
        } else {
            self.text(&render::payload(&payload, self.style))?;
        }
        Ok(match payload {
            Payload::Outcome(outcome) if !outcome.code.is_positive() => EXIT_REFUSED.into(),
            Payload::ConfigCheck(check) if !check.ok => EXIT_REFUSED.into(),
            _ => ExitCode::SUCCESS,
        })
    }

    /// Entries go out as they come in JSON; a table needs all of them for its widths.
    fn list(&mut self, request: &Request) -> Result<ExitCode, Error> {
        if !self.json {
            let mut entries = Vec::new();
            self.daemon.list(request, |entry| {
                entries.push(entry);
                Ok(())
            })?;
            self.text(&render::entries(&entries, self.style))?;
            return Ok(ExitCode::SUCCESS);
        }
        let out = &mut *self.out;
        let mut separator = "[";
        self.daemon.list(request, |entry| {
            write!(out, "{separator}").map_err(Error::Output)?;
            separator = ",\n ";
            match entry {
                Entry::Affinity(affinity) => write_json(out, &affinity),
                Entry::Flow(flow) => write_json(out, &flow),
                Entry::Event(event) => write_json(out, &event),
                Entry::Captured(frame) => write_json(out, &frame),
                Entry::CaptureEnd(end) => write_json(out, &end),
            }
        })?;
        let end = if separator == "[" { "[]" } else { "]" };
        writeln!(out, "{end}").map_err(Error::Output)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Each event goes out at once: whoever reads a pipe wants to see it now.
    fn watch(&mut self, request: &Request) -> Result<ExitCode, Error> {
        let (out, json) = (&mut *self.out, self.json);
        self.daemon.watch(request, |event| {
            let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            if json {
                write_json(out, &Timed { time, event })?;
                out.write_all(b"\n").map_err(Error::Output)?;
            } else {
                let line = render::event(&time, &event);
                out.write_all(line.as_bytes()).map_err(Error::Output)?;
            }
            out.flush().map_err(Error::Output)
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn stats(&mut self, options: StatsOptions) -> Result<ExitCode, Error> {
        let Some(interval) = options.interval else {
            return self.answer(&Request::Stats);
        };
        let mut before = self.read_stats()?;
        for _ in 0..options.count.unwrap_or(u64::MAX) {
            thread::sleep(interval);
            let after = self.read_stats()?;
            let rates = rates::between(&before, &after);
            if self.json {
                write_json(self.out, &rates)?;
                self.text("\n")?;
            } else {
                self.text(&render::rates(&rates, self.style))?;
            }
            before = after;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn read_stats(&mut self) -> Result<Stats, Error> {
        match self.daemon.ask(&Request::Stats)? {
            Payload::Stats(stats) => Ok(stats),
            _ => Err(Error::Protocol(
                "something else where counters were due".into(),
            )),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Error> {
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(Error::Output)
    }

    fn document(&mut self, payload: &Payload) -> Result<(), Error> {
        let out = &mut *self.out;
        match payload {
            Payload::Status(it) => write_json(out, it),
            Payload::Stats(it) => write_json(out, it),
            Payload::Services(it) => write_json(out, it),
            Payload::Service(it) => write_json(out, it),
            Payload::Backends(it) => write_json(out, it),
            Payload::Backend(it) => write_json(out, it),
            Payload::Affinity(it) => write_json(out, it),
            Payload::AffinityCount(it) => write_json(out, it),
            Payload::Outcome(it) => write_json(out, it),
            Payload::Flushed(it) => write_json(out, it),
            Payload::AffinitySwitch(it) => write_json(out, it),
            Payload::Watching(it) => write_json(out, it),
            Payload::Capturing(it) => write_json(out, it),
            Payload::Explanation(it) => write_json(out, it),
            Payload::ConfigCheck(it) => write_json(out, it),
            Payload::ConfigDiff(it) => write_json(out, it),
            Payload::ConfigApplied(it) => write_json(out, it),
            Payload::Config(it) => write_json(out, it),
        }?;
        self.text("\n")
    }
}

/// An event with the time at which it was read, by this host's clock.
#[derive(Serialize)]
struct Timed {
    time: String,
    #[serde(flatten)]
    event: Event,
}

fn write_json(out: &mut dyn Write, document: &impl Serialize) -> Result<(), Error> {
    serde_json::to_writer(out, document).map_err(|error| Error::Output(error.into()))
}
