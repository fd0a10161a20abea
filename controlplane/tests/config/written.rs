//! A configuration that is written out and read back is the same one.

use tether_controlplane::config::{Config, diff::Diff};

use super::EXAMPLE;

#[track_caller]
fn survives(text: &str) {
    let config = Config::parse("t", text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let written = config.to_toml();
    let read = Config::parse("written", &written);
    let read = read.unwrap_or_else(|problems| panic!("{problems}\nin\n{written}"));
    assert_eq!(read, config, "{written}");
    assert!(Diff::between(&config, &read).is_empty());
    assert_eq!(read.to_toml(), written);
}

#[test]
fn the_example_survives() {
    survives(EXAMPLE);
}

#[test]
fn the_smallest_file_survives_with_its_defaults() {
    survives(
        "workers.cores = [0]\ncontrol = {}\n\
         port = [{ device = \"a\", addresses = [\"10.9.0.2/24\"] }]",
    );
}

#[test]
fn what_is_written_in_another_way_than_it_was_read_survives() {
    survives(
        r#"
        dpdk.args = ['--vdev="net_pcap0",rx_pcap=C:\new', "tab\tand \u0001 and ü"]
        workers = { cores = [3, 1], flows = 2048, idle = "yield" }
        [[port]]
        device = "0000:03:00.0"
        addresses = ["10.9.0.2/24", "fd00:9::2/64"]
        gateway = ["fd00:9::1", "10.9.0.1"]
        vlan = 7
        kernel = "tap.7@x-_"
        kernel_rate = 7
        [[port.neighbour]]
        address = "10.9.0.11"
        mac = "02:00:00:00:00:01"
        [[port.neighbour]]
        address = "fe80::11"
        mac = "02:00:00:00:00:01"
        [control]
        signal = "[::1]:7470"
        auth = "address"
        operator = "/run/o\"dd.sock"
        [[service]]
        name = "every-port"
        address = "10.9.0.100"
        port = 0
        [[service.backend]]
        name = "a"
        address = "10.9.0.11"
        [[service]]
        name = "probed"
        address = "fd00:9::100"
        port = 80
        flow_timeout = "1h0m1s"
        [service.health]
        check = "http"
        path = "/is?it=up"
        interval = "1500ms"
        [service.affinity]
        duration = "1ms"
        widest_prefix = [1, 128]
        [[service.backend]]
        name = "b"
        address = "fd00:9::11"
        weight = 0
        identity = "spiffe://b/1"
        signal_from = ["10.8.0.1", "fd00:8::1"]
        [[service]]
        name = "unprobed"
        address = "10.9.0.100"
        port = 53
        protocol = "udp"
        forward = "nat"
        health.check = "none"
        [[service.backend]]
        name = "c"
        address = "10.9.0.11"
        port = 5353
        "#,
    );
}

#[test]
fn who_may_come_and_how_fast_survives() {
    let keys = "10.9.1.0/28\"\nslow_start = \"30s\"\nallow = [\"0.0.0.0/0\", \"10.1.2.3\"]\n\
                deny = [\"10.0.0.0/8\"]\nlimits.new_flows_per_second = 9";
    survives(&EXAMPLE.replacen("10.9.0.100\"", keys, 1));
    let one = "10.9.0.100\"\nlimits.new_flows_per_second_per_source = 9";
    survives(&EXAMPLE.replacen("10.9.0.100\"", one, 1));
}

#[test]
fn a_pool_survives() {
    for keys in ["", "\nports = [2000, 2999]"] {
        let keys = format!(
            "forward = \"fullnat\"\nfullnat.pool = [\"10.9.0.200\", \"10.9.0.208/29\"]{}",
            keys.replace("ports", "fullnat.ports")
        );
        survives(&EXAMPLE.replacen("forward = \"dsr\"", &keys, 1));
    }
}

#[test]
fn the_proxy_protocol_survives() {
    for value in ["true", "false"] {
        let keys = format!(
            "forward = \"fullnat\"\nfullnat.pool = [\"10.9.0.200\"]\nproxy_protocol = {value}"
        );
        survives(&EXAMPLE.replacen("forward = \"dsr\"", &keys, 1));
    }
    survives(&EXAMPLE.replacen("forward", "proxy_protocol = false\nforward", 1));
}

#[test]
fn tunnels_and_the_audit_log_survive() {
    for (forward, keys) in [
        ("gue", "port = 6081\nvariant = 0\nmss_clamp = 1300"),
        (
            "gue",
            "source_prefix = [\"10.99.0.0/16\", \"fd00:99::/64\"]",
        ),
        ("ipip", "source_prefix = \"10.99.0.0/16\""),
        ("gre", ""),
    ] {
        survives(&format!(
            r#"
            workers.cores = [0]
            control = {{ audit = "/tmp/audit.log", audit_lines_per_second = 7, audit_mask = [24, 56] }}
            port = [{{ device = "a", addresses = ["10.9.0.2/24"], mtu = 1400 }}]
            [[service]]
            name = "shop"
            address = "10.9.0.100"
            port = 80
            forward = "{forward}"
            [service.tunnel]
            {keys}
            [[service.backend]]
            name = "shop-1"
            address = "10.9.0.11"
            "#
        ));
    }
}
