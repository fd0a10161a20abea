//! Hostile frames through the whole path, in every mode: inputs of the fuzz target `forward`, and a
//! million frames in real packet buffers.

#![cfg(test)]

#[cfg(feature = "dpdk")]
mod mbufs;
mod numbers;
#[path = "path.rs"]
mod path;
mod seeds;
