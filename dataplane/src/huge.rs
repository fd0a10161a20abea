//! Large tables in huge pages, where the system has them to give.
//!
//! A worker reads its tables at random: in pages of 4 KiB nearly every read waits for the page's address
//! before it can wait for the line.

use std::{ffi::c_void, mem::MaybeUninit};

/// A huge page, in bytes, of x86-64 and of arm64 with small pages of 4 KiB.
pub(crate) const PAGE: usize = 2 << 20;

/// A slice of `len` values, in huge pages.
pub(crate) fn slice<T>(len: usize, make: impl FnMut(usize) -> T) -> Box<[T]> {
    let mut values = Vec::with_capacity(len);
    advise(values.spare_capacity_mut());
    values.extend((0..len).map(make));
    values.into_boxed_slice()
}

/// Asks for huge pages for what nothing has been written to yet: those that are wholly within.
pub(crate) fn advise<T>(unwritten: &mut [MaybeUninit<T>]) {
    let start = unwritten.as_mut_ptr().cast::<c_void>();
    let before = start.align_offset(PAGE);
    let bytes = size_of_val(unwritten).saturating_sub(before) / PAGE * PAGE;
    if bytes > 0 {
        advise_pages(start.wrapping_byte_add(before), bytes);
    }
}

/// A system without them refuses, and has small pages as before.
#[cfg(all(target_os = "linux", not(miri)))]
fn advise_pages(start: *mut c_void, bytes: usize) {
    use rustix::mm::{Advice, madvise};

    // SAFETY: all of it is within one allocation, which the caller has borrowed for this call alone; the
    // advice changes what pages it has, not what is in them (madvise(2), MADV_HUGEPAGE).
    #[expect(unsafe_code, reason = "advice to the kernel that has no safe form")]
    let advised = unsafe { madvise(start, bytes, Advice::LinuxHugepage) };
    if let Err(error) = advised {
        log::debug!("no huge pages: {error}");
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn advise_pages(_: *mut c_void, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_has_what_was_made_for_it_in_huge_pages_or_not() {
        let few = if cfg!(miri) { 10 } else { 3 * PAGE / 8 };
        for len in [0, 1, few] {
            let values = slice(len, |index| index * 7);
            assert_eq!(values.len(), len);
            assert!((0..len).all(|index| values[index] == index * 7));
        }
    }
}
