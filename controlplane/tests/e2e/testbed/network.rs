//! Hosts on a switch.
//!
//! ```text
//! client ─────┐           data     10.9.0.0/24  fd00:9::/64   what clients send
//! forwarder ──┤ switch    control  10.8.0.0/24                signals and health checks
//! server-1.. ─┘
//! ```
//!
//! The forwarder's end of `data` belongs to DPDK: its kernel has no address there. Servers have the
//! VIPs on their loopback, do not answer ARP for them, and answer clients directly (DSR).

use super::{namespace::Namespace, vip::Family};

/// Addresses of the client: some in 10.9.0.32/28 and `fd00:9::1:0/112`, some not.
const CLIENT: &[&str] = &[
    "10.9.0.1/24",
    "10.9.0.3/24",
    "10.9.0.4/24",
    "10.9.0.31/24",
    "10.9.0.33/24",
    "10.9.0.34/24",
    "10.9.0.46/24",
    "10.9.0.48/24",
    "fd00:9::1/64",
    "fd00:9::3/64",
    "fd00:9::1:1/64",
    "fd00:9::1:2/64",
    "fd00:9::2:1/64",
];

/// The two bridges, and an interface of that name on every host.
const LINKS: [&str; 2] = ["data", "control"];

/// The hosts.
#[derive(Debug)]
pub struct Network {
    pub client: Namespace,
    pub forwarder: Namespace,
    pub servers: Vec<Namespace>,
    // After the hosts: the last namespace of a pair deletes the pair.
    pub switch: Namespace,
}

impl Network {
    /// A client, the forwarder and so many servers.
    pub fn create(prefix: &str, servers: usize) -> Self {
        let host = |name: &str| Namespace::create(format!("{prefix}-{name}"));
        let network = Self {
            client: host("client"),
            forwarder: host("forwarder"),
            servers: (1..=servers).map(|n| host(&format!("s{n}"))).collect(),
            switch: host("switch"),
        };
        network.create_switch();
        network.create_client();
        network.create_forwarder();
        for (number, server) in (1..).zip(&network.servers) {
            network.create_server(server, number);
        }
        network
    }

    /// Every link carries packets as long as this.
    pub fn set_mtu(&self, mtu: u16) {
        let servers = (1..=self.servers.len()).map(|number| format!("s{number}"));
        let hosts = ["c".to_owned(), "f".to_owned()].into_iter().chain(servers);
        for short in hosts {
            self.switch.ip(&format!("link set {short}-data mtu {mtu}"));
        }
        for host in self.servers.iter().chain([&self.client, &self.forwarder]) {
            host.ip(&format!("link set data mtu {mtu}"));
        }
    }

    /// Clients are behind a gateway, which the client is; servers do not know of them.
    pub fn add_far_clients(&self) {
        for family in [Family::V4, Family::V6] {
            for address in family.far_clients() {
                self.client.ip(&add(address, "data"));
            }
        }
    }

    /// Servers answer those by the forwarder.
    pub fn answer_by_the_forwarder(&self) {
        for (family, forwarder) in [(Family::V4, "10.9.0.2"), (Family::V6, "fd00:9::2")] {
            for address in family.far_clients() {
                for server in &self.servers {
                    server.ip(&format!("route add {address} via {forwarder} dev data"));
                }
            }
        }
    }

    fn create_switch(&self) {
        for bridge in LINKS {
            self.add_bridge(bridge);
        }
    }

    /// One more bridge on the switch.
    pub fn add_bridge(&self, bridge: &str) {
        self.switch.ip(&format!(
            "link add {bridge} type bridge mcast_snooping 0\nlink set {bridge} up"
        ));
    }

    fn create_client(&self) {
        self.plug(&self.client, "c");
        let mut commands: Vec<_> = CLIENT.iter().map(|address| add(address, "data")).collect();
        // For who tries to signal and is no server.
        commands.push(add("10.8.0.1/24", "control"));
        self.client.ip(&commands.join("\n"));
    }

    fn create_forwarder(&self) {
        // The kernel sees the frames of DPDK's port too, and must keep silent.
        self.forwarder.set("ipv4/ip_forward", "0");
        self.plug(&self.forwarder, "f");
        self.forwarder.set("ipv6/conf/data/disable_ipv6", "1");
        self.forwarder.ip(&add("10.8.0.2/24", "control"));
    }

    fn create_server(&self, server: &Namespace, number: usize) {
        self.plug(server, &format!("s{number}"));
        // Only the forwarder may answer for a VIP, and no ARP may speak in its name.
        server.set("ipv4/conf/all/arp_ignore", "1");
        server.set("ipv4/conf/all/arp_announce", "2");
        let host = 10 + number;
        let addresses = [
            ("10.9.0.100/32".to_owned(), "lo"),
            ("fd00:9::100/128".to_owned(), "lo"),
            (format!("10.9.0.{host}/24"), "data"),
            (format!("fd00:9::{host}/64"), "data"),
            (format!("10.8.0.{host}/24"), "control"),
        ];
        let commands: Vec<_> = addresses.iter().map(|(a, link)| add(a, link)).collect();
        server.ip(&commands.join("\n"));
        // Health checks go to the addresses that serve, over the kernel's network.
        self.forwarder.ip(&format!(
            "route add 10.9.0.{host}/32 via 10.8.0.{host} dev control"
        ));
    }

    /// Lays the cables of a host, known to the switch by a short name.
    fn plug(&self, host: &Namespace, short: &str) {
        for link in LINKS {
            self.plug_into(host, short, link);
        }
    }

    /// Lays the cable of a host to a bridge.
    pub fn plug_into(&self, host: &Namespace, short: &str, bridge: &str) {
        let port = self.lay(host, short, bridge);
        self.switch.ip(&format!("link set {port} master {bridge}"));
    }

    /// Lays a cable from a host to the switch, and to nothing there; its name at that end.
    pub fn lay(&self, host: &Namespace, short: &str, link: &str) -> String {
        let port = format!("{short}-{link}");
        let switch = self.switch.name();
        host.ip(&format!(
            "link add {link} type veth peer name {port} netns {switch}"
        ));
        host.finish_frames_of(link);
        self.switch.finish_frames_of(&port);
        self.switch.ip(&format!("link set {port} up"));
        host.ip(&format!("link set {link} up"));
        port
    }
}

fn add(address: &str, interface: &str) -> String {
    let nodad = if address.contains(':') { " nodad" } else { "" };
    format!("address add {address} dev {interface}{nodad}")
}
