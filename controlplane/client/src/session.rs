//! One connection to the forwarder: a `Signals` stream with batches under way in both directions.

use std::{collections::VecDeque, time::Duration};

use tether_api::v1::{CompactOutcome, OutcomeBatch, SignalBatch, affinity_client::AffinityClient};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::{
    Config,
    batch::{Asked, batch},
    dial::{Away, explain_refusal, explain_status, silence},
};

/// Batches that may be without an answer; more would only wait in the forwarder instead of here.
const WINDOW_BATCHES: usize = 8;

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
        let refused = |status| explain_refusal(config, &status);
        let inbound = stream.map_err(refused)?.into_inner();
        let mut session = Self {
            outbound,
            inbound,
            under_way: VecDeque::new(),
            sequence: 0,
            answer_timeout: config.answer_timeout,
        };
        let hello = session.receive().await.map_err(refused)?;
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
        let received = match overdue {
            Some(overdue) => tokio::time::timeout_at(overdue, self.receive())
                .await
                .map_err(|_| silence(self.answer_timeout))?,
            None => self.receive().await,
        };
        self.pair(received.map_err(|status| explain_status(&status))?)
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

    async fn receive(&mut self) -> Result<OutcomeBatch, Status> {
        let received = self.inbound.message().await?;
        received.ok_or_else(|| Status::unavailable("it closed the stream"))
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
