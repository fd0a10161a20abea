//! A capture under way while packets pass: what it costs those that it does not want, and those that it
//! does.

use crate::arguments::{Arguments, Watch};
use std::{error::Error, net::Ipv4Addr};
use tether_dataplane::{
    capture::{Collector, Filter, Term, Test, tap},
    plane::{Question, Writer},
};

/// Bytes of each frame, as `tetherctl capture` keeps unless told otherwise.
const SNAP_LEN: usize = 256;
/// A client that there is none of (RFC 5737).
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A port that nobody sends from or to.
const NO_PORT: u16 = 9;

/// What looks on.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    collectors: Vec<Collector>,
}

impl Watcher {
    /// Gives every worker a tap, if one is asked for; they have it from their next steps on.
    pub(crate) fn new(writer: &Writer, arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        let Some(watch) = arguments.capture else {
            return Ok(Self::default());
        };
        let terms = match watch {
            Watch::Nothing => vec![Test::Host(NOBODY.into())],
            Watch::NoPort => vec![Test::Tcp, Test::Port(NO_PORT)],
            Watch::Drops => vec![Test::Dropped],
            Watch::All => Vec::new(),
        };
        let terms = terms.into_iter().map(|test| Term {
            negated: false,
            test,
        });
        let filter = Filter::new(terms.collect());
        let mut collectors = Vec::new();
        for worker in 0..arguments.workers() {
            let (tap, collector) = tap(filter.clone(), SNAP_LEN);
            let asked = writer.ask(worker, Question::Tap(Some(tap)));
            asked.map_err(|_| "a worker has too many questions")?;
            collectors.push(collector);
        }
        Ok(Self { collectors })
    }

    /// Takes what there is.
    pub(crate) fn turn(&self) {
        for collector in &self.collectors {
            while collector.take(|record| {
                std::hint::black_box(record);
            }) {}
        }
    }
}
