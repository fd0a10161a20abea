//! The path to a backend is narrower than the forwarder's own link: routers say so to the forwarder, and
//! the forwarder to clients.

use std::net::IpAddr;

use tether_client::Options;

use crate::{
    testbed::{
        self, Testbed,
        decapsulator::Decapsulator,
        setup::Setup,
        vip::{Family, SHOP, SHOP6, Vip},
    },
    tunnels::route_by_the_first,
};

/// What a connection carries each way.
const STREAM: usize = 2 << 20;
/// The longest packet that the first server, as a router, passes on to the second.
const NARROW: u16 = 1400;

/// How long a packet may be to an address, as the client's kernel has learned.
fn learned(bed: &Testbed<'_>, vip: IpAddr) -> Option<u16> {
    let route = bed
        .network
        .client
        .ip_output(&["route", "get", &vip.to_string()]);
    let mut words = route.split_whitespace().skip_while(|word| *word != "mtu");
    words.nth(1)?.parse().ok()
}

fn narrow(mode: &'static str, outer: Family, added: [u16; 2]) {
    let setup = Setup::new().forward(mode).behind_the_first(outer);
    testbed::run(setup, |bed| {
        route_by_the_first(bed, outer);
        let (near, far) = (outer.server_address(2), outer.far_address(2));
        let route = format!("route replace {far} via {near} dev data mtu lock {NARROW}");
        bed.network.servers[0].ip(&route);
        let hosts = (1..).zip(&bed.network.servers);
        let _ends: Vec<_> = hosts
            .map(|(number, host)| Decapsulator::start(host, number))
            .collect();
        let [to_shop, to_shop6] = added.map(|it| NARROW - it);
        carries(bed, SHOP, "10.9.0.1", to_shop);
        carries(bed, SHOP6, "fd00:9::1", to_shop6);
        let fates = &bed.daemon.check_accounts().workers[0].fates;
        assert!((1..100).contains(&fates["path_mtu"]), "{fates:?}");
    });
}

/// A connection by the narrow way is whole, and its client has learned how long packets may be.
fn carries(bed: &Testbed<'_>, vip: Vip, client: &str, fits: u16) {
    let (affinity, _) = bed
        .server("server-2")
        .bind_source(vip, client, Options::new());
    let mut connection = bed.client(client).connect(vip);
    assert_eq!(connection.server, "server-2");
    let noise: Vec<u8> = (0..=250).cycle().take(STREAM).collect();
    connection.echo(&noise);
    assert_eq!(learned(bed, vip.address.ip()), Some(fits));
    let shown = bed.daemon.json(&["backend", "list", vip.service]);
    let mtus = [&shown[0], &shown[1], &shown[2]].map(|it| it["path_mtu"].as_u64());
    assert_eq!(mtus, [None, Some(fits.into()), None], "{shown}");
    crate::testbed::server::end(affinity);
}

#[test]
fn a_router_over_ipv4_says_how_long_packets_may_be() {
    narrow("ipip", Family::V4, [20, 20]);
}

#[test]
fn a_router_over_ipv6_says_how_long_packets_may_be() {
    narrow("gue", Family::V6, [48, 48]);
}
