//! `tetherctl` against the live daemon: what each verb does, and the names of its JSON.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use tether_api::v1::OutcomeCode;
use tether_client::Options;

use crate::{
    affinity::assert_sticks,
    spread::assert_spread,
    testbed::{
        self, Testbed,
        client::Connection,
        server::end,
        setup::Setup,
        signals::{say, start},
        vip::{SHOP, VIPS},
        wait::{SOON, wait_until},
    },
};

const CLIENT: &str = "10.9.0.1";
const FLOWS: usize = 40;

/// Asserts that an object has these fields.
#[track_caller]
fn has(object: &Value, fields: &str) {
    for field in fields.split(", ") {
        assert!(object.get(field).is_some(), "no {field}: {object:#}");
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// What it says where it ends with this code.
#[track_caller]
fn said(bed: &Testbed<'_>, arguments: &[&str], exit: i32) -> String {
    let output = bed.daemon.run_ctl(arguments);
    assert_eq!(output.status.code(), Some(exit), "{output:?}");
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_verbs_that_look_say_what_is_so_in_text_and_json() {
    testbed::run(Setup::new().two_workers(), |bed| {
        let connection = bed.client(CLIENT).connect(SHOP);
        let server = bed.server("server-2");
        let _bound = server.bind_source(SHOP, CLIENT, Options::new());
        assert_sticks(bed.client(CLIENT), SHOP, "server-2");
        check_status(bed);
        check_services(bed);
        check_affinities(bed);
        check_traffic(bed, &connection);
        check_texts(bed);
    });
}

fn check_status(bed: &Testbed<'_>) {
    let status = bed.daemon.json(&["status"]);
    let fields = "version, uptime_ms, epoch, ready, workers, ports, tables, neighbours";
    has(&status, fields);
    assert_eq!(status["ready"], true);
    assert_eq!(status["affinity"], true);
    assert_eq!(status["workers"][1]["core"], 1);
    assert_eq!(status["tables"]["affinities"], 1);
    let port = &status["ports"][0];
    assert_eq!(port["device"], "net_af_packet0");
    let addresses = json!(["10.9.0.2/24", "fd00:9::2/64"]);
    assert_eq!(port["addresses"], addresses);
    wait_until("every worker to have seen the latest tables", SOON, || {
        let status = bed.daemon.json(&["status"]);
        let published = &status["tables"]["published_generation"];
        let mut workers = status["workers"].as_array().unwrap().iter();
        workers.all(|worker| worker["generation"] == *published)
    });
}

fn check_services(bed: &Testbed<'_>) {
    let services = bed.daemon.json(&["service", "list"]);
    assert_eq!(services.as_array().unwrap().len(), VIPS.len());
    let shop = bed.daemon.json(&["service", "show", "shop"]);
    let fields = "name, protocol, address, port, scheduler, forward, affinities, flows, backends";
    has(&shop, fields);
    assert_eq!(shop["backends"][1]["affinities"], 1);
    assert!(said(bed, &["service", "show", "shoe"], 1).contains("shoe"));

    let backends = bed.daemon.json(&["backend", "list", "shop"]);
    assert_eq!(backends.as_array().unwrap().len(), 3);
    let fields = "service, name, address, port, weight, state, flows, affinities, drained";
    has(&backends[0], fields);
}

fn check_affinities(bed: &Testbed<'_>) {
    let affinity = bed.daemon.json(&["affinity", "show", "shop", CLIENT]);
    let fields = "service, source, owner, state, created_ms_ago, last_hit_ms_ago, duration_ms, \
                  remaining_ms, hits, flows, generation";
    has(&affinity, fields);
    assert_eq!(affinity["hits"], FLOWS);
    assert_eq!(affinity["state"], "active");
    let listed = bed.daemon.json(&["affinity", "list"]);
    assert_eq!(listed[0]["generation"], affinity["generation"]);
    for (filter, count) in [
        ("--service shop", 1),
        ("--service game", 0),
        ("--backend server-2", 1),
        ("--backend server-1", 0),
        ("--source 10.9.0.0/24", 1),
        ("--source 10.9.1.0/24", 0),
        ("--state active", 1),
        ("--state suspended", 0),
        ("--expiring-within 1h", 1),
        ("--expiring-within 1s", 0),
    ] {
        let listed = bed.daemon.json(&words(&format!("affinity list {filter}")));
        assert_eq!(listed.as_array().unwrap().len(), count, "{filter}");
        let counted = bed.daemon.json(&words(&format!("affinity count {filter}")));
        assert_eq!(counted["total"], count, "{filter}");
    }
}

fn check_traffic(bed: &Testbed<'_>, connection: &Connection) {
    let stats = bed.daemon.json(&["stats"]);
    let fields = "core, received, held, fates, placed, steps";
    has(&stats["workers"][0], fields);
    let received = stats["ports"][0]["received_packets"].as_u64();
    assert!(received > Some(0), "{stats}");
    assert_eq!(stats["outcomes"]["CREATED"], 1);

    let flows = bed.daemon.json(&["flow", "list", "--source", CLIENT]);
    let source = connection.local().to_string();
    let mut flows = flows.as_array().unwrap().iter();
    let flow = flows.find(|flow| flow["source"] == source).unwrap();
    let fields = "service, protocol, source, destination, backend, by, state, idle_ms, core";
    has(flow, fields);
    assert_eq!(flow["by"], "scheduler");
    assert_eq!(flow["state"], "established");
    assert_eq!(flow["backend"], connection.server);
}

fn check_texts(bed: &Testbed<'_>) {
    for (verb, word) in [
        ("status", "net_af_packet0"),
        ("service list", "shop-tls"),
        ("service show shop", "server-3"),
        ("backend list", "game6"),
        ("affinity list", CLIENT),
        ("affinity count", "1"),
        ("affinity show shop 10.9.0.1", "server-2"),
        ("flow list", "established"),
        ("stats", "forwarded"),
        ("explain tcp 10.9.0.1 10.9.0.100:80", "server-2"),
    ] {
        let text = said(bed, &words(verb), 0);
        assert!(!text.starts_with(['{', '[']), "{verb}: {text}");
        assert!(text.contains(word), "{verb}: {text}");
    }
}

#[test]
fn explain_says_who_decides() {
    testbed::run(Setup::new(), |bed| {
        let client = bed.client(CLIENT);
        let connection = client.connect_from(40_000, SHOP);
        let vip = "10.9.0.100:80";
        let explain = |arguments: &[&str]| bed.daemon.json(&[&["explain"], arguments].concat());

        let by_flow = explain(&["tcp", "10.9.0.1:40000", vip]);
        has(&by_flow, "service, backend, by, affinity, reason, forward");
        assert_eq!(by_flow["by"], "flow", "{by_flow}");
        assert_eq!(by_flow["backend"], connection.server);
        drop(connection);

        // What it foretells is what happens.
        let by_scheduler = explain(&["tcp", "10.9.0.1:40001", vip]);
        assert_eq!(by_scheduler["by"], "scheduler", "{by_scheduler}");
        assert_eq!(by_scheduler["backend"], client.reach_from(40_001, SHOP));

        let _bound = bed
            .server("server-3")
            .bind_source(SHOP, CLIENT, Options::new());
        let by_affinity = explain(&["tcp", CLIENT, vip]);
        assert_eq!(by_affinity["by"], "affinity", "{by_affinity}");
        assert_eq!(by_affinity["backend"], "server-3");
        assert_eq!(by_affinity["affinity"]["source"], CLIENT);
        assert_eq!(by_affinity["forward"], "dsr");
        let without = explain(&["tcp", CLIENT, vip, "--without", "server-3"]);
        assert_eq!(without["by"], "scheduler", "{without}");
        assert_ne!(without["backend"], "server-3", "{without}");
        let nobody = explain(&["tcp", CLIENT, "10.9.0.100:81"]);
        assert_eq!(nobody["by"], "none", "{nobody}");
        assert!(
            nobody["service"].is_null() && nobody["backend"].is_null(),
            "{nobody}"
        );
    });
}

#[test]
fn p3_an_operator_starts_extends_ends_and_flushes_for_anyone() {
    testbed::run(Setup::new(), |bed| {
        let client = bed.client(CLIENT);
        let affinity = |rest: &[&str]| bed.daemon.json(&[&["affinity"], rest].concat());
        let started = affinity(&["start", "shop", CLIENT, "server-1", "--duration", "10s"]);
        has(
            &started,
            "code, service, source, owner, granted_ms, remaining_ms, generation, epoch",
        );
        assert_eq!(started["code"], "CREATED", "{started}");
        assert_eq!(started["granted_ms"], 10_000, "{started}");
        assert_sticks(client, SHOP, "server-1");
        let extended = affinity(&["extend", "shop", CLIENT, "--duration", "1h"]);
        assert_eq!(extended["code"], "EXTENDED", "{extended}");
        let remaining_ms = extended["remaining_ms"].as_u64();
        assert!(remaining_ms > Some(3_590_000), "{extended}");

        let conflict = ["--json", "affinity", "start", "shop", CLIENT, "server-2"];
        assert!(said(bed, &conflict, 1).contains("CONFLICT"));
        let ended = affinity(&["end", "shop", CLIENT]);
        assert_eq!(ended["code"], "ENDED", "{ended}");
        assert_spread(&client.spread(SHOP, FLOWS));
        let again = said(bed, &["--json", "affinity", "end", "shop", CLIENT], 1);
        assert!(again.contains("NOT_FOUND"), "{again}");

        for source in ["10.9.0.1", "10.9.0.3", "10.9.0.32/28"] {
            affinity(&["start", "shop", source, "server-2"]);
        }
        assert_eq!(affinity(&["flush", "--source", "10.9.0.32/28"])["ended"], 1);
        assert_spread(&bed.client("10.9.0.33").spread(SHOP, FLOWS));
        assert_sticks(client, SHOP, "server-2");
        said(bed, &["affinity", "flush"], 2);
        assert_eq!(affinity(&["flush", "--all"])["ended"], 2);
        assert_eq!(affinity(&["list"]), json!([]));
    });
}

#[test]
fn section_8_affinity_routing_can_be_switched_off_and_on() {
    testbed::run(Setup::new(), |bed| {
        let client = bed.client(CLIENT);
        let _bound = bed
            .server("server-1")
            .bind_source(SHOP, CLIENT, Options::new());
        for switch in [&["shop"][..], &[]] {
            assert_sticks(client, SHOP, "server-1");
            let off = bed.daemon.json(&[&["affinity", "off"], switch].concat());
            has(&off, "global, services");
            assert_spread(&client.spread(SHOP, FLOWS));
            // The table is kept.
            assert_eq!(bed.daemon.json(&["affinity", "count"])["total"], 1);
            bed.daemon.json(&[&["affinity", "on"], switch].concat());
        }
        assert_sticks(client, SHOP, "server-1");
    });
}

#[test]
fn b3_a_drain_is_complete_when_no_flow_and_no_affinity_is_left() {
    testbed::run(Setup::new(), |bed| {
        // What is over is forgotten soon.
        let text = bed.setup.toml(bed.daemon.directory());
        let text = text.replace(
            "forward = \"dsr\"",
            "forward = \"dsr\"\nflow_timeout = \"3s\"",
        );
        let path = bed.daemon.directory().join("short.toml");
        std::fs::write(&path, text).unwrap();
        bed.daemon
            .json(&["config", "apply", path.to_str().unwrap()]);

        let client = bed.client(CLIENT);
        let owner = bed.server("server-1");
        let (affinity, _) = owner.bind_source(SHOP, CLIENT, Options::new());
        let mut live = client.flow(SHOP);
        assert_eq!(live.server(), "server-1");
        let drain = ["backend", "drain", "shop", "server-1"];
        let drained = bed.daemon.json(&drain);
        assert_eq!(drained["affinities"], 1, "{drained}");
        assert_eq!(drained["drained"], false, "{drained}");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| bed.daemon.json(&[&drain[..], &["--wait"]].concat()));
            // Either alone keeps it from being complete, for longer than it takes to look.
            end(affinity);
            for _ in 0..20 {
                live.goes_on();
                thread::sleep(Duration::from_millis(50));
            }
            let listed = bed.daemon.json(&["backend", "list", "shop"]);
            let left = (&listed[0]["flows"], &listed[0]["affinities"]);
            assert_eq!(left, (&json!(1), &json!(0)), "{listed}");
            assert!(!waiting.is_finished());
            drop(live);
            let drained = waiting.join().unwrap();
            assert_eq!(drained["drained"], true, "{drained}");
            assert_eq!(drained["flows"], 0, "{drained}");
        });
    });
}

#[test]
fn section_6_a_drained_backend_keeps_its_clients_and_a_disabled_one_does_not() {
    testbed::run(Setup::new(), |bed| {
        let (client, other) = (bed.client(CLIENT), bed.client("10.9.0.3"));
        let owner = bed.server("server-1");
        let _bound = owner.bind_source(SHOP, CLIENT, Options::new());
        let mut live = client.flow(SHOP);
        let backend = |verb: &str| bed.daemon.json(&["backend", verb, "shop", "server-1"]);
        let state = || bed.daemon.json(&["affinity", "show", "shop", CLIENT])["state"].clone();
        let start_another = || say(owner.host, start(SHOP, "10.9.0.4")).code();

        assert_eq!(backend("drain")["state"], "draining");
        assert_sticks(client, SHOP, "server-1");
        assert!(!other.spread(SHOP, FLOWS).contains_key("server-1"));
        assert_eq!(state(), "draining");
        assert_eq!(start_another(), OutcomeCode::Unavailable);
        live.goes_on();

        assert_eq!(backend("disable")["state"], "disabled");
        assert!(!client.spread(SHOP, FLOWS).contains_key("server-1"));
        assert_eq!(state(), "suspended");

        assert_eq!(backend("enable")["state"], "up");
        assert_sticks(client, SHOP, "server-1");
        assert_spread(&other.spread(SHOP, FLOWS));
        assert_eq!(start_another(), OutcomeCode::Created);

        let weighed = bed
            .daemon
            .json(&["backend", "weight", "shop", "server-1", "0"]);
        assert_eq!(weighed["weight"], 0);
        assert!(!other.spread(SHOP, FLOWS).contains_key("server-1"));
        assert_sticks(client, SHOP, "server-1");
    });
}
