//! `tetherd` on a port that leads nowhere, on loopback, without hugepages.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    collections::HashMap,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant},
};
use tether_api::v1::{EndRequest, ListRequest, affinity_client::AffinityClient};
use tonic::transport::{Channel, Endpoint};

pub(crate) type Client = AffinityClient<Channel>;

/// How long to wait for what should come soon.
const SOON: Duration = Duration::from_secs(20);

/// Where all daemons have their files.
#[derive(Debug)]
pub(crate) struct Home {
    directory: tempfile::TempDir,
    signals: SocketAddr,
}

impl Home {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Free now, and nobody else is given it in so short a time.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let signals = free.local_addr().unwrap();
        let path = directory.path().display();
        let text = format!(
            r#"
            [dpdk]
            args = ["--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "--no-shconf", "--vdev=net_null0"]
            [workers]
            cores = [0]
            flows = 1024
            idle = "yield"
            [[port]]
            device = "net_null0"
            addresses = ["10.9.0.2/24"]
            [control]
            signal = "{signals}"
            auth = "address"
            operator = "{path}/operator.sock"
            state = "{path}/state"
            [limits]
            affinities = 10000
            [[service]]
            name = "shop"
            address = "10.9.0.100"
            port = 80
            [service.affinity]
            duration_cap = "8h"
            [[service.backend]]
            name = "shop-1"
            address = "10.9.0.11"
            signal_from = ["127.0.0.1"]
            "#
        );
        let home = Self { directory, signals };
        fs::write(home.path("tether.toml"), text).unwrap();
        home
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("tetherd.log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// One that runs; killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon<'a> {
    home: &'a Home,
    child: Child,
}

impl<'a> Daemon<'a> {
    pub(crate) fn start(home: &'a Home) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(home.path("tetherd.log"))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tetherd"))
            .arg("--config")
            .arg(home.path("tether.toml"))
            .args(["--log", "warn"])
            .env("RUNTIME_DIRECTORY", home.directory.path())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { home, child }
    }

    /// Connects as soon as it answers.
    pub(crate) async fn connect(&self) -> Client {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.home.signals)).unwrap();
        let begun = Instant::now();
        loop {
            if let Ok(channel) = endpoint.connect().await {
                let mut client = AffinityClient::new(channel);
                if client.list(ListRequest::default()).await.is_ok() {
                    return client;
                }
            }
            let log = self.home.log();
            assert!(begun.elapsed() < SOON, "tetherd does not listen: {log}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.home.log());
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // Either may fail: it may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The generations of all affinities, by source.
pub(crate) async fn list(client: &mut Client) -> HashMap<String, u64> {
    let listed = client.list(ListRequest::default()).await.unwrap();
    let mut entries = listed.into_inner();
    let mut found = HashMap::new();
    while let Some(entry) = entries.message().await.unwrap() {
        found.insert(entry.source, entry.generation);
    }
    found
}

/// The epoch, which is in every outcome.
pub(crate) async fn epoch(client: &mut Client) -> u64 {
    let request = EndRequest {
        service: "shop".into(),
        source: "192.0.2.1".into(),
        ..EndRequest::default()
    };
    client.end(request).await.unwrap().into_inner().epoch
}
