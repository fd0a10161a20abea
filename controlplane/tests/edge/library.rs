//! The client library against the real control thread, over real connections.

use crate::{
    bench::{BY_ADDRESS, Edge},
    python::{BACKEND, Certificates},
};
use std::time::{Duration, Instant};
use tether_api::v1::{AffinityEntry, ListRequest};
use tether_client::{Client, Options, Tls};
use tokio_stream::StreamExt as _;

const PATIENCE: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

/// On an address of its own, so that another can be started in its place.
fn edge() -> Edge {
    let [.., a, b] = std::process::id().to_be_bytes();
    let keys = format!("signal = \"127.{a}.{b}.1:7470\"\nauth = \"address\"");
    Edge::real(&keys, BACKEND)
}

/// All that the table has, by source.
async fn list(edge: &Edge) -> Vec<AffinityEntry> {
    let listing = edge.client().await.list(ListRequest::default()).await;
    let entries = listing.unwrap().into_inner().map(|entry| entry.unwrap());
    let mut entries: Vec<_> = entries.collect().await;
    entries.sort_by(|one, other| one.source.cmp(&other.source));
    entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn l3_a_forwarder_that_has_lost_its_table_is_told_all_that_is_held() {
    let before = edge();
    let client = Client::builder(before.endpoint().uri().to_string())
        .reconnect(SECOND / 100, SECOND / 20)
        .connect()
        .unwrap();
    let options = Options::new().duration(60 * SECOND);
    let start = |source: &str, options| {
        let affinity = client.start_source("shop", source.parse().unwrap(), options);
        let started = affinity.wait(PATIENCE).unwrap();
        assert!(started.is_effective(), "{started:?}");
        affinity
    };
    let _plain = start("10.1.2.3", options);
    let extended = start("10.1.2.4", options);
    let _bound = start("10.1.2.5:5000", options.bound_to_session());
    let ended = start("10.1.2.6", options);
    let extension = extended.extend(Some(3600 * SECOND)).wait(PATIENCE).unwrap();
    assert_eq!(extension.remaining, Some(3600 * SECOND));
    let epoch = extension.epoch;
    drop(before);
    drop(ended.end().wait(PATIENCE));

    let after = edge();
    let began = Instant::now();
    let is_all =
        |entries: &[AffinityEntry]| entries.len() == 3 && entries[1].remaining_ms > 3_000_000;
    let entries = loop {
        let entries = list(&after).await;
        if is_all(&entries) {
            break entries;
        }
        assert!(began.elapsed() < PATIENCE, "{entries:?}");
    };
    let sources: Vec<_> = entries.iter().map(|entry| entry.source.as_str()).collect();
    assert_eq!(sources, ["10.1.2.3", "10.1.2.4", "10.1.2.5:5000"]);
    assert!(entries.iter().all(|entry| entry.duration_ms == 60_000));
    assert!((1..=60_000).contains(&entries[0].remaining_ms));
    let again = extended.extend(None).wait(PATIENCE).unwrap();
    assert_ne!(again.epoch, epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p1_the_library_shows_the_certificate_of_its_backend() {
    let certificates = Certificates::new();
    let edge = certificates.edge();
    let files = ["ca.pem", "shop-1.pem", "shop-1.key"].map(|name| certificates.path(name));
    let [ca, certificate, key] = files.each_ref().map(String::as_str);
    let tls = Tls::new(ca, certificate, key).server_name("forwarder");
    let client = Client::builder(format!("https://{}", edge.signals.unwrap()));
    let client = client.tls(tls).connect().unwrap();
    let affinity = client.start_source("shop", "10.1.2.3".parse().unwrap(), Options::new());
    let started = affinity.wait(PATIENCE).unwrap();
    assert!(started.is_effective(), "{started:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn s7_a_process_that_comes_back_has_nothing_left_before_it_signals() {
    let edge = Edge::real(BY_ADDRESS, BACKEND);
    let uri = edge.endpoint().uri().to_string();
    let before = Client::builder(&uri).connect().unwrap();
    for (source, options) in [
        ("10.1.2.3", Options::new()),
        ("10.1.2.4", Options::new().keep_on_reboot()),
    ] {
        let started = before.start_source("shop", source.parse().unwrap(), options);
        assert!(started.detach().wait(PATIENCE).unwrap().is_effective());
    }
    drop(before);
    assert_eq!(list(&edge).await.len(), 2, "it is gone, and may come back");
    let _after = Client::builder(&uri).connect().unwrap();
    let began = Instant::now();
    let left = loop {
        let left = list(&edge).await;
        if left.len() < 2 {
            break left;
        }
        assert!(began.elapsed() < PATIENCE, "{left:?}");
    };
    assert_eq!(left[0].source, "10.1.2.4", "{left:?}");
}
