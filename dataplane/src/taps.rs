//! Taps: beside a port another one, whose other end the kernel of this host has.
//!
//! ```text
//! port ── not for Tether, within the limit ──▶ tap ── the kernel's interface
//!      ◀── as it is, within the limit ────────
//! ```
//!
//! A worker's taps stand behind its ports in its list. What is passed by them costs a system call for each
//! frame, which is why it is limited; ports without a tap, and frames that have somewhere to go, pay nothing.

use crate::{
    allowance::Allowance,
    clock::Millis,
    port::{BURST, Burst, Frame},
    tables::id::PortId,
};
use arrayvec::ArrayVec;

/// What a tap lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapSpec {
    /// Frames a second of one worker: so many to the kernel that are sent to this station, so many to it that
    /// are sent to groups, and so many from it.
    pub per_second: u32,
    /// The longest packet that the kernel's interface takes, in bytes with the IP header.
    pub mtu: u16,
}

/// An Ethernet header and a tag of the kernel's own.
const AROUND: usize = 18;

/// One worker's queue of a tap.
#[derive(Debug)]
pub(crate) struct Tap {
    /// Where it stands among the taps.
    place: usize,
    /// The longest frame to the kernel.
    frame_len_max: usize,
    to_station: Allowance,
    to_groups: Allowance,
    from_kernel: Allowance,
}

/// One worker's taps.
#[derive(Debug)]
pub(crate) struct Taps<F> {
    /// By port; nothing where no port has one.
    by_port: ArrayVec<Option<Tap>, { crate::limits::PORTS }>,
    /// Frames of this burst for the kernel.
    kept: Burst<F>,
}

impl Tap {
    fn new(place: usize, spec: TapSpec) -> Self {
        let per_second = u64::from(spec.per_second);
        // A tenth of a second, and never less than comes at once.
        let allowance = || Allowance::new(per_second, (per_second / 10).max(BURST as u64));
        Self {
            place,
            frame_len_max: usize::from(spec.mtu) + AROUND,
            to_station: allowance(),
            to_groups: allowance(),
            from_kernel: allowance(),
        }
    }

    /// Where it stands among the taps.
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// Whether the kernel's interface takes a frame of this length.
    pub(crate) fn has_room_for(&self, len: usize) -> bool {
        len <= self.frame_len_max
    }

    /// Whether one more may go to the kernel. Storms to groups leave room for what is for this station alone.
    pub(crate) fn may_take(&mut self, is_to_group: bool, now: Millis) -> bool {
        if is_to_group {
            self.to_groups.take(now)
        } else {
            self.to_station.take(now)
        }
    }

    /// Whether the kernel may send a burst. What it may not yet, waits in its own queue.
    pub(crate) fn may_send(&mut self, now: Millis) -> bool {
        self.from_kernel.has(BURST, now)
    }

    /// The kernel has sent so many.
    pub(crate) fn has_sent(&mut self, count: usize) {
        self.from_kernel.spend(count);
    }
}

impl<F: Frame> Taps<F> {
    pub(crate) fn new() -> Self {
        Self {
            by_port: ArrayVec::new(),
            kept: Burst::new(),
        }
    }

    /// Notes the tap of a port, which stands in this place among them.
    pub(crate) fn add(&mut self, port: PortId, place: usize, spec: TapSpec) {
        while self.by_port.len() <= port.index() {
            self.by_port.push(None);
        }
        self.by_port[port.index()] = Some(Tap::new(place, spec));
    }

    /// The tap of a port.
    #[inline]
    pub(crate) fn of(&mut self, port: PortId) -> Option<&mut Tap> {
        self.by_port.get_mut(port.index())?.as_mut()
    }

    /// Keeps a frame for the end of the burst.
    pub(crate) fn keep(&mut self, frame: F) {
        self.kept.push(frame);
    }

    /// The frames that were kept.
    pub(crate) fn kept(&mut self) -> &mut Burst<F> {
        &mut self.kept
    }
}

impl<F> Taps<F> {
    /// Whether no port has one.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_port.is_empty()
    }

    /// Whether this port has one.
    #[inline]
    pub(crate) fn is_on(&self, port: PortId) -> bool {
        self.by_port.get(port.index()).is_some_and(Option::is_some)
    }
}
