//! Answers as people read them: tables, with colour and the terminal's width only on a terminal.

mod affinities;
mod config;
mod events;
mod explanation;
mod forwarder;
mod rates;
mod services;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use tether_api::operator::{Entry, Payload};

pub(crate) use events::event;
pub(crate) use rates::rates;
pub(crate) use services::remaining;

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// A terminal has a width and colours; a pipe has neither.
    pub(crate) terminal: bool,
}

/// An answer of one line, as text that ends in a newline.
pub(crate) fn payload(payload: &Payload, style: Style) -> String {
    match payload {
        Payload::Status(status) => forwarder::status(status, style),
        Payload::Stats(stats) => forwarder::stats(stats, style),
        Payload::Services(list) => services::services(list, style),
        Payload::Service(service) => services::service(service, style),
        Payload::Backends(list) => services::backends(list, style),
        Payload::Backend(backend) => services::backends(std::slice::from_ref(backend), style),
        Payload::Affinity(affinity) => affinities::affinity(affinity),
        Payload::AffinityCount(count) => affinities::count(count),
        Payload::Outcome(outcome) => affinities::outcome(outcome),
        Payload::Flushed(flushed) => {
            format!("{} affinities ended\n", crate::units::count(flushed.ended))
        }
        Payload::AffinitySwitch(switch) => affinities::switch(switch, style),
        Payload::Watching(_) | Payload::Capturing(_) => String::new(),
        Payload::Explanation(explanation) => explanation::explanation(explanation),
        Payload::ConfigCheck(check) => config::check(check),
        Payload::ConfigDiff(diff) => config::diff(diff),
        Payload::ConfigApplied(applied) => config::applied(applied),
        Payload::Config(running) => running.text.clone(),
    }
}

/// A list of entries, as a table.
pub(crate) fn entries(entries: &[Entry], style: Style) -> String {
    let affinities: Vec<_> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Affinity(affinity) => Some(affinity),
            _ => None,
        })
        .collect();
    let flows: Vec<_> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Flow(flow) => Some(flow),
            _ => None,
        })
        .collect();
    match (affinities.is_empty(), flows.is_empty()) {
        (true, true) => "none\n".to_owned(),
        (false, _) => affinities::list(&affinities, style),
        (true, false) => services::flows(&flows, style),
    }
}

/// A table without lines, as `ip` and `ss` print it.
fn table(header: &[&str], style: Style) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.iter().map(Cell::new));
    if style.terminal {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.force_no_tty();
    }
    table
}

/// The table as text: no margins at the left and the right.
fn text(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// A word in the colour of its meaning.
fn state(word: &str) -> Cell {
    let cell = Cell::new(word);
    match word {
        "up" | "active" | "reachable" | "yes" | "on" => cell.fg(Color::Green),
        "draining" | "stale" | "incomplete" | "suspended" => cell.fg(Color::Yellow),
        "down" | "disabled" | "failed" | "no" | "off" => cell.fg(Color::Red),
        _ => cell,
    }
}

fn yes_no(yes: bool) -> Cell {
    state(if yes { "yes" } else { "no" })
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// An absent value.
fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

/// The lower-case name that JSON has for it, so that both outputs use one word.
fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}
