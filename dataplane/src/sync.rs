//! One switch for the model checker: std's atomics, or loom's under `--cfg tether_loom`.

#[cfg(not(tether_loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
};

#[cfg(tether_loom)]
pub(crate) use loom::sync::{
    Arc,
    atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering},
};
