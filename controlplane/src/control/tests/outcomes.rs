//! Contract section 4, row by row.

use super::*;
use OutcomeCode::{
    Conflict, Created, Ended, Extended, Full, Invalid, NotFound, NotOwner, Quota, Refreshed,
    Replaced, Stale, TooBroad, Unavailable,
};
use tether_api::operator::AdminState;

fn set(bench: &mut Bench, backend: &str, state: AdminState) {
    bench.payload(Request::BackendSet {
        service: "shop".to_owned(),
        backend: backend.to_owned(),
        state,
    });
}

#[test]
fn a_start_of_a_new_key_is_created_and_effective_before_the_reply() {
    let mut bench = Bench::new();
    let outcome = bench.start(ONE, CLIENT);
    let expected = Outcome {
        code: Created,
        granted_ms: 60_000,
        remaining_ms: 60_000,
        generation: 1,
        key: Some(CLIENT.parse().unwrap()),
        owner: "shop-1".to_owned(),
        service: "shop".to_owned(),
        ..Outcome::default()
    };
    assert_eq!(outcome, expected);
    assert_eq!(bench.owner(CLIENT), Some("shop-1"));
    assert_eq!(bench.control.published, 1, "published before the reply");
}

#[test]
fn a_start_by_the_owner_refreshes_and_never_shortens() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    let outcome = bench
        .after(1_000)
        .start_for(ONE, CLIENT, Asked::Milliseconds(5_000));
    assert_eq!((outcome.code, outcome.generation), (Refreshed, 1));
    assert_eq!((outcome.granted_ms, outcome.remaining_ms), (5_000, 59_000));
    let outcome = bench.start_for(ONE, CLIENT, Asked::Milliseconds(90_000));
    assert_eq!((outcome.granted_ms, outcome.remaining_ms), (90_000, 90_000));
    bench.assert_consistent();
}

#[test]
fn a_start_on_a_live_owners_key_is_a_conflict_that_names_it() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    let outcome = bench.after(1_000).start(TWO, CLIENT);
    assert_eq!((outcome.code, outcome.owner.as_str()), (Conflict, "shop-1"));
    assert_eq!((outcome.remaining_ms, outcome.granted_ms), (59_000, 0));
    assert_eq!(bench.owner(CLIENT), Some("shop-1"));
}

#[test]
fn a_start_on_a_live_owners_key_replaces_where_the_service_says_so() {
    let mut bench = Bench::with_rule("on_conflict = \"replace\"");
    bench.start(ONE, CLIENT);
    let outcome = bench.start(TWO, CLIENT);
    assert_eq!((outcome.code, outcome.generation), (Replaced, 2));
    assert_eq!(bench.owner(CLIENT), Some("shop-2"));
    bench.assert_consistent();
}

#[test]
fn a_start_on_a_dead_owners_key_replaces() {
    for state in ["down", "disabled"] {
        let mut bench = Bench::new();
        bench.start(ONE, CLIENT);
        match state {
            "down" => bench.health("shop-1", false),
            _ => set(&mut bench, "shop-1", AdminState::Disable),
        }
        let outcome = bench.start(TWO, CLIENT);
        assert_eq!(
            (outcome.code, outcome.owner.as_str()),
            (Replaced, "shop-2"),
            "{state}"
        );
        assert_eq!(bench.owner(CLIENT), Some("shop-2"));
        bench.assert_consistent();
    }
}

#[test]
fn a_draining_owner_is_a_live_one() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    set(&mut bench, "shop-1", AdminState::Drain);
    assert_eq!(bench.start(TWO, CLIENT).code, Conflict);
}

#[test]
fn a_backend_that_takes_no_new_flows_starts_nothing_but_extends_and_ends() {
    for state in ["draining", "disabled", "down"] {
        let mut bench = Bench::new();
        bench.start(ONE, CLIENT);
        match state {
            "draining" => set(&mut bench, "shop-1", AdminState::Drain),
            "disabled" => set(&mut bench, "shop-1", AdminState::Disable),
            _ => bench.health("shop-1", false),
        }
        let outcome = bench.start(ONE, "192.0.2.8");
        assert_eq!(outcome.code, Unavailable);
        assert!(outcome.detail.contains(state), "{}", outcome.detail);
        assert_eq!(bench.start(ONE, CLIENT).code, Unavailable, "nor again");
        assert_eq!(bench.extend(ONE, CLIENT, Asked::Default).code, Extended);
        assert_eq!(bench.end(ONE, CLIENT).code, Ended);
        assert_eq!(bench.owner("192.0.2.8"), None);
    }
}

#[test]
fn extend_and_end_of_an_unknown_key_are_not_found_and_create_nothing() {
    let mut bench = Bench::new();
    assert_eq!(bench.extend(ONE, CLIENT, Asked::Default).code, NotFound);
    assert_eq!(bench.end(ONE, CLIENT).code, NotFound);
    assert_eq!(bench.owner(CLIENT), None);
    assert_eq!(bench.control.published, 0, "nothing to publish");
}

#[test]
fn an_end_by_the_owner_ends() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    let outcome = bench.end(ONE, CLIENT);
    assert_eq!((outcome.code, outcome.generation), (Ended, 0));
    assert_eq!(bench.owner(CLIENT), None);
    assert_eq!(
        bench.end(ONE, CLIENT).code,
        NotFound,
        "harmless a second time"
    );
    bench.assert_consistent();
}

#[test]
fn extend_and_end_by_another_are_not_owner() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    let outcome = bench.extend(TWO, CLIENT, Asked::Milliseconds(1 << 40));
    assert_eq!((outcome.code, outcome.owner.as_str()), (NotOwner, "shop-1"));
    assert_eq!(bench.end(TWO, CLIENT).code, NotOwner);
    assert_eq!(bench.owner(CLIENT), Some("shop-1"));
    assert_eq!(
        bench.after(60_000).owner(CLIENT),
        None,
        "nor was it extended"
    );
}

#[test]
fn a_late_end_or_extend_of_an_older_affinity_is_stale() {
    let mut bench = Bench::new();
    let old = bench.start(ONE, CLIENT).generation;
    bench.end(ONE, CLIENT);
    let new = bench.start(ONE, CLIENT).generation;
    assert!(new > old);
    let with = |generation, end| {
        if end {
            return Operation::End { generation };
        }
        Operation::Extend {
            duration: Asked::Default,
            generation,
        }
    };
    for end in [true, false] {
        let outcome = bench.say(ONE, signal("shop", CLIENT, with(Some(old), end)));
        assert_eq!((outcome.code, outcome.generation), (Stale, new));
    }
    let outcome = bench.say(ONE, signal("shop", CLIENT, with(Some(new), false)));
    assert_eq!(outcome.code, Extended);
    let outcome = bench.say(ONE, signal("shop", CLIENT, with(Some(new), true)));
    assert_eq!(outcome.code, Ended);
}

#[test]
fn what_is_invalid_is_told_by_field_and_reason() {
    let mut bench = Bench::new();
    for (service, source, field, reason) in [
        ("shop", "10.1.2", "source", "10.1.2.3"),
        ("shop", "10.1.2.3:0", "source", "port 0"),
        ("shop", "2001:db8::1", "source", "family"),
        ("six", "192.0.2.7", "source", "family"),
        ("shop", "224.0.0.1", "source", "multicast"),
        ("shop", "0.0.0.0", "source", "unspecified"),
        ("shop", "127.0.0.1", "source", "loopback"),
        ("shop", "255.255.255.255", "source", "255.255.255.255"),
        ("shop", "0.0.0.0/8", "source", "unspecified"),
        ("nosuch", CLIENT, "service", "shop, mail, six"),
    ] {
        let outcome = bench.say(ONE, signal(service, source, start_of(Asked::Default)));
        assert_eq!(
            outcome.code, Invalid,
            "{service} {source}: {}",
            outcome.detail
        );
        assert!(outcome.detail.starts_with(field), "{}", outcome.detail);
        assert!(outcome.detail.contains(reason), "{}", outcome.detail);
    }
    bench.assert_consistent();
}

#[test]
fn a_prefix_beyond_the_services_width_is_too_broad() {
    let mut bench = Bench::with_rule("widest_prefix = [16, 64]");
    let outcome = bench.start(ONE, "10.0.0.0/15");
    assert_eq!(outcome.code, TooBroad);
    assert!(outcome.detail.contains("/16"), "{}", outcome.detail);
    assert_eq!(bench.start(ONE, "10.0.0.0/16").code, Created);
    assert_eq!(bench.owner("10.0.255.1"), Some("shop-1"));
    let mut bench = Bench::new();
    assert_eq!(bench.start(ONE, "8.0.0.0/7").code, TooBroad);
    assert_eq!(bench.start(ONE, "8.0.0.0/8").code, Created);
    let six = |source| signal("six", source, start_of(Asked::Default));
    assert_eq!(bench.say(ONE, six("2001::/31")).code, TooBroad);
    assert_eq!(bench.say(ONE, six("2001:db8::/32")).code, Created);
}

#[test]
fn p4_a_backends_quota_refuses_the_next_and_keeps_what_there_is() {
    let limits = "affinities = 5\naffinities_per_backend = 2";
    let before = "affinities = 20000\naffinities_per_backend = 15000";
    let mut bench = Bench::of(&CONFIG.replace(before, limits));
    bench.start(ONE, "192.0.2.1");
    bench.start(ONE, "192.0.2.2");
    assert_eq!(bench.start(ONE, "192.0.2.3").code, Quota);
    assert_eq!(bench.start(ONE, "192.0.2.2").code, Refreshed);
    assert_eq!(
        bench.extend(ONE, "192.0.2.1", Asked::Default).code,
        Extended
    );
    assert_eq!(
        bench.start(TWO, "192.0.2.3").code,
        Created,
        "another's is another's"
    );
    bench.end(ONE, "192.0.2.1");
    assert_eq!(bench.start(ONE, "192.0.2.1").code, Created);
}

#[test]
fn p4_a_services_quota_refuses_the_next_and_leaves_other_services_alone() {
    let before = "affinities = 20000\naffinities_per_backend = 15000";
    let mut bench = Bench::of(&CONFIG.replace(before, "affinities_per_service = 2"));
    assert_eq!(bench.start(ONE, "192.0.2.1").code, Created);
    assert_eq!(bench.start(TWO, "192.0.2.2").code, Created);
    let refused = bench.start(TWO, "192.0.2.3");
    assert_eq!(refused.code, Quota);
    assert!(refused.detail.contains("service shop has 2"), "{refused:?}");
    assert_eq!(bench.start(TWO, "192.0.2.2").code, Refreshed);
    let other = signal("six", "2001:db8::7", start_of(Asked::Default));
    assert_eq!(bench.say(ONE, other).code, Created);
    bench.end(ONE, "192.0.2.1");
    assert_eq!(bench.start(TWO, "192.0.2.3").code, Created);
}

#[test]
fn r7_a_full_table_refuses_the_next_and_evicts_nothing() {
    let before = "affinities = 20000\naffinities_per_backend = 15000";
    let mut bench = Bench::of(&CONFIG.replace(before, "affinities = 3"));
    for source in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        assert_eq!(bench.start(ONE, source).code, Created);
    }
    assert_eq!(bench.start(TWO, "192.0.2.4").code, Full);
    assert_eq!(
        bench.extend(ONE, "192.0.2.1", Asked::Default).code,
        Extended
    );
    assert_eq!(bench.start(ONE, "192.0.2.1").code, Refreshed);
    bench.health("shop-1", false);
    assert_eq!(
        bench.start(TWO, "192.0.2.1").code,
        Replaced,
        "takes no more room"
    );
    assert_eq!(bench.after(60_000).start(TWO, "192.0.2.4").code, Created);
}

#[test]
fn p4_a_backend_that_signals_too_fast_is_told_so_and_others_are_not() {
    let rate = "[limits]\nsignals_per_second_per_backend = 10";
    let mut bench = Bench::of(&CONFIG.replace("[limits]", rate));
    let one = signal("shop", CLIENT, start_of(Asked::Default));
    let outcomes = bench.send(from(ONE), vec![one.clone(); 12]);
    let codes: Vec<_> = outcomes.iter().map(|it| it.code).collect();
    assert_eq!(codes[0], Created);
    assert_eq!(codes[1..10], [Refreshed; 9]);
    assert_eq!(codes[10..], [Quota; 2]);
    assert_eq!(bench.start(TWO, "192.0.2.9").code, Created);
    assert_eq!(bench.after(100).say(ONE, one).code, Refreshed);
}

#[test]
fn s3_signals_apply_in_order_and_each_has_its_outcome() {
    let mut bench = Bench::new();
    let generation = NO_GENERATION;
    let start = signal("shop", CLIENT, start_of(Asked::Default));
    let end = signal("shop", CLIENT, Operation::End { generation });
    let batch = vec![end.clone(), start.clone(), start.clone(), end, start];
    let outcomes = bench.send(from(ONE), batch);
    let codes: Vec<_> = outcomes.iter().map(|it| it.code).collect();
    assert_eq!(codes, [NotFound, Created, Refreshed, Ended, Created]);
    assert_eq!(bench.control.published, 1, "one publication for all");
    assert_eq!(bench.owner(CLIENT), Some("shop-1"));
}

#[test]
fn s4_other_ways_to_write_a_source_are_the_same_key() {
    let mut bench = Bench::new();
    let outcome = bench.start(ONE, "192.0.2.77/24");
    assert_eq!(outcome.key.unwrap().to_string(), "192.0.2.0/24");
    assert_eq!(bench.start(ONE, "192.0.2.1/24").code, Refreshed);
    assert_eq!(bench.start(ONE, "192.0.2.7/32").code, Created);
    assert_eq!(bench.start(ONE, "192.0.2.7").code, Refreshed);
    assert_eq!(bench.start(ONE, "::ffff:192.0.2.7").code, Refreshed);
    assert_eq!(bench.start(ONE, "[::ffff:192.0.2.7]:5000").code, Created);
    assert_eq!(bench.start(ONE, "192.0.2.7:5000").code, Refreshed);
    bench.assert_consistent();
}

#[test]
fn r5_the_most_specific_decides_and_the_broader_shows_when_it_ends() {
    let mut bench = Bench::new();
    bench.start(ONE, "192.0.2.0/24");
    bench.start(TWO, "192.0.2.7");
    bench.start(ONE, "192.0.2.7:5000");
    assert_eq!(bench.owner("192.0.2.7:5000"), Some("shop-1"));
    assert_eq!(bench.owner("192.0.2.7:5001"), Some("shop-2"));
    bench.end(TWO, "192.0.2.7");
    assert_eq!(bench.owner("192.0.2.7:5001"), Some("shop-1"));
}

#[test]
fn outcomes_are_counted_by_name() {
    let mut bench = Bench::new();
    bench.start(ONE, CLIENT);
    bench.start(ONE, CLIENT);
    bench.start("10.8.0.99", CLIENT);
    let counted: Vec<_> = bench
        .control
        .tally
        .named()
        .filter(|(_, it)| *it > 0)
        .collect();
    assert_eq!(counted, [("CREATED", 1), ("REFRESHED", 1), ("DENIED", 1)]);
}
