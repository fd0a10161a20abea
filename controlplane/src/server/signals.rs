//! The gRPC service of servers (`interfaces.md`, section 4). It reads, establishes who speaks,
//! passes on to the control thread and answers; it decides nothing. Refusals are outcomes; a gRPC
//! error means that nothing is acknowledged.

#[cfg(test)]
mod allocations;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod listener;
mod peer;
mod read;
mod reply;
mod session;
mod tls;

pub(super) use listener::Listener;
pub(super) use tls::{Credentials, read as read_credentials, warning as credentials_warning};

use super::{
    commands::{Commands, Refused},
    limits,
};
use crate::{
    command::{Command, Declined, NotAcknowledged},
    signal::{Identity, Signal},
};
use events::Events;
use peer::Proof;
use session::{Answers, Session};
use std::{
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};
use tether_api::v1::{
    AffinityEntry, EndRequest, ExtendRequest, ListRequest, Outcome, SignalBatch, StartRequest,
    WatchRequest, affinity_server::Affinity,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// Where the calls of servers arrive.
#[derive(Debug)]
struct Signals {
    commands: Commands,
    proof: Proof,
    stop: watch::Receiver<bool>,
    sessions: AtomicU64,
}

impl Signals {
    fn new(commands: Commands, proof: Proof, stop: watch::Receiver<bool>) -> Self {
        Self {
            commands,
            proof,
            stop,
            sessions: AtomicU64::new(1),
        }
    }

    async fn decide(
        &self,
        identity: Identity,
        signal: Signal,
    ) -> Result<Response<Outcome>, Status> {
        let (reply, receiver) = oneshot::channel();
        let signals = vec![signal];
        let wrong = read::wrong(&signals);
        let command = Command::Signals {
            identity,
            signals,
            queued: Instant::now(),
            reply,
        };
        self.send(command).await?;
        let decided = receiver.await.map_err(stopped)?;
        let mut decided = decided.map_err(not_acknowledged)?;
        reply::explain(&mut decided.outcomes, wrong);
        let outcome = decided.outcomes.into_iter().next();
        let outcome = outcome.ok_or_else(|| Status::internal("the signal has no outcome"))?;
        Ok(Response::new(reply::outcome(
            decided.epoch,
            &decided.names,
            outcome,
        )))
    }

    /// Sends what is answered by a stream, and waits until that has begun.
    async fn begin(
        &self,
        command: Command,
        begun: oneshot::Receiver<Result<(), Declined>>,
    ) -> Result<(), Status> {
        self.send(command).await?;
        begun.await.map_err(stopped)?.map_err(|why| declined(&why))
    }

    async fn send(&self, command: Command) -> Result<(), Status> {
        let sent = self.commands.send_within(limits::COMMAND_WAIT, command);
        sent.await.map_err(status)
    }
}

/// Why a command was not taken, as gRPC says it.
fn status(refused: Refused) -> Status {
    match refused {
        Refused::Overloaded => Status::resource_exhausted(refused.to_string()),
        Refused::Stopped => Status::unavailable(refused.to_string()),
    }
}

/// Why a stream does not begin, as gRPC says it.
fn declined(why: &Declined) -> Status {
    let sentence = why.to_string();
    match why {
        Declined::Invalid(_) => Status::invalid_argument(sentence),
        Declined::Denied(_) => Status::permission_denied(sentence),
        Declined::Exhausted(_) => Status::resource_exhausted(sentence),
    }
}

/// What was sent is not acknowledged, as gRPC says it. On a stream each signal has an outcome that
/// says so: an error would end the session, and with it what is bound to it (contract rule S6).
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn not_acknowledged(why: NotAcknowledged) -> Status {
    Status::unavailable(why.to_string())
}

/// The control thread has gone without a reply.
fn stopped(_: oneshot::error::RecvError) -> Status {
    status(Refused::Stopped)
}

#[tonic::async_trait]
impl Affinity for Signals {
    type ListStream = Pin<Box<dyn Stream<Item = Result<AffinityEntry, Status>> + Send>>;
    type WatchStream = Events;
    type SignalsStream = Answers;

    async fn start(&self, request: Request<StartRequest>) -> Result<Response<Outcome>, Status> {
        let identity = self.proof.identity(&request)?;
        let signal = read::start(&request.into_inner());
        self.decide(identity, signal).await
    }

    async fn extend(&self, request: Request<ExtendRequest>) -> Result<Response<Outcome>, Status> {
        let identity = self.proof.identity(&request)?;
        let signal = read::extend(&request.into_inner());
        self.decide(identity, signal).await
    }

    async fn end(&self, request: Request<EndRequest>) -> Result<Response<Outcome>, Status> {
        let identity = self.proof.identity(&request)?;
        let signal = read::end(&request.into_inner());
        self.decide(identity, signal).await
    }

    async fn list(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let identity = self.proof.identity(&request)?;
        let request = request.into_inner();
        read::list(&request).map_err(Status::invalid_argument)?;
        let (entries, listed) = mpsc::channel(limits::LISTED_AHEAD);
        let (reply, begun) = oneshot::channel();
        let command = Command::List {
            identity,
            request,
            entries,
            reply,
        };
        self.begin(command, begun).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(listed).map(Ok))))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Events>, Status> {
        let identity = self.proof.identity(&request)?;
        let request = request.into_inner();
        read::watch(&request).map_err(Status::invalid_argument)?;
        let (events, told) = mpsc::channel(limits::EVENTS_AHEAD);
        let (reply, begun) = oneshot::channel();
        let command = Command::Watch {
            identity,
            request,
            events,
            reply,
        };
        self.begin(command, begun).await?;
        Ok(Response::new(events::stream(told, self.stop.clone())))
    }

    async fn signals(
        &self,
        request: Request<Streaming<SignalBatch>>,
    ) -> Result<Response<Answers>, Status> {
        let session = Session {
            id: self.sessions.fetch_add(1, Ordering::Relaxed),
            identity: self.proof.identity(&request)?,
            commands: self.commands.clone(),
            stop: self.stop.clone(),
        };
        Ok(Response::new(session.open(request.into_inner())))
    }
}
