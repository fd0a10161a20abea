//! Who connects and says nothing, or asks and does not listen (contract rule S10).

use super::{AT_ONCE, Scene, start};
use crate::{
    bench::{BACKEND, BY_ADDRESS, Edge, decide},
    certificates::{FORWARDER, Own},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use std::{sync::Arc, time::Duration};
use tether_api::v1::{ListRequest, OutcomeCode, SignalBatch, signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// By when the forwarder gives up on a peer that has not begun: `server/limits.rs` has the waits.
const GIVEN_UP: Duration = Duration::from_secs(15);

async fn dial(edge: &Edge) -> TcpStream {
    TcpStream::connect(edge.signals.unwrap()).await.unwrap()
}

/// A TLS connection on which nothing was said.
async fn secure(scene: &Scene, own: &Own) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(scene.authority.der().clone()).unwrap();
    let chain = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols.push(b"h2".to_vec());
    let name = ServerName::try_from(FORWARDER).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect(name, dial(&scene.edge).await)
        .await
        .unwrap()
}

/// Waits until the forwarder has hung up, whatever it says before.
async fn is_given_up(mut stream: impl AsyncRead + Unpin) {
    let begun = Instant::now();
    let mut said = [0; 1024];
    let ended = async { while stream.read(&mut said).await.is_ok_and(|read| read > 0) {} };
    let ended = timeout(GIVEN_UP, ended).await;
    assert!(ended.is_ok(), "still there after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s10_a_peer_that_does_not_begin_is_given_up() {
    let mut scene = Scene::new().await;
    let plain = Edge::with(BY_ADDRESS, BACKEND, decide);
    let good = scene.good.clone();
    let no_preface = secure(&scene, &good).await;
    let mut half_a_preface = secure(&scene, &good).await;
    half_a_preface.write_all(b"PRI * HTTP/2").await.unwrap();
    let no_handshake = dial(&scene.edge).await;
    let no_preface_in_plain = dial(&plain).await;
    scene.is_well().await;
    tokio::join!(
        is_given_up(no_preface),
        is_given_up(half_a_preface),
        is_given_up(no_handshake),
        is_given_up(no_preface_in_plain),
    );
    scene.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s10_a_thousand_silent_connections_delay_nobody() {
    let mut scene = Scene::new().await;
    let mut silent = Vec::new();
    for _ in 0..1000 {
        silent.push(dial(&scene.edge).await);
    }
    let good = scene.good.clone();
    let mut secured = Vec::new();
    for _ in 0..50 {
        secured.push(secure(&scene, &good).await);
    }
    for _ in 0..10 {
        scene.is_well().await;
    }
    drop((silent, secured));
    scene.is_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s10_a_client_that_half_closes_is_let_go() {
    let mut scene = Scene::new().await;
    let good = scene.good.clone();
    let mut at_once = dial(&scene.edge).await;
    at_once.shutdown().await.unwrap();
    is_given_up(at_once).await;
    scene.is_well().await;
    let mut after_preface = secure(&scene, &good).await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", settings.as_slice()].concat();
    after_preface.write_all(&preface).await.unwrap();
    after_preface.shutdown().await.unwrap();
    is_given_up(after_preface).await;
    scene.is_well().await;
}

fn batch(sequence: u64, count: u32) -> SignalBatch {
    let start = |number: u32| {
        let mut start = tether_api::v1::Signal {
            operation: signal::Operation::Start.into(),
            service_index: 1,
            ..Default::default()
        };
        let source = format!("10.5.{}.{}", number / 250, number % 250 + 1);
        start.set_source(&source.parse().unwrap());
        start
    };
    SignalBatch {
        sequence,
        services: vec!["shop".into()],
        signals: (0..count).map(start).collect(),
        ..SignalBatch::default()
    }
}

/// Lists of more entries than fit any buffer, and outcomes of more batches, that nobody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s10_who_asks_and_never_reads_stops_nobody_else() {
    let mut scene = Scene::new().await;
    let mut client = scene.client(&scene.good).await;
    let sent = tokio_stream::iter([batch(0, 4000)]);
    let mut answers = client.signals(sent).await.unwrap().into_inner();
    let outcomes = answers.message().await.unwrap().unwrap().outcomes;
    let created = outcomes.iter();
    let created = created.filter(|it| it.code() == OutcomeCode::Created);
    assert_eq!(created.count(), 4000);

    let mut unread = Vec::new();
    let mut unheard = Vec::new();
    for _ in 0..4 {
        let mut client = scene.client(&scene.good).await;
        for _ in 0..10 {
            unread.push(client.list(ListRequest::default()).await.unwrap());
        }
        let sent = tokio_stream::iter((0..60).map(|sequence| batch(sequence, 500)));
        unheard.push(client.signals(sent).await.unwrap());
        scene.is_well().await;
    }
    // Who reads after all finds everything.
    let mut late = unread.pop().unwrap().into_inner();
    let mut entries = 0;
    while late.message().await.unwrap().is_some() {
        entries += 1;
    }
    assert!(entries >= 4000, "{entries} entries");
    let begun = Instant::now();
    let mut client = scene.client(&scene.good).await;
    client.start(start("10.6.0.1")).await.unwrap();
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

/// As many as there are places: those who have proven nothing make room for who comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s10_silent_connections_do_not_use_up_all_places() {
    let mut scene = Scene::new().await;
    let mut silent = Vec::new();
    for _ in 0..4096 {
        silent.push(dial(&scene.edge).await);
    }
    scene.is_well().await;
    drop(silent);
}
