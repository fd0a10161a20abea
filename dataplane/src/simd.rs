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

/// Which of four columns hold a row's three words, lowest bit first.
#[inline]
pub(crate) fn same_columns(columns: [&[u32; 4]; 3], row: [u32; 3]) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 has SSE2 (System V ABI for AMD64, section 1.1.1).
    #[expect(unsafe_code, reason = "an extension that every processor has")]
    unsafe {
        same_columns_at_once(columns, row)
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    same_columns_one_by_one(columns, row)
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "sse2")]
#[inline]
fn same_columns_at_once(columns: [&[u32; 4]; 3], row: [u32; 3]) -> u32 {
    use std::arch::x86_64::{
        _mm_and_si128, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_movemask_ps, _mm_set1_epi32,
        _mm_setr_epi32,
    };
    let same = |place: usize| {
        let [a, b, c, d] = columns[place].map(u32::cast_signed);
        let word = _mm_set1_epi32(row[place].cast_signed());
        _mm_cmpeq_epi32(_mm_setr_epi32(a, b, c, d), word)
    };
    let all = _mm_and_si128(_mm_and_si128(same(0), same(1)), same(2));
    _mm_movemask_ps(_mm_castsi128_ps(all)).cast_unsigned()
}

/// The same, word by word.
#[cfg(any(test, miri, not(target_arch = "x86_64")))]
fn same_columns_one_by_one(columns: [&[u32; 4]; 3], row: [u32; 3]) -> u32 {
    let same = |way: usize| {
        columns
            .iter()
            .zip(row)
            .all(|(column, word)| column[way] == word)
    };
    (0..4).fold(0, |ways, way| ways | u32::from(same(way)) << way)
}

/// Which of four words are the same as another, lowest bit first.
#[inline]
pub(crate) fn same_words(words: [u64; 4], word: u64) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 has SSE2 (System V ABI for AMD64, section 1.1.1).
    #[expect(unsafe_code, reason = "an extension that every processor has")]
    unsafe {
        same_words_at_once(words, word)
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    same_words_one_by_one(words, word)
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "sse2")]
#[inline]
fn same_words_at_once(words: [u64; 4], word: u64) -> u32 {
    use std::arch::x86_64::{
        _mm_and_ps, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_movemask_ps, _mm_set_epi64x,
        _mm_set1_epi64x, _mm_shuffle_ps,
    };
    let [a, b, c, d] = words.map(u64::cast_signed);
    let word = _mm_set1_epi64x(word.cast_signed());
    // SSE2 compares halves of words: a word is the same where both of its halves are.
    let same = |low, high| _mm_castsi128_ps(_mm_cmpeq_epi32(_mm_set_epi64x(high, low), word));
    let (ab, cd) = (same(a, b), same(c, d));
    let low = _mm_shuffle_ps::<0b10_00_10_00>(ab, cd);
    let high = _mm_shuffle_ps::<0b11_01_11_01>(ab, cd);
    _mm_movemask_ps(_mm_and_ps(low, high)).cast_unsigned()
}

/// The same, word by word.
#[cfg(any(test, miri, not(target_arch = "x86_64")))]
fn same_words_one_by_one(words: [u64; 4], word: u64) -> u32 {
    (0..)
        .zip(words)
        .fold(0, |same, (way, it)| same | u32::from(it == word) << way)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_are_compared_as_word_by_word(
            columns in prop::array::uniform3(prop::array::uniform4(0_u32..3)), row in prop::array::uniform3(0_u32..3),
            flipped in 0_u32..32,
        ) {
            let far = |word: u32| word.rotate_right(flipped);
            let columns = columns.map(|column| column.map(far));
            let ([a, b, c], row) = (&columns, row.map(far));
            prop_assert_eq!(same_columns([a, b, c], row), same_columns_one_by_one([a, b, c], row));
        }

        #[test]
        fn words_are_compared_as_one_by_one(
            words in prop::array::uniform4(0_u64..3), word in 0_u64..3, flipped in 0_u32..64,
        ) {
            let far = |word: u64| word.rotate_right(flipped);
            let (words, word) = (words.map(far), far(word));
            prop_assert_eq!(same_words(words, word), same_words_one_by_one(words, word));
        }
    }
}
