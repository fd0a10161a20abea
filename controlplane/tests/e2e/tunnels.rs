//! Tunnels to the servers: what a client's kernel sends comes out of the tunnel at the server's, both
//! families within both; and affinities hold.

use tether_api::operator::Protocol;

use crate::{
    affinity::starts_holds_and_ends,
    testbed::{
        self, Testbed,
        client::ask,
        decapsulator::Decapsulator,
        setup::Setup,
        vip::{Family, GAME, GAME6, SHOP, SHOP6, Vip},
    },
};

/// What a connection carries each way.
const STREAM: usize = 10 << 20;
/// Datagrams of a flow, and the bytes in each.
const DATAGRAMS: usize = 1000;
const DATAGRAM: usize = 1200;

fn everything_through(mode: &'static str, outer: Family) {
    everything_by(Setup::new().forward(mode), mode, outer);
}

fn everything_by(setup: Setup, mode: &'static str, outer: Family) {
    testbed::run(setup.backends_of(outer), |bed| {
        let hosts = (1..).zip(&bed.network.servers);
        let ends: Vec<_> = hosts
            .map(|(number, host)| Decapsulator::start(host, number))
            .collect();
        for vip in [SHOP, SHOP6, GAME, GAME6] {
            through(bed, vip, mode, outer);
        }
        let packets: u64 = ends.iter().map(Decapsulator::packets).sum();
        assert!(packets > 10_000, "{packets} packets by way of the tunnels");
    });
}

/// R1 to R3 and S5 for this service; says so in a line.
fn through(bed: &Testbed<'_>, vip: Vip, mode: &str, outer: Family) {
    let (address, other) = match vip.family() {
        Family::V4 => ("10.9.0.1", "10.9.0.3"),
        Family::V6 => ("fd00:9::1", "fd00:9::3"),
    };
    let client = bed.client(address);
    let bytes = match vip.protocol {
        Protocol::Tcp => {
            let noise = (0..STREAM).map(|at| (at / 7 ^ at) as u8);
            client.connect(vip).echo(&noise.collect::<Vec<_>>());
            STREAM
        }
        Protocol::Udp => {
            let (flow, text) = (client.datagrams(vip), "x".repeat(DATAGRAM));
            let servers = (0..DATAGRAMS).map(|_| ask(&flow, &text).unwrap());
            let servers: std::collections::BTreeSet<_> = servers.collect();
            assert_eq!(servers.len(), 1, "{servers:?}");
            DATAGRAMS * DATAGRAM
        }
    };
    starts_holds_and_ends(bed, vip, address, other);
    let explained = bed.daemon.json(&[
        "explain",
        vip.protocol_name(),
        address,
        &vip.address.to_string(),
    ]);
    assert_eq!(explained["forward"], mode.split('-').next().unwrap());
    println!(
        "tunnel {mode} {} {}in{} {bytes} affinity ok",
        vip.protocol_name(),
        vip.family().digit(),
        outer.digit()
    );
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
