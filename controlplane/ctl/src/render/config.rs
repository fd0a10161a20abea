//! Configurations: what is wrong with one, what it changes.

use tether_api::operator::{
    ChangeKind, ConfigApplied, ConfigChange, ConfigCheck, ConfigDiff, FieldChange,
};

use crate::units::count;

pub(super) fn check(check: &ConfigCheck) -> String {
    let warnings = check.warnings.iter().map(|it| format!("warning: {it}\n"));
    let problems = check.problems.iter().map(|it| format!("{it}\n"));
    let verdict = check
        .ok
        .then(|| "ok: the running daemon would take it over\n".to_owned());
    warnings.chain(problems).chain(verdict).collect()
}

pub(super) fn diff(diff: &ConfigDiff) -> String {
    let refused = diff.refused.iter().map(|it| format!("! {it}\n"));
    let all: String = diff.changes.iter().map(change).chain(refused).collect();
    if all.is_empty() {
        return "no changes\n".to_owned();
    }
    all
}

pub(super) fn applied(applied: &ConfigApplied) -> String {
    let changes: String = applied.changes.iter().map(change).collect();
    let file = &applied.file;
    let advice = if applied.file_agrees {
        format!("{file} says the same")
    } else {
        format!(
            "{file} says something else: SIGHUP and a restart read that; write there what shall stay"
        )
    };
    format!(
        "{changes}applied: {} changes, {} affinities ended\n{advice}\n",
        count(applied.changes.len() as u64),
        count(applied.affinities_ended),
    )
}

/// One line: `- service shop backend shop-1 (12 flows lose it, 3 affinities end)`.
fn change(change: &ConfigChange) -> String {
    let (sign, flows, affinities) = match change.kind {
        ChangeKind::Added => ('+', "", ""),
        ChangeKind::Removed => ('-', " lose it", " end"),
        ChangeKind::Changed => ('~', "", ""),
    };
    let service = change.service.iter().map(|it| format!(" service {it}"));
    let backend = change.backend.iter().map(|it| format!(" backend {it}"));
    let subject: String = service.chain(backend).collect();
    let fields: Vec<_> = change.fields.iter().map(field).collect();
    let fields = match fields.join(", ") {
        none if none.is_empty() => none,
        fields if subject.is_empty() => format!(" {fields}"),
        fields => format!(": {fields}"),
    };
    let concerned = match (change.flows, change.affinities) {
        (0, 0) => String::new(),
        (own_flows, own_affinities) => format!(
            " ({} flows{flows}, {} affinities{affinities})",
            count(own_flows),
            count(own_affinities)
        ),
    };
    format!("{sign}{subject}{fields}{concerned}\n")
}

fn field(change: &FieldChange) -> String {
    let FieldChange { field, from, to } = change;
    format!("{field} {from} -> {to}")
}
