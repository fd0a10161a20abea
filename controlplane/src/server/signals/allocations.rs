//! What a batch of signals takes from the allocator, from its bytes to those of its answer: the same
//! however many signals it has. The tables have grown before it is counted.

use super::{read, reply, session::Session};
use crate::{
    command::Command,
    control::tests::{Bench, CONFIG, restart::Machine},
    journal,
    server::commands::Commands,
    signal::Identity,
};
use http_body_util::{BodyExt as _, Full};
use prost::{
    Message,
    bytes::{Buf as _, BufMut as _, Bytes, BytesMut},
};
use std::net::Ipv4Addr;
use tether_api::v1::{OutcomeBatch, OutcomeCode, Signal, SignalBatch, signal::Operation};
use tokio::sync::{oneshot, watch};
use tonic::{
    Streaming,
    codec::{Codec as _, EncodeBody, SingleMessageCompressionOverride},
};
use tonic_prost::ProstCodec;

const FEW: u32 = 1000;
const MANY: u32 = 2000;
/// By which so many signals may differ: what grows by doubling grows once more.
const MORE: u64 = 10;

/// What a backend does to a client, and how that is answered.
const LIFE: [(Operation, OutcomeCode); 4] = [
    (Operation::Start, OutcomeCode::Created),
    (Operation::Start, OutcomeCode::Refreshed),
    (Operation::Extend, OutcomeCode::Extended),
    (Operation::End, OutcomeCode::Ended),
];

/// How a batch says which service it is about.
type Names = fn(&mut SignalBatch);

/// By the VIP and by the backend's own address in turn: nothing is known from the signal before.
fn by_address(batch: &mut SignalBatch) {
    for (signal, place) in batch.signals.iter_mut().zip(0_usize..) {
        let destination = ["10.9.0.100:80", "10.9.0.11:80"][place % 2];
        signal.set_destination(destination.parse().unwrap());
    }
}

/// By name, with everything else that a signal may say.
fn by_name(batch: &mut SignalBatch) {
    batch.services = vec!["shop".into()];
    batch.backend = "shop-1".into();
    batch.boot_id = 7;
    for signal in &mut batch.signals {
        signal.service_index = 1;
        signal.duration_ms = 90_000;
        signal.bound_to_session = true;
    }
}

/// A batch about so many clients: addresses, and addresses with ports.
fn batch(signals: u32, operation: Operation, names: Names) -> SignalBatch {
    let first = Ipv4Addr::new(20, 0, 0, 0).to_bits();
    let signals = (0..signals).map(|number| {
        let mut signal = Signal::default();
        signal.set_operation(operation);
        let address = Ipv4Addr::from_bits(first + number);
        let source = match number % 2 {
            0 => address.to_string(),
            _ => format!("{address}:5000"),
        };
        signal.set_source(&source.parse().unwrap());
        signal
    });
    let mut batch = SignalBatch {
        signals: signals.collect(),
        ..SignalBatch::default()
    };
    names(&mut batch);
    batch
}

fn sender() -> Identity {
    Identity::Address(Ipv4Addr::new(10, 8, 0, 11).into())
}

/// The allocations of a closure, and what it gives.
fn counted<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let mut made = None;
    let counted = allocation_counter::measure(|| made = Some(work()));
    (counted.count_total, made.unwrap())
}

/// A control thread with a journal.
struct Way {
    bench: Bench,
    _directory: tempfile::TempDir,
}

impl Way {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let loaded = journal::load(directory.path(), Machine::new().stamps()).unwrap();
        Self {
            bench: Bench::with_state(CONFIG, loaded),
            _directory: directory,
        }
    }

    /// Takes a batch through each of its stages; what each of them allocates.
    fn stages(&mut self, sent: &SignalBatch, code: OutcomeCode) -> [(&'static str, u64); 4] {
        let mut bytes = BytesMut::from(&sent.encode_to_vec()[..]);
        let (decode, batch) = counted(|| SignalBatch::decode(&mut bytes).unwrap());
        let (read, signals) = counted(|| {
            let signals = read::batch(&batch, 7);
            assert_eq!(read::wrong(&signals), []);
            signals
        });
        let (reply, mut decided) = oneshot::channel();
        let commands = vec![Command::Signals {
            identity: sender(),
            signals,
            queued: std::time::Instant::now(),
            reply,
        }];
        self.bench.now = self.bench.now + 1000;
        let (turn, ()) = counted(|| self.bench.control.turn(self.bench.now, commands));
        let decided = decided.try_recv().unwrap().unwrap();
        let (answer, bytes) = counted(|| {
            let answer = reply::batch(3, &batch.signals, decided);
            answer.encode_to_vec()
        });
        assert_all(&OutcomeBatch::decode(&bytes[..]).unwrap(), sent, code);
        [
            ("decode", decode),
            ("read", read),
            ("turn", turn),
            ("answer", answer),
        ]
    }

    /// Takes batches through tonic's codec and a session, as one stream; all that this allocates.
    fn stream(&mut self, sent: &[(SignalBatch, OutcomeCode)]) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        let body = Full::new(framed(sent.iter().map(|(batch, _)| batch)));
        self.bench.now = self.bench.now + 1000;
        let (count, answer) = counted(|| runtime.block_on(self.answer(body)));
        let mut rest = Bytes::from(answer);
        for (sent, code) in sent {
            rest.advance(1);
            let length = rest.get_u32() as usize;
            let answer = OutcomeBatch::decode(rest.split_to(length)).unwrap();
            assert_all(&answer, sent, *code);
        }
        count
    }

    /// All that a stream is answered.
    async fn answer(&mut self, body: Full<Bytes>) -> Vec<u8> {
        let (queue, commands) = crossbeam_channel::bounded(8);
        let (_stop, stop) = watch::channel(false);
        let session = Session {
            id: 7,
            identity: sender(),
            commands: Commands::new(queue),
            stop,
        };
        let mut codec = ProstCodec::<OutcomeBatch, SignalBatch>::default();
        let answers = session.open(Streaming::new_request(codec.decoder(), body, None, None));
        let once = SingleMessageCompressionOverride::default();
        let body = EncodeBody::new_server(codec.encoder(), answers, None, once, None);
        let mut body = Box::pin(body);
        let mut answer = Vec::new();
        loop {
            tokio::select! {
                biased;
                frame = body.frame() => match frame.map(|it| it.unwrap().into_data()) {
                    Some(Ok(bytes)) => answer.extend(bytes),
                    Some(Err(_trailers)) => {}
                    None => return answer,
                },
                () = tokio::task::yield_now() => {
                    let taken: Vec<_> = commands.try_iter().collect();
                    self.bench.control.turn(self.bench.now, taken);
                }
            }
        }
    }
}

/// Messages as gRPC has them on the wire.
fn framed<'a>(batches: impl Iterator<Item = &'a SignalBatch>) -> Bytes {
    let mut framed = BytesMut::new();
    for batch in batches {
        framed.put_u8(0);
        framed.put_u32(u32::try_from(batch.encoded_len()).unwrap());
        batch.encode(&mut framed).unwrap();
    }
    framed.freeze()
}

#[track_caller]
fn assert_all(answer: &OutcomeBatch, sent: &SignalBatch, code: OutcomeCode) {
    assert_eq!(answer.outcomes.len(), sent.signals.len());
    let other = answer.outcomes.iter().find(|it| it.code() != code);
    assert_eq!(other, None, "instead of {code:?}");
}

/// What a backend does to so many clients, after which there is nothing as before.
fn life(signals: u32, names: Names) -> [(SignalBatch, OutcomeCode); 4] {
    LIFE.map(|(operation, code)| (batch(signals, operation, names), code))
}

#[test]
fn no_stage_allocates_for_each_signal() {
    for names in [by_address, by_name] as [Names; 2] {
        let mut way = Way::new();
        let mut live = |signals| life(signals, names).map(|(batch, code)| way.stages(&batch, code));
        let [_, _, few, many] = [MANY, MANY, FEW, MANY].map(&mut live);
        let stages = few.iter().flatten().zip(many.iter().flatten());
        for ((_, few_count), (_, many_count)) in stages {
            let more = many_count.saturating_sub(*few_count);
            assert!(more <= MORE, "{FEW}: {few:?}\n{MANY}: {many:?}");
        }
    }
}

#[test]
fn nor_does_a_stream() {
    for names in [by_address, by_name] as [Names; 2] {
        let mut way = Way::new();
        let mut live = |signals| way.stream(&life(signals, names));
        let [_, _, few, many] = [MANY, MANY, FEW, MANY].map(&mut live);
        let more = many.saturating_sub(few);
        assert!(more <= 4 * MORE, "{FEW}: {few}, {MANY}: {many}");
    }
}
