//! Any bytes as what servers send.
//!
//! From `controlplane`, with `cargo install cargo-fuzz`:
//! `mkdir -p fuzz/corpus/signals && cargo +nightly fuzz run signals fuzz/corpus/signals fuzz/seeds/signals`.
//! Put what crashes into `fuzz/seeds/signals` under a name that says what it was: a test runs it then.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tether_controlplane::fuzzing::signals(input));
