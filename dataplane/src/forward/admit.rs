//! Admission: how many new flows a service takes. An affinity is past the scheduler and past the limit
//! of the service, which a flood of other clients may have used up (contract rule R7); it is not past
//! the limit of its source.

use crate::{clock::Millis, fate::Fate, rates::Rates, tables::service::Service};
use std::net::IpAddr;

/// One more flow of a source, whoever places it.
#[inline]
pub(crate) fn of_source(
    source: IpAddr,
    service: &Service,
    rates: &mut Rates,
    now: Millis,
) -> Result<(), Fate> {
    let spec = &service.spec;
    match spec.limits.per_second_per_source {
        Some(limit) if !rates.take_of_source((spec.id, source), limit, now) => {
            Err(Fate::SourceRate)
        }
        _ => Ok(()),
    }
}

/// One more flow of a service that the scheduler places.
#[inline]
pub(crate) fn to_service(service: &Service, rates: &mut Rates, now: Millis) -> Result<(), Fate> {
    let spec = &service.spec;
    match spec.limits.per_second {
        Some(limit) if !rates.take_of_service(spec.id, limit, now) => Err(Fate::ServiceRate),
        _ => Ok(()),
    }
}
