//! Signals without the library: unary calls in text, batches of bytes.

use tether_api::v1::{
    AffinityEntry, CompactOutcome, EndRequest, ExtendRequest, ListRequest, Outcome, Signal,
    SignalBatch, StartRequest, affinity_client::AffinityClient,
};
use tonic::{Status, transport::Channel};

use super::{namespace::Namespace, server::FORWARDER, vip::Vip};

/// A start of this source, by the name of the service.
pub fn start(vip: Vip, source: &str) -> StartRequest {
    StartRequest {
        service: vip.service.into(),
        source: source.into(),
        ..StartRequest::default()
    }
}

/// An extension by this much; 0: by its own duration.
pub fn extend(vip: Vip, source: &str, duration_ms: u64) -> ExtendRequest {
    ExtendRequest {
        service: vip.service.into(),
        source: source.into(),
        duration_ms,
        ..ExtendRequest::default()
    }
}

/// An end.
pub fn end(vip: Vip, source: &str) -> EndRequest {
    EndRequest {
        service: vip.service.into(),
        source: source.into(),
        ..EndRequest::default()
    }
}

/// Something to say to the forwarder, over a connection of its own.
pub trait Say {
    type Answer: Send;
    fn say(
        self,
        to: &mut AffinityClient<Channel>,
    ) -> impl Future<Output = Result<Self::Answer, Status>>;
}

impl Say for StartRequest {
    type Answer = Outcome;
    async fn say(self, to: &mut AffinityClient<Channel>) -> Result<Outcome, Status> {
        Ok(to.start(self).await?.into_inner())
    }
}

impl Say for ExtendRequest {
    type Answer = Outcome;
    async fn say(self, to: &mut AffinityClient<Channel>) -> Result<Outcome, Status> {
        Ok(to.extend(self).await?.into_inner())
    }
}

impl Say for EndRequest {
    type Answer = Outcome;
    async fn say(self, to: &mut AffinityClient<Channel>) -> Result<Outcome, Status> {
        Ok(to.end(self).await?.into_inner())
    }
}

/// All entries.
impl Say for ListRequest {
    type Answer = Vec<AffinityEntry>;
    async fn say(self, to: &mut AffinityClient<Channel>) -> Result<Self::Answer, Status> {
        let mut stream = to.list(self).await?.into_inner();
        let mut entries = Vec::new();
        while let Some(entry) = stream.message().await? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// Batches of one stream; the answer to each, in order.
impl Say for Vec<SignalBatch> {
    type Answer = Vec<Vec<CompactOutcome>>;
    async fn say(self, to: &mut AffinityClient<Channel>) -> Result<Self::Answer, Status> {
        let count = self.len();
        let mut answers = to.signals(tokio_stream::iter(self)).await?.into_inner();
        let mut outcomes = Vec::new();
        while outcomes.len() < count
            && let Some(batch) = answers.message().await?
        {
            outcomes.push(batch.outcomes);
        }
        Ok(outcomes)
    }
}

/// Says it from this host.
pub fn try_say<S: Say + Send>(host: &Namespace, what: S) -> Result<S::Answer, Status> {
    on_runtime(host, async || {
        let mut client = AffinityClient::connect(FORWARDER)
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        what.say(&mut client).await
    })
}

/// As `try_say`; the call itself must succeed.
#[track_caller]
pub fn say<S: Say + Send>(host: &Namespace, what: S) -> S::Answer {
    try_say(host, what).unwrap()
}

/// Runs async work on this host.
pub fn on_runtime<T: Send>(host: &Namespace, work: impl AsyncFnOnce() -> T + Send) -> T {
    host.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work())
    })
}

/// A signal of a batch about the first service that the batch names.
pub fn signal(operation: tether_api::v1::signal::Operation, source: &str) -> Signal {
    let mut signal = Signal {
        operation: operation.into(),
        service_index: 1,
        ..Signal::default()
    };
    signal.set_source(&source.parse().unwrap());
    signal
}
