//! Some of a burst's frames, or of a lane's packets: one bit for each place.

use crate::port::BURST;
use std::iter;

/// Those whose bits are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marked(u64);

const _: () = assert!(BURST <= 64, "one bit for each frame of a burst");

impl Marked {
    pub(crate) const NONE: Self = Self(0);

    /// So many, from the first on.
    #[inline]
    pub(crate) fn first(count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u64::BITS);
        let bits = 1_u64.checked_shl(count);
        Self(bits.map_or(u64::MAX, |bit| bit - 1))
    }

    /// Those where it is true, from the first on. Without a branch for each, which nobody could foretell.
    #[inline]
    pub(crate) fn each(places: impl DoubleEndedIterator<Item = bool>) -> Self {
        Self(places.rfold(0, |bits, is| bits << 1 | u64::from(is)))
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) fn has(self, place: u8) -> bool {
        self.0 >> place & 1 == 1
    }

    #[inline]
    pub(crate) fn add(&mut self, place: u8) {
        self.0 |= 1 << place;
    }

    /// Those of either.
    #[inline]
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that the other has too.
    #[inline]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that the other has not.
    #[inline]
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Their places, from the first on.
    #[inline]
    pub(crate) fn places(self) -> impl Iterator<Item = u8> {
        let mut bits = self.0;
        iter::from_fn(move || {
            #[expect(clippy::cast_possible_truncation, reason = "at most 63")]
            let place = (bits != 0).then(|| bits.trailing_zeros() as u8);
            bits &= bits.wrapping_sub(1);
            place
        })
    }
}

impl FromIterator<u8> for Marked {
    #[inline]
    fn from_iter<I: IntoIterator<Item = u8>>(places: I) -> Self {
        let mut marked = Self::NONE;
        places.into_iter().for_each(|place| marked.add(place));
        marked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_as_many() {
        for count in 0..=BURST {
            let places: Vec<_> = Marked::first(count).places().map(usize::from).collect();
            assert_eq!(places, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn they_are_told_in_order() {
        let marked: Marked = [63, 0, 7].into_iter().collect();
        assert_eq!(marked.places().collect::<Vec<_>>(), [0, 7, 63]);
        assert_eq!(Marked::each((0..64).map(|it| marked.has(it))), marked);
        assert_eq!(
            marked.and(Marked::first(8)).without(Marked::first(1)),
            [7].into_iter().collect()
        );
    }
}
