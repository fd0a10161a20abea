//! The application's side: calls become commands in a bounded queue.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tether_api::Source;
use tokio::sync::mpsc;

use crate::{
    Accepted, Affinity, Config, Destination, Error, Key, Options, Pending,
    affinity::Hold,
    dial::Dialer,
    driver::Driver,
    pending::{Promise, promise},
};

/// What the application asks of the background thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// A new hold on a key.
    Start {
        key: Key,
        options: Options,
        hold: Arc<Hold>,
        promise: Promise,
    },
    /// A later deadline.
    Extend {
        key: Key,
        duration: Option<Duration>,
        promise: Promise,
    },
    /// One hold less.
    Release {
        key: Key,
        hold: Arc<Hold>,
        promise: Promise,
    },
    /// A hold that needs no guard any more.
    Detach { key: Key, hold: Arc<Hold> },
    /// The end, whoever holds it.
    End { key: Key, promise: Promise },
}

/// A connection to the forwarder that starts, extends and ends affinities. Clones share it.
///
/// The background thread ends when all clones and all guards are gone and their last signals are
/// answered or timed out.
#[derive(Clone, Debug)]
pub struct Client {
    queue: mpsc::UnboundedSender<Command>,
    // Invariant: at least the commands in `queue`, guards' last words included.
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

impl Client {
    /// Configures a client for the forwarder at a URI such as `http://10.8.0.2:7470`, or `https://`
    /// with [`Config::tls`].
    #[must_use]
    pub fn builder(forwarder: impl Into<String>) -> Config {
        Config::new(forwarder)
    }

    /// Starts the background thread and returns; the forwarder need not be there.
    ///
    /// Errors: the URI is none, a certificate cannot be used, or the thread cannot be started.
    pub fn connect(config: Config) -> Result<Self, Error> {
        let dialer = Dialer::new(&config)?;
        let (queue, commands) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let waiting_max = config.queue_max;
        let failed = |error| Error::Thread(Arc::new(error));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let driver = Driver::new(config, dialer, commands, Arc::clone(&waiting));
        thread::Builder::new()
            .name("tether-client".into())
            .spawn(move || runtime.block_on(driver.run()))
            .map_err(failed)?;
        Ok(Self {
            queue,
            waiting,
            waiting_max,
        })
    }

    /// Binds the client at the other end of an accepted socket, by the service's defaults.
    pub fn start(&self, accepted: &impl Accepted) -> Affinity {
        self.start_with(accepted, Options::new())
    }

    /// Binds the client at the other end of an accepted socket.
    pub fn start_with(&self, accepted: &impl Accepted, options: Options) -> Affinity {
        match read_key(accepted, options) {
            Ok(key) => self.start_key(key, options),
            Err(error) => Affinity::failed(self.clone(), error),
        }
    }

    /// Binds any source of a service: an address, an address and port, or a subnet.
    pub fn start_source(
        &self,
        destination: impl Into<Destination>,
        source: Source,
        options: Options,
    ) -> Affinity {
        self.start_key(
            Key {
                destination: destination.into(),
                source,
            },
            options,
        )
    }

    fn start_key(&self, key: Key, options: Options) -> Affinity {
        let hold = Hold::new(Instant::now());
        let (promise, started) = promise();
        let start = Command::Start {
            key: key.clone(),
            options,
            hold: Arc::clone(&hold),
            promise,
        };
        match self.push(start) {
            Ok(()) => Affinity::new(self.clone(), key, hold, started),
            Err(error) => Affinity::failed(self.clone(), error),
        }
    }

    /// Moves a deadline away; `None`: by the affinity's own duration (T3). It need not be held here.
    pub fn extend(&self, key: &Key, duration: Option<Duration>) -> Pending {
        let (promise, pending) = promise();
        let extend = Command::Extend {
            key: key.clone(),
            duration,
            promise,
        };
        self.push(extend).map_or_else(Pending::failed, |()| pending)
    }

    /// Ends an affinity whoever holds it in this process; its guards guard nothing any more.
    pub fn end(&self, key: &Key) -> Pending {
        let (promise, pending) = promise();
        let end = Command::End {
            key: key.clone(),
            promise,
        };
        self.push(end).map_or_else(Pending::failed, |()| pending)
    }

    /// For the last words of guards, which must not be lost to a full queue: there is one for each
    /// start that was let in, so they are bounded as starts are.
    pub(crate) fn release(&self, key: Key, hold: &Arc<Hold>) -> Pending {
        let (promise, pending) = promise();
        self.push_always(Command::Release {
            key,
            hold: Arc::clone(hold),
            promise,
        });
        pending
    }

    pub(crate) fn detach(&self, key: Key, hold: &Arc<Hold>) {
        self.push_always(Command::Detach {
            key,
            hold: Arc::clone(hold),
        });
    }

    fn push(&self, command: Command) -> Result<(), Error> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.waiting_max {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Busy);
        }
        self.queue.send(command).map_err(|_| Error::Closed)
    }

    fn push_always(&self, command: Command) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // If the thread is gone, the promise in the command is broken and says so.
        drop(self.queue.send(command));
    }
}

fn read_key(accepted: &impl Accepted, options: Options) -> Result<Key, Error> {
    let unreadable = |error| Error::Address(Arc::new(error));
    let local = accepted.local().map_err(unreadable)?;
    let peer = accepted.peer().map_err(unreadable)?;
    let source = if options.ip_port {
        Source::ip_port(peer)?
    } else {
        Source::ip(peer.ip())
    };
    Ok(Key {
        destination: local.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_canonical() {
        let addresses = |local: &str, peer: &str| (local.parse().unwrap(), peer.parse().unwrap());
        let mapped = addresses("[::ffff:10.9.0.100]:80", "[::ffff:10.1.2.3]:5000");
        let plain = addresses("10.9.0.100:80", "10.1.2.3:6000");
        let ip = Options::new();
        assert_eq!(
            read_key(&mapped, ip).unwrap(),
            read_key(&plain, ip).unwrap()
        );
        let key = read_key(&mapped, ip.ip_port()).unwrap();
        assert_eq!(key.source.to_string(), "10.1.2.3:5000");
        assert_eq!(
            key.destination,
            Destination::Address("10.9.0.100:80".parse().unwrap())
        );
    }
}
