//! The main job: a server says that a client sticks to it, and it does, until the server says no more.

use tether_client::{Affinity, Options, Outcome};

use crate::{
    spread::assert_spread,
    testbed::{
        self, Testbed,
        client::Client,
        flow::Flow,
        server::{Server, end},
        setup::Setup,
        vip::{GAME, SHOP, SHOP_TLS, SHOP6, Vip},
    },
};

/// Enough to tell that a client is spread, or that it is not.
const FLOWS: usize = 40;

/// Asserts that every new flow of a client reaches one server.
#[track_caller]
pub fn assert_sticks(client: Client<'_>, vip: Vip, server: &str) {
    let spread = client.spread(vip, FLOWS);
    assert_eq!(spread.get(server), Some(&FLOWS), "{server}: {spread:?}");
}

/// R1, R2, R3, S5: the whole life of an affinity that a server starts from its accepted socket.
pub fn starts_holds_and_ends(bed: &Testbed<'_>, vip: Vip, client: &str, other: &str) {
    holds_and_ends(bed, vip, [client, other], |server, first| {
        server.bind_peer(vip, first.local(), Options::new())
    });
}

/// The same of one that a server starts in its own way, knowing of a flow.
pub fn holds_and_ends(
    bed: &Testbed<'_>,
    vip: Vip,
    [client, other]: [&str; 2],
    start: impl FnOnce(&Server<'_>, &Flow) -> (Affinity, Outcome),
) {
    let client = bed.client(client);
    let mut first = client.flow(vip);
    let owner = first.server().to_owned();
    let mut elsewhere = client.flow_elsewhere(vip, &owner);

    let server = bed.server(&owner);
    let (affinity, outcome) = start(server, &first);
    assert_eq!(outcome.owner, None, "{outcome:?}");
    assert_sticks(client, vip, &owner);
    assert_spread(&bed.client(other).spread(vip, FLOWS));
    first.goes_on();
    elsewhere.goes_on();
    let mut bound = client.flow(vip);

    end(affinity);
    assert_spread(&client.spread(vip, FLOWS));
    first.goes_on();
    elsewhere.goes_on();
    bound.goes_on();
}

#[test]
fn r2_tcp_over_ipv4_reaches_the_server_that_started_the_affinity() {
    testbed::run(Setup::new(), |bed| {
        starts_holds_and_ends(bed, SHOP, "10.9.0.1", "10.9.0.3");
    });
}

#[test]
fn r2_tcp_over_ipv6_reaches_the_server_that_started_the_affinity() {
    testbed::run(Setup::new(), |bed| {
        starts_holds_and_ends(bed, SHOP6, "fd00:9::1", "fd00:9::3");
    });
}

#[test]
fn r2_udp_over_ipv4_reaches_the_server_that_started_the_affinity() {
    testbed::run(Setup::new(), |bed| {
        starts_holds_and_ends(bed, GAME, "10.9.0.1", "10.9.0.3");
    });
}

#[test]
fn r5_an_address_with_its_port_is_a_client_of_its_own() {
    testbed::run(Setup::new(), |bed| {
        let client = bed.client("10.9.0.1");
        let scheduled = client.reach_from(40_000, SHOP);
        let owner = bed.server_other_than(&scheduled);
        let (affinity, outcome) = owner.bind_source(SHOP, "10.9.0.1:40000", Options::new());
        for _ in 0..10 {
            assert_eq!(client.reach_from(40_000, SHOP), owner.name, "{outcome:?}");
        }
        assert_spread(&client.spread(SHOP, FLOWS));

        end(affinity);
        // Maglev: the same flow has the same server as long as the servers are the same.
        assert_eq!(client.reach_from(40_000, SHOP), scheduled);
    });
}

#[test]
fn r5_the_port_of_an_accepted_socket_is_enough_for_a_client_of_its_own() {
    testbed::run(Setup::new(), |bed| {
        let client = bed.client("10.9.0.1");
        let first = client.connect(SHOP);
        let (peer, owner) = (first.local(), bed.server(&first.server));
        let options = Options::new().ip_port();
        let (_affinity, _) = owner.bind_peer(SHOP, peer, options);
        let listed = bed.daemon.json(&["affinity", "list"]);
        assert_eq!(listed[0]["source"], peer.to_string());
        drop(first);
        for _ in 0..10 {
            assert_eq!(client.reach_from(peer.port(), SHOP), owner.name);
        }
        assert_spread(&client.spread(SHOP, FLOWS));
    });
}

#[test]
fn r5_a_subnet_sticks_and_its_neighbours_do_not() {
    testbed::run(Setup::new(), |bed| {
        let server = bed.server("server-2");
        // S4: host bits do not matter.
        let (affinity, _) = server.bind_source(SHOP, "10.9.0.40/28", Options::new());
        let (affinity6, _) = server.bind_source(SHOP6, "fd00:9::1:0/112", Options::new());
        for inside in ["10.9.0.33", "10.9.0.34", "10.9.0.46"] {
            assert_sticks(bed.client(inside), SHOP, "server-2");
        }
        for outside in ["10.9.0.31", "10.9.0.48"] {
            assert_spread(&bed.client(outside).spread(SHOP, FLOWS));
        }
        for inside in ["fd00:9::1:1", "fd00:9::1:2"] {
            assert_sticks(bed.client(inside), SHOP6, "server-2");
        }
        for outside in ["fd00:9::1", "fd00:9::2:1"] {
            assert_spread(&bed.client(outside).spread(SHOP6, FLOWS));
        }
        end(affinity);
        end(affinity6);
        assert_spread(&bed.client("10.9.0.33").spread(SHOP, FLOWS));
        assert_spread(&bed.client("fd00:9::1:1").spread(SHOP6, FLOWS));
    });
}

#[test]
fn r5_the_most_specific_affinity_wins_whatever_came_first() {
    testbed::run(Setup::new(), |bed| {
        let client = bed.client("10.9.0.33");
        let bind = |server: &str, source: &str| {
            let started = bed.server(server).bind_source(SHOP, source, Options::new());
            started.0
        };
        // Neither the narrowest first nor the broadest.
        let ip = bind("server-2", "10.9.0.33");
        let subnet = bind("server-1", "10.9.0.32/28");
        let port = bind("server-3", "10.9.0.33:40000");
        assert_eq!(client.reach_from(40_000, SHOP), "server-3");
        assert_sticks(client, SHOP, "server-2");
        assert_sticks(bed.client("10.9.0.34"), SHOP, "server-1");

        end(port);
        assert_eq!(client.reach_from(40_000, SHOP), "server-2");
        end(ip);
        assert_sticks(client, SHOP, "server-1");
        end(subnet);
        assert_spread(&client.spread(SHOP, FLOWS));
    });
}

#[test]
fn r6_an_affinity_at_one_port_says_nothing_about_another() {
    testbed::run(Setup::new(), |bed| {
        let server = bed.server("server-3");
        let (_affinity, _) = server.bind_source(SHOP_TLS, "10.9.0.1", Options::new());
        let client = bed.client("10.9.0.1");
        assert_sticks(client, SHOP_TLS, "server-3");
        assert_spread(&client.spread(SHOP, FLOWS));
        assert_spread(&client.spread(GAME, FLOWS));
    });
}
