//! The kernel's part of a port: hosts talk to the kernel of the forwarder, and it to them, by the port
//! that DPDK has.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use socket2::{Domain, Socket, Type};
use tether_api::operator::{Stats, Status};

use crate::testbed::{
    self, Testbed,
    client::Client,
    daemon::Daemon,
    namespace::Namespace,
    network::Network,
    running::Running,
    setup::{Driver, Setup},
    vip::{Family, GAME, GAME6, SHOP, SHOP6},
    wait::{SOON, wait_until},
};

/// What a connection carries each way.
const STREAM: usize = 4 << 20;
/// Where nobody listens but a test.
const PORT: u16 = 2222;

/// On `af_xdp`: its kernel gets nothing of the port but by the tap.
fn with_tap() -> Setup {
    Setup::new()
        .driver(Driver::AfXdp)
        .port("kernel = \"tether0\"")
}

/// On `af_packet` with two workers: what the interface would leave to the kernel is dropped there.
fn with_tap_and_two_workers() -> Setup {
    Setup::new()
        .two_workers()
        .port("kernel = \"tether0\"")
        .prepare(drop_for_the_kernel)
}

fn drop_for_the_kernel(network: &Network) {
    let rules = "add table netdev tether; add chain netdev tether data \
                 { type filter hook ingress device data priority 0; policy drop; }";
    let mut nft = std::process::Command::new("nft");
    nft.arg(rules);
    network
        .forwarder
        .inside(|| testbed::namespace::succeed(&mut nft));
}

/// A connection from one host to another carries a stream each way.
#[track_caller]
fn echoes(from: (&Namespace, &str), to: (&Namespace, &str)) {
    let to_address = SocketAddr::new(to.1.parse().unwrap(), PORT);
    let listener = to.0.inside(|| TcpListener::bind(to_address)).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => return,
                bytes => stream.write_all(&buffer[..bytes]).unwrap(),
            }
        }
    });
    let mut stream = connect(from, to_address);
    let sent: Vec<u8> = (0..=250).cycle().take(STREAM).collect();
    let mut writer = stream.try_clone().unwrap();
    let back = thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&sent).unwrap());
        let mut back = vec![0; STREAM];
        stream.read_exact(&mut back).map(|()| back)
    });
    assert!(back.unwrap() == sent, "bytes came back changed");
    drop((stream, writer));
    server.join().unwrap();
}

#[track_caller]
fn connect((host, address): (&Namespace, &str), to: SocketAddr) -> TcpStream {
    let address: IpAddr = address.parse().unwrap();
    let domain = Domain::for_address(to);
    let socket = host.inside(|| Socket::new(domain, Type::STREAM, None).unwrap());
    socket.bind(&SocketAddr::new(address, 0).into()).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket.set_write_timeout(Some(SOON)).unwrap();
    let connected = socket.connect_timeout(&to.into(), SOON);
    connected.unwrap_or_else(|error| panic!("{address} to {to}: {error}"));
    socket.into()
}

/// How many packets of a fate all workers have seen.
fn fate(stats: &Stats, name: &str) -> u64 {
    stats.workers.iter().map(|it| it.fates[name]).sum()
}

/// With `fragments`, also of IPv4.
fn both_ways(bed: &Testbed<'_>, fragments: bool) {
    let (client, forwarder) = (&bed.network.client, &bed.network.forwarder);
    for (theirs, own) in [("10.9.0.1", "10.9.0.2"), ("fd00:9::1", "fd00:9::2")] {
        echoes((client, theirs), (forwarder, own));
        echoes((forwarder, own), (client, theirs));
        let kernel = Client {
            host: forwarder,
            address: own.parse().unwrap(),
        };
        assert!(kernel.ping(theirs), "{own} to {theirs}");
        assert!(bed.client(theirs).ping(own), "{theirs} to {own}");
        if fragments || theirs.contains(':') {
            // Only the kernel puts them together.
            let arguments = format!("-c 2 -i 0.2 -W 2 -s 4000 -I {theirs} {own}");
            client.output_of("ping", &arguments);
        }
    }
    for vip in [SHOP, SHOP6, GAME, GAME6] {
        bed.client(vip.family().gateway()).reach(vip);
    }
    let stats = bed.daemon.check_accounts();
    // A stream each way is some thousand segments, both ways.
    for name in ["to_kernel", "from_kernel"] {
        assert!(fate(&stats, name) > 5000, "{name}: {stats:?}");
    }
    assert_eq!(fate(&stats, "kernel_refused"), 0);
}

#[test]
fn hosts_reach_the_kernel_of_the_forwarder_and_it_reaches_them() {
    let setup = with_tap().port("kernel_rate = 1000000");
    testbed::run(setup, |bed| {
        both_ways(bed, true);
        let status: Status = bed.daemon.ctl(&["status"]);
        let shown = bed
            .network
            .forwarder
            .ip_output(&["address", "show", "tether0"]);
        for expected in [
            &status.ports[0].mac,
            "mtu 1500",
            "inet 10.9.0.2/24",
            "inet6 fd00:9::2/64",
        ] {
            assert!(shown.contains(expected), "{expected}: {shown}");
        }
        bed.daemon.signal(rustix::process::Signal::TERM);
        bed.daemon.ended(SOON);
        let shown = bed.network.forwarder.ip_output(&["link", "show"]);
        assert!(!shown.contains("tether0"), "gone with the daemon: {shown}");
    });
}

#[test]
fn two_workers_have_a_queue_of_it_each() {
    let setup = with_tap_and_two_workers().port("kernel_rate = 1000000");
    testbed::run(setup, |bed| {
        // Between two workers `af_packet` spreads packets of IPv4 whole, and its frames do not hold them.
        both_ways(bed, false);
        for worker in bed.daemon.check_accounts().workers {
            assert!(
                worker.fates["from_kernel"] > 0,
                "had no part in it: {worker:?}"
            );
        }
    });
}

/// The limit slows a stream down; nothing that is sent to the services is lost by it.
#[test]
fn a_flood_for_the_kernel_is_limited_and_services_do_not_notice() {
    testbed::run(with_tap().port("kernel_rate = 500"), |bed| {
        let socket = bed
            .network
            .client
            .inside(|| UdpSocket::bind("10.9.0.1:0"))
            .unwrap();
        let limited = |bed: &Testbed<'_>| fate(&bed.daemon.check_accounts(), "kernel_rate_limited");
        wait_until("the limit", SOON, || {
            for _ in 0..500 {
                // Refusals by ICMP are its answers.
                drop(socket.send_to(b"flood", ("10.9.0.2", 9)));
            }
            limited(bed) > 1000
        });
        for vip in [SHOP, SHOP6, GAME, GAME6] {
            bed.client(vip.family().gateway()).reach(vip);
        }
        let (client, forwarder) = (&bed.network.client, &bed.network.forwarder);
        let stream = connect_back(client, forwarder);
        drop(stream);
    });
}

/// A connection of the client to the kernel, small as it is.
fn connect_back(client: &Namespace, forwarder: &Namespace) -> TcpStream {
    let at: SocketAddr = "10.9.0.2:2222".parse().unwrap();
    let listener = forwarder.inside(|| TcpListener::bind(at)).unwrap();
    let stream = connect((client, "10.9.0.1"), at);
    drop(listener.accept().unwrap());
    stream
}

/// The host talks to the servers of a service with NAT by their own addresses: their answers are its own,
/// those to clients the VIP's.
#[test]
fn the_host_reaches_servers_of_a_service_with_nat() {
    testbed::run(with_tap().forward("nat"), |bed| {
        let forwarder = &bed.network.forwarder;
        forwarder.ip("route delete 10.9.0.11/32 dev control");
        for vip in [SHOP, SHOP6] {
            let own = match vip.family() {
                Family::V4 => "10.9.0.2",
                Family::V6 => "fd00:9::2",
            };
            let mut greeting = [0; 9];
            let mut stream = connect((forwarder, own), vip.at_server(1));
            stream.read_exact(&mut greeting).unwrap();
            assert_eq!(&greeting, b"server-1\n");
            bed.client(vip.family().far_clients()[0]).reach(vip);
        }
    });
}

/// What is broadcast comes in, what the kernel broadcasts goes out: a client on the forwarder gets a lease.
#[test]
fn dhcp_works_over_it() {
    testbed::run(with_tap(), |bed| {
        let directory = bed.daemon.directory();
        let leases = directory.join("leases");
        let _server = Running::start(
            &bed.network.client,
            "/usr/sbin/dnsmasq",
            &[
                "--keep-in-foreground",
                "--log-facility=-",
                "--conf-file=/dev/null",
                "--user=root",
                "--pid-file=",
                "--port=0",
                "--no-ping",
                "--interface=data",
                "--bind-interfaces",
                "--dhcp-range=10.9.0.200,10.9.0.209,255.255.255.0,1h",
                "--dhcp-authoritative",
                &format!("--dhcp-leasefile={}", leases.display()),
            ],
            directory,
        );
        let mut client = Running::start(
            &bed.network.forwarder,
            "/usr/bin/busybox",
            &[
                "udhcpc",
                "-f",
                "-n",
                "-q",
                "-t",
                "8",
                "-T",
                "1",
                "-i",
                "tether0",
                "-s",
                "/bin/true",
            ],
            directory,
        );
        let ended = client.ended();
        assert!(ended.success(), "{ended}: {}", client.log());
        assert!(
            client.log().contains("lease of 10.9.0.20"),
            "{}",
            client.log()
        );
        let status: Status = bed.daemon.ctl(&["status"]);
        let lease = std::fs::read_to_string(leases).unwrap();
        assert!(lease.contains(&status.ports[0].mac), "{lease}");
    });
}

/// A name that is taken, and one too many: the daemon says what to do, and leaves nothing behind.
#[test]
fn a_tap_that_cannot_be_made_is_an_error_that_says_what_to_do() {
    testbed::run(with_tap(), |bed| {
        bed.daemon.signal(rustix::process::Signal::TERM);
        bed.daemon.ended(SOON);
        let forwarder = &bed.network.forwarder;
        forwarder.ip("link add tether0 type veth peer name other");
        let directory = bed.daemon.directory();
        let said = Daemon::refused(forwarder, directory, &bed.setup.toml(directory));
        let expected =
            "port net_af_xdp0: kernel = \"tether0\": an interface of that name is there already";
        assert!(
            said.contains(expected) && said.contains("ip link delete tether0"),
            "{said}"
        );
    });
}
