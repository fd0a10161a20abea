//! Any input through the whole path: what the fuzz target `forward` does, and a test with its seeds.

pub(crate) mod check;
pub(crate) mod frames;
pub(crate) mod input;
pub(crate) mod mutate;
pub(crate) mod network;
pub(crate) mod operations;
pub(crate) mod plane;
pub(crate) mod sums;
mod world;
