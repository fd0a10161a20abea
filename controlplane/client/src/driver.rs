//! The background thread: connect, talk until it breaks, connect again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tether_api::BATCH_SIGNALS_MAX;
use tokio::sync::mpsc;

use crate::{
    Config,
    backoff::Backoff,
    batch::Asked,
    client::Command,
    dial::{Away, Dialer},
    ledger::Ledger,
    session::{Answered, Session},
};

/// Signals in a batch: enough to make the cost of a batch small, few enough to be answered soon.
const BATCH_SIGNALS: usize = 1024;
const _: () = assert!(BATCH_SIGNALS <= BATCH_SIGNALS_MAX);

/// What runs on the background thread.
#[derive(Debug)]
pub(crate) struct Driver {
    config: Arc<Config>,
    dialer: Dialer,
    backoff: Backoff,
    ledger: Ledger,
    queue: Queue,
}

#[derive(Debug)]
struct Queue {
    commands: mpsc::UnboundedReceiver<Command>,
    waiting: Arc<AtomicUsize>,
}

impl Queue {
    /// Some commands, in order; none: all clients and guards are gone. May be dropped at any time.
    async fn take(&mut self) -> Vec<Command> {
        let mut taken = Vec::new();
        let count = self.commands.recv_many(&mut taken, BATCH_SIGNALS).await;
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        taken
    }
}

/// Why there is nothing to do any more with a session.
enum End {
    /// The forwarder went away.
    Away(Away),
    /// All clients and guards are gone.
    Closed,
}

impl Driver {
    pub(crate) fn new(
        config: Config,
        dialer: Dialer,
        commands: mpsc::UnboundedReceiver<Command>,
        waiting: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            backoff: Backoff::new(config.reconnect_first, config.reconnect_max),
            ledger: Ledger::new(config.held_max),
            config: Arc::new(config),
            dialer,
            queue: Queue { commands, waiting },
        }
    }

    /// Until all clients and guards are gone.
    pub(crate) async fn run(mut self) {
        let mut away = Away::from("not connected yet");
        while let Some((mut session, epoch)) = self.connect(away).await {
            let forwarder = &self.config.forwarder;
            log::info!("tether: connected to {forwarder}, epoch {epoch}");
            self.ledger.see_epoch(epoch, true);
            let connected = Instant::now();
            let end = self.talk(&mut session).await;
            self.backoff.lasted(connected.elapsed());
            match end {
                End::Away(reason) => away = reason,
                End::Closed => return self.abandon(session, &"the client has been closed".into()),
            }
            log::warn!("tether: {} is away: {away}", self.config.forwarder);
            self.abandon(session, &away);
        }
    }

    fn abandon(&mut self, session: Session, away: &Away) {
        let now = Instant::now();
        for asked in session.abandon() {
            self.ledger.unanswered(asked, away, now);
        }
    }

    /// A session, after as many attempts as it takes; `None` if all clients and guards are gone.
    ///
    /// Calls wait for an attempt that is made at once, as after a connection that has lasted;
    /// while the forwarder is left alone they are answered by why it is away.
    async fn connect(&mut self, mut away: Away) -> Option<(Session, u64)> {
        loop {
            let pause = self.backoff.pause();
            let attempt = Box::pin(attempt(self.dialer.clone(), Arc::clone(&self.config)));
            let opened = if pause.is_zero() {
                attempt.await
            } else {
                let later = async {
                    tokio::time::sleep(pause).await;
                    attempt.await
                };
                self.meanwhile(&away, later).await?
            };
            let reason = match opened {
                Ok(opened) => return Some(opened),
                Err(reason) => reason,
            };
            if reason != away {
                log::warn!("tether: cannot reach {}: {reason}", self.config.forwarder);
            }
            away = reason;
        }
    }

    /// Does the work while calls are answered by "away"; `None` if all clients and guards are gone.
    async fn meanwhile<T>(&mut self, away: &Away, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                commands = self.queue.take() => {
                    if commands.is_empty() {
                        return None;
                    }
                    let now = Instant::now();
                    for asked in self.note(commands) {
                        self.ledger.unanswered(asked, away, now);
                    }
                }
            }
        }
    }

    fn note(&mut self, commands: Vec<Command>) -> Vec<Asked> {
        let now = Instant::now();
        commands
            .into_iter()
            .filter_map(|command| self.ledger.note(command, now))
            .collect()
    }

    /// Sends and receives until the session breaks or nobody is left to talk for.
    async fn talk(&mut self, session: &mut Session) -> End {
        let mut closed = false;
        loop {
            if let Err(away) = self.send_owed(session) {
                return End::Away(away);
            }
            if closed && session.is_idle() {
                return End::Closed;
            }
            let step = tokio::select! {
                answer = session.answer() => answer.map(|answer| self.take_answer(answer)),
                commands = self.queue.take(), if !closed && session.has_room() => {
                    closed = commands.is_empty();
                    self.send(session, commands)
                }
                () = until(self.ledger.owes_at()), if session.has_room() => Ok(()),
            };
            if let Err(away) = step {
                return End::Away(away);
            }
        }
    }

    fn take_answer(&mut self, answer: Answered) {
        let now = Instant::now();
        self.ledger.see_epoch(answer.epoch, false);
        for (asked, outcome) in answer.outcomes {
            self.ledger.answered(asked, outcome, answer.epoch, now);
        }
    }

    fn send(&mut self, session: &mut Session, commands: Vec<Command>) -> Result<(), Away> {
        let asked = self.note(commands);
        if asked.is_empty() {
            Ok(())
        } else {
            session.send(&self.config, asked)
        }
    }

    /// Ends that could not be said, and assertions after a new epoch, come before new calls.
    fn send_owed(&mut self, session: &mut Session) -> Result<(), Away> {
        let now = Instant::now();
        while session.has_room() {
            let owed = std::iter::from_fn(|| self.ledger.next_owed(now));
            let owed: Vec<_> = owed.take(BATCH_SIGNALS).collect();
            if owed.is_empty() {
                break;
            }
            session.send(&self.config, owed)?;
        }
        Ok(())
    }
}

async fn attempt(dialer: Dialer, config: Arc<Config>) -> Result<(Session, u64), Away> {
    Session::open(dialer.dial().await?, &config).await
}

/// Until then, or for ever.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
