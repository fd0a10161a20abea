//! When to ask whether an affinity has expired: a lazy timer wheel.
//!
//! ```text
//! 32 ms    │ 256 places │  8.2 s      a place comes due; each affinity in it is asked for its
//! 8.2 s    │ 256 places │ 35 min      deadline: past: collected; later (a packet has extended it,
//! 35 min   │ 256 places │ 6 days      or the place was a coarse one): put where that is
//! ```
//!
//! Packets move deadlines without a word to the wheel. It is never early, and at most one tick
//! late; routing does not depend on it (contract rule T5), memory and counts do. 12 bytes an
//! affinity, and an affinity that ends leaves nothing behind.

use crate::chain::Chains;
use tether_dataplane::clock::Millis;

/// Milliseconds of the finest places: at most so late is an affinity collected.
const TICK_MS: u64 = 32;
const PLACES: u64 = 256;
const LEVELS: u32 = 3;

/// The affinities that have a deadline, by when they are to be asked for it.
#[derive(Clone, Debug)]
pub struct Wheel {
    places: Chains,
    /// How many cells are in a place.
    waiting: usize,
    // Invariant: everything due before this tick has been asked.
    tick: u64,
}

impl Wheel {
    /// Empty, from `now` on.
    #[must_use]
    pub fn new(now: Millis) -> Self {
        Self {
            places: Chains::default(),
            waiting: 0,
            tick: now.0 / TICK_MS,
        }
    }

    /// Asks for `cell` at `deadline`; never for [`Millis::NEVER`].
    pub fn insert(&mut self, cell: u32, deadline: Millis) {
        if deadline != Millis::NEVER {
            let place = self.place(deadline.0.div_ceil(TICK_MS));
            self.places.push(place, cell);
            self.waiting += 1;
        }
    }

    /// Asks for `cell` no more.
    pub fn remove(&mut self, cell: u32) {
        self.waiting -= usize::from(self.places.remove(cell));
    }

    /// Asks all that have come due by `now`, but `at_most` of them; the others next time. `expire`
    /// collects one, or says when its deadline is now. Returns how many were collected.
    pub fn run(
        &mut self,
        now: Millis,
        at_most: usize,
        mut expire: impl FnMut(u32) -> Result<(), Millis>,
    ) -> usize {
        let (mut left, mut collected) = (at_most, 0);
        while self.waiting > 0 && self.tick <= now.0 / TICK_MS {
            for place in due(self.tick) {
                while let Some(cell) = self.places.first(place) {
                    if left == 0 {
                        return collected;
                    }
                    left -= 1;
                    self.remove(cell);
                    match expire(cell) {
                        Ok(()) => collected += 1,
                        Err(later) => self.insert(cell, later.max(now + 1)),
                    }
                }
            }
            self.tick += 1;
        }
        if self.waiting == 0 {
            self.tick = self.tick.max(now.0 / TICK_MS);
        }
        collected
    }

    /// Where a tick belongs: the finest level that reaches it; beyond all, the last place.
    fn place(&self, tick: u64) -> u32 {
        let ahead = tick.saturating_sub(self.tick);
        let reach = PLACES.pow(LEVELS) - PLACES.pow(LEVELS - 1);
        let (tick, ahead) = if ahead < reach {
            (tick.max(self.tick), ahead)
        } else {
            (self.tick + reach - 1, reach - 1)
        };
        let level = ahead.max(1).ilog2() / PLACES.ilog2();
        place(level, tick)
    }
}

/// The places that are emptied at a tick, the coarsest first.
fn due(tick: u64) -> impl Iterator<Item = u32> {
    let levels = (0..LEVELS).rev();
    levels
        .filter(move |level| tick.is_multiple_of(PLACES.pow(*level)))
        .map(move |level| place(level, tick))
}

fn place(level: u32, tick: u64) -> u32 {
    let place = tick / PLACES.pow(level) % PLACES + u64::from(level) * PLACES;
    u32::try_from(place).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashbrown::HashMap;
    use proptest::prelude::*;

    /// Runs the wheel at every `step` ms and notes when each cell was collected.
    fn collect(
        deadlines: &mut HashMap<u32, u64>,
        wheel: &mut Wheel,
        until: u64,
        step: u64,
    ) -> HashMap<u32, u64> {
        let mut collected = HashMap::new();
        let mut now = 0;
        while now <= until {
            wheel.run(Millis(now), usize::MAX, |cell| {
                let deadline = deadlines[&cell];
                if deadline > now {
                    return Err(Millis(deadline));
                }
                collected.insert(cell, now);
                Ok(())
            });
            now += step;
        }
        collected
    }

    #[test]
    fn each_is_collected_within_a_tick_of_its_deadline_on_every_level() {
        let mut wheel = Wheel::new(Millis(0));
        let ends = [
            1, 31, 32, 33, 5_000, 8_191, 8_192, 8_193, 60_000, 2_097_151, 2_097_152, 2_200_000,
        ];
        let mut deadlines: HashMap<u32, u64> = (0..).zip(ends).collect();
        for (cell, deadline) in &deadlines {
            wheel.insert(*cell, Millis(*deadline));
        }
        let collected = collect(&mut deadlines, &mut wheel, 2_300_000, 1);
        for (cell, deadline) in &deadlines {
            let at = collected[cell];
            assert!(
                (*deadline..deadline + TICK_MS).contains(&at),
                "{deadline}: {at}"
            );
        }
    }

    #[test]
    fn one_that_was_extended_in_between_is_collected_at_its_new_deadline() {
        let mut wheel = Wheel::new(Millis(0));
        wheel.insert(7, Millis(1_000));
        let mut deadlines = HashMap::from([(7, 9_000_u64)]);
        let collected = collect(&mut deadlines, &mut wheel, 10_000, 10);
        assert!((9_000..9_050).contains(&collected[&7]), "{collected:?}");
    }

    #[test]
    fn far_beyond_the_wheel_is_asked_again_until_it_is_due() {
        let far = 20 * 86_400_000;
        let mut wheel = Wheel::new(Millis(0));
        wheel.insert(7, Millis(far));
        let mut deadlines = HashMap::from([(7, far)]);
        let collected = collect(&mut deadlines, &mut wheel, far + 60_000, 10_000);
        assert!(
            (far..far + 10_032).contains(&collected[&7]),
            "{collected:?}"
        );
    }

    #[test]
    fn a_turn_is_bounded_and_the_next_goes_on() {
        let mut wheel = Wheel::new(Millis(0));
        (0..100).for_each(|cell| wheel.insert(cell, Millis(64)));
        assert_eq!(wheel.run(Millis(1_000), 30, |_| Ok(())), 30);
        assert_eq!(wheel.run(Millis(1_000), 100, |_| Ok(())), 70);
    }

    #[test]
    fn what_was_removed_or_never_ends_is_not_asked() {
        let mut wheel = Wheel::new(Millis(0));
        wheel.insert(1, Millis(64));
        wheel.remove(1);
        wheel.insert(2, Millis::NEVER);
        wheel.run(Millis(1 << 30), usize::MAX, |cell| {
            panic!("asked for {cell}")
        });
    }

    proptest! {
        #[test]
        fn never_early_and_at_most_a_tick_and_a_step_late(
            begin in 0_u64..1 << 24,
            ahead in prop::collection::vec(1_u64..100_000, 1..50),
            step in 1_u64..50,
        ) {
            let mut wheel = Wheel::new(Millis(begin));
            let deadlines: Vec<u64> = ahead.iter().map(|ahead| begin + ahead).collect();
            for (cell, deadline) in (0..).zip(&deadlines) {
                wheel.insert(cell, Millis(*deadline));
            }
            let (mut now, mut left) = (begin, deadlines.len());
            while left > 0 {
                left -= wheel.run(Millis(now), usize::MAX, |cell| {
                    let deadline = deadlines[cell as usize];
                    if deadline > now {
                        return Err(Millis(deadline));
                    }
                    assert!(now < deadline + TICK_MS + step, "{deadline} at {now}");
                    Ok(())
                });
                now += step;
                prop_assert!(now < begin + 200_000, "something was lost");
            }
        }
    }
}
