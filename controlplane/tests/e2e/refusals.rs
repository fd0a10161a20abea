//! What servers may say, and what they are told: outcomes over real gRPC, in text and in batches.

use std::collections::HashSet;

use tether_api::v1::{
    EndRequest, ExtendRequest, ListRequest, Outcome, OutcomeCode, Signal, SignalBatch,
    StartRequest, signal::Operation,
};
use tether_client::Options;
use tonic::Code;

use crate::{
    affinity::assert_sticks,
    spread::assert_spread,
    testbed::{
        self, Testbed,
        setup::Setup,
        signals::{end, extend, say, signal, start, try_say},
        vip::{GAME, SHOP, SHOP6},
        wait::{SOON, wait_until},
    },
};

const CLIENT: &str = "10.9.0.1";

#[track_caller]
fn start_by(bed: &Testbed<'_>, server: &str, request: StartRequest) -> Outcome {
    say(bed.server(server).host, request)
}

#[track_caller]
fn code_of_start(bed: &Testbed<'_>, server: &str, request: StartRequest) -> OutcomeCode {
    start_by(bed, server, request).code()
}

#[test]
fn each_signal_has_the_outcome_of_the_contract() {
    testbed::run(Setup::new(), |bed| {
        let (one, two) = (bed.server("server-1").host, bed.server("server-2").host);
        let created = say(one, start(SHOP, CLIENT));
        assert_eq!(created.code(), OutcomeCode::Created, "{created:?}");
        assert_eq!(created.key, CLIENT);
        assert_eq!(created.service, SHOP.service);
        assert_eq!(created.granted_ms, 30 * 60_000, "T1: {created:?}");
        assert_ne!((created.generation, created.epoch), (0, 0), "{created:?}");

        let refreshed = say(one, start(SHOP, CLIENT));
        assert_eq!(refreshed.code(), OutcomeCode::Refreshed, "{refreshed:?}");
        assert_eq!(refreshed.generation, created.generation);

        let conflict = say(two, start(SHOP, CLIENT));
        assert_eq!(conflict.code(), OutcomeCode::Conflict, "{conflict:?}");
        assert_eq!(conflict.owner, "server-1", "{conflict:?}");
        assert!(conflict.remaining_ms > 29 * 60_000, "{conflict:?}");
        assert_eq!(conflict.epoch, created.epoch, "L3");
        let not_mine = say(two, extend(SHOP, CLIENT, 0));
        assert_eq!(not_mine.code(), OutcomeCode::NotOwner, "{not_mine:?}");
        assert_eq!(say(two, end(SHOP, CLIENT)).code(), OutcomeCode::NotOwner);
        assert_sticks(bed.client(CLIENT), SHOP, "server-1");

        let late = EndRequest {
            generation: Some(created.generation + 1),
            ..end(SHOP, CLIENT)
        };
        assert_eq!(say(one, late).code(), OutcomeCode::Stale);
        let late = ExtendRequest {
            generation: Some(created.generation + 1),
            ..extend(SHOP, CLIENT, 0)
        };
        assert_eq!(say(one, late).code(), OutcomeCode::Stale);
        let unknown = say(one, extend(SHOP, "10.9.0.3", 0));
        assert_eq!(unknown.code(), OutcomeCode::NotFound, "{unknown:?}");
        assert_eq!(say(one, end(SHOP, CLIENT)).code(), OutcomeCode::Ended);
        assert_eq!(say(one, end(SHOP, CLIENT)).code(), OutcomeCode::NotFound);

        // P5: each is counted.
        let outcomes = bed.daemon.check_accounts().outcomes;
        for (name, count) in [
            ("CREATED", 1),
            ("REFRESHED", 1),
            ("CONFLICT", 1),
            ("NOT_OWNER", 2),
            ("STALE", 2),
            ("NOT_FOUND", 2),
            ("ENDED", 1),
        ] {
            assert_eq!(outcomes[name], count, "{name}: {outcomes:?}");
        }
    });
}

#[test]
fn what_makes_no_sense_is_invalid_with_the_reason() {
    testbed::run(Setup::new(), |bed| {
        for source in [
            "",
            "shop",
            "10.9.0",
            "fd00:9::1",
            "224.0.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "10.9.0.1:0",
            "10.9.0.0/33",
        ] {
            let outcome = start_by(bed, "server-1", start(SHOP, source));
            assert_eq!(
                outcome.code(),
                OutcomeCode::Invalid,
                "{source:?}: {outcome:?}"
            );
            assert!(outcome.detail.contains("source"), "{source:?}: {outcome:?}");
        }
        let nowhere = StartRequest {
            service: "shoe".into(),
            ..start(SHOP, CLIENT)
        };
        let outcome = start_by(bed, "server-1", nowhere);
        assert_eq!(outcome.code(), OutcomeCode::Invalid, "{outcome:?}");
        assert!(outcome.detail.contains("shoe"), "{outcome:?}");
        for (vip, source) in [
            (SHOP, "10.0.0.0/7"),
            (SHOP, "0.0.0.0/0"),
            (SHOP6, "fd00::/31"),
        ] {
            let outcome = start_by(bed, "server-1", start(vip, source));
            assert_eq!(
                outcome.code(),
                OutcomeCode::TooBroad,
                "{source}: {outcome:?}"
            );
        }
        assert_eq!(
            bed.daemon.json(&["affinity", "list"]),
            serde_json::json!([])
        );
        assert_spread(&bed.client(CLIENT).spread(SHOP, 40));
    });
}

#[test]
fn p2_nobody_speaks_for_another() {
    testbed::run(Setup::new(), |bed| {
        // The client's host has no address from which signals may come.
        let stranger = &bed.network.client;
        let denied = say(stranger, start(SHOP, CLIENT));
        assert_eq!(denied.code(), OutcomeCode::Denied, "{denied:?}");
        assert!(denied.detail.contains("10.8.0.1"), "{denied:?}");
        assert_eq!(say(stranger, end(SHOP, CLIENT)).code(), OutcomeCode::Denied);
        let listed = bed.daemon.json(&["affinity", "list"]);
        assert_eq!(listed, serde_json::json!([]));

        let in_the_name_of = |backend: &str| StartRequest {
            backend: backend.into(),
            ..start(SHOP, CLIENT)
        };
        let code = code_of_start(bed, "server-1", in_the_name_of("server-2"));
        assert_eq!(code, OutcomeCode::Denied);
        let code = code_of_start(bed, "server-1", in_the_name_of("server-1"));
        assert_eq!(code, OutcomeCode::Created);
    });
}

#[test]
fn s4_s5_a_key_is_canonical_and_a_service_has_three_names() {
    testbed::run(Setup::new(), |bed| {
        let at = |destination: &str, source: &str| StartRequest {
            destination: destination.into(),
            source: source.into(),
            ..StartRequest::default()
        };
        for (destination, source, service, key) in [
            ("10.9.0.100:80", "10.9.0.9/32", SHOP, "10.9.0.9"),
            (
                "[::ffff:10.9.0.100]:80",
                "::ffff:10.9.0.8",
                SHOP,
                "10.9.0.8",
            ),
            ("10.9.0.11:80", "10.9.7.7/16", SHOP, "10.9.0.0/16"),
            (
                "[fd00:9::100]:80",
                "[fd00:9:0::7]:99",
                SHOP6,
                "[fd00:9::7]:99",
            ),
            ("10.9.0.100:5000", "10.9.0.9:1", GAME, "10.9.0.9:1"),
        ] {
            let outcome = start_by(bed, "server-1", at(destination, source));
            assert_eq!(outcome.code(), OutcomeCode::Created, "{outcome:?}");
            assert_eq!(
                (outcome.service.as_str(), outcome.key.as_str()),
                (service.service, key)
            );
        }
        // The address and port of another backend are not its own.
        let code = code_of_start(bed, "server-2", at("10.9.0.11:80", "10.9.0.7"));
        assert_eq!(code, OutcomeCode::Denied);
    });
}

#[test]
fn s3_batches_are_answered_signal_by_signal_and_in_order() {
    testbed::run(Setup::new(), |bed| {
        let batch = |sequence, signals| SignalBatch {
            sequence,
            services: vec![SHOP.service.into()],
            signals,
            ..SignalBatch::default()
        };
        let with_host_bits = Signal {
            prefix_length: Some(28),
            ..signal(Operation::Start, "10.9.0.40")
        };
        let batches = vec![
            batch(1, vec![]),
            batch(
                2,
                vec![
                    signal(Operation::Start, CLIENT),
                    signal(Operation::Start, CLIENT),
                    signal(Operation::Extend, CLIENT),
                    signal(Operation::Start, "10.0.0.0/7"),
                    signal(Operation::End, CLIENT),
                    signal(Operation::End, CLIENT),
                    with_host_bits,
                ],
            ),
            batch(3, vec![signal(Operation::Start, "10.9.0.4")]),
        ];
        let answers = say(bed.server("server-3").host, batches);
        let codes: Vec<Vec<_>> = answers
            .iter()
            .map(|batch| batch.iter().map(|it| it.code().as_str_name()).collect())
            .collect();
        let expected = "CREATED REFRESHED EXTENDED TOO_BROAD ENDED NOT_FOUND CREATED";
        let expected: Vec<_> = expected.split(' ').collect();
        assert_eq!(codes, [vec![], expected, vec!["CREATED"]]);
        assert_eq!(answers[1][6].key, "10.9.0.32/28", "S4");

        assert_sticks(bed.client("10.9.0.4"), SHOP, "server-3");
        assert_sticks(bed.client("10.9.0.33"), SHOP, "server-3");
        assert_spread(&bed.client(CLIENT).spread(SHOP, 40));
    });
}

#[test]
fn p4_limits_refuse_and_evict_nothing() {
    let setup = Setup::new()
        .limit("affinities = 3")
        .limit("affinities_per_backend = 2");
    testbed::run(setup, |bed| {
        let started = |server, source| code_of_start(bed, server, start(SHOP, source));
        assert_eq!(started("server-1", "10.9.0.1"), OutcomeCode::Created);
        assert_eq!(started("server-1", "10.9.0.3"), OutcomeCode::Created);
        assert_eq!(started("server-1", "10.9.0.4"), OutcomeCode::Quota);
        assert_eq!(started("server-2", "10.9.0.4"), OutcomeCode::Created);
        assert_eq!(started("server-3", "10.9.0.31"), OutcomeCode::Full);
        // What is there can be refreshed and extended all the same (R7).
        assert_eq!(started("server-1", "10.9.0.1"), OutcomeCode::Refreshed);
        let extended = say(bed.server("server-1").host, extend(SHOP, "10.9.0.3", 0));
        assert_eq!(extended.code(), OutcomeCode::Extended, "{extended:?}");
        for (client, server) in [("10.9.0.1", "server-1"), ("10.9.0.4", "server-2")] {
            assert_sticks(bed.client(client), SHOP, server);
        }
    });
}

#[test]
fn on_conflict_replace_gives_the_client_to_the_latest() {
    let setup = Setup::new().affinity("on_conflict = \"replace\"");
    testbed::run(setup, |bed| {
        let first = start_by(bed, "server-1", start(SHOP, CLIENT));
        let mut live = bed.client(CLIENT).flow(SHOP);
        let second = start_by(bed, "server-2", start(SHOP, CLIENT));
        assert_eq!(second.code(), OutcomeCode::Replaced, "{second:?}");
        assert!(second.generation > first.generation, "{second:?}");
        assert_sticks(bed.client(CLIENT), SHOP, "server-2");
        assert_eq!(live.server(), "server-1");
        live.goes_on();
        let late = say(bed.server("server-1").host, end(SHOP, CLIENT));
        assert_eq!(late.code(), OutcomeCode::NotOwner, "{late:?}");
    });
}

#[test]
fn s7_a_new_life_of_a_server_ends_what_the_old_one_started() {
    testbed::run(Setup::new(), |bed| {
        let of_life = |boot_id, source: &str, keep_on_reboot| StartRequest {
            boot_id,
            keep_on_reboot,
            ..start(SHOP, source)
        };
        for (source, keep) in [("10.9.0.1", false), ("10.9.0.3", true)] {
            let code = code_of_start(bed, "server-1", of_life(1, source, keep));
            assert_eq!(code, OutcomeCode::Created);
        }
        // B2: another backend's are no business of its boot id.
        let code = code_of_start(bed, "server-2", of_life(1, "10.9.0.4", false));
        assert_eq!(code, OutcomeCode::Created);
        let code = code_of_start(bed, "server-1", of_life(2, "10.9.0.31", false));
        assert_eq!(code, OutcomeCode::Created);
        assert_spread(&bed.client("10.9.0.1").spread(SHOP, 40));
        assert_sticks(bed.client("10.9.0.3"), SHOP, "server-1");
        assert_sticks(bed.client("10.9.0.4"), SHOP, "server-2");
    });
}

#[test]
fn s6_a_lost_session_ends_only_what_was_bound_to_it() {
    testbed::run(Setup::new(), |bed| {
        let place = 0;
        let server = &bed.servers[place];
        let bound = Options::new().bound_to_session();
        for (source, options) in [("10.9.0.1", bound), ("10.9.0.3", Options::new())] {
            let (affinity, _) = server.bind_source(SHOP, source, options);
            drop(affinity.detach());
        }
        assert_sticks(bed.client("10.9.0.1"), SHOP, "server-1");
        server.forget_tether();
        wait_until("what was bound to the session to end", SOON, || {
            bed.daemon.json(&["affinity", "count"])["total"] == 1
        });
        assert_spread(&bed.client("10.9.0.1").spread(SHOP, 40));
        assert_sticks(bed.client("10.9.0.3"), SHOP, "server-1");
    });
}

#[test]
fn s9_a_server_lists_its_own_affinities_page_by_page() {
    testbed::run(Setup::new(), |bed| {
        for (server, source) in [
            ("server-1", "10.9.0.1"),
            ("server-2", "10.9.0.3"),
            ("server-1", "10.9.0.4"),
            ("server-1", "10.9.0.32/28"),
        ] {
            assert_eq!(
                code_of_start(bed, server, start(SHOP, source)),
                OutcomeCode::Created
            );
        }
        let host = bed.server("server-1").host;
        let list = |request: ListRequest| -> Vec<_> {
            let entries = say(host, request).into_iter();
            entries.map(|it| (it.source, it.cursor)).collect()
        };
        let all = list(ListRequest::default());
        let sources: HashSet<_> = all.iter().map(|(source, _)| source.as_str()).collect();
        assert_eq!(
            sources,
            HashSet::from(["10.9.0.1", "10.9.0.4", "10.9.0.32/28"])
        );
        let page = |after: &str, limit| ListRequest {
            after: after.into(),
            limit,
            ..ListRequest::default()
        };
        let first = list(page("", 2));
        let rest = list(page(&first[1].1, 0));
        assert_eq!([first, rest].concat(), all);
        assert!(say(&bed.network.client, ListRequest::default()).is_empty());
    });
}

#[test]
fn what_is_not_of_the_protocol_is_a_grpc_error_and_harmless() {
    testbed::run(Setup::new(), |bed| {
        let too_many = SignalBatch {
            services: vec![SHOP.service.into()],
            signals: vec![signal(Operation::Start, CLIENT); tether_api::BATCH_SIGNALS_MAX + 1],
            ..SignalBatch::default()
        };
        let refused = try_say(bed.server("server-1").host, vec![too_many]).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        let outcome = start_by(bed, "server-1", start(SHOP, CLIENT));
        assert_eq!(outcome.code(), OutcomeCode::Created, "{outcome:?}");
    });
}
