//! The configuration of `tetherd`: one TOML file, read and checked whole (contract rule L2).
//!
//! ```text
//! text ─ toml ─ schema (keys, types, ranges) ─ validate (what they mean together) ─ Config
//!                 └──────── every problem, with its line and column ────────┘
//! ```
//!
//! A [`Config`] is checked: whoever holds one need not check again. All problems of a file are
//! reported at once; only a syntax error hides what the schema would have said. Costs one walk
//! over the file and, per check, a map of what was seen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tether_dataplane::Mac;

pub mod diff;
mod duration;
mod problem;
mod schema;
mod table;
mod validate;
mod value;
mod words;
mod write;

pub use problem::Problems;
pub use words::{Forward, Idle, OnBackendDown, OnConflict, Protocol, Refresh, Scheduler};

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How DPDK is started.
    pub dpdk: Dpdk,
    /// The threads that forward.
    pub workers: Workers,
    /// The NICs, in file order; 1 to 16.
    pub ports: Vec<Port>,
    /// What the control plane listens on and writes to.
    pub control: Control,
    /// Quotas (contract rule P4).
    pub limits: Limits,
    /// What clients address, in file order; at most 4096, names and (protocol, VIPs, port) unique.
    pub services: Vec<Service>,
}

/// `[dpdk]`: how DPDK is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dpdk {
    /// EAL arguments without program name and without core options; no NUL bytes.
    pub args: Vec<String>,
}

/// `[workers]`: the threads that forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// The CPU core of each worker; 1 to 64, distinct. Whether the machine has them is seen at start.
    pub cores: Vec<u16>,
    /// Flows that each worker remembers. Default 1,000,000.
    pub flows: u32,
    /// What a worker does when its queues are empty. Default: poll.
    pub idle: Idle,
}

/// `[[port]]`: a NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The name DPDK knows it by: a vdev named in [`Dpdk::args`] or a PCI address.
    pub device: String,
    /// Its own addresses; at least one, no two alike among all ports.
    pub addresses: Vec<PortAddress>,
    /// The next hop of IPv4 destinations that are not on-link.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The next hop of IPv6 destinations that are not on-link.
    pub gateway_v6: Option<Ipv6Addr>,
    /// The longest packet that its link takes, in bytes with the IP header; 1280 to 9216. None: the
    /// device keeps the MTU that it has, and tunnels count on 1500.
    pub mtu: Option<u16>,
    /// The VLAN of its frames, 1 to 4094 (IEEE 802.1Q).
    pub vlan: Option<u16>,
    /// Neighbours whose MAC address is given and not asked for; no two of one address.
    pub neighbours: Vec<Neighbour>,
    /// What the kernel of this host has of it.
    pub kernel: Option<Kernel>,
}

/// `[[port.neighbour]]`: where a neighbour is, without a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// A host on the link of its port.
    pub address: IpAddr,
    /// Its MAC address, which is one station's.
    pub mac: Mac,
}

/// The kernel's part of a port: a tap, by which it gets what is not for Tether, and sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The name of the interface that the kernel has; no two alike among all ports.
    pub interface: String,
    /// Frames a second, to the kernel and from it, that each worker lets pass; 1 to 1,000,000. Default 10,000.
    pub rate: u32,
}

/// An address of a port with the subnet that is on-link there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortAddress {
    /// A unicast host address.
    pub address: IpAddr,
    /// 1 to 32 for IPv4, 1 to 128 for IPv6.
    pub prefix_length: u8,
}

/// `[control]`: what the control plane listens on and writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Where servers signal; none: no server can start an affinity, only an operator.
    pub signal: Option<SignalListener>,
    /// The operator socket (contract rule P3). Default `/run/tether/operator.sock`.
    pub operator: PathBuf,
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub metrics: Option<SocketAddr>,
    /// The directory of journal and snapshots; none: affinities live in memory only.
    pub state: Option<PathBuf>,
    /// The audit log.
    pub audit: Option<Audit>,
}

/// The audit log (contract rule P5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The file, appended to.
    pub path: PathBuf,
    /// Lines a second at most; refusals get half of them. Default 1000.
    pub lines_per_second: u32,
    /// The prefix lengths, for IPv4 and IPv6, to which addresses of clients are cut; none: they
    /// are written as they are.
    pub mask: Option<(u8, u8)>,
}

/// The gRPC listener for servers and how it knows them (contract rule P1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalListener {
    /// Where it listens.
    pub address: SocketAddr,
    /// How a connection becomes a backend.
    pub auth: Auth,
}

/// How a connection becomes a backend (contract rule P1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// By the name in its client certificate: [`Backend::identity`]. The default.
    Mtls(Tls),
    /// By its source address, on networks the operator trusts: [`Backend::signal_from`].
    Address,
}

/// `[control.tls]`: PEM files, read at start and at every reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority that signs the certificates of backends.
    pub client_ca: PathBuf,
}

/// `[limits]`: quotas (contract rule P4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Affinities in all, 1 to 16,000,000. Default 1,000,000.
    pub affinities: u32,
    /// Affinities that one service may have, as the one above. Default 16,000,000: as many as there
    /// may be in all.
    pub affinities_per_service: u32,
    /// Affinities that one backend may own. Default 200,000.
    pub affinities_per_backend: u32,
    /// Signals per second that one backend may send. Default 100,000.
    pub signals_per_second_per_backend: u32,
}

/// `[[service]]`: what clients address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// A unique name: letters, digits, `-`, `_`, `.`; at most 64.
    pub name: String,
    /// The VIP, or the first of a prefix of them.
    pub address: IpAddr,
    /// How many bits its VIPs share: 32 or 128 for one.
    pub prefix_length: u8,
    /// The port; 0: every port of the VIP.
    pub port: u16,
    /// The transport protocol. Default TCP.
    pub protocol: Protocol,
    /// Who gets a new flow that no affinity decides. Default Maglev.
    pub scheduler: Scheduler,
    /// How packets reach backends. Default DSR.
    pub forward: Forward,
    /// How packets are wrapped, where [`Self::forward`] is `ipip`, `gre` or `gue`.
    pub tunnel: Tunnel,
    /// Behind what clients are put, where [`Self::forward`] is `fullnat`.
    pub fullnat: Fullnat,
    /// Whether connections to backends begin with a PROXY header, where [`Self::forward`] is `fullnat`
    /// and [`Self::protocol`] TCP. Default false.
    pub proxy_protocol: bool,
    /// How long a silent flow is remembered, 1 s to 2 h. Default 5 min.
    pub flow_timeout: Duration,
    /// How long a backend that comes up takes to get its whole weight, 1 s to 1 h; none: at once.
    pub slow_start: Option<Duration>,
    /// Whose new flows it takes, besides those that [`Self::deny`] leaves; the longest prefix of
    /// both decides. Empty: everybody's.
    pub allow: Vec<Prefix>,
    /// Whose new flows it does not take. No prefix is in both.
    pub deny: Vec<Prefix>,
    /// How many new flows it takes.
    pub limits: ServiceLimits,
    /// What its affinities may do.
    pub affinity: AffinityPolicy,
    /// How its backends are probed; none: they are taken to be up.
    pub health: Option<Health>,
    /// The instances of the server, in file order; names unique within the service.
    pub backends: Vec<Backend>,
}

/// `[service.limits]`: how many new flows a service takes, over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Of the scheduler's, 1 to 10,000,000; none: as many as come.
    pub new_flows_per_second: Option<u32>,
    /// Of one IPv4 address or IPv6 /64, 1 to 10,000,000; none: as many as come.
    pub new_flows_per_second_per_source: Option<u32>,
}

/// `[service.tunnel]`: how a service's packets are wrapped for its backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The UDP destination port of `gue`. Default 6080.
    pub port: u16,
    /// The variant of `gue`: 0, with a header of four bytes, or 1, the packet itself. Default 1.
    pub variant: u8,
    /// Outer IPv4 source addresses, the rest from the hash of the flow; none: the port's address.
    pub source_v4: Option<Prefix>,
    /// The same for IPv6.
    pub source_v6: Option<Prefix>,
    /// The largest segment that a client's SYN may offer, in bytes.
    pub mss_clamp: Option<u16>,
}

/// `[service.fullnat]`: the local addresses of a service with full NAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fullnat {
    /// The addresses and prefixes that clients get; empty without full NAT. At most 256 addresses
    /// over all services, none of them another's of the file.
    pub pool: Vec<Prefix>,
    /// The lowest and the highest port that flows get. Default 1024 to 65535.
    pub ports: (u16, u16),
}

/// A subnet: host bits are clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Its first address.
    pub address: IpAddr,
    /// How many bits its addresses share: at most 32 for IPv4, 128 for IPv6.
    pub length: u8,
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

/// `[service.affinity]`: what a service's affinities may do (contract section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AffinityPolicy {
    /// The duration of a start that asks for none (T1). Default 30 min.
    pub duration: Duration,
    /// The longest duration granted (T1), at least [`Self::duration`]; none: also `until_ended`.
    pub duration_cap: Option<Duration>,
    /// The age past which nothing extends automatically (T4), at least [`Self::duration`].
    pub lifetime_cap: Option<Duration>,
    /// What extends automatically (T2). Default: packets.
    pub refresh: Refresh,
    /// What a start on another live backend's key does (section 4). Default: reject.
    pub on_conflict: OnConflict,
    /// What clients of a backend that is down get (section 6). Default: balance.
    pub on_backend_down: OnBackendDown,
    /// The broadest IPv4 source, as a prefix length of 1 to 32. Default 8.
    pub widest_prefix_v4: u8,
    /// The broadest IPv6 source, as a prefix length of 1 to 128. Default 32.
    pub widest_prefix_v6: u8,
}

/// `[service.health]`: how a service's backends are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What a probe does. Default: TCP.
    pub check: Check,
    /// From the start of one probe to the start of the next, 100 ms to 1 h. Default 2 s.
    pub interval: Duration,
    /// When a probe counts as failed, at most [`Self::interval`]. Default 1 s.
    pub timeout: Duration,
    /// Successes in a row that bring a backend up, 1 to 100. Default 2.
    pub rise: u8,
    /// Failures in a row that take it down, 1 to 100. Default 3.
    pub fall: u8,
}

/// What a probe does, on the backend's address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Connects.
    Tcp,
    /// Connects and asks; 2xx and 3xx are up.
    Http {
        /// The path of the request, from `/` on.
        path: String,
    },
}

/// `[[service.backend]]`: one instance of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// A name that is unique within its service, and its identity there (contract rule B4).
    pub name: String,
    /// Where packets go.
    pub address: IpAddr,
    /// The port there; the service's unless `nat` or `fullnat`. 0: the packet's own port is kept.
    pub port: u16,
    /// Its share of new flows relative to the others; 0: none by the scheduler. Default 1.
    pub weight: u16,
    /// The certificate name that may signal for it. Default: [`Self::name`].
    pub identity: String,
    /// The addresses its signals may come from. Default: [`Self::address`].
    pub signal_from: Vec<IpAddr>,
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// What cannot be read, is not UTF-8, is not TOML, or is not a configuration: every problem.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let name = path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) => Self::parse_bytes(&name, bytes),
            Err(error) => Err(Problems::unreadable(name, &error)),
        }
    }

    /// Checks `text`; `name` is what problems call it.
    ///
    /// # Errors
    /// What is not TOML or not a configuration: every problem.
    pub fn parse(name: &str, text: &str) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let config = schema::read(text, &mut problems)
            .and_then(|file| validate::validate(file, &mut problems));
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(Problems::new(name, text, problems)),
        }
    }

    fn parse_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, Problems> {
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(name, &text),
            Err(error) => Err(Problems::not_utf8(name, &error)),
        }
    }
}

impl Service {
    /// Its VIPs.
    #[must_use]
    pub fn vips(&self) -> Prefix {
        Prefix {
            address: self.address,
            length: self.prefix_length,
        }
    }
}

impl Prefix {
    /// Whether it is one address.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.length == if self.address.is_ipv4() { 32 } else { 128 }
    }

    /// How many addresses it has; of many, the most that a number can say.
    #[must_use]
    pub fn count(&self) -> u64 {
        let bits = if self.address.is_ipv4() { 32 } else { 128 };
        1_u64
            .checked_shl(bits - u32::from(self.length))
            .unwrap_or(u64::MAX)
    }

    /// Its addresses, from the first on.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let first = self.address;
        (0..self.count()).map(move |number| match first {
            IpAddr::V4(v4) => {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                Ipv4Addr::from_bits(v4.to_bits().wrapping_add(number)).into()
            }
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add(number.into())).into(),
        })
    }

    /// Whether `address` is in it.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let subnet = PortAddress {
            address: self.address,
            prefix_length: self.length,
        };
        subnet.is_on_link(address)
    }
}

impl PortAddress {
    /// Whether `address` is in this subnet.
    #[must_use]
    pub fn is_on_link(&self, address: IpAddr) -> bool {
        let length = u32::from(self.prefix_length);
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= length
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= length
            }
            _ => false,
        }
    }
}
