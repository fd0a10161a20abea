//! Contract rule P5: what the audit log says.

use super::*;
use crate::audit::Counts;
use serde_json::{Value, json};
use std::{fs, path::PathBuf, time::SystemTime};
use tether_api::operator::{AffinityFilter, AffinityKey, StartAffinity};

/// A control thread that keeps an audit log.
struct Audited {
    bench: Bench,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Audited {
    fn new(keys: &str) -> Self {
        Self::of(CONFIG, keys)
    }

    fn of(text: &str, keys: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let audit = format!(
            "[control]\naudit = {:?}\n{keys}",
            path.display().to_string()
        );
        Self {
            bench: Bench::of(&text.replacen("[control]", &audit, 1)),
            path,
            _directory: directory,
        }
    }

    /// The lines of the log; the control thread has ended then.
    fn lines(self) -> Vec<Value> {
        let Self {
            bench,
            path,
            _directory,
        } = self;
        drop(bench);
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|it| serde_json::from_str(it).unwrap())
            .collect()
    }

    /// The lines without their times.
    fn said(self) -> Vec<Value> {
        let mut lines = self.lines();
        for line in &mut lines {
            line.as_object_mut().unwrap().remove("time").unwrap();
        }
        lines
    }
}

#[test]
fn p5_who_has_done_what_is_on_record() {
    let mut audited = Audited::of(&with_rule("on_conflict = \"replace\""), "");
    let bench = &mut audited.bench;
    let one = "address:10.8.0.11";
    bench.start_for(ONE, CLIENT, Asked::Milliseconds(5_000));
    bench.extend(ONE, CLIENT, Asked::Milliseconds(90_000));
    bench.start(TWO, CLIENT);
    bench.end(ONE, CLIENT);
    bench.end(TWO, CLIENT);
    bench.start_for(ONE, "192.0.2.8:5000", Asked::UntilEnded);
    let two = Identity::Certificate(vec!["two.shop".into()]);
    let short = start_of(Asked::Milliseconds(1_000));
    bench.send(two, vec![signal("shop", "192.0.2.9", short)]);
    bench.after(2_000).turn(vec![]);
    let of_shop = |source: &str| json!({"service": "shop", "key": source});
    let expected = [
        json!({"event": "start", "identity": one, "owner": "shop-1", "granted_ms": 5_000, "outcome": "CREATED"}),
        json!({"event": "extend", "identity": one, "owner": "shop-1", "granted_ms": 90_000, "outcome": "EXTENDED"}),
        json!({"event": "replace", "owner": "shop-1", "new_owner": "shop-2"}),
        json!({"event": "start", "identity": "address:10.8.0.12", "owner": "shop-2", "granted_ms": 60_000,
            "outcome": "REPLACED"}),
        json!({"event": "refuse", "signal": "end", "identity": one, "owner": "shop-2", "outcome": "NOT_OWNER",
            "detail": "backend shop-2 owns it"}),
        json!({"event": "end", "identity": "address:10.8.0.12", "owner": "shop-2", "outcome": "ENDED"}),
    ];
    let later = [
        (
            "192.0.2.8:5000",
            json!({"event": "start", "identity": one, "owner": "shop-1", "until_ended": true,
            "outcome": "CREATED"}),
        ),
        (
            "192.0.2.9",
            json!({"event": "start", "identity": "certificate:two.shop", "owner": "shop-2",
            "granted_ms": 1_000, "outcome": "CREATED"}),
        ),
        ("192.0.2.9", json!({"event": "expire", "owner": "shop-2"})),
    ];
    let expected = expected.into_iter().map(|it| (CLIENT, it)).chain(later);
    let expected: Vec<_> = expected
        .map(|(source, mut line)| {
            let mut more = of_shop(source);
            line.as_object_mut()
                .unwrap()
                .append(more.as_object_mut().unwrap());
            line
        })
        .collect();
    assert_eq!(audited.said(), expected);
}

#[test]
fn p5_what_ends_without_a_signal_says_why() {
    let mut audited = Audited::new("");
    let bench = &mut audited.bench;
    let bound = Operation::Start {
        duration: Asked::Default,
        remaining_ms: 0,
        keep_on_reboot: false,
        session: Some(4),
    };
    bench.say(ONE, signal("shop", "192.0.2.1", bound));
    bench.turn(vec![Command::SessionClosed(4)]);
    for (boot_id, source) in [(1, "192.0.2.2"), (2, "192.0.2.3")] {
        let signal = signal("shop", source, start_of(Asked::Default));
        bench.say(ONE, Signal { boot_id, ..signal });
    }
    bench.ask(Request::AffinityFlush(AffinityFilter::default()));
    let key = AffinityKey {
        service: "shop".into(),
        source: "192.0.2.4".parse().unwrap(),
    };
    bench.ask(Request::AffinityStart(StartAffinity {
        key: key.clone(),
        backend: "shop-2".into(),
        duration_ms: None,
        until_ended: false,
        keep_on_reboot: false,
    }));
    bench.ask(Request::AffinityEnd {
        key,
        generation: None,
    });
    let lines = audited.said();
    let ends = lines.iter().filter(|it| it["event"] == "end");
    let ends: Vec<_> = ends
        .map(|it| {
            let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
            [text("key"), text("owner"), text("reason"), text("identity")].join(" ")
        })
        .collect();
    let expected = [
        "192.0.2.1 shop-1 session ",
        "192.0.2.2 shop-1 reboot ",
        "192.0.2.3 shop-1 flush operator:0",
        "192.0.2.4 shop-2  operator:0",
    ];
    assert_eq!(ends, expected);
}

#[test]
fn p5_times_are_of_the_wall_clock() {
    let before = SystemTime::now();
    let mut audited = Audited::new("");
    audited.bench.start(ONE, CLIENT);
    let lines = audited.lines();
    let time = lines[0]["time"].as_str().unwrap();
    let time = humantime::parse_rfc3339(time).unwrap();
    let ms = std::time::Duration::from_millis(1);
    assert!(
        before - ms <= time && time <= SystemTime::now(),
        "{lines:?}"
    );
}

#[test]
fn p5_clients_can_be_masked_and_then_stand_nowhere() {
    let mut audited = Audited::new("audit_mask = [24, 56]");
    let bench = &mut audited.bench;
    bench.start_for(ONE, CLIENT, Asked::Milliseconds(1_000));
    bench.end(TWO, "192.0.2.7");
    bench.end(ONE, "192.0.2.99");
    bench.say(ONE, signal("shop", "192.0.2", start_of(Asked::Default)));
    bench.after(2_000).turn(vec![]);
    let lines = audited.said();
    let events: Vec<_> = lines
        .iter()
        .map(|it| it["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["start", "refuse", "refuse", "refuse", "expire"]);
    let keys: Vec<_> = lines.iter().map(|it| it["key"].as_str()).collect();
    let masked = Some("192.0.2.0/24");
    assert_eq!(keys, [masked, masked, masked, None, masked]);
    let text = serde_json::to_string(&lines)
        .unwrap()
        .replace("192.0.2.0/24", "");
    assert!(!text.contains("192.0.2"), "{text}");
}

#[test]
fn p5_what_is_too_much_for_a_second_is_counted_and_said() {
    let mut audited = Audited::new("audit_lines_per_second = 10");
    let bench = &mut audited.bench;
    bench.send(from(ONE), listing::starts(0..50));
    let counts = |bench: &Bench| bench.control.audit.as_ref().unwrap().counts();
    assert_eq!(counts(bench).dropped, 40);
    bench.after(1_000).start(ONE, CLIENT);
    let lines = audited.said();
    let events: Vec<_> = lines
        .iter()
        .map(|it| it["event"].as_str().unwrap())
        .collect();
    assert_eq!(events[..10], ["start"; 10]);
    let mut said = lines.iter().filter(|it| it["event"] == "dropped");
    assert_eq!(said.next().unwrap()["lines"], 40);
    assert_eq!(said.next(), None);
    assert_eq!(lines.iter().filter(|it| it["key"] == CLIENT).count(), 1);
}

#[test]
fn p5_refusals_do_not_hide_what_others_do() {
    let mut audited = Audited::new("audit_lines_per_second = 10");
    let bench = &mut audited.bench;
    for _ in 0..100 {
        bench.start("10.8.0.99", CLIENT);
    }
    bench.start(ONE, CLIENT);
    let lines = audited.said();
    let count = |event: &str| lines.iter().filter(|it| it["event"] == event).count();
    assert_eq!((count("refuse"), count("start")), (5, 1));
    assert_eq!(lines[0]["outcome"], "DENIED");
}

#[test]
fn p5_a_disk_that_refuses_stops_nobody_and_is_counted() {
    let text = CONFIG.replacen("[control]", "[control]\naudit = \"/dev/full\"", 1);
    let mut bench = Bench::of(&text);
    assert_eq!(bench.start(ONE, CLIENT).code, OutcomeCode::Created);
    let begun = std::time::Instant::now();
    let counts = |bench: &Bench| bench.control.audit.as_ref().unwrap().counts();
    let failed = Counts {
        failed: 1,
        ..Counts::default()
    };
    while counts(&bench) != failed {
        assert!(begun.elapsed().as_secs() < 30, "{:?}", counts(&bench));
        std::thread::yield_now();
    }
    let page = crate::metrics::page(&bench.control, bench.now);
    assert!(
        page.contains("tether_audit_lines_total{result=\"failed\"} 1\n"),
        "{page}"
    );
}

#[test]
fn p5_a_log_that_cannot_be_opened_keeps_the_daemon_from_starting() {
    let text = CONFIG.replacen("[control]", "[control]\naudit = \"/dev/null/audit.log\"", 1);
    let made = Control::new(parse(&text), Clock::start(), Box::new(OnePort), None);
    let Err(error) = made.map(drop) else {
        panic!("it has started");
    };
    let error = error.to_string();
    assert!(
        error.starts_with("control.audit: /dev/null/audit.log: "),
        "{error}"
    );
}

#[test]
fn p5_every_outcome_has_a_counter() {
    let bench = Bench::new();
    let page = crate::metrics::page(&bench.control, bench.now);
    for code in 1..=15 {
        let name = OutcomeCode::try_from(code).unwrap().as_str_name();
        let line = format!("tether_signals_total{{outcome=\"{name}\"}} 0\n");
        assert!(page.contains(&line), "{name}");
    }
}
