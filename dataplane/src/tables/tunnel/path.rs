//! The path of a tunnel's packets: how long they may be, as far as routers have said (RFC 1191, RFC
//! 8201).
//!
//! Written when a router says something new and when it grows old, which the packet path only reads.

use crate::{
    clock::Millis,
    sync::{AtomicU32, AtomicU64, Ordering},
};

/// What was said is forgotten after this, in milliseconds (RFC 1191, section 6.3): 10 minutes.
pub(crate) const KEPT_MS: u64 = 600_000;

/// Sizes of links that a router may mean that does not say (RFC 1191, section 7.1).
const USUAL: [u16; 9] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296];

/// How long the packets in a tunnel may be, in bytes with their IP headers.
#[derive(Debug)]
pub(crate) struct Path {
    /// By the port's own link.
    link: u16,
    /// No router may say less: the smallest packet that every host or link of the family takes.
    least: u16,
    // Invariant: from `least` to `link`, or `link` where that is less.
    mtu: AtomicU32,
    /// When a router said so last; 0: none has.
    said_ms: AtomicU64,
}

impl Path {
    pub(crate) fn new(link: u16, least: u16) -> Self {
        Self {
            link,
            least,
            mtu: AtomicU32::new(link.into()),
            said_ms: AtomicU64::new(0),
        }
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is stored was 16 bits"
    )]
    pub(crate) fn mtu(&self) -> u16 {
        self.mtu.load(Ordering::Relaxed) as u16
    }

    /// What a router has said, if that is less than the link takes and not forgotten.
    pub(crate) fn said(&self) -> Option<u16> {
        let is_said = self.said_ms.load(Ordering::Relaxed) != 0;
        is_said.then(|| self.mtu())
    }

    /// A router has said that a packet may be so long. It lowers what is known, never raises it, and
    /// not below what everybody takes.
    pub(crate) fn lower(&self, to: u16, now: Millis) {
        let to = to.max(self.least).min(self.link);
        if to < self.link && to <= self.mtu() {
            self.said_ms.store(now.0.max(1), Ordering::Relaxed);
            self.mtu.store(to.into(), Ordering::Relaxed);
        }
    }

    /// Forgets what is too old: the path may be another by now.
    pub(crate) fn age(&self, now: Millis) {
        let said = self.said_ms.load(Ordering::Relaxed);
        if said != 0 && now.since(Millis(said)) >= KEPT_MS {
            self.said_ms.store(0, Ordering::Relaxed);
            self.mtu.store(self.link.into(), Ordering::Relaxed);
        }
    }

    /// Takes over what the same path knew, by so many bytes of headers more than here.
    pub(crate) fn inherit(&self, other: &Self, more: i32) {
        let said = other.said_ms.load(Ordering::Relaxed);
        if said != 0 {
            let mtu = i32::from(other.mtu()).saturating_add(more);
            self.lower(u16::try_from(mtu).unwrap_or(u16::MAX), Millis(said));
        }
    }
}

/// What a router means that does not say how long a packet of `len` bytes might have been (RFC 1191,
/// section 5).
pub(crate) fn guess(len: u16) -> u16 {
    USUAL.into_iter().find(|usual| *usual < len).unwrap_or(68)
}

#[cfg(all(test, not(tether_loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_is_lowered_to_the_least_and_never_raised() {
        let path = Path::new(1480, 576);
        for (said, is) in [
            (1600, 1480),
            (1480, 1480),
            (1400, 1400),
            (1450, 1400),
            (0, 576),
        ] {
            path.lower(said, Millis(5));
            assert_eq!(path.mtu(), is);
        }
        let narrow = Path::new(500, 576);
        narrow.lower(300, Millis(5));
        assert_eq!(narrow.mtu(), 500);
    }

    #[test]
    fn what_was_said_is_forgotten_after_ten_minutes() {
        let path = Path::new(1480, 576);
        path.lower(1400, Millis(1000));
        path.age(Millis(1000 + KEPT_MS - 1));
        assert_eq!(path.mtu(), 1400);
        // Said again, it lasts again.
        path.lower(1400, Millis(2000));
        path.age(Millis(1000 + KEPT_MS));
        assert_eq!(path.mtu(), 1400);
        path.age(Millis(2000 + KEPT_MS));
        assert_eq!(path.mtu(), 1480);
    }

    #[test]
    fn a_router_that_does_not_say_means_a_usual_size() {
        for (len, means) in [
            (1500, 1492),
            (1492, 1006),
            (9000, 8166),
            (300, 296),
            (100, 68),
        ] {
            assert_eq!(guess(len), means, "{len}");
        }
    }
}
