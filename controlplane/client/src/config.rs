//! Where the forwarder is, and how patient the library is with it.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    process,
    time::{Duration, SystemTime},
};

use crate::{Client, Error, Tls};

/// How to reach the forwarder; made by [`Client::builder`], ended by [`Config::connect`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// URI of the forwarder's signal address, such as `http://10.8.0.2:7470`; `https://` with `tls`.
    pub forwarder: String,
    /// Certificates, for a forwarder that has `auth = "mtls"` (P1).
    pub tls: Option<Tls>,
    /// Name of the backend; needed only where this process's identity has several (P1).
    pub backend: String,
    /// This life of the process, not 0 (S7). Chosen at random.
    pub boot_id: u64,
    /// Most calls that wait to be sent; beyond them calls answer [`Error::Busy`].
    pub queue_max: usize,
    /// Most affinities that are held at a time; beyond them a start answers [`Error::TooManyHeld`].
    pub held_max: usize,
    /// How long to connect, and how long a batch may stay without an answer.
    pub answer_timeout: Duration,
    /// Wait before the second attempt to connect; it doubles with each further one, until a
    /// connection has lasted for `reconnect_max`.
    pub reconnect_first: Duration,
    /// Longest wait between attempts to connect.
    pub reconnect_max: Duration,
}

impl Config {
    /// Sensible values for all but the address.
    #[must_use]
    pub fn new(forwarder: impl Into<String>) -> Self {
        Self {
            forwarder: forwarder.into(),
            tls: None,
            backend: String::new(),
            boot_id: fresh_boot_id(),
            queue_max: 65_536,
            held_max: 1_000_000,
            answer_timeout: Duration::from_secs(2),
            reconnect_first: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(5),
        }
    }

    /// Speaks mutual TLS with the forwarder, whose URI begins with `https://`.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        Self {
            tls: Some(tls),
            ..self
        }
    }

    /// Sets the name of the backend.
    #[must_use]
    pub fn backend(self, name: impl Into<String>) -> Self {
        Self {
            backend: name.into(),
            ..self
        }
    }

    /// Sets the boot id: for a server that can tell that its state survived a restart.
    #[must_use]
    pub fn boot_id(self, boot_id: u64) -> Self {
        Self { boot_id, ..self }
    }

    /// Sets how many calls may wait to be sent.
    #[must_use]
    pub fn queue_max(self, calls: usize) -> Self {
        Self {
            queue_max: calls,
            ..self
        }
    }

    /// Sets how many affinities may be held at a time.
    #[must_use]
    pub fn held_max(self, affinities: usize) -> Self {
        Self {
            held_max: affinities,
            ..self
        }
    }

    /// Sets how long to wait for the forwarder before it counts as away.
    #[must_use]
    pub fn answer_timeout(self, timeout: Duration) -> Self {
        Self {
            answer_timeout: timeout,
            ..self
        }
    }

    /// Sets the first and the longest wait between attempts to connect.
    #[must_use]
    pub fn reconnect(self, first: Duration, max: Duration) -> Self {
        Self {
            reconnect_first: first,
            reconnect_max: max,
            ..self
        }
    }

    /// Starts the client; see [`Client::connect`].
    pub fn connect(self) -> Result<Client, Error> {
        Client::connect(self)
    }
}

/// The hasher's random keys are the standard library's only source of randomness.
fn fresh_boot_id() -> u64 {
    RandomState::new()
        .hash_one((process::id(), SystemTime::now()))
        .max(1)
}
