//! Classify: the first packet of a flow to the service that it addresses, or out.

use crate::{
    fate::Fate,
    key::FlowKey,
    tables::service::{Service, Services},
};
use std::net::IpAddr;

/// The service of a new flow; refuses sources that nobody may send from, and clients whose flows
/// the service does not take.
#[inline]
pub(crate) fn classify<'a, K: FlowKey>(
    key: &K,
    services: &'a Services,
) -> Result<&'a Service, Fate> {
    let (source, destination) = (key.source(), key.destination());
    let ports = key.ports();
    let service = services
        .find(key.protocol(), destination, ports.destination())
        .ok_or(Fate::NoService)?;
    if is_bad(source) || source == destination || ports.source() == 0 {
        return Err(Fate::BadSource);
    }
    if !service.takes(source) {
        return Err(Fate::DeniedSource);
    }
    Ok(service)
}

/// Addresses that are never a source on a wire (RFC 1122 section 3.2.1.3, RFC 4291 section 2).
pub(crate) fn is_bad(source: IpAddr) -> bool {
    let broadcast = matches!(source, IpAddr::V4(v4) if v4.is_broadcast());
    broadcast || source.is_multicast() || source.is_unspecified() || source.is_loopback()
}
