//! NAT: servers that know nothing of the VIP answer through the forwarder; what they signal is about the
//! address that they see.

use tether_api::operator::Protocol;

use crate::{
    affinity::starts_holds_and_ends,
    testbed::{
        self, Testbed,
        setup::Setup,
        vip::{Family, GAME, GAME6, SHOP, SHOP6, Vip},
    },
    ways::{carry, carry_datagrams, check_word, report},
};

/// What a kernel sends in fragments over IPv6.
const CUT: usize = 1800;

fn nat() -> Setup {
    Setup::new().forward("nat")
}

/// R1 to R3 and S5 for this service.
fn through(bed: &Testbed<'_>, vip: Vip, way: &str) {
    let [address, other] = vip.family().far_clients();
    let client = bed.client(address);
    let bytes = carry(client, vip);
    if (vip.protocol, vip.family()) == (Protocol::Udp, Family::V6) {
        carry_datagrams(client, vip, std::iter::once(CUT));
    }
    starts_holds_and_ends(bed, vip, address, other);
    check_word(bed, vip, address, "nat");
    let digit = vip.family().digit();
    report(way, vip, &format!("{digit}to{digit}"), bytes);
}

/// The packets that came back through the forwarder.
fn returned(bed: &Testbed<'_>) -> Vec<u64> {
    let workers = bed.daemon.check_accounts().workers;
    workers.iter().map(|it| it.fates["returned"]).collect()
}

fn carries(bed: &Testbed<'_>, vip: Vip) {
    through(bed, vip, "nat");
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
            through(bed, vip, "nat-2");
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
