//! The affinity table.

pub(crate) mod cell;
pub(crate) mod directory;
pub(crate) mod source;
