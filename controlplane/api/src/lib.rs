//! What goes over Tether's two wires: the signal protocol of servers and the operator protocol.
//!
//! - [`v1`]: gRPC, generated from `proto/tether/v1/affinity.proto`. Unary calls carry addresses as
//!   text; the `Signals` stream carries batches with addresses as bytes, each answered by one batch
//!   of outcomes in the same order. [`FILE_DESCRIPTOR_SET`] serves reflection.
//! - [`operator`]: JSON lines over a Unix socket, between `tetherd` and `tetherctl`.
//! - [`Source`]: the client side of an affinity's key, canonical (contract rule S4), which both speak.
//!
//! It costs whoever links it prost, tonic and serde; it opens no socket and starts no thread.

pub mod operator;
mod outcome;
mod signal;
mod source;

pub use prost::bytes::Bytes;
pub use signal::{BadSignal, Target};
pub use source::{BadSource, Source};

/// The signal protocol, as generated from the `.proto` file, whose comments are its documentation.
#[allow(
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("tether.v1");
}

/// The compiled `.proto` files, for `tonic_reflection::server::Builder::register_encoded_file_descriptor_set`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tether_v1.bin"));

/// Most signals that one `SignalBatch` may hold; a longer batch is `INVALID_ARGUMENT`.
pub const BATCH_SIGNALS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    #[test]
    fn reflection_takes_the_descriptors() {
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(super::FILE_DESCRIPTOR_SET);
        assert!(reflection.build_v1().is_ok());
    }
}
