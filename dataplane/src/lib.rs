//! Tether's data plane: the packet path, the tables it reads and how they are published.
//!
//! It knows a [`port::Port`] and a [`port::Frame`], not DPDK: `port/dpdk.rs` implements them on
//! DPDK (feature `dpdk`), others in memory and on pcap files. It touches no socket, file, lock or
//! wall clock, and after start not the allocator.

mod hash;
mod rcu;
mod simd;
mod sync;

pub mod clock;
pub mod fate;
pub mod key;
pub mod limits;
pub mod port;
pub mod tables;

mod answer;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod parse;
#[cfg(test)]
mod samples;
mod solicit;
mod wire;

pub use wire::ethernet::Mac;
