//! Rules of the contract that no other test here shows from outside.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use etherparse::PacketBuilder;
use tether_api::{
    operator::{Affinity, AffinityCount, Backend, BackendState, Explanation, PlacedBy},
    v1::OutcomeCode,
};
use tether_client::Options;

use crate::{
    affinity::assert_sticks,
    edge::get,
    hostile::Attacker,
    testbed::{
        self, Testbed,
        flow::Flow,
        server::end,
        setup::{Driver, Setup},
        signals::{extend, say, start},
        vip::{GAME, GAME6, SHOP, Vip},
        wait::{SOON, wait_until},
    },
};

const CLIENT: &str = "10.9.0.1";
const FLOWS: usize = 40;

/// Has the daemon read its configuration with one line instead of another.
#[track_caller]
fn reload_with(bed: &Testbed<'_>, was: &str, is: &str) {
    let text = bed.setup.toml(bed.daemon.directory());
    assert!(text.contains(was), "{was:?} in {text}");
    let before = bed.daemon.log_len();
    bed.daemon.reload(&text.replace(was, is));
    bed.daemon
        .wait_for_log_after(before, "configuration is reloaded");
}

#[test]
fn r1_nothing_that_happens_to_affinities_and_backends_moves_a_live_flow() {
    let setup = Setup::new().affinity("on_conflict = \"replace\"");
    testbed::run(setup, |bed| {
        let client = bed.client(CLIENT);
        let mut flows: Vec<Flow> = vec![client.flow(SHOP), client.flow(GAME)];
        let go_on = |flows: &mut Vec<Flow>, after: &str| {
            for flow in flows {
                println!("after {after}: {}", flow.server());
                flow.goes_on();
            }
        };
        let (one, two) = (bed.server("server-1"), bed.server("server-2"));
        let (first, _) = one.bind_source(SHOP, CLIENT, Options::new());
        flows.push(client.flow(SHOP));
        go_on(&mut flows, "start");
        let short = Options::new().duration(Duration::from_millis(300));
        let (second, _) = two.bind_source(SHOP, CLIENT, short);
        flows.push(client.flow(SHOP));
        assert_eq!(flows.last().unwrap().server(), "server-2");
        go_on(&mut flows, "conflict");
        drop(first);
        drop(second.detach());
        let last = flows.pop().unwrap();
        wait_until("expiry", SOON, || count(bed) == 0);
        flows.push(last);
        go_on(&mut flows, "expiry");
        let (third, _) = one.bind_source(SHOP, CLIENT, Options::new());
        end(third);
        go_on(&mut flows, "end");
        for server in ["server-1", "server-2", "server-3"] {
            for verb in ["drain", "disable", "enable"] {
                bed.daemon.json(&["backend", verb, "shop", server]);
                go_on(&mut flows, verb);
            }
        }
        reload_with(
            bed,
            "protocol = \"tcp\"",
            "flow_timeout = \"4m\"\nprotocol = \"tcp\"",
        );
        go_on(&mut flows, "reload");
    });
}

fn count(bed: &Testbed<'_>) -> u64 {
    bed.daemon
        .ctl::<AffinityCount>(&["affinity", "count"])
        .total
}

#[test]
fn r4_a_syn_that_is_sent_again_follows_its_half_open_flow_over_a_start() {
    testbed::run(Setup::new(), |bed| {
        let attacker = Attacker::new(bed);
        let (source, port) = ([10, 9, 0, 77], 4000);
        let explain = || {
            let explained: Explanation =
                bed.daemon
                    .ctl(&["explain", "tcp", "10.9.0.77:4000", "10.9.0.100:80"]);
            (explained.by, explained.backend)
        };
        let syn = attacker.syn(source, port);
        attacker.send_all(bed, std::slice::from_ref(&syn));
        wait_until("the flow to be known", SOON, || {
            explain().0 == PlacedBy::Flow
        });
        let (_, first) = explain();
        let other = bed.server_other_than(first.as_deref().unwrap());
        let (_affinity, _) = other.bind_source(SHOP, "10.9.0.77", Options::new());
        attacker.send_all(bed, &[syn.clone(), syn]);
        assert_eq!(explain(), (PlacedBy::Flow, first));
        let workers = bed.daemon.check_accounts().workers;
        assert_eq!(workers[0].placed["affinity"], 0);
        let next = attacker.syn(source, port + 1);
        attacker.send_all(bed, &[next]);
        wait_until("a new flow to be placed by the affinity", SOON, || {
            bed.daemon.check_accounts().workers[0].placed["affinity"] == 1
        });
    });
}

/// Who answers a datagram so long that its sender has to cut it.
fn ask_at_length(socket: &UdpSocket) -> String {
    let text = [b'x'; 4000];
    socket.send(&text).unwrap();
    let mut reply = vec![0; 65_536];
    let len = socket.recv(&mut reply).expect("an answer to fragments");
    let reply = String::from_utf8_lossy(&reply[..len]).into_owned();
    let (server, echo) = reply.split_once('\n').unwrap();
    assert!(echo.len() > 1400, "{} bytes of it", echo.len());
    server.to_owned()
}

#[test]
fn r8_fragments_reach_the_owner_with_the_rest_of_their_flow() {
    // af_packet has its kernel put fragments of IPv4 together, beyond what its frames can hold.
    testbed::run(Setup::new().driver(Driver::AfXdp), |bed| {
        for (vip, client) in [(GAME, CLIENT), (GAME6, "fd00:9::1")] {
            let source = bed.client(client);
            let flow = source.datagrams(vip);
            let scheduled = testbed::client::ask(&flow, "short").unwrap();
            let owner = bed.server_other_than(&scheduled);
            assert_eq!(ask_at_length(&flow), scheduled, "R1");
            let (_affinity, _) = owner.bind_source(vip, client, Options::new());
            for _ in 0..20 {
                let flow = source.datagrams(vip);
                assert_eq!(ask_at_length(&flow), owner.name, "R2");
                assert_eq!(testbed::client::ask(&flow, "short").unwrap(), owner.name);
            }
            assert_eq!(ask_at_length(&flow), scheduled, "R1");
        }
        let fates = &bed.daemon.check_accounts().workers[0].fates;
        assert_eq!((fates["fragment"], fates["fragment_unknown"]), (0, 0));
    });
}

#[test]
fn r8_an_icmp_error_reaches_the_server_of_the_flow_that_it_is_about() {
    testbed::run(Setup::new(), |bed| {
        let client = bed.client(CLIENT);
        let socket = client.datagrams(GAME);
        let server = testbed::client::ask(&socket, "hello").unwrap();
        let attacker = Attacker::new(bed);
        let (port, mtu) = (socket.local_addr().unwrap().port(), 1300_u16);
        // What a router says of a packet from the VIP to the client that is too big for it.
        let mut quoted = Vec::new();
        PacketBuilder::ipv4([10, 9, 0, 100], [10, 9, 0, 1], 64)
            .udp(5000, port)
            .write(&mut quoted, &[0; 1400])
            .unwrap();
        let [high, low] = mtu.to_be_bytes();
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(attacker.card.mac(), attacker.target)
            .ipv4([10, 9, 0, 99], [10, 9, 0, 100], 64)
            .icmpv4_raw(3, 4, [0, 0, high, low])
            .write(&mut frame, &quoted[..28])
            .unwrap();
        attacker.send_all(bed, &[frame]);
        let knows = |name: &str| {
            let route = bed.server(name).host.output_of("ip", "route get 10.9.0.1");
            route.contains("mtu 1300")
        };
        wait_until("the server to know the MTU", SOON, || knows(&server));
        for other in bed.servers.iter().filter(|it| it.name != server) {
            assert!(!knows(&other.name), "{} knows it too", other.name);
        }
    });
}

#[test]
fn t4_traffic_keeps_no_affinity_alive_beyond_its_lifetime_cap() {
    let setup = Setup::new()
        .affinity("duration = \"2s\"")
        .affinity("lifetime_cap = \"3s\"");
    testbed::run(setup, |bed| {
        let client = bed.client(CLIENT);
        let (affinity, _) = bed
            .server("server-1")
            .bind_source(SHOP, CLIENT, Options::new());
        let began = Instant::now();
        drop(affinity.detach());
        let mut connection = client.connect(SHOP);
        wait_until("the lifetime to be over", SOON, || {
            connection.echo(b"still here");
            count(bed) == 0
        });
        let lived = began.elapsed();
        assert!(lived > Duration::from_millis(1900), "only for {lived:?}");
        assert!(lived < Duration::from_millis(3900), "for {lived:?}");
        connection.echo(b"R1");
    });
}

/// How often packets have looked to extend an affinity.
fn refreshes(bed: &Testbed<'_>) -> u64 {
    let page = get(&bed.network.forwarder, "/metrics");
    let lines = page.lines();
    let mut lines = lines.filter(|it| it.starts_with("tether_worker_refreshes_total{"));
    let line = lines.next().expect("a counter of refreshes");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn t7_a_thousand_packets_extend_an_affinity_once_a_tick() {
    testbed::run(Setup::new().affinity("duration = \"1h\""), |bed| {
        let (_affinity, _) = bed
            .server("server-1")
            .bind_source(SHOP, CLIENT, Options::new());
        let mut connection = bed.client(CLIENT).connect(SHOP);
        let before = refreshes(bed);
        let began = Instant::now();
        for _ in 0..1000 {
            connection.echo(b"a packet");
        }
        let ticks = began.elapsed().as_secs() + 2;
        let extended = refreshes(bed) - before;
        assert!(extended <= ticks, "{extended} times in {ticks} ticks");
    });
}

#[test]
fn t8_a_cap_that_is_lowered_holds_from_the_next_extension_on() {
    let cap = "duration_cap = \"8h\"";
    let setup = Setup::new()
        .affinity("duration = \"30m\"")
        .affinity(cap)
        .affinity("refresh = \"never\"");
    testbed::run(setup, |bed| {
        let owner = &bed.server("server-1").host;
        let long = |source: &str| tether_api::v1::StartRequest {
            duration_ms: 8 * 3_600_000,
            ..start(SHOP, source)
        };
        say(owner, long(CLIENT));
        reload_with(bed, cap, "duration_cap = \"1h\"");
        let list: Vec<Affinity> = bed.daemon.ctl(&["affinity", "list"]);
        assert!(list[0].remaining_ms.unwrap() > 7 * 3_600_000, "{list:?}");
        let extended = say(owner, extend(SHOP, CLIENT, 8 * 3_600_000));
        assert_eq!(extended.code(), OutcomeCode::Extended);
        assert!(extended.remaining_ms <= 3_600_000, "{extended:?}");
        let list: Vec<Affinity> = bed.daemon.ctl(&["affinity", "list"]);
        assert!(list[0].remaining_ms.unwrap() <= 3_600_000, "{list:?}");
        let started = say(owner, long("10.9.0.3"));
        assert_eq!(started.granted_ms, 3_600_000);
    });
}

#[test]
fn s2_no_connection_is_lost_while_affinities_start_and_end() {
    testbed::run(Setup::new().two_workers(), |bed| {
        let client = bed.client(CLIENT);
        let (mut bound, mut connections) = (0, 0);
        for round in 0..60 {
            let server = &bed.servers[round % bed.servers.len()];
            let opening: Vec<_> = (0..4).map(|_| client.open(0, SHOP)).collect();
            let (affinity, _) = server.bind_source(SHOP, CLIENT, Options::new());
            for opening in opening {
                let connection = opening.greet().expect("either outcome, but no drop");
                bound += usize::from(connection.server == server.name);
                connections += 1;
            }
            let opening: Vec<_> = (0..4).map(|_| client.open(0, SHOP)).collect();
            end(affinity);
            for opening in opening {
                opening.greet().expect("either outcome, but no drop");
                connections += 1;
            }
        }
        println!("{connections} connections, {bound} of those before an ack bound by it");
    });
}

#[test]
fn b2_trouble_of_one_backend_touches_no_affinity_of_another() {
    testbed::run(Setup::new().health(), |bed| {
        let other = "10.9.0.3";
        for (server, source) in [("server-1", CLIENT), ("server-2", other)] {
            let (affinity, _) = bed.server(server).bind_source(SHOP, source, Options::new());
            drop(affinity.detach());
        }
        let shown = || {
            let shown: Affinity = bed.daemon.ctl(&["affinity", "show", "shop", other]);
            (shown.owner, shown.state, shown.generation)
        };
        let before = shown();
        bed.daemon.json(&["backend", "drain", "shop", "server-1"]);
        bed.daemon.json(&["backend", "disable", "shop", "server-1"]);
        assert_eq!(shown(), before);
        bed.daemon.json(&["backend", "enable", "shop", "server-1"]);
        let place = bed.servers.iter().position(|it| it.name == "server-1");
        bed.servers[place.unwrap()].kill();
        wait_until("it to be down", SOON, || {
            let backends: Vec<Backend> = bed.daemon.ctl(&["backend", "list", "shop"]);
            backends.iter().any(|it| it.state == BackendState::Down)
        });
        let shown: Affinity = bed.daemon.ctl(&["affinity", "show", "shop", other]);
        assert_eq!((shown.owner, shown.state, shown.generation), before);
        assert_sticks(bed.client(other), SHOP, "server-2");
    });
}

/// The file with the backends of every service in the opposite order.
fn backwards(text: &str) -> String {
    let mut services = text.split("\n[[service]]\n");
    let mut turned = services.next().unwrap().to_owned();
    for service in services {
        let mut parts = service.split("\n[[service.backend]]\n");
        turned += "\n[[service]]\n";
        turned += parts.next().unwrap();
        for backend in parts.collect::<Vec<_>>().into_iter().rev() {
            turned += "\n[[service.backend]]\n";
            turned += backend.trim_end();
            turned += "\n";
        }
    }
    turned
}

#[test]
fn b4_a_backend_is_its_name_and_not_its_place_in_the_list() {
    testbed::run(Setup::new(), |bed| {
        let vips: [(Vip, &str); 2] = [(SHOP, "server-1"), (GAME, "server-3")];
        let mut held = Vec::new();
        for (vip, server) in vips {
            held.push(bed.server(server).bind_source(vip, CLIENT, Options::new()));
        }
        let mut live = bed.client(CLIENT).flow(SHOP);
        let before = bed.daemon.log_len();
        let text = backwards(&bed.setup.toml(bed.daemon.directory()));
        bed.daemon.reload(&text);
        bed.daemon
            .wait_for_log_after(before, "configuration is reloaded");
        let backends: Vec<Backend> = bed.daemon.ctl(&["backend", "list", "shop"]);
        assert_eq!(backends[0].name, "server-3", "the order has changed");
        for (vip, server) in vips {
            let spread = bed.client(CLIENT).spread(vip, FLOWS);
            assert_eq!(spread.get(server), Some(&FLOWS), "{vip:?}: {spread:?}");
        }
        live.goes_on();
    });
}
