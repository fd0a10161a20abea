//! The edge as a whole: real sockets and real clients on loopback, against a control thread that
//! does what the test wants.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod bench;
mod certificates;
mod config;
mod hostile;
mod library;
mod metrics;
mod mtls;
mod operator;
mod python;
mod signals;
mod watch;
