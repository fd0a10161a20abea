//! Schedulers, limits and lists as they look from outside.

use serde_json::Value;
use tether_client::Options;

use crate::{
    spread::assert_spread,
    testbed::{
        self, Testbed,
        client::Spread,
        setup::Setup,
        vip::{GAME, SHOP, SHOP6},
    },
};

/// What became of packets, over all workers.
fn fate(bed: &Testbed<'_>, name: &str) -> u64 {
    let workers = bed.daemon.check_accounts().workers;
    workers.iter().filter_map(|it| it.fates.get(name)).sum()
}

#[test]
fn r3_least_connections_evens_out_what_is_open() {
    let setup = Setup::new().scheduler("least-connections");
    testbed::run(setup, |bed| {
        let client = bed.client("10.9.0.1");
        let mut open: Vec<_> = (0..30).map(|_| client.connect(SHOP)).collect();
        let spread = |open: &[testbed::client::Connection]| {
            let mut spread = Spread::new();
            for connection in open {
                *spread.entry(connection.server.clone()).or_default() += 1;
            }
            spread
        };
        assert!(
            spread(&open).values().all(|flows| *flows == 10),
            "{:?}",
            spread(&open)
        );
        for connection in &mut open {
            connection.echo(b"still there");
        }
        let told: Value = bed
            .daemon
            .json(&["explain", "tcp", "10.9.0.3", "10.9.0.100:80"]);
        let reason = told["reason"].as_str().unwrap();
        assert!(
            reason.contains("the fewest flows for its weight: 10 flows"),
            "{reason}"
        );
    });
}

#[test]
fn r3_power_of_two_leaves_no_server_out() {
    testbed::run(Setup::new().scheduler("power-of-two"), |bed| {
        let spread = bed.client("10.9.0.1").spread(GAME, 60);
        assert_spread(&spread);
        assert!(
            spread.values().all(|flows| (15..=25).contains(flows)),
            "{spread:?}"
        );
    });
}

#[test]
fn r3_source_hash_keeps_a_client_at_its_server_on_either_worker() {
    let setup = Setup::new().two_workers().scheduler("source-hash");
    testbed::run(setup, |bed| {
        for (client, vip) in [("10.9.0.1", SHOP), ("10.9.0.3", SHOP), ("fd00:9::1", SHOP6)] {
            let spread = bed.client(client).spread(vip, 20);
            assert_eq!(spread.len(), 1, "{client}: {spread:?}");
        }
    });
}

#[test]
fn r7_a_flood_uses_up_the_limit_and_a_client_with_an_affinity_does_not_notice() {
    let setup = Setup::new().service("limits.new_flows_per_second = 5");
    testbed::run(setup, |bed| {
        let owner = &bed.servers[1];
        let (affinity, _) = owner.bind_source(GAME, "10.9.0.1", Options::new());
        let flood = bed.client("10.9.0.3");
        let sockets: Vec<_> = (0..60).map(|_| flood.datagrams(GAME)).collect();
        for socket in &sockets {
            socket.send(b"flood").unwrap();
        }
        let client = bed.client("10.9.0.1");
        for _ in 0..20 {
            assert_eq!(client.reach(GAME), owner.name);
        }
        let refused = fate(bed, "service_rate");
        assert!((30..60).contains(&refused), "{refused}");
        testbed::server::end(affinity);
    });
}

#[test]
fn a_list_that_a_reload_brings_refuses_new_flows_and_lets_open_ones_go_on() {
    testbed::run(Setup::new(), |bed| {
        let (denied, other) = (bed.client("10.9.0.3"), bed.client("10.9.0.1"));
        let mut open = denied.connect(SHOP);
        let name = "name = \"shop\"\n";
        let listed = format!("{name}deny = [\"10.9.0.3\"]\n");
        let directory = bed.daemon.directory().to_owned();
        let text = bed.setup.toml(&directory);
        assert!(text.contains(name));
        bed.daemon.reload(&text.replacen(name, &listed, 1));
        bed.daemon.wait_for_log("reloaded");

        let refused = denied.open(0, SHOP);
        open.echo(b"an open connection goes on");
        other.connect(SHOP).echo(b"so do others");
        testbed::wait::wait_until("a drop", testbed::wait::SOON, || {
            fate(bed, "denied_source") > 0
        });
        drop(refused);
        assert!(denied.ask(0, GAME, "another service").is_ok());
        let told: Value = bed
            .daemon
            .json(&["explain", "tcp", "10.9.0.3", "10.9.0.100:80"]);
        assert_eq!(told["by"], "none", "{told}");
    });
}
