//! What on this host keeps Tether from running well, with the command that mends it.
//!
//! Looks at `/proc`, `/sys`, the configuration file, and what `ethtool` and `ip` say; asks no daemon and
//! changes nothing. Each check is a function of the host and the plan, so that tests bring hosts of
//! their own.

mod cpus;
mod devices;
mod files;
mod host;
mod interfaces;
mod memory;
mod plan;

use std::{fmt::Write as _, path::Path};

use serde::Serialize;

pub(crate) use host::Host;
pub(crate) use plan::Plan;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// It runs, and would run better.
    Advice,
    /// It will not run, or not rightly.
    Problem,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// What was looked at.
    pub(crate) check: &'static str,
    /// What is so.
    pub(crate) what: String,
    /// What mends it.
    pub(crate) fix: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            check,
            what: what.into(),
            fix: None,
        }
    }

    fn advice(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            level: Level::Advice,
            check,
            what: what.into(),
            fix: Some(fix.into()),
        }
    }

    fn problem(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            level: Level::Problem,
            check,
            what: what.into(),
            fix: Some(fix.into()),
        }
    }
}

/// All findings, of a configuration if there is one.
pub(crate) fn examine(host: &Host, file: Option<&Path>, socket: &Path) -> Vec<Finding> {
    let (plan, mut findings) = Plan::read(host, file, socket);
    findings.extend(memory::hugepages(host, &plan));
    findings.push(memory::locked(host, &plan));
    findings.extend(cpus::cores(host, &plan));
    findings.extend(cpus::isolation(host, &plan));
    findings.extend(cpus::governor(host, &plan));
    findings.push(cpus::clock(host));
    findings.extend(devices::drivers(host, &plan));
    findings.extend(devices::cards(host, &plan));
    findings.extend(interfaces::interfaces(host, &plan));
    findings.push(files::descriptors(host));
    findings.push(files::socket(host, &plan));
    findings.extend(files::directories(host, &plan));
    findings
}

/// Whether anything keeps Tether from running.
pub(crate) fn has_problem(findings: &[Finding]) -> bool {
    findings.iter().any(|it| it.level == Level::Problem)
}

/// The findings as people read them.
pub(crate) fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok",
            Level::Advice => "advice",
            Level::Problem => "PROBLEM",
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{level:<8} {:<11} {}", finding.check, finding.what);
        for fix in finding.fix.iter().flat_map(|it| it.lines()) {
            let _ = writeln!(text, "{:<20} > {fix}", "");
        }
    }
    let count = |level| findings.iter().filter(|it| it.level == level).count();
    let (problems, advice) = (count(Level::Problem), count(Level::Advice));
    let _ = writeln!(text, "{problems} problems, {advice} pieces of advice");
    text
}

#[cfg(test)]
mod tests;
