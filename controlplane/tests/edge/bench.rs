//! An edge on ports of its own, and the control thread that the test puts behind it.

use crossbeam_channel::Receiver;
use std::{
    net::SocketAddr,
    path::PathBuf,
    thread::{self, JoinHandle},
};
use tether_api::{
    operator::PortCounters,
    v1::{OutcomeCode, affinity_client::AffinityClient},
};
use tether_controlplane::{
    command::{Command, Outcomes},
    config::Config,
    control::Control,
    master::Names,
    ports::{PortView, Ports},
    server::{self, Listeners, Server},
    signal::{Outcome, Signal},
};
use tether_dataplane::{Mac, clock::Clock, tables::id::BackendId};
use tonic::transport::{Channel, Endpoint};

/// The epoch of all answers.
pub(crate) const EPOCH: u64 = 7;

/// An edge at work; dropping it stops it.
pub(crate) struct Edge {
    pub(crate) signals: Option<SocketAddr>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) socket: PathBuf,
    pub(crate) file: PathBuf,
    pub(crate) server: Option<Server>,
    control: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

/// The port of [`text`].
struct OnePort;

impl Ports for OnePort {
    fn view(&self) -> Vec<PortView> {
        vec![PortView {
            device: "0000:03:00.0".to_owned(),
            driver: "none".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            offloads: Vec::new(),
            link_up: true,
            counters: PortCounters::default(),
        }]
    }

    fn cycles_per_second(&self) -> u64 {
        1_000_000_000
    }
}

/// A configuration with `[control]` and the rest as given.
pub(crate) fn text(socket: &str, control: &str, rest: &str) -> String {
    format!(
        r#"
        [workers]
        cores = [0]
        [[port]]
        device = "0000:03:00.0"
        addresses = ["10.9.0.2/24"]
        [control]
        operator = "{socket}"
        metrics = "127.0.0.1:0"
        {control}
        [[service]]
        name = "shop"
        address = "10.9.0.100"
        port = 80
        {rest}
        "#
    )
}

/// A backend that is not probed.
pub(crate) const BACKEND: &str = r#"
    [[service.backend]]
    name = "shop-1"
    address = "10.9.0.11"
    port = 80
"#;

/// Servers are known by their address.
pub(crate) const BY_ADDRESS: &str = r#"
    signal = "127.0.0.1:0"
    auth = "address"
"#;

impl Edge {
    /// Servers by address, one backend, no probes.
    pub(crate) fn start(control: impl FnMut(Command) + Send + 'static) -> Self {
        Self::with(BY_ADDRESS, BACKEND, control)
    }

    /// With the real control thread, and no workers.
    pub(crate) fn real(keys: &str, rest: &str) -> Self {
        Self::before(keys, rest, |config, commands| {
            let made = Control::new(config, Clock::start(), Box::new(OnePort), None);
            let (control, seats) = made.unwrap();
            drop(seats);
            control.run(&commands);
        })
    }

    pub(crate) fn with(
        keys: &str,
        rest: &str,
        mut control: impl FnMut(Command) + Send + 'static,
    ) -> Self {
        Self::before(keys, rest, move |_, commands| {
            for command in commands {
                match command {
                    Command::Stop => return,
                    command => control(command),
                }
            }
        })
    }

    fn before(
        keys: &str,
        rest: &str,
        control: impl FnOnce(Config, Receiver<Command>) + Send + 'static,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("operator.sock");
        let file = directory.path().join("tether.toml");
        let text = text(&socket.display().to_string(), keys, rest);
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&file).unwrap();
        let listeners = Listeners::bind(&config).unwrap();
        let (signals, metrics) = (listeners.signal_address(), listeners.metrics_address());
        let (queue, commands) = server::queue();
        let server = Server::start(listeners, config.clone(), file.clone(), queue).unwrap();
        let control = thread::spawn(move || control(config, commands));
        Self {
            signals,
            metrics,
            socket,
            file,
            server: Some(server),
            control: Some(control),
            _directory: directory,
        }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.signals.unwrap())).unwrap()
    }

    pub(crate) async fn client(&self) -> AffinityClient<Channel> {
        AffinityClient::new(self.endpoint().connect().await.unwrap())
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
        let control = self.control.take().unwrap();
        let ended = control.join();
        assert!(
            ended.is_ok() || thread::panicking(),
            "the control thread of the test has failed"
        );
    }
}

/// Starts what can be read and refuses the rest.
pub(crate) fn outcome(signal: &Signal) -> Outcome {
    let read = signal.source.as_ref();
    Outcome {
        code: match read {
            Ok(_) => OutcomeCode::Created,
            Err(_) => OutcomeCode::Invalid,
        },
        granted_ms: 1000,
        key: read.ok().copied(),
        owner: Some(BackendId(0)),
        detail: read.err().cloned().unwrap_or_default(),
        ..Default::default()
    }
}

/// A control thread that decides signals by [`outcome`] and nothing else.
pub(crate) fn decide(command: Command) {
    if let Command::Signals { signals, reply, .. } = command {
        let outcomes = signals.iter().map(outcome).collect();
        let epoch = EPOCH;
        // Err: the sender has gone, as senders do.
        let _ = reply.send(Ok(Outcomes {
            epoch,
            outcomes,
            names: Names::new(vec![], vec!["shop-1".into()]).into(),
        }));
    }
}
