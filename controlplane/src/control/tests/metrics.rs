//! What the metrics page says of signals (contract section 8).

use super::*;
use std::time::{Duration, Instant};

fn value(bench: &Bench, name: &str) -> f64 {
    let page = crate::metrics::page(&bench.control, bench.now);
    let mut lines = page.lines().filter_map(|it| it.strip_prefix(name));
    let value = lines
        .find_map(|it| it.strip_prefix(' '))
        .unwrap_or_else(|| panic!("{name}: {page}"));
    value.parse().unwrap()
}

#[test]
fn the_time_from_a_signal_to_its_effect_is_a_histogram_of_signals() {
    let mut bench = Bench::new();
    let (reply, outcomes) = oneshot::channel();
    let now = Instant::now();
    let queued = now.checked_sub(Duration::from_millis(300)).unwrap_or(now);
    bench.turn(vec![Command::Signals {
        identity: from(ONE),
        signals: listing::starts(0..3),
        queued,
        reply,
    }]);
    drop(outcomes);
    bench.start(ONE, CLIENT);
    let name = "tether_signal_effect_seconds";
    let bucket = |bound: &str| value(&bench, &format!("{name}_bucket{{le=\"{bound}\"}}"));
    assert!((bucket("0.25") - 1.0).abs() < f64::EPSILON);
    assert!((bucket("+Inf") - 4.0).abs() < f64::EPSILON);
    assert!((value(&bench, &format!("{name}_count")) - 4.0).abs() < f64::EPSILON);
    let sum = value(&bench, &format!("{name}_sum"));
    assert!((0.9..30.0).contains(&sum), "{sum}");
}
