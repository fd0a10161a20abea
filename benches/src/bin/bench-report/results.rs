//! The measurements, to be asked for by their conditions.

use serde_json::{Map, Value};
use tether_benches::meter::median;

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Results(Vec<Map<String, Value>>);

/// Some of it.
#[derive(Clone, Debug)]
pub(crate) struct Selection<'a>(Vec<&'a Map<String, Value>>);

impl Results {
    /// From one object a line.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Those of one kind.
    pub(crate) fn of(&self, what: &str) -> Selection<'_> {
        Selection(self.0.iter().collect()).with("what", what)
    }

    /// What it was measured on.
    pub(crate) fn machine(&self) -> Value {
        let machine = self.of("machine").0.first().and_then(|it| it.get("result"));
        machine.cloned().unwrap_or_default()
    }

    /// One thing that is known of the machine.
    pub(crate) fn about(&self, key: &str) -> String {
        match &self.machine()[key] {
            Value::String(text) => text.clone(),
            Value::Null => "unknown".to_owned(),
            other => other.to_string(),
        }
    }
}

impl Selection<'_> {
    /// Those whose condition has this value; conditions are beside or in the result.
    pub(crate) fn with(&self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let fits = |it: &&&Map<String, Value>| found(it, key) == Some(&value);
        Self(self.0.iter().filter(fits).copied().collect())
    }

    /// All values of a key, in the order of the measurements.
    pub(crate) fn numbers(&self, key: &str) -> Vec<f64> {
        let values = self.0.iter().filter_map(|it| found(it, key)?.as_f64());
        values.collect()
    }

    /// The median of a key.
    pub(crate) fn median(&self, key: &str) -> Option<f64> {
        median(&self.numbers(key))
    }

    /// The values that a condition has, each once, sorted.
    pub(crate) fn conditions(&self, key: &str) -> Vec<u64> {
        let mut values: Vec<u64> = self
            .0
            .iter()
            .filter_map(|it| found(it, key)?.as_u64())
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The median of the ratios round by round: what was measured in the same minute is compared.
    pub(crate) fn ratio(&self, base: &Self, key: &str) -> Option<f64> {
        let pairs = self.numbers(key).into_iter().zip(base.numbers(key));
        median(&pairs.map(|(value, base)| value / base).collect::<Vec<_>>())
    }
}

/// A value beside the result, or in it; `a.b` is in an object within.
fn found<'a>(line: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    line.get(key).or_else(|| {
        let mut words = key.split('.');
        let first = line.get("result")?.get(words.next()?)?;
        words.try_fold(first, |value, word| value.get(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        Results::parse(
            r#"{"what":"path","flows":1,"result":{"rate":2.0,"step":{"p50":7}}}
               {"what":"path","flows":1,"result":{"rate":4.0}}
               {"what":"base","result":{"rate":4.0}}
               {"what":"base","result":{"rate":5.0}}"#,
        )
        .unwrap()
    }

    #[test]
    fn conditions_choose_and_keys_reach_into_the_result() {
        let results = results();
        let path = results.of("path").with("flows", 1);
        assert_eq!(path.median("rate"), Some(3.0));
        assert_eq!(path.numbers("step.p50"), [7.0]);
        assert_eq!(path.conditions("flows"), [1]);
        assert_eq!(results.of("path").with("flows", 2).median("rate"), None);
    }

    #[test]
    fn a_ratio_is_that_of_each_round() {
        let results = results();
        let ratio = results.of("path").ratio(&results.of("base"), "rate");
        assert_eq!(ratio, Some(f64::midpoint(0.5, 0.8)));
    }
}
