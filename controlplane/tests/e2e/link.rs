//! The forwarder as a neighbour on the link: ARP, NDP and ping, as the client's kernel asks.

use tether_api::operator::{NeighbourState, Status};

use crate::testbed::{
    self, Testbed,
    setup::{Driver, Setup},
    vip::{SHOP, SHOP6},
    wait::{SOON, wait_until},
};

fn answers_pings(bed: &Testbed<'_>) {
    for (client, address) in [
        ("10.9.0.1", "10.9.0.100"),
        ("10.9.0.1", "10.9.0.2"),
        ("fd00:9::1", "fd00:9::100"),
        ("fd00:9::1", "fd00:9::2"),
    ] {
        assert!(bed.client(client).ping(address), "{client} to {address}");
    }
    let status: Status = bed.daemon.ctl(&["status"]);
    let mac = &status.ports[0].mac;
    // Of the forwarder and of no server: those must not answer for a VIP.
    let neighbours = bed
        .network
        .client
        .ip_output(&["neighbour", "show", "dev", "data"]);
    for address in ["10.9.0.100 ", "10.9.0.2 ", "fd00:9::100 ", "fd00:9::2 "] {
        let mut lines = neighbours.lines();
        let line = lines.find(|line| line.starts_with(address));
        assert!(
            line.is_some_and(|line| line.contains(mac)),
            "{address}: {neighbours}"
        );
    }
    assert!(bed.daemon.check_accounts().workers[0].fates["answered"] >= 12);
}

#[test]
fn the_kernel_of_a_client_finds_and_pings_every_address() {
    testbed::run(Setup::new(), |bed| answers_pings(bed));
}

#[test]
fn the_kernel_of_a_client_finds_and_pings_every_address_on_af_xdp() {
    testbed::run(Setup::new().driver(Driver::AfXdp), |bed| answers_pings(bed));
}

#[test]
fn the_forwarder_finds_its_backends() {
    testbed::run(Setup::new(), |bed| {
        wait_until("every backend to be found", SOON, || {
            let status: Status = bed.daemon.ctl(&["status"]);
            // Three servers, two families.
            let known = status.neighbours.iter().filter(|it| it.mac.is_some());
            known
                .filter(|it| it.state == NeighbourState::Reachable)
                .count()
                == 6
        });
        // The first packets of a service wait for nobody then.
        bed.client("10.9.0.1").reach(SHOP);
        bed.client("fd00:9::1").reach(SHOP6);
    });
}
