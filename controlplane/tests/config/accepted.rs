//! What good files mean: the example value by value, defaults, and what is allowed at the edges.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use tether_controlplane::config::{
    AffinityPolicy, Audit, Auth, Backend, Check, Config, Control, Dpdk, Forward, Fullnat, Health,
    Idle, Kernel, Limits, Neighbour, OnBackendDown, OnConflict, Port, PortAddress, Prefix,
    Protocol, Refresh, Scheduler, Service, ServiceLimits, SignalListener, Tls, Tunnel, Workers,
};

use super::EXAMPLE;
use tether_dataplane::Mac;

fn config(text: &str) -> Config {
    Config::parse("t", text).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn example_service() -> Service {
    Service {
        name: "shop".to_owned(),
        address: address("10.9.0.100"),
        prefix_length: 32,
        port: 80,
        protocol: Protocol::Tcp,
        scheduler: Scheduler::Maglev,
        forward: Forward::Dsr,
        tunnel: Tunnel {
            port: 6080,
            variant: 1,
            source_v4: None,
            source_v6: None,
            mss_clamp: None,
        },
        proxy_protocol: false,
        fullnat: Fullnat {
            pool: Vec::new(),
            ports: (1024, 65_535),
        },
        flow_timeout: Duration::from_mins(5),
        slow_start: None,
        allow: Vec::new(),
        deny: Vec::new(),
        limits: ServiceLimits::default(),
        affinity: AffinityPolicy {
            duration: Duration::from_mins(30),
            duration_cap: Some(Duration::from_hours(8)),
            lifetime_cap: Some(Duration::from_hours(24)),
            refresh: Refresh::Packet,
            on_conflict: OnConflict::Reject,
            on_backend_down: OnBackendDown::Balance,
            widest_prefix_v4: 8,
            widest_prefix_v6: 32,
        },
        health: Some(Health {
            check: Check::Tcp,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
        }),
        backends: vec![Backend {
            name: "shop-1".to_owned(),
            address: address("10.9.0.11"),
            port: 80,
            weight: 1,
            identity: "shop-1".to_owned(),
            signal_from: vec![address("10.8.0.11")],
        }],
    }
}

#[test]
fn the_example_means_what_it_says() {
    let expected = Config {
        dpdk: Dpdk {
            args: ["--no-pci", "--vdev=net_af_packet0,iface=veth0"]
                .map(str::to_owned)
                .to_vec(),
        },
        workers: Workers {
            cores: vec![1],
            flows: 1_000_000,
            idle: Idle::Poll,
        },
        ports: vec![Port {
            device: "net_af_packet0".to_owned(),
            addresses: [("10.9.0.2", 24), ("fd00:9::2", 64)]
                .map(|(text, prefix_length)| PortAddress {
                    address: address(text),
                    prefix_length,
                })
                .to_vec(),
            gateway_v4: Some(Ipv4Addr::new(10, 9, 0, 1)),
            gateway_v6: None,
            mtu: None,
            vlan: Some(100),
            neighbours: Vec::new(),
            kernel: Some(Kernel {
                interface: "tether0".to_owned(),
                rate: 10_000,
            }),
        }],
        control: Control {
            signal: Some(SignalListener {
                address: "10.8.0.2:7470".parse().unwrap(),
                auth: Auth::Mtls(Tls {
                    certificate: PathBuf::from("/etc/tether/tls/server.pem"),
                    key: PathBuf::from("/etc/tether/tls/server.key"),
                    client_ca: PathBuf::from("/etc/tether/tls/backends.pem"),
                }),
            }),
            operator: PathBuf::from("/run/tether/operator.sock"),
            metrics: Some("127.0.0.1:9470".parse().unwrap()),
            state: Some(PathBuf::from("/var/lib/tether")),
            audit: Some(Audit {
                path: PathBuf::from("/var/log/tether/audit.log"),
                lines_per_second: 1000,
                mask: None,
            }),
        },
        limits: Limits {
            affinities: 1_000_000,
            affinities_per_service: 16_000_000,
            affinities_per_backend: 200_000,
            signals_per_second_per_backend: 100_000,
        },
        services: vec![example_service()],
    };
    assert_eq!(config(EXAMPLE), expected);
}

/// The least that is a configuration, and a service with one backend.
const LEAST: &str = r#"
    workers.cores = [3]
    port = [{ device = "0000:03:00.0", addresses = ["10.9.0.2/24"] }]
    service = [{ name = "shop", address = "10.9.0.100", port = 80, backend = [
        { name = "shop-1", address = "10.9.0.11" },
    ] }]
"#;

#[test]
fn what_is_left_out_has_defaults() {
    let Config {
        dpdk,
        workers,
        ports,
        control,
        limits,
        services,
    } = config(LEAST);
    assert_eq!(dpdk, Dpdk { args: Vec::new() });
    assert_eq!((workers.flows, workers.idle), (1_000_000, Idle::Poll));
    let [port] = ports.as_slice() else {
        panic!("{ports:?}")
    };
    assert_eq!(
        (port.gateway_v4, port.gateway_v6, port.vlan),
        (None, None, None)
    );
    assert_eq!(port.kernel, None);
    assert_eq!(
        control,
        Control {
            signal: None,
            operator: PathBuf::from("/run/tether/operator.sock"),
            metrics: None,
            state: None,
            audit: None,
        }
    );
    let example = config(EXAMPLE);
    assert_eq!(limits, example.limits);
    let mut expected = example_service();
    expected.affinity.duration_cap = None;
    expected.affinity.lifetime_cap = None;
    expected.health = None;
    expected.backends[0].signal_from = vec![address("10.9.0.11")];
    assert_eq!(services, [expected]);
}

#[test]
fn a_port_has_a_kernels_part_and_given_neighbours() {
    let port = |keys: &str| config(&EXAMPLE.replacen("vlan = 100", keys, 1)).ports[0].clone();
    let inline = port(
        "kernel_rate = 500\nneighbour = [{ address = \"10.9.0.11\", mac = \"52:54:00:AB:cd:0e\" }]",
    );
    let expected = Neighbour {
        address: address("10.9.0.11"),
        mac: Mac([0x52, 0x54, 0, 0xab, 0xcd, 0x0e]),
    };
    assert_eq!(inline.neighbours, [expected]);
    assert_eq!(inline.kernel.unwrap().rate, 500);
    let link_local = "neighbour = [{ address = \"fe80::1\", mac = \"52:54:00:ab:cd:0e\" }]";
    assert_eq!(port(link_local).neighbours.len(), 1);
}

#[test]
fn an_empty_health_table_probes_with_defaults() {
    let text = LEAST.replace("port = 80,", "port = 80, health = {},");
    assert_eq!(config(&text).services[0].health, example_service().health);
    let none = LEAST.replace("port = 80,", "port = 80, health.check = \"none\",");
    assert_eq!(config(&none).services[0].health, None);
    let http = LEAST.replace(
        "port = 80,",
        "port = 80, health = { check = \"http\", path = \"/up\" },",
    );
    let check = config(&http).services[0]
        .health
        .clone()
        .map(|health| health.check);
    assert_eq!(
        check,
        Some(Check::Http {
            path: "/up".to_owned()
        })
    );
}

#[test]
fn a_tunnel_is_read_as_it_stands() {
    let tunnel = "port = 80, forward = \"gue\", tunnel = { port = 5555, variant = 0, \
                  source_prefix = [\"10.99.0.0/16\", \"fd00:99::/64\"], mss_clamp = 1400 },";
    let text = LEAST.replace("port = 80,", tunnel);
    let prefix = |text, length| {
        let address = address(text);
        Some(Prefix { address, length })
    };
    let expected = Tunnel {
        port: 5555,
        variant: 0,
        source_v4: prefix("10.99.0.0", 16),
        source_v6: prefix("fd00:99::", 64),
        mss_clamp: Some(1400),
    };
    assert_eq!(config(&text).services[0].tunnel, expected);
    let text = LEAST.replace("addresses", "mtu = 9000, addresses");
    assert_eq!(config(&text).ports[0].mtu, Some(9000));
}

/// With a pool of both families.
const FULLNAT: &str = "\"fullnat\", fullnat.pool = [\"10.9.0.200\", \"fd00:9::200\"]";

#[test]
fn a_pool_of_local_addresses_is_read_as_it_stands() {
    let fullnat = "port = 80, forward = \"fullnat\", fullnat = { \
                   pool = [\"10.9.0.200/30\", \"fd00:9::200\"], ports = [2000, 2999] },";
    let text = LEAST.replace("port = 80,", fullnat);
    let text = text.replace("addresses", "gateway = \"10.9.0.1\", addresses");
    let Fullnat { pool, ports } = &config(&text).services[0].fullnat;
    assert_eq!(*ports, (2000, 2999));
    let addresses: Vec<_> = pool.iter().flat_map(Prefix::addresses).collect();
    let expected = [
        "10.9.0.200",
        "10.9.0.201",
        "10.9.0.202",
        "10.9.0.203",
        "fd00:9::200",
    ];
    assert_eq!(addresses, expected.map(address));
}

#[test]
fn services_share_local_addresses() {
    let again = EXAMPLE.replace("\"dsr\"", "\"fullnat\"\nfullnat.pool = [\"10.9.0.200\"]");
    let again =
        again[again.find("[[service]]").unwrap()..].replace("port = 80\nprot", "port = 81\nprot");
    let again = again
        .replace("\"shop\"", "\"shop-81\"")
        .replace("port = 80\nweight", "port = 81\nweight");
    let text = EXAMPLE.replace("\"dsr\"", "\"fullnat\"\nfullnat.pool = [\"10.9.0.200/31\"]");
    let services = config(&format!("{text}{again}")).services;
    assert_eq!(services[1].fullnat.pool[0].address, address("10.9.0.200"));
}

#[test]
fn every_word_is_read_as_itself() {
    fn each<T: ToString>(key: &str, variants: &[T], read: impl Fn(&Service) -> String) {
        for variant in variants {
            let word = variant.to_string();
            let text = LEAST.replace("port = 80,", &format!("port = 80, {key} = \"{word}\","));
            // Nothing has a use for it but NAT, which does not go without.
            let text = text.replace("addresses", "gateway = \"10.9.0.1\", addresses");
            let text = text.replace("\"fullnat\"", FULLNAT);
            assert_eq!(read(&config(&text).services[0]), word, "{key}");
        }
    }
    use Scheduler::{LeastConnections, Maglev, PowerOfTwo, RoundRobin, SourceHash};
    let schedulers = [Maglev, RoundRobin, Scheduler::WeightedRoundRobin];
    each("scheduler", &schedulers, |service| {
        service.scheduler.to_string()
    });
    let schedulers = [LeastConnections, PowerOfTwo, SourceHash];
    each("scheduler", &schedulers, |service| {
        service.scheduler.to_string()
    });
    let forwards = [
        Forward::Dsr,
        Forward::Ipip,
        Forward::Gue,
        Forward::Gre,
        Forward::Nat,
        Forward::Fullnat,
    ];
    each("forward", &forwards, |service| service.forward.to_string());
    each("protocol", &[Protocol::Tcp, Protocol::Udp], |service| {
        service.protocol.to_string()
    });
    let refreshes = [Refresh::Packet, Refresh::Connection, Refresh::Never];
    each("affinity.refresh", &refreshes, |service| {
        service.affinity.refresh.to_string()
    });
    let conflicts = [OnConflict::Reject, OnConflict::Replace];
    each("affinity.on_conflict", &conflicts, |service| {
        service.affinity.on_conflict.to_string()
    });
    let downs = [OnBackendDown::Balance, OnBackendDown::Drop];
    each("affinity.on_backend_down", &downs, |service| {
        service.affinity.on_backend_down.to_string()
    });
}

#[test]
fn a_prefix_of_vips() {
    for (text, first, length) in [
        ("10.9.1.0/28", "10.9.1.0", 28),
        ("10.9.0.100/32", "10.9.0.100", 32),
        ("10.16.0.0/16", "10.16.0.0", 16),
    ] {
        let config = config(&EXAMPLE.replacen("\"10.9.0.100\"", &format!("{text:?}"), 1));
        let expected = Service {
            address: address(first),
            prefix_length: length,
            ..example_service()
        };
        assert_eq!(config.services, [expected], "{text}");
    }
}

#[test]
fn who_may_come_and_how_fast() {
    let keys = "port = 80\nslow_start = \"30s\"\nallow = [\"10.0.0.0/8\", \"0.0.0.0/0\"]\n\
                deny = [\"10.1.2.3\"]\nlimits.new_flows_per_second = 1000\n\
                limits.new_flows_per_second_per_source = 10\nprotocol";
    let config = config(&EXAMPLE.replacen("port = 80\nprotocol", keys, 1));
    let prefix = |text, length| Prefix {
        address: address(text),
        length,
    };
    let expected = Service {
        slow_start: Some(Duration::from_secs(30)),
        allow: vec![prefix("10.0.0.0", 8), prefix("0.0.0.0", 0)],
        deny: vec![prefix("10.1.2.3", 32)],
        limits: ServiceLimits {
            new_flows_per_second: Some(1000),
            new_flows_per_second_per_source: Some(10),
        },
        ..example_service()
    };
    assert_eq!(config.services, [expected]);
}

#[test]
fn the_words_are_those_of_the_interface() {
    use Scheduler::{LeastConnections, Maglev, PowerOfTwo, RoundRobin, SourceHash};
    let schedulers = [
        Maglev,
        RoundRobin,
        Scheduler::WeightedRoundRobin,
        LeastConnections,
        PowerOfTwo,
        SourceHash,
    ];
    assert_eq!(
        schedulers
            .map(|scheduler| scheduler.to_string())
            .join(" | "),
        "maglev | round-robin | weighted-round-robin | least-connections | power-of-two | source-hash"
    );
    let forwards = [
        Forward::Dsr,
        Forward::Ipip,
        Forward::Gue,
        Forward::Gre,
        Forward::Nat,
        Forward::Fullnat,
    ];
    assert_eq!(
        forwards.map(|forward| forward.to_string()).join(" | "),
        "dsr | ipip | gue | gre | nat | fullnat"
    );
}

#[test]
fn these_are_allowed() {
    for (why, from, to) in [
        (
            "a gateway per family",
            "\"10.9.0.1\"",
            "[\"10.9.0.1\", \"fd00:9::1\"]",
        ),
        ("a link-local gateway", "\"10.9.0.1\"", "\"fe80::1\""),
        (
            "a point-to-point subnet (RFC 3021)",
            "\"10.9.0.2/24\"",
            "\"10.9.0.2/24\", \"10.8.0.0/31\"",
        ),
        (
            "an address alone",
            "\"10.9.0.2/24\"",
            "\"10.9.0.2/24\", \"10.7.0.1/32\"",
        ),
        ("several workers", "[1]", "[1, 2, 63]"),
        (
            "a vdev of two arguments",
            "--vdev=net_af",
            "--vdev\", \"net_af",
        ),
        (
            "memory channels",
            "\"--no-pci\"",
            "\"--no-pci\", \"-n\", \"4\"",
        ),
        (
            "no limit to speak of",
            "affinities = 1000000",
            "affinities = 16_000_000",
        ),
        ("a weight of nothing", "weight = 1", "weight = 0"),
        (
            "one identity for two",
            "[[service.backend]]",
            "[[service.backend]]\nname = \"b\"\naddress = \"10.9.0.12\"\nidentity = \"shop-1\"\n[[service.backend]]",
        ),
        (
            "the same name in another service",
            "[[service]]",
            "[[service]]\nname = \"a\"\naddress = \"10.9.0.100\"\nport = 81\n[[service.backend]]\nname = \"shop-1\"\naddress = \"10.9.0.11\"\n[[service]]",
        ),
        (
            "one port for TCP and UDP",
            "[[service]]",
            "[[service]]\nname = \"a\"\naddress = \"10.9.0.100\"\nport = 80\nprotocol = \"udp\"\n[[service]]",
        ),
        (
            "a service without backends",
            "[[service]]",
            "[[service]]\nname = \"a\"\naddress = \"10.9.0.101\"\nport = 80\n[[service]]",
        ),
        (
            "a probe path that TCP does not use",
            "path = \"/health\"",
            "path = \"/other\"",
        ),
        ("signals from this host", "10.8.0.11", "127.0.0.1"),
        ("a cap of the duration itself", "\"8h\"", "\"30m\""),
        ("a probe as long as its interval", "\"1s\"", "\"2s\""),
        (
            "a duration of two units",
            "duration = \"30m\"",
            "duration = \"1h30m\"",
        ),
    ] {
        assert!(EXAMPLE.contains(from), "{why}");
        config(&EXAMPLE.replacen(from, to, 1));
    }
}

#[test]
fn backends_may_be_far_or_of_the_other_family_where_the_forwarding_allows_it() {
    for (forward, backend) in [
        ("ipip", "172.16.0.1"),
        ("gre", "172.16.0.1"),
        ("gue", "fd00:9::11"),
        ("ipip", "fd00:9::11"),
        ("nat", "172.16.0.1"),
        ("fullnat", "fd00:9::11"),
    ] {
        let text = EXAMPLE.replace("\"dsr\"", &format!("\"{forward}\""));
        let pool = "\"fullnat\"\nfullnat.pool = [\"fd00:9::200\"]";
        let text = text.replace("\"fullnat\"", pool);
        let config = config(&text.replace("\"10.9.0.11\"", &format!("\"{backend}\"")));
        assert_eq!(config.services[0].backends[0].address, address(backend));
    }
}

#[test]
fn listeners_may_share_an_address_on_any_free_port() {
    let text = EXAMPLE.replace("10.8.0.2:7470", "127.0.0.1:0");
    let control = config(&text.replace("127.0.0.1:9470", "127.0.0.1:0")).control;
    let signal = control.signal.map(|signal| signal.address);
    assert_eq!(
        (signal, control.metrics),
        ("127.0.0.1:0".parse().ok(), signal)
    );
}

#[test]
fn nat_rewrites_the_port() {
    let text = EXAMPLE
        .replace("\"dsr\"", "\"nat\"")
        .replace("port = 80\nweight", "port = 8080\nweight");
    assert_eq!(config(&text).services[0].backends[0].port, 8080);
}

#[test]
fn a_service_of_every_port_keeps_the_packets_port() {
    let text = EXAMPLE
        .replace("port = 80\nprotocol", "port = 0\nprotocol")
        .replace("check = \"tcp\"", "check = \"none\"")
        .replace("port = 80\nweight", "weight");
    let config = config(&text);
    assert_eq!(
        (config.services[0].port, config.services[0].backends[0].port),
        (0, 0)
    );
}

#[test]
fn addresses_may_authenticate_without_certificates() {
    let start = EXAMPLE.find("[control.tls]").unwrap();
    let end = EXAMPLE.find("[limits]").unwrap();
    let text =
        format!("{}{}", &EXAMPLE[..start], &EXAMPLE[end..]).replace("\"mtls\"", "\"address\"");
    let signal = config(&text).control.signal.map(|signal| signal.auth);
    assert_eq!(signal, Some(Auth::Address));
}

#[test]
fn a_port_knows_its_subnet() {
    let [v4, v6] = [("10.9.0.2", 23), ("fd00:9::2", 64)].map(|(text, prefix_length)| PortAddress {
        address: address(text),
        prefix_length,
    });
    for (address_text, on_v4, on_v6) in [
        ("10.9.0.2", true, false),
        ("10.9.1.255", true, false),
        ("10.9.2.0", false, false),
        ("10.8.255.255", false, false),
        ("fd00:9::ffff:0:0:1", false, true),
        ("fd00:9:0:1::2", false, false),
    ] {
        let address = address(address_text);
        assert_eq!(
            (v4.is_on_link(address), v6.is_on_link(address)),
            (on_v4, on_v6),
            "{address}"
        );
    }
}

#[test]
fn load_reads_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tether.toml");
    std::fs::write(&path, EXAMPLE).unwrap();
    assert_eq!(Config::load(&path).unwrap(), config(EXAMPLE));
}

#[test]
fn p5_the_audit_log_has_a_rate_and_a_mask() {
    let keys = "audit_lines_per_second = 50\naudit_mask = [24, 56]\naudit = ";
    let text = EXAMPLE.replacen("audit = ", keys, 1);
    let expected = Audit {
        path: PathBuf::from("/var/log/tether/audit.log"),
        lines_per_second: 50,
        mask: Some((24, 56)),
    };
    assert_eq!(config(&text).control.audit, Some(expected));
}
