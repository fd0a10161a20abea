//! How often a model is tried against what it models.

use proptest::test_runner::Config;

/// So many cases; one under Miri, which is slow and lets nobody remember failures in a file.
pub(crate) fn cases(cases: u32) -> Config {
    if cfg!(miri) {
        Config {
            cases: 1,
            failure_persistence: None,
            ..Config::default()
        }
    } else {
        Config::with_cases(cases)
    }
}
