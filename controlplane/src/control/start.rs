//! How the control thread and the data plane begin.

use super::{Control, Inquiry, Pulse, Tally};
use crate::{
    config::Config,
    expiry::Wheel,
    master::{Master, NoPlace, Registry},
    ports::Ports,
    publish,
};
use tether_dataplane::{
    clock::{Clock, Millis},
    plane::{Seat, data_plane},
    tables::TablesError,
};

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
    /// [`Ports`] does not tell as many ports as the configuration has.
    #[error("the configuration has {configured} ports, but {found} are there")]
    Ports {
        /// In the configuration.
        configured: usize,
        /// That were found.
        found: usize,
    },
}

impl Control {
    /// Makes the data plane of a configuration, with one seat for each of its workers, in the order
    /// of `workers.cores`. The ports must be there: the tables hold their MAC addresses.
    ///
    /// # Errors
    /// What this version cannot do, or what is beyond a limit.
    pub fn new(
        config: Config,
        clock: Clock,
        ports: Box<dyn Ports>,
    ) -> Result<(Self, Vec<Seat>), StartError> {
        let unsupported = publish::unsupported(&config);
        if !unsupported.is_empty() {
            return Err(StartError::Unsupported(unsupported));
        }
        let mut registry = Registry::default();
        registry.adopt(&config, &|_| true)?;
        registry.begin_full();
        let found = ports.view();
        if found.len() != config.ports.len() {
            let (configured, found) = (config.ports.len(), found.len());
            return Err(StartError::Ports { configured, found });
        }
        let stations = publish::ports(&config, &found);
        let spec = publish::tables(&registry, &stations, true);
        let cells = publish::cells(&config.limits);
        let workers = config.workers.cores.len();
        let (writer, seats) = data_plane(&spec, workers, cells)?;
        let now = clock.now();
        let control = Self {
            clock,
            started: now,
            master: Master::new(registry, config.limits),
            config,
            ports,
            stations,
            writer,
            wheel: Wheel::new(now),
            tally: Tally::default(),
            pulse: Pulse::default(),
            inquiry: Inquiry::new(workers),
            answers: Vec::new(),
            replies: Vec::new(),
            events: Vec::new(),
            published: 0,
            has_changed: false,
            needs_tables: false,
            next_rise: Millis::NEVER,
            is_stopping: false,
        };
        Ok((control, seats))
    }
}
