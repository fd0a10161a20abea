//! Classify: the first packet of a flow to the service that it addresses, or out.

use crate::{
    fate::Fate,
    key::FlowKey,
    tables::{Tables, service::Service},
};

/// The service of a new flow; refuses sources that nobody may send from, and clients whose flows
/// the service does not take.
#[inline]
pub(crate) fn classify<'a, K: FlowKey>(key: &K, tables: &'a Tables) -> Result<&'a Service, Fate> {
    let (source, destination) = (key.source(), key.destination());
    let ports = key.ports();
    let service = tables
        .services
        .find(key.protocol(), destination, ports.destination())
        .ok_or(Fate::NoService)?;
    if ports.source() == 0 || !tables.stations.may_send(source) {
        return Err(Fate::BadSource);
    }
    if !service.takes(source) {
        return Err(Fate::DeniedSource);
    }
    Ok(service)
}
