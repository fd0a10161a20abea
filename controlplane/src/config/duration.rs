//! Durations as text: numbers with units, `"1h30m"`. Stricter than `humantime`, in which `M` is a
//! month: `"30M"` must not become two and a half years of affinity.

use std::time::Duration;

/// What a problem says about how durations are written.
pub(super) const FORM: &str = r#"numbers with a unit of d, h, m, s or ms: "30m", "250ms", "1h30m""#;

const UNITS_MS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The duration that `text` says; none where it is not of [`FORM`] or does not fit.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut total_ms = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let unit_end = tail.find(|c: char| c.is_ascii_digit());
        let (unit, tail) = tail.split_at(unit_end.unwrap_or(tail.len()));
        let (_, unit_ms) = UNITS_MS.iter().find(|(name, _)| *name == unit)?;
        let part_ms = number.parse::<u64>().ok()?.checked_mul(*unit_ms)?;
        total_ms = total_ms.checked_add(part_ms)?;
        rest = tail;
    }
    Some(Duration::from_millis(total_ms))
}

/// The shortest text that [`parse`] reads as `duration`; below a millisecond nothing is kept.
pub(super) fn format(duration: Duration) -> String {
    let mut rest_ms = duration.as_millis();
    let part = |(name, unit_ms): (&str, u64)| {
        let count = rest_ms / u128::from(unit_ms);
        rest_ms %= u128::from(unit_ms);
        (count > 0).then(|| format!("{count}{name}"))
    };
    let text: String = UNITS_MS.into_iter().filter_map(part).collect();
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, ms) in [
            ("250ms", 250),
            ("0s", 0),
            ("30m", 1_800_000),
            ("1h30m", 5_400_000),
            ("90m", 5_400_000),
            ("2d", 172_800_000),
            ("1s500ms", 1_500),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn all_else_is_refused() {
        for text in [
            "",
            "0",
            "30",
            "m",
            "30M",
            "30 m",
            "-1s",
            "1.5h",
            "1h30",
            "1w",
            "５m",
            "99999999999999999999s",
            "18446744073709551615d",
            "1h ",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn format_is_short() {
        for text in ["30m", "1h30m", "250ms", "2d", "0s", "30d"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }

    proptest! {
        #[test]
        fn what_format_writes_parse_reads(ms in any::<u64>()) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&format(duration)), Some(duration));
        }

        #[test]
        fn no_text_panics(text in "[0-9dhms]{0,30}|\\PC*") {
            let _ = parse(&text);
        }
    }
}
