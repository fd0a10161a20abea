//! Connections without an affinity: spread over the servers, and whole.

use tether_api::operator::Protocol;

use crate::testbed::{
    self, Testbed,
    client::Spread,
    setup::{Driver, Setup},
    vip::{GAME, GAME6, SHOP, SHOP6, Vip},
};

/// Enough that a server without any is no chance.
const FLOWS: usize = 60;

/// Whether all three servers are in it.
#[track_caller]
pub fn assert_spread(spread: &Spread) {
    assert_eq!(spread.len(), 3, "not over all servers: {spread:?}");
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9).to_be_bytes())
        .take(length)
        .collect()
}

fn client_of(vip: Vip) -> &'static str {
    if vip.address.is_ipv4() {
        "10.9.0.1"
    } else {
        "fd00:9::1"
    }
}

fn spreads_and_is_whole(bed: &Testbed<'_>, vip: Vip) {
    let client = bed.client(client_of(vip));
    assert_spread(&client.spread(vip, FLOWS));
    match vip.protocol {
        Protocol::Tcp => {
            let mut connections: Vec<_> = (0..6).map(|_| client.connect(vip)).collect();
            let bytes = pattern(300_000);
            for connection in &mut connections {
                connection.echo(&bytes);
            }
        }
        Protocol::Udp => {
            let socket = client.datagrams(vip);
            let text = "x".repeat(1400);
            let first = testbed::client::ask(&socket, &text).unwrap();
            for _ in 0..20 {
                let server = testbed::client::ask(&socket, &text).unwrap();
                assert_eq!(server, first, "a flow stays with its server");
            }
        }
    }
}

#[test]
fn r3_tcp_over_ipv4_is_spread_and_whole() {
    testbed::run(Setup::new(), |bed| spreads_and_is_whole(bed, SHOP));
}

#[test]
fn r3_tcp_over_ipv6_is_spread_and_whole() {
    testbed::run(Setup::new(), |bed| spreads_and_is_whole(bed, SHOP6));
}

#[test]
fn r3_udp_over_ipv4_is_spread_and_whole() {
    testbed::run(Setup::new(), |bed| spreads_and_is_whole(bed, GAME));
}

#[test]
fn r3_udp_over_ipv6_is_spread_and_whole() {
    testbed::run(Setup::new(), |bed| spreads_and_is_whole(bed, GAME6));
}

#[test]
fn r3_tcp_and_udp_are_spread_and_whole_on_af_xdp() {
    testbed::run(Setup::new().driver(Driver::AfXdp), |bed| {
        for vip in [SHOP, SHOP6, GAME, GAME6] {
            spreads_and_is_whole(bed, vip);
        }
    });
}
