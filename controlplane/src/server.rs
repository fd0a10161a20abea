//! The edge: everything that speaks to the outside but packets, on one thread with one
//! single-threaded async runtime. The only async code is here and in [`crate::health`].
//!
//! ```text
//! gRPC ──────┐
//! operators ─┤                    bounded queue
//! metrics ───┼─▶ read, identify ──────────────────▶ control thread ── reply ─▶ back to the sender
//! probes ────┤
//! SIGHUP ────┘
//! ```
//!
//! Stopping: no new connections and calls, what is under way gets its answer, then the control
//! thread is told to stop.

mod accept;
mod commands;
mod error;
mod limits;
mod metrics;
mod operator;
mod preface;
mod reload;
mod signals;

#[cfg(any(test, fuzzing))]
pub(crate) use signals::fuzzing;

pub(crate) use commands::Commands;
pub use error::StartError;

use crate::{command::Command, config::Config};
use crossbeam_channel::{Receiver, Sender};
use reload::Reloader;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    thread::{self, JoinHandle},
};
use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};

/// What is listened on, bound and not yet served: whoever connects waits.
#[derive(Debug)]
pub struct Listeners {
    signals: Option<signals::Listener>,
    operator: operator::Socket,
    metrics: Option<TcpListener>,
}

/// The edge at work.
#[derive(Debug)]
pub struct Server {
    thread: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// The queue of the control thread.
#[must_use]
pub fn queue() -> (Sender<Command>, Receiver<Command>) {
    crossbeam_channel::bounded(limits::COMMANDS)
}

impl Listeners {
    /// Binds everything that `[control]` names.
    ///
    /// # Errors
    /// What cannot be bound, with what to do about it.
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let control = &config.control;
        if let Some(warning) = signals::credentials_warning(config) {
            log::warn!("{warning}");
        }
        let signals = control.signal.as_ref().map(signals::Listener::bind);
        let metrics = control.metrics;
        let metrics = metrics.map(|address| error::bind("control.metrics", address));
        Ok(Self {
            signals: signals.transpose()?,
            metrics: metrics.transpose()?,
            operator: operator::Socket::bind(&control.operator)?,
        })
    }

    /// Where servers signal; with port 0 in the configuration, the port that was given.
    #[must_use]
    pub fn signal_address(&self) -> Option<SocketAddr> {
        self.signals.as_ref()?.address()
    }

    fn credentials(&self) -> Option<signals::Credentials> {
        self.signals.as_ref()?.credentials()
    }

    /// Where metrics are served; with port 0 in the configuration, the port that was given.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
    }
}

impl Server {
    /// Starts to serve. `file` is read again at SIGHUP, `config` is what it said.
    ///
    /// SIGTERM and SIGINT stop the edge and then, by [`Command::Stop`], the control thread; a second
    /// one ends the process as if nobody had caught it.
    ///
    /// # Errors
    /// The system refuses a thread, a socket or a signal handler.
    pub fn start(
        listeners: Listeners,
        config: Config,
        file: PathBuf,
        queue: Sender<Command>,
    ) -> Result<Self, StartError> {
        raise_file_limit();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let (stop, _) = watch::channel(false);
        let (started, outcome) = std::sync::mpsc::sync_channel(1);
        let commands = Commands::new(queue);
        let (questions, asked) = mpsc::channel(limits::CONFIG_QUESTIONS);
        let credentials = listeners.credentials();
        let edge = Edge {
            listeners,
            reloader: Reloader::new(config, file, commands.clone(), credentials, asked),
            commands,
            questions,
            stop: stop.clone(),
        };
        let thread = thread::Builder::new()
            .name("tether-edge".to_owned())
            .spawn(move || runtime.block_on(edge.live(&started)))
            .map_err(StartError::Thread)?;
        let gone = || StartError::Thread(io::ErrorKind::BrokenPipe.into());
        outcome.recv().map_err(|_| gone())??;
        Ok(Self { thread, stop })
    }

    /// Stops as SIGTERM does, and waits for the end.
    pub fn stop(self) {
        self.stop.send_replace(true);
        if self.thread.join().is_err() {
            log::error!("the server thread has panicked: this is a bug, please report it");
        }
    }
}

/// What lives on the thread.
struct Edge {
    listeners: Listeners,
    reloader: Reloader,
    commands: Commands,
    questions: mpsc::Sender<reload::Asked>,
    stop: watch::Sender<bool>,
}

/// The signals of the operating system that mean something here.
struct Caught {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Edge {
    async fn live(mut self, started: &std::sync::mpsc::SyncSender<Result<(), StartError>>) {
        let begun = self.begin();
        let (begun, outcome) = match begun {
            Ok(begun) => (Some(begun), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // Err: nobody waits for the outcome, so nobody would stop this thread either.
        if started.send(outcome).is_err() {
            return;
        }
        if let Some((mut tasks, caught)) = begun {
            self.work(caught).await;
            self.stop.send_replace(true);
            let finished = async { while tasks.join_next().await.is_some() {} };
            if timeout(limits::STOP_WAIT, finished).await.is_err() {
                log::info!("calls that are still open are cut off");
            }
            // Err: the control thread has stopped already.
            let _ = self.commands.send(Command::Stop).await;
        }
    }

    fn begin(&mut self) -> Result<(JoinSet<()>, Caught), StartError> {
        let caught = Caught::new().map_err(StartError::Thread)?;
        let mut tasks = JoinSet::new();
        let (commands, stop) = (&self.commands, || self.stop.subscribe());
        let credentials = self.listeners.credentials();
        if let Some(listener) = self.listeners.signals.take() {
            let serving = listener.serve(commands.clone(), stop())?;
            tasks.spawn(async move {
                if let Err(error) = serving.await {
                    log::error!("the signal listener has failed: {error}; restart tetherd");
                }
            });
        }
        if let Some(listener) = self.listeners.metrics.take() {
            let scraping = metrics::serve(listener, commands.clone(), credentials, stop())?;
            tasks.spawn(scraping);
        }
        let operators = self.listeners.operator.listen();
        let operators = operators.map_err(StartError::Thread)?;
        let questions = self.questions.clone();
        tasks.spawn(operator::serve(
            operators,
            commands.clone(),
            questions,
            stop(),
        ));
        Ok((tasks, caught))
    }

    /// Probes and reloads until it is time to stop, which does not wait for a reload.
    async fn work(&mut self, mut caught: Caught) {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = stopped(&mut stop) => {}
            _ = caught.terminate.recv() => log::info!("SIGTERM: stopping"),
            _ = caught.interrupt.recv() => log::info!("SIGINT: stopping"),
            never = self.reloader.live(&mut caught.hangup) => match never {},
        }
    }
}

impl Caught {
    fn new() -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        for number in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            // In this order: the first one finds the flag down and raises it.
            let flag = Arc::clone(&stopping);
            signal_hook::flag::register_conditional_default(number, flag)?;
            signal_hook::flag::register(number, Arc::clone(&stopping))?;
        }
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Each connection and each probe takes a file descriptor; 1024 is what a process starts with, and
/// more is its own to ask for up to the hard limit (getrlimit(2)).
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::debug!(
            "the limit of open files stays at {:?}: {error}",
            limit.current
        );
    }
}

/// Ends when it is time to stop, or nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Err: whoever could say it is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}
