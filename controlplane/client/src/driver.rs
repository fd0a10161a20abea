//! The background thread: connect, talk until it breaks, connect again.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tether_api::BATCH_SIGNALS_MAX;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

use crate::{
    Config,
    batch::Asked,
    client::Command,
    ledger::Ledger,
    session::{Answered, Away, Session, explain},
};

/// Signals in a batch: enough to make the cost of a batch small, few enough to be answered soon.
const BATCH_SIGNALS: usize = 1024;
const _: () = assert!(BATCH_SIGNALS <= BATCH_SIGNALS_MAX);

/// What runs on the background thread.
#[derive(Debug)]
pub(crate) struct Driver {
    config: Config,
    endpoint: Endpoint,
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
        endpoint: Endpoint,
        commands: mpsc::UnboundedReceiver<Command>,
        waiting: Arc<AtomicUsize>,
    ) -> Self {
        let ledger = Ledger::new(config.held_max);
        Self {
            config,
            endpoint,
            ledger,
            queue: Queue { commands, waiting },
        }
    }

    /// Until all clients and guards are gone.
    pub(crate) async fn run(mut self) {
        while let Some((mut session, epoch)) = self.connect().await {
            log::info!(
                "tether: connected to {}, epoch {epoch}",
                self.config.forwarder
            );
            self.ledger.see_epoch(epoch, true);
            let end = self.talk(&mut session).await;
            let away = match &end {
                End::Away(reason) => Arc::clone(reason),
                End::Closed => "the client has been closed".into(),
            };
            session
                .abandon()
                .for_each(|asked| self.ledger.unanswered(asked, &away));
            if matches!(end, End::Closed) {
                return;
            }
            log::warn!("tether: {} is away: {away}", self.config.forwarder);
        }
    }

    /// A session, after as many attempts as it takes. Calls wait for the first attempt; from then
    /// on they are answered at once, unless the forwarder has just let us in.
    async fn connect(&mut self) -> Option<(Session, u64)> {
        let channel = self
            .endpoint
            .connect()
            .await
            .map_err(|error| explain(&error));
        let mut away = match self.open(channel).await {
            Ok(opened) => return Some(opened),
            Err(away) => away,
        };
        log::warn!("tether: cannot reach {}: {away}", self.config.forwarder);
        let mut pause = self.config.reconnect_first;
        loop {
            self.meanwhile(&away, tokio::time::sleep(jitter(pause)))
                .await?;
            pause = (pause * 2).min(self.config.reconnect_max);
            let endpoint = self.endpoint.clone();
            let attempt = async move { endpoint.connect().await.map_err(|error| explain(&error)) };
            let channel = self.meanwhile(&away, attempt).await?;
            match self.open(channel).await {
                Ok(opened) => return Some(opened),
                Err(reason) => away = reason,
            }
        }
    }

    async fn open(&self, channel: Result<Channel, Away>) -> Result<(Session, u64), Away> {
        Session::open(channel?, &self.config).await
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
                    for asked in self.note(commands) {
                        self.ledger.unanswered(asked, away);
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

/// Until then, or for ever.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// Between a half and the whole of the pause, so that many servers do not come back in one moment.
fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 512;
    pause * u32::try_from(512 + random).unwrap_or(1024) / 1024
}
