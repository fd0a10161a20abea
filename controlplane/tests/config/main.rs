//! The configuration file as its users meet it: what a good one means, what a bad one is told, and
//! that no file at all breaks the reader.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test"
)]

mod accepted;
mod hostile;
mod refused;
mod written;

/// The example of interfaces.md section 3, one key per line.
const EXAMPLE: &str = include_str!("example.toml");
