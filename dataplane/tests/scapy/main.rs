//! Tunnels, byte by byte as scapy makes them. Scapy runs while the tests do, so this target is left
//! out of `cargo test`; it needs `python3-scapy`:
//!
//! ```text
//! cargo test -p tether-dataplane --no-default-features --test scapy
//! ```

#![cfg(test)]

#[path = "../journeys/frames.rs"]
#[allow(dead_code, reason = "shared with the journeys, which use all of it")]
mod frames;
mod oracle;
mod tunnels;
#[path = "../journeys/world.rs"]
#[allow(dead_code, reason = "shared with the journeys, which use all of it")]
mod world;
