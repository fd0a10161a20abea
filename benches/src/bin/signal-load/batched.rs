//! Signals in batches on one stream, several of them under way.

use crate::{
    Report, Target,
    clients::{batch, is_granted},
    connection::connect,
};
use std::{
    error::Error,
    ops::Range,
    time::{Duration, Instant},
};
use tether_api::v1::{OutcomeBatch, SignalBatch, signal::Operation};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// Signals of a batch.
const BATCH: u32 = 512;
/// Batches without an answer.
const UNDER_WAY: u32 = 8;

/// One stream.
pub(crate) struct Stream {
    outbound: mpsc::Sender<SignalBatch>,
    inbound: Streaming<OutcomeBatch>,
    sequence: u64,
    under_way: u32,
    pub(crate) signals: u64,
    pub(crate) refused: u64,
}

impl Stream {
    /// Connects; the first answer has come.
    pub(crate) async fn open(target: &Target) -> Result<Self, Box<dyn Error>> {
        let (outbound, batches) = mpsc::channel(UNDER_WAY as usize + 1);
        outbound.send(SignalBatch::default()).await?;
        let mut client = connect(target).await?;
        let inbound = client.signals(ReceiverStream::new(batches)).await?;
        let mut stream = Self {
            outbound,
            inbound: inbound.into_inner(),
            sequence: 0,
            under_way: 1,
            signals: 0,
            refused: 0,
        };
        stream.answer().await?;
        Ok(stream)
    }

    /// Sends one batch, once there is room for it.
    pub(crate) async fn send(
        &mut self,
        target: &Target,
        clients: Range<u32>,
        operation: Operation,
    ) -> Result<(), Box<dyn Error>> {
        while self.under_way >= UNDER_WAY {
            self.answer().await?;
        }
        self.sequence += 1;
        self.under_way += 1;
        let batch = batch(target.destination, self.sequence, clients, operation);
        Ok(self.outbound.send(batch).await?)
    }

    /// Waits for all answers.
    pub(crate) async fn settle(&mut self) -> Result<(), Box<dyn Error>> {
        while self.under_way > 0 {
            self.answer().await?;
        }
        Ok(())
    }

    async fn answer(&mut self) -> Result<(), Box<dyn Error>> {
        let answer = self.inbound.message().await?;
        let answer = answer.ok_or("the forwarder closed the stream")?;
        self.under_way -= 1;
        self.signals += answer.outcomes.len() as u64;
        let granted = answer.outcomes.iter().filter(|it| is_granted(it.code()));
        self.refused += (answer.outcomes.len() - granted.count()) as u64;
        Ok(())
    }
}

/// Starts so many affinities.
pub(crate) async fn fill(target: &Target, affinities: u32) -> Result<Report, Box<dyn Error>> {
    let mut stream = Stream::open(target).await?;
    let began = Instant::now();
    for clients in blocks(affinities) {
        stream.send(target, clients, Operation::Start).await?;
    }
    stream.settle().await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Report::new(stream.signals, stream.refused, seconds))
}

/// Starts them all, ends them all, and so on for so many seconds.
pub(crate) async fn load(
    target: &Target,
    affinities: u32,
    seconds: f64,
) -> Result<Report, Box<dyn Error>> {
    let mut stream = Stream::open(target).await?;
    let began = Instant::now();
    let rounds = [Operation::Start, Operation::End].into_iter().cycle();
    let work = rounds.flat_map(|operation| blocks(affinities).map(move |it| (operation, it)));
    for (operation, clients) in work {
        if began.elapsed() >= Duration::from_secs_f64(seconds) {
            break;
        }
        stream.send(target, clients, operation).await?;
    }
    stream.settle().await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Report::new(stream.signals, stream.refused, seconds))
}

fn blocks(affinities: u32) -> impl Iterator<Item = Range<u32>> {
    let starts = (0..affinities).step_by(BATCH as usize);
    starts.map(move |first| first..affinities.min(first + BATCH))
}
