//! The workers' threads, each on its core, taken through the phases of a measurement together.

use crate::{arguments::Arguments, flood::Flood, ports::Queues};
use dpdk::Eal;
use std::{
    error::Error,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread,
    time::Duration,
};
use tether_benches::{cores, meter::Meter};
use tether_dataplane::{
    clock::Clock,
    measure::{self, StageCycles},
    plane::Seat,
    port::Port,
    worker::Worker,
};

/// How long a resting worker sleeps between two reports.
const NAP: Duration = Duration::from_micros(50);

/// What all workers do next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Phase {
    /// Nothing, but let the tables be changed until [`Crew::rest`] is over.
    Rest,
    /// Steps for so many seconds.
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
pub(crate) struct Crew<'a> {
    hands: Vec<Hand>,
    resting: &'a AtomicBool,
}

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
    work: impl FnOnce(&Crew<'_>) -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let resting = &AtomicBool::new(false);
    let (ready, are_ready) = channel::<()>();
    thread::scope(|scope| {
        let hands = parts.into_iter().enumerate().map(|(place, parts)| {
            let (orders, phases) = channel();
            let (reports, done) = channel();
            let ready = ready.clone();
            let place = Workplace {
                eal,
                core: arguments.cores.get(place).copied(),
                arguments,
                clock,
                resting,
            };
            scope.spawn(move || place.live(parts, &phases, &reports, ready));
            Hand { orders, done }
        });
        let hands = hands.collect();
        drop(ready);
        // Until every worker has its tables, or is gone.
        while are_ready.recv().is_ok() {}
        work(&Crew { hands, resting })
    })
}

/// Where a worker works.
#[derive(Clone, Copy, Debug)]
struct Workplace<'a> {
    eal: &'a Eal,
    core: Option<u16>,
    arguments: &'a Arguments,
    clock: &'a Clock,
    resting: &'a AtomicBool,
}

impl Workplace<'_> {
    /// A worker's thread, until nobody sends phases any more.
    /// Drops `ready` once it is.
    fn live(
        self,
        parts: Parts,
        phases: &Receiver<Phase>,
        reports: &Sender<Done>,
        ready: Sender<()>,
    ) {
        let pinned = self.core.map_or(Ok(()), cores::pin);
        if let Err(error) = pinned {
            return complain(&format!("its core: {error}"));
        }
        let _lcore = match dpdk::register_thread(self.eal) {
            Ok(guard) => guard,
            Err(error) => return complain(&error.to_string()),
        };
        let flood = |port| Flood::new(port, self.arguments.flood);
        let queues = parts.queues.into_iter().map(flood).collect();
        let mut worker = Worker::new(parts.seat, queues, self.arguments.flows);
        drop(ready);
        for phase in phases {
            if reports.send(self.go_through(phase, &mut worker)).is_err() {
                return;
            }
        }
    }

    fn go_through<P: Port>(self, phase: Phase, worker: &mut Worker<P>) -> Done {
        let mut stages = StageCycles::start();
        let meter = match phase {
            Phase::Rest => {
                while self.resting.load(Ordering::Acquire) {
                    measure::rest(worker);
                    thread::sleep(NAP);
                }
                Meter::run(0.0, || ())
            }
            Phase::Steps(seconds) => Meter::run(seconds, || {
                worker.step(self.clock.now());
            }),
            Phase::Stages(seconds) => Meter::run(seconds, || {
                measure::step(worker, self.clock.now(), &mut stages);
            }),
        };
        Done { meter, stages }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the thread that waits can only say that this one has gone"
)]
fn complain(why: &str) {
    eprintln!("tether-bench: a worker cannot start: {why}");
}

impl Crew<'_> {
    /// Does `work` while no worker takes packets, but all let go of what is changed.
    pub(crate) fn rest<T>(
        &self,
        work: impl FnOnce() -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Box<dyn Error>> {
        self.resting.store(true, Ordering::Release);
        let (mut work, mut result) = (Some(work), Ok(None));
        self.run(Phase::Rest, || {
            if let Some(work) = work.take() {
                result = work().map(Some);
                self.resting.store(false, Ordering::Release);
            }
            Ok(())
        })?;
        result?.ok_or_else(|| GONE.into())
    }

    /// Takes all workers through a phase, and does `beside` again and again until all have done it.
    pub(crate) fn run(
        &self,
        phase: Phase,
        mut beside: impl FnMut() -> Result<(), Box<dyn Error>>,
    ) -> Result<Vec<Done>, Box<dyn Error>> {
        for hand in &self.hands {
            hand.orders.send(phase).map_err(|_| GONE)?;
        }
        let mut all = Vec::new();
        while all.len() < self.hands.len() {
            match self.hands[all.len()].done.try_recv() {
                Ok(done) => all.push(done),
                Err(TryRecvError::Empty) => beside()?,
                Err(TryRecvError::Disconnected) => return Err(GONE.into()),
            }
        }
        Ok(all)
    }
}

const GONE: &str = "a worker has gone; what it said stands above";
