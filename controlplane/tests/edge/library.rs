//! The client library against the real control thread, over real connections.

use crate::bench::Edge;
use std::time::{Duration, Instant};
use tether_api::v1::{AffinityEntry, ListRequest};
use tether_client::{Client, Options};
use tokio_stream::StreamExt as _;

const PATIENCE: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

const BACKEND: &str = r#"
    [[service.backend]]
    name = "shop-1"
    address = "10.9.0.11"
    port = 80
    signal_from = ["127.0.0.1"]
"#;

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
