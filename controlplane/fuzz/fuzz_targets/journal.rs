//! Any files as a state directory.
//!
//! From `controlplane`, with `cargo install cargo-fuzz`:
//! `mkdir -p fuzz/corpus/journal && cargo +nightly fuzz run journal fuzz/corpus/journal fuzz/seeds/journal`.
//! Put what crashes into `fuzz/seeds/journal` under a name that says what it was: a test runs it then.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tether_controlplane::fuzzing::journal(input));
