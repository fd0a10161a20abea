//! Pools of packet buffers: fixed in size, filled at start, the only memory that frames live in.
//!
//! Registered threads allocate from and free to a cache of their own; see `register_thread`. What a
//! pool costs: about `data_room + 192` bytes per buffer.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use arrayvec::ArrayVec;
use dpdk_sys::{rte_mbuf, rte_mempool};

use crate::eal::Eal;
use crate::error::{Error, last_errno};
use crate::mbuf::Mbuf;

/// How large a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MempoolConfig {
    /// Buffers. Best is a power of two minus one.
    pub count: u32,
    /// Buffers that each registered thread keeps for itself: at most 512 and `count / 1.5`.
    pub cache: u32,
    /// Bytes per buffer, [`Mbuf::HEADROOM`] of them before the frame.
    pub data_room: u16,
    /// NUMA node of the memory; `None` for any.
    pub socket: Option<u32>,
}

impl Default for MempoolConfig {
    /// 8191 buffers for frames of up to 2048 bytes: about 19 MB.
    fn default() -> Self {
        Self {
            count: 8191,
            cache: 256,
            data_room: Self::DATA_ROOM,
            socket: None,
        }
    }
}

impl MempoolConfig {
    /// Bytes per buffer that all drivers are content with (`RTE_MBUF_DEFAULT_BUF_SIZE`).
    #[expect(clippy::cast_possible_truncation, reason = "asserted below")]
    pub const DATA_ROOM: u16 = dpdk_sys::RTE_MBUF_DEFAULT_BUF_SIZE as u16;
}

const _: () = assert!(dpdk_sys::RTE_MBUF_DEFAULT_BUF_SIZE <= u16::MAX as u32);

/// A pool of packet buffers. Clones are the same pool.
///
/// Buffers may outlive the handles; the pool's memory is given back when both are gone.
#[derive(Clone, Debug)]
pub struct Mempool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    // Invariant: a pool of `rte_pktmbuf_pool_create` that is not freed while this exists.
    pool: NonNull<rte_mempool>,
    config: MempoolConfig,
    name: String,
    eal: Eal,
}

// SAFETY: a pool is made for any number of threads: its ring is multi-producer and multi-consumer,
// its caches are found by the lcore id of the calling thread.
unsafe impl Send for Shared {}
// SAFETY: as above; nothing in `Shared` changes after it is made.
unsafe impl Sync for Shared {}

impl Mempool {
    /// Makes a pool (DPDK `rte_pktmbuf_pool_create`). `name` is unique in the process, at most 25 bytes.
    ///
    /// # Errors
    /// [`Error::Call`]: the memory of EAL is too small, the name is taken or too long, the cache too
    /// large, or the driver `mempool_ring` is absent.
    pub fn new(eal: &Eal, name: &str, config: MempoolConfig) -> Result<Self, Error> {
        let c_name = CString::new(name).map_err(|_| Error::NulByte {
            text: name.to_owned(),
        })?;
        eal.state().free_retired_pools();
        let socket = config.socket.and_then(|node| i32::try_from(node).ok());
        // SAFETY: EAL is up, as there is an `Eal`; the name ends with NUL and is copied.
        let pool = unsafe {
            dpdk_sys::rte_pktmbuf_pool_create(
                c_name.as_ptr(),
                config.count,
                config.cache,
                0,
                config.data_room,
                socket.unwrap_or(dpdk_sys::SOCKET_ID_ANY),
            )
        };
        let pool = NonNull::new(pool).ok_or_else(|| creation_error(name, config))?;
        let shared = Shared {
            pool,
            config,
            name: name.to_owned(),
            eal: eal.clone(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// A buffer with an empty frame, [`Mbuf::HEADROOM`] bytes into it; `None` if all are in use.
    #[inline]
    #[must_use]
    pub fn allocate(&self) -> Option<Mbuf> {
        // SAFETY: the pool exists, by the invariant of `Shared`.
        let raw = unsafe { dpdk_sys::tether_pktmbuf_alloc(self.as_ptr()) };
        // SAFETY: a buffer fresh from the pool is whole and nobody else's.
        NonNull::new(raw).map(|raw| unsafe { Mbuf::from_raw(raw) })
    }

    /// Appends `count` buffers with empty frames to `burst`: all of them, or none and `false` if the
    /// pool has fewer or `burst` has no room for them.
    #[inline]
    pub fn allocate_bulk<const N: usize>(
        &self,
        burst: &mut ArrayVec<Mbuf, N>,
        count: usize,
    ) -> bool {
        const { assert!(N <= u16::MAX as usize, "a burst has at most 65535 frames") };
        if count > burst.remaining_capacity() {
            return false;
        }
        let length = burst.len();
        let spare = burst
            .as_mut_ptr()
            .wrapping_add(length)
            .cast::<*mut rte_mbuf>();
        #[expect(clippy::cast_possible_truncation, reason = "count <= N <= 65535")]
        // SAFETY: there is room for `count` pointers behind the last element, and an `Mbuf` is one.
        let result =
            unsafe { dpdk_sys::tether_pktmbuf_alloc_bulk(self.as_ptr(), spare, count as u32) };
        if result != 0 {
            return false;
        }
        // SAFETY: the call has written `count` pointers to fresh buffers.
        unsafe { burst.set_len(length + count) };
        true
    }

    /// Buffers that are out: with the program, in queues of ports, on the way.
    ///
    /// Exact while nobody allocates or frees. Not for the packet path: it visits all caches.
    #[must_use]
    pub fn in_use(&self) -> usize {
        // SAFETY: the pool exists, by the invariant of `Shared`.
        unsafe { dpdk_sys::rte_mempool_in_use_count(self.as_ptr()) as usize }
    }

    /// Buffers that can be allocated, those in the caches of other threads included.
    #[must_use]
    pub fn available(&self) -> usize {
        // SAFETY: the pool exists, by the invariant of `Shared`.
        unsafe { dpdk_sys::rte_mempool_avail_count(self.as_ptr()) as usize }
    }

    /// Buffers that the pool has in all.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.config.count as usize
    }

    /// The name that it was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Bytes per buffer, headroom included.
    pub(crate) fn data_room(&self) -> u16 {
        self.shared.config.data_room
    }

    pub(crate) fn as_ptr(&self) -> *mut rte_mempool {
        self.shared.pool.as_ptr()
    }
}

fn creation_error(name: &str, config: MempoolConfig) -> Error {
    const ENOENT: i32 = 2;
    const ENOMEM: i32 = 12;
    const EEXIST: i32 = 17;
    const ENAMETOOLONG: i32 = 36;
    let errno = last_errno();
    let abi = dpdk_sys::RTE_VER_YEAR + 1;
    let advice = match errno {
        ENOMEM => {
            "reserve more hugepages or pass EAL a larger -m, or ask for fewer buffers".to_owned()
        }
        EEXIST => "choose another name".to_owned(),
        ENAMETOOLONG => "choose a name of at most 25 bytes".to_owned(),
        ENOENT => format!("`apt-get install librte-mempool-ring{abi}`"),
        _ => "cache must be at most 512 and count / 1.5".to_owned(),
    };
    let subject = format!("pool {name} of {} buffers", config.count);
    Error::call("rte_pktmbuf_pool_create", &subject, errno, &advice)
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.eal.retire(self.pool);
    }
}
