//! Tether's data plane: the packet path, the tables it reads and how they are published.
//!
//! It knows a [`port::Port`] and a [`port::Frame`], not DPDK: `port/dpdk.rs` implements them on
//! DPDK (feature `dpdk`), others in memory and on pcap files. It touches no socket, file, lock or
//! wall clock, and after start not the allocator.

pub mod capture;
pub mod clock;
pub mod explain;
pub mod fate;
pub mod key;
pub mod limits;
#[doc(hidden)]
pub mod measure;
pub mod plane;
pub mod port;
pub mod tables;
pub mod worker;

mod allowance;
mod answer;
mod classify;
mod counters;
mod dissect;
mod exchange;
mod flow_table;
mod forward;
mod fragments;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod held;
mod huge;
mod inspect;
#[cfg(test)]
mod models;
mod parse;
mod probe;
mod rates;
mod rcu;
mod rewrite;
#[cfg(test)]
mod samples;
mod schedule;
mod sessions;
mod simd;
mod solicit;
mod sync;
mod taps;
mod wire;

pub use counters::CountersView;
pub use exchange::Exchange;
pub use rcu::Generation;
pub use taps::TapSpec;
pub use wire::ethernet::Mac;
