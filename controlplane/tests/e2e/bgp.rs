//! BGP over the forwarder's port: there is a route to the VIPs as long as there is a forwarder.
//!
//! ```text
//! bird on the client ── data ── DPDK's port ── tether0 ── bird on the forwarder
//!   its kernel has the route                               announces the VIPs
//! ```

use std::{fs, net::SocketAddr, path::Path};

use rustix::process::Signal;
use tether_api::operator::Protocol;

use crate::testbed::{
    self, Testbed,
    namespace::Namespace,
    network::Network,
    running::Running,
    setup::{Driver, Setup},
    vip::{Family, Vip},
    wait::{SOON, wait_until},
};

/// VIPs that are on no link of the client: only a route leads there.
fn far_shops() -> [Vip; 2] {
    let far = |service, address: &str| Vip {
        service,
        protocol: Protocol::Tcp,
        address: address.parse::<SocketAddr>().unwrap(),
    };
    [
        far("far-shop", "10.7.0.100:80"),
        far("far-shop6", "[fd00:7::100]:80"),
    ]
}

/// A tap, and the services of the far VIPs on every server.
fn setup() -> Setup {
    let mut setup = Setup::new()
        .driver(Driver::AfXdp)
        .port("kernel = \"tether0\"")
        .prepare(serve_the_far_shops);
    for vip in far_shops() {
        setup = setup.more(&format!(
            "[[service]]\nname = \"{}\"\naddress = \"{}\"\nport = {}",
            vip.service,
            vip.address.ip(),
            vip.address.port()
        ));
        for number in 1..=setup.server_count() {
            let address = vip.family().server_address(number);
            setup = setup.more(&format!(
                "[[service.backend]]\nname = \"server-{number}\"\naddress = \"{address}\""
            ));
        }
    }
    setup
}

fn serve_the_far_shops(network: &Network) {
    for server in &network.servers {
        server.ip("address add 10.7.0.100/32 dev lo\naddress add fd00:7::100/128 dev lo nodad");
    }
}

/// Routes come and go within seconds.
const IMPATIENT: &str =
    "hold time 3; connect delay time 1; connect retry time 1; error wait time 1, 1;";

fn of_forwarder() -> String {
    format!(
        "log stderr all;
        router id 10.9.0.2;
        protocol device {{ scan time 1; }}
        protocol static vips4 {{ ipv4; route 10.7.0.100/32 blackhole; }}
        protocol static vips6 {{ ipv6; route fd00:7::100/128 blackhole; }}
        protocol bgp client4 {{
            local 10.9.0.2 as 65002; neighbor 10.9.0.1 as 65001; {IMPATIENT}
            ipv4 {{ import none; export where proto = \"vips4\"; next hop self; }};
        }}
        protocol bgp client6 {{
            local fd00:9::2 as 65002; neighbor fd00:9::1 as 65001; {IMPATIENT}
            ipv6 {{ import none; export where proto = \"vips6\"; next hop self; }};
        }}"
    )
}

fn of_client() -> String {
    format!(
        "log stderr all;
        router id 10.9.0.1;
        protocol device {{ scan time 1; }}
        protocol kernel {{ ipv4 {{ import none; export where source = RTS_BGP; }}; }}
        protocol kernel {{ ipv6 {{ import none; export where source = RTS_BGP; }}; }}
        protocol bgp forwarder4 {{
            local 10.9.0.1 as 65001; neighbor 10.9.0.2 as 65002; {IMPATIENT}
            ipv4 {{ import all; export none; }};
        }}
        protocol bgp forwarder6 {{
            local fd00:9::1 as 65001; neighbor fd00:9::2 as 65002; {IMPATIENT}
            ipv6 {{ import all; export none; }};
        }}"
    )
}

/// A router that runs; killed when dropped.
struct Bird {
    _running: Running,
    control: String,
}

impl Bird {
    fn start(host: &Namespace, configuration: &str, directory: &Path) -> Self {
        let file = directory.join(format!("{}.bird", host.name()));
        fs::write(&file, configuration).unwrap();
        let control = format!("{}.ctl", file.display());
        let file = file.display().to_string();
        let arguments = ["-f", "-c", &file, "-s", &control];
        Self {
            _running: Running::start(host, "/usr/sbin/bird", &arguments, directory),
            control,
        }
    }

    /// Whether a session is established.
    fn has_session(&self, host: &Namespace, protocol: &str) -> bool {
        let mut birdc = std::process::Command::new("/usr/sbin/birdc");
        birdc.args(["-s", &self.control, "show", "protocols", protocol]);
        let output = host.inside(|| birdc.output().unwrap());
        String::from_utf8_lossy(&output.stdout).contains("Established")
    }
}

/// Whether the client's kernel has a route by BGP to this VIP.
fn has_route(client: &Namespace, vip: Vip) -> bool {
    let (option, forwarder) = match vip.family() {
        Family::V4 => ("-4", "via 10.9.0.2 "),
        Family::V6 => ("-6", "via fd00:9::2 "),
    };
    let routes = client.ip_output(&[option, "route", "show", "proto", "bird"]);
    let to = vip.address.ip().to_string();
    let mut routes = routes.lines();
    routes.any(|line| line.starts_with(&to) && line.contains(forwarder))
}

fn wait_for_routes(bed: &Testbed<'_>, are_there: bool) {
    for vip in far_shops() {
        let what = format!("the route to {} to be {are_there}", vip.address);
        wait_until(&what, SOON * 2, || {
            has_route(&bed.network.client, vip) == are_there
        });
    }
}

#[test]
fn a_vip_is_announced_by_bgp_over_the_forwarders_port_and_withdrawn_when_it_stops() {
    testbed::run(setup(), |bed| {
        let (client, forwarder) = (&bed.network.client, &bed.network.forwarder);
        let directory = bed.daemon.directory().to_owned();
        for vip in far_shops() {
            assert!(
                bed.client(vip.family().gateway())
                    .open(0, vip)
                    .greet()
                    .is_err()
            );
        }
        let theirs = Bird::start(client, &of_client(), &directory);
        let own = Bird::start(forwarder, &of_forwarder(), &directory);
        for protocol in ["client4", "client6"] {
            wait_until(&format!("{protocol} to be established"), SOON * 2, || {
                own.has_session(forwarder, protocol)
            });
        }
        wait_for_routes(bed, true);
        for vip in far_shops() {
            let mut connection = bed.client(vip.family().gateway()).connect(vip);
            connection.echo(b"by a route that was announced");
        }
        bed.daemon.check_accounts();

        bed.daemon.signal(Signal::TERM);
        bed.daemon.ended(SOON);
        wait_for_routes(bed, false);
        assert!(!theirs.has_session(client, "forwarder4"));

        bed.daemon.restart(&bed.setup.clone(), forwarder);
        wait_for_routes(bed, true);
        for vip in far_shops() {
            bed.client(vip.family().gateway()).reach(vip);
        }
    });
}
