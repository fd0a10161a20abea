//! One `Signals` stream: batches in, outcomes out, in order (contract rule S3).
//!
//! ```text
//! inbound ─ read ─ command ─▶ control        several batches are under way at once
//! outbound ◀─ await the oldest one's reply   and are answered in the order they came
//! ```
//!
//! A sender that does not read its answers, or sends faster than is decided, stops at
//! [`limits::BATCHES_IN_FLIGHT`] batches; HTTP/2's window then holds it (contract rule S10).
//!
//! A batch that cannot be recorded is answered like any other and ends no session: what is bound to
//! it stays while the disk is full (contract rule S6).

use super::{read, reply};
use crate::{
    command::{Command, NotAcknowledged, Outcomes},
    server::{commands::Commands, limits, stopped},
    signal::Identity,
};
use std::{pin::Pin, time::Instant};
use tether_api::{
    BATCH_SIGNALS_MAX,
    v1::{self, OutcomeBatch, SignalBatch},
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Status, Streaming};

/// The outbound half.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<OutcomeBatch, Status>> + Send>>;

/// The inbound half.
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) identity: Identity,
    pub(super) commands: Commands,
    pub(super) stop: watch::Receiver<bool>,
}

/// A batch that is being decided.
struct Pending {
    sequence: u64,
    sent: Vec<v1::Signal>,
    wrong: Vec<(usize, read::Wrong)>,
    reply: oneshot::Receiver<Result<Outcomes, NotAcknowledged>>,
}

type Decisions = mpsc::Sender<Result<Pending, Status>>;

impl Session {
    /// Serves the stream in a task of its own until either side ends it.
    pub(super) fn open(self, inbound: Streaming<SignalBatch>) -> Answers {
        let (decisions, pending) = mpsc::channel(limits::BATCHES_IN_FLIGHT);
        tokio::spawn(self.run(inbound, decisions));
        let pending = ReceiverStream::new(pending);
        Box::pin(pending.then(|pending| async { pending?.answer().await }))
    }

    async fn run(mut self, mut inbound: Streaming<SignalBatch>, decisions: Decisions) {
        let mut bound = false;
        while let Some(batch) = self.next(&mut inbound, &decisions).await {
            bound |= batch.as_ref().is_ok_and(is_bound);
            let pending = match batch {
                Ok(batch) => self.submit(batch).await,
                Err(status) => Err(status),
            };
            let last = pending.is_err();
            if decisions.send(pending).await.is_err() || last {
                break;
            }
        }
        if bound {
            // Err: the control thread is gone, and all sessions with it.
            let _ = self.commands.send(Command::SessionClosed(self.id)).await;
        }
    }

    /// The next batch; `None` once the sender is done or gone.
    async fn next(
        &mut self,
        inbound: &mut Streaming<SignalBatch>,
        decisions: &Decisions,
    ) -> Option<Result<SignalBatch, Status>> {
        tokio::select! {
            biased;
            () = decisions.closed() => None,
            () = stopped(&mut self.stop) => {
                Some(Err(Status::unavailable("the forwarder stops: connect again")))
            }
            batch = inbound.message() => batch.ok().flatten().map(Ok),
        }
    }

    /// Tells who has come, and which life of its process that is.
    async fn introduce(&self, batch: &SignalBatch) -> Result<(), Status> {
        let begun = Command::SessionBegun {
            identity: self.identity.clone(),
            backend: batch.backend.clone(),
            boot_id: batch.boot_id,
        };
        self.commands.send(begun).await.map_err(super::status)
    }

    async fn submit(&self, batch: SignalBatch) -> Result<Pending, Status> {
        let count = batch.signals.len();
        if count > BATCH_SIGNALS_MAX {
            return Err(Status::invalid_argument(format!(
                "a batch of {count} signals: send at most {BATCH_SIGNALS_MAX} in one"
            )));
        }
        check_names(&batch)?;
        if count == 0 && batch.boot_id != 0 {
            self.introduce(&batch).await?;
        }
        let signals = read::batch(&batch, self.id);
        let wrong = read::wrong(&signals);
        let (reply, receiver) = oneshot::channel();
        let command = Command::Signals {
            identity: self.identity.clone(),
            signals,
            queued: Instant::now(),
            reply,
        };
        self.commands.send(command).await.map_err(super::status)?;
        Ok(Pending {
            sequence: batch.sequence,
            sent: batch.signals,
            wrong,
            reply: receiver,
        })
    }
}

/// A refusal repeats the name that is none, for each signal: of a long one that would be gigabytes.
fn check_names(batch: &SignalBatch) -> Result<(), Status> {
    let mut names = batch.services.iter().chain([&batch.backend]);
    match names.find(|it| it.len() > limits::NAME_BYTES) {
        None => Ok(()),
        Some(name) => Err(Status::invalid_argument(format!(
            "a name of {} bytes: those of services and backends have at most {}",
            name.len(),
            limits::NAME_BYTES
        ))),
    }
}

fn is_bound(batch: &SignalBatch) -> bool {
    batch.signals.iter().any(|signal| signal.bound_to_session)
}

impl Pending {
    async fn answer(self) -> Result<OutcomeBatch, Status> {
        let outcomes = match self.reply.await.map_err(super::stopped)? {
            Ok(mut outcomes) => {
                reply::explain(&mut outcomes.outcomes, self.wrong);
                outcomes
            }
            Err(why) => reply::unavailable(self.sent.len(), &why),
        };
        Ok(reply::batch(self.sequence, &self.sent, outcomes))
    }
}
