//! The real binary against a daemon that follows a script: what it asks, prints and exits with.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod capture;
mod config;
mod daemon;
mod doctor;
mod drain;
mod top;

use std::collections::BTreeMap;

use daemon::{Daemon, finished, tetherctl};
use serde_json::{Value, json};
use tether_api::{
    operator::{
        AdminState, Affinity, AffinityFilter, AffinityKey, AffinityState, AffinitySwitch, Backend,
        BackendState, End, Entry, Event, EventKind, ExplainPacket, ExplainedFrame, Explanation,
        Failure, Flow, FlowFilter, Flushed, HexBytes, Journal, OuterHeaders, Payload, PlacedBy,
        Port, PortCounters, Protocol, Request, Response, Service, SignalOutcome, StartAffinity,
        Stats, Status, TableFill, WatchFilter, Watching, Worker, WorkerStats,
    },
    v1::OutcomeCode,
};

fn ok(payload: Payload) -> Daemon {
    Daemon::answering(vec![vec![Response::Ok(payload)]])
}

fn key() -> AffinityKey {
    AffinityKey {
        service: "shop".into(),
        source: "10.1.2.3".parse().unwrap(),
    }
}

fn affinity() -> Affinity {
    Affinity {
        service: "shop".into(),
        source: "10.1.2.3".into(),
        owner: "shop-1".into(),
        state: AffinityState::Active,
        created_ms_ago: 2_000,
        last_hit_ms_ago: None,
        duration_ms: Some(1_800_000),
        remaining_ms: Some(1_798_000),
        hits: 1_234,
        flows: 2,
        generation: 7,
    }
}

fn backend(name: &str, state: BackendState) -> Backend {
    Backend {
        service: "shop".into(),
        name: name.into(),
        address: "10.9.0.11".parse().unwrap(),
        port: 80,
        weight: 1,
        state,
        flows: 12,
        affinities: 3,
        drained: false,
        path_mtu: None,
    }
}

fn service() -> Service {
    Service {
        name: "shop".into(),
        protocol: Protocol::Tcp,
        address: "fd00:9::100".parse().unwrap(),
        prefix_length: None,
        port: 80,
        scheduler: "maglev".into(),
        forward: "dsr".into(),
        affinity: true,
        affinities: 3,
        flows: 12,
        backends: vec![
            backend("shop-1", BackendState::Up),
            backend("shop-2", BackendState::Down),
        ],
    }
}

fn outcome(code: OutcomeCode) -> SignalOutcome {
    SignalOutcome {
        code,
        service: "shop".into(),
        source: "10.1.2.3".into(),
        ..Default::default()
    }
}

/// The table's rows as words, so that a test does not depend on widths.
fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| line.split_whitespace().collect())
        .collect()
}

#[test]
fn status_tells_how_the_forwarder_does() {
    let status = Status {
        version: "0.1.0".into(),
        uptime_ms: 7_384_000,
        epoch: 42,
        ready: true,
        affinity: true,
        workers: vec![Worker {
            core: 1,
            generation: 9,
            reporting: false,
            ..Worker::default()
        }],
        ports: vec![Port {
            device: "net_af_packet0".into(),
            link_up: true,
            addresses: vec!["10.9.0.2/24".into()],
            offloads: vec!["rss".into(), "rx_ipv4_cksum".into()],
            counters: PortCounters {
                received_packets: 1_000,
                received_bytes: 64_000,
                ..PortCounters::default()
            },
            ..Port::default()
        }],
        tables: TableFill {
            affinities: 250,
            affinity_capacity: 1_000,
            ..TableFill::default()
        },
        neighbours: Vec::new(),
        journal: Some(Journal {
            directory: "/var/lib/tether".into(),
            failing: Some("No space left on device".into()),
            restored: 1_234,
            ..Journal::default()
        }),
    };
    let run = ok(Payload::Status(status.clone())).run("status");
    assert_eq!((run.exit, run.requests), (0, vec![Request::Status]));
    assert!(
        run.stdout
            .starts_with("tetherd 0.1.0, ready, up 2h 3m, epoch 42, affinity on\n")
    );
    assert!(
        run.stdout.contains("affinities 250 of 1,000 (25.0 %)"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout
            .contains("journal /var/lib/tether: CANNOT BE WRITTEN")
            && run.stdout.contains("No space left on device"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("1,000 packets, 64.0 kB"),
        "{}",
        run.stdout
    );
    assert!(
        words(&run.stdout)
            .iter()
            .any(|row| row.starts_with(&["1", "no", "9"])),
        "{}",
        run.stdout
    );
    assert!(
        words(&run.stdout)
            .iter()
            .any(|row| row.starts_with(&["net_af_packet0"])
                && row.ends_with(&["rss", "rx_ipv4_cksum"])),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains('\u{1b}'), "no colour in a pipe");

    let run = ok(Payload::Status(status)).run("status --json");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["workers"][0]["reporting"], false);
    assert_eq!(document["ports"][0]["received_packets"], 1_000);
    let offloads = json!(["rss", "rx_ipv4_cksum"]);
    assert_eq!(document["ports"][0]["offloads"], offloads);
}

#[test]
fn services_and_backends_are_listed_and_shown() {
    let run = ok(Payload::Services(vec![service()])).run("service list");
    assert_eq!(run.requests, [Request::ServiceList]);
    let row = "shop tcp [fd00:9::100]:80 maglev dsr on 3 12 1 of 2 up";
    assert_eq!(words(&run.stdout)[1], row.split(' ').collect::<Vec<_>>());

    let run = ok(Payload::Service(service())).run("service show shop");
    assert_eq!(
        run.requests,
        [Request::ServiceShow {
            service: "shop".into()
        }]
    );
    assert!(
        run.stdout.starts_with("shop: tcp [fd00:9::100]:80\n"),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("shop-2"), "{}", run.stdout);

    let run = ok(Payload::Backends(service().backends)).run("backend list shop --json");
    assert_eq!(
        run.requests,
        [Request::BackendList {
            service: Some("shop".into())
        }]
    );
    let list: Value = serde_json::from_str(&run.stdout).unwrap();
    let expected = json!({"service": "shop", "name": "shop-2", "address": "10.9.0.11", "port": 80,
        "weight": 1, "state": "down", "flows": 12, "affinities": 3, "drained": false});
    assert_eq!(list[1], expected);
}

#[test]
fn the_path_to_a_backend_is_shown_where_a_router_has_said_something() {
    let narrow = Backend {
        path_mtu: Some(1380),
        ..backend("shop-1", BackendState::Up)
    };
    let others = backend("shop-2", BackendState::Up);
    let run = ok(Payload::Backends(vec![narrow, others])).run("backend list shop");
    let rows = words(&run.stdout);
    assert_eq!(rows[0][8..], ["PATH", "MTU"]);
    assert_eq!((rows[1][8], rows[2][8]), ("1380", "-"));
}

#[test]
fn backends_are_steered() {
    let set = |state| Request::BackendSet {
        service: "shop".into(),
        backend: "shop-1".into(),
        state,
    };
    let weight = Request::BackendWeight {
        service: "shop".into(),
        backend: "shop-1".into(),
        weight: 5,
    };
    for (line, request) in [
        ("backend drain shop shop-1", set(AdminState::Drain)),
        ("backend disable shop shop-1", set(AdminState::Disable)),
        ("backend enable shop shop-1", set(AdminState::Enable)),
        ("backend weight shop shop-1 5", weight),
    ] {
        let run = ok(Payload::Backend(backend("shop-1", BackendState::Draining))).run(line);
        assert_eq!((run.exit, run.requests), (0, vec![request]), "{line}");
        let row = "shop shop-1 10.9.0.11:80 1 draining 12 3 no";
        assert_eq!(words(&run.stdout)[1], row.split(' ').collect::<Vec<_>>());
    }
}

#[test]
fn affinities_are_listed_as_a_table_and_as_an_array() {
    let answer = || {
        let entry = || Response::Entry(Entry::Affinity(affinity()));
        Daemon::answering(vec![vec![
            entry(),
            entry(),
            Response::End(End { entries: 2 }),
        ]])
    };
    let run = answer().run(
        "affinity list --service shop --source 10.1.2.3/16 --expiring-within 5m --state active",
    );
    let filter = AffinityFilter {
        service: Some("shop".into()),
        source: Some("10.1.0.0/16".parse().unwrap()),
        state: Some(AffinityState::Active),
        expiring_within_ms: Some(300_000),
        ..AffinityFilter::default()
    };
    assert_eq!(
        (run.exit, run.requests),
        (0, vec![Request::AffinityList(filter)])
    );
    let row = "shop 10.1.2.3 shop-1 active 2.0s ago never 30m 0s 29m 58s 1,234 2 7";
    assert_eq!(words(&run.stdout)[2], row.split(' ').collect::<Vec<_>>());

    let run = answer().run("affinity list --json");
    let list: Vec<Affinity> = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(list, [affinity(), affinity()]);
}

#[test]
fn an_empty_list_is_said_so() {
    let answer = || Daemon::answering(vec![vec![Response::End(End::default())]]);
    assert_eq!(answer().run("affinity list").stdout, "none\n");
    assert_eq!(answer().run("flow list --json").stdout, "[]\n");
}

#[test]
fn a_list_that_fails_midway_fails() {
    let failure = Failure {
        message: "the table is being replaced".into(),
        hint: None,
    };
    let answer = vec![
        Response::Entry(Entry::Affinity(affinity())),
        Response::Error(failure),
    ];
    let run = Daemon::answering(vec![answer]).run("affinity list");
    assert_eq!((run.exit, run.stdout.as_str()), (1, ""));
    assert_eq!(run.stderr, "tetherctl: the table is being replaced\n");
}

#[test]
fn one_affinity_is_shown_and_all_are_counted() {
    let run = ok(Payload::Affinity(affinity())).run("affinity show shop 10.1.2.3");
    assert_eq!(run.requests, [Request::AffinityShow(key())]);
    assert!(
        run.stdout.contains("duration 30m 0s, remaining 29m 58s"),
        "{}",
        run.stdout
    );

    let count = tether_api::operator::AffinityCount {
        total: 5,
        active: 4,
        suspended: 1,
        draining: 0,
    };
    let run = ok(Payload::AffinityCount(count)).run("affinity count --backend shop-1 --json");
    let counted: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        counted,
        json!({"total": 5, "active": 4, "suspended": 1, "draining": 0})
    );
}

#[test]
fn an_operator_starts_extends_and_ends() {
    let start = StartAffinity {
        key: key(),
        backend: "shop-1".into(),
        duration_ms: Some(90_000),
        until_ended: false,
        keep_on_reboot: true,
    };
    let line = "affinity start shop 10.1.2.3 shop-1 --duration 90s --keep-on-reboot";
    let granted = SignalOutcome {
        owner: Some("shop-1".into()),
        granted_ms: Some(60_000),
        generation: 8,
        ..outcome(OutcomeCode::Created)
    };
    let run = ok(Payload::Outcome(granted)).run(line);
    assert_eq!(
        (run.exit, run.requests),
        (0, vec![Request::AffinityStart(start)])
    );
    assert_eq!(
        run.stdout,
        "CREATED 10.1.2.3 of shop -> shop-1, duration 1m 0s, generation 8\n"
    );

    let extend = Request::AffinityExtend {
        key: key(),
        duration_ms: Some(3_600_000),
        generation: Some(8),
    };
    let run = ok(Payload::Outcome(outcome(OutcomeCode::Extended)))
        .run("affinity extend shop 10.1.2.3 --duration 1h --generation 8");
    assert_eq!((run.exit, run.requests), (0, vec![extend]));

    let end = Request::AffinityEnd {
        key: key(),
        generation: None,
    };
    let run = ok(Payload::Outcome(outcome(OutcomeCode::Ended))).run("affinity end shop 10.1.2.3");
    assert_eq!((run.exit, run.requests), (0, vec![end]));
}

#[test]
fn a_refused_signal_exits_with_1_and_says_why() {
    let conflict = SignalOutcome {
        owner: Some("shop-2".into()),
        remaining_ms: Some(12_000),
        detail: "shop-2 owns it".into(),
        ..outcome(OutcomeCode::Conflict)
    };
    let run = ok(Payload::Outcome(conflict)).run("affinity start shop 10.1.2.3 shop-1");
    assert_eq!(run.exit, 1);
    assert_eq!(
        run.stdout,
        "CONFLICT 10.1.2.3 of shop -> shop-2, remaining 12s\n  shop-2 owns it\n"
    );

    let run = ok(Payload::Outcome(outcome(OutcomeCode::NotFound)))
        .run("affinity end shop 10.1.2.3 --json");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.exit, &document["code"]), (1, &json!("NOT_FOUND")));
}

#[test]
fn a_flush_of_everything_must_be_meant() {
    let run = finished(&tetherctl("/nonexistent".as_ref(), "affinity flush"));
    assert_eq!(run.exit, 2);
    assert!(run.stderr.contains("--all"), "{}", run.stderr);

    let run = ok(Payload::Flushed(Flushed { ended: 1_234 })).run("affinity flush --all");
    assert_eq!(
        run.requests,
        [Request::AffinityFlush(AffinityFilter::default())]
    );
    assert_eq!(
        (run.exit, run.stdout.as_str()),
        (0, "1,234 affinities ended\n")
    );
}

#[test]
fn the_switch_is_turned() {
    let switch = AffinitySwitch {
        global: true,
        services: BTreeMap::from([("shop".into(), false)]),
    };
    let run = ok(Payload::AffinitySwitch(switch)).run("affinity off shop");
    let request = Request::AffinitySwitch {
        on: false,
        service: Some("shop".into()),
    };
    assert_eq!(run.requests, [request]);
    assert_eq!(words(&run.stdout)[2], ["shop", "off"]);
}

#[test]
fn explain_says_who_and_why() {
    let explanation = || Explanation {
        service: Some("shop".into()),
        backend: Some("shop-1".into()),
        by: PlacedBy::Affinity,
        affinity: Some(affinity()),
        reason: "10.1.2.3 has an affinity with shop-1".into(),
        forward: Some("gue".into()),
        frame: Some(Box::new(explained_frame())),
    };
    let line = "explain tcp 10.1.2.3:5000 10.9.0.100:80 --without shop-2";
    let request = Request::Explain(ExplainPacket {
        protocol: Protocol::Tcp,
        source: "10.1.2.3".parse().unwrap(),
        source_port: Some(5_000),
        destination: "10.9.0.100:80".parse().unwrap(),
        without: Some("shop-2".into()),
    });
    let run = ok(Payload::Explanation(explanation())).run(line);
    assert_eq!((run.exit, run.requests), (0, vec![request]));
    assert!(
        run.stdout
            .starts_with("service shop, backend shop-1, by an affinity\n")
    );
    let frame = "  forwarded by gue\n  \
        leaves by net_af_packet0 from 02:00:00:00:00:01 to 10.9.0.11, whose MAC address is not \
        resolved yet, VLAN 100\n  \
        outer header 10.9.0.2 -> 10.9.0.11, UDP from port 50000 to port 6080\n  \
        packet 10.1.2.3:5000 -> 10.9.0.100:80, of at most 1472 bytes\n";
    assert!(run.stdout.contains(frame), "{}", run.stdout);

    let run =
        ok(Payload::Explanation(explanation())).run("explain udp fd00::1 [fd00::100]:53 --json");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["by"], "affinity");
    assert_eq!(document["affinity"]["remaining_ms"], 1_798_000);
    let outer = json!({"source": "10.9.0.2", "destination": "10.9.0.11", "protocol": 17,
        "source_port": 50_000, "destination_port": 6080});
    assert_eq!(document["frame"]["outer"], outer);
    assert_eq!(document["frame"]["bytes"], "0a0b");
    assert_eq!(document["frame"]["destination_mac"], Value::Null);
}

fn explained_frame() -> ExplainedFrame {
    ExplainedFrame {
        comes_by: "net_af_packet0".into(),
        port: "net_af_packet0".into(),
        source_mac: "02:00:00:00:00:01".into(),
        destination_mac: None,
        next_hop: "10.9.0.11".parse().unwrap(),
        vlan: Some(100),
        outer: Some(OuterHeaders {
            source: "10.9.0.2".parse().unwrap(),
            destination: "10.9.0.11".parse().unwrap(),
            protocol: 17,
            source_port: Some(50_000),
            destination_port: Some(6080),
        }),
        source: "10.1.2.3:5000".parse().unwrap(),
        destination: "10.9.0.100:80".parse().unwrap(),
        mtu: 1472,
        came: HexBytes(vec![0x0a]),
        bytes: HexBytes(vec![0x0a, 0x0b]),
    }
}

#[test]
fn flows_are_listed() {
    let flow = Flow {
        service: "shop".into(),
        protocol: Protocol::Tcp,
        source: "10.1.2.3:5000".parse().unwrap(),
        destination: "10.9.0.100:80".parse().unwrap(),
        backend: "shop-1".into(),
        by: PlacedBy::Scheduler,
        state: "established".into(),
        idle_ms: 1_500,
        core: 1,
    };
    let answer = vec![
        Response::Entry(Entry::Flow(flow)),
        Response::End(End { entries: 1 }),
    ];
    let run = Daemon::answering(vec![answer]).run("flow list --source 10.1.2.3");
    let filter = FlowFilter {
        source: Some("10.1.2.3".parse().unwrap()),
        ..FlowFilter::default()
    };
    assert_eq!(run.requests, [Request::FlowList(filter)]);
    let row = "shop tcp 10.1.2.3:5000 10.9.0.100:80 shop-1 scheduler established 1.5s 1";
    assert_eq!(words(&run.stdout)[1], row.split(' ').collect::<Vec<_>>());
}

fn reading(uptime_ms: u64, received: u64) -> Response {
    let worker = WorkerStats {
        core: 1,
        received,
        fates: BTreeMap::from([("forwarded".into(), received), ("no_service".into(), 0)]),
        ..WorkerStats::default()
    };
    Response::Ok(Payload::Stats(Stats {
        uptime_ms,
        workers: vec![worker],
        ..Stats::default()
    }))
}

#[test]
fn stats_are_counters_or_rates() {
    let run = Daemon::answering(vec![vec![reading(1_000, 5_000)]]).run("stats");
    assert!(
        run.stdout
            .contains("worker on core 1: 5,000 packets received"),
        "{}",
        run.stdout
    );
    assert!(
        !run.stdout.contains("no_service"),
        "what never happened is left out"
    );

    let readings = || {
        vec![
            vec![reading(1_000, 0)],
            vec![reading(2_000, 50)],
            vec![reading(4_000, 250)],
        ]
    };
    let run = Daemon::answering(readings()).run("stats --interval 0.01 --count 2 --json");
    let rates: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let received: Vec<_> = rates
        .iter()
        .map(|line| &line["workers"][0]["received_per_second"])
        .collect();
    assert_eq!((run.exit, received), (0, vec![&json!(50.0), &json!(100.0)]));

    let run = Daemon::answering(readings()).run("stats --interval 0.01s --count 1");
    assert!(run.stdout.contains("50 packets/s"), "{}", run.stdout);
}

#[test]
fn refusals_teach() {
    let failure = Failure {
        message: "no service \"shpo\"".into(),
        hint: Some("did you mean \"shop\"?".into()),
    };
    let run = Daemon::answering(vec![vec![Response::Error(failure)]]).run("service show shpo");
    assert_eq!((run.exit, run.stdout.as_str()), (1, ""));
    assert_eq!(
        run.stderr,
        "tetherctl: no service \"shpo\"\n  did you mean \"shop\"?\n"
    );
}

#[test]
fn wrong_usage_exits_with_2() {
    for (line, advice) in [
        ("afinity list", "affinity"),
        ("affinity show shop 10.1.2", "write 10.1.2.3"),
        ("affinity list --expiring-within soon", "30m"),
        (
            "affinity start shop 10.1.2.3 a --duration 1s --until-ended",
            "cannot be used with",
        ),
        ("explain tcp 10.0.0.0/8 10.9.0.100:80", "one address"),
        ("stats --count 2", "--interval"),
    ] {
        let run = finished(&tetherctl("/nonexistent".as_ref(), line));
        assert_eq!(run.exit, 2, "{line}");
        assert!(run.stderr.contains(advice), "{line}: {}", run.stderr);
    }
}

#[test]
fn nobody_at_the_socket_exits_with_3() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("operator.sock");
    let run = finished(&tetherctl(&absent, "status"));
    assert_eq!(run.exit, 3);
    assert!(run.stderr.contains("is tetherd running?"), "{}", run.stderr);

    drop(std::os::unix::net::UnixListener::bind(&absent).unwrap());
    let run = finished(&tetherctl(&absent, "status"));
    assert_eq!(run.exit, 3);
    assert!(run.stderr.contains("start it again"), "{}", run.stderr);
}

#[test]
fn a_daemon_that_hangs_up_exits_with_3() {
    let run = Daemon::answering(vec![vec![]]).run("status");
    assert_eq!(run.exit, 3);
    assert!(
        run.stderr.contains("did not finish its answer"),
        "{}",
        run.stderr
    );
}

#[test]
fn completions_need_no_daemon() {
    let run = finished(&tetherctl("/nonexistent".as_ref(), "completions bash"));
    assert_eq!(run.exit, 0);
    assert!(
        run.stdout.contains("tetherctl__subcmd__affinity")
            || run.stdout.contains("tetherctl__affinity")
    );
}

fn happened(event: EventKind, sequence: u64) -> Event {
    Event {
        event,
        sequence,
        epoch: 42,
        affinity: (event != EventKind::Gap).then(affinity),
        ..Event::default()
    }
}

fn watching(events: Vec<Event>) -> Daemon {
    let begun = Response::Ok(Payload::Watching(Watching { ahead: 4096 }));
    let events = events
        .into_iter()
        .map(|it| Response::Entry(Entry::Event(it)));
    Daemon::answering(vec![std::iter::once(begun).chain(events).collect()])
}

#[test]
fn s8_a_watch_prints_a_line_for_each_event_until_the_daemon_goes() {
    let ended = Event {
        reason: Some("owner".into()),
        ..happened(EventKind::Ended, 2)
    };
    let replaced = Event {
        new_owner: Some("shop-2".into()),
        ..happened(EventKind::Replaced, 3)
    };
    let gap = Event {
        lost: Some(1_234),
        ..happened(EventKind::Gap, 1_237)
    };
    let daemon = watching(vec![happened(EventKind::Started, 1), ended, replaced, gap]);
    let run = daemon.run("affinity watch --service shop --backend shop-1");
    let filter = WatchFilter {
        service: Some("shop".into()),
        backend: Some("shop-1".into()),
    };
    assert_eq!(run.requests, [Request::AffinityWatch(filter)]);
    let lines: Vec<_> = run
        .stdout
        .lines()
        .map(|it| it.split_once(' ').unwrap())
        .collect();
    for (time, _) in &lines {
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
    let said: Vec<_> = lines.iter().map(|(_, said)| *said).collect();
    let expected = [
        "started   10.1.2.3 of shop -> shop-1, for 30m 0s, remaining 29m 58s",
        "ended     10.1.2.3 of shop -> shop-1, by owner",
        "replaced  10.1.2.3 of shop -> shop-1, now shop-2",
        "gap 1,234 events are missing here: affinity list shows how it is now",
    ];
    assert_eq!(said, expected);
    assert_eq!(run.exit, 3, "the daemon went away: {}", run.stderr);
}

#[test]
fn s8_a_watch_in_json_is_one_object_a_line() {
    let run = watching(vec![
        happened(EventKind::Suspended, 1),
        happened(EventKind::Resumed, 2),
    ]);
    let run = run.run("--json affinity watch");
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    let mut first = lines[0].clone();
    let time = first.as_object_mut().unwrap().remove("time").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    let expected = json!({"event": "suspended", "sequence": 1, "epoch": 42, "affinity": affinity(),
        "new_owner": null, "reason": null, "lost": null});
    assert_eq!(first, expected);
}

#[test]
fn s8_a_watch_that_is_refused_exits_with_1() {
    let failure = Failure {
        message: "there is no service".into(),
        hint: None,
    };
    let daemon = Daemon::answering(vec![vec![Response::Error(failure)]]);
    let run = daemon.run("affinity watch --service shed");
    assert_eq!((run.exit, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("there is no service"), "{}", run.stderr);
}
