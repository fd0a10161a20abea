//! A port in memory whose frames go round: what is sent comes again, addressed to the forwarder again.

use std::collections::VecDeque;
use tether_dataplane::{
    Mac,
    port::{BURST, Burst, Frame, Port},
};

/// A frame of fixed length.
#[derive(Debug)]
pub(crate) struct Slot(pub(crate) Box<[u8; 60]>);

impl Frame for Slot {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.0[..]
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0[..]
    }

    #[inline]
    fn is_contiguous(&self) -> bool {
        true
    }

    fn resize(&mut self, len: usize) -> bool {
        len == self.0.len()
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
}

impl Port for Ring {
    type Frame = Slot;

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
