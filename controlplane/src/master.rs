//! The truth: which services and backends there are, and which affinities they have.

mod backend;
mod bucket;
mod registry;

pub use backend::{Backend, Boot, Boots};
pub use registry::{NoPlace, Registry, Removed, Service};
