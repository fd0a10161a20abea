//! Certificates that are read again (contract rule P1).

use crate::{
    bench::Edge,
    certificates::{Authority, FORWARDER, Files, Own, authority, certificate, connect},
    hang_up,
};
use std::time::{Duration, Instant};
use tether_api::v1::{OutcomeCode, StartRequest, affinity_client::AffinityClient};
use tonic::transport::Channel;

const BACKEND: &str = "
    [[service.backend]]
    name = \"shop-1\"
    address = \"10.9.0.11\"
";

/// Longer than a reload takes.
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(client: &AffinityClient<Channel>, source: &str) -> Option<OutcomeCode> {
    let request = StartRequest {
        service: "shop".into(),
        source: source.into(),
        ..StartRequest::default()
    };
    let started = client.clone().start(request).await.ok()?;
    Some(started.into_inner().code())
}

/// What a start by a new connection comes to.
async fn start_anew(edge: &Edge, trusted: &Authority, own: &Own) -> Option<OutcomeCode> {
    let client = connect(edge, trusted, Some(own)).await.ok()?;
    start(&client, "10.1.0.1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn p1_sighup_rotates_the_certificates_of_the_server_and_the_authority_of_its_clients() {
    let (old, new) = (authority(), authority());
    let files = Files::of(&old);
    let edge = Edge::real(&files.keys(), BACKEND);
    let (old_own, new_own) = (certificate(&old, "shop-1"), certificate(&new, "shop-1"));
    let open = connect(&edge, &old, Some(&old_own)).await.unwrap();
    assert_eq!(start(&open, "10.1.0.1").await, Some(OutcomeCode::Created));

    files.set_server(&certificate(&new, FORWARDER));
    files.set_client_ca(&new);
    hang_up();
    let begun = Instant::now();
    while start_anew(&edge, &new, &new_own).await.is_none() {
        assert!(
            begun.elapsed() < PATIENCE,
            "the new certificate is not in use"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(start_anew(&edge, &old, &old_own).await, None);
    assert_eq!(start_anew(&edge, &new, &old_own).await, None);

    // What was opened before goes on, and what it started is still there.
    let refreshed = start(&open, "10.1.0.1").await;
    assert_eq!(refreshed, Some(OutcomeCode::Refreshed));
}
