//! A worker's record, with the names of the configuration.

use crate::{
    control::Control,
    operator::{forwarder, rows},
};
use tether_api::operator::{CaptureDirection, CapturedFrame, DecidedBy, HexBytes};
use tether_dataplane::{
    capture::{Direction, Record, Rule},
    tables::affinity::CellId,
};

pub(super) fn frame(
    control: &Control,
    worker: usize,
    record: &Record,
    time_ns: u64,
) -> CapturedFrame {
    let port = control.config.ports.get(record.port.index());
    let registry = &control.master.registry;
    let backend = record.backend.and_then(|id| registry.backend(id));
    let (by, affinity) = rule(control, record.rule);
    CapturedFrame {
        time_ns,
        port: port.map_or_else(String::new, |it| it.device.clone()),
        direction: match record.direction {
            Direction::In => CaptureDirection::In,
            Direction::Out => CaptureDirection::Out,
        },
        fate: record.outcome.name().to_owned(),
        by,
        affinity,
        service: backend.map(|it| rows::service_name(control, it.service)),
        backend: backend.map(|it| it.name().to_owned()),
        core: forwarder::core(control, worker),
        length: u32::try_from(record.len).unwrap_or(u32::MAX),
        bytes: HexBytes(record.bytes.clone()),
    }
}

fn rule(control: &Control, rule: Rule) -> (DecidedBy, Option<String>) {
    match rule {
        Rule::None => (DecidedBy::None, None),
        Rule::Flow => (DecidedBy::Flow, None),
        Rule::Scheduler => (DecidedBy::Scheduler, None),
        Rule::Related => (DecidedBy::Related, None),
        Rule::Affinity(cell) => (DecidedBy::Affinity, source(control, cell)),
    }
}

/// The source of an affinity, unless it has ended since.
fn source(control: &Control, cell: CellId) -> Option<String> {
    let record = control.master.records.at(cell.index);
    let record = record.filter(|it| it.cell == cell);
    record.map(|it| it.key.source.to_string())
}
