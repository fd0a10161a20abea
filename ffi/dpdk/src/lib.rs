//! DPDK made safe: EAL, packet buffers and their pools, ports and their queues.
//!
//! ```text
//! Eal ── Mempool ── Mbuf            an Mbuf is a pointer and goes back to its pool on drop
//!  └──── Port ───── Queue × n       a Queue is one receive and one transmit queue, for one thread
//! ```
//!
//! Why: everything public is safe, so that no other crate needs `unsafe` to move frames.
//! Handles keep what they stand on alive: queues their port, ports their pools, all of them EAL.
//! What it costs: per burst one C call; per frame nothing over the same program in C.
//! Drivers are shared objects that EAL loads at start; see [`Error`] for what is said about a
//! missing one.
#![allow(unsafe_code, reason = "this crate is the safe skin over the bindings")]

mod advice;
mod clock;
mod eal;
mod error;
mod hash;
mod lcore;
mod mbuf;
mod mempool;
mod port;
mod queue;

pub use clock::{cycles, cycles_per_second};
pub use eal::{Eal, version};
pub use error::Error;
pub use hash::{HASH_BURST, HashReader, HashWriter, hash_table};
pub use lcore::{LcoreGuard, register_thread};
pub use mbuf::{Ipv4Checksum, Mbuf, free_burst};
pub use mempool::{Mempool, MempoolConfig};
pub use port::{Link, Outgoing, Port, PortConfig, PortStatistics, Rss, UnconfiguredPort};
pub use queue::Queue;
