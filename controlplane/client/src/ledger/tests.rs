mod again;

use std::time::Duration;

use super::*;
use crate::{Pending, pending::promise};

const SECOND: Duration = Duration::from_secs(1);

fn key(source: &str) -> Key {
    Key {
        destination: "shop".into(),
        source: source.parse().unwrap(),
    }
}

struct Bench {
    ledger: Ledger,
    now: Instant,
}

impl Bench {
    /// Connected to a table of epoch 1.
    fn new() -> Self {
        let mut ledger = Ledger::new(3);
        ledger.see_epoch(1, true);
        Self {
            ledger,
            now: Instant::now(),
        }
    }

    fn start(&mut self, source: &str) -> (Option<Asked>, Arc<Hold>, Pending) {
        let hold = Hold::new(self.now);
        let (promise, pending) = promise();
        let options = Options::new().duration(10 * SECOND);
        let command = Command::Start {
            key: key(source),
            options,
            hold: Arc::clone(&hold),
            promise,
        };
        (self.ledger.note(command, self.now), hold, pending)
    }

    /// A start that was acked with a generation.
    fn started(&mut self, source: &str, generation: u64) -> Arc<Hold> {
        let (asked, hold, _) = self.start(source);
        self.answer(asked.unwrap(), OutcomeCode::Created, generation, 1);
        hold
    }

    fn answer(&mut self, asked: Asked, code: OutcomeCode, generation: u64, epoch: u64) {
        let outcome = CompactOutcome {
            code: code.into(),
            granted_ms: 10_000,
            remaining_ms: 10_000,
            generation,
            ..Default::default()
        };
        self.ledger.answered(asked, outcome, epoch, self.now);
    }

    fn release(&mut self, source: &str, hold: Arc<Hold>) -> (Option<What>, Pending) {
        let (promise, pending) = promise();
        let release = Command::Release {
            key: key(source),
            hold,
            promise,
        };
        (
            self.ledger.note(release, self.now).map(|asked| asked.what),
            pending,
        )
    }

    fn owed(&mut self) -> Vec<(Key, What)> {
        let now = self.now;
        std::iter::from_fn(|| self.ledger.next_owed(now))
            .map(|asked| (asked.key, asked.what))
            .collect()
    }
}

fn end(generation: u64) -> What {
    What::End {
        generation: Some(generation),
    }
}

fn remaining(owed: &[(Key, What)]) -> Vec<Option<Duration>> {
    let one = |(_, what): &(Key, What)| match what {
        What::Start { remaining, .. } => *remaining,
        other => panic!("{other:?}"),
    };
    owed.iter().map(one).collect()
}

#[test]
fn the_last_guard_ends_it_with_its_generation() {
    let mut bench = Bench::new();
    let first = bench.started("10.1.2.3", 7);
    let second = bench.started("10.1.2.3", 7);
    let (what, pending) = bench.release("10.1.2.3", first.clone());
    assert_eq!(what, None);
    assert!(matches!(pending.now(), Some(Err(Error::StillHeld(1)))));
    let (what, pending) = bench.release("10.1.2.3", first);
    assert_eq!(what, None, "a hold is given up once");
    assert!(matches!(pending.now(), Some(Err(Error::NotHeld))));
    assert_eq!(bench.release("10.1.2.3", second).0, Some(end(7)));
}

#[test]
fn a_detached_one_outlives_its_guards_until_it_is_ended() {
    let mut bench = Bench::new();
    let hold = bench.started("10.1.2.3", 7);
    bench.ledger.note(
        Command::Detach {
            key: key("10.1.2.3"),
            hold,
        },
        bench.now,
    );
    let guard = bench.started("10.1.2.3", 7);
    assert_eq!(bench.release("10.1.2.3", guard).0, None);
    let command = Command::End {
        key: key("10.1.2.3"),
        promise: promise().0,
    };
    let asked = bench
        .ledger
        .note(command, bench.now)
        .map(|asked| asked.what);
    assert_eq!(asked, Some(end(7)));
}

#[test]
fn what_was_refused_is_not_held() {
    let mut bench = Bench::new();
    let (asked, hold, pending) = bench.start("10.1.2.3");
    bench.answer(asked.unwrap(), OutcomeCode::Conflict, 0, 1);
    assert_eq!(pending.now().unwrap().unwrap().code, OutcomeCode::Conflict);
    assert_eq!(bench.release("10.1.2.3", hold).0, None);
}

#[test]
fn a_refused_refresh_leaves_what_was_granted() {
    let mut bench = Bench::new();
    let first = bench.started("10.1.2.3", 7);
    let (asked, second, _) = bench.start("10.1.2.3");
    bench.answer(asked.unwrap(), OutcomeCode::Unavailable, 0, 1);
    assert_eq!(bench.release("10.1.2.3", second).0, None);
    assert_eq!(bench.release("10.1.2.3", first).0, Some(end(7)));
}

#[test]
fn an_outcome_of_an_earlier_life_says_nothing_about_this_one() {
    let mut bench = Bench::new();
    let (first, hold, _) = bench.start("10.1.2.3");
    assert_eq!(
        bench.release("10.1.2.3", hold).0,
        Some(What::End { generation: None })
    );
    let (second, hold, _) = bench.start("10.1.2.3");
    bench.answer(first.unwrap(), OutcomeCode::Created, 7, 1);
    bench.answer(second.unwrap(), OutcomeCode::Created, 8, 1);
    assert_eq!(bench.release("10.1.2.3", hold).0, Some(end(8)));
}

#[test]
fn a_new_epoch_is_told_all_that_is_held_with_the_time_left() {
    let mut bench = Bench::new();
    let _guard = bench.started("10.1.2.3", 7);
    bench.now += 4 * SECOND;
    bench.ledger.see_epoch(1, true);
    assert_eq!(bench.owed(), [], "the table has it");
    bench.ledger.see_epoch(2, true);
    let owed = bench.owed();
    assert_eq!(remaining(&owed), [Some(6 * SECOND)]);
    bench.ledger.see_epoch(2, false);
    assert_eq!(bench.owed(), [], "it is on its way");
}

#[test]
fn what_has_run_out_is_not_asserted_unless_the_client_was_seen() {
    let mut bench = Bench::new();
    let _idle = bench.started("10.1.2.3", 7);
    let _active = bench.started("10.1.2.4", 8);
    let seen = bench.started("10.1.2.5", 9);
    let start = bench.now;
    bench.now += 12 * SECOND;
    seen.touch_at(start + 9 * SECOND);
    bench.ledger.see_epoch(2, true);
    let owed = bench.owed();
    assert_eq!(
        owed.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(),
        [key("10.1.2.5")]
    );
    assert_eq!(remaining(&owed), [Some(7 * SECOND)]);
}

#[test]
fn what_could_not_be_said_is_said_when_the_forwarder_is_back() {
    let mut bench = Bench::new();
    let away: Arc<str> = "gone".into();
    let ended = bench.started("10.1.2.3", 7);
    let (what, _) = bench.release("10.1.2.3", ended);
    let asked = Asked {
        key: key("10.1.2.3"),
        life: 0,
        what: what.unwrap(),
        promise: None,
    };
    bench.ledger.unanswered(asked, &away, bench.now);
    let (asked, _hold, pending) = bench.start("10.1.2.4");
    bench.ledger.unanswered(asked.unwrap(), &away, bench.now);
    assert!(matches!(pending.now(), Some(Err(Error::Away(_)))));
    bench.ledger.see_epoch(1, true);
    let owed = bench.owed();
    assert_eq!(
        owed[0],
        (
            key("10.1.2.3"),
            What::End {
                generation: Some(7)
            }
        )
    );
    assert_eq!((&owed[1].0, owed.len()), (&key("10.1.2.4"), 2));
}

#[test]
fn an_assertion_refused_for_the_moment_is_made_again() {
    let mut bench = Bench::new();
    let guard = bench.started("10.1.2.3", 7);
    bench.ledger.see_epoch(2, true);
    let asserted = bench.ledger.next_owed(bench.now).unwrap();
    bench.answer(asserted, OutcomeCode::Unavailable, 0, 2);
    assert_eq!(bench.owed(), [], "not at once");
    bench.now = bench.ledger.owes_at().unwrap();
    let asserted = bench.ledger.next_owed(bench.now).unwrap();
    bench.answer(asserted, OutcomeCode::Created, 1, 2);
    assert_eq!(bench.ledger.owes_at(), None);
    assert_eq!(bench.release("10.1.2.3", guard).0, Some(end(1)));
}

#[test]
fn an_assertion_that_another_server_won_is_forgotten() {
    let mut bench = Bench::new();
    let guard = bench.started("10.1.2.3", 7);
    bench.ledger.see_epoch(2, true);
    let asserted = bench.ledger.next_owed(bench.now).unwrap();
    bench.answer(asserted, OutcomeCode::Conflict, 0, 2);
    assert_eq!(bench.ledger.owes_at(), None);
    assert_eq!(bench.release("10.1.2.3", guard).0, None);
}

#[test]
fn s6_what_was_bound_to_a_broken_session_is_started_again() {
    let mut bench = Bench::new();
    let command = Command::Start {
        key: key("10.1.2.3"),
        options: Options::new().bound_to_session(),
        hold: Hold::new(bench.now),
        promise: promise().0,
    };
    let asked = bench.ledger.note(command, bench.now).unwrap();
    bench.answer(asked, OutcomeCode::Created, 1, 1);
    bench.ledger.see_epoch(1, false);
    assert_eq!(bench.owed(), []);
    bench.ledger.see_epoch(1, true);
    assert_eq!(bench.owed().len(), 1);
}

#[test]
fn holding_is_bounded_and_what_nobody_would_miss_makes_room() {
    let mut bench = Bench::new();
    for source in ["10.1.2.1", "10.1.2.2", "10.1.2.3"] {
        let hold = bench.started(source, 1);
        bench.ledger.note(
            Command::Detach {
                key: key(source),
                hold,
            },
            bench.now,
        );
    }
    let (asked, _, pending) = bench.start("10.1.2.4");
    assert!(asked.is_none());
    assert!(matches!(pending.now(), Some(Err(Error::TooManyHeld))));
    bench.now += 11 * SECOND;
    assert!(bench.start("10.1.2.4").0.is_some());
}

/// A new epoch says that something acknowledged may be missing (`docs/restart.md`), not that the
/// table is empty: what was ended may be there still.
#[test]
fn l3_an_end_that_was_not_said_is_said_to_a_new_epoch_too() {
    let mut bench = Bench::new();
    let hold = bench.started("10.1.2.3", 7);
    let (what, _) = bench.release("10.1.2.3", hold);
    let asked = Asked {
        key: key("10.1.2.3"),
        life: 0,
        what: what.unwrap(),
        promise: None,
    };
    bench.ledger.unanswered(asked, &"gone".into(), bench.now);
    bench.ledger.see_epoch(2, true);
    let said = bench.ledger.next_owed(bench.now).unwrap();
    assert_eq!((said.key.clone(), said.what), (key("10.1.2.3"), end(7)));
    // A table that started empty after all has nothing to end.
    bench.answer(said, OutcomeCode::NotFound, 0, 2);
    assert_eq!((bench.owed(), bench.ledger.owes_at()), (vec![], None));
}
