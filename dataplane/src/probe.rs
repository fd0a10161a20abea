//! Who looks on while a step is made, which nobody pays for who does not ask: where its cycles go, by a
//! mark after each stage, and what becomes of its frames.

use crate::simd::cycles;

/// The parts of a step, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Frames taken from a port.
    Receive,
    /// The burst sorted.
    Parse,
    /// Packets after their flows.
    Follow,
    /// New flows to their backends.
    Place,
    /// Fragments, and what is for the forwarder itself.
    Aside,
    /// Frames made ready to leave.
    Rewrite,
    /// Frames given to the ports.
    Transmit,
    /// Fates counted, affinities extended.
    Count,
    /// What a worker does besides its packets.
    Housekeeping,
}

impl Stage {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::Receive,
        Self::Parse,
        Self::Follow,
        Self::Place,
        Self::Aside,
        Self::Rewrite,
        Self::Transmit,
        Self::Count,
        Self::Housekeeping,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Parse => "parse",
            Self::Follow => "follow",
            Self::Place => "place",
            Self::Aside => "aside",
            Self::Rewrite => "rewrite",
            Self::Transmit => "transmit",
            Self::Count => "count",
            Self::Housekeeping => "housekeeping",
        }
    }
}

/// Is told when a stage has ended.
pub(crate) trait Probe {
    /// Whether the worker's tap sees the frames.
    const TAPS: bool = false;

    /// What was done since the last mark was this.
    fn ended(&mut self, stage: Stage);
}

/// Nobody asks: compiles to nothing.
#[derive(Debug)]
pub(crate) struct Unwatched;

impl Probe for Unwatched {
    #[inline]
    fn ended(&mut self, _stage: Stage) {}
}

/// A capture is under way.
#[derive(Debug)]
pub(crate) struct Tapped;

impl Probe for Tapped {
    const TAPS: bool = true;

    #[inline]
    fn ended(&mut self, _stage: Stage) {}
}

/// Cycles of the time-stamp counter by stage. A mark costs about as many as a stage of a few packets:
/// burst by burst, one or two for each packet.
#[derive(Clone, Debug)]
pub struct StageCycles {
    last: u64,
    spent: [u64; Stage::COUNT],
}

impl StageCycles {
    /// None yet; the first stage begins now.
    #[must_use]
    pub fn start() -> Self {
        Self {
            last: cycles(),
            spent: [0; Stage::COUNT],
        }
    }

    /// Every stage with its cycles.
    pub fn spent(&self) -> impl Iterator<Item = (Stage, u64)> + '_ {
        Stage::ALL.into_iter().zip(self.spent)
    }
}

impl Probe for StageCycles {
    #[inline]
    fn ended(&mut self, stage: Stage) {
        let now = cycles();
        self.spent[stage as usize] += now.wrapping_sub(self.last);
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cycle_is_one_stages() {
        let mut watch = StageCycles::start();
        let first = watch.last;
        for stage in Stage::ALL.into_iter().chain([Stage::Parse]) {
            watch.ended(stage);
        }
        let sum: u64 = watch.spent().map(|(_, cycles)| cycles).sum();
        assert_eq!(sum, watch.last - first);
    }

    #[test]
    fn stages_are_listed_where_their_cycles_are() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place, "{}", stage.name());
        }
    }
}
