//! Frames that wait until a backend's MAC address is known: a few, for a short while, so that the
//! first SYN to a backend is not lost.

use crate::{
    clock::Millis,
    limits::{HELD, HELD_PER_NEIGHBOUR, HOLD_MS},
    tables::{Toward, affinity::CellId, id::PortId},
};
use arrayvec::ArrayVec;

/// One frame that waits.
#[derive(Debug)]
pub(crate) struct Waiting<F> {
    pub(crate) frame: F,
    pub(crate) toward: Toward,
    /// Where it came in, for its tag.
    pub(crate) came_by: PortId,
    /// The affinity that it extends once it is sent.
    pub(crate) extends: Option<CellId>,
    pub(crate) since: Millis,
}

impl<F> Waiting<F> {
    /// Whether it has waited too long.
    pub(crate) fn is_late(&self, now: Millis) -> bool {
        now.since(self.since) >= HOLD_MS
    }
}

/// The frames that one worker holds, oldest first.
#[derive(Debug)]
pub(crate) struct Held<F> {
    waiting: ArrayVec<Waiting<F>, HELD>,
}

impl<F> Held<F> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: ArrayVec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Holds a frame; gives it back where too many wait already, at all or for the same.
    pub(crate) fn hold(&mut self, new: Waiting<F>) -> Result<(), F> {
        let others = self
            .waiting
            .iter()
            .filter(|it| it.toward.is_same_way(new.toward));
        if self.waiting.is_full() || others.count() >= HELD_PER_NEIGHBOUR {
            return Err(new.frame);
        }
        self.waiting.push(new);
        Ok(())
    }

    /// Takes out every frame of which `ready` says so, in order.
    pub(crate) fn release(
        &mut self,
        mut ready: impl FnMut(&Waiting<F>) -> bool,
        mut each: impl FnMut(Waiting<F>),
    ) {
        let mut place = 0;
        while let Some(waiting) = self.waiting.get(place) {
            if ready(waiting) {
                each(self.waiting.remove(place));
            } else {
                place += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::id::BackendId;

    fn waiting(frame: u16, backend: u16, since: u64) -> Waiting<u16> {
        Waiting {
            frame,
            toward: Toward::Backend(BackendId(backend)),
            came_by: PortId(0),
            extends: None,
            since: Millis(since),
        }
    }

    #[test]
    fn it_holds_a_few_for_each_and_not_many_in_all() {
        let mut held = Held::new();
        let kept = (0..100).filter(|frame| held.hold(waiting(*frame, frame % 20, 0)).is_ok());
        assert_eq!(kept.count(), HELD);
        let mut held = Held::new();
        let kept = (0..100).filter(|frame| held.hold(waiting(*frame, 1, 0)).is_ok());
        assert_eq!(kept.count(), HELD_PER_NEIGHBOUR);
    }

    #[test]
    fn it_releases_in_order_and_keeps_the_rest() {
        let mut held = Held::new();
        for frame in 0..6 {
            held.hold(waiting(frame, frame % 2, 5)).unwrap();
        }
        let mut out = Vec::new();
        held.release(
            |it| it.toward == Toward::Backend(BackendId(1)),
            |it| out.push(it.frame),
        );
        assert_eq!((out, held.len()), (vec![1, 3, 5], 3));
        held.release(|it| it.is_late(Millis(5 + HOLD_MS - 1)), |_| unreachable!());
        held.release(|it| it.is_late(Millis(5 + HOLD_MS)), |_| ());
        assert!(held.is_empty());
    }
}
