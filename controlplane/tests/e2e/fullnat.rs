//! Full NAT: servers know neither the VIP nor their clients, and have no route to them; they answer
//! local addresses. What they signal names the client, whom they would learn from the PROXY protocol.

use tether_api::operator::Protocol;
use tether_client::{Options, OutcomeCode};

use crate::{
    affinity::holds_and_ends,
    edge::get,
    testbed::{
        self, Testbed,
        setup::Setup,
        vip::{Family, GAME, GAME6, SHOP, SHOP6, Vip},
    },
    ways::{carry, carry_datagrams, check_word, report},
};

/// What a kernel sends in fragments over IPv6.
const CUT: usize = 1800;

/// Local addresses of both families on the servers' subnets.
const POOL: &str = "pool = [\"10.9.0.200\", \"10.9.0.208/31\", \"fd00:9::200\"]";

fn fullnat() -> Setup {
    Setup::new().fullnat(POOL)
}

/// R1 to R3 for this service, by way of backends of a family; says so by the name of the way.
fn through(bed: &Testbed<'_>, vip: Vip, backends: Family, way: &str) {
    let [address, other] = vip.family().far_clients();
    let client = bed.client(address);
    let bytes = carry(client, vip);
    let is_mixed = vip.family() != backends;
    if !is_mixed && (vip.protocol, backends) == (Protocol::Udp, Family::V6) {
        carry_datagrams(client, vip, std::iter::once(CUT));
    }
    holds_and_ends(bed, vip, [address, other], |server, _| {
        server.bind_source(vip, address, Options::new())
    });
    check_word(bed, vip, address, "fullnat");
    let families = format!("{}to{}", vip.family().digit(), backends.digit());
    report(way, vip, &families, bytes);
}

/// A counter or gauge, of all workers together.
fn metric(bed: &Testbed<'_>, name: &str) -> u64 {
    let page = get(&bed.network.forwarder, "/metrics");
    let start = format!("{name}{{");
    let lines = page.lines().filter(|it| it.starts_with(&start));
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

fn carries(vip: Vip, backends: Family) {
    testbed::run(fullnat().backends_of(backends), |bed| {
        through(bed, vip, backends, "fullnat");
        let workers = bed.daemon.check_accounts().workers;
        let returned = workers[0].fates["returned"];
        assert!(returned > 1000, "{returned} answers");
        let used = metric(bed, "tether_worker_local_ports_used");
        assert!((1..2000).contains(&used), "{used} local ports in use");
        assert_eq!(metric(bed, "tether_worker_local_ports"), 4 * 64_512);
    });
}

#[test]
fn r2_fullnat_carries_tcp_over_ipv4_and_affinities_hold() {
    carries(SHOP, Family::V4);
}

#[test]
fn r2_fullnat_carries_tcp_over_ipv6_and_affinities_hold() {
    carries(SHOP6, Family::V6);
}

#[test]
fn r2_fullnat_carries_udp_over_ipv4_and_affinities_hold() {
    carries(GAME, Family::V4);
}

#[test]
fn r2_fullnat_carries_udp_over_ipv6_and_affinities_hold() {
    carries(GAME6, Family::V6);
}

#[test]
fn r2_fullnat_carries_tcp_from_ipv4_to_ipv6_and_affinities_hold() {
    carries(SHOP, Family::V6);
}

#[test]
fn r2_fullnat_carries_tcp_from_ipv6_to_ipv4_and_affinities_hold() {
    carries(SHOP6, Family::V4);
}

#[test]
fn r2_fullnat_carries_udp_from_ipv4_to_ipv6_and_affinities_hold() {
    carries(GAME, Family::V6);
}

#[test]
fn r2_fullnat_carries_udp_from_ipv6_to_ipv4_and_affinities_hold() {
    carries(GAME6, Family::V4);
}

/// The kernel spreads answers over both queues as it likes: what comes to the wrong one is handed over.
#[test]
fn r2_two_workers_hand_answers_over() {
    testbed::run(fullnat().two_workers(), |bed| {
        for vip in [SHOP, SHOP6, GAME, GAME6] {
            through(bed, vip, vip.family(), "fullnat-2");
        }
        let workers = bed.daemon.check_accounts().workers;
        let returned: Vec<_> = workers.iter().map(|it| it.fates["returned"]).collect();
        assert!(returned.iter().all(|it| *it > 100), "{returned:?}");
        let taken = metric(bed, "tether_worker_taken_over_total");
        assert!(taken > 100, "{taken} were handed over");
    });
}

/// The kernel's ICMP error quotes the packet as the server got it; the client's kernel takes it for its
/// own, of whichever family the server is.
#[test]
fn r8_a_client_is_told_that_nobody_listens() {
    for backends in [Family::V4, Family::V6] {
        testbed::run(fullnat().backends_of(backends), |bed| {
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
}

#[test]
fn s5_a_server_that_names_its_peer_is_told_that_it_is_no_client() {
    testbed::run(fullnat(), |bed| {
        let client = bed.client(Family::V4.far_clients()[0]);
        let connection = client.connect(SHOP);
        let server = bed.server(&connection.server);
        let source = "10.9.0.200".parse().unwrap();
        let started = server
            .tether()
            .start_source(SHOP.address, source, Options::new());
        let outcome = started.wait(testbed::wait::SOON).unwrap();
        assert_eq!(outcome.code, OutcomeCode::Invalid, "{outcome:?}");
        assert!(outcome.detail.contains("PROXY protocol"), "{outcome:?}");
    });
}
