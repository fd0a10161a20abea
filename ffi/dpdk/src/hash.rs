//! DPDK's hash library, as what Tether's affinity table is compared with: keys of 16 bytes, a number
//! for each, readers without locks beside one writer (`RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF`).
//!
//! Nothing is ever taken out: in this mode a place may be used again only after a grace period, which
//! is its user's business.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use dpdk_sys::{rte_hash, rte_hash_parameters};

use crate::eal::Eal;
use crate::error::{Error, check, last_errno};

/// Keys that one call looks up at most (`RTE_HASH_LOOKUP_BULK_MAX`).
pub const HASH_BURST: usize = dpdk_sys::RTE_HASH_LOOKUP_BULK_MAX as usize;

/// Bytes of a key.
const KEY: usize = 16;

/// The side that adds: not `Clone`, and it takes `&mut self`, so there is one at a time.
#[derive(Debug)]
pub struct HashWriter(Arc<Table>);

/// The side that looks up; any number of them.
#[derive(Clone, Debug)]
pub struct HashReader(Arc<Table>);

#[derive(Debug)]
struct Table {
    // Invariant: made by `rte_hash_create` with keys of `KEY` bytes, lock-free for readers beside
    // one writer; not freed while this exists.
    raw: NonNull<rte_hash>,
    name: String,
    _eal: Eal,
}

// SAFETY: the table was made for lookups on any thread beside one writer; `HashWriter` is the one.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

/// Makes a table with room for `entries` keys (DPDK `rte_hash_create`). `name` is unique in the process.
///
/// # Errors
/// [`Error::Call`]: the memory of EAL is too small or the name is taken.
pub fn hash_table(eal: &Eal, name: &str, entries: u32) -> Result<(HashWriter, HashReader), Error> {
    let c_name = CString::new(name).map_err(|_| Error::NulByte {
        text: name.to_owned(),
    })?;
    let parameters = rte_hash_parameters {
        name: c_name.as_ptr(),
        entries,
        key_len: u32::try_from(KEY).unwrap_or_default(),
        extra_flag: u8::try_from(dpdk_sys::RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF)
            .unwrap_or_default(),
        ..rte_hash_parameters::default()
    };
    // SAFETY: EAL is up, as there is an `Eal`; the parameters and the name in them outlive the call,
    // which copies them.
    let raw = unsafe { dpdk_sys::rte_hash_create(&raw const parameters) };
    let raw = NonNull::new(raw).ok_or_else(|| {
        let advice = "reserve more hugepages or pass EAL a larger -m, or choose another name";
        Error::call("rte_hash_create", name, last_errno(), advice)
    })?;
    let table = Arc::new(Table {
        raw,
        name: name.to_owned(),
        _eal: eal.clone(),
    });
    Ok((HashWriter(Arc::clone(&table)), HashReader(table)))
}

impl HashWriter {
    /// Puts a key in, or gives the one that is there another number.
    ///
    /// # Errors
    /// [`Error::Call`]: there is no room.
    pub fn put(&mut self, key: &[u8; KEY], number: usize) -> Result<(), Error> {
        let data = ptr::without_provenance_mut::<c_void>(number);
        // SAFETY: the table exists and has keys of this size (invariant); `&mut self` of the only
        // writer; the number is stored and never followed.
        let result = unsafe {
            dpdk_sys::rte_hash_add_key_data(self.0.raw.as_ptr(), key.as_ptr().cast(), data)
        };
        let advice = "make the table larger";
        check("rte_hash_add_key_data", &self.0.name, result, advice).map(drop)
    }
}

impl HashReader {
    /// Looks up at most [`HASH_BURST`] keys, those beyond not at all; how many were found (DPDK
    /// `rte_hash_lookup_bulk`).
    #[inline]
    #[must_use]
    pub fn look_up(&self, keys: &[[u8; KEY]]) -> usize {
        let keys = &keys[..keys.len().min(HASH_BURST)];
        if keys.is_empty() {
            return 0;
        }
        let mut pointers = [ptr::null::<c_void>(); HASH_BURST];
        for (pointer, key) in pointers.iter_mut().zip(keys) {
            *pointer = key.as_ptr().cast();
        }
        let mut places = [-1; HASH_BURST];
        #[expect(clippy::cast_possible_truncation, reason = "at most HASH_BURST")]
        let count = keys.len() as u32;
        // SAFETY: the table exists and has keys of this size (invariant); the first `count` pointers
        // are to keys that outlive the call, and there is room for as many places; `count` is neither
        // 0 nor above the library's limit.
        unsafe {
            dpdk_sys::rte_hash_lookup_bulk(
                self.0.raw.as_ptr(),
                pointers.as_mut_ptr(),
                count,
                places.as_mut_ptr(),
            )
        };
        places[..keys.len()]
            .iter()
            .filter(|place| **place >= 0)
            .count()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: made by `rte_hash_create` (invariant), and neither writer nor reader is left.
        unsafe { dpdk_sys::rte_hash_free(self.raw.as_ptr()) };
    }
}
