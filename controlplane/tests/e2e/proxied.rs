//! The PROXY protocol through full NAT: servers know their clients, and affinities name them.

use std::{
    fs,
    io::{self, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Stdio},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;
use tether_client::proxy;

use crate::testbed::{
    self, Testbed,
    nginx::Nginx,
    programs,
    server::FORWARDER,
    setup::Setup,
    vip::{Family, SHOP, SHOP6, Vip},
    wait::{SOON, wait_until},
};

/// What is sent there and back.
const FILE: usize = 12 << 20;
/// Connections that show where a client goes.
const CONNECTIONS: usize = 20;

fn proxied() -> Setup {
    Setup::new()
        .fullnat("pool = [\"10.9.0.200\", \"fd00:9::200\"]")
        .proxied()
}

/// What `curl` says on the client's host.
#[track_caller]
fn curl(bed: &Testbed<'_>, arguments: &[&str]) -> String {
    let mut curl = std::process::Command::new("curl");
    curl.args(["-sS", "--fail", "--globoff", "--max-time", "60"]);
    curl.args(arguments);
    let output = bed.network.client.inside(|| curl.output().unwrap());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Sends a file and gets it back by one connection from a port of a client.
fn carries(bed: &Testbed<'_>, nginx: &Nginx, vip: Vip, port: u16) {
    let [client, _] = vip.family().far_clients();
    let directory = TempDir::new().unwrap();
    let [sent, got] = ["sent", "got"].map(|name| directory.path().join(name));
    let noise: Vec<u8> = (0..=250).cycle().take(FILE).collect();
    fs::write(&sent, &noise).unwrap();
    let (sent, got) = (sent.to_str().unwrap(), got.to_str().unwrap());
    let from = ["--interface", client, "--local-port", &port.to_string()];
    let file = format!("http://{}/files/{port}", vip.address);
    let who = format!("http://{}/who", vip.address);
    let put = [&from[..], &["-T", sent, &file, "--next", "-sS"]].concat();
    let get = [&from[..], &["-o", got, &file, "--next", "-sS"]].concat();
    let said = curl(bed, &[&put[..], &get, &from, &[&who]].concat());

    let (to, at) = (vip.address.ip(), vip.address.port());
    assert_eq!(said, format!("{client} {port} {to} {at}"));
    assert!(fs::read(nginx.file(&port.to_string())).unwrap() == noise);
    assert!(fs::read(got).unwrap() == noise);
    let requests = nginx.requests();
    for (method, status) in [("PUT", 201), ("GET", 200)] {
        let line = format!("{client} {port} {method} {status}\n");
        assert!(requests.contains(&line), "{requests}");
    }
}

fn nginx_knows_its_clients(setup: Setup) {
    testbed::run(setup.servers(1), |bed| {
        let server = &mut bed.servers[0];
        server.kill();
        let nginx = Nginx::start(server.host, SHOP.port_at_servers());
        wait_until("nginx to be up", SOON, || {
            let backends = bed.daemon.json(&["backend", "list"]);
            let backends = backends.as_array().unwrap();
            backends.iter().all(|it| it["state"] == "up")
        });
        carries(bed, &nginx, SHOP, 40_004);
        carries(bed, &nginx, SHOP6, 40_006);
        let errors = nginx.errors();
        let broken = errors.lines().filter(|it| it.contains("broken header"));
        assert_eq!(broken.count(), 0, "{errors}");
    });
}

/// Health checks, which go there over IPv4 only, have a header of their own.
#[test]
fn nginx_over_ipv4_knows_clients_of_both_families() {
    nginx_knows_its_clients(proxied().backends_of(Family::V4).health());
}

#[test]
fn nginx_over_ipv6_knows_clients_of_both_families() {
    nginx_knows_its_clients(proxied().backends_of(Family::V6));
}

/// Takes one connection, says to whom before it hears a word, and echoes.
fn greet_and_echo(listener: &TcpListener) -> io::Result<u64> {
    let (stream, _) = listener.accept()?;
    let connection = proxy::accept(&stream, proxy::PATIENCE).map_err(io::Error::other)?;
    let (client, service) = (connection.client(), connection.destination());
    writeln!(&stream, "{client} {service}")?;
    io::copy(&mut &stream, &mut &stream)
}

/// The header comes with the acknowledgment that completes the handshake; and what the server sends
/// is acknowledged by a client that has nothing to say.
#[test]
fn a_server_that_speaks_first_knows_its_client() {
    testbed::run(proxied().servers(1), |bed| {
        bed.servers[0].kill();
        let host = bed.servers[0].host;
        let any = ("::", SHOP.port_at_servers());
        let listener = host.inside(|| TcpListener::bind(any).unwrap());
        for vip in [SHOP, SHOP6] {
            let listener = listener.try_clone().unwrap();
            let served = thread::spawn(move || greet_and_echo(&listener));
            let client = bed.client(vip.family().far_clients()[0]);
            let mut connection = client.connect(vip);
            let ends = format!("{} {}", connection.local(), vip.address);
            assert_eq!(connection.server, ends);
            let noise: Vec<u8> = (0..=250).cycle().take(FILE).collect();
            connection.echo(&noise);
            drop(connection);
            // The client aborts: the server hears of it, by a reset at the right place.
            let end = served.join().unwrap().unwrap_err();
            assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
        }
    });
}

/// The example shop on a server's host; killed when dropped.
struct Shop(Child);

impl Shop {
    fn open(server: &testbed::server::Server<'_>) -> Self {
        let mut command = server.host.command(&programs::shop());
        let port = SHOP.port_at_servers();
        command.args(["--listen", &format!("[::]:{port}"), "--name", &server.name]);
        command.args(["--tether", FORWARDER, "--proxy-protocol"]);
        command.env("RUST_LOG", "error").stdout(Stdio::null());
        let shop = Self(command.spawn().unwrap());
        wait_until("the shop to open", SOON, || {
            let connect = || TcpStream::connect(("127.0.0.1", port)).is_ok();
            server.host.inside(connect)
        });
        shop
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // Either may fail: it may have ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// What a new connection of a client says to a request.
#[track_caller]
fn ask(bed: &Testbed<'_>, client: &str, vip: Vip, request: &[&str]) -> Value {
    let (path, flags) = request.split_last().unwrap();
    let url = format!("http://{}{path}", vip.address);
    let said = curl(bed, &[&["--interface", client], flags, &[&url]].concat());
    serde_json::from_str(&said).unwrap()
}

/// Login starts an affinity of the real client, whose connections obey it until logout.
fn sticks(bed: &Testbed<'_>, vip: Vip) {
    let [client, other] = vip.family().far_clients();
    let directory = TempDir::new().unwrap();
    let cookies = directory.path().join("cookies");
    let cookies = cookies.to_str().unwrap();
    let login = ask(bed, client, vip, &["-X", "POST", "-c", cookies, "/login"]);
    assert_eq!(login["code"], "CREATED", "{login}");
    let owner = &login["server"];
    let held = bed
        .daemon
        .json(&["affinity", "list", "--service", vip.service]);
    assert_eq!(held[0]["source"], client, "{held}");
    assert_eq!(held[0]["owner"], *owner, "{held}");

    let servers = |client| {
        let asked = (0..CONNECTIONS).map(|_| ask(bed, client, vip, &["/"]));
        asked
            .map(|it| it["server"].to_string())
            .collect::<std::collections::BTreeSet<_>>()
    };
    for _ in 0..CONNECTIONS {
        let cart = ask(
            bed,
            client,
            vip,
            &["-X", "POST", "-b", cookies, "/cart?item=shoes"],
        );
        assert_eq!(cart["server"], *owner, "{cart}");
    }
    let seen = ask(bed, client, vip, &["/"]);
    let address = seen["client"]
        .as_str()
        .unwrap()
        .parse::<std::net::SocketAddr>();
    assert_eq!(address.unwrap().ip().to_string(), client);
    assert_eq!(seen["local"], vip.address.to_string());
    assert!(servers(other).len() > 1, "another client is balanced");

    let logout = ask(bed, client, vip, &["-X", "POST", "-b", cookies, "/logout"]);
    assert_eq!(logout["code"], "ENDED", "{logout}");
    assert_eq!(logout["cart"].as_array().unwrap().len(), CONNECTIONS);
    assert!(servers(client).len() > 1, "it is balanced again");
}

#[test]
fn r2_s5_a_shop_that_reads_the_header_keeps_its_clients() {
    testbed::run(proxied().two_workers(), |bed| {
        let shops: Vec<_> = bed
            .servers
            .iter_mut()
            .map(|server| {
                server.kill();
                Shop::open(server)
            })
            .collect();
        sticks(bed, SHOP);
        sticks(bed, SHOP6);
        drop(shops);
    });
}
