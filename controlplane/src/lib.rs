//! The Tether daemon: signals, master state, journal, health, workers.
//!
//! ```text
//! gRPC, operator socket ──▶ command ──▶ control (one thread, one turn after another) ──▶ tables
//!        (async edge)                     plan · journal · apply · publish · reply
//! ```
//!
//! `control.rs` is the table of contents.

mod audit;
pub mod authorise;
mod chain;
pub mod command;
pub mod config;
pub mod control;
pub mod expiry;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
pub mod journal;
pub mod master;
mod metrics;
mod operator;
pub mod ports;
pub mod publish;
pub mod server;
pub mod signal;
pub mod workers;
