//! The forwarder itself: status and counters.

use std::{collections::BTreeMap, iter};

use comfy_table::Cell;
use tether_api::operator::{
    Journal, Neighbour, Port, PortStats, Stats, Status, TableFill, Worker, WorkerStats,
};

use super::{Style, on_off, or_dash, state, table, text, word, yes_no};
use crate::units::{amount, count, duration, duration_or, fill, to_f64};

pub(super) fn status(status: &Status, style: Style) -> String {
    let sections = [
        format!(
            "tetherd {}, {}, up {}, epoch {}, affinity {}\n",
            status.version,
            if status.ready { "ready" } else { "NOT READY" },
            duration(status.uptime_ms),
            status.epoch,
            on_off(status.affinity),
        ),
        tables(status.tables),
        workers(&status.workers, style),
        ports(&status.ports, style),
        neighbours(&status.neighbours, style),
        status.journal.as_ref().map_or(String::new(), journal),
    ];
    sections
        .into_iter()
        .filter(|section| !section.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn tables(tables: TableFill) -> String {
    format!(
        "affinities {}, generation {}, published {}\nflows      {}\n",
        fill(tables.affinities, tables.affinity_capacity),
        tables.affinity_generation,
        tables.published_generation,
        fill(tables.flows, tables.flow_capacity),
    )
}

fn journal(journal: &Journal) -> String {
    let state = match &journal.failing {
        None => "ok".to_owned(),
        Some(why) => format!("CANNOT BE WRITTEN, signals are refused: {why}"),
    };
    let snapshot = journal.snapshot_ms_ago.map_or_else(
        || "none yet".to_owned(),
        |ms| {
            let bytes = amount(to_f64(journal.snapshot_bytes), "B");
            format!("{bytes}, {} ago", duration(ms))
        },
    );
    format!(
        "journal {}: {state}\n{} in {} segments, snapshot {snapshot}, {} restored at start, {} signals not recorded\n",
        journal.directory,
        amount(to_f64(journal.bytes), "B"),
        count(journal.segments),
        count(journal.restored),
        count(journal.not_recorded),
    )
}

fn workers(workers: &[Worker], style: Style) -> String {
    if workers.is_empty() {
        return "no workers\n".to_owned();
    }
    let mut table = table(
        &["CORE", "REPORTING", "GENERATION", "PACKETS", "FLOWS"],
        style,
    );
    for worker in workers {
        table.add_row([
            Cell::new(worker.core),
            yes_no(worker.reporting),
            Cell::new(worker.generation),
            Cell::new(count(worker.packets)),
            Cell::new(fill(worker.flows, worker.flow_capacity)),
        ]);
    }
    text(&mut table)
}

fn ports(ports: &[Port], style: Style) -> String {
    if ports.is_empty() {
        return "no ports\n".to_owned();
    }
    let mut table = table(
        &[
            "PORT",
            "DRIVER",
            "MAC",
            "LINK",
            "VLAN",
            "ADDRESSES",
            "RECEIVED",
            "TRANSMITTED",
            "LOST",
            "OFFLOADS",
        ],
        style,
    );
    for port in ports {
        let counters = port.counters;
        let lost = counters.received_missed
            + counters.received_errors
            + counters.received_no_buffer
            + counters.transmitted_errors;
        table.add_row([
            Cell::new(&port.device),
            Cell::new(&port.driver),
            Cell::new(&port.mac),
            state(if port.link_up { "up" } else { "down" }),
            Cell::new(
                port.vlan
                    .map_or_else(|| "-".to_owned(), |tag| tag.to_string()),
            ),
            Cell::new(port.addresses.join(" ")),
            Cell::new(volume(counters.received_packets, counters.received_bytes)),
            Cell::new(volume(
                counters.transmitted_packets,
                counters.transmitted_bytes,
            )),
            Cell::new(count(lost)),
            Cell::new(listed(&port.offloads)),
        ]);
    }
    text(&mut table)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "-".to_owned();
    }
    names.join(" ")
}

fn volume(packets: u64, bytes: u64) -> String {
    format!("{} packets, {}", count(packets), amount(to_f64(bytes), "B"))
}

fn neighbours(neighbours: &[Neighbour], style: Style) -> String {
    if neighbours.is_empty() {
        return String::new();
    }
    let mut table = table(&["NEIGHBOUR", "PORT", "MAC", "STATE", "AGE"], style);
    for neighbour in neighbours {
        table.add_row([
            Cell::new(neighbour.address),
            Cell::new(&neighbour.port),
            Cell::new(or_dash(neighbour.mac.as_deref())),
            state(&word(neighbour.state)),
            Cell::new(duration_or(neighbour.age_ms, "-")),
        ]);
    }
    text(&mut table)
}

pub(super) fn stats(stats: &Stats, style: Style) -> String {
    let since = format!("since {}\n", duration(stats.uptime_ms));
    let workers = stats
        .workers
        .iter()
        .map(|worker| worker_counters(worker, style));
    let ports = stats.ports.iter().map(port_counters);
    let signals = (!stats.outcomes.is_empty()).then(|| named("SIGNALS", &[&stats.outcomes], style));
    iter::once(since)
        .chain(workers)
        .chain(ports)
        .chain(signals)
        .collect::<Vec<_>>()
        .join("\n")
}

fn port_counters(port: &PortStats) -> String {
    let counters = port.counters;
    format!(
        "port {}: received {}, transmitted {}, missed {}, errors {}, no buffer {}\n",
        port.device,
        volume(counters.received_packets, counters.received_bytes),
        volume(counters.transmitted_packets, counters.transmitted_bytes),
        count(counters.received_missed),
        count(counters.received_errors + counters.transmitted_errors),
        count(counters.received_no_buffer),
    )
}

fn worker_counters(worker: &WorkerStats, style: Style) -> String {
    let cycles: u64 = worker.cycles.get("busy").copied().unwrap_or_default();
    let per_packet = match worker.received {
        0 => "-".to_owned(),
        packets => format!("{:.0}", to_f64(cycles) / to_f64(packets)),
    };
    format!(
        "worker on core {}: {} packets received, {} held, {} originated, {} of those not sent, \
         {per_packet} cycles per packet\n{}",
        worker.core,
        count(worker.received),
        count(worker.held),
        count(worker.originated),
        count(worker.transmit_full),
        named(
            "FATE, NEW FLOWS BY",
            &[&worker.fates, &worker.placed],
            style
        ),
    )
}

/// Named counters, those at 0 left out.
fn named(title: &str, counters: &[&BTreeMap<String, u64>], style: Style) -> String {
    let mut table = table(&[title, "COUNT"], style);
    for (name, number) in counters
        .iter()
        .flat_map(|map| map.iter())
        .filter(|(_, n)| **n > 0)
    {
        table.add_row([Cell::new(name), Cell::new(count(*number))]);
    }
    text(&mut table)
}
