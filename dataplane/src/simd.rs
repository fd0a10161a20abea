//! The few instructions that the compiler does not choose by itself.

/// Asks for the cache line at `address` ahead of its use. Any address is fine: it never faults.
#[inline]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: PREFETCHT0 reads nothing architecturally and faults on no address (Intel SDM, PREFETCHh).
    #[expect(unsafe_code, reason = "a hint that has no safe form")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

/// The time-stamp counter; 0 where there is none.
#[inline]
pub(crate) fn cycles() -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 has RDTSC, and it touches no memory (Intel SDM, RDTSC).
    #[expect(unsafe_code, reason = "an instruction that has no safe form")]
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    0
}
