//! What the values mean together. Every check reports all that it finds and none depends on another
//! having passed; a value that was reported by the schema is left out of them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use super::Config;
use super::problem::{Place, Problem};
use super::schema::File;

mod backend;
mod build;
mod clients;
mod fullnat;
mod host;
mod nat;
mod proxy;
mod service;
mod tunnel;

/// The most ports: each worker polls them all in every step.
const MOST_PORTS: usize = 16;
/// The most workers, each on a core of its own.
const MOST_WORKERS: usize = 64;
/// The most workers with a queue of a tap (DPDK `RTE_PMD_TAP_MAX_QUEUES`).
const MOST_TAP_QUEUES: usize = 16;
/// The most services.
const MOST_SERVICES: usize = 4096;
/// The most backends of all services together.
const MOST_BACKENDS: usize = 16_384;

/// The most prefixes of clients in both lists of a service.
const MOST_PREFIXES: usize = 4096;

/// Checks `file`. `None`: a value is missing, and that has been reported.
pub(super) fn validate(file: File, problems: &mut Vec<Problem>) -> Option<Config> {
    host::check(&file, problems);
    service::check(&file, problems);
    build::config(file)
}

/// Reports every key that an earlier item has.
fn unique<K: Eq + Hash>(
    items: impl Iterator<Item = (K, Place)>,
    what: impl Fn(&K) -> String,
    problems: &mut Vec<Problem>,
) {
    let mut seen: HashMap<K, Place> = HashMap::new();
    for (key, place) in items {
        match seen.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(place);
            }
            Entry::Occupied(first) => {
                let message = format!("duplicate {}", what(first.key()));
                problems
                    .push(Problem::new(place, message).other(first.get().clone(), "first defined"));
            }
        }
    }
}

/// Reports the first item past `most`.
fn at_most(
    most: usize,
    what: &str,
    mut places: impl Iterator<Item = Place>,
    problems: &mut Vec<Problem>,
) {
    if let Some(place) = places.nth(most) {
        problems.push(Problem::new(place, format!("more than {most} {what}")));
    }
}
