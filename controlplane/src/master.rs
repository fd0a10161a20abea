//! The truth: which services and backends there are, and which affinities they have.
//!
//! ```text
//! plan:  master + authorised signal + now ─▶ change + outcome      pure
//! apply: change ─▶ records · wheel · affinity table
//! ```
//!
//! What workers read is derived from it. Only the deadline of an affinity is elsewhere, in the cell
//! that workers raise; a query that finds it past takes the affinity to be gone (contract rule T5).

mod backend;
mod bucket;
mod change;
mod duration;
mod event;
mod names;
mod plan;
mod record;
mod registry;
mod rise;

pub use backend::{Backend, Boot, Boots};
pub use bucket::Bucket;
pub use change::{Change, State};
pub(crate) use duration::{capped, extension};
pub use event::{Event, Happened, Why};
pub use names::Names;
pub(crate) use plan::stored;
pub use plan::{Plan, plan};
pub use record::{AHEAD, Created, KINDS, Kind, Record, Records};
pub use registry::{NoPlace, Registry, Removed, Service};
pub use rise::{Rise, Risen, TENTHS};

use crate::{config::Limits, publish::cells};
use std::hash::{BuildHasher, RandomState};

/// All that the control thread knows.
#[derive(Debug)]
pub struct Master {
    /// This life of the affinity table (contract rule L3); never 0.
    pub epoch: u64,
    /// The generation of the affinity that was started last.
    pub generation: u64,
    /// The forwarder's switch: whether affinities route at all (contract section 8).
    pub affinity: bool,
    /// Quotas (contract rule P4).
    pub limits: Limits,
    /// Services and backends.
    pub registry: Registry,
    /// Affinities.
    pub records: Records,
}

impl Master {
    /// Without affinities, in a new epoch.
    #[must_use]
    pub fn new(registry: Registry, limits: Limits) -> Self {
        Self {
            epoch: RandomState::new().hash_one("epoch").max(1),
            generation: 0,
            affinity: true,
            limits,
            registry,
            records: Records::with_capacity(cells(&limits)),
        }
    }
}
