//! NAT: servers that know nothing of the VIP answer through the forwarder; what they signal is about the
//! address that they see.

use tether_api::operator::Protocol;

use crate::{
    affinity::starts_holds_and_ends,
    testbed::{
        self, Testbed,
        client::ask,
        setup::Setup,
        vip::{Family, GAME, GAME6, SHOP, SHOP6, Vip},
    },
};

/// What a connection carries each way.
const STREAM: usize = 10 << 20;
/// Datagrams of a flow, and the bytes in each.
const DATAGRAMS: usize = 1000;
const DATAGRAM: usize = 1200;
/// What a kernel sends in fragments over IPv6.
const CUT: usize = 1800;

fn nat() -> Setup {
    Setup::new().forward("nat")
}

/// R1 to R3 and S5 for this service.
fn through(bed: &Testbed<'_>, vip: Vip) {
    let [address, other] = vip.family().far_clients();
    let client = bed.client(address);
    match vip.protocol {
        Protocol::Tcp => {
            let noise: Vec<u8> = (0..=250).cycle().take(STREAM).collect();
            client.connect(vip).echo(&noise);
        }
        Protocol::Udp => {
            let flow = client.datagrams(vip);
            let cut = (vip.family() == Family::V6).then_some(CUT);
            let sizes = std::iter::repeat_n(DATAGRAM, DATAGRAMS).chain(cut);
            let servers = sizes.map(|size| ask(&flow, &"x".repeat(size)).unwrap());
            let servers: std::collections::BTreeSet<_> = servers.collect();
            assert_eq!(servers.len(), 1, "{servers:?}");
        }
    }
    starts_holds_and_ends(bed, vip, address, other);
}

/// The packets that came back through the forwarder.
fn returned(bed: &Testbed<'_>) -> Vec<u64> {
    let workers = bed.daemon.check_accounts().workers;
    workers.iter().map(|it| it.fates["returned"]).collect()
}

fn carries(bed: &Testbed<'_>, vip: Vip) {
    through(bed, vip);
    let answers: u64 = returned(bed).iter().sum();
    assert!(answers > 1000, "{answers} answers");
}

#[test]
fn r2_s5_nat_carries_tcp_over_ipv4_and_affinities_hold() {
    testbed::run(nat(), |bed| carries(bed, SHOP));
}

#[test]
fn r2_s5_nat_carries_tcp_over_ipv6_and_affinities_hold() {
    testbed::run(nat(), |bed| carries(bed, SHOP6));
}

#[test]
fn r2_s5_nat_carries_udp_over_ipv4_and_affinities_hold() {
    testbed::run(nat(), |bed| carries(bed, GAME));
}

#[test]
fn r2_s5_nat_carries_udp_over_ipv6_and_affinities_hold() {
    testbed::run(nat(), |bed| carries(bed, GAME6));
}

#[test]
fn r2_two_workers_send_answers_on() {
    testbed::run(nat().two_workers(), |bed| {
        for vip in [SHOP, SHOP6, GAME, GAME6] {
            through(bed, vip);
        }
        let answers = returned(bed);
        assert!(answers.iter().all(|it| *it > 100), "{answers:?}");
    });
}

/// The kernel's ICMP error quotes the packet as the server got it; the client's kernel takes it for its
/// own.
#[test]
fn r8_a_client_is_told_that_nobody_listens() {
    testbed::run(nat(), |bed| {
        for vip in [GAME, GAME6] {
            let client = bed.client(vip.family().far_clients()[0]);
            client.ask(0, vip, "who").unwrap();
        }
        for server in &mut bed.servers {
            server.kill();
        }
        for vip in [GAME, GAME6] {
            let client = bed.client(vip.family().far_clients()[0]);
            let refused = client.ask(0, vip, "who").unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }
    });
}
