//! What the control thread does while packets pass: signals, expiries, reloads.

use crate::arguments::Arguments;
use std::{
    collections::VecDeque,
    error::Error,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};
use tether_dataplane::{
    clock::{Clock, Millis},
    plane::Writer,
    tables::{
        TablesSpec,
        affinity::{AffinityKey, CellId, Grant, Source},
        id::{BackendId, ServiceId},
    },
};

/// Signals that are applied before one publication.
const TURN: u64 = 256;
/// How long the affinities live that are started here.
const LIFE_MS: u64 = 1000;
/// Their sources: 48.0.0.0 and on, which no capture of ours has.
const FIRST_SOURCE: u32 = 0x3000_0000;
const SOURCES: u32 = 1 << 24;
/// What is later than this is not made up for: somebody else has had the core.
const BEHIND: Duration = Duration::from_millis(100);
/// How long nothing is done where nothing is due, and where nothing ever will be: a worker may need
/// this core.
const PAUSE: Duration = Duration::from_micros(200);
const IDLE: Duration = Duration::from_millis(20);

/// The writer at work.
#[derive(Debug)]
pub(crate) struct Churn<'a> {
    writer: Writer,
    spec: TablesSpec,
    clock: &'a Clock,
    signals_per_second: u64,
    between_reloads: Option<Duration>,
    next_signals: Instant,
    next_reload: Instant,
    next_source: u32,
    alive: VecDeque<(Millis, AffinityKey, CellId)>,
    pub(crate) done: Tally,
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) signals: u64,
    pub(crate) expiries: u64,
    pub(crate) reloads: u64,
}

impl Tally {
    /// What was done since.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            signals: self.signals - before.signals,
            expiries: self.expiries - before.expiries,
            reloads: self.reloads - before.reloads,
        }
    }
}

/// Affinities that the table needs room for besides those that were filled in.
pub(crate) fn room(arguments: &Arguments) -> usize {
    usize::try_from(arguments.signals_per_second * LIFE_MS * 2 / 1000).unwrap_or(usize::MAX)
}

impl<'a> Churn<'a> {
    pub(crate) fn new(
        writer: Writer,
        spec: TablesSpec,
        arguments: &Arguments,
        clock: &'a Clock,
    ) -> Self {
        let reloads = arguments.reloads_per_second;
        let now = Instant::now();
        Self {
            writer,
            spec,
            clock,
            signals_per_second: arguments.signals_per_second,
            between_reloads: (reloads > 0.0).then(|| Duration::from_secs_f64(1.0 / reloads)),
            next_signals: now,
            next_reload: now,
            next_source: 0,
            alive: VecDeque::new(),
            done: Tally::default(),
        }
    }

    /// The writer, to look at.
    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The writer, to fill the tables before anything is due.
    pub(crate) fn writer_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// Does what is due, or waits a little.
    pub(crate) fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        let now = Instant::now();
        if self.signals_per_second > 0 && now >= self.next_signals {
            let due = self
                .next_signals
                .max(now.checked_sub(BEHIND).unwrap_or(now));
            self.next_signals =
                due + Duration::from_nanos(TURN * 1_000_000_000 / self.signals_per_second);
            self.signal()?;
            self.expire();
            self.writer.publish();
        } else if let Some(between) = self.between_reloads
            && now >= self.next_reload
        {
            self.next_reload = now + between;
            self.reload()?;
            self.writer.publish();
        } else {
            self.writer.reclaim();
            thread::sleep(self.pause());
        }
        Ok(())
    }

    fn pause(&self) -> Duration {
        if self.signals_per_second == 0 && self.between_reloads.is_none() {
            IDLE
        } else {
            PAUSE
        }
    }

    fn signal(&mut self) -> Result<(), Box<dyn Error>> {
        let now = self.clock.now();
        for _ in 0..TURN {
            let number = self.next_source;
            self.next_source = (number + 1) % SOURCES;
            let place = number as usize % self.spec.backends.len();
            let backend = &self.spec.backends[place];
            let (service, owner): (ServiceId, BackendId) = (backend.service, backend.id);
            let source = Source::host(Ipv4Addr::from_bits(FIRST_SOURCE + number).into())?;
            let key = AffinityKey { service, source };
            let deadline = now + LIFE_MS;
            let grant = Grant {
                deadline,
                duration_ms: 0,
                limit: None,
            };
            let cell = self
                .writer
                .affinities_mut()
                .start(&key, owner, 2, grant, None)?;
            self.alive.push_back((deadline, key, cell));
            self.done.signals += 1;
        }
        Ok(())
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        let is_due = |(deadline, ..): &mut (Millis, _, _)| *deadline <= now;
        while let Some((_, key, cell)) = self.alive.pop_front_if(is_due) {
            if self.writer.affinities_mut().expire(&key, cell, now).is_ok() {
                self.done.expiries += 1;
            }
        }
    }

    /// All services are filled anew: every backend has another weight.
    fn reload(&mut self) -> Result<(), Box<dyn Error>> {
        for backend in &mut self.spec.backends {
            backend.weight = 3 - backend.weight;
        }
        self.writer.set_tables(&self.spec)?;
        self.done.reloads += 1;
        Ok(())
    }
}
