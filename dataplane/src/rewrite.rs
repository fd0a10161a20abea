//! Rewrite: a packet and its backend to the frame that leaves.

mod direct;

pub(crate) use direct::{Link, direct};
