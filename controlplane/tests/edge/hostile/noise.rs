//! Bytes that are not what was expected there.

use super::{AT_ONCE, Scene, start};
use crate::{
    bench::{BY_ADDRESS, Edge},
    certificates::{authority, certificate, channel, connect},
};
use prost::bytes::{Buf as _, BufMut as _};
use tether_api::v1::OutcomeCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Pseudo-random bytes, the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

/// Sends bytes, and waits until the forwarder has hung up.
async fn send(edge: &Edge, bytes: &[u8]) {
    let mut stream = TcpStream::connect(edge.signals.unwrap()).await.unwrap();
    // Either may fail: it has hung up by then.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut rest = Vec::new();
    let hung_up = timeout(AT_ONCE, stream.read_to_end(&mut rest)).await;
    assert!(hung_up.is_ok(), "not hung up on {bytes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p1_what_is_no_tls_is_hung_up_on() {
    let mut scene = Scene::new().await;
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend(noise(1, 505));
    let endless_record = [0x16, 3, 1, 0xff, 0xff];
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
        PREFACE,
        &hello,
        &endless_record,
        &noise(2, 1 << 20),
        b"",
    ] {
        send(&scene.edge, bytes).await;
        scene.is_well().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p1_tls_and_noise_to_a_plain_port_harm_nobody() {
    let backend = "
        [[service.backend]]
        name = \"shop-1\"
        address = \"10.9.0.11\"
        signal_from = [\"127.0.0.1\"]
    ";
    let edge = Edge::real(BY_ADDRESS, backend);
    let authority = authority();
    let own = certificate(&authority, "shop-1");
    let secured = timeout(AT_ONCE, connect(&edge, &authority, Some(&own))).await;
    assert!(secured.expect("it hangs").is_err());
    let settings_beyond_all_bounds = [PREFACE, &[0xff; 64]].concat();
    let frames_of_noise = [PREFACE, &noise(3, 1 << 16)].concat();
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(),
        &settings_beyond_all_bounds,
        &frames_of_noise,
        &PREFACE[..20],
    ] {
        send(&edge, bytes).await;
    }
    let mut good = edge.client().await;
    let started = timeout(AT_ONCE, good.start(start("10.1.0.1"))).await;
    let outcome = started.unwrap().unwrap().into_inner();
    assert_eq!(outcome.code(), OutcomeCode::Created, "{outcome:?}");
}

/// Messages as bytes, whatever they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

async fn grpc(scene: &Scene) -> Grpc<Channel> {
    let channel = channel(&scene.edge, &scene.authority, Some(&scene.good));
    Grpc::new(channel.await.unwrap())
}

/// What comes of a message to a method that the good server sends.
async fn call(scene: &Scene, method: &'static str, message: &[u8]) -> Result<(), Code> {
    let mut grpc = grpc(scene).await;
    grpc.ready().await.unwrap();
    let request = Request::new(message.to_vec());
    let called = grpc.unary(request, PathAndQuery::from_static(method), Raw);
    let answered = timeout(AT_ONCE, called).await.expect("it hangs");
    answered.map(drop).map_err(|status| status.code())
}

const START: &str = "/tether.v1.Affinity/Start";
const LIST: &str = "/tether.v1.Affinity/List";

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p4_messages_that_are_none_or_too_long_are_errors() {
    let mut scene = Scene::new().await;
    let too_long = vec![0; (1 << 20) + 1];
    let cases: [(&'static str, &[u8], Code); 7] = [
        (START, &[0xff; 12], Code::Internal),
        (START, &[0x0a, 0x7f, 1], Code::Internal),
        (START, &[0x0a, 1, 0xff], Code::Internal),
        (START, &[0x08, 1], Code::Internal),
        (LIST, &[0x0a, 0x7f, 1], Code::Internal),
        (START, &too_long, Code::OutOfRange),
        ("/tether.v1.Affinity/Steal", &[], Code::Unimplemented),
    ];
    for (method, message, code) in cases {
        let length = message.len();
        let answered = call(&scene, method, message).await;
        assert_eq!(answered, Err(code), "{length} bytes to {method}");
        scene.is_well().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p4_thousands_of_messages_of_noise_harm_nobody() {
    let mut scene = Scene::new().await;
    let mut grpc = grpc(&scene).await;
    for seed in 0..1000 {
        let length = usize::try_from(seed % 97).unwrap();
        let message = noise(seed, length);
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static(START);
        // Nothing may hang; most are errors, some are starts that are refused.
        let called = grpc.unary(Request::new(message), path, Raw);
        let _ = timeout(AT_ONCE, called).await.expect("it hangs");
    }
    scene.is_well().await;
}
