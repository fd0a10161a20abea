//! What a testbed is to be, and the configuration file that says so to `tetherd`.

use std::{fmt::Write as _, path::Path};

use super::{
    network::Network,
    vip::{Family, VIPS, Vip},
};
use tether_api::operator::Protocol;

/// How DPDK reaches the veth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    AfPacket,
    AfXdp,
}

/// What a testbed is to be.
#[derive(Clone, Debug)]
pub struct Setup {
    servers: usize,
    workers: usize,
    flows: usize,
    driver: Driver,
    scheduler: &'static str,
    service: String,
    forward: &'static str,
    tunnel: String,
    fullnat: String,
    proxied: bool,
    backends: Option<Family>,
    gateway: Option<Family>,
    mtu: Option<u16>,
    affinity: String,
    health: bool,
    limits: String,
    state: bool,
    port: String,
    vdevs: Vec<&'static str>,
    more: String,
    prepare: Option<fn(&Network)>,
    servers_at: Option<[&'static str; 2]>,
}

impl Setup {
    /// Three servers, one worker on `af_packet`, Maglev, the default affinity policy, no health checks.
    pub fn new() -> Self {
        Self {
            servers: 3,
            workers: 1,
            flows: 65_536,
            driver: Driver::AfPacket,
            scheduler: "maglev",
            service: String::new(),
            forward: "dsr",
            tunnel: String::new(),
            fullnat: String::new(),
            proxied: false,
            backends: None,
            gateway: None,
            mtu: None,
            affinity: String::new(),
            health: false,
            limits: String::new(),
            state: false,
            port: String::new(),
            vdevs: Vec::new(),
            more: String::new(),
            prepare: None,
            servers_at: None,
        }
    }

    /// A line of `[[port]]`.
    pub fn port(mut self, line: &str) -> Self {
        writeln!(self.port, "{line}").unwrap();
        self
    }

    /// The servers are backends by addresses that begin so, instead of by those on `data`.
    pub fn servers_at(self, v4: &'static str, v6: &'static str) -> Self {
        Self {
            servers_at: Some([v4, v6]),
            ..self
        }
    }

    /// Another device of DPDK.
    pub fn vdev(mut self, vdev: &'static str) -> Self {
        self.vdevs.push(vdev);
        self
    }

    /// Tables after all others.
    pub fn more(mut self, tables: &str) -> Self {
        writeln!(self.more, "{tables}").unwrap();
        self
    }

    /// What is done to the network before the daemon starts.
    pub fn prepare(self, prepare: fn(&Network)) -> Self {
        Self {
            prepare: Some(prepare),
            ..self
        }
    }

    /// Does to the network what is to be done before the daemon starts.
    pub fn prepare_network(&self, network: &Network) {
        if let Some(prepare) = self.prepare {
            prepare(network);
        }
    }

    /// With a journal.
    pub fn state(self) -> Self {
        Self {
            state: true,
            ..self
        }
    }

    pub fn servers(self, servers: usize) -> Self {
        Self { servers, ..self }
    }

    /// How many servers there are.
    pub fn server_count(&self) -> usize {
        self.servers
    }

    /// Two workers, each with a queue of the port.
    pub fn two_workers(self) -> Self {
        Self { workers: 2, ..self }
    }

    /// Room for so many flows on each worker.
    pub fn flows(self, flows: usize) -> Self {
        Self { flows, ..self }
    }

    pub fn driver(self, driver: Driver) -> Self {
        Self { driver, ..self }
    }

    pub fn scheduler(self, scheduler: &'static str) -> Self {
        Self { scheduler, ..self }
    }

    /// A line of `[[service]]`, for every service.
    pub fn service(mut self, line: &str) -> Self {
        writeln!(self.service, "{line}").unwrap();
        self
    }

    /// How packets reach the servers, for every service.
    pub fn forward(self, forward: &'static str) -> Self {
        Self { forward, ..self }
    }

    /// The servers are backends by their addresses of this family, whatever that of the VIP is.
    pub fn backends_of(self, family: Family) -> Self {
        Self {
            backends: Some(family),
            ..self
        }
    }

    /// A line of `[service.tunnel]`, for every service.
    pub fn tunnel(mut self, line: &str) -> Self {
        writeln!(self.tunnel, "{line}").unwrap();
        self
    }

    /// Full NAT, with these local addresses and ports.
    pub fn fullnat(self, pool: &str) -> Self {
        Self {
            fullnat: pool.to_owned(),
            ..self.forward("fullnat")
        }
    }

    /// TCP connections begin with a PROXY header.
    pub fn proxied(self) -> Self {
        Self {
            proxied: true,
            ..self
        }
    }

    /// The servers are backends by addresses of this family behind the first of them.
    pub fn behind_the_first(self, family: Family) -> Self {
        Self {
            gateway: Some(family),
            ..self
        }
    }

    /// The port has this MTU.
    pub fn mtu(self, mtu: u16) -> Self {
        Self {
            mtu: Some(mtu),
            ..self
        }
    }

    /// The address by which server `number` is a backend of a service.
    fn backend_address(&self, vip: &Vip, number: usize) -> String {
        if let Some([v4, v6]) = self.servers_at {
            let begins = match vip.family() {
                Family::V4 => v4,
                Family::V6 => v6,
            };
            return format!("{begins}{}", 10 + number);
        }
        match (self.gateway, self.backends) {
            (Some(family), _) => family.far_address(number),
            (None, family) => family.unwrap_or(vip.family()).server_address(number),
        }
    }

    /// A line of `[service.affinity]`, for every service.
    pub fn affinity(mut self, line: &str) -> Self {
        writeln!(self.affinity, "{line}").unwrap();
        self
    }

    /// A line of `[limits]`.
    pub fn limit(mut self, line: &str) -> Self {
        writeln!(self.limits, "{line}").unwrap();
        self
    }

    /// TCP health checks that find out within half a second.
    pub fn health(self) -> Self {
        Self {
            health: true,
            ..self
        }
    }

    /// The configuration file, for a daemon that keeps its files in `directory`.
    pub fn toml(&self, directory: &Path) -> String {
        let directory = directory.display();
        let cores: Vec<_> = (0..self.workers).collect();
        let (device, vdev) = self.device();
        let state = if self.state {
            format!("state = \"{directory}/state\"")
        } else {
            String::new()
        };
        let mtu = self
            .mtu
            .map(|it| format!("mtu = {it}\n"))
            .unwrap_or_default();
        let gateway = self.gateway_line();
        let port = &self.port;
        let others = self.vdevs.iter().map(|it| format!(", \"--vdev={it}\""));
        let others: String = others.collect();
        let mut text = format!(
            r#"[dpdk]
args = ["--no-huge", "-m", "256", "--no-pci", "--no-telemetry", "--file-prefix=tether", "--vdev={vdev}"{others}]

[workers]
cores = {cores:?}
flows = {}
idle = "yield"

[[port]]
device = "{device}"
addresses = ["10.9.0.2/24", "fd00:9::2/64"]
{gateway}{mtu}{port}
[control]
signal = "10.8.0.2:7470"
auth = "address"
operator = "{directory}/operator.sock"
metrics = "10.8.0.2:9470"
audit = "{directory}/audit.log"
{state}

[limits]
{}"#,
            self.flows, self.limits
        );
        for vip in VIPS {
            self.write_service(&vip, &mut text);
        }
        text.push_str(&self.more);
        text
    }

    fn gateway_line(&self) -> String {
        match self.gateway {
            Some(family) => format!("gateway = \"{}\"\n", family.server_address(1)),
            None if self.comes_back() => {
                let both = [Family::V4, Family::V6].map(Family::gateway);
                format!("gateway = {both:?}\n")
            }
            None => String::new(),
        }
    }

    /// Whether servers answer clients by way of the forwarder.
    pub fn is_nat(&self) -> bool {
        self.forward == "nat"
    }

    /// Whether answers leave by the forwarder, for clients behind a gateway.
    pub fn comes_back(&self) -> bool {
        matches!(self.forward, "nat" | "fullnat")
    }

    fn service_lines(&self, vip: &Vip) -> String {
        let is_proxied = self.proxied && vip.protocol == Protocol::Tcp;
        let proxied = if is_proxied {
            "proxy_protocol = true\n"
        } else {
            ""
        };
        format!("{proxied}{}", self.service)
    }

    fn fullnat_table(&self) -> String {
        if self.fullnat.is_empty() {
            String::new()
        } else {
            format!("[service.fullnat]\n{}", self.fullnat)
        }
    }

    fn tunnel_table(&self) -> String {
        if self.tunnel.is_empty() {
            String::new()
        } else {
            format!("[service.tunnel]\n{}", self.tunnel)
        }
    }

    fn device(&self) -> (&'static str, String) {
        match self.driver {
            Driver::AfPacket => {
                let sizes = match self.mtu {
                    None => "blocksz=4096,framesz=2048,framecnt=512",
                    Some(_) => "blocksz=36864,framesz=9216,framecnt=512",
                };
                let queues = self.workers;
                let vdev = format!("net_af_packet0,iface=data,{sizes},qpairs={queues}");
                ("net_af_packet0", vdev)
            }
            Driver::AfXdp => {
                let queues = self.workers;
                let vdev = format!("net_af_xdp0,iface=data,start_queue=0,queue_count={queues}");
                ("net_af_xdp0", vdev)
            }
        }
    }

    fn write_service(&self, vip: &Vip, text: &mut String) {
        let service = format!(
            r#"
[[service]]
name = "{}"
address = "{}"
port = {}
protocol = "{}"
scheduler = "{}"
forward = "{}"
{}
{}
{}
[service.affinity]
{}"#,
            vip.service,
            vip.address.ip(),
            vip.address.port(),
            vip.protocol_name(),
            self.scheduler,
            self.forward,
            self.service_lines(vip),
            self.tunnel_table(),
            self.fullnat_table(),
            self.affinity,
        );
        text.push_str(&service);
        if self.health && vip.protocol == Protocol::Tcp {
            let health = "\n[service.health]\ncheck = \"tcp\"\ninterval = \"100ms\"\ntimeout = \"100ms\"\nrise = 1\nfall = 2\n";
            text.push_str(health);
        }
        let port = if self.comes_back() {
            format!("port = {}\n", vip.port_at_servers())
        } else {
            String::new()
        };
        for number in 1..=self.servers {
            let backend = format!(
                "\n[[service.backend]]\nname = \"server-{number}\"\naddress = \"{}\"\n{port}signal_from = [\"10.8.0.{}\"]\n",
                self.backend_address(vip, number),
                10 + number,
            );
            text.push_str(&backend);
        }
    }
}
