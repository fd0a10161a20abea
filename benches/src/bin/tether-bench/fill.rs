//! Affinities before the start: for the sources that were seen, then for made-up ones.

use crate::{arguments::Arguments, survey::Survey};
use std::{collections::BTreeMap, error::Error, net::Ipv4Addr};
use tether_benches::progress::with_bar;
use tether_dataplane::{
    clock::Millis,
    plane::Writer,
    tables::{
        affinity::{AffinityKey, Grant, Source},
        id::{BackendId, ServiceId},
    },
};

/// Starts between two publications.
const TURN: usize = 256;
const HOUR_MS: u32 = 3_600_000;
/// Made-up sources begin at 100.64.0.0.
const MADE_UP: u32 = 0x6440_0000;

/// Starts `wanted` affinities, spread over the backends of their services.
pub(crate) fn fill(
    writer: &mut Writer,
    seen: &Survey,
    wanted: usize,
    arguments: &Arguments,
    now: Millis,
) -> Result<(), Box<dyn Error>> {
    let places: BTreeMap<_, usize> = seen.services.iter().zip(0..).collect();
    let real = seen.sources.iter();
    let real = real.filter_map(|(service, address)| Some((*places.get(service)?, *address)));
    let made_up = (0_u32..).map(|number| {
        let address = Ipv4Addr::from_bits(MADE_UP + number).into();
        (number as usize % places.len(), address)
    });
    let sources = real.chain(made_up).take(wanted);
    let backends = usize::from(arguments.backends);
    for (count, (place, address)) in with_bar("affinities", wanted, sources).enumerate() {
        let key = AffinityKey {
            service: ServiceId(u16::try_from(place)?),
            source: Source::host(address)?,
        };
        let owner = BackendId(u16::try_from(place * backends + count % backends)?);
        let started = writer
            .affinities_mut()
            .start(&key, owner, 1, grant(now), None);
        started?;
        if count % TURN == TURN - 1 {
            writer.publish();
        }
    }
    writer.publish();
    Ok(())
}

fn grant(now: Millis) -> Grant {
    Grant {
        deadline: now + u64::from(HOUR_MS),
        duration_ms: HOUR_MS,
        limit: None,
    }
}
