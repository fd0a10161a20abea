//! What is published to the workers.

pub mod affinity;
pub mod id;
