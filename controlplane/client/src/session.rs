//! One connection to the forwarder: a `Signals` stream with batches under way in both directions.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tether_api::v1::{CompactOutcome, OutcomeBatch, SignalBatch, affinity_client::AffinityClient};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    Config, Error,
    batch::{Asked, batch},
};

/// Batches that may be without an answer; more would only wait in the forwarder instead of here.
const WINDOW_BATCHES: usize = 8;
/// Room for the outcomes of a full window (a compact outcome has some 30 bytes).
const WINDOW_BYTES: u32 = 1 << 20;
/// A forwarder that vanished without a word is noticed after this and the answer timeout.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Why a session ended, as [`Error::Away`] says it.
pub(crate) type Away = Arc<str>;

/// A connection over which the forwarder has answered.
#[derive(Debug)]
pub(crate) struct Session {
    outbound: mpsc::Sender<SignalBatch>,
    inbound: Streaming<OutcomeBatch>,
    // Invariant: in the order of their sequence, at most `WINDOW_BATCHES`.
    under_way: VecDeque<UnderWay>,
    sequence: u64,
    answer_timeout: Duration,
}

#[derive(Debug)]
struct UnderWay {
    sequence: u64,
    asked: Vec<Asked>,
    overdue: Instant,
}

/// One batch that has come back.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) epoch: u64,
    pub(crate) outcomes: Vec<(Asked, CompactOutcome)>,
}

/// The forwarder's address, with the timeouts of the configuration.
pub(crate) fn endpoint(config: &Config) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(config.forwarder.clone());
    let endpoint = endpoint.map_err(|error| Error::Forwarder {
        uri: config.forwarder.clone(),
        reason: error.to_string(),
    })?;
    if endpoint.uri().host().is_none() || endpoint.uri().scheme_str() != Some("http") {
        return Err(Error::Forwarder {
            uri: config.forwarder.clone(),
            reason: "it needs the scheme http and a host".into(),
        });
    }
    Ok(endpoint
        .connect_timeout(config.answer_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(config.answer_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES))
}

impl Session {
    /// Says who is there (S7), and waits for the epoch.
    pub(crate) async fn open(channel: Channel, config: &Config) -> Result<(Self, u64), Away> {
        let opening = Self::say_hello(channel, config);
        match tokio::time::timeout(config.answer_timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(silence(config.answer_timeout)),
        }
    }

    async fn say_hello(channel: Channel, config: &Config) -> Result<(Self, u64), Away> {
        let (outbound, batches) = mpsc::channel(WINDOW_BATCHES);
        send(&outbound, batch(config, 0, &[]))?;
        let stream = AffinityClient::new(channel)
            .signals(ReceiverStream::new(batches))
            .await;
        let inbound = stream
            .map_err(|status| explain_status(&status))?
            .into_inner();
        let mut session = Self {
            outbound,
            inbound,
            under_way: VecDeque::new(),
            sequence: 0,
            answer_timeout: config.answer_timeout,
        };
        let hello = session.receive().await?;
        Ok((session, hello.epoch))
    }

    /// Whether another batch may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.under_way.len() < WINDOW_BATCHES
    }

    /// Whether nothing is without an answer.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Sends what is asked as one batch. On an error it is under way all the same: see `abandon`.
    pub(crate) fn send(&mut self, config: &Config, asked: Vec<Asked>) -> Result<(), Away> {
        self.sequence += 1;
        let message = batch(config, self.sequence, &asked);
        let overdue = Instant::now() + self.answer_timeout;
        self.under_way.push_back(UnderWay {
            sequence: self.sequence,
            asked,
            overdue,
        });
        send(&self.outbound, message)
    }

    /// The next batch of answers. Nothing is lost if this is dropped before it is done.
    pub(crate) async fn answer(&mut self) -> Result<Answered, Away> {
        let overdue = self.under_way.front().map(|oldest| oldest.overdue);
        let answer = match overdue {
            Some(overdue) => tokio::time::timeout_at(overdue, self.receive())
                .await
                .map_err(|_| silence(self.answer_timeout))??,
            None => self.receive().await?,
        };
        self.pair(answer)
    }

    /// Outcomes are in the order of the signals (S3).
    fn pair(&mut self, answer: OutcomeBatch) -> Result<Answered, Away> {
        let fits = |oldest: &UnderWay| {
            (oldest.sequence, oldest.asked.len()) == (answer.sequence, answer.outcomes.len())
        };
        let Some(oldest) = self.under_way.pop_front_if(|oldest| fits(oldest)) else {
            return Err("its answers do not fit what was asked".into());
        };
        let outcomes = oldest.asked.into_iter().zip(answer.outcomes).collect();
        Ok(Answered {
            epoch: answer.epoch,
            outcomes,
        })
    }

    async fn receive(&mut self) -> Result<OutcomeBatch, Away> {
        match self.inbound.message().await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err("it closed the connection".into()),
            Err(status) => Err(explain_status(&status)),
        }
    }

    /// What is without an answer and will stay so.
    pub(crate) fn abandon(self) -> impl Iterator<Item = Asked> {
        self.under_way.into_iter().flat_map(|batch| batch.asked)
    }
}

/// The channel has room for a whole window, so that this fails only if the connection is gone.
fn send(outbound: &mpsc::Sender<SignalBatch>, batch: SignalBatch) -> Result<(), Away> {
    outbound
        .try_send(batch)
        .map_err(|_| Away::from("the connection broke"))
}

fn silence(answer_timeout: Duration) -> Away {
    format!("no answer within {answer_timeout:?}").into()
}

fn explain_status(status: &tonic::Status) -> Away {
    format!("{}: {}", status.code(), status.message()).into()
}

/// The innermost cause is the one that helps: "connection refused".
pub(crate) fn explain(error: &dyn std::error::Error) -> Away {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().into()
}
