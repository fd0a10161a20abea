//! Services of every port and of a prefix of VIPs, which a router leads to the forwarder.

use std::net::SocketAddr;

use tether_api::operator::Protocol;

use crate::testbed::{
    self,
    network::Network,
    setup::Setup,
    vip::{Family, Vip},
};

/// What a client asks for at VIPs of the two prefixes: ports at which the servers listen.
const ADDRESSES: [&str; 5] = [
    "10.7.1.0:80",
    "10.7.1.3:443",
    "10.7.1.15:8080",
    "[fd00:7:1::]:80",
    "[fd00:7:1::ffff]:443",
];

fn routes_to_the_forwarder(network: &Network) {
    let prefixes = ["10.7.1.0/28", "fd00:7:1::/112"];
    let client = &network.client;
    client.ip("route add 10.7.1.0/28 via 10.9.0.2\nroute add fd00:7:1::/112 via fd00:9::2");
    for server in &network.servers {
        for prefix in prefixes {
            server.ip(&format!("route add local {prefix} dev lo"));
        }
    }
}

fn setup() -> Setup {
    let mut setup = Setup::new().prepare(routes_to_the_forwarder);
    for (name, prefix, family) in [
        ("all", "10.7.1.0/28", Family::V4),
        ("all6", "fd00:7:1::/112", Family::V6),
    ] {
        setup = setup.more(&format!(
            "[[service]]\nname = \"{name}\"\naddress = \"{prefix}\"\nport = 0"
        ));
        for number in 1..=setup.server_count() {
            setup = setup.more(&format!(
                "[[service.backend]]\nname = \"server-{number}\"\naddress = \"{}\"",
                family.server_address(number)
            ));
        }
    }
    setup
}

#[test]
fn every_port_of_every_address_of_a_prefix_is_served() {
    testbed::run(setup(), |bed| {
        for address in ADDRESSES {
            let vip = Vip {
                service: "",
                protocol: Protocol::Tcp,
                address: address.parse::<SocketAddr>().unwrap(),
            };
            let client = bed.client(vip.family().gateway());
            let spread = client.spread(vip, 20);
            assert!(spread.len() > 1, "{address}: {spread:?}");
            client.connect(vip).echo(b"served");
        }
        // Of no prefix.
        let beyond = Vip {
            service: "",
            protocol: Protocol::Tcp,
            address: "10.9.0.100:8080".parse().unwrap(),
        };
        let before = bed.daemon.check_accounts().workers[0].fates["no_service"];
        drop(bed.client("10.9.0.1").open(0, beyond));
        testbed::wait::wait_until("the SYN to be dropped", testbed::wait::SOON, || {
            bed.daemon.check_accounts().workers[0].fates["no_service"] > before
        });
    });
}
