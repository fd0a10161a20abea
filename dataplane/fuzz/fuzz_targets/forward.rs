//! Any frames through the whole path, in every mode, while tables, affinities and time change.
//!
//! From `dataplane`, with `cargo install cargo-fuzz`:
//! `mkdir -p fuzz/corpus/forward && cargo +nightly fuzz run forward fuzz/corpus/forward fuzz/seeds/forward`.
//! Put what crashes into `fuzz/seeds/forward` under a name that says what it was: a test runs it then.

#![no_main]

#[path = "../../tests/hostile/path.rs"]
mod path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| path::operations::run(input));
