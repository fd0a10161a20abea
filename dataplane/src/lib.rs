//! Tether's data plane: the packet path, the tables it reads and how they are published.
//!
//! It knows a [`port::Port`] and a [`port::Frame`], not DPDK: `port/dpdk.rs` implements them on
//! DPDK (feature `dpdk`), others in memory and on pcap files. It touches no socket, file, lock or
//! wall clock, and after start not the allocator.

pub mod fate;
pub mod key;
pub mod port;

mod parse;
#[cfg(test)]
mod samples;
mod wire;

pub use wire::ethernet::Mac;
