//! Numbers as people read them: `29m 58s`, `1,234,567`, `1.5 MB`.

/// A span of time in its two largest units; tenths of a second below ten seconds.
pub(crate) fn duration(ms: u64) -> String {
    const UNITS: [(&str, u64); 4] = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ];
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        _ => {
            let largest = UNITS
                .iter()
                .position(|(_, size)| ms >= *size)
                .unwrap_or(UNITS.len() - 1);
            let (name, size) = UNITS[largest];
            match UNITS.get(largest + 1) {
                Some((next, small)) => {
                    format!("{}{name} {}{next}", ms / size, ms % size / small)
                }
                None => format!("{}{name}", ms / size),
            }
        }
    }
}

/// A span of time, or `word` if there is none.
pub(crate) fn duration_or(ms: Option<u64>, word: &str) -> String {
    ms.map_or_else(|| word.to_owned(), duration)
}

/// A whole number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount of something, with a decimal prefix: `1.5 MB`.
pub(crate) fn amount(number: f64, unit: &str) -> String {
    const PREFIXES: [(&str, f64); 4] = [("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)];
    PREFIXES
        .iter()
        .find(|(_, size)| number >= *size)
        .map_or_else(
            || format!("{number:.0} {unit}"),
            |(prefix, size)| format!("{:.1} {prefix}{unit}", number / size),
        )
}

/// How much of a table is used: `12 of 1,000,000 (0.0 %)`.
pub(crate) fn fill(used: u64, capacity: u64) -> String {
    if capacity == 0 {
        return count(used);
    }
    let percent = 100.0 * to_f64(used) / to_f64(capacity);
    format!("{} of {} ({percent:.1} %)", count(used), count(capacity))
}

/// For rates and percentages, where the last digits of large numbers do not matter.
#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
pub(crate) fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        let said: Vec<_> = [
            0,
            850,
            1_500,
            9_999,
            10_000,
            59_999,
            1_798_000,
            7_384_000,
            266_400_000,
        ]
        .map(duration)
        .into();
        let expected = [
            "0ms", "850ms", "1.5s", "9.9s", "10s", "59s", "29m 58s", "2h 3m", "3d 2h",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn amounts_have_a_prefix() {
        let said = [0.0, 999.0, 1_500.0, 1.2e6, 3.0e9].map(|bytes| amount(bytes, "B"));
        assert_eq!(said, ["0 B", "999 B", "1.5 kB", "1.2 MB", "3.0 GB"]);
    }

    #[test]
    fn a_fill_says_how_much() {
        assert_eq!(fill(250, 1_000), "250 of 1,000 (25.0 %)");
        assert_eq!(fill(250, 0), "250");
    }
}
