//! Ack means effective (S1), with two workers.

use tether_client::Options;

use crate::testbed::{
    self,
    client::Prepared,
    server::end,
    setup::Setup,
    vip::{SHOP, SHOP6, Vip},
};

/// Connections that open at once, right after the ack.
const BURST: usize = 50;

#[test]
fn s1_fifty_connections_right_after_the_ack_reach_the_owner_on_either_worker() {
    testbed::run(Setup::new().two_workers(), |bed| {
        // What the kernel does not know yet, it would have to ask first.
        for vip in [SHOP, SHOP6] {
            bed.client(client_of(vip)).reach(vip);
        }
        for round in 0..4 {
            for server in &bed.servers {
                for vip in [SHOP, SHOP6] {
                    let client = bed.client(client_of(vip));
                    let prepared: Vec<_> = (0..BURST).map(|_| client.prepare(0, vip)).collect();
                    let source = client.address.to_string();
                    let (affinity, _) = server.bind_source(vip, &source, Options::new());
                    let opening: Vec<_> = prepared.into_iter().map(Prepared::open).collect();
                    let opened = opening
                        .into_iter()
                        .map(|it| it.greet().unwrap().server.clone());
                    let strays: Vec<_> = opened.filter(|it| *it != server.name).collect();
                    assert!(strays.is_empty(), "round {round}, {vip:?}: {strays:?}");
                    end(affinity);
                }
            }
        }
        let stats = bed.daemon.check_accounts();
        assert_eq!(stats.workers.len(), 2);
        for worker in &stats.workers {
            assert!(
                worker.placed["affinity"] > 0,
                "had no part in it: {worker:?}"
            );
        }
    });
}

fn client_of(vip: Vip) -> &'static str {
    if vip.address.is_ipv4() {
        "10.9.0.1"
    } else {
        "fd00:9::1"
    }
}
