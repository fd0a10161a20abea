//! One bar: what was measured, what it is to be, whether it is.

use serde::Serialize;
use std::fmt::Write as _;

/// One bar.
#[derive(Debug, Serialize)]
pub(crate) struct Bar {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    #[serde(rename = "bar")]
    pub(crate) limit: &'static str,
    pub(crate) measured: String,
    /// `None`: something of it was not measured.
    pub(crate) met: Option<bool>,
}

impl Bar {
    pub(crate) fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "not met",
            None => "not measured",
        }
    }
}

/// The values of a bar, each with whether it is good enough.
#[derive(Debug, Default)]
pub(crate) struct Values {
    text: String,
    met: Vec<Option<bool>>,
}

impl Values {
    /// A value and what is said of it.
    pub(crate) fn value(
        mut self,
        what: &str,
        value: Option<f64>,
        unit: Unit,
        limit: Limit,
    ) -> Self {
        if !self.text.is_empty() {
            self.text += "; ";
        }
        let value_text = value.map_or_else(|| "–".to_owned(), |value| unit.show(value));
        // Writing to a string does not fail.
        let _ = write!(self.text, "{what} {value_text}");
        self.met.push(value.map(|value| limit.holds(value)));
        self
    }

    /// The bar that these are the values of.
    pub(crate) fn bar(self, name: &'static str, what: &'static str, limit: &'static str) -> Bar {
        let all = self.met.iter().copied();
        let met = all.reduce(|a, b| match (a, b) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (None, _) | (_, None) => None,
            _ => Some(true),
        });
        Bar {
            name,
            what,
            limit,
            measured: self.text,
            met: met.flatten(),
        }
    }
}

/// What is good enough.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    Least(f64),
    Most(f64),
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::Least(limit) => value >= limit,
            Self::Most(limit) => value <= limit,
        }
    }
}

/// How a value is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Ratio,
    Cycles,
    Millions,
    Thousands,
    Bytes,
    /// From nanoseconds.
    Microseconds,
    /// From milliseconds.
    Seconds,
    Count,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Ratio => format!("{value:.2}×"),
            Self::Cycles => format!("{value:.1} cycles"),
            Self::Millions => format!("{:.2} M/s", value / 1e6),
            Self::Thousands => format!("{:.1} k/s", value / 1e3),
            Self::Bytes => format!("{value:.1} B"),
            Self::Microseconds => format!("{:.0} µs", value / 1e3),
            Self::Seconds => format!("{:.2} s", value / 1e3),
            Self::Count => format!("{value:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(values: &[Option<f64>]) -> &'static str {
        let all = values.iter().fold(Values::default(), |all, value| {
            all.value("it is", *value, Unit::Count, Limit::Most(5.0))
        });
        all.bar("V0", "", "").verdict()
    }

    #[test]
    fn a_bar_is_met_when_all_its_values_are_good_enough() {
        assert_eq!(verdict(&[Some(4.0), Some(5.0)]), "met");
        assert_eq!(verdict(&[Some(4.0), Some(6.0)]), "not met");
    }

    #[test]
    fn what_is_missing_hides_no_failure_and_makes_no_success() {
        assert_eq!(verdict(&[Some(4.0), None]), "not measured");
        assert_eq!(verdict(&[None, Some(6.0)]), "not met");
    }
}
