//! The cycle counter: a few nanoseconds per read, no system call, the same on all cores.

use crate::Eal;

/// Cycles of the time stamp counter since some fixed moment (DPDK `rte_rdtsc`).
///
/// The counter ticks at [`cycles_per_second`] whatever the core's clock does. Reads are not ordered
/// against the instructions around them.
#[inline]
#[must_use]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has the instruction, and user space may use it.
    let now = unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: reads a counter.
    let now = unsafe { dpdk_sys::tether_rdtsc() };
    now
}

/// How fast [`cycles`] ticks, as EAL measured it at start (DPDK `rte_get_tsc_hz`).
#[must_use]
pub fn cycles_per_second(_started: &Eal) -> u64 {
    // SAFETY: reads an integer that EAL has set; there is an `Eal`, so it has.
    unsafe { dpdk_sys::rte_get_tsc_hz() }
}
