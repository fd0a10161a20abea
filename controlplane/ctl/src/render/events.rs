//! Events, a line each.

use tether_api::operator::{Affinity, Event, EventKind};

use super::{or_dash, word};
use crate::units::{count, duration, duration_or};

/// One line that ends in a newline, such as
/// `2026-11-23T15:20:01.123Z started 10.1.2.3 of shop -> shop-1, for 30m 0s, remaining 30m 0s`.
pub(crate) fn event(time: &str, event: &Event) -> String {
    let what = word(event.event);
    match &event.affinity {
        None => {
            let lost = count(event.lost.unwrap_or_default());
            format!(
                "{time} {what} {lost} events are missing here: affinity list shows how it is now\n"
            )
        }
        Some(affinity) => {
            let Affinity {
                source,
                service,
                owner,
                ..
            } = affinity;
            let more = more(event, affinity);
            format!("{time} {what:<9} {source} of {service} -> {owner}{more}\n")
        }
    }
}

fn more(event: &Event, affinity: &Affinity) -> String {
    let remaining = || {
        let remaining = duration_or(affinity.remaining_ms, "until ended");
        format!(", remaining {remaining}")
    };
    match event.event {
        EventKind::Started | EventKind::Refreshed | EventKind::Extended => {
            let granted = affinity.duration_ms;
            let granted = granted.map(|ms| format!(", for {}", duration(ms)));
            granted.unwrap_or_default() + &remaining()
        }
        EventKind::Ended => format!(", by {}", or_dash(event.reason.as_deref())),
        EventKind::Replaced => format!(", now {}", or_dash(event.new_owner.as_deref())),
        EventKind::Suspended | EventKind::Resumed => remaining(),
        EventKind::Expired | EventKind::Gap => String::new(),
    }
}
