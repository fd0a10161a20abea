//! The owner goes away: its clients are served all the same, soon, and come back to it.

use std::time::{Duration, Instant};

use serde_json::Value;
use tether_api::operator::{Affinity, AffinityState, Backend, BackendState};
use tether_client::Options;

use crate::{
    affinity::assert_sticks,
    testbed::{
        self, Testbed,
        setup::Setup,
        vip::SHOP,
        wait::{SOON, wait_until},
    },
};

const CLIENT: &str = "10.9.0.1";
const OWNER: &str = "server-1";

fn state(bed: &Testbed<'_>, server: &str) -> BackendState {
    let backends: Vec<Backend> = bed.daemon.ctl(&["backend", "list", SHOP.service]);
    let found = backends.iter().find(|backend| backend.name == server);
    found.unwrap().state
}

fn place(bed: &Testbed<'_>) -> usize {
    let position = bed.servers.iter().position(|it| it.name == OWNER);
    position.unwrap()
}

/// Starts an affinity that nobody holds any more but the forwarder.
#[track_caller]
fn bind_owner(bed: &Testbed<'_>) {
    let (affinity, _) = bed.server(OWNER).bind_source(SHOP, CLIENT, Options::new());
    drop(affinity.detach());
    assert_sticks(bed.client(CLIENT), SHOP, OWNER);
}

#[test]
fn b1_a_killed_owner_costs_no_more_than_a_moment_and_gets_its_clients_back() {
    testbed::run(Setup::new().health(), |bed| {
        bind_owner(bed);
        let mut elsewhere = bed.client("10.9.0.3").flow_elsewhere(SHOP, OWNER);
        let place = place(bed);
        bed.servers[place].kill();
        let killed = Instant::now();
        // Until the forwarder knows, the host refuses at once; nothing hangs.
        wait_until("new connections to be served elsewhere", SOON, || {
            let start = Instant::now();
            let opened = bed.client(CLIENT).open(0, SHOP).greet();
            assert!(start.elapsed() < SOON / 2, "{opened:?} after {start:?}");
            opened.is_ok_and(|connection| connection.server != OWNER)
        });
        assert!(killed.elapsed() < Duration::from_secs(5), "{killed:?}");
        assert_eq!(state(bed, OWNER), BackendState::Down);
        let spread = bed.client(CLIENT).spread(SHOP, 40);
        assert!(!spread.contains_key(OWNER), "{spread:?}");
        assert_eq!(spread.len(), 2, "{spread:?}");
        elsewhere.goes_on();

        let suspended: Vec<Affinity> = bed.daemon.ctl(&["affinity", "list"]);
        assert_eq!(suspended[0].state, AffinityState::Suspended);
        let explain = ["explain", "tcp", CLIENT, "10.9.0.100:80"];
        let explained: Value = bed.daemon.json(&explain);
        assert_eq!(explained["by"], "scheduler", "{explained}");
        assert_eq!(explained["affinity"]["owner"], OWNER, "{explained}");

        // B1: nobody was bound elsewhere meanwhile.
        bed.restart_server(place);
        wait_until("the owner to be up", SOON, || {
            state(bed, OWNER) == BackendState::Up
        });
        assert_sticks(bed.client(CLIENT), SHOP, OWNER);
        let placed = &bed.daemon.check_accounts().workers[0].placed;
        assert!(placed["fallback_down"] >= 40, "{placed:?}");
    });
}

#[test]
fn r9_connections_to_a_host_that_has_gone_silent_are_placed_anew() {
    testbed::run(Setup::new().health(), |bed| {
        bind_owner(bed);
        let host = bed.server(OWNER).host;
        host.ip("link set data down\nlink set control down");
        // All of them begin with the silent owner; a repeated SYN finds another (R9).
        let client = bed.client(CLIENT);
        let opening: Vec<_> = (0..20).map(|_| client.open(0, SHOP)).collect();
        for opening in opening {
            let connection = opening.greet().unwrap();
            assert_ne!(connection.server, OWNER);
        }
    });
}

#[test]
fn on_backend_down_drop_serves_nobody_else_with_an_absent_owner() {
    let setup = Setup::new().health().affinity("on_backend_down = \"drop\"");
    testbed::run(setup, |bed| {
        bind_owner(bed);
        let place = place(bed);
        bed.servers[place].kill();
        wait_until("the owner to be down", SOON, || {
            state(bed, OWNER) == BackendState::Down
        });
        let opening = bed.client(CLIENT).open(0, SHOP);
        wait_until("its SYN to be dropped", SOON, || {
            let stats = bed.daemon.check_accounts();
            stats.workers[0].fates["backend_down"] > 0
        });
        let others = bed.client("10.9.0.3").spread(SHOP, 20);
        assert!(!others.contains_key(OWNER), "{others:?}");
        // The client tries until the owner is back.
        bed.restart_server(place);
        assert_eq!(opening.greet().unwrap().server, OWNER);
    });
}
