//! A testbed: hosts, servers and a running `tetherd`, for one test. Nothing of it is left behind.

pub mod client;
pub mod daemon;
pub mod decapsulator;
pub mod flow;
pub mod frames;
pub mod namespace;
pub mod network;
pub mod nginx;
pub mod programs;
pub mod running;
pub mod server;
pub mod setup;
pub mod signals;
pub mod vip;
pub mod wait;

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use client::Client;
use daemon::Daemon;
use network::Network;
use server::Server;
use setup::Setup;

/// The machine is small: beds stand one after another, also where tests run beside each other.
static TURN: Mutex<()> = Mutex::new(());

/// What a test works with.
#[derive(Debug)]
pub struct Testbed<'a> {
    // Before the servers: nothing is sent to who has gone.
    pub daemon: Daemon,
    pub servers: Vec<Server<'a>>,
    pub network: &'a Network,
    pub setup: Setup,
}

/// Sets up a testbed, runs a test on it, and checks that every packet has had one fate.
pub fn run(setup: Setup, test: impl FnOnce(&mut Testbed<'_>)) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    must_be_root();
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    namespace::sweep();
    let prefix = namespace::prefix(NUMBER.fetch_add(1, Ordering::Relaxed));
    let network = Network::create(&prefix, setup.server_count());
    if setup.comes_back() {
        network.add_far_clients();
    }
    if setup.is_nat() {
        network.answer_by_the_forwarder();
    }
    setup.prepare_network(&network);
    let directory = TempDir::with_prefix(format!("{prefix}-")).unwrap();
    let servers = (1..).zip(&network.servers);
    let mut bed = Testbed {
        servers: servers
            .map(|(number, host)| Server::start(number, host))
            .collect(),
        daemon: Daemon::start(&setup, &network.forwarder, directory.path()),
        network: &network,
        setup,
    };
    test(&mut bed);
    if !bed.daemon.has_ended {
        bed.daemon.check_accounts();
    }
}

/// Namespaces and packet sockets are root's.
pub fn must_be_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "end-to-end tests make network namespaces: run them as root"
    );
}

impl Testbed<'_> {
    /// The client of this address.
    pub fn client(&self, address: &str) -> Client<'_> {
        Client {
            host: &self.network.client,
            address: address.parse().unwrap(),
        }
    }

    /// Starts the server in this place again: on the same host, by the same name.
    pub fn restart_server(&mut self, place: usize) {
        let Server { host, .. } = &self.servers[place];
        self.servers[place] = Server::start(place + 1, host);
    }

    /// The server of this name.
    pub fn server(&self, name: &str) -> &Server<'_> {
        self.servers
            .iter()
            .find(|server| server.name == name)
            .unwrap_or_else(|| panic!("no server is called {name:?}"))
    }

    /// A server of another name.
    pub fn server_other_than(&self, name: &str) -> &Server<'_> {
        let mut others = self.servers.iter().filter(|server| server.name != name);
        others.next().unwrap()
    }
}
