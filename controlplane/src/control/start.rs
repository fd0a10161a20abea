//! How the control thread and the data plane begin.

use super::{Control, Inquiry, Links, Pulse, Restored, Tally, Watchers};
use crate::{
    audit::Audit,
    config::{self, Config},
    expiry::Wheel,
    journal::Loaded,
    master::{Master, NoPlace, Registry},
    metrics::Histogram,
    ports::Ports,
    publish,
};
use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
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
    /// The audit log cannot be opened.
    #[error(
        "control.audit: {}: {reason}; run as a user that may write there, or choose another path", path.display()
    )]
    Audit {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
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
    /// of `workers.cores`. The ports must be there: the tables hold their MAC addresses. What is in
    /// `state` is there again when this returns; without one, nothing outlives the daemon.
    ///
    /// # Errors
    /// What tables cannot be built of, or what is beyond a limit.
    pub fn new(
        config: Config,
        clock: Clock,
        ports: Box<dyn Ports>,
        state: Option<Loaded>,
    ) -> Result<(Self, Vec<Seat>), StartError> {
        let now = clock.now();
        let (mut control, mut seats) = Self::empty(config, clock, ports, now)?;
        if let Some(loaded) = state {
            let now = clock.now();
            control.resume(loaded, &mut seats, now);
        }
        Ok((control, seats))
    }

    /// Without affinities.
    pub(super) fn empty(
        config: Config,
        clock: Clock,
        ports: Box<dyn Ports>,
        now: Millis,
    ) -> Result<(Self, Vec<Seat>), StartError> {
        let mut registry = Registry::default();
        registry.adopt(&config, &|_| true)?;
        registry.begin_full();
        let found = ports.view();
        if found.len() != config.ports.len() {
            let (configured, found) = (config.ports.len(), found.len());
            return Err(StartError::Ports { configured, found });
        }
        let mut stations = publish::ports(&config, &found);
        for (station, spread) in stations.iter_mut().zip(ports.spreads()) {
            station.spread = spread;
        }
        let spec = publish::tables(&registry, &stations, true);
        let cells = publish::cells(&config.limits);
        let workers = config.workers.cores.len();
        let (writer, seats) = data_plane(&spec, workers, cells)?;
        let audit = config.control.audit.clone().map(open_audit);
        let audit = audit.transpose()?;
        let control = Self {
            clock,
            started: now,
            life: life(),
            master: Master::new(registry, config.limits),
            config,
            ports,
            stations,
            writer,
            wheel: Wheel::new(now),
            tally: Tally::default(),
            pulse: Pulse::default(),
            links: Links::default(),
            inquiry: Inquiry::new(workers),
            watchers: Watchers::default(),
            audit,
            recorder: None,
            restored: Restored::default(),
            answers: Vec::new(),
            replies: Vec::new(),
            effects: Histogram::default(),
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

fn open_audit(settings: config::Audit) -> Result<Audit, StartError> {
    let path = settings.path.clone();
    Audit::open(settings).map_err(|reason| StartError::Audit { path, reason })
}

/// A number that another life of the process is not likely to have.
fn life() -> u32 {
    let hash = RandomState::new().hash_one("life");
    u32::try_from(hash >> 32).unwrap_or_default()
}
