//! Affinities, outcomes and switches.

use comfy_table::Cell;
use tether_api::operator::{Affinity, AffinityCount, AffinitySwitch, SignalOutcome};

use super::{Style, on_off, state, table, text, word};
use crate::units::{count as number, duration, duration_or};

const UNTIL_ENDED: &str = "until ended";

pub(super) fn list(affinities: &[&Affinity], style: Style) -> String {
    let mut table = table(
        &[
            "SERVICE",
            "SOURCE",
            "OWNER",
            "STATE",
            "CREATED",
            "LAST HIT",
            "DURATION",
            "REMAINING",
            "HITS",
            "FLOWS",
            "GENERATION",
        ],
        style,
    );
    for affinity in affinities {
        table.add_row([
            Cell::new(&affinity.service),
            Cell::new(&affinity.source),
            Cell::new(&affinity.owner),
            state(&word(affinity.state)),
            Cell::new(ago(affinity.created_ms_ago)),
            Cell::new(
                affinity
                    .last_hit_ms_ago
                    .map_or_else(|| "never".to_owned(), ago),
            ),
            Cell::new(duration_or(affinity.duration_ms, UNTIL_ENDED)),
            Cell::new(duration_or(affinity.remaining_ms, UNTIL_ENDED)),
            Cell::new(number(affinity.hits)),
            Cell::new(number(affinity.flows)),
            Cell::new(affinity.generation),
        ]);
    }
    text(&mut table)
}

fn ago(ms: u64) -> String {
    format!("{} ago", duration(ms))
}

pub(super) fn affinity(affinity: &Affinity) -> String {
    let last_hit = affinity
        .last_hit_ms_ago
        .map_or_else(|| "never".to_owned(), ago);
    format!(
        "{} of {} -> {}\n  \
         state {}, created {}, last hit {last_hit}\n  \
         duration {}, remaining {}\n  \
         {} hits, {} flows, generation {}\n",
        affinity.source,
        affinity.service,
        affinity.owner,
        word(affinity.state),
        ago(affinity.created_ms_ago),
        duration_or(affinity.duration_ms, UNTIL_ENDED),
        duration_or(affinity.remaining_ms, UNTIL_ENDED),
        number(affinity.hits),
        number(affinity.flows),
        affinity.generation,
    )
}

pub(super) fn count(count: &AffinityCount) -> String {
    format!(
        "{} affinities: {} active, {} suspended, {} draining\n",
        number(count.total),
        number(count.active),
        number(count.suspended),
        number(count.draining),
    )
}

pub(super) fn outcome(outcome: &SignalOutcome) -> String {
    let parts = [
        outcome.owner.as_ref().map(|owner| format!(" -> {owner}")),
        outcome
            .granted_ms
            .map(|ms| format!(", duration {}", duration(ms))),
        outcome
            .remaining_ms
            .map(|ms| format!(", remaining {}", duration(ms))),
        (outcome.generation != 0).then(|| format!(", generation {}", outcome.generation)),
        (!outcome.detail.is_empty()).then(|| format!("\n  {}", outcome.detail)),
    ];
    let parts: String = parts.into_iter().flatten().collect();
    format!(
        "{} {} of {}{parts}\n",
        outcome.code.as_str_name(),
        outcome.source,
        outcome.service
    )
}

pub(super) fn switch(switch: &AffinitySwitch, style: Style) -> String {
    let mut table = table(&["AFFINITY OF", "SWITCH"], style);
    table.add_row([Cell::new("(all services)"), state(on_off(switch.global))]);
    for (service, on) in &switch.services {
        table.add_row([Cell::new(service), state(on_off(*on))]);
    }
    text(&mut table)
}
