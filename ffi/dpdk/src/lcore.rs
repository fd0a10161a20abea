//! Threads that EAL knows: they have an lcore id, and with it a cache in every pool.
//!
//! A thread without one works too, at the price of the pool's shared ring at each allocation and
//! free. No thread has an id by itself, not even the one that called `Eal::init`.

use std::marker::PhantomData;

use crate::eal::Eal;
use crate::error::{Error, last_errno};

/// The registration of the current thread; dropping it ends it.
///
/// ```compile_fail
/// fn assert_send<T: Send>() {}
/// assert_send::<dpdk::LcoreGuard>();
/// ```
#[derive(Debug)]
pub struct LcoreGuard {
    eal: Eal,
    // Invariant: dropped on the thread that made it, since the id is in a thread-local variable.
    not_send: PhantomData<*const ()>,
}

/// Gives the current thread an lcore id and so a cache in every pool (DPDK `rte_thread_register`).
///
/// # Errors
/// [`Error::ThreadRegistered`] if it has one; [`Error::Call`] if all `RTE_MAX_LCORE` ids are taken or
/// EAL serves secondary processes.
pub fn register_thread(eal: &Eal) -> Result<LcoreGuard, Error> {
    if lcore_id().is_some() {
        return Err(Error::ThreadRegistered);
    }
    let mut state = eal.state();
    // SAFETY: EAL is up, as there is an `Eal`, and the thread has no id.
    let result = unsafe { dpdk_sys::rte_thread_register() };
    if result < 0 {
        return Err(Error::call(
            "rte_thread_register",
            "this thread",
            last_errno(),
            ADVICE,
        ));
    }
    state.registered_threads += 1;
    Ok(LcoreGuard {
        eal: eal.clone(),
        not_send: PhantomData,
    })
}

const ADVICE: &str = "give EAL fewer cores of its own (e.g. -l 0) and start it with --in-memory or \
                      --no-shconf, so that no secondary process can join";

/// The lcore id of the current thread, if it is registered.
pub(crate) fn lcore_id() -> Option<u32> {
    // SAFETY: reads a thread-local integer.
    let id = unsafe { dpdk_sys::tether_lcore_id() };
    (id != dpdk_sys::TETHER_LCORE_ID_ANY).then_some(id)
}

impl LcoreGuard {
    /// The id: below `RTE_MAX_LCORE`, and no other thread's.
    #[must_use]
    pub fn lcore_id(&self) -> u32 {
        lcore_id().unwrap_or(dpdk_sys::TETHER_LCORE_ID_ANY)
    }
}

impl Drop for LcoreGuard {
    fn drop(&mut self) {
        let mut state = self.eal.state();
        // SAFETY: this is the thread that was registered, as the guard is not `Send`.
        unsafe { dpdk_sys::rte_thread_unregister() };
        state.registered_threads -= 1;
        state.free_retired_pools();
    }
}
