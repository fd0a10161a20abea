//! Ends that the forwarder has not heard, or not taken.

use std::collections::{HashMap, VecDeque};

use crate::Key;

/// An end: what, and which life of it.
pub(crate) type End = (Key, Option<u64>);

/// Ends that are still to be said. One that is said twice, or to a table that does not have the
/// affinity, does no harm: it carries the generation, and `NOT_FOUND` and `STALE` are done.
#[derive(Debug)]
pub(crate) struct Ends {
    max: usize,
    unsaid: VecDeque<End>,
    // Said again a little later.
    refused: HashMap<Key, Option<u64>>,
}

impl Ends {
    /// None yet; the oldest give way to more than `max`.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            unsaid: VecDeque::new(),
            refused: HashMap::new(),
        }
    }

    /// One that was not heard: to be said before anything else.
    pub(crate) fn keep(&mut self, end: End) {
        if self.unsaid.len() >= self.max {
            self.unsaid.pop_front();
        }
        self.unsaid.push_back(end);
    }

    /// One that was refused for the moment: to be said after a while.
    pub(crate) fn refuse(&mut self, (key, generation): End) {
        if self.refused.len() < self.max {
            self.refused.insert(key, generation);
        }
    }

    /// The key is started again: a late end would be the end of that.
    pub(crate) fn withdraw(&mut self, key: &Key) {
        self.refused.remove(key);
    }

    /// The while is over.
    pub(crate) fn say_again(&mut self) {
        for end in std::mem::take(&mut self.refused) {
            self.keep(end);
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.unsaid.clear();
        self.refused.clear();
    }

    /// The next one to say.
    pub(crate) fn next(&mut self) -> Option<End> {
        self.unsaid.pop_front()
    }
}
