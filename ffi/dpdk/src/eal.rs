//! The environment abstraction layer: started once per process, stopped with its last handle.
//!
//! EAL starts on a thread of its own that ends when it is up. So the caller is neither pinned to a
//! core nor given an lcore id, and a thread has a pool cache only through an `LcoreGuard`.
//!
//! An `Mbuf` is a bare pointer and does not keep its pool alive. A pool whose last handle is gone
//! is therefore *retired*, and freed once no buffer of it is out; see `State::free_retired_pools`.
//! Where one is still out at the end (`net_af_xdp` keeps some for good), neither the pool nor EAL is
//! torn down: memory is kept, until the process exits, rather than freed under somebody. It costs
//! nothing per buffer.

use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::resume_unwind;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use dpdk_sys::rte_mempool;

use crate::advice;
use crate::error::{Error, last_errno};

/// EAL tolerates one start per process, also if that one fails.
static STARTED: AtomicBool = AtomicBool::new(false);

/// As large as a main thread's stack usually is: drivers are probed on it.
const START_STACK_BYTES: usize = 8 << 20;

/// The running EAL. Clones are the same one; it is stopped when the last clone is gone, and with it
/// all ports, pools, buffers and guards.
#[derive(Clone, Debug)]
pub struct Eal {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    state: Mutex<State>,
}

/// What must not be done by two threads at once.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Threads that have a cache in every pool.
    pub(crate) registered_threads: usize,
    /// Ports that are open.
    pub(crate) open_ports: Vec<u16>,
    retired_pools: Vec<RetiredPool>,
}

/// A pool without handles. Invariant: nobody allocates from it any more.
#[derive(Debug)]
struct RetiredPool(NonNull<rte_mempool>);

// SAFETY: the functions of a pool may be called from any thread.
unsafe impl Send for RetiredPool {}

/// The version of DPDK that runs, e.g. `DPDK 22.11.11` (DPDK `rte_version`).
#[must_use]
pub fn version() -> String {
    // SAFETY: has no conditions; the string is static.
    let text = unsafe { dpdk_sys::rte_version() };
    // SAFETY: it ends with NUL.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

impl Eal {
    /// Starts EAL with `args` as on a DPDK command line, without the program's name.
    ///
    /// Nothing is added to them. Worth giving: `-l CORE` for EAL's own thread (without it EAL makes one
    /// sleeping thread per core), `--in-memory` or `--no-shconf` where no secondary process shall
    /// join, `--log-level`. EAL's helper threads keep off the cores in `-l` and stay on the others
    /// that the caller of this function may run on.
    ///
    /// # Errors
    /// [`Error::AlreadyInitialised`] at the second call in a process; [`Error::Call`] with advice if
    /// hugepages, a driver or a permission is missing.
    pub fn init<S: AsRef<str>>(args: &[S]) -> Result<Self, Error> {
        let arguments = c_arguments(args)?;
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(Error::AlreadyInitialised);
        }
        let starter = thread::Builder::new()
            .name("dpdk-start".to_owned())
            .stack_size(START_STACK_BYTES)
            .spawn(move || start(arguments))
            .map_err(|error| {
                Error::call(
                    "pthread_create",
                    "EAL",
                    error.raw_os_error().unwrap_or(0),
                    "",
                )
            })?;
        match starter.join().unwrap_or_else(|panic| resume_unwind(panic)) {
            Ok(()) => Ok(Self {
                running: Arc::new(Running {
                    state: Mutex::default(),
                }),
            }),
            Err(errno) => Err(start_error(args, errno)),
        }
    }

    /// The state, locked.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.running
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over a pool whose last handle is gone and frees it as soon as no buffer of it is out.
    pub(crate) fn retire(&self, pool: NonNull<rte_mempool>) {
        let mut state = self.state();
        state.retired_pools.push(RetiredPool(pool));
        state.free_retired_pools();
    }
}

fn c_arguments<S: AsRef<str>>(args: &[S]) -> Result<Vec<CString>, Error> {
    std::iter::once("dpdk")
        .chain(args.iter().map(AsRef::as_ref))
        .map(|text| {
            CString::new(text).map_err(|_| Error::NulByte {
                text: text.to_owned(),
            })
        })
        .collect()
}

/// Returns `rte_errno` if EAL does not start.
fn start(arguments: Vec<CString>) -> Result<(), i32> {
    // EAL keeps pointers into its arguments, so they are never freed: some bytes, once.
    let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
    let count = c_int::try_from(pointers.len()).unwrap_or(c_int::MAX);
    pointers.push(ptr::null_mut());
    // SAFETY: `pointers` has `count` strings of our own that live for ever, and a null at its end; it is the
    // first call in this process, as `STARTED` was false.
    let result = unsafe { dpdk_sys::rte_eal_init(count, pointers.as_mut_ptr()) };
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(())
    }
}

fn start_error<S: AsRef<str>>(args: &[S], errno: i32) -> Error {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    let subject = format!("EAL with {args:?}");
    Error::call(
        "rte_eal_init",
        &subject,
        errno,
        &advice::for_start(&args, errno),
    )
}

impl State {
    /// Frees the retired pools that have all their buffers back.
    ///
    /// A pool's count is exact only while no thread has a cache in it: a flush of a cache is counted
    /// twice for a moment. So nothing is freed while threads are registered.
    pub(crate) fn free_retired_pools(&mut self) {
        if self.registered_threads == 0 {
            self.retired_pools.retain(|pool| !pool.free_if_idle());
        }
    }
}

impl RetiredPool {
    fn free_if_idle(&self) -> bool {
        // SAFETY: the pool exists until it is freed below.
        let in_use = unsafe { dpdk_sys::rte_mempool_in_use_count(self.0.as_ptr()) };
        if in_use > 0 {
            return false;
        }
        // SAFETY: no handle, port or buffer points to the pool. A thread that gave back the last buffer
        // is done with it: without a cache, advancing the ring's tail is the last thing that it does.
        unsafe { dpdk_sys::rte_mempool_free(self.0.as_ptr()) };
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.free_retired_pools();
        if state.retired_pools.is_empty() {
            // SAFETY: no `Eal` is left, so no port, pool, guard or buffer is.
            unsafe { dpdk_sys::rte_eal_cleanup() };
        }
    }
}
