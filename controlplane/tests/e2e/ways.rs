//! What every way to the servers has to carry, and the line that says that it did: `scripts/test` makes a
//! table of them.

use tether_api::operator::Protocol;

use crate::{
    affinity::starts_holds_and_ends,
    testbed::{
        self, Testbed,
        client::{Client, ask},
        setup::Setup,
        vip::{GAME, GAME6, SHOP, SHOP6, Vip},
    },
};

/// What a connection carries each way.
pub const STREAM: usize = 10 << 20;
/// Datagrams of a flow, and the bytes in each.
const DATAGRAMS: usize = 1000;
const DATAGRAM: usize = 1200;

/// Moves data there and back in one flow; how many bytes each way.
pub fn carry(client: Client<'_>, vip: Vip) -> usize {
    match vip.protocol {
        Protocol::Tcp => {
            let noise: Vec<u8> = (0..=250).cycle().take(STREAM).collect();
            client.connect(vip).echo(&noise);
            STREAM
        }
        Protocol::Udp => {
            carry_datagrams(client, vip, std::iter::repeat_n(DATAGRAM, DATAGRAMS));
            DATAGRAMS * DATAGRAM
        }
    }
}

/// Datagrams of these sizes in one flow, which has one server.
pub fn carry_datagrams(client: Client<'_>, vip: Vip, sizes: impl Iterator<Item = usize>) {
    let flow = client.datagrams(vip);
    let servers = sizes.map(|size| ask(&flow, &"x".repeat(size)).unwrap());
    let servers: std::collections::BTreeSet<_> = servers.collect();
    assert_eq!(servers.len(), 1, "{servers:?}");
}

/// Says that a way has carried so many bytes, and that an affinity was started by a signal and obeyed.
pub fn report(way: &str, vip: Vip, families: &str, bytes: usize) {
    let protocol = vip.protocol_name();
    println!("carried {way} {protocol} {families} {bytes} affinity ok");
}

/// What `tetherctl explain` calls the way of a service.
#[track_caller]
pub fn check_word(bed: &Testbed<'_>, vip: Vip, client: &str, way: &str) {
    let address = vip.address.to_string();
    let explained = bed
        .daemon
        .json(&["explain", vip.protocol_name(), client, &address]);
    assert_eq!(explained["forward"].as_str(), Some(way));
}

#[test]
fn r2_dsr_carries_everything_and_affinities_hold() {
    testbed::run(Setup::new(), |bed| {
        for (vip, address, other) in [
            (SHOP, "10.9.0.1", "10.9.0.3"),
            (SHOP6, "fd00:9::1", "fd00:9::3"),
            (GAME, "10.9.0.1", "10.9.0.3"),
            (GAME6, "fd00:9::1", "fd00:9::3"),
        ] {
            let bytes = carry(bed.client(address), vip);
            starts_holds_and_ends(bed, vip, address, other);
            check_word(bed, vip, address, "dsr");
            let digit = vip.family().digit();
            report("dsr", vip, &format!("{digit}to{digit}"), bytes);
        }
    });
}
