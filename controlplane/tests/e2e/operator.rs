//! `tetherctl` against the live daemon: what each verb does, and the names of its JSON.

use serde_json::{Value, json};
use tether_api::v1::OutcomeCode;
use tether_client::Options;

use crate::{
    affinity::assert_sticks,
    spread::assert_spread,
    testbed::{
        self, Testbed,
        setup::Setup,
        signals::{say, start},
        vip::SHOP,
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

#[track_caller]
fn refused(bed: &Testbed<'_>, arguments: &[&str], exit: i32) -> String {
    let output = bed.daemon.run_ctl(arguments);
    assert_eq!(output.status.code(), Some(exit), "{output:?}");
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn the_verbs_that_look_say_what_is_so_in_text_and_json() {
    testbed::run(Setup::new().two_workers(), |bed| {
        let connection = bed.client(CLIENT).connect(SHOP);
        let _bound = bed
            .server("server-2")
            .bind_source(SHOP, CLIENT, Options::new());
        assert_sticks(bed.client(CLIENT), SHOP, "server-2");

        let status = bed.daemon.json(&["status"]);
        has(
            &status,
            "version, uptime_ms, epoch, ready, workers, ports, tables, neighbours",
        );
        assert_eq!(
            (&status["ready"], &status["affinity"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(status["workers"][1]["core"], 1);
        assert_eq!(status["ports"][0]["device"], "net_af_packet0");
        assert_eq!(
            status["ports"][0]["addresses"],
            json!(["10.9.0.2/24", "fd00:9::2/64"])
        );
        assert_eq!(status["tables"]["affinities"], 1);
        let published = &status["tables"]["published_generation"];
        assert_eq!(&status["workers"][0]["generation"], published);

        let services = bed.daemon.json(&["service", "list"]);
        assert_eq!(services.as_array().unwrap().len(), 5);
        let shop = bed.daemon.json(&["service", "show", "shop"]);
        has(
            &shop,
            "name, protocol, address, port, scheduler, forward, affinities, flows, backends",
        );
        assert_eq!(shop["backends"][1]["affinities"], 1);
        assert!(refused(bed, &["service", "show", "shoe"], 1).contains("shoe"));

        let backends = bed.daemon.json(&["backend", "list", "shop"]);
        assert_eq!(backends.as_array().unwrap().len(), 3);
        has(
            &backends[0],
            "service, name, address, port, weight, state, flows, affinities",
        );

        let affinity = bed.daemon.json(&["affinity", "show", "shop", CLIENT]);
        let fields = "service, source, owner, state, created_ms_ago, last_hit_ms_ago, duration_ms, \
                      remaining_ms, hits, flows, generation";
        has(&affinity, fields);
        assert_eq!(affinity["hits"], FLOWS);
        assert_eq!(affinity["state"], "active");
        let listed = bed.daemon.json(&["affinity", "list"]);
        assert_eq!(listed[0]["generation"], affinity["generation"]);
        for (filter, count) in [
            (["--service", "shop"], 1),
            (["--service", "game"], 0),
            (["--backend", "server-2"], 1),
            (["--backend", "server-1"], 0),
            (["--source", "10.9.0.0/24"], 1),
            (["--source", "10.9.1.0/24"], 0),
            (["--state", "active"], 1),
            (["--state", "suspended"], 0),
            (["--expiring-within", "1h"], 1),
            (["--expiring-within", "1s"], 0),
        ] {
            let listed = bed
                .daemon
                .json(&[&["affinity", "list"], &filter[..]].concat());
            assert_eq!(listed.as_array().unwrap().len(), count, "{filter:?}");
            let counted = bed
                .daemon
                .json(&[&["affinity", "count"], &filter[..]].concat());
            assert_eq!(counted["total"], count, "{filter:?}");
        }

        let stats = bed.daemon.json(&["stats"]);
        has(
            &stats["workers"][0],
            "core, received, held, fates, placed, steps",
        );
        assert!(
            stats["ports"][0]["received_packets"].as_u64() > Some(0),
            "{stats}"
        );
        assert_eq!(stats["outcomes"]["CREATED"], 1);
        let flows = bed.daemon.json(&["flow", "list", "--source", CLIENT]);
        let source = connection.local().to_string();
        let mut flows = flows.as_array().unwrap().iter();
        let flow = flows.find(|flow| flow["source"] == source).unwrap();
        has(
            flow,
            "service, protocol, source, destination, backend, by, state, idle_ms, core",
        );
        assert_eq!(
            (&flow["by"], &flow["state"]),
            (&json!("scheduler"), &json!("established"))
        );

        for verb in [
            "status",
            "service list",
            "service show shop",
            "backend list",
            "affinity list",
            "affinity count",
            "affinity show shop 10.9.0.1",
            "flow list",
            "stats",
            "explain tcp 10.9.0.1 10.9.0.100:80",
        ] {
            let arguments: Vec<_> = verb.split(' ').collect();
            let text = refused(bed, &arguments, 0);
            assert!(
                !text.is_empty() && !text.starts_with(['{', '[']),
                "{verb}: {text}"
            );
        }
    });
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
        assert!(refused(bed, &conflict, 1).contains("CONFLICT"));
        let ended = affinity(&["end", "shop", CLIENT]);
        assert_eq!(ended["code"], "ENDED", "{ended}");
        assert_spread(&client.spread(SHOP, FLOWS));
        let again = refused(bed, &["--json", "affinity", "end", "shop", CLIENT], 1);
        assert!(again.contains("NOT_FOUND"), "{again}");

        for source in ["10.9.0.1", "10.9.0.3", "10.9.0.32/28"] {
            affinity(&["start", "shop", source, "server-2"]);
        }
        assert_eq!(affinity(&["flush", "--source", "10.9.0.32/28"])["ended"], 1);
        assert_spread(&bed.client("10.9.0.33").spread(SHOP, FLOWS));
        assert_sticks(client, SHOP, "server-2");
        refused(bed, &["affinity", "flush"], 2);
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
