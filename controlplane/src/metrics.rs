//! The counters as a page of Prometheus text (exposition format 0.0.4). Client addresses are never
//! labels (contract section 8).

mod histogram;
mod page;

pub(crate) use histogram::Histogram;

use crate::{
    audit::Audit,
    control::Control,
    master::{Backend, Kind, Service},
    operator,
};
use page::Page;
use std::fmt::Display;
use tether_dataplane::{
    CountersView, clock::Millis, fate::Fate, plane::WorkerView, tables::backend::BackendState,
};

/// The page.
pub(crate) fn page(control: &Control, now: Millis) -> String {
    let mut page = Page::default();
    forwarder(&mut page, control, now);
    signals(&mut page, control);
    watchers(&mut page, control);
    audit(&mut page, control);
    journal(&mut page, control, now);
    backends(&mut page, control);
    workers(&mut page, control);
    ports(&mut page, control);
    page.text()
}

fn forwarder(page: &mut Page, control: &Control, now: Millis) {
    let master = &control.master;
    let cells = control.writer.affinities();
    let waiting = u64::try_from(cells.waiting()).unwrap_or(u64::MAX);
    let bytes = u64::try_from(cells.bytes()).unwrap_or(u64::MAX);
    let used = u64::try_from(master.records.len()).unwrap_or(u64::MAX);
    let capacity = u64::from(master.limits.affinities);
    let uptime_s = now.since(control.started) / 1000;
    for (name, help, value) in [
        (
            "tether_uptime_seconds",
            "Since the start of the daemon.",
            uptime_s,
        ),
        (
            "tether_affinity_enabled",
            "Whether affinities route.",
            master.affinity.into(),
        ),
        ("tether_affinity_used", "Affinities that there are.", used),
        ("tether_affinity_capacity", "Affinities at most.", capacity),
        (
            "tether_affinity_bytes",
            "Bytes of the affinity table that workers read.",
            bytes,
        ),
        (
            "tether_affinity_changes_waiting",
            "Changes whose memory waits for workers.",
            waiting,
        ),
        (
            "tether_published_generation",
            "The generation published last.",
            control.published,
        ),
    ] {
        page.single(name, "gauge", help, value);
    }
}

fn signals(page: &mut Page, control: &Control) {
    let name = "tether_signals_total";
    page.head(name, "counter", "Signals by outcome.");
    for (outcome, count) in control.tally.named() {
        page.value(name, &[("outcome", &outcome)], count);
    }
    let help = "From the moment at which a signal is queued for the control thread to that from which packets are routed by it.";
    page.histogram("tether_signal_effect_seconds", help, &control.effects);
}

fn watchers(page: &mut Page, control: &Control) {
    let (watchers, told, lost) = control.watchers.counts();
    page.single("tether_watchers", "gauge", "Who watches events.", watchers);
    let name = "tether_events_total";
    let help = "Events for watchers: told, or lost to one who reads too slowly.";
    page.head(name, "counter", help);
    page.value(name, &[("result", &"told")], told);
    page.value(name, &[("result", &"lost")], lost);
}

/// Absent where no audit log is kept.
fn audit(page: &mut Page, control: &Control) {
    let Some(counts) = control.audit.as_ref().map(Audit::counts) else {
        return;
    };
    let name = "tether_audit_lines_total";
    let help = "Lines of the audit log: written, dropped as too many, failed on disk.";
    page.head(name, "counter", help);
    page.value(name, &[("result", &"written")], counts.written);
    page.value(name, &[("result", &"dropped")], counts.dropped);
    page.value(name, &[("result", &"failed")], counts.failed);
}

fn journal(page: &mut Page, control: &Control, now: Millis) {
    let Some(journal) = operator::forwarder::journal(control, now) else {
        return;
    };
    for (name, kind, help, value) in [
        (
            "tether_journal_writable",
            "gauge",
            "Whether signals can be recorded; if not, they are refused.",
            journal.failing.is_none().into(),
        ),
        (
            "tether_journal_bytes",
            "gauge",
            "Bytes of the journal since the last snapshot.",
            journal.bytes,
        ),
        (
            "tether_journal_segments",
            "gauge",
            "Files of the journal since the last snapshot.",
            journal.segments,
        ),
        (
            "tether_journal_snapshot_bytes",
            "gauge",
            "Bytes of the last snapshot of this run.",
            journal.snapshot_bytes,
        ),
        (
            "tether_affinities_restored",
            "gauge",
            "Affinities that were there again after the start.",
            journal.restored,
        ),
        (
            "tether_signals_not_recorded_total",
            "counter",
            "Signals refused or not acknowledged because they could not be written.",
            journal.not_recorded,
        ),
    ] {
        page.single(name, kind, help, value);
    }
    if let Some(ms) = journal.snapshot_ms_ago {
        let help = "Since the last snapshot of this run was complete.";
        let name = "tether_journal_snapshot_age_seconds";
        page.single(name, "gauge", help, ms / 1000);
    }
}

fn backends(page: &mut Page, control: &Control) {
    each_backend(
        page,
        control,
        "tether_affinities",
        "Affinities.",
        affinities,
    );
    each_backend(
        page,
        control,
        "tether_backend_flows",
        "Live flows.",
        |page, name, it| {
            let labels: [(&str, &dyn Display); 2] =
                [("service", &it.service), ("backend", &it.backend)];
            page.value(name, &labels, control.writer.backend_flows(it.of.id));
        },
    );
    let help = "What it takes: 1 for the state that it has.";
    each_backend(page, control, "tether_backend_state", help, states);
}

/// A backend with its labels.
struct Labelled<'a> {
    control: &'a Control,
    service: &'a str,
    backend: &'a str,
    of: &'a Backend,
}

fn each_backend(
    page: &mut Page,
    control: &Control,
    name: &str,
    help: &str,
    write: impl Fn(&mut Page, &str, &Labelled<'_>),
) {
    page.head(name, "gauge", help);
    for service in control.master.registry.services() {
        for of in control.master.registry.backends_of(service) {
            let labelled = labelled(control, service, of);
            write(page, name, &labelled);
        }
    }
}

fn labelled<'a>(control: &'a Control, service: &'a Service, of: &'a Backend) -> Labelled<'a> {
    Labelled {
        control,
        service: &service.settings.name,
        backend: of.name(),
        of,
    }
}

fn affinities(page: &mut Page, name: &str, it: &Labelled<'_>) {
    let counts = it.control.master.records.owned_by_kind(it.of.id);
    for (kind, count) in Kind::ALL.iter().zip(counts) {
        let labels: [(&str, &dyn Display); 3] = [
            ("service", &it.service),
            ("backend", &it.backend),
            ("kind", &kind.name()),
        ];
        page.value(name, &labels, count.into());
    }
}

fn states(page: &mut Page, name: &str, it: &Labelled<'_>) {
    for (state, word) in [
        (BackendState::Up, "up"),
        (BackendState::Draining, "draining"),
        (BackendState::Disabled, "disabled"),
        (BackendState::Down, "down"),
    ] {
        let labels: [(&str, &dyn Display); 3] = [
            ("service", &it.service),
            ("backend", &it.backend),
            ("state", &word),
        ];
        page.value(name, &labels, (it.of.state() == state).into());
    }
}

fn workers(page: &mut Page, control: &Control) {
    let cores = control.config.workers.cores.iter();
    let views: Vec<_> = cores.copied().zip(control.writer.workers()).collect();
    let name = "tether_packets_total";
    page.head(name, "counter", "Packets by what became of them.");
    for (core, view) in &views {
        for fate in Fate::ALL {
            let labels: [(&str, &dyn Display); 2] = [("core", core), ("fate", &fate.name())];
            page.value(name, &labels, view.counters.fate(*fate));
        }
    }
    for (counter, _) in CountersView::default().named() {
        worker_counter(page, &views, counter);
    }
    let name = "tether_worker_seen_generation";
    page.head(
        name,
        "gauge",
        "The generation that it has passed; absent: it has stopped.",
    );
    for (core, view) in &views {
        if let Some(seen) = view.seen {
            page.value(name, &[("core", core)], seen);
        }
    }
}

fn worker_counter(page: &mut Page, views: &[(u16, WorkerView)], counter: &str) {
    let is_gauge = matches!(
        counter,
        "held" | "flows" | "local_ports" | "local_ports_used"
    );
    let (kind, suffix) = if is_gauge {
        ("gauge", "")
    } else {
        ("counter", "_total")
    };
    let name = format!("tether_worker_{counter}{suffix}");
    page.head(
        &name,
        kind,
        &format!("Of each worker: {}.", counter.replace('_', " ")),
    );
    for (core, view) in views {
        let named = view.counters.named();
        let value = named.iter().find(|(name, _)| *name == counter);
        page.value(
            &name,
            &[("core", core)],
            value.map_or(0, |(_, value)| *value),
        );
    }
}

type Read = fn(&tether_api::operator::PortCounters) -> u64;

fn ports(page: &mut Page, control: &Control) {
    let views = control.ports.view();
    let name = "tether_port_up";
    page.head(name, "gauge", "Whether the link is up.");
    for view in &views {
        page.value(name, &[("device", &view.device)], view.link_up.into());
    }
    let counted = views.iter().map(|it| (&it.device, it.counters));
    let counted: Vec<_> = counted.collect();
    let counters: [(&str, Read); 8] = [
        ("received_packets", |it| it.received_packets),
        ("received_bytes", |it| it.received_bytes),
        ("transmitted_packets", |it| it.transmitted_packets),
        ("transmitted_bytes", |it| it.transmitted_bytes),
        ("received_missed", |it| it.received_missed),
        ("received_errors", |it| it.received_errors),
        ("received_no_buffer", |it| it.received_no_buffer),
        ("transmitted_errors", |it| it.transmitted_errors),
    ];
    for (counter, read) in counters {
        let name = format!("tether_port_{counter}_total");
        page.head(
            &name,
            "counter",
            &format!("Of each port: {}.", counter.replace('_', " ")),
        );
        for (device, counters) in &counted {
            page.value(&name, &[("device", device)], read(counters));
        }
    }
}
