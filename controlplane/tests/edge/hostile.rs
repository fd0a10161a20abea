//! Who means harm, or is broken: strangers, impostors, noise, silence, greed. After each of them a
//! good server's start is granted at once, and another backend's affinity is what it was.

mod noise;
mod silence;
mod strangers;

use crate::{
    bench::Edge,
    certificates::{Authority, Files, Own, authority, certificate, connect},
};
use std::time::Duration;
use tether_api::v1::{
    AffinityEntry, ListRequest, OutcomeCode, StartRequest, affinity_client::AffinityClient,
};
use tokio::time::timeout;
use tonic::transport::Channel;

/// Within this a good server has its answer, connecting included; tests share a small machine.
const AT_ONCE: Duration = Duration::from_secs(3);

/// The other backend's affinity.
const HELD: &str = "10.2.0.1";

const BACKENDS: &str = r#"
    [[service.backend]]
    name = "shop-1"
    address = "10.9.0.11"
    [[service.backend]]
    name = "shop-2"
    address = "10.9.0.12"
"#;

/// A forwarder with a good server and another one, known by their certificates.
struct Scene {
    edge: Edge,
    authority: Authority,
    good: Own,
    other: Own,
    held: AffinityEntry,
    /// Starts of the good server so far.
    starts: u32,
    _files: Files,
}

fn start(source: &str) -> StartRequest {
    StartRequest {
        service: "shop".into(),
        source: source.into(),
        ..StartRequest::default()
    }
}

impl Scene {
    async fn new() -> Self {
        Self::with("").await
    }

    /// With further tables of the configuration.
    async fn with(tables: &str) -> Self {
        let authority = authority();
        let files = Files::of(&authority);
        let edge = Edge::real(&files.keys(), &format!("{BACKENDS}{tables}"));
        let mut scene = Self {
            good: certificate(&authority, "shop-1"),
            other: certificate(&authority, "shop-2"),
            edge,
            authority,
            held: AffinityEntry::default(),
            starts: 0,
            _files: files,
        };
        let started = scene.client(&scene.other).await.start(start(HELD)).await;
        assert_eq!(started.unwrap().into_inner().code(), OutcomeCode::Created);
        scene.held = scene.others().await;
        scene
    }

    async fn client(&self, own: &Own) -> AffinityClient<Channel> {
        connect(&self.edge, &self.authority, Some(own))
            .await
            .unwrap()
    }

    /// The one affinity of the other backend.
    async fn others(&self) -> AffinityEntry {
        let mut client = self.client(&self.other).await;
        let listed = client.list(ListRequest::default()).await;
        let mut listed = listed.unwrap().into_inner();
        let only = listed.message().await.unwrap().unwrap();
        assert_eq!(listed.message().await.unwrap(), None);
        only
    }

    /// The good server is served at once, over a connection of its own, and the other has what it had.
    async fn is_well(&mut self) {
        self.starts += 1;
        let source = format!("10.1.{}.{}", self.starts / 250, self.starts % 250 + 1);
        let started = async {
            let mut client = self.client(&self.good).await;
            client.start(start(&source)).await.unwrap().into_inner()
        };
        let outcome = timeout(AT_ONCE, started).await.expect("no ack at once");
        assert_eq!(outcome.code(), OutcomeCode::Created, "{outcome:?}");
        let held = timeout(AT_ONCE, self.others())
            .await
            .expect("no list at once");
        let same = (held.generation, &held.owner, held.duration_ms);
        let before = &self.held;
        let before = (before.generation, &before.owner, before.duration_ms);
        assert_eq!(same, before);
    }
}
