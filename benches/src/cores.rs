//! Which thread runs where.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;

/// Keeps the current thread on one core.
///
/// # Errors
/// This process may not run there.
pub fn pin(core: u16) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core.into());
    Ok(sched_setaffinity(None, &set)?)
}

/// Keeps the current thread, and what it starts from here on, off these cores; where no other core
/// is left, it stays where it may.
///
/// # Errors
/// The system refuses.
pub fn keep_off(cores: &[u16]) -> io::Result<()> {
    let mut set = sched_getaffinity(None)?;
    for core in cores {
        set.unset(usize::from(*core));
    }
    if set.count() > 0 {
        sched_setaffinity(None, &set)?;
    }
    Ok(())
}
