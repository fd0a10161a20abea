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
    taken_by(service_of(key, tables)?, key, tables)
}

/// The service that a packet addresses.
#[inline]
pub(crate) fn service_of<'a, K: FlowKey>(key: &K, tables: &'a Tables) -> Result<&'a Service, Fate> {
    let (protocol, port) = (key.protocol(), key.ports().destination());
    let service = tables.services.find(protocol, key.destination(), port);
    service.ok_or(Fate::NoService)
}

/// That service, if it takes a flow from this source.
#[inline]
pub(crate) fn taken_by<'a, K: FlowKey>(
    service: &'a Service,
    key: &K,
    tables: &Tables,
) -> Result<&'a Service, Fate> {
    let source = key.source();
    if key.ports().source() == 0 || !tables.stations.may_send(source) {
        return Err(Fate::BadSource);
    }
    if !service.takes(source) {
        return Err(Fate::DeniedSource);
    }
    Ok(service)
}
