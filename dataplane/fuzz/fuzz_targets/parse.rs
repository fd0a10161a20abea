//! Parse and answer any frame.
//!
//! From `dataplane`, with `cargo install cargo-fuzz`:
//! `mkdir -p fuzz/corpus/parse && cargo +nightly fuzz run parse fuzz/corpus/parse fuzz/seeds/parse`.
//! Put what crashes into `fuzz/seeds/parse` under a name that says what it was: a test runs it then.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tether_dataplane::fuzzing::parse_and_answer(input));
