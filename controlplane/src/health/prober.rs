//! Probes every backend whose service asks for it, each in a task of its own, and tells the control
//! thread of every change. The verdicts are [`Health`]'s.
//!
//! A new configuration replaces the set: a probe that is the same in both goes on with what it has
//! seen. A backend that is not probed any more, or at another address, is up until it fails.

use super::{
    Health,
    probe::{Failed, probe},
};
use crate::{
    command::Command,
    config::{self, Config},
    server::Commands,
};
use hashbrown::HashMap;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

/// Probes under way at once; further ones wait. Each holds a file descriptor.
const PROBES: usize = 512;
/// The first probes are spread over so long, or over their interval if that is shorter.
const SPREAD: Duration = Duration::from_secs(1);
/// How far an interval is stretched or shrunk at most, so that probes do not fall into step.
const JITTER: f64 = 0.1;

/// All probes.
pub(crate) struct Prober {
    commands: Commands,
    places: Arc<Semaphore>,
    probes: HashMap<Backend, Probe>,
}

/// A backend by its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Backend {
    service: String,
    name: String,
}

/// What is probed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    address: SocketAddr,
    health: config::Health,
    /// Whether connections begin with a PROXY header.
    proxied: bool,
}

/// A probe at work. Dropping it ends it.
struct Probe {
    target: Target,
    /// What the control thread was told last.
    is_up: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    pub(crate) fn new(commands: Commands) -> Self {
        Self {
            commands,
            places: Arc::new(Semaphore::new(PROBES)),
            probes: HashMap::new(),
        }
    }

    /// Probes what this configuration asks for, and nothing else.
    pub(crate) async fn set(&mut self, config: &Config) {
        let mut before = std::mem::take(&mut self.probes);
        for (backend, target) in targets(config) {
            let same = before.get(&backend).is_some_and(|it| it.target == target);
            let probe = match before.remove(&backend) {
                Some(probe) if same => probe,
                other => {
                    self.retire(&backend, other).await;
                    self.begin(backend.clone(), target)
                }
            };
            self.probes.insert(backend, probe);
        }
        for (backend, probe) in before {
            self.retire(&backend, Some(probe)).await;
        }
    }

    fn begin(&self, backend: Backend, target: Target) -> Probe {
        let is_up = Arc::new(AtomicBool::new(true));
        let loop_ = Loop {
            backend,
            target: target.clone(),
            is_up: Arc::clone(&is_up),
            commands: self.commands.clone(),
            places: Arc::clone(&self.places),
        };
        Probe {
            target,
            is_up,
            task: tokio::spawn(loop_.run()),
        }
    }

    /// Ends a probe; the backend is up again as far as probes go.
    async fn retire(&self, backend: &Backend, probe: Option<Probe>) {
        let Some(mut probe) = probe else {
            return;
        };
        probe.task.abort();
        // Err: it was aborted. Only then is `is_up` what was told last.
        let _ = (&mut probe.task).await;
        if !probe.is_up.load(Ordering::Relaxed) {
            backend.tell(&self.commands, true).await;
        }
    }
}

/// What is to be probed. Where every port is balanced, there is none to connect to.
fn targets(config: &Config) -> Vec<(Backend, Target)> {
    let probed = |service: &config::Service| {
        service
            .health
            .clone()
            .map(|health| (service.clone(), health))
    };
    let services = config.services.iter().filter_map(probed);
    let backends = services.flat_map(|(service, health)| {
        service.backends.into_iter().map(move |backend| {
            let target = Target {
                address: SocketAddr::new(backend.address, backend.port),
                health: health.clone(),
                proxied: service.proxy_protocol,
            };
            let names = Backend {
                service: service.name.clone(),
                name: backend.name,
            };
            (names, target)
        })
    });
    backends
        .filter(|(_, target)| target.address.port() != 0)
        .collect()
}

/// The life of one probe.
struct Loop {
    backend: Backend,
    target: Target,
    is_up: Arc<AtomicBool>,
    commands: Commands,
    places: Arc<Semaphore>,
}

impl Loop {
    async fn run(self) {
        let config::Health {
            interval,
            rise,
            fall,
            ..
        } = self.target.health;
        let mut health = Health::new(rise, fall);
        sleep(SPREAD.min(interval).mul_f64(fastrand::f64())).await;
        loop {
            let next = Instant::now() + jittered(interval, fastrand::f64());
            let probed = self.probe().await;
            if let Some(up) = health.probed(probed.is_ok()) {
                self.report(up, probed).await;
            }
            sleep_until(next).await;
        }
    }

    async fn probe(&self) -> Result<(), Failed> {
        let config::Health { check, timeout, .. } = &self.target.health;
        let _place = self.places.acquire().await;
        let Target {
            address, proxied, ..
        } = self.target;
        probe(check, address, proxied, *timeout).await
    }

    async fn report(&self, up: bool, last: Result<(), Failed>) {
        let Backend { service, name } = &self.backend;
        if let Err(failed) = last {
            log::warn!("{service}/{name} at {}: {failed}", self.target.address);
        }
        self.is_up.store(up, Ordering::Relaxed);
        self.backend.tell(&self.commands, up).await;
    }
}

impl Backend {
    async fn tell(&self, commands: &Commands, up: bool) {
        let command = Command::Health {
            service: self.service.clone(),
            backend: self.name.clone(),
            up,
        };
        // Err: the control thread is gone, and needs no verdicts.
        let _ = commands.send(command).await;
    }
}

/// `random` is of 0..1.
fn jittered(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(1.0 + JITTER * (2.0 * random - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::probe::OWN;
    use crossbeam_channel::Receiver;
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn config(check: &str, address: SocketAddr) -> Config {
        let text = format!(
            r#"
            [workers]
            cores = [0]
            [[port]]
            device = "0000:03:00.0"
            addresses = ["10.9.0.2/24"]
            [control]
            [[service]]
            name = "shop"
            address = "10.9.0.100"
            port = 80
            [service.health]
            {check}
            interval = "100ms"
            timeout = "100ms"
            rise = 2
            fall = 2
            [[service.backend]]
            name = "shop-1"
            address = "10.9.0.11"
            port = 80
            "#
        );
        let mut config = Config::parse("t.toml", &text).unwrap();
        // A configuration file may not name loopback for a backend; a test may.
        let backend = &mut config.services[0].backends[0];
        (backend.address, backend.port) = (address.ip(), address.port());
        config
    }

    fn prober() -> (Prober, Receiver<Command>) {
        let (queue, commands) = crossbeam_channel::bounded(16);
        (Prober::new(Commands::new(queue)), commands)
    }

    async fn verdict(commands: &Receiver<Command>) -> bool {
        let commands = commands.clone();
        let received = tokio::task::spawn_blocking(move || commands.recv_timeout(PATIENCE));
        match received.await.unwrap().unwrap() {
            Command::Health {
                service,
                backend,
                up,
            } => {
                assert_eq!((service.as_str(), backend.as_str()), ("shop", "shop-1"));
                up
            }
            other => panic!("{other:?}"),
        }
    }

    /// Answers every connection with a status, on an address of its own, in a thread that is left
    /// behind.
    fn http(status: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 1024];
                let length = stream.read(&mut request).unwrap();
                let found = request[..length].starts_with(b"GET /health HTTP/1.1\r\n");
                let status = if found { status } else { "404 Not Found" };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    fn closed() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    }

    const TCP: &str = "check = \"tcp\"";
    const HTTP: &str = "check = \"http\"\npath = \"/health\"";

    #[tokio::test]
    async fn a_backend_goes_down_and_comes_back() {
        let address = closed();
        let (mut prober, commands) = prober();
        prober.set(&config(TCP, address)).await;
        assert!(!verdict(&commands).await);
        let _listener = TcpListener::bind(address).unwrap();
        assert!(verdict(&commands).await);
    }

    #[tokio::test]
    async fn an_http_status_is_a_verdict_before_its_body_is_there() {
        let patience = Duration::from_secs(5);
        let path = "/health".to_owned();
        let check = config::Check::Http { path };
        for (status, passes) in [
            ("200 OK", true),
            ("302 Found", true),
            ("404 Not Found", false),
            ("503 Service Unavailable", false),
        ] {
            let probed = probe(&check, http(status), false, patience).await;
            assert_eq!(probed.is_ok(), passes, "{status}: {probed:?}");
        }
    }

    #[tokio::test]
    async fn a_backend_that_accepts_and_says_nothing_fails_http_and_passes_tcp() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let patience = Duration::from_millis(50);
        let path = "/".to_owned();
        let http = probe(&config::Check::Http { path }, address, false, patience).await;
        assert_eq!(http.unwrap_err().to_string(), "no answer within 50ms");
        let tcp = probe(&config::Check::Tcp, address, false, patience).await;
        assert!(tcp.is_ok());
    }

    #[tokio::test]
    async fn where_servers_want_a_proxy_header_the_probe_says_that_it_is_nobody_elses() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let path = "/health".to_owned();
        for check in [config::Check::Http { path }, config::Check::Tcp] {
            let server = server.try_clone().unwrap();
            let is_http = check != config::Check::Tcp;
            let answering = thread::spawn(move || {
                let (mut stream, _) = server.accept().unwrap();
                let mut head = [0; 16];
                stream.read_exact(&mut head).unwrap();
                if is_http {
                    let mut request = [0; 12];
                    stream.read_exact(&mut request).unwrap();
                    assert_eq!(&request, b"GET /health ");
                    stream.write_all(b"HTTP/1.1 204 No\r\n\r\n").unwrap();
                }
                head
            });
            probe(&check, address, true, PATIENCE).await.unwrap();
            // Section 2.2 of the specification: version 2, LOCAL, UNSPEC, nothing more.
            let expected = [
                0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x20, 0, 0,
                0,
            ];
            assert_eq!(answering.join().unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn a_backend_is_probed_as_its_service_is_configured() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = config(TCP, server.local_addr().unwrap());
        config.services[0].proxy_protocol = true;
        let (mut prober, _commands) = prober();
        prober.set(&config).await;
        let heard = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            heard
        });
        assert_eq!(heard.await.unwrap(), OWN);
    }

    #[tokio::test]
    async fn a_new_configuration_replaces_the_probes() {
        let (mut prober, commands) = prober();
        let down = config(HTTP, http("500 Internal Server Error"));
        prober.set(&down).await;
        assert!(!verdict(&commands).await);
        prober.set(&down).await;
        assert!(
            commands.is_empty(),
            "the same probe goes on with what it has seen"
        );
        let mut unprobed = down;
        unprobed.services[0].health = None;
        prober.set(&unprobed).await;
        assert!(
            verdict(&commands).await,
            "nobody says any more that it is down"
        );
        assert!(prober.probes.is_empty());
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        let interval = Duration::from_secs(10);
        assert_eq!(jittered(interval, 0.0), Duration::from_secs(9));
        assert_eq!(jittered(interval, 0.5), interval);
        assert!(jittered(interval, 0.999) < Duration::from_secs(11));
    }
}
