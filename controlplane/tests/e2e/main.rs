//! Tether as its users run it: `tetherd` as a process on DPDK ports, between the TCP and UDP of real
//! kernels in network namespaces. Needs root:
//!
//! ```text
//! cargo test -p tether-controlplane --test e2e -- --test-threads=1
//! ```
//!
//! Tests are named by the sentence that they prove, after the rule of the affinity contract.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]
#![allow(missing_docs, unreachable_pub, reason = "nobody links a test")]

mod ack;
mod affinity;
mod apart;
mod bgp;
mod edge;
mod fullnat;
mod hostile;
mod kernel;
mod link;
mod nat;
mod operator;
mod owner;
mod paths;
mod prefixes;
mod process;
mod proxied;
mod python;
mod refusals;
mod reload;
mod rules;
mod schedulers;
mod spread;
mod testbed;
mod time;
mod tunnels;
mod watch;
mod ways;
mod workers;
