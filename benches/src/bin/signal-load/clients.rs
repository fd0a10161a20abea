//! The clients that affinities are for, and the signals about them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tether_api::{
    Source,
    v1::{OutcomeCode, Signal, SignalBatch, StartRequest, signal::Operation},
};

/// How long an affinity is to last: longer than any run.
const DURATION_MS: u64 = 3_600_000;
/// Clients of batches are 20.0.0.0 and on; those of calls come from 40.0.0.0.
const BATCHED: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 0);
const CALLED: Ipv4Addr = Ipv4Addr::new(40, 0, 0, 0);

fn client(first: Ipv4Addr, number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(first.to_bits() + number)
}

/// A batch about these clients.
pub(crate) fn batch(
    destination: SocketAddr,
    sequence: u64,
    clients: std::ops::Range<u32>,
    operation: Operation,
) -> SignalBatch {
    let signals = clients.map(|number| {
        let mut signal = Signal {
            duration_ms: DURATION_MS,
            ..Signal::default()
        };
        signal.set_operation(operation);
        signal.set_destination(destination);
        signal.set_source(&Source::ip(IpAddr::V4(client(BATCHED, number))));
        signal
    });
    SignalBatch {
        sequence,
        signals: signals.collect(),
        ..SignalBatch::default()
    }
}

/// A call that starts an affinity.
pub(crate) fn start(destination: SocketAddr, number: u32) -> StartRequest {
    StartRequest {
        destination: destination.to_string(),
        source: client(CALLED, number).to_string(),
        duration_ms: DURATION_MS,
        ..StartRequest::default()
    }
}

/// Whether what was asked for was done.
pub(crate) fn is_granted(code: OutcomeCode) -> bool {
    use OutcomeCode as Code;
    matches!(
        code,
        Code::Created | Code::Refreshed | Code::Replaced | Code::Extended | Code::Ended
    )
}
