//! The forwarder itself as operators see it: workers, ports, tables, neighbours, journal, counters.

use crate::{config, control::Control, ports::PortView};
use std::collections::BTreeMap;
use tether_api::operator::{
    Journal, Neighbour, NeighbourState, Port, PortStats, Stats, Status, TableFill, Worker,
    WorkerStats,
};
use tether_dataplane::{
    CountersView, clock::Millis, fate::Fate, plane::WorkerView, tables::neighbour::NeighbourView,
};

/// A neighbour that has answered within so many milliseconds is reachable (RFC 4861, section 10:
/// `REACHABLE_TIME`); the packet path asks again from then on.
const REACHABLE_MS: u64 = 30_000;

pub(super) fn status(control: &Control, now: Millis) -> Status {
    let views = control.writer.workers();
    let workers: Vec<_> = (0..)
        .zip(&views)
        .map(|it| worker(control, it, now))
        .collect();
    let ports = control.ports.view();
    let are_up = ports.iter().all(|it| it.link_up);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: now.since(control.started),
        epoch: control.master.epoch,
        ready: are_up && workers.iter().all(|it| it.reporting),
        affinity: control.master.affinity,
        tables: tables(control, &workers),
        workers,
        ports: control.config.ports.iter().zip(&ports).map(port).collect(),
        neighbours: neighbours(control, now),
        journal: journal(control, now),
    }
}

/// What outlives the daemon.
pub(crate) fn journal(control: &Control, now: Millis) -> Option<Journal> {
    let recorder = control.recorder.as_ref()?;
    let journal = &recorder.journal;
    let (segments, bytes) = journal.segments();
    let figures = journal.figures();
    Some(Journal {
        directory: journal.directory().to_owned(),
        failing: journal.failing().map(|it| it.why),
        segments,
        bytes,
        snapshot_bytes: figures.snapshot_bytes,
        snapshot_ms_ago: figures.snapshot_at.map(|at| now.since(at)),
        restored: control.restored.routing,
        not_recorded: recorder.not_recorded,
    })
}

fn worker(control: &Control, (place, view): (usize, &WorkerView), now: Millis) -> Worker {
    Worker {
        core: core(control, place),
        generation: view.seen.unwrap_or_default(),
        reporting: control.pulse.is_reporting(place, now),
        packets: view.counters.received,
        flows: view.counters.flows,
        flow_capacity: view.counters.flow_places,
    }
}

fn tables(control: &Control, workers: &[Worker]) -> TableFill {
    TableFill {
        affinities: u64::try_from(control.master.records.len()).unwrap_or(u64::MAX),
        affinity_capacity: control.master.limits.affinities.into(),
        flows: workers.iter().map(|it| it.flows).sum(),
        flow_capacity: workers.iter().map(|it| it.flow_capacity).sum(),
        affinity_generation: control.master.generation,
        published_generation: control.published,
    }
}

fn port((settings, view): (&config::Port, &PortView)) -> Port {
    let addresses = settings.addresses.iter();
    let addresses = addresses.map(|it| format!("{}/{}", it.address, it.prefix_length));
    Port {
        device: view.device.clone(),
        driver: view.driver.clone(),
        mac: view.mac.to_string(),
        link_up: view.link_up,
        addresses: addresses.collect(),
        vlan: settings.vlan,
        offloads: view.offloads.iter().map(ToString::to_string).collect(),
        counters: view.counters,
    }
}

fn neighbours(control: &Control, now: Millis) -> Vec<Neighbour> {
    let views = control.writer.tables().neighbours();
    views.iter().map(|it| neighbour(control, it, now)).collect()
}

fn neighbour(control: &Control, view: &NeighbourView, now: Millis) -> Neighbour {
    let port = control.config.ports.get(view.port.index());
    let age_ms = view.confirmed.map(|confirmed| now.since(confirmed));
    Neighbour {
        address: view.address,
        port: port.map_or(String::new(), |it| it.device.clone()),
        mac: view.mac.map(|mac| mac.to_string()),
        state: match (view.mac, age_ms) {
            _ if view.is_given => NeighbourState::Static,
            (Some(_), Some(age_ms)) if age_ms < REACHABLE_MS => NeighbourState::Reachable,
            (Some(_), _) => NeighbourState::Stale,
            (None, Some(_)) => NeighbourState::Failed,
            (None, None) => NeighbourState::Incomplete,
        },
        age_ms,
    }
}

pub(super) fn stats(control: &Control, now: Millis) -> Stats {
    let workers = control.writer.workers();
    let ports = control.ports.view();
    let frequency = control.ports.cycles_per_second();
    let outcomes = control.tally.named();
    Stats {
        uptime_ms: now.since(control.started),
        workers: (0..)
            .zip(&workers)
            .map(|(place, view)| worker_stats(core(control, place), &view.counters, frequency))
            .collect(),
        ports: ports.into_iter().map(port_stats).collect(),
        outcomes: outcomes
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
    }
}

fn worker_stats(core: u32, counters: &CountersView, cycles_per_second: u64) -> WorkerStats {
    let fates = Fate::ALL.iter();
    WorkerStats {
        core,
        received: counters.received,
        held: counters.held,
        fates: fates
            .map(|fate| (fate.name().to_owned(), counters.fate(*fate)))
            .collect(),
        originated: counters.originated,
        placed: placed(counters),
        steps: counters.steps,
        transmit_full: counters.fate(Fate::TransmitFull),
        cycles: [
            ("busy", counters.busy_cycles),
            ("idle", counters.idle_cycles),
        ]
        .map(|(name, cycles)| (name.to_owned(), cycles))
        .into(),
        cycles_per_second,
    }
}

fn placed(counters: &CountersView) -> BTreeMap<String, u64> {
    let by = [
        ("affinity", counters.flows_by_affinity),
        ("scheduler", counters.flows_by_scheduler),
        ("fallback_down", counters.fallback_down),
        ("fallback_disabled", counters.fallback_disabled),
        ("fallback_removed", counters.fallback_removed),
    ];
    by.map(|(name, count)| (name.to_owned(), count)).into()
}

fn port_stats(view: PortView) -> PortStats {
    PortStats {
        device: view.device,
        counters: view.counters,
    }
}

/// The core of the worker in a place.
pub(super) fn core(control: &Control, place: usize) -> u32 {
    let core = control.config.workers.cores.get(place);
    core.copied().unwrap_or_default().into()
}
