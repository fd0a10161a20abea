//! The Tether daemon: signals, master state, health, workers.

pub mod config;
