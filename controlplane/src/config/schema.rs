//! The file's keys: which there are, what each must be, its default. Reads a whole file into values
//! that know their places; whether they make sense together is for `validate`.
//!
//! `Field`: `None` is a value that was missing or wrong and has been reported. Where a key may be
//! absent without a default, `None` says that too.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tether_dataplane::Mac;
use toml::Spanned;
use toml::de::DeTable;

use super::problem::{Place, Problem};
use super::table::Table;
use super::value::{self, duration, integer, word};
use super::words::{AuthWord, CheckWord};
use super::{Forward, Idle, Limits, OnBackendDown, OnConflict, PortAddress, Prefix, Protocol};
use super::{Refresh, Scheduler, Tls};

pub(super) type Field<T> = Option<Spanned<T>>;

/// What a [`Field`] holds, with its place.
pub(super) trait Known<T> {
    fn known(&self) -> Option<(&T, Place)>;
}

impl<T> Known<T> for Field<T> {
    fn known(&self) -> Option<(&T, Place)> {
        self.as_ref().map(|value| (value.get_ref(), value.span()))
    }
}

/// The whole file.
pub(super) struct File {
    pub(super) args: Option<Vec<Spanned<String>>>,
    pub(super) workers: Option<Workers>,
    pub(super) ports: Vec<Port>,
    pub(super) control: Option<Control>,
    pub(super) limits: Option<Limits>,
    pub(super) services: Vec<Service>,
}

/// `[workers]`.
pub(super) struct Workers {
    pub(super) cores: Option<Vec<Spanned<u16>>>,
    pub(super) flows: Field<u32>,
    pub(super) idle: Field<Idle>,
}

/// `[[port]]`.
pub(super) struct Port {
    pub(super) place: Place,
    pub(super) device: Field<String>,
    pub(super) addresses: Option<Vec<Spanned<PortAddress>>>,
    pub(super) gateways: Option<Vec<Spanned<IpAddr>>>,
    pub(super) mtu: Field<u16>,
    pub(super) vlan: Field<u16>,
    pub(super) kernel: Field<String>,
    pub(super) kernel_rate: Field<u32>,
    pub(super) neighbours: Vec<Neighbour>,
}

/// `[[port.neighbour]]`.
pub(super) struct Neighbour {
    pub(super) address: Field<IpAddr>,
    pub(super) mac: Field<Mac>,
}

/// `[control]`.
pub(super) struct Control {
    pub(super) signal: Field<SocketAddr>,
    pub(super) auth: Field<AuthWord>,
    pub(super) operator: Field<PathBuf>,
    pub(super) metrics: Field<SocketAddr>,
    pub(super) state: Field<PathBuf>,
    pub(super) audit: Field<PathBuf>,
    pub(super) audit_lines_per_second: Field<u32>,
    pub(super) audit_mask: Field<(u8, u8)>,
    /// With the place of the table; the inner `None` has been reported.
    pub(super) tls: Option<(Place, Option<Tls>)>,
}

/// `[[service]]`.
pub(super) struct Service {
    pub(super) place: Place,
    pub(super) name: Field<String>,
    pub(super) address: Field<Prefix>,
    pub(super) port: Field<u16>,
    pub(super) protocol: Field<Protocol>,
    pub(super) scheduler: Field<Scheduler>,
    pub(super) forward: Field<Forward>,
    pub(super) tunnel: Option<Tunnel>,
    pub(super) fullnat: Option<Fullnat>,
    pub(super) proxy_protocol: Field<bool>,
    pub(super) flow_timeout: Field<Duration>,
    pub(super) slow_start: Field<Duration>,
    pub(super) allow: Option<Vec<Spanned<Prefix>>>,
    pub(super) deny: Option<Vec<Spanned<Prefix>>>,
    pub(super) limits: Option<ServiceLimits>,
    pub(super) affinity: Option<Affinity>,
    pub(super) health: Option<Health>,
    pub(super) backends: Vec<Backend>,
}

/// `[service.limits]`.
pub(super) struct ServiceLimits {
    pub(super) new_flows_per_second: Field<u32>,
    pub(super) new_flows_per_second_per_source: Field<u32>,
}

/// `[service.tunnel]`.
pub(super) struct Tunnel {
    pub(super) place: Place,
    /// Whether the file has it.
    pub(super) is_given: bool,
    pub(super) port: Field<u16>,
    /// The places of what only `gue` has.
    pub(super) of_gue: Vec<(&'static str, Place)>,
    pub(super) variant: Field<u8>,
    pub(super) sources: Option<Vec<Spanned<Prefix>>>,
    pub(super) mss_clamp: Field<u16>,
}

/// `[service.fullnat]`.
pub(super) struct Fullnat {
    pub(super) place: Place,
    /// Whether the file has it.
    pub(super) is_given: bool,
    /// Empty where it is absent.
    pub(super) pool: Option<Vec<Spanned<Prefix>>>,
    pub(super) ports: Field<(u16, u16)>,
}

/// `[service.affinity]`.
pub(super) struct Affinity {
    pub(super) duration: Field<Duration>,
    pub(super) duration_cap: Field<Duration>,
    pub(super) lifetime_cap: Field<Duration>,
    pub(super) refresh: Field<Refresh>,
    pub(super) on_conflict: Field<OnConflict>,
    pub(super) on_backend_down: Field<OnBackendDown>,
    pub(super) widest_prefix: Field<(u8, u8)>,
}

/// `[service.health]`.
pub(super) struct Health {
    pub(super) check: Field<CheckWord>,
    pub(super) path: Field<String>,
    pub(super) has_path: bool,
    pub(super) interval: Field<Duration>,
    pub(super) timeout: Field<Duration>,
    pub(super) rise: Field<u8>,
    pub(super) fall: Field<u8>,
}

/// `[[service.backend]]`.
pub(super) struct Backend {
    pub(super) place: Place,
    pub(super) name: Field<String>,
    pub(super) address: Field<IpAddr>,
    pub(super) port: Field<u16>,
    pub(super) weight: Field<u16>,
    pub(super) identity: Field<String>,
    /// Empty where it is absent.
    pub(super) signal_from: Option<Vec<Spanned<IpAddr>>>,
}

/// Reads `text`. `None`: it is not TOML; what the parser says is in `problems`.
pub(super) fn read(text: &str, problems: &mut Vec<Problem>) -> Option<File> {
    match DeTable::parse(text) {
        Ok(root) => Some(Table::root(root.get_ref(), problems, file)),
        Err(error) => {
            let end = text.len()..text.len();
            let problem = Problem::new(error.span().unwrap_or(end), error.message());
            problems.push(problem.help("this is no TOML: mend it, then the rest is checked"));
            None
        }
    }
}

fn file(table: &mut Table<'_>) -> File {
    File {
        args: table
            .table("dpdk", |dpdk| dpdk.list("args", value::text))
            .flatten(),
        workers: table.table("workers", workers),
        ports: table.filled_tables("port", port),
        control: table.table("control", control),
        limits: table.table("limits", limits).flatten(),
        services: table.tables("service", service),
    }
}

fn workers(table: &mut Table<'_>) -> Workers {
    let core = integer(0..=1023, "Linux has room for 1024 (CPU_SETSIZE)");
    let flows = integer(
        1_024..=67_108_864,
        "each worker allocates its flow table at start",
    );
    Workers {
        cores: table.filled_list("cores", core),
        flows: table.or("flows", flows, 1_000_000),
        idle: table.or("idle", word, Idle::Poll),
    }
}

fn port(table: &mut Table<'_>) -> Port {
    let vlan = integer(1..=4094, "IEEE 802.1Q keeps 0 and 4095 for itself");
    let mtu = integer(1280..=9216, "IPv6 needs 1280, a buffer holds 9216");
    let rate = integer(1..=1_000_000, "each frame costs its worker a system call");
    table.goes_with("kernel_rate", "kernel");
    Port {
        place: table.place(),
        device: table.required("device", value::device),
        addresses: table.filled_list("addresses", value::port_address),
        gateways: table.one_or_more("gateway", value::host),
        mtu: table.optional("mtu", mtu),
        vlan: table.optional("vlan", vlan),
        kernel: table.optional("kernel", value::interface),
        kernel_rate: table.or("kernel_rate", rate, 10_000),
        neighbours: table.tables("neighbour", neighbour),
    }
}

fn neighbour(table: &mut Table<'_>) -> Neighbour {
    Neighbour {
        address: table.required("address", value::host),
        mac: table.required("mac", value::mac),
    }
}

fn control(table: &mut Table<'_>) -> Control {
    table.goes_with("auth", "signal");
    table.goes_with("tls", "signal");
    table.goes_with("audit_lines_per_second", "audit");
    table.goes_with("audit_mask", "audit");
    let audit_rate = integer(1..=1_000_000, "what is beyond it is counted, not written");
    let operator = PathBuf::from("/run/tether/operator.sock");
    Control {
        signal: table.optional("signal", value::socket_address),
        auth: table.or("auth", word, AuthWord::Mtls),
        operator: table.or("operator", value::socket_path, operator),
        metrics: table.optional("metrics", value::socket_address),
        state: table.optional("state", value::path),
        audit: table.optional("audit", value::path),
        audit_lines_per_second: table.or("audit_lines_per_second", audit_rate, 1000),
        audit_mask: table.optional("audit_mask", value::mask),
        tls: table.optional_table("tls", |tls| (tls.place(), read_tls(tls))),
    }
}

fn read_tls(table: &mut Table<'_>) -> Option<Tls> {
    let certificate = table.required("certificate", value::path);
    let key = table.required("key", value::path);
    let client_ca = table.required("client_ca", value::path);
    Some(Tls {
        certificate: certificate?.into_inner(),
        key: key?.into_inner(),
        client_ca: client_ca?.into_inner(),
    })
}

fn limits(table: &mut Table<'_>) -> Option<Limits> {
    let entries = || integer(1..=16_000_000, "the affinity table is made for 16 million");
    let rate = integer(1..=10_000_000, "one control thread decides all signals");
    let affinities = table.or("affinities", entries(), 1_000_000);
    let per_service = table.or("affinities_per_service", entries(), 16_000_000);
    let per_backend = table.or("affinities_per_backend", entries(), 200_000);
    let signals = table.or("signals_per_second_per_backend", rate, 100_000);
    Some(Limits {
        affinities: affinities?.into_inner(),
        affinities_per_service: per_service?.into_inner(),
        affinities_per_backend: per_backend?.into_inner(),
        signals_per_second_per_backend: signals?.into_inner(),
    })
}

fn service(table: &mut Table<'_>) -> Service {
    let flow_timeout = duration(
        Duration::from_secs(1)..=Duration::from_hours(2),
        "shorter loses live flows, longer keeps dead ones",
    );
    let slow_start = duration(
        Duration::from_secs(1)..=Duration::from_hours(1),
        "leave it out for the whole weight at once",
    );
    table.must_not_be_empty("allow");
    let has_tunnel = table.has("tunnel");
    let has_fullnat = table.has("fullnat");
    Service {
        place: table.place(),
        name: table.required("name", value::name),
        address: table.required("address", value::vips),
        port: table.required("port", integer(0..=65_535, "0 is every port of the VIP")),
        protocol: table.or("protocol", word, Protocol::Tcp),
        scheduler: table.or("scheduler", word, Scheduler::Maglev),
        forward: table.or("forward", word, Forward::Dsr),
        tunnel: table.table("tunnel", |it| tunnel(it, has_tunnel)),
        fullnat: table.table("fullnat", |it| fullnat(it, has_fullnat)),
        proxy_protocol: table.or("proxy_protocol", value::boolean, false),
        flow_timeout: table.or("flow_timeout", flow_timeout, Duration::from_mins(5)),
        slow_start: table.optional("slow_start", slow_start),
        allow: table.list("allow", value::network),
        deny: table.list("deny", value::network),
        limits: table.table("limits", service_limits),
        affinity: table.table("affinity", affinity),
        health: table.optional_table("health", health),
        backends: table.tables("backend", backend),
    }
}

fn service_limits(table: &mut Table<'_>) -> ServiceLimits {
    let rate = || {
        integer(
            1..=10_000_000,
            "leave it out for no limit; \"deny\" refuses clients",
        )
    };
    ServiceLimits {
        new_flows_per_second: table.optional("new_flows_per_second", rate()),
        new_flows_per_second_per_source: table.optional("new_flows_per_second_per_source", rate()),
    }
}

fn tunnel(table: &mut Table<'_>, is_given: bool) -> Tunnel {
    let mss = integer(
        536..=65_495,
        "every host takes 536 (RFC 9293, section 3.7.1)",
    );
    let variant = integer(0..=1, "GUE has these two");
    let port = table.optional("port", integer(1..=65_535, "of UDP"));
    let variant = table.optional("variant", variant);
    let given = [
        ("port", port.as_ref().map(Spanned::span)),
        ("variant", variant.as_ref().map(Spanned::span)),
    ];
    Tunnel {
        place: table.place(),
        is_given,
        of_gue: given
            .into_iter()
            .filter_map(|(key, place)| Some((key, place?)))
            .collect(),
        port,
        variant,
        sources: table.one_or_more("source_prefix", value::prefix),
        mss_clamp: table.optional("mss_clamp", mss),
    }
}

fn fullnat(table: &mut Table<'_>, is_given: bool) -> Fullnat {
    table.must_not_be_empty("pool");
    let pool = table.list("pool", value::locals);
    Fullnat {
        place: table.place(),
        is_given,
        pool: pool.filter(|it| !it.is_empty() || !table.has("pool")),
        ports: table.or("ports", value::port_range, (1024, 65_535)),
    }
}

fn affinity(table: &mut Table<'_>) -> Affinity {
    let time = || {
        let range = Duration::from_millis(1)..=Duration::from_hours(365 * 24);
        duration(range, "for no end, a server asks for until_ended")
    };
    Affinity {
        duration: table.or("duration", time(), Duration::from_mins(30)),
        duration_cap: table.optional("duration_cap", time()),
        lifetime_cap: table.optional("lifetime_cap", time()),
        refresh: table.or("refresh", word, Refresh::Packet),
        on_conflict: table.or("on_conflict", word, OnConflict::Reject),
        on_backend_down: table.or("on_backend_down", word, OnBackendDown::Balance),
        widest_prefix: table.or("widest_prefix", value::widest_prefix, (8, 32)),
    }
}

fn health(table: &mut Table<'_>) -> Health {
    let interval = duration(
        Duration::from_millis(100)..=Duration::from_hours(1),
        "every probe is a new connection",
    );
    let timeout = duration(
        Duration::from_millis(10)..=Duration::from_hours(1),
        "a backend needs time to answer",
    );
    let in_a_row = || integer(1..=100, "so many probes in a row change a backend's state");
    Health {
        check: table.or("check", word, CheckWord::Tcp),
        path: table.optional("path", value::request_path),
        has_path: table.has("path"),
        interval: table.or("interval", interval, Duration::from_secs(2)),
        timeout: table.or("timeout", timeout, Duration::from_secs(1)),
        rise: table.or("rise", in_a_row(), 2),
        fall: table.or("fall", in_a_row(), 3),
    }
}

fn backend(table: &mut Table<'_>) -> Backend {
    table.must_not_be_empty("signal_from");
    Backend {
        place: table.place(),
        name: table.required("name", value::name),
        address: table.required("address", value::host),
        port: table.optional(
            "port",
            integer(1..=65_535, "leave it out for the service's port"),
        ),
        weight: table.or(
            "weight",
            integer(0..=65_535, "relative to the other weights"),
            1,
        ),
        identity: table.optional("identity", value::identity),
        signal_from: table.list("signal_from", value::peer),
    }
}
