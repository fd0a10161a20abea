//! What the daemon was told and what it has acknowledged.

use std::collections::HashMap;

/// What was acknowledged last of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// There is an affinity, of this generation.
    Started(u64),
    /// There is none.
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    told: Told,
    /// A start, or an end, that is not acknowledged: it may have been decided.
    under_way: Option<bool>,
}

/// All sources.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    known: HashMap<String, Known>,
    pub(crate) acked: usize,
    /// Sources of affinities that are not there though they were acknowledged.
    pub(crate) lost: Vec<String>,
    /// Sources of affinities that are there again though their end was acknowledged.
    pub(crate) revived: Vec<String>,
}

impl Ledger {
    /// A signal is sent.
    pub(crate) fn is_told(&mut self, source: &str, is_start: bool) {
        let known = self.known.entry(source.to_owned()).or_insert(Known {
            told: Told::Ended,
            under_way: None,
        });
        known.under_way = Some(is_start);
    }

    /// Its outcome has come.
    pub(crate) fn is_acknowledged(&mut self, source: &str, told: Told) {
        let under_way = None;
        self.known
            .insert(source.to_owned(), Known { told, under_way });
        self.acked += 1;
    }

    /// Compares with what there is, generations by source, and goes on from there.
    pub(crate) fn compare(&mut self, found: &HashMap<String, u64>) {
        for source in found.keys() {
            assert!(self.known.contains_key(source), "{source}: never started");
        }
        for (source, known) in &mut self.known {
            let found = found.get(source).copied();
            match (known.told, found) {
                (Told::Started(generation), Some(found)) if generation == found => {}
                // An end and another start of this sender cannot both be under way.
                (Told::Started(_), None) if known.under_way == Some(false) => {}
                (Told::Started(_), _) => self.lost.push(source.clone()),
                (Told::Ended, None) => {}
                (Told::Ended, Some(_)) if known.under_way == Some(true) => {}
                (Told::Ended, Some(_)) => self.revived.push(source.clone()),
            }
            known.told = found.map_or(Told::Ended, Told::Started);
            known.under_way = None;
        }
    }
}
