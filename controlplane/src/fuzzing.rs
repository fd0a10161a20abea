//! What the targets in `controlplane/fuzz` run on hostile bytes, and what must hold whatever they are.
//!
//! The inputs in `controlplane/fuzz/seeds` are run by a test too: seeds, and whatever once crashed.

use crate::config::Config;

pub use crate::{journal::fuzzing::journal, server::fuzzing::signals};

/// Reads a configuration file.
///
/// # Panics
///
/// Where a problem has no place in the file, or what is accepted is not accepted when it is written.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Config::parse("t", text) {
        Ok(config) => {
            let written = config.to_toml();
            let again = Config::parse("t", &written);
            assert_eq!(again.as_ref(), Ok(&config), "{written}");
        }
        Err(problems) => {
            assert!(!problems.pretty().is_empty());
            assert_eq!(problems.to_string().lines().count(), problems.count());
            let lines = text.split('\n').count();
            for line in problems.to_string().lines() {
                let mut place = line.split(':').skip(1).map(str::parse::<usize>);
                let (row, column) = (place.next(), place.next());
                let is_placed = matches!((&row, &column), (Some(Ok(row)), Some(Ok(1..))) if (1..=lines).contains(row));
                assert!(is_placed, "{line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn run_all(target: &str, run: fn(&[u8])) {
        let seeds = format!("{}/fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
        let files: Vec<_> = fs::read_dir(&seeds).unwrap().collect();
        assert!(files.len() >= 3, "{seeds}");
        for file in files {
            run(&fs::read(file.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn every_seed_and_past_crash_passes() {
        run_all("config", config);
        run_all("journal", journal);
        run_all("signals", signals);
    }
}
