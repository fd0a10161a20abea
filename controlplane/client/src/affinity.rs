//! The guard of an affinity, and the hold that it has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Client, Error, Key, Outcome, Pending};

/// One guard's hold on a key. Several sessions of one client are several holds on one affinity.
#[derive(Debug)]
pub(crate) struct Hold {
    born: Instant,
    // Milliseconds after `born`.
    touched_ms: AtomicU64,
}

impl Hold {
    pub(crate) fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            born: now,
            touched_ms: AtomicU64::new(0),
        })
    }

    pub(crate) fn touch_at(&self, now: Instant) {
        let ms = now.saturating_duration_since(self.born).as_millis();
        self.touched_ms
            .fetch_max(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When the client was last seen, as far as the application has said.
    pub(crate) fn touched(&self) -> Instant {
        self.born + Duration::from_millis(self.touched_ms.load(Ordering::Relaxed))
    }
}

/// A client that sticks to this process until the guard is dropped or the forwarder's deadline.
///
/// Several guards of one key share one affinity: it ends with the last of them.
#[derive(Debug)]
#[must_use = "dropping it ends the affinity; `detach` keeps it"]
pub struct Affinity {
    client: Client,
    key: Option<Key>,
    hold: Arc<Hold>,
    started: Pending,
}

impl Affinity {
    pub(crate) fn new(client: Client, key: Key, hold: Arc<Hold>, started: Pending) -> Self {
        Self {
            client,
            key: Some(key),
            hold,
            started,
        }
    }

    /// A guard of nothing.
    pub(crate) fn failed(client: Client, error: Error) -> Self {
        Self {
            client,
            key: None,
            hold: Hold::new(Instant::now()),
            started: Pending::failed(error),
        }
    }

    /// What it is about; `None` if the start failed before it could be sent.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// The outcome of the start, to be awaited.
    pub fn started(&self) -> Pending {
        self.started.clone()
    }

    /// Blocks until the start has its outcome: if it is effective, every new connection of the
    /// client from then on comes here (S1).
    pub fn wait(&self, timeout: Duration) -> Result<Outcome, Error> {
        self.started.wait(timeout)
    }

    /// Moves the deadline away, beyond the default duration if asked; `None`: by its own duration (T3).
    pub fn extend(&self, duration: Option<Duration>) -> Pending {
        match &self.key {
            Some(key) => self.client.extend(key, duration),
            None => self.started(),
        }
    }

    /// Notes, without a signal, that the client was here: the forwarder extends the affinity by the
    /// packets that it sees (T2), and so the library knows how much of it is left to assert again.
    pub fn touch(&self) {
        self.hold.touch_at(Instant::now());
    }

    /// Ends it as dropping does, with the outcome; [`Error::StillHeld`] if other guards remain.
    pub fn end(mut self) -> Pending {
        match self.key.take() {
            Some(key) => self.client.release(key, &self.hold),
            None => self.started(),
        }
    }

    /// Lets it go on without a guard, until its deadline or [`Client::end`].
    pub fn detach(mut self) -> Pending {
        if let Some(key) = self.key.take() {
            self.client.detach(key, &self.hold);
        }
        self.started.clone()
    }
}

impl Drop for Affinity {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            drop(self.client.release(key, &self.hold));
        }
    }
}
