//! A disk that cannot be written: forwarding goes on, signals are refused, and it is said.

use super::{restart::Machine, *};
use crate::{
    command::NotAcknowledged,
    journal::tests::{load, memory::Memory},
};
use OutcomeCode::Created;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tether_api::operator::{AffinityFilter, AffinityKey, Journal, StartAffinity};

/// A control thread and the disk that its journal is on.
struct OnDisk {
    bench: Bench,
    disk: Arc<Memory>,
    machine: Machine,
}

impl OnDisk {
    fn start() -> Self {
        Self::on(Arc::default(), Machine::new())
    }

    fn on(disk: Arc<Memory>, machine: Machine) -> Self {
        Self::of(CONFIG, disk, machine)
    }

    fn of(config: &str, disk: Arc<Memory>, machine: Machine) -> Self {
        let loaded = load(&disk, machine.stamps());
        let bench = Bench::with_state(config, loaded);
        Self {
            bench,
            disk,
            machine,
        }
    }

    fn set_room(&self, bytes: u64) {
        self.disk.faults().room.store(bytes, Ordering::Relaxed);
    }

    fn start_one(&mut self, source: &str) -> Result<Outcome, NotAcknowledged> {
        let (reply, mut outcomes) = oneshot::channel();
        self.bench.turn(vec![Command::Signals {
            identity: from(ONE),
            queued: std::time::Instant::now(),
            signals: vec![signal("shop", source, start_of(Asked::Default))],
            reply,
        }]);
        let decided = outcomes.try_recv().expect("an answer in the same turn");
        decided.map(|it| told(it).remove(0))
    }

    fn journal(&mut self) -> Journal {
        match self.bench.payload(Request::Status) {
            Payload::Status(status) => status.journal.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Turns until signals are decided again.
    fn get_well(&mut self) {
        let begun = Instant::now();
        while self.bench.control.check_recorded().is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "still failing");
            self.machine.wait(100);
            self.bench.after(100).turn(vec![]);
            std::thread::yield_now();
        }
    }

    /// What the next daemon finds of a source.
    fn after_a_crash(self, source: &str) -> Option<u64> {
        let disk = Arc::new(self.disk.copy());
        Self::on(disk, self.machine).bench.remaining(source)
    }
}

fn start_request() -> Request {
    Request::AffinityStart(StartAffinity {
        key: AffinityKey {
            service: "shop".to_owned(),
            source: "192.0.2.9".parse().unwrap(),
        },
        backend: "shop-1".to_owned(),
        duration_ms: None,
        until_ended: false,
        keep_on_reboot: false,
    })
}

#[test]
fn l1_a_full_disk_refuses_signals_and_forwarding_goes_on() {
    let mut it = OnDisk::start();
    assert_eq!(it.start_one(CLIENT).unwrap().code, Created);
    it.set_room(10);
    // The turn in which it shows: decided, effective, and not acknowledged.
    let failed = it.start_one("192.0.2.8").unwrap_err();
    assert!(
        failed.to_string().contains("forwarding goes on"),
        "{failed}"
    );
    assert_eq!(it.bench.owner(CLIENT), Some("shop-1"));
    // From then on nothing is decided.
    let refused = it.start_one("192.0.2.9").unwrap_err();
    let epoch = it.bench.control.master.epoch;
    assert_eq!((failed.epoch, refused.epoch), (epoch, epoch));
    assert_eq!(it.bench.owner("192.0.2.9"), None);
    for request in [
        start_request(),
        Request::AffinityFlush(AffinityFilter::default()),
    ] {
        let failure = it.bench.failure(request);
        assert!(failure.message.contains("cannot be written"), "{failure:?}");
        assert!(failure.hint.is_some());
    }
    assert_eq!(it.bench.owner(CLIENT), Some("shop-1"));
    let journal = it.journal();
    assert_eq!(
        (journal.directory.as_str(), journal.not_recorded),
        ("memory", 2)
    );
    assert!(journal.failing.is_some());
    let page = crate::metrics::page(&it.bench.control, it.bench.now);
    assert!(page.contains("\ntether_journal_writable 0\n"), "{page}");

    it.set_room(u64::MAX);
    it.get_well();
    assert_eq!(it.journal().failing, None);
    assert_eq!(it.start_one("192.0.2.9").unwrap().code, Created);
    assert!(it.after_a_crash("192.0.2.9").is_some());
}

#[test]
fn p5_what_is_refused_for_want_of_a_journal_is_on_record() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let audit = format!("[control]\naudit = {:?}", path.display().to_string());
    let config = CONFIG.replacen("[control]", &audit, 1);
    let mut it = OnDisk::of(&config, Arc::default(), Machine::new());
    it.start_one(CLIENT).unwrap();
    it.set_room(10);
    it.start_one("192.0.2.8").unwrap_err();
    it.start_one("192.0.2.7").unwrap_err();
    it.bench.failure(start_request());
    drop(it);
    let log = std::fs::read_to_string(path).unwrap();
    let lines = log
        .lines()
        .map(|it| serde_json::from_str::<serde_json::Value>(it).unwrap());
    let said: Vec<_> = lines
        .map(|it| ["event", "identity", "key", "outcome"].map(|field| it[field].clone()))
        .collect();
    let one = "address:10.8.0.11";
    let expected = [
        ["start", one, CLIENT, "CREATED"],
        // It was effective when it showed.
        ["start", one, "192.0.2.8", "CREATED"],
        ["refuse", one, "192.0.2.7", "UNAVAILABLE"],
        ["refuse", "operator:0", "192.0.2.9", "UNAVAILABLE"],
    ];
    assert_eq!(said, expected.map(|it| it.map(serde_json::Value::from)));
    assert!(log.contains("forwarding goes on"), "{log}");
}

#[test]
fn l1_the_turn_that_fails_answers_no_operator_either() {
    for full in [false, true] {
        let mut it = OnDisk::start();
        it.start_one(CLIENT).unwrap();
        if full {
            it.set_room(0);
        }
        let lines = it.bench.ask(start_request());
        assert_eq!(lines.len(), 1);
        let is_error = matches!(lines[0], Response::Error(_));
        assert_eq!(is_error, full, "{lines:?}");
        assert_eq!(it.after_a_crash("192.0.2.9").is_none(), full);
    }
}

#[test]
fn l1_a_flush_is_recorded_before_it_is_answered() {
    let mut it = OnDisk::start();
    it.start_one(CLIENT).unwrap();
    it.bench
        .payload(Request::AffinityFlush(AffinityFilter::default()));
    assert_eq!(it.after_a_crash(CLIENT), None);

    let mut it = OnDisk::start();
    it.start_one(CLIENT).unwrap();
    let (lines, mut received) = mpsc::channel(4);
    it.bench.turn(vec![Command::Operator {
        uid: 0,
        request: Request::AffinityFlush(AffinityFilter::default()),
        lines,
    }]);
    it.set_room(0);
    it.bench.after(1).turn(vec![]);
    let line = received.try_recv().unwrap();
    assert!(matches!(line, Response::Error(_)), "{line:?}");
}

#[test]
fn a_read_only_disk_is_restored_from_and_refuses_signals() {
    let mut it = OnDisk::start();
    it.start_one(CLIENT).unwrap();
    let disk = Arc::new(it.disk.copy());
    disk.faults().is_read_only.store(true, Ordering::Relaxed);
    let mut it = OnDisk::on(Arc::clone(&disk), it.machine);
    assert_eq!(it.bench.owner(CLIENT), Some("shop-1"));
    it.start_one("192.0.2.8").unwrap_err();
    disk.faults().is_read_only.store(false, Ordering::Relaxed);
    it.get_well();
    it.start_one("192.0.2.8").unwrap();
    assert!(it.after_a_crash("192.0.2.8").is_some());
}
