//! Contract rule L1: what a control thread leaves behind, and what the next one makes of it.

use super::*;
use crate::journal::{self, Stamp, Stamps};
use OutcomeCode::{Conflict, Created, Extended, NotFound, Refreshed, Replaced, Stale};
use hashbrown::HashMap;
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tether_api::operator::{AffinityFilter, Entry};

/// The clocks of a machine, which outlive its daemons.
#[derive(Clone)]
pub(crate) struct Machine(Arc<Mutex<Stamp>>);

impl Machine {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Stamp {
            kernel: [1; 16],
            boottime_ms: 5_000_000,
            wall_ms: 1 << 40,
        })))
    }

    pub(crate) fn stamps(&self) -> Stamps {
        let stamp = Arc::clone(&self.0);
        Box::new(move || *stamp.lock().unwrap())
    }

    pub(super) fn set(&self, set: impl FnOnce(&mut Stamp)) {
        set(&mut self.0.lock().unwrap());
    }

    pub(super) fn wait(&self, ms: u64) {
        self.set(|it| {
            it.boottime_ms += ms;
            it.wall_ms += ms;
        });
    }
}

impl Bench {
    /// A daemon on a state directory; its own clock begins anew.
    fn started(text: &str, directory: &Path, machine: &Machine) -> Self {
        let loaded = journal::load(directory, machine.stamps());
        Self::with_state(text, loaded.unwrap_or_else(|error| panic!("{error}")))
    }

    pub(crate) fn with_state(text: &str, loaded: journal::Loaded) -> Self {
        let now = Millis(1_000);
        let made = Control::empty(parse(text), Clock::start(), Box::new(OnePort), now);
        let (mut control, mut seats) = made.unwrap_or_else(|error| panic!("{error}"));
        control.resume(loaded, &mut seats, now);
        drop(seats);
        Self { control, now }
    }

    fn wait(&mut self, machine: &Machine, ms: u64) -> &mut Self {
        machine.wait(ms);
        self.after(ms)
    }

    /// How long the affinity of a source has, if there is one.
    pub(super) fn remaining(&self, client: &str) -> Option<u64> {
        let found = self.find("shop", client)?;
        let view = self.control.writer.affinities().view(found.cell);
        Some(view.deadline.since(self.now))
    }

    /// A packet extends an affinity, as a worker does it.
    fn packet(&mut self, client: &str, ms: u64) {
        let found = self.find("shop", client).unwrap();
        let deadline = self.now + ms;
        let cells = self.control.writer.affinities_mut();
        cells.extend(found.cell, deadline);
    }
}

/// A state directory, and daemons one after another.
struct Lives {
    directory: tempfile::TempDir,
    machine: Machine,
}

impl Lives {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            machine: Machine::new(),
        }
    }

    fn start(&self) -> Bench {
        self.start_on(CONFIG)
    }

    fn start_on(&self, text: &str) -> Bench {
        Bench::started(text, self.directory.path(), &self.machine)
    }

    /// Kills a daemon and starts the next so much later.
    fn restart(&self, bench: Bench, ms: u64) -> Bench {
        self.restart_on(CONFIG, bench, ms)
    }

    fn restart_on(&self, text: &str, bench: Bench, ms: u64) -> Bench {
        drop(bench);
        self.machine.wait(ms);
        let bench = self.start_on(text);
        bench.assert_consistent();
        bench
    }
}

fn start_by(boot_id: u64, keep_on_reboot: bool, source: &str) -> Signal {
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

#[test]
fn l1_what_was_acknowledged_is_there_with_the_time_that_is_left() {
    let lives = Lives::new();
    let mut bench = lives.start();
    let sources = ["192.0.2.7", "192.0.2.8:5000", "198.51.100.0/24"];
    for source in sources {
        bench.start(ONE, source);
    }
    let six = signal("six", "2001:db8::7", start_of(Asked::Default));
    bench.say(ONE, six);
    bench.wait(&lives.machine, 10_000).turn(vec![]);
    let mut bench = lives.restart(bench, 5_000);
    for client in ["192.0.2.7", "192.0.2.8:5000", "198.51.100.77"] {
        assert_eq!(bench.owner(client), Some("shop-1"));
        assert_eq!(bench.remaining(client), Some(45_000), "{client}");
    }
    assert!(bench.find("six", "2001:db8::7").is_some());
    assert_eq!(bench.control.restored.routing, 4);
    assert_eq!(
        bench.wait(&lives.machine, 44_999).owner(CLIENT),
        Some("shop-1")
    );
    assert_eq!(bench.wait(&lives.machine, 1).owner(CLIENT), None);
    let bench = lives.restart(bench, 0);
    assert_eq!(bench.control.restored.expired, 3);
}

#[test]
fn t6_a_step_of_the_wall_clock_changes_nothing() {
    for wall_ms in [0, 1 << 50] {
        let lives = Lives::new();
        let mut bench = lives.start();
        bench.start(ONE, CLIENT);
        lives.machine.set(|it| it.wall_ms = wall_ms);
        let bench = lives.restart(bench, 5_000);
        assert_eq!(bench.remaining(CLIENT), Some(55_000), "{wall_ms}");
    }
}

#[test]
fn after_another_start_of_the_kernel_the_wall_clock_counts() {
    for (passed, remaining) in [(20_000, Some(40_000)), (60_000, None)] {
        let lives = Lives::new();
        let mut bench = lives.start();
        bench.start(ONE, CLIENT);
        lives.machine.set(|it| {
            it.kernel = [2; 16];
            it.boottime_ms = 7;
            it.wall_ms += passed;
        });
        let bench = lives.restart(bench, 0);
        assert_eq!(bench.remaining(CLIENT), remaining);
    }
    let lives = Lives::new();
    let mut bench = lives.start();
    bench.start(ONE, CLIENT);
    lives.machine.set(|it| *it = Stamp::default());
    assert_eq!(lives.restart(bench, 0).remaining(CLIENT), Some(60_000));
}

#[test]
fn l1_what_was_ended_stays_ended_and_what_was_replaced_with_the_winner() {
    let lives = Lives::new();
    let mut bench = lives.start();
    bench.start(ONE, CLIENT);
    bench.start(ONE, "192.0.2.8");
    bench.start(ONE, "192.0.2.9");
    bench.end(ONE, CLIENT);
    bench.health("shop-1", false);
    assert_eq!(bench.start(TWO, "192.0.2.8").code, Replaced);
    let mut bench = lives.restart(bench, 0);
    let owners = [CLIENT, "192.0.2.8", "192.0.2.9"].map(|it| bench.owner(it));
    assert_eq!(owners, [None, Some("shop-2"), Some("shop-1")]);
    assert_eq!(bench.end(ONE, CLIENT).code, NotFound);
    assert_eq!(bench.start(ONE, "192.0.2.8").code, Conflict);
}

#[test]
fn l3_the_epoch_and_the_generations_go_on() {
    let lives = Lives::new();
    let mut bench = lives.start();
    let first = bench.start(ONE, CLIENT);
    bench.end(ONE, CLIENT);
    let epoch = bench.control.master.epoch;
    let mut bench = lives.restart(bench, 0);
    assert_eq!(bench.control.master.epoch, epoch);
    let second = bench.start(ONE, CLIENT);
    assert!(second.generation > first.generation);
    let operation = Operation::End {
        generation: Some(first.generation),
    };
    let late = bench.say(ONE, signal("shop", CLIENT, operation));
    assert_eq!(late.code, Stale);
    // Nothing is left to restore from: another epoch, so that clients assert again.
    drop(bench);
    let elsewhere = Lives::new().start();
    assert_ne!(elsewhere.control.master.epoch, epoch);
}

#[test]
fn until_ended_lasts() {
    let lives = Lives::new();
    let mut bench = lives.start();
    bench.start_for(ONE, CLIENT, Asked::UntilEnded);
    let mut bench = lives.restart(bench, 1 << 40);
    let outcome = bench.start_for(ONE, CLIENT, Asked::UntilEnded);
    assert_eq!((outcome.code, outcome.until_ended), (Refreshed, true));
    let bench = lives.restart(bench, 1 << 40);
    assert_eq!(bench.owner(CLIENT), Some("shop-1"));
}

#[test]
fn s7_a_new_life_of_a_backend_is_known_over_a_restart() {
    let lives = Lives::new();
    let mut bench = lives.start();
    bench.say(ONE, start_by(6, false, "192.0.2.1"));
    bench.say(ONE, start_by(7, false, CLIENT));
    bench.say(ONE, start_by(7, true, "192.0.2.8"));
    let mut bench = lives.restart(bench, 0);
    assert_eq!(bench.owner("192.0.2.1"), None, "of an earlier life");
    assert_eq!(bench.say(ONE, start_by(6, false, CLIENT)).code, Stale);
    assert_eq!(bench.say(ONE, start_by(7, false, CLIENT)).code, Refreshed);
    assert_eq!(
        bench.say(ONE, start_by(8, false, "192.0.2.9")).code,
        Created
    );
    let bench = lives.restart(bench, 0);
    let owners = [CLIENT, "192.0.2.8", "192.0.2.9"].map(|it| bench.owner(it));
    assert_eq!(owners, [None, Some("shop-1"), Some("shop-1")]);
}

#[test]
fn s6_what_is_bound_to_a_session_ends_with_the_daemon() {
    let lives = Lives::new();
    let mut bench = lives.start();
    bench.start(ONE, "192.0.2.8");
    let operation = Operation::Start {
        duration: Asked::Default,
        remaining_ms: 0,
        keep_on_reboot: false,
        session: Some(5),
    };
    bench.say(ONE, signal("shop", CLIENT, operation));
    // Bound by its owner while it lasted.
    bench.say(ONE, signal("shop", "192.0.2.8", operation));
    let bench = lives.restart(bench, 0);
    assert_eq!(bench.control.master.records.len(), 0);
}

#[test]
fn b4_what_is_configured_now_decides_what_is_restored() {
    let lives = Lives::new();
    let mut bench = lives.start();
    bench.start(ONE, CLIENT);
    bench.start_for(TWO, "192.0.2.8", Asked::Milliseconds(3_600_000));
    let six = signal("six", "2001:db8::7", start_of(Asked::Default));
    bench.say(ONE, six);
    let text = with_rule("duration_cap = \"90s\"");
    let gone = "[[service.backend]]\nname = \"shop-1\"\naddress = \"10.9.0.11\"\nidentity = \"one.shop\"\nsignal_from = [\"10.8.0.11\"]\n";
    assert!(text.contains(gone));
    let text = text.replacen(gone, "", 1);
    let text = text.replacen("fd00:9::100", "10.9.0.106", 1);
    let text = text.replacen("address = \"fd00:9::11\"", "address = \"10.9.0.16\"", 1);
    let mut bench = lives.restart_on(&text, bench, 0);
    assert_eq!(bench.control.restored.removed, 2);
    assert_eq!(bench.owner(CLIENT), None);
    // T8: the lower cap is for what comes, what was granted holds.
    assert_eq!(bench.remaining("192.0.2.8"), Some(3_600_000));
    let extended = bench.extend(TWO, "192.0.2.8", Asked::Default);
    assert_eq!((extended.code, extended.granted_ms), (Extended, 90_000));
    // A backend that is back finds nothing: it was gone, and a snapshot may have been made since.
    let bench = lives.restart(bench, 0);
    assert_eq!(bench.owner("192.0.2.8"), Some("shop-2"));
}

#[test]
fn what_has_no_room_is_left_out() {
    let lives = Lives::new();
    let mut bench = lives.start();
    let sources = (0..5_000_u32).map(|it| std::net::Ipv4Addr::from_bits(0x0a00_0000 + it));
    for source in sources {
        bench.start(ONE, &source.to_string());
    }
    let text = CONFIG.replacen("affinities = 20000", "affinities = 100", 1);
    let bench = lives.restart_on(&text, bench, 0);
    let restored = bench.control.restored;
    // 4096 cells are spare.
    assert_eq!((restored.routing, restored.full), (4_196, 804));
}

#[test]
fn t4_the_age_goes_on() {
    let text = with_rule("lifetime_cap = \"100s\"");
    let lives = Lives::new();
    let mut bench = lives.start_on(&text);
    bench.start(ONE, CLIENT);
    bench.wait(&lives.machine, 50_000).turn(vec![]);
    let mut bench = lives.restart_on(&text, bench, 5_000);
    let record = bench.control.master.records.at(0).copied().unwrap();
    assert_eq!(record.created.plus(100_000), bench.now + 45_000);
    assert_eq!(rows(&mut bench)[CLIENT].created_ms_ago, 55_000);
}

fn rows(bench: &mut Bench) -> HashMap<String, tether_api::operator::Affinity> {
    let lines = bench.ask(Request::AffinityList(AffinityFilter::default()));
    let rows = lines.into_iter().filter_map(|line| match line {
        Response::Entry(Entry::Affinity(row)) => Some((row.source.clone(), row)),
        _ => None,
    });
    rows.collect()
}

#[test]
fn l1_what_packets_have_extended_is_short_by_a_second_or_a_64th() {
    let lives = Lives::new();
    let mut bench = lives.start();
    bench.start_for(ONE, CLIENT, Asked::Milliseconds(640_000));
    bench.start_for(ONE, "192.0.2.8", Asked::Milliseconds(2_000));
    for _ in 0..1_000 {
        bench.wait(&lives.machine, 100);
        bench.packet(CLIENT, 640_000);
        bench.packet("192.0.2.8", 2_000);
        bench.turn(vec![]);
    }
    let mut bench = lives.restart(bench, 0);
    for (client, duration, short) in [(CLIENT, 640_000, 10_000), ("192.0.2.8", 2_000, 1_000)] {
        let remaining = bench.remaining(client).unwrap();
        // The sweep comes by once a second at least.
        let least = duration - short - 1_000;
        assert!(
            (least..=duration).contains(&remaining),
            "{client}: {remaining}"
        );
    }
    // A stop in order is exact.
    bench.packet(CLIENT, 639_123);
    bench.turn(vec![Command::Stop]);
    let now = bench.now;
    bench.control.end_journal(now);
    let bench = lives.restart(bench, 123);
    assert_eq!(bench.remaining(CLIENT), Some(639_000));
}

#[test]
fn two_daemons_do_not_share_a_directory() {
    let lives = Lives::new();
    let bench = lives.start();
    let second = journal::load(lives.directory.path(), lives.machine.stamps());
    let refused = second.err().map(|error| error.to_string()).unwrap();
    assert!(refused.contains("in use by another tetherd"), "{refused}");
    drop(bench);
    lives.start();
}

/// Turns until there is a snapshot of this run.
fn wait_for_snapshot(bench: &mut Bench, machine: &Machine) {
    let begun = Instant::now();
    while bench.recorder().figures().snapshot_at.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(10), "no snapshot");
        bench.wait(machine, 1).turn(vec![]);
        std::thread::yield_now();
    }
}

impl Bench {
    fn recorder(&mut self) -> &mut journal::Journal {
        &mut self.control.recorder.as_mut().unwrap().journal
    }
}

#[test]
fn l1_snapshots_under_load_lose_and_revive_nothing() {
    let lives = Lives::new();
    let mut bench = lives.start();
    let mut held: HashMap<String, u64> = HashMap::new();
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..30 {
        bench.recorder().rotate_bytes = 500;
        for _ in 0..40 {
            let source = format!("192.0.2.{}", random.u8(1..200));
            if random.bool() {
                // Longer than waiting for a disk takes by the clock of the test.
                let outcome = bench.start_for(ONE, &source, Asked::Milliseconds(1 << 40));
                assert!(matches!(outcome.code, Created | Refreshed));
                held.insert(source, outcome.generation);
            } else {
                bench.end(ONE, &source);
                held.remove(&source);
            }
        }
        if round % 3 == 0 {
            wait_for_snapshot(&mut bench, &lives.machine);
        }
        bench = lives.restart(bench, 1);
        let found = rows(&mut bench).into_iter();
        let found: HashMap<_, _> = found
            .map(|(source, row)| (source, row.generation))
            .collect();
        assert_eq!(found, held, "round {round}");
    }
    wait_for_snapshot(&mut bench, &lives.machine);
    let files = std::fs::read_dir(lives.directory.path()).unwrap().count();
    assert_eq!(files, 2, "a snapshot and a segment");
}

#[test]
fn t8_what_a_lower_cap_has_clamped_stays_clamped_over_a_restart() {
    let capped = with_rule("duration_cap = \"90s\"");
    for asked in [Asked::Milliseconds(3_600_000), Asked::UntilEnded] {
        let lives = Lives::new();
        let mut bench = lives.start();
        bench.start_for(ONE, CLIENT, asked);
        bench.reload(&capped);
        let extended = bench.extend(ONE, CLIENT, Asked::Default);
        assert_eq!((extended.code, extended.remaining_ms), (Extended, 90_000));
        let bench = lives.restart_on(&capped, bench, 1_000);
        assert_eq!(bench.remaining(CLIENT), Some(89_000), "{asked:?}");
    }
}

#[test]
fn t5_what_has_expired_after_a_lower_cap_does_not_come_back() {
    let capped = with_rule("duration_cap = \"90s\"");
    let lives = Lives::new();
    let mut bench = lives.start();
    bench.start_for(ONE, CLIENT, Asked::UntilEnded);
    bench.reload(&capped);
    bench.extend(ONE, CLIENT, Asked::Default);
    bench.wait(&lives.machine, 91_000).turn(vec![]);
    assert_eq!(bench.owner(CLIENT), None);
    let bench = lives.restart_on(&capped, bench, 0);
    assert_eq!(bench.owner(CLIENT), None);
}

#[test]
fn l1_what_passes_between_reading_and_routing_counts() {
    let lives = Lives::new();
    let mut bench = lives.start();
    bench.start(ONE, CLIENT);
    drop(bench);
    let loaded = journal::load(lives.directory.path(), lives.machine.stamps())
        .unwrap_or_else(|error| panic!("{error}"));
    // EAL starts meanwhile.
    lives.machine.wait(7_000);
    let mut bench = Bench::with_state(CONFIG, loaded);
    assert_eq!(bench.remaining(CLIENT), Some(53_000));
    assert_eq!(rows(&mut bench)[CLIENT].created_ms_ago, 7_000);
}
