//! Contract section 3.

use super::*;
use OutcomeCode::{Created, Extended, NotFound, Refreshed};
use tether_dataplane::limits;

const MS: fn(u64) -> Asked = Asked::Milliseconds;

fn cell(bench: &Bench) -> tether_dataplane::tables::affinity::CellView {
    let found = bench.find("shop", CLIENT).expect("an affinity");
    bench.control.writer.affinities().view(found.cell)
}

#[test]
fn t1_the_default_the_override_and_the_cap() {
    let mut bench = Bench::with_rule("duration_cap = \"90s\"");
    for (asked, granted) in [
        (Asked::Default, 60_000),
        (MS(0), 60_000),
        (MS(1), 1),
        (MS(60_000), 60_000),
        (MS(90_000), 90_000),
        (MS(90_001), 90_000),
        (MS(u64::MAX), 90_000),
        (Asked::UntilEnded, 90_000),
    ] {
        let outcome = bench.start_for(ONE, CLIENT, asked);
        assert_eq!(
            (outcome.code, outcome.granted_ms),
            (Created, granted),
            "{asked:?}"
        );
        assert_eq!(
            (outcome.remaining_ms, outcome.until_ended),
            (granted, false)
        );
        bench.end(ONE, CLIENT);
    }
}

#[test]
fn t1_until_ended_must_be_asked_for_by_name() {
    let mut bench = Bench::new();
    let outcome = bench.start_for(ONE, CLIENT, Asked::UntilEnded);
    assert_eq!((outcome.code, outcome.until_ended), (Created, true));
    assert_eq!((outcome.granted_ms, outcome.remaining_ms), (0, 0));
    assert_eq!(bench.after(1 << 45).owner(CLIENT), Some("shop-1"));
    bench.turn(vec![]);
    assert_eq!(bench.owner(CLIENT), Some("shop-1"));
    let outcome = bench.start_for(ONE, "192.0.2.8", MS(u64::MAX));
    assert!(!outcome.until_ended, "a number is a number");
}

#[test]
fn t2_how_far_packets_extend_is_in_the_cell() {
    for (refresh, duration_ms) in [("packet", 5_000), ("connection", 5_000), ("never", 0)] {
        let mut bench = Bench::with_rule(&format!("refresh = \"{refresh}\""));
        bench.start_for(ONE, CLIENT, MS(5_000));
        assert_eq!(cell(&bench).duration_ms, duration_ms, "{refresh}");
    }
    let mut bench = Bench::new();
    bench.start_for(ONE, CLIENT, Asked::UntilEnded);
    assert_eq!(cell(&bench).duration_ms, 0);
    bench.end(ONE, CLIENT);
    bench.start_for(ONE, CLIENT, MS(1 << 40));
    assert_eq!(u64::from(cell(&bench).duration_ms), limits::DURATION_MS);
}

#[test]
fn t3_the_owner_extends_beyond_the_default_and_within_the_cap() {
    let mut bench = Bench::with_rule("duration_cap = \"90s\"");
    bench.start(ONE, CLIENT);
    let outcome = bench.after(1_000).extend(ONE, CLIENT, MS(80_000));
    assert_eq!((outcome.code, outcome.granted_ms), (Extended, 80_000));
    assert_eq!(outcome.remaining_ms, 80_000);
    let outcome = bench.extend(ONE, CLIENT, MS(1_000));
    assert_eq!(
        (outcome.granted_ms, outcome.remaining_ms),
        (1_000, 80_000),
        "never shortens"
    );
    let outcome = bench.extend(ONE, CLIENT, MS(u64::MAX));
    assert_eq!(outcome.remaining_ms, 90_000);
    assert_eq!(cell(&bench).duration_ms, 60_000, "packets go on as before");
}

#[test]
fn t3_an_extension_without_a_duration_is_by_the_affinitys_own() {
    let mut bench = Bench::new();
    bench.start_for(ONE, CLIENT, MS(7_000));
    let outcome = bench.after(6_000).extend(ONE, CLIENT, Asked::Default);
    assert_eq!((outcome.granted_ms, outcome.remaining_ms), (7_000, 7_000));
    let outcome = bench.extend(ONE, CLIENT, Asked::UntilEnded);
    assert!(outcome.until_ended);
}

#[test]
fn t4_the_lifetime_cap_counts_from_the_start_and_binds_packets_only() {
    let mut bench = Bench::with_rule("lifetime_cap = \"100s\"");
    bench.start(ONE, CLIENT);
    let born = bench.now;
    bench.after(30_000).start(ONE, CLIENT);
    let record = *bench.control.master.records.at(0).unwrap();
    let policy = bench.control.config.services[0].affinity;
    let (_, limit) = crate::master::extension(&policy, &record);
    assert_eq!(limit, Some(born + 100_000), "a refresh is no new birth");
    let outcome = bench.extend(ONE, CLIENT, MS(500_000));
    assert_eq!(outcome.remaining_ms, 500_000);
}

#[test]
fn t5_it_routes_before_its_deadline_and_not_at_it_collected_or_not() {
    let mut bench = Bench::new();
    bench.start_for(ONE, CLIENT, MS(5_000));
    assert_eq!(bench.after(4_999).owner(CLIENT), Some("shop-1"));
    assert_eq!(bench.after(1).owner(CLIENT), None);
    assert_eq!(bench.control.master.records.len(), 1, "not collected");
    bench.turn(vec![]);
    bench.after(100).turn(vec![]);
    assert_eq!(
        bench.control.master.records.len(),
        0,
        "collected within 100 ms"
    );
    bench.assert_consistent();
}

#[test]
fn t5_a_signal_at_the_deadline_finds_nothing_and_just_before_it_all() {
    for (wait, code) in [(4_999, Extended), (5_000, NotFound), (5_001, NotFound)] {
        let mut bench = Bench::new();
        bench.start_for(ONE, CLIENT, MS(5_000));
        assert_eq!(
            bench.after(wait).extend(ONE, CLIENT, MS(1)).code,
            code,
            "{wait}"
        );
    }
    for (wait, code) in [(4_999, Refreshed), (5_000, Created)] {
        let mut bench = Bench::new();
        let generation = bench.start_for(ONE, CLIENT, MS(5_000)).generation;
        let outcome = bench.after(wait).start(ONE, CLIENT);
        assert_eq!(outcome.code, code, "{wait}");
        assert_eq!(outcome.generation > generation, code == Created);
    }
}

#[test]
fn t5_an_expired_affinity_of_another_is_no_conflict() {
    let mut bench = Bench::new();
    bench.start_for(ONE, CLIENT, MS(5_000));
    let outcome = bench.after(5_000).start(TWO, CLIENT);
    assert_eq!(outcome.code, Created);
    assert_eq!(bench.owner(CLIENT), Some("shop-2"));
    bench.assert_consistent();
}

#[test]
fn an_extension_in_between_keeps_it_from_being_collected() {
    let mut bench = Bench::new();
    bench.start_for(ONE, CLIENT, MS(5_000));
    bench.after(4_000).extend(ONE, CLIENT, MS(20_000));
    for _ in 0..199 {
        bench.after(100).turn(vec![]);
        assert_eq!(bench.owner(CLIENT), Some("shop-1"));
    }
    bench.after(100).turn(vec![]);
    bench.after(100).turn(vec![]);
    assert_eq!(bench.control.master.records.len(), 0);
}

#[test]
fn t8_a_lowered_cap_clamps_what_is_extended_from_then_on() {
    let mut bench = Bench::new();
    bench.start_for(ONE, CLIENT, MS(500_000));
    assert_eq!(cell(&bench).duration_ms, 500_000);
    bench.reload(&with_rule("duration_cap = \"70s\""));
    assert_eq!(
        bench.control.config.services[0]
            .affinity
            .duration_cap
            .unwrap()
            .as_secs(),
        70
    );
    assert_eq!(cell(&bench).duration_ms, 70_000);
    let outcome = bench.extend(ONE, CLIENT, MS(600_000));
    assert_eq!((outcome.granted_ms, outcome.remaining_ms), (70_000, 70_000));
    let outcome = bench.start_for(ONE, "192.0.2.8", MS(600_000));
    assert_eq!(outcome.granted_ms, 70_000);
}

#[test]
fn t8_a_lowered_cap_shortens_nothing_until_it_is_extended() {
    let mut bench = Bench::new();
    bench.start_for(ONE, CLIENT, Asked::UntilEnded);
    bench.start_for(ONE, "192.0.2.8", MS(500_000));
    bench.reload(&with_rule("duration_cap = \"70s\""));
    assert_eq!(cell(&bench).deadline, Millis::NEVER);
    let outcome = bench.start(ONE, CLIENT);
    assert_eq!((outcome.granted_ms, outcome.remaining_ms), (60_000, 70_000));
    assert!(!outcome.until_ended);
    bench.after(69_999).turn(vec![]);
    assert_eq!(bench.owner(CLIENT), Some("shop-1"));
    bench.after(1).turn(vec![]);
    assert_eq!(bench.owner(CLIENT), None);
    assert_eq!(bench.owner("192.0.2.8"), Some("shop-1"));
    bench.after(100).turn(vec![]);
    assert_eq!(bench.control.master.records.len(), 1, "it is collected");
}

#[test]
fn l3_a_reassertion_keeps_the_duration_and_what_remained() {
    let mut bench = Bench::new();
    let operation = Operation::Start {
        duration: MS(60_000),
        remaining_ms: 9_000,
        keep_on_reboot: false,
        session: None,
    };
    let outcome = bench.say(ONE, signal("shop", CLIENT, operation));
    assert_eq!((outcome.granted_ms, outcome.remaining_ms), (60_000, 9_000));
    assert_eq!(bench.after(9_000).owner(CLIENT), None);
}
