//! Tunnels to the servers: what a client's kernel sends comes out of the tunnel at the server's, both
//! families within both; and affinities hold.

use crate::{
    affinity::starts_holds_and_ends,
    testbed::{
        self, Testbed,
        decapsulator::{Decapsulator, kernel_takes_off},
        setup::Setup,
        vip::{Family, GAME, GAME6, SHOP, SHOP6, Vip},
    },
    ways::{STREAM, carry, check_word, report},
};

fn everything_through(mode: &'static str, outer: Family) {
    let setup = Setup::new().forward(mode).backends_of(outer);
    testbed::run(setup, |bed| everything(bed, mode, outer));
}

fn everything(bed: &Testbed<'_>, mode: &str, outer: Family) {
    let hosts = (1..).zip(&bed.network.servers);
    let ends: Vec<_> = hosts
        .map(|(number, host)| Decapsulator::start(host, number))
        .collect();
    for vip in [SHOP, SHOP6, GAME, GAME6] {
        through(bed, vip, mode, outer);
    }
    let packets: u64 = ends.iter().map(Decapsulator::packets).sum();
    assert!(packets > 10_000, "{packets} packets by way of the tunnels");
    // TCP over both families began with segments for the client's own link, and learned what fits.
    let too_big = bed.daemon.check_accounts().workers[0].fates["packet_too_big"];
    assert!((2..100).contains(&too_big), "{too_big} packets too big");
}

/// R1 to R3 and S5 for this service; says so in a line.
fn through(bed: &Testbed<'_>, vip: Vip, mode: &str, outer: Family) {
    let (address, other) = match vip.family() {
        Family::V4 => ("10.9.0.1", "10.9.0.3"),
        Family::V6 => ("fd00:9::1", "fd00:9::3"),
    };
    let bytes = carry(bed.client(address), vip);
    starts_holds_and_ends(bed, vip, address, other);
    check_word(bed, vip, address, mode.split('-').next().unwrap());
    let families = format!("{}in{}", vip.family().digit(), outer.digit());
    report(mode, vip, &families, bytes);
}

#[test]
fn r2_ipip_over_ipv4_carries_everything_and_affinities_hold() {
    everything_through("ipip", Family::V4);
}

#[test]
fn r2_ipip_over_ipv6_carries_everything_and_affinities_hold() {
    everything_through("ipip", Family::V6);
}

#[test]
fn r2_gre_over_ipv4_carries_everything_and_affinities_hold() {
    everything_through("gre", Family::V4);
}

#[test]
fn r2_gre_over_ipv6_carries_everything_and_affinities_hold() {
    everything_through("gre", Family::V6);
}

#[test]
fn r2_gue_over_ipv4_carries_everything_and_affinities_hold() {
    everything_through("gue", Family::V4);
}

#[test]
fn r2_gue_over_ipv6_carries_everything_and_affinities_hold() {
    everything_through("gue", Family::V6);
}

/// The first server passes on what is for the others' addresses behind it.
pub(crate) fn route_by_the_first(bed: &Testbed<'_>, family: Family) {
    let servers = &bed.network.servers;
    let first = &servers[0];
    match family {
        Family::V4 => first.set("ipv4/ip_forward", "1"),
        Family::V6 => first.set("ipv6/conf/all/forwarding", "1"),
    }
    first.set("ipv4/conf/all/send_redirects", "0");
    for number in 2..=servers.len() {
        let (near, far) = (family.server_address(number), family.far_address(number));
        first.ip(&format!("route add {far} via {near} dev data"));
    }
}

/// Servers on a subnet of their own: their tunnels go by the gateway, from source addresses that tell
/// flows apart, and with the other variant of GUE.
#[test]
fn r2_tunnels_reach_servers_behind_a_gateway() {
    let setup = Setup::new()
        .forward("gue")
        .tunnel("variant = 0")
        .tunnel("source_prefix = \"10.97.0.0/16\"")
        .behind_the_first(Family::V4);
    testbed::run(setup, |bed| {
        for (number, server) in (1..).zip(&bed.network.servers) {
            let far = Family::V4.far_address(number);
            server.ip(&format!("address add {far}/32 dev lo"));
        }
        route_by_the_first(bed, Family::V4);
        everything(bed, "gue-0-routed", Family::V4);
    });
}

/// Nothing of ours at the servers.
#[test]
fn r2_the_servers_kernels_take_ipip_over_ipv6_apart() {
    let setup = Setup::new().forward("ipip").behind_the_first(Family::V6);
    testbed::run(setup, |bed| {
        route_by_the_first(bed, Family::V6);
        for vips in [[SHOP, GAME], [SHOP6, GAME6]] {
            for (number, server) in (1..).zip(&bed.network.servers) {
                kernel_takes_off(server, number, vips[0].family());
            }
            for vip in vips {
                through(bed, vip, "ipip-kernel", Family::V6);
            }
        }
    });
}

#[test]
fn jumbo_packets_go_through_tunnels() {
    const MTU: u16 = 9000;
    let setup = Setup::new().forward("ipip").mtu(MTU);
    testbed::run(setup, |bed| {
        bed.network.set_mtu(MTU);
        let hosts = (1..).zip(&bed.network.servers);
        let ends: Vec<_> = hosts
            .map(|(number, host)| Decapsulator::start(host, number))
            .collect();
        let client = bed.client("10.9.0.1");
        client.connect(SHOP).echo(&vec![7; STREAM]);
        // Data and acknowledgements; with an MTU of 1500 the data alone takes 7000.
        let packets: u64 = ends.iter().map(Decapsulator::packets).sum();
        assert!((1000..4000).contains(&packets), "{packets} packets");
        let too_big = bed.daemon.check_accounts().workers[0].fates["packet_too_big"];
        assert!((1..100).contains(&too_big), "{too_big} packets too big");
    });
}
