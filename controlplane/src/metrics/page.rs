//! Prometheus text (exposition format 0.0.4) as it is being written.

use super::Histogram;
use std::fmt::{Display, Write};

/// The page as it is being written.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn text(self) -> String {
        self.0
    }

    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub(super) fn value(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: u64) {
        self.write(format_args!("{name}"));
        for (place, (label, text)) in labels.iter().enumerate() {
            let open = if place == 0 { '{' } else { ',' };
            let text = text.to_string().replace('\\', r"\\").replace('"', r#"\""#);
            self.write(format_args!("{open}{label}=\"{text}\""));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.write(format_args!("{close} {value}\n"));
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        for (bound, count) in histogram.buckets() {
            self.value(&format!("{name}_bucket"), &[("le", &bound)], count);
        }
        let (count, seconds) = histogram.total();
        self.write(format_args!("{name}_sum {seconds}\n"));
        self.value(&format!("{name}_count"), &[], count);
    }

    /// A value without labels, with its head.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.value(name, &[], value);
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(text);
    }
}
