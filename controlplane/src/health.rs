//! Whether a backend is up, out of what its probes say: the deciding half, without sockets.
//!
//! ```text
//!        rise successes in a row
//!   down ──────────────────────▶ up      before the first verdict: up
//!        ◀──────────────────────
//!         fall failures in a row
//! ```

mod probe;
mod prober;

pub(crate) use prober::Prober;

/// One backend's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    is_up: bool,
    rise: u8,
    fall: u8,
    /// Results in a row that speak against `is_up`.
    against: u8,
}

impl Health {
    /// Up until it fails; `rise` successes in a row bring it up, `fall` failures take it down.
    #[must_use]
    pub fn new(rise: u8, fall: u8) -> Self {
        Self {
            is_up: true,
            rise,
            fall,
            against: 0,
        }
    }

    /// Whether it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// Takes a probe's result; says what the backend is from now on, if that is a change.
    #[must_use]
    pub fn probed(&mut self, succeeded: bool) -> Option<bool> {
        if succeeded == self.is_up {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = if self.is_up { self.fall } else { self.rise };
        if self.against < needed {
            return None;
        }
        self.against = 0;
        self.is_up = succeeded;
        Some(succeeded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(health: &mut Health, results: &[bool]) -> Vec<Option<bool>> {
        results.iter().map(|it| health.probed(*it)).collect()
    }

    #[test]
    fn it_is_up_until_it_fails_so_many_times_in_a_row() {
        let mut health = Health::new(2, 3);
        assert!(health.is_up());
        let seen = verdicts(&mut health, &[false, false, true, false, false, false]);
        assert_eq!(seen, [None, None, None, None, None, Some(false)]);
        assert!(!health.is_up());
    }

    #[test]
    fn it_comes_back_after_so_many_successes_in_a_row() {
        let mut health = Health::new(2, 1);
        assert_eq!(health.probed(false), Some(false));
        let seen = verdicts(&mut health, &[false, true, false, true, true, true]);
        assert_eq!(seen, [None, None, None, None, Some(true), None]);
    }

    #[test]
    fn one_of_each_changes_at_once() {
        let mut health = Health::new(1, 1);
        let seen = verdicts(&mut health, &[true, false, true]);
        assert_eq!(seen, [None, Some(false), Some(true)]);
    }
}
