//! Services, backends and affinities as operators and servers see them.

use crate::{
    control::{Control, Cursor},
    master::{Backend, Record, Service},
    signal::Outcome,
};
use tether_api::{
    operator::{self, AdminState, AffinityState, SignalOutcome},
    v1::{AffinityEntry, affinity_entry::State},
};
use tether_dataplane::{
    clock::Millis,
    tables::{
        affinity::CellView,
        backend::BackendState,
        id::{BackendId, ServiceId},
    },
};

pub(crate) fn service(control: &Control, service: &Service) -> operator::Service {
    let settings = &service.settings;
    let backends = backends(control, service);
    operator::Service {
        name: settings.name.clone(),
        protocol: protocol(settings.protocol),
        address: settings.address,
        prefix_length: Some(settings.prefix_length).filter(|_| !settings.vips().is_one()),
        port: settings.port,
        scheduler: settings.scheduler.to_string(),
        forward: settings.forward.to_string(),
        affinity: control.master.affinity && service.affinity,
        affinities: control.master.records.service_count(service.id).into(),
        flows: backends.iter().map(|it| it.flows).sum(),
        backends,
    }
}

pub(crate) fn backends(control: &Control, service: &Service) -> Vec<operator::Backend> {
    let backends = control.master.registry.backends_of(service);
    backends.map(|it| backend(control, service, it)).collect()
}

pub(crate) fn backend(
    control: &Control,
    service: &Service,
    backend: &Backend,
) -> operator::Backend {
    let flows = control.writer.backend_flows(backend.id);
    let affinities = control.master.records.owned_count(backend.id).into();
    operator::Backend {
        service: service.settings.name.clone(),
        name: backend.name().to_owned(),
        address: backend.settings.address,
        port: backend.settings.port,
        weight: backend.weight,
        state: match backend.state() {
            BackendState::Up => operator::BackendState::Up,
            BackendState::Draining => operator::BackendState::Draining,
            BackendState::Disabled => operator::BackendState::Disabled,
            BackendState::Down => operator::BackendState::Down,
        },
        flows,
        affinities,
        drained: backend.admin != AdminState::Enable && (flows, affinities) == (0, 0),
        path_mtu: control.writer.tables().path_mtu(backend.id),
    }
}

/// Whether an affinity routes, as its owner's state has it (contract section 6).
pub(crate) fn state(control: &Control, record: &Record) -> AffinityState {
    let owner = control.master.registry.backend(record.owner);
    match owner.map(Backend::state) {
        Some(BackendState::Up) => AffinityState::Active,
        Some(BackendState::Draining) => AffinityState::Draining,
        Some(BackendState::Disabled | BackendState::Down) | None => AffinityState::Suspended,
    }
}

pub(crate) fn affinity(control: &Control, record: &Record, now: Millis) -> operator::Affinity {
    let view = control.writer.affinities().view(record.cell);
    affinity_with(control, record, view, now)
}

/// An affinity that may be gone, with what its cell said.
fn affinity_with(
    control: &Control,
    record: &Record,
    view: CellView,
    now: Millis,
) -> operator::Affinity {
    operator::Affinity {
        service: name_of_service(control, record),
        source: record.key.source.to_string(),
        owner: backend_name(control, record.owner),
        state: state(control, record),
        created_ms_ago: record.created.age(now),
        last_hit_ms_ago: view.last_hit.map(|hit| now.since(hit)),
        duration_ms: record.duration_ms,
        remaining_ms: remaining_ms(view, now),
        hits: view.hits.into(),
        flows: view.flows.into(),
        generation: record.generation,
    }
}

pub(crate) fn entry(control: &Control, record: &Record, now: Millis) -> AffinityEntry {
    let view = control.writer.affinities().view(record.cell);
    entry_with(control, record, view, now)
}

/// An affinity that may be gone, with what its cell said.
pub(crate) fn entry_with(
    control: &Control,
    record: &Record,
    view: CellView,
    now: Millis,
) -> AffinityEntry {
    let row = affinity_with(control, record, view, now);
    AffinityEntry {
        state: match row.state {
            AffinityState::Active => State::Active,
            AffinityState::Suspended => State::Suspended,
            AffinityState::Draining => State::Draining,
        }
        .into(),
        service: row.service,
        source: row.source,
        owner: row.owner,
        created_ms_ago: row.created_ms_ago,
        last_hit_ms_ago: row.last_hit_ms_ago,
        duration_ms: row.duration_ms.unwrap_or_default(),
        remaining_ms: row.remaining_ms.unwrap_or_default(),
        hits: row.hits,
        flows: row.flows,
        generation: row.generation,
        until_ended: row.remaining_ms.is_none(),
        keep_on_reboot: record.keep_on_reboot,
        boot_id: record.boot_id,
        cursor: Cursor::of(control, record.cell.index).to_string(),
    }
}

pub(crate) fn outcome(control: &Control, outcome: Outcome) -> SignalOutcome {
    let names = control.master.registry.names();
    let owner = names.backend(outcome.owner);
    let has_deadline = outcome.generation != 0 && !outcome.until_ended;
    SignalOutcome {
        code: outcome.code,
        service: names.service(outcome.service).to_owned(),
        source: outcome.key.map(String::from).unwrap_or_default(),
        owner: Some(owner).filter(|it| !it.is_empty()).map(str::to_owned),
        granted_ms: Some(outcome.granted_ms).filter(|it| *it != 0),
        remaining_ms: has_deadline.then_some(outcome.remaining_ms),
        generation: outcome.generation,
        epoch: control.master.epoch,
        detail: outcome.detail,
    }
}

pub(crate) fn protocol(protocol: crate::config::Protocol) -> operator::Protocol {
    match protocol {
        crate::config::Protocol::Tcp => operator::Protocol::Tcp,
        crate::config::Protocol::Udp => operator::Protocol::Udp,
    }
}

pub(crate) fn service_name(control: &Control, id: ServiceId) -> String {
    let service = control.master.registry.service(id);
    service.map_or(String::new(), |it| it.settings.name.clone())
}

pub(crate) fn backend_name(control: &Control, id: BackendId) -> String {
    let backend = control.master.registry.backend(id);
    backend.map_or(String::new(), |it| it.name().to_owned())
}

/// The name of an affinity's service, also where that was removed.
pub(crate) fn name_of_service(control: &Control, record: &Record) -> String {
    let registry = &control.master.registry;
    let name = match registry.service(record.key.service) {
        Some(service) => Some(&service.settings.name),
        None => registry.backend(record.owner).map(|it| &it.service_name),
    };
    name.cloned().unwrap_or_default()
}

fn remaining_ms(view: CellView, now: Millis) -> Option<u64> {
    (view.deadline != Millis::NEVER).then(|| view.deadline.since(now))
}
