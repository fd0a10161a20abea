//! What is said again, and what is not: extensions, bound affinities, outcomes that come late.

use super::*;

impl Bench {
    fn extend(&mut self, source: &str, duration: Option<Duration>) -> (Asked, Pending) {
        let (promise, pending) = promise();
        let extend = Command::Extend {
            key: key(source),
            duration,
            promise,
        };
        (self.ledger.note(extend, self.now).unwrap(), pending)
    }

    fn lose(&mut self, asked: Asked) {
        self.ledger.unanswered(asked, &"gone".into(), self.now);
    }

    /// An extension was granted, until so far from now; the duration stays what it was.
    fn grant(&mut self, asked: Asked, remaining: Duration) {
        let remaining_ms = u64::try_from(remaining.as_millis()).unwrap();
        let outcome = CompactOutcome {
            code: OutcomeCode::Extended.into(),
            granted_ms: remaining_ms,
            remaining_ms,
            generation: 7,
            ..Default::default()
        };
        self.ledger.answered(asked, outcome, 1, self.now);
    }
}

fn extend(duration: Duration) -> What {
    What::Extend {
        duration: Some(duration),
    }
}

#[test]
fn an_extension_that_was_not_heard_is_asked_for_again() {
    let mut bench = Bench::new();
    let _guard = bench.started("10.1.2.3", 7);
    let (asked, pending) = bench.extend("10.1.2.3", Some(60 * SECOND));
    bench.lose(asked);
    assert!(matches!(pending.now(), Some(Err(Error::Away(_)))));
    let (by_its_own, _) = bench.extend("10.1.2.3", None);
    bench.lose(by_its_own);
    bench.now += 15 * SECOND;
    bench.ledger.see_epoch(1, true);
    let owed = bench.owed();
    assert_eq!(owed, [(key("10.1.2.3"), extend(45 * SECOND))]);
    bench.ledger.see_epoch(1, true);
    assert_eq!(bench.owed(), [], "once");
}

#[test]
fn an_extension_that_comes_to_nothing_or_too_late_is_not_asked_for_again() {
    let mut bench = Bench::new();
    let _short = bench.started("10.1.2.3", 7);
    let late = bench.started("10.1.2.4", 8);
    let (asked, _) = bench.extend("10.1.2.3", Some(4 * SECOND));
    bench.lose(asked);
    bench.now += 11 * SECOND;
    let (asked, _) = bench.extend("10.1.2.4", Some(60 * SECOND));
    bench.lose(asked);
    bench.ledger.see_epoch(1, true);
    assert_eq!(bench.owed(), []);
    let (what, _) = bench.release("10.1.2.4", late);
    assert_eq!(what, Some(end(8)));
}

/// A start gives a new table no more than the duration (`StartRequest.remaining_ms`).
#[test]
fn l3_what_was_extended_beyond_the_duration_is_so_in_a_new_table() {
    let mut bench = Bench::new();
    let _guard = bench.started("10.1.2.3", 7);
    let (asked, _) = bench.extend("10.1.2.3", Some(60 * SECOND));
    bench.grant(asked, 60 * SECOND);
    bench.now += 20 * SECOND;
    bench.ledger.see_epoch(2, true);
    let asserted = bench.ledger.next_owed(bench.now).unwrap();
    assert!(matches!(asserted.what, What::Start { .. }));
    assert_eq!(bench.owed(), [], "not before the start is granted");
    bench.answer(asserted, OutcomeCode::Created, 1, 2);
    let owed = bench.owed();
    assert_eq!(owed, [(key("10.1.2.3"), extend(40 * SECOND))]);
}

#[test]
fn an_extension_does_not_cost_what_the_new_table_has_yet_to_take() {
    let mut bench = Bench::new();
    let guard = bench.started("10.1.2.3", 7);
    bench.ledger.see_epoch(2, true);
    let asserted = bench.ledger.next_owed(bench.now).unwrap();
    bench.answer(asserted, OutcomeCode::Unavailable, 0, 2);
    let (asked, pending) = bench.extend("10.1.2.3", Some(60 * SECOND));
    bench.answer(asked, OutcomeCode::NotFound, 0, 2);
    assert_eq!(pending.now().unwrap().unwrap().code, OutcomeCode::NotFound);
    bench.now = bench.ledger.owes_at().unwrap();
    let asserted = bench.ledger.next_owed(bench.now).unwrap();
    bench.answer(asserted, OutcomeCode::Created, 1, 2);
    assert_eq!(
        bench.owed(),
        [(key("10.1.2.3"), extend(59 * SECOND))],
        "what was asked for is made good"
    );
    assert_eq!(bench.release("10.1.2.3", guard).0, Some(end(1)));
}

#[test]
fn what_the_forwarder_says_is_lost_is_not_held() {
    for code in [
        OutcomeCode::NotFound,
        OutcomeCode::NotOwner,
        OutcomeCode::Stale,
    ] {
        let mut bench = Bench::new();
        let guard = bench.started("10.1.2.3", 7);
        let (asked, pending) = bench.extend("10.1.2.3", None);
        bench.answer(asked, code, 0, 1);
        assert_eq!(pending.now().unwrap().unwrap().code, code);
        let (what, pending) = bench.release("10.1.2.3", guard);
        assert_eq!(what, None, "{code:?}");
        assert!(matches!(pending.now(), Some(Err(Error::NotHeld))));
    }
}

#[test]
fn a_stale_end_is_told_and_touches_nothing_else() {
    let mut bench = Bench::new();
    let old = bench.started("10.1.2.3", 7);
    let (what, _) = bench.release("10.1.2.3", old);
    let (promise, pending) = promise();
    let late = Asked {
        key: key("10.1.2.3"),
        life: 0,
        what: what.unwrap(),
        promise: Some(promise),
    };
    let newer = bench.started("10.1.2.3", 8);
    bench.answer(late, OutcomeCode::Stale, 8, 1);
    assert_eq!(pending.now().unwrap().unwrap().code, OutcomeCode::Stale);
    assert_eq!(bench.release("10.1.2.3", newer).0, Some(end(8)));
}

/// The forwarder keeps its table and its epoch when it starts again, and ends what was bound.
#[test]
fn s6_with_the_same_epoch_only_what_was_bound_or_not_acked_is_said_again() {
    let mut bench = Bench::new();
    let _ordinary = bench.started("10.1.2.3", 1);
    let (asked, _lost, _) = bench.start("10.1.2.4");
    bench.lose(asked.unwrap());
    let bound = Command::Start {
        key: key("10.1.2.5"),
        options: Options::new().duration(10 * SECOND).bound_to_session(),
        hold: Hold::new(bench.now),
        promise: promise().0,
    };
    let asked = bench.ledger.note(bound, bench.now).unwrap();
    bench.answer(asked, OutcomeCode::Created, 3, 1);
    let said_again = |bench: &mut Bench| {
        bench.now += SECOND;
        bench.ledger.see_epoch(1, true);
        let mut said = Vec::new();
        while let Some(asked) = bench.ledger.next_owed(bench.now) {
            let what = (asked.key.clone(), asked.what);
            said.push((asked.key.source.to_string(), remaining(&[what])[0]));
            bench.answer(asked, OutcomeCode::Created, 4, 1);
        }
        said.sort();
        said
    };
    let left = Some(9 * SECOND);
    let first = [("10.1.2.4".to_owned(), left), ("10.1.2.5".to_owned(), left)];
    assert_eq!(said_again(&mut bench), first);
    assert_eq!(said_again(&mut bench), first[1..]);
}

#[test]
fn a_look_for_room_is_not_taken_for_each_start() {
    let mut bench = Bench::new();
    for source in ["10.1.2.1", "10.1.2.2", "10.1.2.3"] {
        let hold = bench.started(source, 1);
        let key = key(source);
        bench.ledger.note(Command::Detach { key, hold }, bench.now);
    }
    bench.now += 9 * SECOND + LOOK_FOR_ROOM / 2;
    assert!(bench.start("10.1.2.4").0.is_none(), "none has run out");
    bench.now += LOOK_FOR_ROOM / 2;
    assert!(
        bench.start("10.1.2.4").0.is_none(),
        "the last look was just now"
    );
    bench.now += LOOK_FOR_ROOM / 2;
    assert!(bench.start("10.1.2.4").0.is_some());
}

/// What the forwarder could not record may have been effective: it is not forgotten.
#[test]
fn l1_a_first_start_that_was_not_recorded_is_held_and_made_again() {
    let mut bench = Bench::new();
    let (asked, hold, pending) = bench.start("10.1.2.3");
    bench.answer(asked.unwrap(), OutcomeCode::Unavailable, 0, 1);
    let outcome = pending.now().unwrap().unwrap();
    assert_eq!(outcome.code, OutcomeCode::Unavailable);
    assert_eq!(bench.owed(), [], "not at once");
    bench.now = bench.ledger.owes_at().unwrap();
    let asserted = bench.ledger.next_owed(bench.now).unwrap();
    assert_eq!(
        remaining(&[(asserted.key.clone(), asserted.what)]),
        [Some(9 * SECOND)]
    );
    bench.answer(asserted, OutcomeCode::Unavailable, 0, 1);
    bench.now += 20 * SECOND;
    assert_eq!(bench.owed(), [], "its time has run out");
    let ends = What::End { generation: None };
    assert_eq!(bench.release("10.1.2.3", hold).0, Some(ends));
}

#[test]
fn l1_an_extension_that_was_not_recorded_is_asked_for_again() {
    let mut bench = Bench::new();
    let _guard = bench.started("10.1.2.3", 7);
    let (asked, _) = bench.extend("10.1.2.3", Some(60 * SECOND));
    bench.answer(asked, OutcomeCode::Unavailable, 0, 1);
    assert_eq!(bench.owed(), [], "not at once");
    bench.now = bench.ledger.owes_at().unwrap();
    assert_eq!(bench.owed(), [(key("10.1.2.3"), extend(59 * SECOND))]);
    assert_eq!(bench.ledger.owes_at(), None);
}

#[test]
fn l1_an_end_that_was_not_recorded_is_said_again_unless_the_key_is_held_again() {
    for held_again in [false, true] {
        let mut bench = Bench::new();
        let hold = bench.started("10.1.2.3", 7);
        let (what, _) = bench.release("10.1.2.3", hold);
        let asked = Asked {
            key: key("10.1.2.3"),
            life: 0,
            what: what.unwrap(),
            promise: None,
        };
        bench.answer(asked, OutcomeCode::Unavailable, 0, 1);
        assert_eq!(bench.owed(), [], "not at once");
        let _guard = held_again.then(|| bench.started("10.1.2.3", 7));
        bench.now = bench.ledger.owes_at().unwrap();
        let again = [(key("10.1.2.3"), end(7))];
        let expected = if held_again { &again[..0] } else { &again };
        assert_eq!(bench.owed(), expected, "{held_again}");
    }
}
