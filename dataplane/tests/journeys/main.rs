//! Packets through a worker, by the public API alone: memory ports, and a clock that the test owns.
//!
//! [`world`] is the bench: tables, workers, peers. [`frames`] makes frames with `etherparse`, which
//! shares no code with the data plane. What a step must do is a frame in, frames out, and exactly
//! the counters that moved.

#![cfg(test)]

mod ack;
mod admission;
mod announce;
mod capture;
mod explain;
mod fates;
mod forwarding;
mod frames;
mod fullnat;
mod hostile;
mod kernel;
mod life;
mod local;
mod nat;
mod neighbours;
mod offloads;
mod paths;
mod prefixes;
mod proxied;
mod related;
mod routing;
mod schedulers;
mod time;
mod transmit;
mod tunnels;
mod world;
