//! The control thread against the contract: commands in, replies and tables out, with a clock of
//! the tests' own and without workers.

mod audit;
mod backends;
mod capture;
mod explain;
mod listing;
mod metrics;
mod operator;
mod oracle;
mod outcomes;
mod reload;
pub(crate) mod restart;
mod slow_start;
mod speakers;
mod time;
mod trouble;
mod watch;

use super::Control;
use crate::{
    command::{Command, Outcomes, Reloaded},
    config::Config,
    ports::{PortView, Ports},
    signal::{Asked, Destination, Identity, Operation, Signal},
};
use std::net::SocketAddr;
use tether_api::{
    Source,
    operator::{Failure, Payload, PortCounters, Request, Response},
    v1::OutcomeCode,
};
use tether_dataplane::{
    Mac,
    clock::{Clock, Millis},
    tables::affinity::Found,
};
use tokio::sync::{mpsc, oneshot};

/// Two services: `shop` of two backends, `mail` of every port with a backend on the first's host,
/// and `six` over IPv6.
pub(crate) const CONFIG: &str = r#"
[dpdk]
args = ["--no-pci", "--vdev=net_null0"]
[workers]
cores = [1]
[[port]]
device = "net_null0"
addresses = ["10.9.0.2/24", "fd00:9::2/64"]
[control]
signal = "10.8.0.2:7470"
auth = "address"

[limits]
affinities = 20000
affinities_per_backend = 15000

[[service]]
name = "shop"
address = "10.9.0.100"
port = 80
[service.affinity]
duration = "60s"
[[service.backend]]
name = "shop-1"
address = "10.9.0.11"
identity = "one.shop"
signal_from = ["10.8.0.11"]
[[service.backend]]
name = "shop-2"
address = "10.9.0.12"
identity = "two.shop"
signal_from = ["10.8.0.12"]

[[service]]
name = "mail"
address = "10.9.0.101"
port = 0
[[service.backend]]
name = "mail-1"
address = "10.9.0.11"
signal_from = ["10.8.0.11"]
[[service.backend]]
name = "mail-2"
address = "10.9.0.13"
signal_from = ["10.8.0.11"]

[[service]]
name = "six"
address = "fd00:9::100"
port = 80
[[service.backend]]
name = "six-1"
address = "fd00:9::11"
signal_from = ["10.8.0.11"]
"#;

/// The ports of [`CONFIG`].
struct OnePort;

impl Ports for OnePort {
    fn view(&self) -> Vec<PortView> {
        vec![PortView {
            device: "net_null0".to_owned(),
            driver: "net_null".to_owned(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            offloads: vec!["rss", "rx_ipv4_cksum"],
            link_up: true,
            counters: PortCounters::default(),
        }]
    }

    fn cycles_per_second(&self) -> u64 {
        1_000_000_000
    }
}

/// A control thread whose turns and time the test makes.
pub(crate) struct Bench {
    pub(crate) control: Control,
    pub(crate) now: Millis,
}

/// An outcome with the names in it, as whoever asked is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    code: OutcomeCode,
    granted_ms: u64,
    remaining_ms: u64,
    until_ended: bool,
    generation: u64,
    key: Option<Source>,
    owner: String,
    service: String,
    detail: String,
}

fn told(decided: Outcomes) -> Vec<Outcome> {
    let names = decided.names;
    let told = decided.outcomes.into_iter().map(|it| Outcome {
        code: it.code,
        granted_ms: it.granted_ms,
        remaining_ms: it.remaining_ms,
        until_ended: it.until_ended,
        generation: it.generation,
        key: it.key,
        owner: names.backend(it.owner).to_owned(),
        service: names.service(it.service).to_owned(),
        detail: it.detail,
    });
    told.collect()
}

fn parse(text: &str) -> Config {
    Config::parse("tether.toml", text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn start_of(duration: Asked) -> Operation {
    Operation::Start {
        duration,
        remaining_ms: 0,
        keep_on_reboot: false,
        session: None,
    }
}

fn signal(service: &str, source: &str, operation: Operation) -> Signal {
    Signal {
        destination: Destination::Service(service.into()),
        source: source
            .parse()
            .map_err(|why: tether_api::BadSource| why.to_string()),
        operation,
        backend: None,
        boot_id: 0,
    }
}

fn from(address: &str) -> Identity {
    Identity::Address(address.parse().unwrap())
}

const ONE: &str = "10.8.0.11";
const TWO: &str = "10.8.0.12";
const CLIENT: &str = "192.0.2.7";
const NO_GENERATION: Option<u64> = None;

impl Bench {
    fn new() -> Self {
        Self::of(CONFIG)
    }

    /// [`CONFIG`] with one line more in `[service.affinity]` of `shop`.
    fn with_rule(rule: &str) -> Self {
        Self::of(&with_rule(rule))
    }

    fn of(text: &str) -> Self {
        let made = Control::new(parse(text), Clock::start(), Box::new(OnePort), None);
        let (control, seats) = made.unwrap_or_else(|error| panic!("{error}"));
        drop(seats);
        Self {
            control,
            now: Millis(10_000),
        }
    }

    fn turn(&mut self, commands: Vec<Command>) {
        self.control.turn(self.now, commands);
    }

    fn after(&mut self, ms: u64) -> &mut Self {
        self.now = self.now + ms;
        self
    }

    fn send(&mut self, identity: Identity, signals: Vec<Signal>) -> Vec<Outcome> {
        let (reply, mut outcomes) = oneshot::channel();
        self.turn(vec![Command::Signals {
            identity,
            signals,
            queued: std::time::Instant::now(),
            reply,
        }]);
        let decided = outcomes.try_recv().expect("outcomes in the same turn");
        told(decided.unwrap_or_else(|why| panic!("{why}")))
    }

    fn say(&mut self, sender: &str, signal: Signal) -> Outcome {
        self.send(from(sender), vec![signal]).remove(0)
    }

    fn start(&mut self, sender: &str, source: &str) -> Outcome {
        self.start_for(sender, source, Asked::Default)
    }

    fn start_for(&mut self, sender: &str, source: &str, duration: Asked) -> Outcome {
        self.say(sender, signal("shop", source, start_of(duration)))
    }

    fn extend(&mut self, sender: &str, source: &str, duration: Asked) -> Outcome {
        let operation = Operation::Extend {
            duration,
            generation: NO_GENERATION,
        };
        self.say(sender, signal("shop", source, operation))
    }

    fn end(&mut self, sender: &str, source: &str) -> Outcome {
        let generation = NO_GENERATION;
        self.say(
            sender,
            signal("shop", source, Operation::End { generation }),
        )
    }

    /// The lines that a request gets, in as many turns as it takes.
    fn ask(&mut self, request: Request) -> Vec<Response> {
        let (lines, mut received) = mpsc::channel(64);
        self.turn(vec![Command::Operator {
            uid: 0,
            request,
            lines,
        }]);
        let mut all = Vec::new();
        for _ in 0..10_000 {
            while let Ok(line) = received.try_recv() {
                all.push(line);
            }
            if received.is_closed() {
                break;
            }
            self.after(1).turn(vec![]);
        }
        all
    }

    fn payload(&mut self, request: Request) -> Payload {
        match self.ask(request).as_slice() {
            [Response::Ok(payload)] => payload.clone(),
            lines => panic!("{lines:?}"),
        }
    }

    fn failure(&mut self, request: Request) -> Failure {
        match self.ask(request).as_slice() {
            [Response::Error(failure)] => failure.clone(),
            lines => panic!("{lines:?}"),
        }
    }

    /// What the affinity table says about a new flow of `client` to `service`.
    fn find(&self, service: &str, client: &str) -> Option<Found> {
        let service = self.control.master.registry.service_named(service).unwrap();
        let client = client.parse().unwrap_or_else(|_| {
            let address = client.parse().expect("an address, or one with a port");
            SocketAddr::new(address, 40_000)
        });
        let (address, port) = (client.ip(), client.port());
        let cells = self.control.writer.affinities();
        cells.find(service.id, address, port, self.now)
    }

    /// The backend that a new flow of `client` to `shop` sticks to.
    fn owner(&self, client: &str) -> Option<&str> {
        let found = self.find("shop", client)?;
        let backend = self.control.master.registry.backend(found.owner)?;
        Some(backend.name())
    }

    fn health(&mut self, backend: &str, up: bool) {
        self.turn(vec![Command::Health {
            service: "shop".to_owned(),
            backend: backend.to_owned(),
            up,
        }]);
    }

    /// What comes of a reload, in the same turn.
    fn try_reload(&mut self, text: &str) -> Result<Reloaded, Vec<String>> {
        let (reply, mut reloaded) = oneshot::channel();
        let config = Box::new(parse(text));
        self.turn(vec![Command::Reload { config, reply }]);
        reloaded.try_recv().expect("an answer in the same turn")
    }

    #[track_caller]
    fn reload(&mut self, text: &str) -> Reloaded {
        let reloaded = self.try_reload(text);
        reloaded.unwrap_or_else(|reasons| panic!("{reasons:?}"))
    }

    /// As many affinities everywhere: records, counts, cells.
    fn assert_consistent(&self) {
        let master = &self.control.master;
        let backends = master.registry.backends();
        let owned: u32 = backends.map(|it| master.records.owned_count(it.id)).sum();
        let services = master.registry.services();
        let of_services: u32 = services.map(|it| master.records.service_count(it.id)).sum();
        let records = u32::try_from(master.records.len()).unwrap();
        assert_eq!((owned, of_services), (records, records));
        assert_eq!(self.control.writer.affinities().len(), master.records.len());
    }
}

fn with_rule(rule: &str) -> String {
    let place = "duration = \"60s\"\n";
    assert!(CONFIG.contains(place));
    CONFIG.replacen(place, &format!("{place}{rule}\n"), 1)
}
