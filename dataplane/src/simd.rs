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
