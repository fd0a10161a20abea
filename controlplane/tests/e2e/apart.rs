//! Two ports, clients and servers apart: clients on one link, untagged; servers on another, where the
//! forwarder's port is in a VLAN of a trunk.
//!
//! ```text
//! client ── data ── forwarder ══ trunk: VLAN 200 ══ switch ── inside ── server-1..
//!                   data  inside                              10.6.0.0/24, fd00:6::/64
//! ```
//!
//! The switch takes off and puts on tags as a switch does between a trunk and its other ports, by
//! `testbed/trunk.py`: not every kernel has VLANs.

use std::path::Path;

use tether_api::operator::{NeighbourState, Status};

use crate::testbed::{
    self, Testbed,
    network::Network,
    running::Running,
    setup::Setup,
    vip::{Family, SHOP, SHOP6, VIPS},
    wait::{SOON, wait_until},
};

const VLAN: u16 = 200;

fn servers_apart(network: &Network) {
    network.add_bridge("inside");
    // Not into the bridge: the switch's trunk, which the test serves.
    network.lay(&network.forwarder, "f", "inside");
    network.forwarder.set("ipv6/conf/inside/disable_ipv6", "1");
    network
        .switch
        .ip("link add access type veth peer name access-port\n\
         link set access up\n\
         link set access-port master inside up");
    for end in ["access", "access-port"] {
        network.switch.finish_frames_of(end);
    }
    for (number, server) in (1..).zip(&network.servers) {
        network.plug_into(server, &format!("s{number}"), "inside");
        let host = 10 + number;
        server.ip(&format!(
            "address add 10.6.0.{host}/24 dev inside\naddress add fd00:6::{host}/64 dev inside nodad"
        ));
        for end in ["all", "inside", "data"] {
            server.set(&format!("ipv4/conf/{end}/rp_filter"), "0");
        }
    }
}

/// The second port, and the services with servers behind it; those of the usual setup are by `data`.
fn setup(forward: &'static str) -> Setup {
    let tables = format!(
        "[[port]]\ndevice = \"net_af_packet1\"\naddresses = [\"10.6.0.2/24\", \"fd00:6::2/64\"]\nvlan = {VLAN}"
    );
    Setup::new()
        .forward(forward)
        .servers_at("10.6.0.", "fd00:6::")
        .vdev("net_af_packet1,iface=inside,blocksz=4096,framesz=2048,framecnt=512")
        .prepare(servers_apart)
        .more(&tables)
}

/// The switch between the trunk and the servers' link, as long as it is kept.
fn switch(bed: &Testbed<'_>) -> Running {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/testbed/trunk.py");
    let vlan = VLAN.to_string();
    let directory: &Path = bed.daemon.directory();
    let arguments = ["-B", script, "f-inside", "access", &vlan];
    Running::start(
        &bed.network.switch,
        "/usr/bin/python3",
        &arguments,
        directory,
    )
}

fn wait_for_servers(bed: &Testbed<'_>) {
    wait_until("every server to be found", SOON, || {
        let status: Status = bed.daemon.ctl(&["status"]);
        let found = status.neighbours.iter();
        found
            .filter(|it| it.state == NeighbourState::Reachable)
            .count()
            >= 6
    });
}

#[test]
fn clients_and_servers_on_two_ports_with_a_vlan_by_direct_return() {
    testbed::run(setup("dsr"), |bed| {
        let _switch = switch(bed);
        wait_for_servers(bed);
        for vip in VIPS {
            let spread = bed.client(vip.family().gateway()).spread(vip, 30);
            assert!(spread.len() > 1, "{vip:?}: {spread:?}");
        }
        let mut connection = bed.client("10.9.0.1").connect(SHOP);
        connection.echo(&vec![7; 1 << 20]);
        let status: Status = bed.daemon.ctl(&["status"]);
        assert_eq!(status.ports.len(), 2);
        let sent = status.ports[1].counters.transmitted_packets;
        assert!(sent > 500, "{sent} packets by the port to the servers");
    });
}

#[test]
fn clients_and_servers_on_two_ports_with_a_vlan_by_nat() {
    let setup = setup("nat").prepare(|network| {
        servers_apart(network);
        for server in &network.servers {
            for (family, forwarder) in [(Family::V4, "10.6.0.2"), (Family::V6, "fd00:6::2")] {
                for address in family.far_clients() {
                    server.ip(&format!(
                        "route replace {address} via {forwarder} dev inside"
                    ));
                }
            }
        }
    });
    testbed::run(setup, |bed| {
        let _switch = switch(bed);
        wait_for_servers(bed);
        for vip in [SHOP, SHOP6] {
            let client = bed.client(vip.family().far_clients()[0]);
            assert!(client.spread(vip, 30).len() > 1);
            client.connect(vip).echo(&vec![7; 1 << 20]);
        }
        let returned = bed.daemon.check_accounts().workers[0].fates["returned"];
        assert!(returned > 500, "{returned} answers");
    });
}
