//! Several workers are one forwarder.

use tether_api::operator::{Flow, Status};

use crate::{
    spread::assert_spread,
    testbed::{
        self,
        setup::Setup,
        vip::{GAME, SHOP},
    },
};

const FLOWS: u64 = 120;

#[test]
fn flows_are_spread_over_two_workers_and_their_counters_add_up() {
    testbed::run(Setup::new().two_workers(), |bed| {
        let client = bed.client("10.9.0.1");
        let connections: Vec<_> = (0..FLOWS).map(|_| client.connect(SHOP)).collect();
        let spread = connections
            .iter()
            .map(|it| (it.server.clone(), 1))
            .collect();
        assert_spread(&spread);

        let stats = bed.daemon.check_accounts();
        let placed: Vec<_> = stats
            .workers
            .iter()
            .map(|it| it.placed["scheduler"])
            .collect();
        assert_eq!(placed.len(), 2);
        assert_eq!(placed.iter().sum::<u64>(), FLOWS, "{placed:?}");
        assert!(placed.iter().all(|flows| *flows > FLOWS / 6), "{placed:?}");

        let status: Status = bed.daemon.ctl(&["status"]);
        let flows: Vec<_> = status.workers.iter().map(|it| it.flows).collect();
        assert_eq!(flows, placed, "each remembers those that it placed");
        assert_eq!(status.tables.flows, FLOWS);
        assert_eq!(status.ports.len(), 1);

        let listed: Vec<Flow> = bed.daemon.ctl(&["flow", "list"]);
        assert_eq!(listed.len() as u64, FLOWS);
        for connection in &connections {
            let source = connection.local();
            let flow = listed.iter().find(|flow| flow.source == source).unwrap();
            assert_eq!(flow.backend, connection.server);
            assert_eq!(flow.state, "established");
        }
    });
}

#[test]
fn round_robin_gives_each_server_its_turn_on_each_worker() {
    let setup = Setup::new().two_workers().scheduler("round-robin");
    testbed::run(setup, |bed| {
        let spread = bed.client("10.9.0.1").spread(GAME, 60);
        // Each worker has its own turn: they may be one apart on each.
        for (server, flows) in &spread {
            assert!((18..=22).contains(flows), "{server}: {spread:?}");
        }
        assert_spread(&spread);
    });
}
