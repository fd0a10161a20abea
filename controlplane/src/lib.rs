//! The Tether daemon: signals, master state, health, workers.
//!
//! ```text
//! gRPC, operator socket ──▶ command ──▶ control (one thread, one turn after another) ──▶ tables
//!        (async edge)                     plan · journal · apply · publish · reply
//! ```
//!
//! `control.rs` is the table of contents.

pub mod command;
pub mod config;
pub mod signal;
