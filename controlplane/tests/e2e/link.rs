//! The forwarder as a neighbour on the link: ARP, NDP and ping, as the client's kernel asks.

use etherparse::PacketBuilder;
use rustix::process::Signal;
use tether_api::operator::{NeighbourState, Port, Status};

use crate::testbed::{
    self, Testbed,
    client::ask,
    daemon::Daemon,
    frames::Card,
    network::Network,
    setup::{Driver, Setup},
    vip::{GAME, GAME6, SHOP, SHOP6},
    wait::{SOON, wait_until},
};

fn answers_pings(bed: &Testbed<'_>) {
    for (client, address) in [
        ("10.9.0.1", "10.9.0.100"),
        ("10.9.0.1", "10.9.0.2"),
        ("fd00:9::1", "fd00:9::100"),
        ("fd00:9::1", "fd00:9::2"),
    ] {
        assert!(bed.client(client).ping(address), "{client} to {address}");
    }
    let status: Status = bed.daemon.ctl(&["status"]);
    let mac = &status.ports[0].mac;
    // Of the forwarder and of no server: those must not answer for a VIP.
    let neighbours = bed
        .network
        .client
        .ip_output(&["neighbour", "show", "dev", "data"]);
    for address in ["10.9.0.100 ", "10.9.0.2 ", "fd00:9::100 ", "fd00:9::2 "] {
        let mut lines = neighbours.lines();
        let line = lines.find(|line| line.starts_with(address));
        assert!(
            line.is_some_and(|line| line.contains(mac)),
            "{address}: {neighbours}"
        );
    }
    assert!(bed.daemon.check_accounts().workers[0].fates["answered"] >= 12);
}

#[test]
fn the_kernel_of_a_client_finds_and_pings_every_address() {
    testbed::run(Setup::new(), |bed| answers_pings(bed));
}

#[test]
fn the_kernel_of_a_client_finds_and_pings_every_address_on_af_xdp() {
    testbed::run(Setup::new().driver(Driver::AfXdp), |bed| answers_pings(bed));
}

#[test]
fn the_forwarder_finds_its_backends() {
    testbed::run(Setup::new(), |bed| {
        wait_until("every backend to be found", SOON, || {
            let status: Status = bed.daemon.ctl(&["status"]);
            // Three servers, two families.
            let known = status.neighbours.iter().filter(|it| it.mac.is_some());
            known
                .filter(|it| it.state == NeighbourState::Reachable)
                .count()
                == 6
        });
        // The first packets of a service wait for nobody then.
        bed.client("10.9.0.1").reach(SHOP);
        bed.client("fd00:9::1").reach(SHOP6);
    });
}

/// A server that answers no ARP.
fn silent(network: &Network) {
    let server = &network.servers[0];
    server.ip("link set data address 02:00:00:00:09:0b");
    server.set("ipv4/conf/all/arp_ignore", "8");
}

#[test]
fn a_given_neighbour_is_not_asked_for_and_others_are_learned() {
    let given = "neighbour = [{ address = \"10.9.0.11\", mac = \"02:00:00:00:09:0b\" }]";
    let setup = Setup::new().servers(1).port(given).prepare(silent);
    testbed::run(setup, |bed| {
        bed.client("10.9.0.1").reach(SHOP);
        bed.client("fd00:9::1").reach(SHOP6);
        let status: Status = bed.daemon.ctl(&["status"]);
        let state = |address: &str| {
            let mut neighbours = status.neighbours.iter();
            let found = neighbours.find(|it| it.address.to_string() == address);
            found.unwrap().state
        };
        assert_eq!(state("10.9.0.11"), NeighbourState::Static);
        assert_eq!(state("fd00:9::11"), NeighbourState::Reachable);
    });
}

/// As the servers of a data centre do: whole segments of it, in one buffer each.
const JUMBO: u16 = 9000;

#[test]
fn jumbo_frames_pass_whole() {
    testbed::run(Setup::new().mtu(JUMBO), |bed| {
        bed.network.set_mtu(JUMBO);
        for vip in [SHOP, SHOP6] {
            let client = bed.client(vip.family().gateway());
            client.connect(vip).echo(&vec![7; 10 << 20]);
        }
        for vip in [GAME, GAME6] {
            let client = bed.client(vip.family().gateway());
            let flow = client.datagrams(vip);
            ask(&flow, &"x".repeat(1900)).unwrap();
        }
        let worker = &bed.daemon.check_accounts().workers[0];
        assert_eq!(worker.fates["frame_segmented"], 0);
        // Of two streams each way the clients' half: segments of 8960 bytes.
        let packets = worker.received;
        assert!(packets < 12_000, "{packets} packets for 20 MiB");
        let bytes = bed.daemon.ctl::<Status>(&["status"]).ports[0]
            .counters
            .received_bytes;
        assert!(bytes > 20 << 20, "{bytes} bytes");
    });
}

#[test]
fn an_mtu_that_the_driver_does_not_take_is_refused_at_start() {
    testbed::run(Setup::new(), |bed| {
        bed.daemon.signal(Signal::TERM);
        bed.daemon.ended(SOON);
        let wire = "[[port]]\ndevice = \"net_tap9\"\naddresses = [\"10.5.0.2/24\"]\nmtu = 9000";
        let setup = Setup::new().vdev("net_tap9,iface=wire").more(wire);
        let directory = bed.daemon.directory();
        let said = Daemon::refused(&bed.network.forwarder, directory, &setup.toml(directory));
        let expected = "port net_tap9: mtu = 9000 is more than its driver net_tap takes";
        assert!(said.contains(expected), "{said}");
    });
}

/// A port of DPDK's whose other end an interface of this host is: its link goes down with it.
#[test]
fn a_link_that_goes_down_is_told_and_the_kernels_part_follows() {
    let wire =
        "[[port]]\ndevice = \"net_tap9\"\naddresses = [\"10.5.0.2/24\"]\nkernel = \"tether1\"";
    let setup = Setup::new().vdev("net_tap9,iface=wire").more(wire);
    testbed::run(setup, |bed| {
        let forwarder = &bed.network.forwarder;
        let is_up = || {
            let status: Status = bed.daemon.ctl(&["status"]);
            (status.ports[1].link_up, status.ready)
        };
        let has_carrier = || {
            let shown = forwarder.ip_output(&["link", "show", "tether1"]);
            shown.contains("LOWER_UP") && !shown.contains("NO-CARRIER")
        };
        assert_eq!((is_up(), has_carrier()), ((true, true), true));
        forwarder.ip("link set wire down");
        bed.daemon.wait_for_log("port net_tap9: the link is down");
        wait_until("no carrier", SOON, || !has_carrier());
        assert_eq!(is_up(), (false, false));
        forwarder.ip("link set wire up");
        bed.daemon.wait_for_log("port net_tap9: the link is up");
        wait_until("the carrier", SOON, has_carrier);
        assert_eq!(is_up(), (true, true));
        // The other port has been there all the time.
        bed.client("10.9.0.1").reach(SHOP);
    });
}

/// A ping to the forwarder by the interface `wire`, whose IPv4 header checksum is off by so much.
fn ping_by_wire(to: [u8; 6], card: &Card, off_by: u8) -> Vec<u8> {
    let link = PacketBuilder::ethernet2(card.mac(), to);
    let ping = link.ipv4([10, 5, 0, 1], [10, 5, 0, 2], 64);
    let mut frame = Vec::new();
    ping.icmpv4_echo_request(1, 1)
        .write(&mut frame, b"sums")
        .unwrap();
    frame[24] ^= off_by;
    frame
}

#[test]
fn a_port_has_ipv4_headers_looked_at_where_its_device_can() {
    let wire = "[[port]]\ndevice = \"net_tap9\"\naddresses = [\"10.5.0.2/24\"]";
    let setup = Setup::new().vdev("net_tap9,iface=wire").more(wire);
    testbed::run(setup, |bed| {
        let status: Status = bed.daemon.ctl(&["status"]);
        let [packet, tap] = &status.ports[..] else {
            panic!("two ports")
        };
        let has = |port: &Port| port.offloads.iter().any(|it| it == "rx_ipv4_cksum");
        assert_eq!((has(packet), has(tap)), (false, true), "{status:?}");
        let card = Card::of(&bed.network.forwarder, "wire");
        let mac = tap.mac.split(':').map(|it| u8::from_str_radix(it, 16));
        let mac: Vec<u8> = mac.map(Result::unwrap).collect();
        let mac = <[u8; 6]>::try_from(mac).unwrap();
        for off_by in [0, 1, 0] {
            card.send(&ping_by_wire(mac, &card, off_by));
        }
        // Neighbours ask too.
        wait_until("two answers and one that is dropped", SOON, || {
            let fates = &bed.daemon.check_accounts().workers[0].fates;
            fates["answered"] >= 2 && fates["ipv4_checksum"] == 1
        });
    });
}

/// As a client is where another forwarder has had the VIPs until now.
fn somebody_else_has_the_vips(network: &Network) {
    for vip in ["10.9.0.100", "fd00:9::100"] {
        network.client.ip(&format!(
            "neighbour replace {vip} lladdr 02:00:00:00:00:99 dev data nud stale"
        ));
    }
}

#[test]
fn a_start_tells_the_link_where_the_vips_are_now() {
    let setup = Setup::new().prepare(somebody_else_has_the_vips);
    testbed::run(setup, |bed| {
        let status: Status = bed.daemon.ctl(&["status"]);
        let mac = &status.ports[0].mac;
        for vip in ["10.9.0.100", "fd00:9::100"] {
            wait_until(&format!("{vip} to be at {mac}"), SOON, || {
                let client = &bed.network.client;
                let shown = client.ip_output(&["neighbour", "show", vip, "dev", "data"]);
                shown.contains(mac)
            });
        }
        // Nobody has asked.
        assert_eq!(bed.daemon.check_accounts().workers[0].fates["answered"], 0);
    });
}
