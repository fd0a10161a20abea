//! The operator protocol, against contract rules P3 and B3 and section 8.

use super::*;
use tether_api::operator::{
    AdminState, Affinity, AffinityCount, AffinityFilter, AffinityKey, AffinityState, Backend,
    BackendState, End, Entry, FlowFilter, SignalOutcome, StartAffinity,
};

fn key(source: &str) -> AffinityKey {
    AffinityKey {
        service: "shop".to_owned(),
        source: source.parse().unwrap(),
    }
}

fn start_request(backend: &str) -> Request {
    Request::AffinityStart(StartAffinity {
        key: key(CLIENT),
        backend: backend.to_owned(),
        duration_ms: Some(5_000),
        until_ended: false,
        keep_on_reboot: false,
    })
}

fn outcome(bench: &mut Bench, request: Request) -> SignalOutcome {
    match bench.payload(request) {
        Payload::Outcome(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn backend_set(bench: &mut Bench, backend: &str, state: AdminState) -> Backend {
    let request = Request::BackendSet {
        service: "shop".to_owned(),
        backend: backend.to_owned(),
        state,
    };
    match bench.payload(request) {
        Payload::Backend(backend) => backend,
        other => panic!("{other:?}"),
    }
}

fn affinities(bench: &mut Bench, filter: AffinityFilter) -> Vec<Affinity> {
    let mut lines = bench.ask(Request::AffinityList(filter));
    let last = lines.pop();
    let entries = u64::try_from(lines.len()).unwrap();
    assert_eq!(last, Some(Response::End(End { entries })));
    let rows = lines.into_iter().map(|line| match line {
        Response::Entry(Entry::Affinity(row)) => row,
        other => panic!("{other:?}"),
    });
    rows.collect()
}

#[test]
fn p3_an_operator_acts_for_anyone() {
    let mut bench = Bench::new();
    let started = outcome(&mut bench, start_request("shop-2"));
    assert_eq!(started.code, OutcomeCode::Created);
    assert_eq!(
        (started.granted_ms, started.remaining_ms),
        (Some(5_000), Some(5_000))
    );
    assert_eq!(bench.owner(CLIENT), Some("shop-2"));
    let extended = outcome(
        &mut bench,
        Request::AffinityExtend {
            key: key(CLIENT),
            duration_ms: Some(90_000),
            generation: None,
        },
    );
    assert_eq!(
        (extended.code, extended.remaining_ms),
        (OutcomeCode::Extended, Some(90_000))
    );
    let end = |generation| Request::AffinityEnd {
        key: key(CLIENT),
        generation,
    };
    assert_eq!(outcome(&mut bench, end(Some(99))).code, OutcomeCode::Stale);
    assert_eq!(outcome(&mut bench, end(None)).code, OutcomeCode::Ended);
    assert_eq!(bench.owner(CLIENT), None);
    assert_eq!(
        outcome(&mut bench, start_request("nosuch")).code,
        OutcomeCode::Invalid
    );
    assert_eq!(
        outcome(&mut bench, start_request("")).code,
        OutcomeCode::Invalid
    );
}

#[test]
fn an_affinity_is_shown_with_its_promised_fields() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    bench.after(1_000);
    let expected = Affinity {
        service: "shop".to_owned(),
        source: CLIENT.to_owned(),
        owner: "shop-1".to_owned(),
        state: AffinityState::Active,
        created_ms_ago: 1_000,
        last_hit_ms_ago: None,
        duration_ms: Some(60_000),
        remaining_ms: Some(59_000),
        hits: 0,
        flows: 0,
        generation: 1,
    };
    let shown = bench.payload(Request::AffinityShow(key(CLIENT)));
    assert_eq!(shown, Payload::Affinity(expected));
    bench.failure(Request::AffinityShow(key("192.0.2.0/24")));
    bench.after(59_000);
    let failure = bench.failure(Request::AffinityShow(key(CLIENT)));
    assert!(failure.message.contains(CLIENT), "{}", failure.message);
}

#[test]
fn b3_a_drain_shows_what_is_left() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    let drained = backend_set(&mut bench, "shop-1", AdminState::Drain);
    assert_eq!(
        (drained.state, drained.affinities, drained.flows),
        (BackendState::Draining, 1, 0)
    );
    assert!(!drained.drained);
    assert_eq!(
        affinities(&mut bench, AffinityFilter::default())[0].state,
        AffinityState::Draining
    );
    bench.end(ONE, CLIENT);
    let drained = backend_set(&mut bench, "shop-1", AdminState::Drain);
    assert_eq!(drained.affinities, 0);
    assert!(drained.drained);
    let enabled = backend_set(&mut bench, "shop-1", AdminState::Enable);
    assert_eq!(enabled.state, BackendState::Up);
    assert!(!enabled.drained, "nobody drains it");
}

#[test]
fn health_outweighs_what_the_operator_wants() {
    let mut bench = Bench::new();
    bench.health("shop-1", false);
    let disabled = backend_set(&mut bench, "shop-1", AdminState::Disable);
    assert_eq!(disabled.state, BackendState::Down);
    bench.health("shop-1", true);
    let Payload::Backends(all) = bench.payload(Request::BackendList { service: None }) else {
        panic!("no backends");
    };
    assert_eq!(all.len(), 5);
    assert_eq!(
        (all[0].name.as_str(), all[0].state),
        ("shop-1", BackendState::Disabled)
    );
}

#[test]
fn affinities_are_listed_counted_and_flushed_by_filter() {
    let mut bench = Bench::new();
    bench.start(ONE, "192.0.2.1");
    bench.start_for(ONE, "192.0.2.2", Asked::Milliseconds(5_000));
    bench.start(TWO, "192.0.3.1");
    bench.start_for(TWO, "192.0.3.2", Asked::UntilEnded);
    backend_set(&mut bench, "shop-1", AdminState::Drain);
    let of = |backend: &str| AffinityFilter {
        backend: Some(backend.to_owned()),
        ..AffinityFilter::default()
    };
    let soon = AffinityFilter {
        expiring_within_ms: Some(5_000),
        ..AffinityFilter::default()
    };
    assert_eq!(affinities(&mut bench, of("shop-1")).len(), 2);
    assert_eq!(affinities(&mut bench, soon)[0].source, "192.0.2.2");
    let count = bench.payload(Request::AffinityCount(AffinityFilter::default()));
    let expected = AffinityCount {
        total: 4,
        active: 2,
        suspended: 0,
        draining: 2,
    };
    assert_eq!(count, Payload::AffinityCount(expected));
    let flushed = bench.payload(Request::AffinityFlush(of("shop-2")));
    assert_eq!(
        flushed,
        Payload::Flushed(tether_api::operator::Flushed { ended: 2 })
    );
    assert_eq!(bench.owner("192.0.3.2"), None);
    assert_eq!(bench.owner("192.0.2.1"), Some("shop-1"));
    bench.assert_consistent();
    let failure = bench.failure(Request::AffinityCount(of("nosuch")));
    assert!(failure.message.contains("nosuch"));
}

#[test]
fn the_switch_turns_routing_off_without_losing_the_table() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    let shop = || Some("shop".to_owned());
    for (on, service, routes) in [
        (false, shop(), false),
        (false, None, false),
        (true, shop(), false),
        (true, None, true),
    ] {
        bench.payload(Request::AffinitySwitch { on, service });
        let shown = bench.payload(Request::ServiceShow {
            service: "shop".to_owned(),
        });
        let Payload::Service(shown) = shown else {
            panic!("{shown:?}");
        };
        assert_eq!((shown.affinity, shown.affinities), (routes, 1));
        let spec = crate::publish::tables(
            &bench.control.master.registry,
            &bench.control.stations,
            bench.control.master.affinity,
        );
        assert_eq!(spec.services[0].affinity, routes);
    }
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    let mut bench = Bench::new();
    let service = "shoop".to_owned();
    let failure = bench.failure(Request::ServiceShow { service });
    assert_eq!(failure.hint.as_deref(), Some("there are: shop, mail, six"));
    let failure = bench.failure(Request::BackendWeight {
        service: "shop".to_owned(),
        backend: "shop-1".to_owned(),
        weight: 70_000,
    });
    assert!(failure.message.contains("65535"));
}

#[test]
fn status_and_stats_tell_how_the_forwarder_is() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    let Payload::Status(status) = bench.payload(Request::Status) else {
        panic!("no status");
    };
    assert_eq!(status.epoch, bench.control.master.epoch);
    assert!(status.epoch != 0 && !status.ready, "its worker has stopped");
    assert_eq!((status.workers.len(), status.workers[0].core), (1, 1));
    assert_eq!(status.ports[0].mac, "02:00:00:00:00:01");
    assert_eq!(status.ports[0].offloads, ["rss", "rx_ipv4_cksum"]);
    assert_eq!(status.ports[0].addresses, ["10.9.0.2/24", "fd00:9::2/64"]);
    assert_eq!(
        (status.tables.affinities, status.tables.affinity_capacity),
        (1, 20_000)
    );
    assert_eq!(
        status.neighbours.len(),
        4,
        "one for each address of a backend"
    );
    let Payload::Stats(counted) = bench.payload(Request::Stats) else {
        panic!("no stats");
    };
    assert_eq!(counted.outcomes["CREATED"], 1);
    assert_eq!(
        counted.workers[0].fates.len(),
        tether_dataplane::fate::Fate::COUNT
    );
}

#[test]
fn a_worker_that_does_not_list_its_flows_is_named() {
    let mut bench = Bench::new();
    for _ in 0..6 {
        let failure = bench.failure(Request::FlowList(FlowFilter::default()));
        assert!(failure.message.contains("core 1"), "{}", failure.message);
    }
}

#[test]
fn the_metrics_page_counts_by_service_backend_and_kind_and_names_no_client() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    bench.start(ONE, "192.0.2.0/24");
    let (reply, mut page) = oneshot::channel();
    bench.turn(vec![Command::Metrics(reply)]);
    let page = page.try_recv().unwrap();
    for line in [
        "tether_affinities{service=\"shop\",backend=\"shop-1\",kind=\"ip\"} 1",
        "tether_affinities{service=\"shop\",backend=\"shop-1\",kind=\"subnet\"} 1",
        "tether_affinities{service=\"shop\",backend=\"shop-1\",kind=\"ip_port\"} 0",
        "tether_affinity_used 2",
        "tether_affinity_capacity 20000",
        "tether_signals_total{outcome=\"CREATED\"} 2",
        "tether_backend_state{service=\"shop\",backend=\"shop-2\",state=\"up\"} 1",
        "tether_packets_total{core=\"1\",fate=\"forwarded\"} 0",
        "# TYPE tether_worker_flows gauge",
    ] {
        assert!(
            page.lines().any(|it| it == line),
            "{line} is not in\n{page}"
        );
    }
    assert!(
        !page.contains("192.0.2."),
        "client addresses are never labels"
    );
}

#[test]
fn each_filter_of_a_list_narrows_it_down_and_all_of_them_together() {
    type Narrow = fn(&mut AffinityFilter);
    let mut bench = Bench::new();
    bench.start_for(ONE, "192.0.2.1", Asked::Milliseconds(20_000));
    bench.start(ONE, "192.0.2.0/24");
    bench.start(ONE, "192.0.2.1:5000");
    bench.start(TWO, "192.0.3.1");
    let mut of_mail = signal("mail", "192.0.2.1", start_of(Asked::Default));
    of_mail.backend = Some("mail-1".into());
    bench.say(ONE, of_mail);
    bench.health("shop-2", false);
    let cases: [(usize, Narrow); 12] = [
        (5, |_| ()),
        (4, |it| it.service = Some("shop".into())),
        (1, |it| it.backend = Some("mail-1".into())),
        (3, |it| it.source = "192.0.2.1".parse().ok()),
        (1, |it| it.source = "192.0.2.1:5000".parse().ok()),
        (4, |it| it.source = "192.0.2.0/24".parse().ok()),
        (5, |it| it.source = "192.0.0.0/16".parse().ok()),
        (1, |it| it.state = Some(AffinityState::Suspended)),
        (0, |it| it.state = Some(AffinityState::Draining)),
        (0, |it| it.expiring_within_ms = Some(10_000)),
        (1, |it| it.expiring_within_ms = Some(20_000)),
        (1, |it| {
            it.service = Some("shop".into());
            it.backend = Some("shop-1".into());
            it.source = "192.0.2.1".parse().ok();
            it.state = Some(AffinityState::Active);
            it.expiring_within_ms = Some(20_000);
        }),
    ];
    for (expected, narrow) in cases {
        let mut filter = AffinityFilter::default();
        narrow(&mut filter);
        let listed = affinities(&mut bench, filter.clone());
        assert_eq!(listed.len(), expected, "{filter:?}");
        let counted = bench.payload(Request::AffinityCount(filter.clone()));
        let is_counted = |it: AffinityCount| it.total == expected as u64;
        assert!(
            matches!(counted, Payload::AffinityCount(it) if is_counted(it)),
            "{filter:?}: {counted:?}"
        );
    }
}
