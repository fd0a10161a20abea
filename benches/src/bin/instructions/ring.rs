//! A port in memory whose frames go round: what is sent comes again, addressed to the forwarder again.

use std::collections::VecDeque;
use tether_dataplane::{
    Mac,
    port::{BURST, Burst, Frame, Port},
};

/// Bytes of a frame.
pub(crate) const LEN: usize = 60;
/// Behind the frame stands what the device found about its IPv4 header: 1 where it is right.
const FOUND: usize = LEN;

/// A frame of fixed length.
#[derive(Debug)]
pub(crate) struct Slot(Box<[u8; LEN + 4]>);

impl Slot {
    /// A frame whose header every device finds right.
    pub(crate) fn new(frame: &[u8; LEN]) -> Self {
        let mut slot = Box::new([0; LEN + 4]);
        slot[..LEN].copy_from_slice(frame);
        slot[FOUND] = 1;
        Self(slot)
    }
}

impl Frame for Slot {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.0[..LEN]
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0[..LEN]
    }

    #[inline]
    fn is_contiguous(&self) -> bool {
        true
    }

    /// It is found again the next time that the frame comes.
    #[inline]
    fn take_ipv4_checksum(&mut self) -> Option<bool> {
        (self.0[FOUND] != 0).then_some(self.0[FOUND] == 1)
    }

    fn resize(&mut self, len: usize) -> bool {
        len == LEN
    }

    fn prepend(&mut self, count: usize) -> bool {
        count == 0
    }
}

/// The frames.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) frames: VecDeque<Slot>,
    pub(crate) mac: Mac,
    /// Whether each comes again with the next source port: as another flow.
    pub(crate) counts_on: bool,
    /// Whether its device looks at IPv4 header checksums.
    pub(crate) checks_ipv4: bool,
}

impl Port for Ring {
    type Frame = Slot;

    #[inline]
    fn checks_ipv4(&self) -> bool {
        self.checks_ipv4
    }

    fn receive(&mut self, burst: &mut Burst<Slot>) {
        while burst.len() < BURST
            && let Some(mut frame) = self.frames.pop_front()
        {
            frame.0[..6].copy_from_slice(&self.mac.0);
            if self.counts_on {
                let port = u16::from_be_bytes([frame.0[34], frame.0[35]]);
                let next = port.checked_add(1).unwrap_or(1);
                frame.0[34..36].copy_from_slice(&next.to_be_bytes());
            }
            burst.push(frame);
        }
    }

    fn transmit(&mut self, burst: &mut Burst<Slot>) {
        self.frames.extend(burst.drain(..));
    }

    fn allocate(&mut self) -> Option<Slot> {
        None
    }
}
