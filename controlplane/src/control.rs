//! The control thread: one turn after another, at its own pace.

use crate::{
    command::Command,
    config::Config,
    master::{NoPlace, Registry},
    ports::Ports,
    publish,
};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tether_dataplane::{
    clock::Clock,
    plane::{Seat, Writer, data_plane},
    tables::TablesError,
};

/// How long the thread waits for a command before it looks after what is due.
const PAUSE: Duration = Duration::from_millis(20);

/// Why the control thread cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tables cannot be built.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// There are too many services or backends.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    /// Words of the configuration that this version does not have.
    #[error("{}", .0.join("\n"))]
    Unsupported(Vec<String>),
}

/// What the control thread owns.
pub struct Control {
    clock: Clock,
    writer: Writer,
}

impl Control {
    /// Makes the data plane of a configuration, with one seat for each of its workers. The ports
    /// must be there: the tables hold their MAC addresses.
    pub fn new(
        config: Config,
        clock: Clock,
        ports: Box<dyn Ports>,
    ) -> Result<(Self, Vec<Seat>), StartError> {
        let mut registry = Registry::default();
        registry.adopt(&config, &|_| true)?;
        let specs = publish::ports(&config, &ports.view());
        let spec = publish::tables(&registry, &specs, true);
        let cells = publish::cells(&config.limits);
        let (writer, seats) = data_plane(&spec, config.workers.cores.len(), cells)?;
        Ok((Self { clock, writer }, seats))
    }

    /// Takes turns until it is told to stop, or nobody is left to tell it.
    pub fn run(mut self, commands: &Receiver<Command>) {
        loop {
            match commands.recv_timeout(PAUSE) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(_) | Err(RecvTimeoutError::Timeout) => self.writer.reclaim(),
            }
        }
        let _ = self.clock.now();
    }
}
