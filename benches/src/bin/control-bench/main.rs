//! `control-bench`: signals decided, applied and published by the control thread itself, in this
//! process: no socket, no journal. A reader beside it lets go of what is changed, as a worker does.
//!
//! Only the control thread's turns are timed, not the making of the signals.

use clap::Parser;
use serde::Serialize;
use std::{
    error::Error,
    fs,
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use tether_api::{Source, operator::PortCounters};
use tether_benches::{cores, progress::with_bar};
use tether_controlplane::{
    command::Command,
    config::Config,
    control::Control,
    ports::{PortView, Ports},
    signal::{Asked, Destination, Identity, Operation, Signal},
};
use tether_dataplane::{
    Mac,
    clock::{Clock, Millis},
    measure::{Affinities, Clients},
    plane::Seat,
    tables::id::ServiceId,
};
use tokio::sync::oneshot;

/// Signals of one command, and commands of one turn.
const BATCH: u32 = 512;
const BATCHES: u32 = 4;
const TURN: u32 = BATCH * BATCHES;
const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 11);

/// Measures the control thread.
#[derive(Debug, Parser)]
struct Arguments {
    /// Affinities in the table.
    #[arg(long, default_value_t = 1_000_000)]
    affinities: u32,
    /// Seconds to measure, of the control thread's own time.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// The core that is not the control thread's, for the reader.
    #[arg(long)]
    reader_core: Option<u16>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    affinities: u32,
    /// Starts into a growing table.
    starts_per_second: f64,
    /// Ends and starts in turn: each changes what workers read.
    changes_per_second: f64,
    /// Extensions: each changes a deadline.
    extensions_per_second: f64,
    /// Resident memory that came with the affinities: data plane and control plane.
    bytes_per_affinity_all_in: f64,
}

#[expect(
    clippy::print_stderr,
    reason = "this is how a program says what went wrong"
)]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments).and_then(|report| report.print(arguments.json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("control-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<Report, Box<dyn Error>> {
    let others: Vec<u16> = arguments.reader_core.into_iter().collect();
    cores::keep_off(&others)?;
    let before = resident_bytes()?;
    let config = config(arguments.affinities)?;
    let clock = Clock::start();
    let (control, mut seats) = Control::new(config, clock, Box::new(NoPorts), None)?;
    let seat = seats.pop().ok_or("one worker has one seat")?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| read(seat, arguments.reader_core, &stop));
        let mut bench = Bench { control, clock };
        let report = bench.measure(arguments, before);
        stop.store(true, Ordering::Relaxed);
        report
    })
}

/// Reports, again and again, that it holds nothing.
fn read(seat: Seat, core: Option<u16>, stop: &AtomicBool) {
    // Err: it runs where it may, then.
    let _ = core.map(cores::pin);
    let mut reader = Affinities::from(seat);
    let nobody = Clients::new(ServiceId(0), std::iter::empty());
    while !stop.load(Ordering::Relaxed) {
        reader.look_up(nobody.burst(0), Millis(0));
        thread::yield_now();
    }
}

struct Bench {
    control: Control,
    clock: Clock,
}

impl Bench {
    fn measure(&mut self, arguments: &Arguments, before: u64) -> Result<Report, Box<dyn Error>> {
        let all = arguments.affinities / TURN * TURN;
        let turns = (0..all).step_by(TURN as usize);
        let mut spent = Duration::ZERO;
        for first in with_bar("affinities / 2048", (all / TURN) as usize, turns) {
            spent += self.turn(first, start());
        }
        let there = self.affinities()?;
        if there != u64::from(all) {
            return Err(format!("{there} affinities instead of {all}").into());
        }
        let bytes = resident_bytes()?.saturating_sub(before);
        Ok(Report {
            affinities: all,
            starts_per_second: f64::from(all) / spent.as_secs_f64(),
            changes_per_second: self.rate(arguments, all, &[end(), start()]),
            extensions_per_second: self.rate(arguments, all, &[extend()]),
            bytes_per_affinity_all_in: per_affinity(bytes, all),
        })
    }

    /// Goes through the affinities with these operations in turn; signals by the second.
    fn rate(&mut self, arguments: &Arguments, all: u32, operations: &[Operation]) -> f64 {
        let (mut spent, mut signals) = (Duration::ZERO, 0.0);
        let mut blocks = (0..all).step_by(TURN as usize).cycle();
        while spent < Duration::from_secs_f64(arguments.seconds) {
            let first = blocks.next().unwrap_or(0);
            for operation in operations {
                spent += self.turn(first, *operation);
                signals += f64::from(TURN);
            }
        }
        signals / spent.as_secs_f64()
    }

    /// One turn with so many signals about the clients from this number on; how long it took.
    fn turn(&mut self, first: u32, operation: Operation) -> Duration {
        let batches = (first..first + TURN).step_by(BATCH as usize);
        let commands = batches.map(|first| {
            // The other end is gone: nobody reads the outcomes.
            let (reply, _) = oneshot::channel();
            Command::Signals {
                queued: std::time::Instant::now(),
                identity: Identity::Address(BACKEND.into()),
                signals: (first..first + BATCH)
                    .map(|it| signal(it, operation))
                    .collect(),
                reply,
            }
        });
        let commands = commands.collect();
        let began = Instant::now();
        self.control.turn(self.clock.now(), commands);
        began.elapsed()
    }

    /// How many there are, by the metrics page.
    fn affinities(&mut self) -> Result<u64, Box<dyn Error>> {
        let (reply, mut page) = oneshot::channel();
        self.control
            .turn(self.clock.now(), vec![Command::Metrics(reply)]);
        let page = page.try_recv()?;
        let lines = page
            .lines()
            .filter(|line| line.starts_with("tether_affinities{"));
        let counts = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        Ok(counts.sum())
    }
}

fn signal(client: u32, operation: Operation) -> Signal {
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(20, 0, 0, 0).to_bits() + client);
    Signal {
        destination: Destination::Address((Ipv4Addr::new(10, 9, 0, 100), 80).into()),
        source: Ok(Source::ip(IpAddr::V4(address))),
        operation,
        backend: None,
        boot_id: 0,
    }
}

fn start() -> Operation {
    Operation::Start {
        duration: Asked::Default,
        remaining_ms: 0,
        keep_on_reboot: false,
        session: None,
    }
}

fn extend() -> Operation {
    Operation::Extend {
        duration: Asked::Default,
        generation: None,
    }
}

fn end() -> Operation {
    Operation::End { generation: None }
}

fn config(affinities: u32) -> Result<Config, Box<dyn Error>> {
    let text = format!(
        r#"
        [dpdk]
        args = ["--no-pci", "--vdev=net_null0"]
        [workers]
        cores = [0]
        [[port]]
        device = "net_null0"
        addresses = ["10.9.0.2/24"]
        [control]
        signal = "10.8.0.2:7470"
        auth = "address"
        [limits]
        affinities = {affinities}
        affinities_per_backend = {affinities}
        signals_per_second_per_backend = 10000000
        [[service]]
        name = "shop"
        address = "10.9.0.100"
        port = 80
        [[service.backend]]
        name = "shop-1"
        address = "{BACKEND}"
        "#
    );
    Ok(Config::parse("control-bench", &text).map_err(|problems| problems.to_string())?)
}

/// One port that carries nothing.
#[derive(Debug)]
struct NoPorts;

impl Ports for NoPorts {
    fn view(&self) -> Vec<PortView> {
        vec![PortView {
            device: "net_null0".to_owned(),
            driver: "net_null".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            offloads: Vec::new(),
            link_up: true,
            counters: PortCounters::default(),
        }]
    }

    fn cycles_per_second(&self) -> u64 {
        1
    }
}

/// What of this process is in memory.
fn resident_bytes() -> Result<u64, Box<dyn Error>> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    let resident = pages.split(' ').nth(1).ok_or("statm has no second word")?;
    Ok(resident.parse::<u64>()? * rustix::param::page_size() as u64)
}

#[expect(clippy::cast_precision_loss, reason = "memory fits")]
fn per_affinity(bytes: u64, affinities: u32) -> f64 {
    bytes as f64 / f64::from(affinities.max(1))
}

impl Report {
    #[expect(clippy::print_stdout, reason = "this is what the program is for")]
    fn print(&self, json: bool) -> Result<(), Box<dyn Error>> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!("{:>12} affinities", self.affinities);
        println!(
            "{:>12.0} starts a second, while the table grew",
            self.starts_per_second
        );
        println!(
            "{:>12.0} changes a second (ends and starts)",
            self.changes_per_second
        );
        println!("{:>12.0} extensions a second", self.extensions_per_second);
        println!(
            "{:>12.0} bytes per affinity, all in",
            self.bytes_per_affinity_all_in
        );
        Ok(())
    }
}
