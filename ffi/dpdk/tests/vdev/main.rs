//! Pools, ports and queues on DPDK's ring and null devices, in one EAL.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

mod ports;
mod queues;
#[path = "../support/rig.rs"]
mod rig;
mod threads;

use dpdk::Eal;

/// Each test that opens a port has one of its own: a closed one does not come back.
fn eal() -> &'static Eal {
    rig::eal(&[
        "net_ring_loop",
        "net_ring_full",
        "net_ring_queues",
        "net_ring_threads",
        "net_ring_keep",
        "net_ring_rss",
        "net_ring_room",
        "net_null_endless,size=128",
        "net_null_sink,no-rx=1",
        "net_null_config",
        "net_null_claim",
        "net_null_rss",
        "net_null_mtu",
        "net_null_facts",
        "net_null_refuse",
    ])
}
