//! A difference in words: values as the file writes them, one line per change.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{BackendChange, Diff, FieldChange, ServiceChange};
use crate::config::{Check, Forward, Health, OnBackendDown, OnConflict, Prefix, Protocol, Refresh};
use crate::config::{Scheduler, duration};

/// A value as the file would write it.
pub(super) trait Text {
    fn text(&self) -> String;
}

macro_rules! displayed {
    ($($kind:ty),+) => {$(
        impl Text for $kind {
            fn text(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

displayed!(
    bool, u8, u16, u32, String, IpAddr, Protocol, Scheduler, Forward
);
displayed!(Refresh, OnConflict, OnBackendDown, Prefix);

impl Text for PathBuf {
    fn text(&self) -> String {
        self.display().to_string()
    }
}

/// The lowest and the highest port.
impl Text for (u16, u16) {
    fn text(&self) -> String {
        format!("[{}, {}]", self.0, self.1)
    }
}

impl Text for Duration {
    fn text(&self) -> String {
        duration::format(*self)
    }
}

impl Text for Health {
    fn text(&self) -> String {
        let Self {
            check,
            interval,
            timeout,
            rise,
            fall,
        } = self;
        let check = match check {
            Check::Tcp => "tcp".to_owned(),
            Check::Http { path } => format!("http {path}"),
        };
        let (interval, timeout) = (interval.text(), timeout.text());
        format!("{check} every {interval}, timeout {timeout}, rise {rise}, fall {fall}")
    }
}

impl<T: Text> Text for Option<T> {
    fn text(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Text::text)
    }
}

impl<T: Text> Text for Vec<T> {
    fn text(&self) -> String {
        let texts: Vec<String> = self.iter().map(Text::text).collect();
        format!("[{}]", texts.join(", "))
    }
}

impl Display for Diff {
    /// One line per change; nothing where nothing changes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.restart {
            writeln!(formatter, "{name} changes: needs a restart")?;
        }
        for change in &self.tls {
            writeln!(formatter, "control.tls {change}")?;
        }
        for change in &self.limits {
            writeln!(formatter, "limits {change}")?;
        }
        for change in &self.services {
            writeln!(formatter, "{change}")?;
        }
        Ok(())
    }
}

impl Display for FieldChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} -> {}", self.field, self.from, self.to)
    }
}

impl Display for ServiceChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(service) => {
                let count = service.backends.len();
                write!(
                    formatter,
                    "service {} added with {count} backends",
                    service.name
                )
            }
            Self::Removed(service) => write!(formatter, "service {} removed", service.name),
            Self::Changed {
                name,
                fields,
                backends,
            } => {
                let fields = fields
                    .iter()
                    .map(|change| format!("service {name} {change}"));
                let backends = backends
                    .iter()
                    .map(|change| format!("service {name} {change}"));
                let lines: Vec<String> = fields.chain(backends).collect();
                formatter.write_str(&lines.join("\n"))
            }
        }
    }
}

impl Display for BackendChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(backend) => {
                write!(
                    formatter,
                    "backend {} added at {}",
                    backend.name, backend.address
                )
            }
            Self::Removed(backend) => write!(formatter, "backend {} removed", backend.name),
            Self::Reweighted { name, from, to } => {
                write!(formatter, "backend {name} weight: {from} -> {to}")
            }
            Self::Changed { name, fields } => {
                let changes: Vec<String> = fields.iter().map(ToString::to_string).collect();
                write!(formatter, "backend {name} {}", changes.join(", "))
            }
        }
    }
}
