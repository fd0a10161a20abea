//! The workers' threads, each on its core, taken through the phases of a measurement together.

use crate::{arguments::Arguments, flood::Flood, ports::Queues};
use dpdk::Eal;
use std::{
    error::Error,
    sync::mpsc::{Receiver, Sender, TryRecvError, channel},
    thread,
};
use tether_benches::{cores, meter::Meter};
use tether_dataplane::{
    clock::Clock,
    measure::{self, StageCycles},
    plane::Seat,
    worker::Worker,
};

/// What all workers do next, for so many seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
    /// Steps.
    Steps(f64),
    /// Steps whose cycles are told apart, which costs some itself.
    Stages(f64),
}

/// What a worker tells of a phase.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) meter: Meter,
    pub(crate) stages: StageCycles,
}

/// The workers, waiting for the next phase.
#[derive(Debug)]
pub(crate) struct Crew(Vec<Hand>);

#[derive(Debug)]
struct Hand {
    orders: Sender<Phase>,
    done: Receiver<Done>,
}

/// What a worker is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) seat: Seat,
    pub(crate) queues: Queues,
}

/// Seats the workers, does `work` with them and lets them go.
pub(crate) fn with_crew<T>(
    eal: &Eal,
    parts: Vec<Parts>,
    arguments: &Arguments,
    clock: &Clock,
    work: impl FnOnce(&Crew) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    thread::scope(|scope| {
        let hands = parts.into_iter().enumerate().map(|(place, parts)| {
            let (orders, phases) = channel();
            let (reports, done) = channel();
            let core = arguments.cores.get(place).copied();
            scope.spawn(move || live(eal, core, parts, arguments, clock, &phases, &reports));
            Hand { orders, done }
        });
        work(&Crew(hands.collect()))
    })
}

/// A worker's thread, until nobody sends phases any more.
fn live(
    eal: &Eal,
    core: Option<u16>,
    parts: Parts,
    arguments: &Arguments,
    clock: &Clock,
    phases: &Receiver<Phase>,
    reports: &Sender<Done>,
) {
    if let Some(core) = core
        && let Err(error) = cores::pin(core)
    {
        complain(&format!("core {core}: {error}"));
        return;
    }
    let _lcore = match dpdk::register_thread(eal) {
        Ok(guard) => guard,
        Err(error) => return complain(&error.to_string()),
    };
    let ports = parts.queues.into_iter();
    let ports = ports.map(|port| Flood::new(port, arguments.flood));
    let mut worker = Worker::new(parts.seat, ports.collect(), arguments.flows);
    for phase in phases {
        let mut stages = StageCycles::start();
        let meter = match phase {
            Phase::Steps(seconds) => Meter::run(seconds, || {
                worker.step(clock.now());
            }),
            Phase::Stages(seconds) => Meter::run(seconds, || {
                measure::step(&mut worker, clock.now(), &mut stages);
            }),
        };
        if reports.send(Done { meter, stages }).is_err() {
            return;
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the thread that waits can only say that this one has gone"
)]
fn complain(why: &str) {
    eprintln!("tether-bench: a worker cannot start: {why}");
}

impl Crew {
    /// Takes all workers through a phase, and does `beside` again and again until all have done it.
    pub(crate) fn run(
        &self,
        phase: Phase,
        mut beside: impl FnMut() -> Result<(), Box<dyn Error>>,
    ) -> Result<Vec<Done>, Box<dyn Error>> {
        for hand in &self.0 {
            hand.orders.send(phase).map_err(|_| GONE)?;
        }
        let mut all = Vec::new();
        while all.len() < self.0.len() {
            match self.0[all.len()].done.try_recv() {
                Ok(done) => all.push(done),
                Err(TryRecvError::Empty) => beside()?,
                Err(TryRecvError::Disconnected) => return Err(GONE.into()),
            }
        }
        Ok(all)
    }
}

const GONE: &str = "a worker has gone; what it said stands above";
