//! Whatever the file holds, the answer is a configuration or problems that point into it.

use proptest::prelude::*;
use tether_controlplane::config::Config;

use super::EXAMPLE;

/// Lines that point into `text`; panics where the reader does.
fn is_answered(text: &str) -> Result<(), TestCaseError> {
    let Err(problems) = Config::parse("t", text) else {
        return Ok(());
    };
    prop_assert!(problems.count() > 0);
    prop_assert_eq!(problems.to_string().lines().count(), problems.count());
    prop_assert!(!problems.pretty().is_empty());
    let lines = text.split('\n').count();
    let mut last = (0, 0);
    for line in problems.to_string().lines() {
        let mut parts = line.splitn(4, ':').skip(1).map(str::parse::<usize>);
        let position = (
            parts.next().unwrap().unwrap(),
            parts.next().unwrap().unwrap(),
        );
        prop_assert!((1..=lines).contains(&position.0), "{}", line);
        prop_assert!(position >= last, "{} after {:?}", line, last);
        last = position;
    }
    Ok(())
}

/// Values of every type, likely and not.
const VALUES: [&str; 20] = [
    "1",
    "-1",
    "0",
    "99999999999999999999999999999999999999999",
    "1.5",
    "nan",
    "true",
    "\"\"",
    "\"x\"",
    "\"30m\"",
    "\"10.9.0.11\"",
    "\"::ffff:10.9.0.11\"",
    "\"10.9.0.1/0\"",
    "[]",
    "[[]]",
    "{}",
    "[{}]",
    "1979-05-27",
    "0x_",
    "\"\\u0000\\n\"",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_a_file(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t");
        std::fs::write(&path, &bytes).unwrap();
        if let Err(problems) = Config::load(&path) {
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn any_text(text in "\\PC*|[a-z\\[\\]=\"\n.{}, 0-9']{0,200}") {
        is_answered(&text)?;
    }

    #[test]
    fn a_piece_replaced(start in 0..EXAMPLE.len(), length in 0_usize..40, piece in "[\\PC\n]{0,10}") {
        let end = (start + length).min(EXAMPLE.len());
        is_answered(&format!("{}{piece}{}", &EXAMPLE[..start], &EXAMPLE[end..]))?;
    }

    #[test]
    fn any_values(picks in prop::collection::vec((0_usize..60, 0..VALUES.len()), 1..8)) {
        let mut lines: Vec<String> = EXAMPLE.lines().map(str::to_owned).collect();
        for (line, value) in picks {
            let line = &mut lines[line];
            if let Some((key, _)) = line.clone().split_once('=') {
                *line = format!("{key}= {}", VALUES[value]);
            }
        }
        is_answered(&lines.join("\n"))?;
    }

    #[test]
    fn lines_in_any_order(order in Just(EXAMPLE.lines().collect::<Vec<_>>()).prop_shuffle()) {
        is_answered(&order.join("\n"))?;
    }
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("a = {}1{}", open.repeat(100_000), close.repeat(100_000));
        assert!(Config::parse("t", &text).is_err());
    }
}
