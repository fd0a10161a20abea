//! A forwarder's signal server that answers by a simple table and remembers what it heard.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tether_api::v1::{
    AffinityEntry, CompactOutcome, EndRequest, Event, ExtendRequest, ListRequest, Outcome,
    OutcomeBatch, OutcomeCode, Signal, SignalBatch, StartRequest, WatchRequest,
    affinity_server::{Affinity, AffinityServer},
    signal::Operation,
};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Server, ServerTlsConfig},
};

/// Longer than anything here takes; a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What it was told, and how it behaves.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) batches: Vec<SignalBatch>,
    pub(crate) epoch: u64,
    /// Hears batches with signals and says nothing.
    pub(crate) is_mute: bool,
    /// Breaks the stream with this instead of an answer to signals.
    pub(crate) fails: Option<Code>,
    /// Sessions that have said hello.
    pub(crate) sessions: usize,
    /// What it says to starts of these sources instead.
    pub(crate) refusals: HashMap<String, OutcomeCode>,
    generations: HashMap<String, u64>,
    last_generation: u64,
}

impl Heard {
    /// All signals so far, as `start 10.1.2.3`.
    pub(crate) fn said(&self) -> Vec<String> {
        self.signals().map(say).collect()
    }

    pub(crate) fn signals(&self) -> impl Iterator<Item = &Signal> {
        self.batches.iter().flat_map(|batch| &batch.signals)
    }

    /// What it says to a batch; `None`: nothing.
    fn hear(&mut self, batch: SignalBatch) -> Option<Result<OutcomeBatch, Status>> {
        let is_hello = batch.signals.is_empty();
        self.sessions += usize::from(is_hello);
        let answer = match self.fails.filter(|_| !is_hello) {
            Some(code) => Some(Err(Status::new(code, "not now"))),
            None if self.is_mute && !is_hello => None,
            None => Some(Ok(self.answer(&batch))),
        };
        self.batches.push(batch);
        answer
    }

    fn answer(&mut self, batch: &SignalBatch) -> OutcomeBatch {
        let outcomes = batch
            .signals
            .iter()
            .map(|signal| self.outcome(signal))
            .collect();
        OutcomeBatch {
            sequence: batch.sequence,
            epoch: self.epoch,
            outcomes,
        }
    }

    fn outcome(&mut self, signal: &Signal) -> CompactOutcome {
        let source = signal.source().unwrap().to_string();
        let code = match signal.operation() {
            Operation::Start => match self.refusals.get(&source) {
                Some(refusal) => *refusal,
                None if self.generations.contains_key(&source) => OutcomeCode::Refreshed,
                None => {
                    self.last_generation += 1;
                    self.generations
                        .insert(source.clone(), self.last_generation);
                    OutcomeCode::Created
                }
            },
            Operation::Extend if self.generations.contains_key(&source) => OutcomeCode::Extended,
            Operation::End if self.generations.remove(&source).is_some() => OutcomeCode::Ended,
            Operation::Extend | Operation::End => OutcomeCode::NotFound,
            Operation::Unspecified => OutcomeCode::Invalid,
        };
        let duration_ms = if signal.duration_ms == 0 {
            60_000
        } else {
            signal.duration_ms
        };
        let granted = if code.is_positive() { duration_ms } else { 0 };
        CompactOutcome {
            code: code.into(),
            granted_ms: granted,
            remaining_ms: granted,
            generation: self.generations.get(&source).copied().unwrap_or_default(),
            ..CompactOutcome::default()
        }
    }
}

fn say(signal: &Signal) -> String {
    let operation = signal.operation().as_str_name().to_lowercase();
    format!("{operation} {}", signal.source().unwrap())
}

type Shared = Arc<(Mutex<Heard>, Condvar)>;

pub(crate) struct Forwarder {
    pub(crate) address: SocketAddr,
    heard: Shared,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Serves on a loopback address of its own, so that nobody takes its port while it is stopped.
    pub(crate) fn start(epoch: u64) -> Self {
        Self::start_at(Self::free_address(), epoch)
    }

    pub(crate) fn free_address() -> SocketAddr {
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let [.., a, b] = std::process::id().to_be_bytes();
        let address = [127, a, b, COUNT.fetch_add(1, Ordering::Relaxed)];
        (address, 7470).into()
    }

    /// Serves again where another has stopped.
    pub(crate) fn start_at(address: SocketAddr, epoch: u64) -> Self {
        Self::start_with(address, epoch, Server::builder())
    }

    /// Serves by mutual TLS.
    pub(crate) fn start_secure(address: SocketAddr, tls: ServerTlsConfig) -> Self {
        Self::start_with(address, 1, Server::builder().tls_config(tls).unwrap())
    }

    fn start_with(address: SocketAddr, epoch: u64, server: Server) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Shared::default();
        heard.0.lock().unwrap().epoch = epoch;
        let (stop, stopped) = oneshot::channel();
        let service = Service {
            heard: Arc::clone(&heard),
        };
        let serving = thread::spawn(move || serve(listener, server, service, stopped));
        Self {
            address,
            heard,
            stop: Some(stop),
            serving: Some(serving),
        }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.0.lock().unwrap()
    }

    /// Waits until it has heard enough.
    pub(crate) fn wait_until(&self, enough: impl Fn(&Heard) -> bool) -> MutexGuard<'_, Heard> {
        let (guard, waited) = self
            .heard
            .1
            .wait_timeout_while(self.heard(), PATIENCE, |heard| !enough(heard))
            .unwrap();
        assert!(!waited.timed_out(), "it heard only {:?}", guard.said());
        guard
    }

    /// Breaks all connections and gives up the port.
    pub(crate) fn stop(mut self) {
        self.stop_now();
    }

    fn stop_now(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            serving.join().unwrap();
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop_now();
    }
}

fn serve(
    listener: TcpListener,
    mut server: Server,
    service: Service,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
        let server = server
            .add_service(AffinityServer::new(service))
            .serve_with_incoming(incoming);
        tokio::select! {
            result = server => result.unwrap(),
            _ = stopped => {}
        }
    });
}

struct Service {
    heard: Shared,
}

#[tonic::async_trait]
impl Affinity for Service {
    type ListStream = ReceiverStream<Result<AffinityEntry, Status>>;
    type WatchStream = ReceiverStream<Result<Event, Status>>;
    type SignalsStream = ReceiverStream<Result<OutcomeBatch, Status>>;

    async fn signals(
        &self,
        request: Request<Streaming<SignalBatch>>,
    ) -> Result<Response<Self::SignalsStream>, Status> {
        let mut batches = request.into_inner();
        let (answers, stream) = mpsc::channel(64);
        let heard = Arc::clone(&self.heard);
        tokio::spawn(async move {
            while let Ok(Some(batch)) = batches.message().await {
                let answer = heard.0.lock().unwrap().hear(batch);
                heard.1.notify_all();
                let Some(answer) = answer else { continue };
                let is_last = answer.is_err();
                if answers.send(answer).await.is_err() || is_last {
                    break;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn start(&self, _: Request<StartRequest>) -> Result<Response<Outcome>, Status> {
        Err(Status::unimplemented("the library sends batches"))
    }

    async fn extend(&self, _: Request<ExtendRequest>) -> Result<Response<Outcome>, Status> {
        Err(Status::unimplemented("the library sends batches"))
    }

    async fn end(&self, _: Request<EndRequest>) -> Result<Response<Outcome>, Status> {
        Err(Status::unimplemented("the library sends batches"))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        Err(Status::unimplemented("the library does not ask"))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("the library does not ask"))
    }
}
