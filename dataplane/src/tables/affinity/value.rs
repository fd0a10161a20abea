//! What an entry says beside its key: who owns the affinity, where its cell is, and how long it routes
//! for sure.
//!
//! ```text
//! last word of an entry  [ prefix:8 | sure:18 | backend:14 | cell:24 ]
//! ```
//!
//! An affinity routes until the deadline in its cell. `sure` is a copy of it, rounded down to a minute and
//! a bit: never later than the deadline, and earlier once packets have extended that. Before `sure` a
//! look-up need not wait for the cell's line.

use crate::{clock::Millis, limits, tables::id::BackendId};

const CELL_BITS: u32 = 24;
const BACKEND_BITS: u32 = 14;
const SURE_BITS: u32 = 18;
const SURE_SHIFT: u32 = CELL_BITS + BACKEND_BITS;
/// All bits of a value: above them is the key's prefix length.
pub(super) const VALUE_BITS: u64 = (1 << (SURE_SHIFT + SURE_BITS)) - 1;
/// Later than this (198 days of uptime) nothing is sure, and every look-up reads the cell.
const LATEST_SURE: u64 = (1 << SURE_BITS) - 1;

const _: () = assert!(limits::AFFINITIES + limits::LEAVING_AFFINITIES <= 1 << CELL_BITS);
const _: () = assert!(limits::BACKENDS <= 1 << BACKEND_BITS);

/// An instant in units of 65.536 seconds, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Minute(u64);

impl Minute {
    /// The unit that holds this instant.
    #[inline]
    pub(crate) fn of(instant: Millis) -> Self {
        Self(instant.0 >> 16)
    }
}

/// The value part of an entry's last word; the other bits may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) u64);

impl Value {
    /// Of an affinity that routes at least until `deadline`.
    pub(crate) fn new(owner: BackendId, cell: u32, deadline: Millis) -> Self {
        let rest = u64::from(owner.0) << CELL_BITS | u64::from(cell);
        Self(rest).until(deadline)
    }

    /// The same, of an affinity that routes at least until `deadline`.
    pub(crate) fn until(self, deadline: Millis) -> Self {
        let sure = Minute::of(deadline).0.min(LATEST_SURE);
        Self(self.0 & !(LATEST_SURE << SURE_SHIFT) | sure << SURE_SHIFT)
    }

    /// Whether it routes at an instant for sure, whatever is in its cell.
    #[inline]
    pub(crate) fn surely_routes(self, now: Minute) -> bool {
        (self.0 >> SURE_SHIFT) & LATEST_SURE > now.0
    }

    /// The backend that signalled it.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a field of the word")]
    pub(crate) fn owner(self) -> BackendId {
        BackendId((self.0 >> CELL_BITS) as u16 & ((1 << BACKEND_BITS) - 1))
    }

    /// The place of its cell.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a field of the word")]
    pub(crate) fn cell(self) -> u32 {
        self.0 as u32 & ((1 << CELL_BITS) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_come_back_and_the_prefix_stays(
            owner in 0_u16..1 << BACKEND_BITS, cell in 0_u32..1 << CELL_BITS, deadline: u64, later: u64, prefix: u8,
        ) {
            let value = Value::new(BackendId(owner), cell, Millis(deadline));
            prop_assert_eq!(value.0 & !VALUE_BITS, 0);
            let entry = Value(value.0 | u64::from(prefix) << 56).until(Millis(later));
            prop_assert_eq!((entry.owner(), entry.cell()), (BackendId(owner), cell));
            prop_assert_eq!(entry.0 >> 56, u64::from(prefix));
            prop_assert_eq!(entry.0 & VALUE_BITS, Value::new(BackendId(owner), cell, Millis(later)).0);
        }

        /// Contract rule T5: nothing is sure at its deadline or after it.
        #[test]
        fn what_is_sure_is_before_the_deadline(now in 0_u64..1 << 36, ahead in -200_000_i64..200_000) {
            let deadline = now.saturating_add_signed(ahead);
            let sure = Value::new(BackendId(1), 1, Millis(deadline)).surely_routes(Minute::of(Millis(now)));
            prop_assert!(!sure || now < deadline);
            prop_assert!(sure || now >= (LATEST_SURE << 16) || deadline < now + 2 * 65_536);
        }
    }

    #[test]
    fn until_ended_is_sure_for_half_a_year() {
        let value = Value::new(BackendId(1), 1, Millis::NEVER);
        let day = 24 * 60 * 60 * 1000;
        assert!(value.surely_routes(Minute::of(Millis(198 * day))));
        assert!(!value.surely_routes(Minute::of(Millis(199 * day))));
        assert!(!value.surely_routes(Minute::of(Millis(u64::MAX - 1))));
    }
}
