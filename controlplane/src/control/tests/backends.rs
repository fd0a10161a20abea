//! Contract section 6, and the lives of a backend's process and of its sessions.

use super::*;
use OutcomeCode::{Conflict, Created, Ended, NotFound, Refreshed, Stale};
use tether_dataplane::tables::backend::BackendState;

fn booted(boot_id: u64, source: &str, keep_on_reboot: bool) -> Signal {
    let operation = Operation::Start {
        duration: Asked::Default,
        remaining_ms: 0,
        keep_on_reboot,
        session: None,
    };
    Signal {
        boot_id,
        ..signal("shop", source, operation)
    }
}

fn bound(source: &str, session: Option<u64>) -> Signal {
    let operation = Operation::Start {
        duration: Asked::Default,
        remaining_ms: 0,
        keep_on_reboot: false,
        session,
    };
    signal("shop", source, operation)
}

#[test]
fn s7_a_new_life_ends_the_older_affinities_of_its_backend_only() {
    let mut bench = Bench::new();
    bench.say(ONE, booted(1, "192.0.2.1", false));
    bench.say(ONE, booted(1, "192.0.2.2", true));
    bench.say(TWO, booted(7, "192.0.2.3", false));
    assert_eq!(bench.say(ONE, booted(2, "192.0.2.4", false)).code, Created);
    assert_eq!(bench.owner("192.0.2.1"), None);
    assert_eq!(bench.owner("192.0.2.2"), Some("shop-1"), "keep_on_reboot");
    assert_eq!(bench.owner("192.0.2.3"), Some("shop-2"), "B2");
    assert_eq!(bench.owner("192.0.2.4"), Some("shop-1"));
    bench.assert_consistent();
}

#[test]
fn s7_a_start_of_the_same_key_by_a_new_life_is_created_anew() {
    let mut bench = Bench::new();
    let first = bench.say(ONE, booted(1, CLIENT, false));
    let again = bench.say(ONE, booted(1, CLIENT, false));
    assert_eq!(
        (again.code, again.generation),
        (Refreshed, first.generation)
    );
    let reborn = bench.say(ONE, booted(2, CLIENT, false));
    assert_eq!(reborn.code, Created);
    assert!(reborn.generation > first.generation);
}

#[test]
fn s7_any_signal_of_a_new_life_counts_and_the_old_one_is_not_heard_any_more() {
    let mut bench = Bench::new();
    bench.say(ONE, booted(1, "192.0.2.1", false));
    let generation = NO_GENERATION;
    let end = |boot_id| Signal {
        boot_id,
        ..signal("shop", "192.0.2.9", Operation::End { generation })
    };
    assert_eq!(bench.say(ONE, end(2)).code, NotFound);
    assert_eq!(bench.owner("192.0.2.1"), None);
    bench.say(ONE, booted(2, "192.0.2.2", false));
    assert_eq!(bench.say(ONE, end(1)).code, Stale);
    assert_eq!(
        bench.owner("192.0.2.2"),
        Some("shop-1"),
        "a late end kills nothing newer"
    );
}

#[test]
fn s7_a_first_boot_id_or_none_ends_nothing() {
    let mut bench = Bench::new();
    bench.start(ONE, "192.0.2.1");
    bench.say(ONE, booted(5, "192.0.2.2", false));
    bench.start(ONE, "192.0.2.3");
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        assert_eq!(bench.owner(client), Some("shop-1"), "{client}");
    }
}

impl Bench {
    fn hello(&mut self, sender: &str, backend: &str, boot_id: u64) {
        self.turn(vec![Command::SessionBegun {
            identity: from(sender),
            backend: backend.to_owned(),
            boot_id,
        }]);
    }
}

#[test]
fn s7_a_new_life_is_heard_of_before_it_signals() {
    let mut bench = Bench::new();
    bench.hello(TWO, "", 1);
    bench.say(TWO, booted(1, "192.0.2.1", false));
    bench.hello(TWO, "", 1);
    assert_eq!(bench.owner("192.0.2.1"), Some("shop-2"), "the same life");
    bench.hello(TWO, "", 2);
    assert_eq!(bench.owner("192.0.2.1"), None);
    bench.hello(TWO, "", 1);
    assert_eq!(
        bench.say(TWO, booted(2, "192.0.2.2", false)).code,
        Created,
        "a late hello of the life before is not a life"
    );
    bench.assert_consistent();
}

/// This host has a backend of `shop` and others; each may be a process of its own.
#[test]
fn s7_who_may_be_several_backends_says_which_has_a_new_life() {
    let mut bench = Bench::new();
    bench.say(ONE, booted(1, "192.0.2.1", false));
    bench.hello(ONE, "", 2);
    bench.hello(ONE, "mail-1", 2);
    bench.hello(TWO, "shop-1", 2);
    assert_eq!(bench.owner("192.0.2.1"), Some("shop-1"), "B2, P2");
    bench.hello(ONE, "shop-1", 2);
    assert_eq!(bench.owner("192.0.2.1"), None);
}

/// `shop-1` is there twice: one process behind two services.
#[test]
fn s7_a_name_is_that_of_all_backends_so_named() {
    let mut bench = Bench::of(&CONFIG.replacen("name = \"mail-1\"", "name = \"shop-1\"", 1));
    let in_mail = |boot_id, source| Signal {
        destination: Destination::Service("mail".into()),
        backend: Some("shop-1".into()),
        ..booted(boot_id, source, false)
    };
    let mut other = in_mail(1, "192.0.2.3");
    other.backend = Some("mail-2".into());
    bench.say(ONE, booted(1, "192.0.2.1", false));
    bench.say(ONE, in_mail(1, "192.0.2.2"));
    bench.say(ONE, other);
    assert_eq!(affinities(&bench), 3);
    bench.hello(ONE, "", 2);
    bench.hello(TWO, "shop-1", 2);
    assert_eq!(affinities(&bench), 3, "P2");
    bench.hello(ONE, "shop-1", 2);
    assert_eq!(affinities(&bench), 1, "that of mail-2 is left");
    bench.assert_consistent();
}

fn affinities(bench: &Bench) -> usize {
    let records = &bench.control.master.records;
    (0..records.end()).filter_map(|it| records.at(it)).count()
}

#[test]
fn p4_a_new_life_costs_a_signal() {
    let limits = "[limits]\nsignals_per_second_per_backend = 3";
    let mut bench = Bench::of(&CONFIG.replacen("[limits]", limits, 1));
    bench.say(TWO, booted(1, "192.0.2.1", false));
    // What is known costs nothing.
    for _ in 0..10 {
        bench.hello(TWO, "", 1);
    }
    let current = |bench: &Bench| {
        let registry = &bench.control.master.registry;
        let mut backends = registry.backends();
        let backend = backends.find(|it| it.name() == "shop-2").unwrap();
        backend.boots.known().0
    };
    for boot_id in 2..10 {
        bench.hello(TWO, "", boot_id);
    }
    assert_eq!(current(&bench), 3, "the rate is used up");
    let outcome = bench.say(TWO, booted(4, "192.0.2.2", false));
    assert_eq!(outcome.code, OutcomeCode::Quota);
    bench.after(1_000).hello(TWO, "", 4);
    assert_eq!(current(&bench), 4);
}

#[test]
fn s6_what_is_started_again_in_a_new_session_survives_the_end_of_the_old_one() {
    let mut bench = Bench::new();
    bench.say(ONE, bound(CLIENT, Some(3)));
    assert_eq!(bench.say(ONE, bound(CLIENT, Some(4))).code, Refreshed);
    bench.turn(vec![Command::SessionClosed(3)]);
    assert_eq!(bench.owner(CLIENT), Some("shop-1"));
    bench.turn(vec![Command::SessionClosed(4)]);
    assert_eq!(bench.owner(CLIENT), None);
}

#[test]
fn s6_a_session_that_closes_ends_what_is_bound_to_it() {
    let mut bench = Bench::new();
    bench.say(ONE, bound("192.0.2.1", Some(3)));
    bench.say(ONE, bound("192.0.2.2", Some(4)));
    bench.say(ONE, bound("192.0.2.3", None));
    bench.say(ONE, bound("192.0.2.4", Some(3)));
    assert_eq!(
        bench.say(ONE, bound("192.0.2.4", None)).code,
        Refreshed,
        "unbound again"
    );
    bench.turn(vec![Command::SessionClosed(3)]);
    assert_eq!(bench.owner("192.0.2.1"), None);
    for client in ["192.0.2.2", "192.0.2.3", "192.0.2.4"] {
        assert_eq!(bench.owner(client), Some("shop-1"), "{client}");
    }
    bench.assert_consistent();
}

#[test]
fn b2_going_down_suspends_and_coming_back_resumes() {
    let mut bench = Bench::new();
    bench.start(ONE, "192.0.2.1");
    bench.start(TWO, "192.0.2.2");
    bench.health("shop-1", false);
    assert_eq!(state_of(&bench, "shop-1"), BackendState::Down);
    assert_eq!(state_of(&bench, "shop-2"), BackendState::Up);
    assert_eq!(bench.control.published, 3);
    bench.health("shop-1", false);
    assert_eq!(bench.control.published, 3, "no change, no publication");
    bench.health("shop-1", true);
    assert_eq!(bench.owner("192.0.2.1"), Some("shop-1"));
    assert_eq!(bench.start(TWO, "192.0.2.1").code, Conflict);
    assert_eq!(bench.end(ONE, "192.0.2.1").code, Ended);
}

fn state_of(bench: &Bench, backend: &str) -> BackendState {
    let registry = &bench.control.master.registry;
    let spec = crate::publish::tables(registry, &bench.control.stations, true);
    let mut backends = spec.backends.iter();
    backends.find(|it| it.name == backend).unwrap().state
}
