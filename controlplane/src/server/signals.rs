//! The gRPC service of servers (`interfaces.md`, section 4). It reads, establishes who speaks,
//! passes on to the control thread and answers; it decides nothing. Refusals are outcomes; a gRPC
//! error means that nothing was decided.

mod listener;
mod peer;
mod read;
mod reply;
mod session;

pub(super) use listener::Listener;

use super::{
    commands::{Commands, Refused},
    limits,
};
use crate::{
    command::Command,
    journal::NotRecorded,
    signal::{Identity, Signal},
};
use peer::Proof;
use session::{Answers, Session};
use std::{
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
};
use tether_api::{
    Source,
    v1::{
        AffinityEntry, EndRequest, Event, ExtendRequest, ListRequest, Outcome, SignalBatch,
        StartRequest, WatchRequest, affinity_server::Affinity,
    },
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::{Pending, Stream, StreamExt as _, wrappers::ReceiverStream};
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
            reply,
        };
        self.send(command).await?;
        let decided = receiver.await.map_err(stopped)?;
        let mut decided = decided.map_err(not_recorded)?;
        reply::explain(&mut decided.outcomes, wrong);
        let outcome = decided.outcomes.into_iter().next();
        let outcome = outcome.ok_or_else(|| Status::internal("the signal has no outcome"))?;
        Ok(Response::new(reply::outcome(decided.epoch, outcome)))
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

/// What was sent is not acknowledged, because it would not survive a restart.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn not_recorded(why: NotRecorded) -> Status {
    Status::unavailable(why.to_string())
}

/// The control thread has gone without a reply.
fn stopped(_: oneshot::error::RecvError) -> Status {
    status(Refused::Stopped)
}

#[tonic::async_trait]
impl Affinity for Signals {
    type ListStream = Pin<Box<dyn Stream<Item = Result<AffinityEntry, Status>> + Send>>;
    type WatchStream = Pending<Result<Event, Status>>;
    type SignalsStream = Answers;

    async fn start(&self, request: Request<StartRequest>) -> Result<Response<Outcome>, Status> {
        let identity = self.proof.identity(&request)?;
        let signal = read::start(request.into_inner());
        self.decide(identity, signal).await
    }

    async fn extend(&self, request: Request<ExtendRequest>) -> Result<Response<Outcome>, Status> {
        let identity = self.proof.identity(&request)?;
        let signal = read::extend(request.into_inner());
        self.decide(identity, signal).await
    }

    async fn end(&self, request: Request<EndRequest>) -> Result<Response<Outcome>, Status> {
        let identity = self.proof.identity(&request)?;
        let signal = read::end(request.into_inner());
        self.decide(identity, signal).await
    }

    async fn list(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let identity = self.proof.identity(&request)?;
        let request = request.into_inner();
        check_source(&request.source)?;
        let (entries, listed) = mpsc::channel(limits::LISTED_AHEAD);
        let command = Command::List {
            identity,
            request,
            entries,
        };
        self.send(command).await?;
        Ok(Response::new(Box::pin(ReceiverStream::new(listed).map(Ok))))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented(
            "this version streams no events: ask List for the state as it is",
        ))
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

/// A listing has no outcome that could say what is wrong with its filter.
fn check_source(source: &str) -> Result<(), Status> {
    if source.is_empty() {
        return Ok(());
    }
    let read = source.parse::<Source>().map(drop);
    read.map_err(|bad| Status::invalid_argument(bad.to_string()))
}
