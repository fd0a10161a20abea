//! Services, backends and flows.

use std::net::SocketAddr;

use comfy_table::Cell;
use tether_api::operator::{Backend, BackendState, Flow, Service};

use super::{Style, on_off, state, table, text, word, yes_no};
use crate::units::{count, duration};

pub(super) fn services(services: &[Service], style: Style) -> String {
    if services.is_empty() {
        return "no services\n".to_owned();
    }
    let mut table = table(
        &[
            "NAME",
            "PROTOCOL",
            "ADDRESS",
            "SCHEDULER",
            "FORWARD",
            "AFFINITY",
            "AFFINITIES",
            "FLOWS",
            "BACKENDS",
        ],
        style,
    );
    for service in services {
        table.add_row([
            Cell::new(&service.name),
            Cell::new(word(service.protocol)),
            Cell::new(address(service)),
            Cell::new(&service.scheduler),
            Cell::new(&service.forward),
            state(on_off(service.affinity)),
            Cell::new(count(service.affinities)),
            Cell::new(count(service.flows)),
            Cell::new(backends_up(service)),
        ]);
    }
    text(&mut table)
}

fn address(service: &Service) -> String {
    let Service { address, port, .. } = service;
    match (service.prefix_length, port) {
        (None, 0) => format!("{address} (every port)"),
        (None, port) => SocketAddr::new(*address, *port).to_string(),
        (Some(length), 0) => format!("{address}/{length} (every port)"),
        (Some(length), port) => format!("{address}/{length} port {port}"),
    }
}

fn backends_up(service: &Service) -> String {
    let up = service
        .backends
        .iter()
        .filter(|backend| word(backend.state) == "up")
        .count();
    format!("{up} of {} up", service.backends.len())
}

pub(super) fn service(service: &Service, style: Style) -> String {
    format!(
        "{}: {} {}\n  scheduler {}, forward {}, affinity {}\n  {} affinities, {} flows\n\n{}",
        service.name,
        word(service.protocol),
        address(service),
        service.scheduler,
        service.forward,
        on_off(service.affinity),
        count(service.affinities),
        count(service.flows),
        backends(&service.backends, style),
    )
}

pub(super) fn backends(backends: &[Backend], style: Style) -> String {
    if backends.is_empty() {
        return "no backends\n".to_owned();
    }
    let mut heads = vec![
        "SERVICE",
        "BACKEND",
        "ADDRESS",
        "WEIGHT",
        "STATE",
        "FLOWS",
        "AFFINITIES",
        "DRAINED",
    ];
    // Only of tunnels, and seldom.
    let has_paths = backends.iter().any(|it| it.path_mtu.is_some());
    if has_paths {
        heads.push("PATH MTU");
    }
    let mut table = table(&heads, style);
    for backend in backends {
        let mut row = vec![
            Cell::new(&backend.service),
            Cell::new(&backend.name),
            Cell::new(SocketAddr::new(backend.address, backend.port)),
            Cell::new(backend.weight),
            state(&word(backend.state)),
            Cell::new(count(backend.flows)),
            Cell::new(count(backend.affinities)),
            drained(backend),
        ];
        if has_paths {
            let mtu = backend.path_mtu.map(|it| it.to_string());
            row.push(Cell::new(mtu.unwrap_or_else(|| "-".into())));
        }
        table.add_row(row);
    }
    text(&mut table)
}

/// Whether a drain is complete (contract rule B3); a dash where nobody drains.
fn drained(backend: &Backend) -> Cell {
    match backend.state {
        _ if backend.drained => yes_no(true),
        BackendState::Draining | BackendState::Disabled => yes_no(false),
        BackendState::Up | BackendState::Down => Cell::new("-"),
    }
}

/// What a drain still waits for, as a line.
pub(crate) fn remaining(backend: &Backend) -> String {
    let (flows, affinities) = (count(backend.flows), count(backend.affinities));
    let is = if backend.drained {
        "is drained"
    } else {
        "drains"
    };
    format!(
        "{}/{} {is}: {flows} flows, {affinities} affinities left\n",
        backend.service, backend.name
    )
}

pub(super) fn flows(flows: &[&Flow], style: Style) -> String {
    let mut table = table(
        &[
            "SERVICE",
            "PROTOCOL",
            "SOURCE",
            "DESTINATION",
            "BACKEND",
            "BY",
            "STATE",
            "IDLE",
            "CORE",
        ],
        style,
    );
    for flow in flows {
        table.add_row([
            Cell::new(&flow.service),
            Cell::new(word(flow.protocol)),
            Cell::new(flow.source),
            Cell::new(flow.destination),
            Cell::new(&flow.backend),
            Cell::new(word(flow.by)),
            Cell::new(&flow.state),
            Cell::new(duration(flow.idle_ms)),
            Cell::new(flow.core),
        ]);
    }
    text(&mut table)
}
