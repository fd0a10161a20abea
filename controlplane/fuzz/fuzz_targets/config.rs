//! Any text as a configuration file.
//!
//! From `controlplane`, with `cargo install cargo-fuzz`:
//! `mkdir -p fuzz/corpus/config && cargo +nightly fuzz run config fuzz/corpus/config fuzz/seeds/config`.
//! Put what crashes into `fuzz/seeds/config` under a name that says what it was: a test runs it then.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tether_controlplane::fuzzing::config(input));
